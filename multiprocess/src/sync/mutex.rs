//! `Mutex`: Python's `Lock`, with what it guards.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::owner_died::{LockResult, TryLockError, TryLockResult};
use super::ownership::Ownership;
use super::stored::{Exclusive, Versions};
use super::{Integer, Plain, Segment, after};
use crate::Result;
use crate::sys::shm::shareable;
use crate::sys::word::AtomicU64;

shareable! {
    /// The value follows.
    pub(super) struct MutexHeader {
        ownership: Ownership,
        versions: Versions,
    }
}

/// A value that one thread of one process has at a time: Python's `Lock`, or a `Value` with its lock,
/// in the shape of [`std::sync::Mutex`]. `Mutex<()>` is a mere lock.
///
/// The guard has a copy of the value. When it is dropped, the changed value replaces the shared one,
/// in one step. So a value should be small; [`Array`](super::Array) is for larger data.
///
/// # When a process is killed
/// Whoever locks next gets the guard within an [`OwnerDied`](super::OwnerDied), which names the
/// process, as [`std::sync::Mutex`] does after a panic. The value is as it was before the dead process
/// locked it, never a half of a change; what may be wrong is what the dead had done elsewhere.
/// Who waits in [`lock`](Self::lock) is woken by the system at once. A panic of the guard's thread has
/// the same result.
///
/// A holder that is *stopped* (SIGSTOP) keeps the lock: [`holder`](Self::holder) tells which it is.
/// Locks are not given in the order of asking.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Mutex};
///
/// let balance = Mutex::new(0)?;
/// let add = |n: i64| (0..100).for_each(|_| *balance.lock().unwrap() += n);
/// let (five, eight) = (Process::spawn(|| add(5))?, Process::spawn(|| add(8))?);
/// five.join()?;
/// eight.join()?;
/// assert_eq!(*balance.lock()?, 1300);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Mutex<T> {
    segment: Arc<Segment<MutexHeader>>,
    value: PhantomData<fn(T) -> T>,
}

/// The mutex is locked; dropping the guard unlocks it. It stays in its thread.
///
/// In a forked child that captured it, it is a copy of the value and no lock.
#[must_use = "the mutex is unlocked when its guard is dropped"]
pub struct MutexGuard<'a, T: Plain> {
    mutex: &'a Mutex<T>,
    exclusive: Exclusive<'a, T>,
}

impl<T: Plain> Mutex<T> {
    /// A new mutex, unlocked.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// let mutex = multiprocess::sync::Mutex::new(7)?;
    /// assert_eq!(*mutex.lock()?, 7);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        let words = Versions::words_of::<T>();
        let segment = Segment::<MutexHeader>::create("a mutex", words)?;
        segment.versions.replace(segment.words(), &value);
        Ok(Self {
            segment,
            value: PhantomData,
        })
    }

    /// Locks, and waits while another has the lock: `acquire()`.
    ///
    /// # Errors
    /// [`OwnerDied`](super::OwnerDied), with the guard in it, if an owner died with the lock and
    /// nobody has called [`clear_poison`](Self::clear_poison).
    ///
    /// # Examples
    /// ```
    /// let mutex = multiprocess::sync::Mutex::new([1, 2])?;
    /// mutex.lock()?[0] = 3;
    /// assert_eq!(*mutex.lock()?, [3, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.lock_by(|| None).expect("there is no deadline")
    }

    /// Locks if nobody has the lock: `acquire(block=False)`.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if another has it, and that of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// let mutex = multiprocess::sync::Mutex::new(())?;
    /// let _held = mutex.lock()?;
    /// assert!(mutex.try_lock().is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        TryLockError::of(self.lock_by(|| Some(Instant::now())))
    }

    /// Locks, and waits so long: `acquire(timeout=…)`.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) when the time is over, and that of
    /// [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let mutex = multiprocess::sync::Mutex::new(())?;
    /// let _held = mutex.lock()?;
    /// assert!(mutex.lock_timeout(Duration::from_millis(10)).is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        TryLockError::of(self.lock_by(|| after(timeout)))
    }

    #[inline]
    fn lock_by(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<LockResult<MutexGuard<'_, T>>> {
        let guard = self.guard(deadline)?;
        Some(self.segment.ownership.answer(guard))
    }

    /// Locks, whoever died with the lock before.
    #[inline]
    pub(super) fn guard(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<MutexGuard<'_, T>> {
        let segment = &self.segment;
        let held = segment.ownership.lock(deadline)?;
        Some(MutexGuard {
            mutex: self,
            exclusive: Exclusive::new(&segment.versions, segment.words(), held),
        })
    }
}

impl<T> Mutex<T> {
    /// The process that has the lock at this moment, of this one's threads or another: for a look at
    /// a program that hangs. None that died.
    ///
    /// # Examples
    /// ```
    /// let mutex = multiprocess::sync::Mutex::new(())?;
    /// let held = mutex.lock()?;
    /// assert_eq!(mutex.holder(), Some(std::process::id()));
    /// drop(held);
    /// assert_eq!(mutex.holder(), None);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.segment.ownership.holder()
    }

    /// Whether an owner died with the lock, and someone who locked it since found that.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiprocess::sync::Mutex::new(0)?.is_poisoned());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.segment.ownership.dead().is_some()
    }

    /// Forgets that an owner died: the following calls of [`lock`](Self::lock) succeed. For whoever
    /// has mended what the dead left, best while it has the lock.
    ///
    /// # Examples
    /// ```
    /// let mutex = multiprocess::sync::Mutex::new(0)?;
    /// let panicked = std::panic::catch_unwind(|| {
    ///     let _held = mutex.lock().unwrap();
    ///     panic!("in possession");
    /// });
    /// assert!(panicked.is_err() && mutex.lock().is_err());
    /// mutex.clear_poison();
    /// assert!(mutex.lock().is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.segment.ownership.clear();
    }
}

/// What processes may do to the value at once, without the lock.
impl<T: Integer> Mutex<T> {
    pub(super) fn words_of_integer(&self) -> &[AtomicU64] {
        self.segment.words()
    }
}

impl<T> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self {
            segment: Arc::clone(&self.segment),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("holder", &self.holder())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// To hand the mutex to another process, as [`Descriptor`](crate::Descriptor) says.
impl<T> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            segment: Segment::received(deserializer, |_| Versions::words_of::<T>())?,
            value: PhantomData,
        })
    }
}

impl<'a, T: Plain> MutexGuard<'a, T> {
    /// What it has locked.
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: Plain> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.exclusive
    }
}

impl<T: Plain> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.exclusive
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
