//! `Barrier`: Python's `Barrier`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ownership::{OwnedLock, Ownership};
use super::{LOOK, Segment};
use crate::event_count::EventCount;
use crate::queue::raw::Wait;
use crate::queue::step::step;
use crate::sys::identity::Identity;
use crate::sys::mutex::{FreeGuard, RobustMutex};
use crate::sys::shm::shareable;
use crate::sys::word::{AtomicU32, AtomicU64};
use crate::{Error, Result};

/// The most parties that a barrier can have.
const PARTIES_MAX: usize = 4096;

shareable! {
    /// All but `changed` and the attendances is written with the lock held.
    struct BarrierHeader {
        lock: RobustMutex,
        /// How many parties there are; written once, by the creator.
        parties: AtomicU32,
        /// Who waits sleeps here.
        changed: EventCount,
        /// The number of the round under way, counted from 1.
        round: AtomicU64,
        /// The last round that was passed. Its store passes it; `round` follows.
        passed: AtomicU64,
        /// The last round that was broken. Its store breaks it; `breaker` was stored before.
        broken: AtomicU64,
        /// Who broke it, by dying: an [`Identity`], or 0.
        breaker: AtomicU64,
        slots: [PartySlot; PARTIES_MAX],
    }

    /// The place of one party.
    struct PartySlot {
        /// Who attends has it locked, so that the system marks it when that one dies.
        attendance: Ownership,
        /// The round in which the party waits, or waited last.
        arrived: AtomicU64,
    }
}

/// A place where a fixed number of threads, of any processes, wait for each other: Python's
/// `Barrier`.
///
/// A thread that takes part more than once [attends](Self::attend) first; then the others hear of its
/// death wherever it died, not only while it waits. [`wait`](Self::wait) attends for one round.
///
/// # When a process is killed
/// The barrier is broken: all who wait get [`PartyDied`](crate::Error::PartyDied) with the pid of the
/// dead, within 20 ms, and so does everyone who comes to wait until someone calls
/// [`reset`](Self::reset). It is the same when a thread panics while it attends. In Python they wait
/// for ever.
///
/// A party that dies before it attends is not missed. A round that is passed stays passed for all who
/// waited in it.
///
/// # Different from Python
/// There is no `action`: let the party whose index is 0 do it, and wait once more. A thread too many
/// is refused, where Python keeps it for the next round.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::{Barrier, Value}};
///
/// let (barrier, started) = (Barrier::new(2)?, Value::new(0)?);
/// let work = || {
///     let party = barrier.attend().unwrap();
///     started.fetch_add(1);
///     party.wait().unwrap();
///     assert_eq!(started.get(), 2);
/// };
/// let both = [Process::spawn(work)?, Process::spawn(work)?];
/// for process in both {
///     process.join()?;
/// }
/// # Ok::<(), multiprocess::Error>(())
/// ```
///
/// ```
/// use multiprocess::{Error, Process, sync::Barrier};
///
/// let barrier = Barrier::new(2)?;
/// let killed = Process::<()>::spawn(|| {
///     let _party = barrier.attend().unwrap();
///     std::process::abort()
/// })?;
/// let pid = killed.pid();
/// let _ = killed.join();
/// assert_eq!(barrier.wait(), Err(Error::PartyDied { pid }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier {
    #[serde(with = "super::handed_over")]
    segment: Arc<Segment<BarrierHeader>>,
}

/// One thread's part in a [`Barrier`], from [`Barrier::attend`] until it is dropped. It stays in its
/// thread.
///
/// In a forked child that captured it, it is none; there, [`wait`](Self::wait) attends for one round.
#[must_use = "the party leaves when it is dropped"]
pub struct Party<'a> {
    barrier: &'a Barrier,
    slot: &'a PartySlot,
    held: OwnedLock<'a>,
}

impl Barrier {
    /// A barrier for so many parties: `Barrier(parties)`.
    ///
    /// # Errors
    /// [`PartyCount`](crate::Error::PartyCount) if `parties` is 0 or more than 4096;
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Barrier::new(3)?.parties(), 3);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(parties: usize) -> Result<Self> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            let max = PARTIES_MAX;
            return Err(Error::PartyCount { parties, max });
        }
        let segment = Segment::<BarrierHeader>::create("a barrier", 0)?;
        segment.parties.store(parties as u32, Relaxed);
        segment.round.store(1, SeqCst);
        Ok(Self { segment })
    }

    /// Takes part from here on, until what it returns is dropped.
    ///
    /// # Errors
    /// [`BarrierFull`](crate::Error::BarrierFull) if all parties attend already, and
    /// [`PartyDied`](crate::Error::PartyDied) or [`BarrierBroken`](crate::Error::BarrierBroken) if
    /// that is so because the barrier waits for its [`reset`](Self::reset).
    ///
    /// # Examples
    /// ```
    /// let barrier = multiprocess::sync::Barrier::new(1)?;
    /// let party = barrier.attend()?;
    /// for _ in 0..3 {
    ///     assert_eq!(party.wait()?, 0);
    /// }
    /// assert!(barrier.attend().is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn attend(&self) -> Result<Party<'_>> {
        self.attend_within(Wait::Forever)
    }

    fn attend_within(&self, wait: Wait) -> Result<Party<'_>> {
        let locked = self.lock(wait)?;
        self.look_for_the_dead();
        let free = self.slots().iter().find_map(|slot| self.take(slot));
        drop(locked);
        free.ok_or_else(|| {
            let parties = self.parties();
            let full = Error::BarrierFull { parties };
            self.breach(self.round()).unwrap_or(full)
        })
    }

    /// The slot, if nobody has it. With the lock held.
    fn take<'a>(&'a self, slot: &'a PartySlot) -> Option<Party<'a>> {
        if slot.attendance.is_held() || slot.attendance.left_by().is_some() {
            return None;
        }
        let held = slot.attendance.lock(|| Some(Instant::now()))?;
        // Of whoever had it before.
        slot.arrived.store(0, SeqCst);
        Some(Party {
            barrier: self,
            slot,
            held,
        })
    }

    /// Attends for one round, and waits for the others in it: `wait()`. Returns how many had arrived
    /// before, so each party has another number.
    ///
    /// # Errors
    /// Those of [`attend`](Self::attend) and [`Party::wait`].
    ///
    /// # Examples
    /// ```
    /// let barrier = multiprocess::sync::Barrier::new(2)?;
    /// let indices = std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| barrier.wait());
    ///     [barrier.wait(), other.join().unwrap()]
    /// });
    /// assert!(indices == [Ok(0), Ok(1)] || indices == [Ok(1), Ok(0)]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait(&self) -> Result<usize> {
        self.attend()?.wait()
    }

    /// As [`wait`](Self::wait), but no longer than this: `wait(timeout)`.
    ///
    /// # Errors
    /// As for [`Party::wait_timeout`], and those of [`attend`](Self::attend).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let barrier = multiprocess::sync::Barrier::new(2)?;
    /// assert!(barrier.wait_timeout(Duration::from_millis(10)).is_err());
    /// assert!(barrier.is_broken());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        let wait = Wait::lasting(timeout);
        self.attend_within(wait)?.wait_within(wait)
    }

    /// Breaks the barrier: all who wait, and all who come until the [`reset`](Self::reset), get
    /// [`BarrierBroken`](crate::Error::BarrierBroken). `abort()`.
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, sync::Barrier};
    ///
    /// let barrier = Barrier::new(2)?;
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(Error::BarrierBroken));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn abort(&self) {
        self.change(Wait::Forever, || self.break_round(0));
    }

    /// Begins a new round: all who wait get [`BarrierBroken`](crate::Error::BarrierBroken), the dead
    /// are forgotten, and others may attend in their places. `reset()`.
    ///
    /// # Examples
    /// ```
    /// let barrier = multiprocess::sync::Barrier::new(1)?;
    /// barrier.abort();
    /// barrier.reset();
    /// assert_eq!(barrier.wait()?, 0);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn reset(&self) {
        self.change(Wait::Forever, || {
            // If this one is killed on the way, the barrier stays broken by those who died before.
            self.look_for_the_dead();
            for slot in self.slots() {
                if slot.attendance.left_by().is_some() {
                    drop(slot.attendance.lock(|| Some(Instant::now())));
                    step("barrier: somebody is forgotten");
                }
            }
            let next = self.round().wrapping_add(1);
            self.segment.round.store(next, SeqCst);
            step("barrier: reset");
        });
    }

    /// How many parties there are: `parties`.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Barrier::new(4)?.parties(), 4);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn parties(&self) -> usize {
        self.slots().len()
    }

    /// How many wait at this moment: `n_waiting`. None once the barrier is broken.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Barrier::new(4)?.waiting(), 0);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn waiting(&self) -> usize {
        let round = self.round();
        match self.breach(round) {
            Some(_) => 0,
            None => self.arrived(round),
        }
    }

    /// Whether all waits fail until the [`reset`](Self::reset): `broken`.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiprocess::sync::Barrier::new(4)?.is_broken());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_broken(&self) -> bool {
        self.dead().is_some() || self.breach(self.round()).is_some()
    }

    fn slots(&self) -> &[PartySlot] {
        let parties = self.segment.parties.load(Relaxed) as usize;
        &self.segment.slots[..parties.min(PARTIES_MAX)]
    }

    /// The number of the round under way.
    fn round(&self) -> u64 {
        self.segment.round.load(SeqCst)
    }

    /// Locks, and begins the next round if one that died with the lock had passed this one.
    fn lock(&self, wait: Wait) -> Result<FreeGuard<'_>> {
        let segment = &self.segment;
        let guard = segment.lock.lock_free_order(|| wait.lock_deadline());
        let guard = guard.ok_or(Error::TimedOut)?;
        // The system frees this lock before it marks the slot of the dead, so others may come first.
        let passed = segment.passed.load(SeqCst);
        if passed == self.round() {
            segment.round.store(passed.wrapping_add(1), SeqCst);
        }
        Ok(guard)
    }

    /// Makes a change with the lock held, if it is got in time, and tells all who wait.
    fn change(&self, wait: Wait, change: impl FnOnce()) {
        if let Ok(locked) = self.lock(wait) {
            change();
            drop(locked);
        }
        self.segment.changed.notify_many(usize::MAX);
    }

    /// How many wait in this round.
    fn arrived(&self, round: u64) -> usize {
        let waits = |slot: &&PartySlot| slot.arrived.load(SeqCst) == round;
        self.slots().iter().filter(waits).count()
    }

    /// One who attended and died.
    fn dead(&self) -> Option<Identity> {
        self.slots()
            .iter()
            .find_map(|slot| slot.attendance.left_by())
    }

    /// Breaks the round if a party has died. With the lock held.
    fn look_for_the_dead(&self) {
        if let Some(dead) = self.dead() {
            self.break_round(dead.word());
        }
    }

    /// Breaks the round under way, if it is not broken. With the lock held.
    fn break_round(&self, breaker: u64) {
        let round = self.round();
        if self.segment.broken.load(SeqCst) != round {
            self.segment.breaker.store(breaker, SeqCst);
            step("barrier: the breaker is named");
            self.segment.broken.store(round, SeqCst);
            step("barrier: broken");
        }
    }

    /// How this round was broken, if it was.
    fn breach(&self, round: u64) -> Option<Error> {
        if self.segment.broken.load(SeqCst) != round {
            return None;
        }
        let breaker = Identity::from_word(self.segment.breaker.load(SeqCst));
        Some(
            breaker.map_or(Error::BarrierBroken, |dead| Error::PartyDied {
                pid: dead.pid(),
            }),
        )
    }

    /// What became of a round in which a party waits; `None` if it is under way. Nobody can pass the
    /// next one before that party has seen it.
    fn outcome(&self, round: u64) -> Option<Result<()>> {
        // The round under way first: if it is another, this one's end was stored before.
        let is_over = self.round() != round;
        if self.segment.passed.load(SeqCst) == round {
            return Some(Ok(()));
        }
        let breach = self.breach(round);
        let breach = breach.or_else(|| is_over.then_some(Error::BarrierBroken));
        breach.map(Err)
    }
}

impl Party<'_> {
    /// Waits until all parties wait: `wait()`. Returns how many had arrived before, so each party has
    /// another number; who has 0 may do what is to be done once.
    ///
    /// # Errors
    /// [`PartyDied`](crate::Error::PartyDied) if a process died, or a thread panicked, while it
    /// attended; [`BarrierBroken`](crate::Error::BarrierBroken) if someone gave up, by
    /// [`abort`](Barrier::abort), [`reset`](Barrier::reset) or a timeout.
    ///
    /// # Examples
    /// See [`Barrier`].
    pub fn wait(&self) -> Result<usize> {
        self.wait_within(Wait::Forever)
    }

    /// As [`wait`](Self::wait), but no longer than this: `wait(timeout)`. When the time is over, the
    /// barrier is broken for all, as in Python.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Error::TimedOut) when the time is over, and those of [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use multiprocess::{Error, sync::Barrier};
    ///
    /// let barrier = Barrier::new(2)?;
    /// let party = barrier.attend()?;
    /// let soon = Duration::from_millis(10);
    /// assert_eq!(party.wait_timeout(soon), Err(Error::TimedOut));
    /// assert_eq!(party.wait_timeout(soon), Err(Error::BarrierBroken));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        self.wait_within(Wait::lasting(timeout))
    }

    fn wait_within(&self, wait: Wait) -> Result<usize> {
        if !self.held.is_ours() {
            return self.barrier.attend_within(wait)?.wait_within(wait);
        }
        let barrier = self.barrier;
        let (round, index) = self.arrive(wait)?;
        let answer = |outcome: Result<()>| outcome.map(|()| index);
        let segment = &barrier.segment;
        loop {
            let now = Instant::now();
            let deadline = wait.deadline();
            let look = deadline.map_or(now + LOOK, |deadline| deadline.min(now + LOOK));
            let is_over = || barrier.outcome(round).is_some();
            segment.changed.wait(&segment.spin, Some(look), is_over);
            if let Some(outcome) = barrier.outcome(round) {
                return answer(outcome);
            }
            if barrier.dead().is_some() {
                barrier.change(wait, || barrier.look_for_the_dead());
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return self.give_up(round).map_or(Err(Error::TimedOut), answer);
            }
        }
    }

    /// Breaks the round, since the time is over, unless something became of it at the last moment:
    /// then that is returned.
    fn give_up(&self, round: u64) -> Option<Result<()>> {
        let barrier = self.barrier;
        let mut outcome = None;
        barrier.change(Wait::No, || {
            outcome = barrier.outcome(round);
            if outcome.is_none() {
                barrier.break_round(0);
            }
        });
        outcome
    }

    /// Notes that this party waits, and passes the round if it is the last. Returns the number of the
    /// round, and how many were there before.
    fn arrive(&self, wait: Wait) -> Result<(u64, usize)> {
        let barrier = self.barrier;
        let segment = &barrier.segment;
        let locked = barrier.lock(wait)?;
        barrier.look_for_the_dead();
        let round = barrier.round();
        if let Some(error) = barrier.breach(round) {
            drop(locked);
            // Who broke it may have had no time to say so.
            segment.changed.notify_many(usize::MAX);
            return Err(error);
        }
        self.slot.arrived.store(round, SeqCst);
        step("barrier: arrived");
        let arrived = barrier.arrived(round);
        let passes = arrived >= barrier.parties();
        if passes {
            segment.passed.store(round, SeqCst);
            step("barrier: passed");
            segment.round.store(round.wrapping_add(1), SeqCst);
        }
        drop(locked);
        if passes {
            step("barrier: the next round is under way");
            segment.changed.notify_many(usize::MAX);
        }
        Ok((round, arrived.saturating_sub(1)))
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        if self.held.is_ours() && self.held.has_panicked() {
            let me = Identity::mine().word();
            let barrier = self.barrier;
            barrier.change(Wait::No, || barrier.break_round(me));
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party").finish_non_exhaustive()
    }
}
