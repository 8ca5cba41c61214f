//! What a call waits on, and for how long.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::oneshot;

thread_local! {
    /// Whether a waiter was served since that was last asked. A server runs in one thread.
    static HAS_SERVED: Cell<bool> = const { Cell::new(false) };
}

/// What a client waits on. The queue or object keeps the other end, under the ticket.
pub(super) struct Waiter<T> {
    pub(super) ticket: u64,
    pub(super) receive: oneshot::Receiver<T>,
}

/// Where a waiter is served.
pub(super) struct WaiterSender<T>(oneshot::Sender<T>);

impl<T> Waiter<T> {
    pub(super) fn new(ticket: u64) -> (WaiterSender<T>, Waiter<T>) {
        let (send, receive) = oneshot::channel();
        (WaiterSender(send), Waiter { ticket, receive })
    }
}

impl<T> WaiterSender<T> {
    /// Serves the waiter. What it was to have comes back if it has left.
    pub(super) fn send(self, what: T) -> Result<(), T> {
        self.0.send(what).inspect(|()| HAS_SERVED.set(true))
    }
}

/// Whether a waiter was served since that was last asked.
pub(super) fn has_served() -> bool {
    HAS_SERVED.take()
}

/// So many seconds; none where that is beyond the end of time.
pub(super) fn duration(seconds: f64) -> Option<Duration> {
    const FOREVER: f64 = 1e9;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| seconds < FOREVER)
}
