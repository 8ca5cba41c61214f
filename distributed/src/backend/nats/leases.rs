//! Items that are out: their leases are renewed for as long as this process runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::{AckKind, Message};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::engine::Engine;

/// The leases of one queue.
pub(super) struct Leases {
    held: Arc<Mutex<Held>>,
    renewal: AbortHandle,
    lease: Duration,
}

#[derive(Default)]
struct Held {
    next: u64,
    messages: BTreeMap<u64, Out>,
}

struct Out {
    message: Arc<Message>,
    /// By what its item is known.
    key: u128,
    renewed: Instant,
    /// When the work on it has taken too long.
    expires: Option<Instant>,
}

impl Leases {
    pub(super) fn new(engine: &Arc<Engine>, lease: Duration) -> Leases {
        let held = Arc::new(Mutex::new(Held::default()));
        let renewal = renew(engine.client.clone(), held.clone(), lease);
        let renewal = engine.runtime().spawn(renewal).abort_handle();
        Leases {
            held,
            renewal,
            lease,
        }
    }

    /// Renews the lease from now on, until it is ended or has expired.
    pub(super) fn hold(&self, message: Arc<Message>, key: u128, expires: Option<Duration>) -> u64 {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap();
        held.next += 1;
        let number = held.next;
        let out = Out {
            message,
            key,
            renewed: now,
            expires: expires.and_then(|expires| now.checked_add(expires)),
        };
        held.messages.insert(number, out);
        number
    }

    /// The item of a lease that is not over by our own clock.
    pub(super) fn message(&self, number: u64) -> Option<Arc<Message>> {
        let held = self.held.lock().unwrap();
        let out = held.messages.get(&number)?;
        (out.renewed.elapsed() < self.lease).then(|| out.message.clone())
    }

    /// Ends it; `None` when it was over by our own clock, so that another may have the item.
    pub(super) fn end(&self, number: u64) -> Option<(Arc<Message>, u128)> {
        let out = self.held.lock().unwrap().messages.remove(&number)?;
        (out.renewed.elapsed() < self.lease).then_some((out.message, out.key))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Tells the server three times in a lease that the holder lives.
async fn renew(client: async_nats::Client, held: Arc<Mutex<Held>>, lease: Duration) {
    loop {
        sleep(lease / 3).await;
        if client.connection_state() != State::Connected {
            continue;
        }
        let now = Instant::now();
        let mut due = Vec::new();
        held.lock().unwrap().messages.retain(|_, out| {
            // A process that was frozen finds that its time is up.
            let over = now.duration_since(out.renewed) >= lease
                || out.expires.is_some_and(|expires| expires <= now);
            if !over {
                out.renewed = now;
                due.push(out.message.clone());
            }
            !over
        });
        for message in due {
            // One that could not be sent is sent a third of the lease later.
            let _ = message.ack_with(AckKind::Progress).await;
        }
    }
}
