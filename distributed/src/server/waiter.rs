//! What a call waits on, and for how long.

use std::time::Duration;

use tokio::sync::oneshot;

/// What a client waits on. The queue or object keeps the other end, under the ticket.
pub(super) struct Waiter<T> {
    pub(super) ticket: u64,
    pub(super) receive: oneshot::Receiver<T>,
}

/// So many seconds; none where that is beyond the end of time.
pub(super) fn duration(seconds: f64) -> Option<Duration> {
    const FOREVER: f64 = 1e9;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| seconds < FOREVER)
}
