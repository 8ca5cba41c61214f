//! The log of peers that are refused: it names them, and no stranger fills a disk with it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::warn;

use super::listener::Peer;

/// How many of them are named in this time; the others are counted.
const NAMED_MAX: u64 = 10;
const PERIOD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<RefusalCount>);

#[derive(Debug, Default)]
struct RefusalCount {
    since: Option<Instant>,
    count: u64,
}

impl Refusals {
    /// Says that a peer was refused, and why.
    pub(super) fn note(&self, peer: Peer, reason: &'static str) {
        let (is_named, unnamed) = self.0.lock().unwrap().next(Instant::now());
        if unnamed > 0 {
            warn!(peers = unnamed, "more peers were refused");
        }
        if is_named {
            warn!(%peer, "a peer is refused: {reason}");
        }
    }
}

impl RefusalCount {
    /// Whether the next one is named, and how many of the last period were not.
    fn next(&mut self, now: Instant) -> (bool, u64) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= PERIOD;
        let mut unnamed = 0;
        if self.since.is_none_or(is_over) {
            unnamed = self.count.saturating_sub(NAMED_MAX);
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
        (self.count <= NAMED_MAX, unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_named_in_ten_seconds_and_the_others_counted() {
        let mut count = RefusalCount::default();
        let start = Instant::now();
        let named = (0..25).filter(|_| count.next(start).0).count();
        assert_eq!(named, 10);
        assert_eq!(count.next(start + PERIOD), (true, 15));
        assert_eq!(count.next(start + PERIOD), (true, 0));
    }
}
