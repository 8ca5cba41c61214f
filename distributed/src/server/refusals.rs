//! The log of peers that are refused: it names them, and no stranger fills a disk with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::warn;

use super::listener::Peer;

/// How many of them are named in this time; the others are counted.
const NAMED_MAX: u64 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// Why a peer is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum RefusalReason {
    Late,
    Evicted,
    Full,
    Key,
    Protocol,
}

#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<RefusalCount>);

#[derive(Debug, Default)]
struct RefusalCount {
    since: Option<Instant>,
    count: u64,
    /// How many there were since the start.
    by_reason: BTreeMap<&'static str, u64>,
}

impl RefusalReason {
    /// The word under which it is counted.
    fn word(self) -> &'static str {
        match self {
            RefusalReason::Late => "late",
            RefusalReason::Evicted => "evicted",
            RefusalReason::Full => "full",
            RefusalReason::Key => "key",
            RefusalReason::Protocol => "protocol",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            RefusalReason::Late => "it has not proved the key and said what it wants in time",
            RefusalReason::Evicted => "it was silent, and another comes",
            RefusalReason::Full => "there are as many clients as `max_connections` allows",
            RefusalReason::Key => "it has another key, or proves it by MD5 where that is not taken",
            RefusalReason::Protocol => "it speaks another protocol",
        })
    }
}

impl Refusals {
    /// Says that a peer was refused, and why.
    pub(super) fn note(&self, peer: Peer, reason: RefusalReason) {
        let (is_named, unnamed) = {
            let mut count = self.0.lock().unwrap();
            *count.by_reason.entry(reason.word()).or_default() += 1;
            count.next(Instant::now())
        };
        if unnamed > 0 {
            warn!(peers = unnamed, "more peers were refused");
        }
        if is_named {
            warn!(%peer, "a peer is refused: {reason}");
        }
    }

    /// How many were refused since the start, by the word for the reason.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let count = self.0.lock().unwrap();
        let by_reason = count.by_reason.iter();
        by_reason.map(|(word, n)| (word.to_string(), *n)).collect()
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
