//! `Condvar`: Python's `Condition`, without its lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::mutex::{Mutex, MutexGuard};
use super::owner_died::{LockResult, OwnerDied};
use super::{Plain, Segment, after};
use crate::Result;
use crate::event_count::EventCount;
use crate::queue::raw::Wait;
use crate::queue::step::step;
use crate::sys::shm::shareable;
use crate::sys::word::AtomicU64;

shareable! {
    /// Nothing in it says who waits, so that no death can make it wrong.
    struct CondvarHeader {
        /// How often somebody was notified.
        notifications: AtomicU64,
        /// Who waits sleeps here.
        sleepers: EventCount,
    }
}

/// A place to wait, without a lock, for a change of what the lock guards: Python's `Condition`, in
/// the shape of [`std::sync::Condvar`].
///
/// The lock is a [`Mutex`] beside it. Wait by [`wait_while`](Self::wait_while): other waits may
/// return although nothing has changed, as those of [`std::sync::Condvar`].
///
/// # When a process is killed
/// One that waits is not missed. One that is killed after it was woken takes no notification along:
/// whoever waits at the moment of a [`notify_one`](Self::notify_one) returns in the end, one at once
/// and the others when they next look by themselves, after 20 ms or, if they have waited for long,
/// after 2 s at most. The same look finds what one had no time to say that was killed in a
/// `notify_one` or `notify_all`.
///
/// If a process was killed while it had the lock, the next wait that returns says so, as
/// [`Mutex::lock`] does: with the guard, and the pid of the dead.
///
/// # Examples
/// ```
/// use multiprocess::Process;
/// use multiprocess::sync::{Condvar, Mutex};
///
/// let (stock, delivered) = (Mutex::new(0)?, Condvar::new()?);
/// let buyer = Process::spawn(|| {
///     let stock = stock.lock().unwrap();
///     let mut stock = delivered.wait_while(stock, |stock| *stock < 3).unwrap();
///     *stock -= 3;
/// })?;
/// for _ in 0..3 {
///     let mut stock = stock.lock()?;
///     *stock += 1;
///     delivered.notify_one();
/// }
/// buyer.join()?;
/// assert_eq!(*stock.lock()?, 0);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condvar {
    #[serde(with = "super::handed_over")]
    segment: Arc<Segment<CondvarHeader>>,
}

/// Whether a wait ended because its time was over: as [`std::sync::WaitTimeoutResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over before a notification came.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (mutex, condvar) = (Mutex::new(())?, Condvar::new()?);
    /// let (_guard, result) = condvar
    ///     .wait_timeout(mutex.lock()?, Duration::from_millis(10))
    ///     .unwrap();
    /// assert!(result.timed_out());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A new place to wait.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// let condvar = multiprocess::sync::Condvar::new()?;
    /// condvar.notify_one(); // Nobody waits.
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        let segment = Segment::create("a condition variable", 0)?;
        Ok(Self { segment })
    }

    /// Unlocks, waits for a notification, and locks again: `wait()`. What others changed meanwhile
    /// is in the new guard. It may return without a notification.
    ///
    /// # Errors
    /// [`OwnerDied`] as for [`Mutex::lock`], with the guard in it.
    ///
    /// # Examples
    /// ```
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (ready, changed) = (Mutex::new(0u8)?, Condvar::new()?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         *ready.lock().unwrap() = 1;
    ///         changed.notify_one();
    ///     });
    ///     let mut guard = ready.lock().unwrap();
    ///     while *guard == 0 {
    ///         guard = changed.wait(guard).unwrap();
    ///     }
    /// });
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait<'a, T: Plain>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (mutex, _) = self.unlocked(guard, Wait::Forever);
        mutex.lock()
    }

    /// Waits as long as `condition` says so of the value, which it looks at with the lock held:
    /// `wait_for(lambda: not condition())`.
    ///
    /// # Errors
    /// [`OwnerDied`] as for [`Mutex::lock`], with the guard in it; `condition` was then not asked
    /// again.
    ///
    /// # Examples
    /// ```
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (count, changed) = (Mutex::new(5)?, Condvar::new()?);
    /// let guard = changed.wait_while(count.lock()?, |count| *count == 0).unwrap();
    /// assert_eq!(*guard, 5);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for a notification within this time: `wait(timeout)`. The lock is
    /// then waited for as long as it takes.
    ///
    /// # Errors
    /// [`OwnerDied`] as for [`Mutex::lock`], with the guard and the result in it.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (count, changed) = (Mutex::new(5)?, Condvar::new()?);
    /// let soon = Duration::from_millis(10);
    /// let (guard, result) = changed.wait_timeout(count.lock()?, soon).unwrap();
    /// assert_eq!((*guard, result.timed_out()), (5, true));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (mutex, notified) = self.unlocked(guard, Wait::lasting(timeout));
        let result = WaitTimeoutResult(!notified);
        match mutex.lock() {
            Ok(guard) => Ok((guard, result)),
            Err(died) => {
                let pid = died.pid();
                Err(OwnerDied::new((died.into_inner(), result), pid))
            }
        }
    }

    /// As [`wait_while`](Self::wait_while), until this time is over: `wait_for(…, timeout)`. The
    /// result says that it is if `condition` still holds.
    ///
    /// # Errors
    /// As for [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (count, changed) = (Mutex::new(0)?, Condvar::new()?);
    /// let is_empty = |count: &mut i32| *count == 0;
    /// let soon = Duration::from_millis(10);
    /// let (guard, result) = changed
    ///     .wait_timeout_while(count.lock()?, soon, is_empty)
    ///     .unwrap();
    /// assert_eq!((*guard, result.timed_out()), (0, true));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_timeout_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let deadline = after(timeout);
        while condition(&mut guard) {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.unwrap_or(Duration::MAX);
            if left.is_zero() {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            (guard, _) = self.wait_timeout(guard, left)?;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    /// Wakes one of those who wait, if any do: `notify()`. The others who wait may return later, as
    /// if nothing had happened; see [above](Self#when-a-process-is-killed).
    ///
    /// Change what they wait for with the lock held, and call this before unlocking: a process that is
    /// killed between the two has made its change and told nobody.
    ///
    /// # Examples
    /// See [`Condvar`].
    pub fn notify_one(&self) {
        self.count();
        self.segment.sleepers.notify_one();
    }

    /// Wakes all who wait: `notify_all()`.
    ///
    /// # Examples
    /// ```
    /// use multiprocess::Process;
    /// use multiprocess::sync::{Condvar, Mutex};
    ///
    /// let (open, changed) = (Mutex::new(0u8)?, Condvar::new()?);
    /// let enter = || drop(changed.wait_while(open.lock().unwrap(), |open| *open == 0));
    /// let visitors = [Process::spawn(enter)?, Process::spawn(enter)?];
    /// *open.lock()? = 1;
    /// changed.notify_all();
    /// for visitor in visitors {
    ///     visitor.join()?;
    /// }
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn notify_all(&self) {
        self.count();
        self.segment.sleepers.notify_many(usize::MAX);
    }

    /// From here on, a wait that began before has been notified.
    fn count(&self) {
        self.segment.notifications.fetch_add(1, SeqCst);
        step("condvar: counted");
    }

    /// Unlocks and waits; returns the mutex, and whether there was a notification in time.
    fn unlocked<'a, T: Plain>(&self, guard: MutexGuard<'a, T>, wait: Wait) -> (&'a Mutex<T>, bool) {
        // With the lock held: who changes what is waited for comes after this, and is counted then.
        let begun = self.notifications();
        let mutex = guard.mutex();
        drop(guard);
        step("condvar: unlocked");
        let notified = self.notified_since(begun, wait);
        step("condvar: woken");
        (mutex, notified)
    }

    fn notified_since(&self, begun: u64, wait: Wait) -> bool {
        let is_notified = || self.notifications() != begun;
        let segment = &self.segment;
        segment
            .sleepers
            .wait(&segment.spin, wait.deadline(), is_notified)
    }

    fn notifications(&self) -> u64 {
        self.segment.notifications.load(SeqCst)
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::orderings::weakly;

    #[test]
    fn who_misses_the_notification_is_seen_to_sleep() {
        for (seed, all) in (1..=3000).map(|seed| (seed, seed % 2 == 0)) {
            let condvar = Condvar::new().expect("a page");
            let begun = condvar.notifications();
            let notify = || match all {
                true => condvar.notify_all(),
                false => condvar.notify_one(),
            };
            let mut notified = true;
            weakly(seed, notify, || {
                notified = condvar.notified_since(begun, Wait::Until(Instant::now()));
            });
            let is_lost = !notified && condvar.segment.sleepers.has_sleeper();
            assert!(!is_lost, "nobody wakes it: seed {seed}");
        }
    }
}
