//! How soon the others know that a process was killed.

use std::time::{Duration, Instant};

use super::{MEASURED, many_kills};

/// What is measured of many deaths, by a clock that this process and its children have in common.
pub(crate) struct Deaths {
    clock: Instant,
    times: Vec<Duration>,
}

impl Deaths {
    pub(crate) fn new() -> Self {
        Self {
            clock: Instant::now(),
            times: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// One who was killed then is known to be dead since.
    pub(crate) fn known(&mut self, killed: Duration, since: Duration) {
        self.times.push(since.saturating_sub(killed));
    }

    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// Says what was measured, if many were killed.
    pub(crate) fn tell(mut self, what: &str) {
        if many_kills().is_none() {
            return;
        }
        self.times.sort_unstable();
        let count = self.times.len();
        let at = |place: usize| self.times.get(place).copied().unwrap_or_default();
        println!(
            "{MEASURED}{what}: {count} times, median {:?}, 99 % {:?}, longest {:?}",
            at(count / 2),
            at(count * 99 / 100),
            at(count.saturating_sub(1))
        );
    }
}
