//! The queues on an engine: NATS JetStream.
//!
//! A queue is a stream of the retention policy WorkQueue on disk, with one durable pull consumer;
//! its dead letters are in a second stream. Names and headers are in `layout`, for whoever writes a
//! worker in another language.
//!
//! - `address`: the URL of an engine.
//! - `engine`: the connection, which all queues of a client share.
//! - `connect_errors`: why there is no connection.
//! - `permission_errors`: what a user may not do.
//! - `layout`: the streams of a queue.
//! - `publish`: storing items, acknowledged and once.
//! - `pull`: fetching items.
//! - `leases`: items that are out, and kept so.
//! - `queue`: a queue as its users see it.
//! - `presence`: who is connected.
//! - `task_streams`, `submitter`, `task_source`: tasks by name: their streams, and both sides.
//! - `attempts`: how often the work on an item was begun.
//! - `status`: what the engine says of its queues, and of what it survives.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use super::tasks::{SubmitterBackend, TaskSource};
use super::{Backend, QueueBackend};
use crate::{DeadLetter, Durability, Error, QueueOptions, Result, Status};

mod address;
mod attempts;
mod connect_errors;
mod engine;
mod layout;
mod leases;
mod permission_errors;
mod presence;
mod publish;
mod pull;
mod queue;
mod seen;
mod status;
mod submitter;
mod task_source;
mod task_streams;

use address::Address;
use engine::{Engine, RETRY_TIME};
use queue::NatsQueue;
use submitter::NatsSubmitter;
use task_source::NatsTaskSource;

/// A client of an engine.
#[derive(Clone)]
pub(crate) struct NatsClient {
    engine: Arc<Engine>,
    retry_time: Duration,
    /// Until when a queue that is not there is waited for; `None` is for ever.
    start_until: Option<Instant>,
}

impl NatsClient {
    /// Connects, and tries again for that long while nobody listens.
    pub(crate) fn connect_within(time: Duration, url: &str) -> Result<NatsClient> {
        let address: Address = url.parse()?;
        // A moment beyond the end of the clock never comes.
        let start_until = Instant::now().checked_add(time);
        loop {
            match engine::connect(&address) {
                Err(error) if error.is_refused() && is_before(start_until) => {
                    thread::sleep(Duration::from_millis(50));
                }
                engine => {
                    let engine = engine?;
                    presence::answer(&engine);
                    return Ok(NatsClient {
                        engine: Arc::new(engine),
                        retry_time: RETRY_TIME,
                        start_until,
                    });
                }
            }
        }
    }
}

impl NatsClient {
    /// Opens a queue, and waits for it while it may still be made.
    fn once_there<Q>(&self, open: impl Fn() -> Result<Q>) -> Result<Q> {
        loop {
            match open() {
                Err(Error::NoQueue { .. }) if is_before(self.start_until) => {
                    thread::sleep(Duration::from_millis(100));
                }
                opened => return opened,
            }
        }
    }
}

impl Backend for NatsClient {
    fn reconnect_within(&self, time: Duration) -> Arc<dyn Backend> {
        Arc::new(NatsClient {
            retry_time: time,
            ..self.clone()
        })
    }

    fn peer_timeout(&self, _time: Duration) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    fn retry_time(&self) -> Duration {
        self.retry_time
    }

    fn create(&self, queue: &QueueOptions) -> Result<()> {
        let made = layout::create(&self.engine, queue, self.retry_time);
        self.engine.wait(made)
    }

    fn queue(&self, name: &str) -> Result<Box<dyn QueueBackend>> {
        let open = || NatsQueue::open(&self.engine, name, self.retry_time);
        Ok(Box::new(self.once_there(open)?))
    }

    fn submitter(&self, queue: &str, name: &str) -> Result<Box<dyn SubmitterBackend>> {
        let open = || NatsSubmitter::open(&self.engine, queue, name, self.retry_time);
        Ok(Box::new(self.once_there(open)?))
    }

    fn task_source(&self, queue: &str, worker: &str) -> Result<Box<dyn TaskSource>> {
        let open = || NatsTaskSource::open(&self.engine, queue, worker, self.retry_time);
        Ok(Box::new(self.once_there(open)?))
    }

    fn purge(&self, name: &str) -> Result<u64> {
        let purged = layout::purge(&self.engine, name, self.retry_time);
        self.engine.wait(purged)
    }

    fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>> {
        Err(elsewhere("list", name))
    }

    fn retry_dead(&self, name: &str) -> Result<u64> {
        Err(elsewhere("put back", name))
    }

    fn status(&self) -> Result<Status> {
        self.engine.wait(status::status(&self.engine))
    }

    fn durability(&self, name: &str) -> Result<Durability> {
        let durability = status::durability(&self.engine, name, self.retry_time);
        self.engine.wait(durability)
    }
}

impl fmt::Debug for NatsClient {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let address = self.engine.address.to_string();
        f.debug_struct("Client")
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

fn is_before(moment: Option<Instant>) -> bool {
    moment.is_none_or(|moment| Instant::now() < moment)
}

/// What is done with dead letters by taking them from their queue.
fn elsewhere(what: &str, name: &str) -> Error {
    Error::Engine {
        attempt: format!("{what} the dead letters of {name}"),
        reason: format!("on an engine, take them from the queue {name}.dead (Lease::death)"),
    }
}
