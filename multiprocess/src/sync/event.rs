//! `Event`: Python's `Event`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Segment;
use crate::event_count::EventCount;
use crate::queue::raw::Wait;
use crate::queue::step::step;
use crate::sys::shm::shareable;
use crate::sys::word::AtomicU64;
use crate::{Error, Result};

shareable! {
    /// Nothing in it says who waits, so that no death can make it wrong.
    struct EventHeader {
        /// How often it was set or cleared: odd while it is set. One store sets it.
        changes: AtomicU64,
        /// Who waits sleeps here.
        changed: EventCount,
    }
}

/// A flag that processes wait for: Python's `Event`.
///
/// Whoever waits when it is set goes on, also if it is cleared at once. What was written before
/// [`set`](Self::set) is seen after [`wait`](Self::wait).
///
/// # When a process is killed
/// One that waits is not missed: nobody asks it for an answer, as Python's `set` does. One that is
/// killed in `set` has set the event or has not. If it has and had no time to wake those who wait,
/// they find the event set by themselves, after 20 ms or, if they have waited for long, after 2 s at
/// most.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Event};
///
/// let go = Event::new()?;
/// let runner = Process::spawn(|| go.wait())?;
/// assert!(runner.is_alive());
/// go.set();
/// runner.join()?;
/// assert!(go.is_set());
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Event {
    #[serde(with = "super::handed_over")]
    segment: Arc<Segment<EventHeader>>,
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiprocess::sync::Event::new()?.is_set());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        let segment = Segment::create("an event", 0)?;
        Ok(Self { segment })
    }

    /// Whether it is set at this moment: `is_set()`.
    ///
    /// # Examples
    /// ```
    /// let event = multiprocess::sync::Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_set(&self) -> bool {
        is_set(self.changes())
    }

    /// Sets it, if it is not set, and wakes all who wait: `set()`.
    ///
    /// # Examples
    /// ```
    /// let event = multiprocess::sync::Event::new()?;
    /// event.set();
    /// event.set();
    /// event.wait();
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn set(&self) {
        self.change_if(|changes| !is_set(changes));
        step("event: set");
        // Also if it was set before: whoever did that may have died before it came here.
        self.segment.changed.notify_many(usize::MAX);
    }

    /// Clears it, if it is set: `clear()`. Who waited when it was set goes on all the same.
    ///
    /// # Examples
    /// ```
    /// let event = multiprocess::sync::Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn clear(&self) {
        self.change_if(is_set);
    }

    /// Waits until it is set: `wait()`.
    ///
    /// # Examples
    /// ```
    /// let event = multiprocess::sync::Event::new()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| event.set());
    ///     event.wait();
    /// });
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait(&self) {
        self.wait_within(Wait::Forever);
    }

    /// Waits until it is set, and no longer than this: `wait(timeout)`.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Error::TimedOut) when the time is over.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = multiprocess::sync::Event::new()?;
    /// assert!(event.wait_timeout(Duration::from_millis(10)).is_err());
    /// event.set();
    /// event.wait_timeout(Duration::ZERO)?;
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        match self.wait_within(Wait::lasting(timeout)) {
            true => Ok(()),
            false => Err(Error::TimedOut),
        }
    }

    /// Returns whether it was set in time.
    fn wait_within(&self, wait: Wait) -> bool {
        let begun = self.changes();
        if is_set(begun) {
            return true;
        }
        // It was set meanwhile if it is set, and also if it was cleared again since.
        let was_set = || self.changes() != begun;
        let segment = &self.segment;
        segment
            .changed
            .wait(&segment.spin, wait.deadline(), was_set)
    }

    fn changes(&self) -> u64 {
        self.segment.changes.load(SeqCst)
    }

    /// Changes it if it is as `applies` says.
    fn change_if(&self, applies: impl Fn(u64) -> bool) {
        let next = |changes: u64| applies(changes).then(|| changes.wrapping_add(1));
        // Refused if another has changed it already, which is as well.
        let _ = self.segment.changes.fetch_update(SeqCst, SeqCst, next);
    }
}

fn is_set(changes: u64) -> bool {
    changes % 2 == 1
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::orderings::weakly;

    #[test]
    fn who_misses_the_set_is_seen_to_sleep() {
        for seed in 1..=3000 {
            let event = Event::new().expect("a page");
            let mut was_set = true;
            weakly(
                seed,
                || event.set(),
                || was_set = event.wait_timeout(Duration::ZERO).is_ok(),
            );
            let is_lost = !was_set && event.segment.changed.has_sleeper();
            assert!(!is_lost, "nobody wakes it: seed {seed}");
        }
    }

    #[test]
    fn what_was_written_before_the_set_is_read_after_the_wait() {
        for seed in 1..=1000 {
            let event = Event::new().expect("a page");
            let data = Event::new().expect("a page");
            let word = &data.segment.changes;
            weakly(
                seed,
                || {
                    word.store(seed, std::sync::atomic::Ordering::Relaxed);
                    event.set();
                },
                || {
                    if event.wait_timeout(Duration::ZERO).is_ok() {
                        let seen = word.load(std::sync::atomic::Ordering::Relaxed);
                        assert_eq!(seen, seed, "an old value");
                    }
                },
            );
        }
    }
}
