//! `Semaphore`: Python's `Semaphore` and `BoundedSemaphore`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{LOOK, Segment};
use crate::event_count::EventCount;
use crate::queue::raw::Wait;
use crate::queue::step::step;
use crate::sys::futex::looks;
use crate::sys::identity::Identity;
use crate::sys::mutex::RobustMutex;
use crate::sys::shm::shareable;
use crate::sys::word::{AtomicU32, AtomicU64};
use crate::{Error, Result};

/// How many processes can be told apart as holders at one time.
const HOLDERS: usize = 4096;

shareable! {
    /// How many permits are free is nowhere written, so that no death can make it wrong: it is the
    /// total without what the slots say. All but `freed` is written with the lock held.
    struct SemaphoreHeader {
        lock: RobustMutex,
        /// 1 if `total` never grows.
        bounded: AtomicU32,
        /// Who wants a permit sleeps here.
        freed: EventCount,
        /// How many permits there are, with those that are held.
        total: AtomicU64,
        /// How many slots were ever in use.
        used: AtomicU32,
        unused: AtomicU32,
        holders: [PermitHolder; HOLDERS],
    }

    /// One process's slot. Without permits it is free for any process; one whose owner is 0 is of all
    /// who found no other.
    struct PermitHolder {
        /// The process's [`Identity`].
        owner: AtomicU64,
        /// How many permits it has. Its store commits.
        permits: AtomicU64,
    }
}

/// A number of permits, of which each is in one process at a time: Python's `Semaphore` and, as
/// [`bounded`](Self::bounded), `BoundedSemaphore`.
///
/// A permit belongs to the process that acquired it, not to the thread.
///
/// # When a process is killed
/// The permits of a process that ended, however it did, come back: who waits for one looks for such
/// processes every 20 ms. In Python they are lost.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Semaphore};
///
/// let connections = Semaphore::new(2)?;
/// let killed = Process::<()>::spawn(|| {
///     let _both = [connections.acquire(), connections.acquire()];
///     std::process::abort()
/// })?;
/// let _ = killed.join();
/// let _first = connections.acquire();
/// assert_eq!(connections.available(), 1);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Semaphore {
    #[serde(with = "super::handed_over")]
    segment: Arc<Segment<SemaphoreHeader>>,
}

/// A permit; dropping it gives it back. In a forked child that captured it, it is none.
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    process: Identity,
}

impl Semaphore {
    /// A semaphore with so many permits: `Semaphore(value)`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Semaphore::new(3)?.available(), 3);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(permits: u32) -> Result<Self> {
        Self::create(permits, 0)
    }

    /// A semaphore that never has more permits than these: `BoundedSemaphore(value)`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, sync::Semaphore};
    ///
    /// let semaphore = Semaphore::bounded(1)?;
    /// semaphore.acquire().forget();
    /// semaphore.release()?;
    /// assert_eq!(semaphore.release(), Err(Error::ReleasedTooOften));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn bounded(permits: u32) -> Result<Self> {
        Self::create(permits, 1)
    }

    fn create(permits: u32, bounded: u32) -> Result<Self> {
        let segment = Segment::<SemaphoreHeader>::create("a semaphore", 0)?;
        segment.total.store(permits.into(), Relaxed);
        segment.bounded.store(bounded, Relaxed);
        Ok(Self { segment })
    }

    /// Takes a permit, and waits while there is none: `acquire()`.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiprocess::sync::Semaphore::new(1)?;
    /// let permit = semaphore.acquire();
    /// assert_eq!(semaphore.available(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn acquire(&self) -> Permit<'_> {
        let permit = self.acquire_within(Wait::Forever);
        permit.expect("there is no deadline")
    }

    /// Takes a permit if there is one: `acquire(block=False)`.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Error::TimedOut) if there is none.
    ///
    /// # Examples
    /// ```
    /// assert!(multiprocess::sync::Semaphore::new(0)?.try_acquire().is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Permit<'_>> {
        self.acquire_within(Wait::No)
    }

    /// Takes a permit, and waits for one so long: `acquire(timeout=…)`.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Error::TimedOut) when the time is over.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = multiprocess::sync::Semaphore::new(1)?;
    /// assert!(semaphore.acquire_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>> {
        self.acquire_within(Wait::lasting(timeout))
    }

    fn acquire_within(&self, wait: Wait) -> Result<Permit<'_>> {
        let segment = &self.segment;
        loop {
            let lock = segment.lock.lock(|| wait.lock_deadline(), || ());
            let Some(held) = lock else {
                return Err(Error::TimedOut);
            };
            let taken = self.free() > 0;
            if taken {
                self.take();
            }
            drop(held);
            if taken {
                return Ok(Permit {
                    semaphore: self,
                    process: Identity::mine(),
                });
            }
            if self.take_back_from_the_dead(wait) {
                continue;
            }
            let now = Instant::now();
            let deadline = wait.deadline();
            if matches!(wait, Wait::No) || deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Error::TimedOut);
            }
            let look = now + looks::first(LOOK);
            let look = deadline.map_or(look, |deadline| deadline.min(look));
            let is_free = || self.free() > 0;
            segment.freed.wait(&segment.spin, Some(look), is_free);
        }
    }

    /// Gives a permit back without the [`Permit`], which was [forgotten](Permit::forget): `release()`.
    /// Of this process if it has one; else of another, as any may release in Python. If all permits
    /// are free, there is one more from now on.
    ///
    /// # Errors
    /// [`ReleasedTooOften`](crate::Error::ReleasedTooOften) if all permits are free and the semaphore
    /// is bounded: Python's `ValueError`.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiprocess::sync::Semaphore::new(0)?;
    /// semaphore.release()?;
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn release(&self) -> Result<()> {
        let segment = &self.segment;
        let held = segment.lock.lock(|| None, || ());
        let me = Identity::mine().word();
        let has_permits = |slot: &&PermitHolder| slot.permits.load(SeqCst) > 0;
        let mine = |slot: &&PermitHolder| slot.owner.load(Relaxed) == me;
        let mut holders = self.slots().iter().filter(has_permits);
        let first = holders.clone().next();
        match holders.find(mine).or(first) {
            Some(slot) => {
                let left = slot.permits.load(Relaxed).saturating_sub(1);
                slot.permits.store(left, SeqCst);
            }
            None if segment.bounded.load(Relaxed) != 0 => return Err(Error::ReleasedTooOften),
            None => {
                let more = segment.total.load(Relaxed).saturating_add(1);
                segment.total.store(more, SeqCst);
            }
        }
        step("semaphore: a permit is given back");
        drop(held);
        segment.freed.notify_one();
        Ok(())
    }

    /// How many permits are free at this moment: `get_value()`.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Semaphore::new(5)?.available(), 5);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn available(&self) -> u64 {
        self.take_back_from_the_dead(Wait::No);
        self.free()
    }

    /// The slots that were ever in use.
    fn slots(&self) -> &[PermitHolder] {
        let used = self.segment.used.load(SeqCst) as usize;
        &self.segment.holders[..used.min(HOLDERS)]
    }

    fn free(&self) -> u64 {
        let permits = self.slots().iter().map(|slot| slot.permits.load(SeqCst));
        let held = permits.fold(0, u64::saturating_add);
        self.segment.total.load(SeqCst).saturating_sub(held)
    }

    /// Notes a permit in this process's slot. With the lock held.
    fn take(&self) {
        let me = Identity::mine().word();
        let slots = self.slots();
        let mine = slots.iter().find(|slot| slot.owner.load(Relaxed) == me);
        let unused = || slots.iter().find(|slot| slot.permits.load(Relaxed) == 0);
        let slot = mine.or_else(unused).unwrap_or_else(|| {
            let next = slots.len().min(HOLDERS - 1);
            self.segment.used.store(next as u32 + 1, SeqCst);
            step("semaphore: there is one more slot");
            &self.segment.holders[next]
        });
        let permits = slot.permits.load(Relaxed);
        // The last slot may have another's permits in it: then nobody's death frees them.
        let is_shared = permits > 0 && slot.owner.load(Relaxed) != me;
        slot.owner.store(if is_shared { 0 } else { me }, SeqCst);
        step("semaphore: the holder is named");
        slot.permits.store(permits.saturating_add(1), SeqCst);
        step("semaphore: a permit is taken");
    }

    /// Frees the permits of processes that have ended; returns whether there were any.
    fn take_back_from_the_dead(&self, wait: Wait) -> bool {
        let is_dead = |slot: &&PermitHolder| {
            let owner = Identity::from_word(slot.owner.load(SeqCst));
            slot.permits.load(SeqCst) > 0 && owner.is_some_and(|owner| !owner.is_alive())
        };
        if !self.slots().iter().any(|slot| is_dead(&slot)) {
            return false;
        }
        let Some(held) = self.segment.lock.lock(|| wait.lock_deadline(), || ()) else {
            return false;
        };
        let dead = self.slots().iter().filter(is_dead);
        dead.for_each(|slot| slot.permits.store(0, SeqCst));
        step("semaphore: permits of the dead are back");
        drop(held);
        self.segment.freed.notify_all();
        true
    }
}

impl Permit<'_> {
    /// Keeps the permit for [`Semaphore::release`], or until the process ends.
    ///
    /// # Examples
    /// ```
    /// let semaphore = multiprocess::sync::Semaphore::new(1)?;
    /// semaphore.acquire().forget();
    /// assert_eq!(semaphore.available(), 0);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if Identity::mine() == self.process {
            // Refused if another has released it already.
            let _ = self.semaphore.release();
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
