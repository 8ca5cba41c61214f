//! What the sessions of a server share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::call_clock::CallClock;
use super::memory::Budget;
use super::objects::ObjectType;
use super::queues::Queues;
use super::refusals::Refusals;
use super::strangers::Strangers;
use crate::{QueueOrder, Status};

/// What a client may ask of the server at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of one message.
    pub(super) message: usize,
    /// Clients that have proved the key, at one time.
    pub(super) connections: usize,
    /// How long the handshake and the first request may take.
    pub(super) handshake: Duration,
    /// How long a client's machine may be silent.
    pub(super) peer_timeout: Duration,
    /// How long a queue that a call has made may be without use.
    pub(super) factory_timeout: Option<Duration>,
    /// Whether MD5 proves nothing.
    pub(super) requires_sha256: bool,
}

/// What a name makes whenever a client calls it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Factory {
    Queue(QueueOrder),
    Object(ObjectType),
}

pub(super) struct ServerState {
    pub(super) key: Vec<u8>,
    pub(super) factories: BTreeMap<String, Factory>,
    pub(super) limits: Limits,
    pub(super) queues: Mutex<Queues>,
    /// What the builder's `max_memory` says, in bytes.
    pub(super) max_memory: u64,
    /// The budget of what is stored, which is three quarters of that.
    pub(super) memory: Arc<Budget>,
    /// The memory for long messages on their way in, the last quarter, in permits of
    /// [`PERMIT`](super::frame_stream::PERMIT) bytes.
    pub(super) messages: Arc<Semaphore>,
    /// The places of those who have not proved the key, and of those who have.
    pub(super) strangers: Arc<Strangers>,
    pub(super) places: Arc<Semaphore>,
    pub(super) refusals: Refusals,
    pub(super) calls: CallClock,
    /// Whether the server is to end.
    pub(super) stop: watch::Sender<bool>,
}

impl ServerState {
    /// The queues. Held for moments only, never while something waits. A subscriber of the program's
    /// that panics at what it is told here ends its caller's connection, and nobody else's.
    pub(super) fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server says of itself, with the queues in hand.
    pub(super) fn status(&self, queues: &Queues) -> Status {
        let now = Instant::now();
        Status {
            connections: queues.connections,
            memory: self.memory.used(),
            max_memory: self.max_memory,
            queues: queues.status(now),
            clients: queues.clients.len() as u64,
            refused: self.refusals.counts(),
            objects: queues.objects.len() as u64,
            calls: self.calls.times(),
            holds: queues.holds(now),
            waits: queues.waits(now),
        }
    }
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // The key is nobody's business.
        f.debug_struct("ServerState")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
