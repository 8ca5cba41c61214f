//! `Array`: Python's `Array`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::IntoBytes;

use super::bytes;
use super::owner_died::{LockResult, TryLockError, TryLockResult};
use super::ownership::{OwnedLock, Ownership};
use super::{Integer, Plain, Segment, after};
use crate::sys::shm::shareable;
use crate::sys::word::AtomicU64;
use crate::{Error, Result};

shareable! {
    /// The elements follow.
    struct ArrayHeader {
        ownership: Ownership,
        /// How many elements there are; written once, by the creator.
        len: AtomicU64,
    }
}

/// Elements in shared memory, of a fixed number: Python's `Array`, and what programs use
/// `multiprocessing.shared_memory` for.
///
/// [`lock`](Self::lock) gives the elements to one thread of one process. Integers can be changed
/// without the lock as well, each in one step. The memory of elements that nobody has written is not
/// taken, and has no name that could be left behind.
///
/// # When a process is killed
/// As for [`Mutex`](super::Mutex): whoever locks next is told. Unlike there, the elements are written
/// in place, so those that the dead process had set are changed, and the one that it was setting may
/// be a mixture if it is larger than eight bytes.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Array};
///
/// let squares = Array::new(&[0u64; 4])?;
/// let processes = (0..4).map(|n| {
///     let squares = &squares;
///     Process::spawn(move || squares.lock().unwrap().set(n, (n * n) as u64))
/// });
/// for process in processes {
///     process?.join()?;
/// }
/// assert_eq!(squares.lock()?.to_vec(), [0, 1, 4, 9]);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Array<T> {
    segment: Arc<Segment<ArrayHeader>>,
    len: usize,
    elements: PhantomData<fn(T) -> T>,
}

/// The array is locked; dropping the guard unlocks it. It stays in its thread.
///
/// What it reads and writes is copied, since a process that ignores the lock could change the memory.
#[must_use = "the array is unlocked when its guard is dropped"]
pub struct ArrayGuard<'a, T: Plain> {
    array: &'a Array<T>,
    held: OwnedLock<'a>,
}

impl<T: Plain> Array<T> {
    /// An array with these elements: `Array(typecode, sequence)`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[1.5, 2.5])?;
    /// assert_eq!(array.lock()?.get(1), 2.5);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(elements: &[T]) -> Result<Self> {
        let array = Self::zeroed(elements.len())?;
        bytes::write(array.segment.words(), 0, elements.as_bytes());
        Ok(array)
    }

    /// An array of so many elements whose bytes are all zero: `Array(typecode, len)`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::<u8>::zeroed(1 << 20)?;
    /// assert_eq!((array.len(), array.load(77)), (1 << 20, 0));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self> {
        let too_long = || {
            let reason = format!("{len} elements have more bytes than there are addresses");
            Error::os(
                "create the shared memory of an array",
                std::io::Error::other(reason),
            )
        };
        let words = Self::words(len as u64).ok_or_else(too_long)?;
        let segment = Segment::<ArrayHeader>::create("an array", words)?;
        segment.len.store(len as u64, Relaxed);
        Ok(Self {
            segment,
            len,
            elements: PhantomData,
        })
    }

    /// How many words so many elements take; none if there are not so many addresses.
    fn words(len: u64) -> Option<usize> {
        let len = usize::try_from(len).ok()?;
        let bytes = len.checked_mul(size_of::<T>())?;
        (bytes <= isize::MAX as usize / 2).then(|| bytes.div_ceil(size_of::<u64>()))
    }

    /// At which byte an element starts.
    #[track_caller]
    #[inline]
    fn place(&self, index: usize) -> usize {
        let len = self.len;
        assert!(index < len, "index {index} of an array of {len} elements");
        index * size_of::<T>()
    }

    /// At which byte so many elements start.
    #[track_caller]
    fn range(&self, start: usize, count: usize) -> usize {
        let len = self.len;
        let is_inside = start.checked_add(count).is_some_and(|end| end <= len);
        assert!(
            is_inside,
            "{count} elements from index {start} on, of an array of {len}"
        );
        start * size_of::<T>()
    }

    /// Locks, and waits while another has the lock: `with array.get_lock():`.
    ///
    /// # Errors
    /// [`OwnerDied`](super::OwnerDied), with the guard in it, if an owner died with the lock and
    /// nobody has called [`clear_poison`](Self::clear_poison).
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[1, 2])?;
    /// let guard = array.lock()?;
    /// guard.set(0, guard.get(1) + 1);
    /// assert_eq!(guard.to_vec(), [3, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn lock(&self) -> LockResult<ArrayGuard<'_, T>> {
        self.lock_by(|| None).expect("there is no deadline")
    }

    /// Locks if nobody has the lock.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) if another has it, and that of [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[1])?;
    /// let _held = array.lock()?;
    /// assert!(array.try_lock().is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_lock(&self) -> TryLockResult<ArrayGuard<'_, T>> {
        TryLockError::of(self.lock_by(|| Some(Instant::now())))
    }

    /// Locks, and waits so long.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock) when the time is over, and that of
    /// [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let array = multiprocess::sync::Array::new(&[1])?;
    /// assert!(array.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<ArrayGuard<'_, T>> {
        TryLockError::of(self.lock_by(|| after(timeout)))
    }

    fn lock_by(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<LockResult<ArrayGuard<'_, T>>> {
        let ownership = &self.segment.ownership;
        let held = ownership.lock(deadline)?;
        Some(ownership.answer(ArrayGuard { array: self, held }))
    }
}

impl<T> Array<T> {
    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Array::new(&[1, 2, 3])?.len(), 3);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    ///
    /// # Examples
    /// ```
    /// assert!(multiprocess::sync::Array::<u8>::new(&[])?.is_empty());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The process that has the lock at this moment; see [`Mutex::holder`](super::Mutex::holder).
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Array::new(&[1])?.holder(), None);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.segment.ownership.holder()
    }

    /// Whether an owner died with the lock, and someone who locked it since found that.
    ///
    /// # Examples
    /// ```
    /// assert!(!multiprocess::sync::Array::new(&[1])?.is_poisoned());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.segment.ownership.dead().is_some()
    }

    /// Forgets that an owner died; see [`Mutex::clear_poison`](super::Mutex::clear_poison).
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[1])?;
    /// array.clear_poison();
    /// assert!(array.lock().is_ok());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.segment.ownership.clear();
    }
}

/// What processes may do at once, without the lock, in the one order of all threads.
///
/// # Panics
/// All of these panic for an index that is none, as a slice does.
impl<T: Integer> Array<T> {
    /// The element at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Array::new(&[7u8, 8])?.load(1), 8);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn load(&self, index: usize) -> T {
        self.update(index, |_| None).unwrap_or_else(|value| value)
    }

    /// Replaces the element; returns the one before.
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[7, 8])?;
    /// assert_eq!((array.swap(1, 9), array.load(1)), (8, 9));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn swap(&self, index: usize, value: T) -> T {
        self.update(index, |_| Some(value))
            .unwrap_or_else(|value| value)
    }

    /// Adds, wrapping around at the borders of the type; returns the element before.
    ///
    /// # Examples
    /// ```
    /// let counts = multiprocess::sync::Array::new(&[0, 0])?;
    /// counts.fetch_add(1, 5);
    /// assert_eq!(counts.lock()?.to_vec(), [0, 5]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn fetch_add(&self, index: usize, more: T) -> T {
        self.update(index, |value| Some(value.plus(more)))
            .unwrap_or_else(|value| value)
    }

    /// Replaces the element by what `next` makes of it; tries again when another process was faster.
    ///
    /// # Errors
    /// The element, if `next` gave none.
    ///
    /// # Examples
    /// ```
    /// let seats = multiprocess::sync::Array::new(&[1u8, 0])?;
    /// let taken = |row| seats.update(row, |left| left.checked_sub(1));
    /// assert_eq!((taken(0), taken(1)), (Ok(1), Err(0)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn update(&self, index: usize, next: impl Fn(T) -> Option<T>) -> Result<T, T> {
        bytes::update(self.segment.words(), self.place(index), next)
    }
}

impl<T: Plain> ArrayGuard<'_, T> {
    /// The element.
    ///
    /// # Panics
    /// For an index that is none, as a slice does.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Array::new(&[1, 2])?.lock()?.get(0), 1);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        bytes::load(self.array.segment.words(), self.array.place(index))
    }

    /// Replaces the element. In a forked child of the process that has the lock, it does nothing.
    ///
    /// # Panics
    /// For an index that is none, as a slice does.
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[[0u8; 3]; 2])?;
    /// array.lock()?.set(1, [1, 2, 3]);
    /// assert_eq!(array.lock()?.to_vec(), [[0, 0, 0], [1, 2, 3]]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, index: usize, element: T) {
        let place = self.array.place(index);
        if self.held.is_ours() {
            bytes::write(self.array.segment.words(), place, element.as_bytes());
        }
    }

    /// All elements.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Array::new(&[1, 2])?.lock()?.to_vec(), [1, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn to_vec(&self) -> Vec<T> {
        let mut elements = vec![T::new_zeroed(); self.array.len];
        self.read(0, &mut elements);
        elements
    }

    /// Copies elements out, from index `start` on: `list[:] = array[start:end]`.
    ///
    /// # Panics
    /// If the array ends before, as a slice does.
    ///
    /// # Examples
    /// ```
    /// let mut two = [0; 2];
    /// multiprocess::sync::Array::new(&[1, 2, 3])?.lock()?.read(1, &mut two);
    /// assert_eq!(two, [2, 3]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn read(&self, start: usize, elements: &mut [T]) {
        let start = self.array.range(start, elements.len());
        bytes::read(self.array.segment.words(), start, elements.as_mut_bytes());
    }

    /// Copies elements in, from index `start` on: `array[start:end] = list`. In a forked child of the
    /// process that has the lock, it does nothing.
    ///
    /// # Panics
    /// If the array ends before, as a slice does.
    ///
    /// # Examples
    /// ```
    /// let array = multiprocess::sync::Array::new(&[1, 2, 3])?;
    /// array.lock()?.write(1, &[5, 6]);
    /// assert_eq!(array.lock()?.to_vec(), [1, 5, 6]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    #[track_caller]
    pub fn write(&self, start: usize, elements: &[T]) {
        let start = self.array.range(start, elements.len());
        if self.held.is_ours() {
            bytes::write(self.array.segment.words(), start, elements.as_bytes());
        }
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self {
            segment: Arc::clone(&self.segment),
            len: self.len,
            elements: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("len", &self.len)
            .field("holder", &self.holder())
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

impl<T: Plain> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayGuard")
            .field("len", &self.array.len)
            .finish_non_exhaustive()
    }
}

/// To hand the array to another process, as [`Descriptor`](crate::Descriptor) says.
impl<T> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut len = 0;
        // Read once: another process may change it.
        let segment = Segment::received(deserializer, |header: &ArrayHeader| {
            len = header.len.load(Relaxed);
            // No memory is so long.
            Self::words(len).unwrap_or(usize::MAX)
        })?;
        let len = len as usize;
        Ok(Self {
            segment,
            len,
            elements: PhantomData,
        })
    }
}
