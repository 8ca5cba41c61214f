//! How long calls take, as counts of those that took so long at most.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::CallTimes;

/// The times that are told apart, in microseconds.
const BOUNDS_US: [u64; 14] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000,
];

/// Counts calls by their time. Each number is right; that they fit each other to the last call is
/// not promised.
#[derive(Debug, Default)]
pub(super) struct CallClock {
    counts: [AtomicU64; BOUNDS_US.len()],
    over: AtomicU64,
    total_ns: AtomicU64,
    waited: AtomicU64,
}

impl CallClock {
    /// Counts a call that took so long, and waited for another client or not.
    pub(super) fn note(&self, time: Duration, has_waited: bool) {
        if has_waited {
            self.waited.fetch_add(1, Relaxed);
            return;
        }
        let place = BOUNDS_US.partition_point(|bound| Duration::from_micros(*bound) < time);
        let count = self.counts.get(place).unwrap_or(&self.over);
        count.fetch_add(1, Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.total_ns.fetch_add(nanos, Relaxed);
    }

    pub(super) fn times(&self) -> CallTimes {
        let bounds = BOUNDS_US.map(Duration::from_micros);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        CallTimes {
            buckets: bounds.into_iter().zip(counts).collect(),
            over: self.over.load(Relaxed),
            total: Duration::from_nanos(self.total_ns.load(Relaxed)),
            waited: self.waited.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_where_its_time_belongs_and_one_that_waited_apart() {
        let clock = CallClock::default();
        for micros in [3, 10, 11, 20_000_000] {
            clock.note(Duration::from_micros(micros), false);
        }
        clock.note(Duration::from_secs(9), true);
        let times = clock.times();
        assert_eq!(times.buckets[0], (Duration::from_micros(10), 2));
        assert_eq!(times.buckets[1], (Duration::from_micros(20), 1));
        assert_eq!((times.over, times.waited), (1, 1));
        assert_eq!(times.total, Duration::from_micros(20_000_024));
        let counts = times.buckets.iter().map(|(_, count)| count);
        assert_eq!(counts.sum::<u64>(), 3);
    }
}
