//! Queues that calls have made, and when nobody uses them any more: a client that is killed tells
//! nothing of its proxies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queues::Queues;

impl Queues {
    /// Notes that a connection calls a queue, if that is one that a call has made.
    pub(super) fn note_use(&mut self, ident: &str, connection: u64) {
        if let Some(queue) = self.get_mut(ident).filter(|queue| queue.is_made) {
            queue.used = Instant::now();
            if queue.users.insert(connection) {
                let ident = Arc::clone(&queue.ident);
                self.used_by.entry(connection).or_default().push(ident);
            }
        }
    }

    /// A connection has ended, and uses nothing any more.
    pub(super) fn forget_user(&mut self, connection: u64) {
        for ident in self.used_by.remove(&connection).unwrap_or_default() {
            if let Some(queue) = self.get_mut(&ident) {
                queue.users.remove(&connection);
                queue.used = Instant::now();
            }
        }
    }

    /// Drops the queues that nobody has used for so long, and that no open connection has used.
    pub(super) fn drop_unused(&mut self, now: Instant, time: Duration) {
        let unused = self.iter().filter(|queue| {
            let idle = now.saturating_duration_since(queue.used);
            queue.is_made && queue.users.is_empty() && idle >= time
        });
        let unused: Vec<Arc<str>> = unused.map(|queue| Arc::clone(&queue.ident)).collect();
        for ident in unused {
            tracing::warn!(queue = &*ident, "a queue that nobody uses is dropped");
            self.drop_made(&ident);
        }
    }
}
