//! A subscriber of `tracing` that panics, in a process of its own: there is one for all threads.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use distributed::{Client, ITEM_SPANS, Result, Server};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Panics at the first item.
#[derive(Default)]
struct PanicsOnce(AtomicBool);

impl Subscriber for PanicsOnce {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target() == ITEM_SPANS
    }

    fn new_span(&self, _: &Attributes) -> Id {
        assert!(self.0.swap(true, SeqCst), "the first item");
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_costs_its_call_and_nobody_else() -> Result<()> {
    tracing::subscriber::set_global_default(PanicsOnce::default()).expect("it is the first");
    let server = Server::builder().queue("tasks");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let (one, other) = (client.queue::<u32>("tasks")?, client.queue::<u32>("tasks")?);
    assert!(one.put(&3).is_err());
    while other.try_get().is_ok() {}
    other.put(&4)?;
    assert_eq!(one.get()?, 4);
    assert_eq!(server.status().queues[0].len, 0);
    Ok(())
}
