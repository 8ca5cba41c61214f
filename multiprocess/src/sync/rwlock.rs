//! `RwLock`: many read, or one writes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::owner_died::{LockResult, TryLockError, TryLockResult};
use super::ownership::Ownership;
use super::stored::{Exclusive, Versions};
use super::{Plain, Segment};
use crate::Result;
use crate::queue::raw::Wait;
use crate::queue::step::step;
use crate::sys::identity::Identity;
use crate::sys::mutex::{FreeGuard, RobustMutex};
use crate::sys::shm::shareable;
use crate::sys::word::{AtomicU32, AtomicU64};

/// How many can read at one time.
const READERS_MAX: usize = 1024;

shareable! {
    /// The value follows. How many read is nowhere counted, so that no death can make it wrong: each
    /// has a lock of its own, which the system marks if its owner dies.
    struct RwLockHeader {
        /// Who writes has it with its name, from before it waits for the readers; who begins to read
        /// has it for a moment. So nobody begins to read beside a writer, or before one that waits.
        gate: Ownership,
        versions: Versions,
        /// How many places were ever in use. Written with the gate held.
        used: AtomicU32,
        unused: AtomicU32,
        places: [ReadingPlace; READERS_MAX],
    }

    /// The place of one who reads.
    struct ReadingPlace {
        lock: RobustMutex,
        /// The process that reads, or did.
        reader: AtomicU64,
    }
}

/// A value that many threads of any processes read at one time, or one writes: in the shape of
/// [`std::sync::RwLock`]. Python has none.
///
/// The guards have copies of the value. When the one of a writer is dropped, the changed value
/// replaces the shared one, in one step.
///
/// A writer that waits keeps those from reading who come after it, so that it gets its turn. Whoever
/// reads must therefore not ask to read again in the same thread: if a writer waits, both wait for
/// ever. At most 1024 read at one time; the next waits for one of them.
///
/// # When a process is killed
/// One that read does not count any more, and a writer that waits for it goes on at once. One that
/// had the lock for writing, or waited for the readers, is named to whoever locks next, for reading or writing, as by
/// [`Mutex`](super::Mutex): by an [`OwnerDied`](super::OwnerDied) with the guard in it. The value is
/// as it was before that one locked.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::RwLock};
///
/// let limits = RwLock::new([10, 20])?;
/// let is_sorted = || limits.read().unwrap().is_sorted();
/// let readers = [Process::spawn(is_sorted)?, Process::spawn(is_sorted)?];
/// limits.write()?[1] = 30;
/// for reader in readers {
///     assert!(reader.join()?);
/// }
/// assert_eq!(*limits.read()?, [10, 30]);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct RwLock<T> {
    segment: Arc<Segment<RwLockHeader>>,
    value: PhantomData<fn(T) -> T>,
}

/// The lock is held for reading; dropping the guard gives it back. It stays in its thread.
///
/// In a forked child that captured it, it is a copy of the value and no lock.
#[must_use = "the lock is given back when its guard is dropped"]
pub struct RwLockReadGuard<'a, T: Plain> {
    value: T,
    _held: FreeGuard<'a>,
}

/// The lock is held for writing; dropping the guard gives it back. It stays in its thread.
///
/// In a forked child that captured it, it is a copy of the value and no lock.
#[must_use = "the lock is given back when its guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    exclusive: Exclusive<'a, T>,
}

impl<T: Plain> RwLock<T> {
    /// A new lock, which nobody has.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// assert_eq!(*lock.read()?, 7);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        let words = Versions::words_of::<T>();
        let segment = Segment::<RwLockHeader>::create("a lock", words)?;
        segment.versions.replace(segment.words(), &value);
        Ok(Self {
            segment,
            value: PhantomData,
        })
    }

    /// Locks for reading, and waits while another writes or waits for that.
    ///
    /// # Errors
    /// [`OwnerDied`](super::OwnerDied), with the guard in it, if a writer died with the lock and
    /// nobody has called [`clear_poison`](Self::clear_poison).
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let (first, second) = (lock.read()?, lock.read()?);
    /// assert_eq!(*first, *second);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_within(Wait::Forever)
            .expect("there is no deadline")
    }

    /// Locks for reading if nobody writes or waits for that.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if another does, and that of [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let writing = lock.write()?;
    /// assert!(lock.try_read().is_err());
    /// # drop(writing);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        // Another that begins to read may be in the gate, for a moment or, if it is stopped, for long.
        let patience = Wait::No.lock_deadline();
        loop {
            let locked = self.read_within(Wait::No);
            let is_over = || patience.is_some_and(|at| at <= Instant::now());
            if locked.is_some() || self.holder().is_some() || is_over() {
                return TryLockError::of(locked);
            }
        }
    }

    /// Locks for reading, and waits so long.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) when the time is over, and that of
    /// [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let writing = lock.write()?;
    /// assert!(lock.read_timeout(Duration::from_millis(10)).is_err());
    /// # drop(writing);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        TryLockError::of(self.read_within(Wait::lasting(timeout)))
    }

    /// Locks for writing, and waits while others read or write.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// *lock.write()? += 1;
    /// assert_eq!(*lock.read()?, 8);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_within(Wait::Forever)
            .expect("there is no deadline")
    }

    /// Locks for writing if nobody reads or writes.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if another does, and that of [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let reading = lock.read()?;
    /// assert!(lock.try_write().is_err());
    /// # drop(reading);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        TryLockError::of(self.write_within(Wait::No))
    }

    /// Locks for writing, and waits so long.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) when the time is over, and that of
    /// [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// assert!(lock.write_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        TryLockError::of(self.write_within(Wait::lasting(timeout)))
    }

    fn read_within(&self, wait: Wait) -> Option<LockResult<RwLockReadGuard<'_, T>>> {
        let segment = &self.segment;
        let gate = segment.gate.enter(|| deadline(wait))?;
        let place = self.free_place();
        let lock = place.lock.lock_free_order(|| deadline(wait))?;
        step("rwlock: a place is taken");
        place.reader.store(Identity::mine().word(), Relaxed);
        let guard = RwLockReadGuard {
            value: segment.versions.load(segment.words()),
            _held: lock,
        };
        drop(gate);
        step("rwlock: the gate is open");
        Some(segment.gate.answer(guard))
    }

    fn write_within(&self, wait: Wait) -> Option<LockResult<RwLockWriteGuard<'_, T>>> {
        let segment = &self.segment;
        let held = segment.gate.lock(|| deadline(wait))?;
        step("rwlock: the gate is closed");
        for place in self.places() {
            // Who reads gives its lock back or dies with it: the system wakes this one for both.
            if place.lock.is_locked() {
                drop(place.lock.lock_free_order(|| deadline(wait))?);
            }
        }
        step("rwlock: nobody reads");
        let exclusive = Exclusive::new(&segment.versions, segment.words(), held);
        Some(segment.gate.answer(RwLockWriteGuard { exclusive }))
    }

    /// A place for one who reads. With the gate held.
    fn free_place(&self) -> &ReadingPlace {
        let places = self.places();
        let free = places.iter().find(|place| !place.lock.is_locked());
        free.unwrap_or_else(|| {
            // If there is none, the first, for which one waits.
            let next = places.len() % READERS_MAX;
            let used = places.len().max(next + 1);
            self.segment.used.store(used as u32, SeqCst);
            &self.segment.places[next]
        })
    }
}

impl<T> RwLock<T> {
    /// The places that were ever in use.
    fn places(&self) -> &[ReadingPlace] {
        let used = self.segment.used.load(SeqCst) as usize;
        &self.segment.places[..used.min(READERS_MAX)]
    }

    /// The process that has the lock for writing at this moment, or waits for the readers with it:
    /// for a look at a program that hangs. None that died.
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let writing = lock.write()?;
    /// assert_eq!(lock.holder(), Some(std::process::id()));
    /// # drop(writing);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.segment.gate.holder()
    }

    /// The processes that have the lock for reading at this moment, once for each guard.
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(7)?;
    /// let reading = lock.read()?;
    /// assert_eq!(lock.readers(), [std::process::id()]);
    /// # drop(reading);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn readers(&self) -> Vec<u32> {
        let places = self.places().iter();
        let reading = places.filter(|place| place.lock.is_locked());
        let readers = reading.map(|place| Identity::from_word(place.reader.load(Relaxed)));
        readers.flatten().map(Identity::pid).collect()
    }

    /// Whether a writer died with the lock, and someone who locked it since found that.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiprocess::sync::RwLock::new(0)?.is_poisoned());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.segment.gate.dead().is_some()
    }

    /// Forgets that a writer died; see [`Mutex::clear_poison`](super::Mutex::clear_poison).
    ///
    /// # Examples
    /// ```
    /// let lock = multiprocess::sync::RwLock::new(0)?;
    /// lock.clear_poison();
    /// assert!(lock.read().is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.segment.gate.clear();
    }
}

/// When a lock is no longer waited for.
fn deadline(wait: Wait) -> Option<Instant> {
    match wait {
        Wait::No => Some(Instant::now()),
        _ => wait.deadline(),
    }
}

impl<T> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        Self {
            segment: Arc::clone(&self.segment),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("holder", &self.holder())
            .field("readers", &self.readers())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// To hand the lock to another process, as [`Descriptor`](crate::Descriptor) says.
impl<T> Serialize for RwLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for RwLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            segment: Segment::received(deserializer, |_| Versions::words_of::<T>())?,
            value: PhantomData,
        })
    }
}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.exclusive
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.exclusive
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
