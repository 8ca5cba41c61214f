//! `Value`: Python's `Value`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Integer, Mutex, Plain, bytes};
use crate::Result;

/// A value in shared memory: Python's `Value`.
///
/// [`get`](Self::get), [`set`](Self::set) and [`with_lock`](Self::with_lock) take its lock for a
/// moment. Integers can be changed without it, each time in one step, as [`std::sync::atomic`] does.
/// Use one or the other: what `with_lock` writes replaces what others did atomically meanwhile.
///
/// # When a process is killed
/// A change is made as a whole or not at all, so nobody needs to be told: the value is as it was
/// before the change. If more than the value depends on the lock, take a [`Mutex`].
///
/// # Different from Python
/// `value += 1` of Python's is a read and a write, and loses changes that others make in between;
/// [`fetch_add`](Self::fetch_add) is one step.
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Value};
///
/// let counter = Value::new(0)?;
/// let add = || (0..1000).for_each(|_| drop(counter.fetch_add(1)));
/// let processes = [Process::spawn(add)?, Process::spawn(add)?];
/// for process in processes {
///     process.join()?;
/// }
/// assert_eq!(counter.get(), 2000);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Value<T> {
    mutex: Mutex<T>,
}

impl<T: Plain> Value<T> {
    /// A new value in shared memory: `Value(typecode, value)`.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that it takes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Value::new(3.5)?.get(), 3.5);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        Mutex::new(value).map(|mutex| Self { mutex })
    }

    /// The value at this moment: `.value`.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Value::new([1, 2])?.get(), [1, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get(&self) -> T {
        self.with_lock(|value| *value)
    }

    /// Replaces the value: `.value = …`.
    ///
    /// # Examples
    /// ```
    /// let value = multiprocess::sync::Value::new(1.0)?;
    /// value.set(2.0);
    /// assert_eq!(value.get(), 2.0);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        self.with_lock(|place| *place = value);
    }

    /// Changes the value while no other call of these has it: `with value.get_lock():`.
    ///
    /// If `change` panics, or its process is killed, the value is as it was. A call within `change`
    /// that wants the same value waits for ever.
    ///
    /// # Examples
    /// ```
    /// let value = multiprocess::sync::Value::new(2.0)?;
    /// let before = value.with_lock(|value| std::mem::replace(value, *value * *value));
    /// assert_eq!((before, value.get()), (2.0, 4.0));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn with_lock<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let guard = self.mutex.guard(|| None);
        change(&mut guard.expect("there is no deadline"))
    }
}

/// What processes may do at once, without the lock, in the one order of all threads.
impl<T: Integer> Value<T> {
    /// The integer at this moment.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::sync::Value::new(7u8)?.load(), 7);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn load(&self) -> T {
        self.update(|_| None).unwrap_or_else(|value| value)
    }

    /// Replaces the integer; returns the one before.
    ///
    /// # Examples
    /// ```
    /// let value = multiprocess::sync::Value::new(7)?;
    /// assert_eq!((value.swap(8), value.load()), (7, 8));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn swap(&self, value: T) -> T {
        self.update(|_| Some(value)).unwrap_or_else(|value| value)
    }

    /// Adds, wrapping around at the borders of the type; returns the integer before.
    ///
    /// # Examples
    /// ```
    /// let value = multiprocess::sync::Value::new(-1i16)?;
    /// assert_eq!((value.fetch_add(3), value.load()), (-1, 2));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn fetch_add(&self, more: T) -> T {
        self.update(|value| Some(value.plus(more)))
            .unwrap_or_else(|value| value)
    }

    /// Replaces the integer by what `next` makes of it; tries again when another process was faster.
    /// Returns the one before, as `Err` if `next` gave none.
    ///
    /// # Errors
    /// The integer, if `next` gave none.
    ///
    /// # Examples
    /// ```
    /// let tickets = multiprocess::sync::Value::new(1u32)?;
    /// assert_eq!(tickets.update(|left| left.checked_sub(1)), Ok(1));
    /// assert_eq!(tickets.update(|left| left.checked_sub(1)), Err(0));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn update(&self, next: impl Fn(T) -> Option<T>) -> Result<T, T> {
        bytes::update(self.mutex.words_of_integer(), 0, next)
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        let mutex = self.mutex.clone();
        Self { mutex }
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").finish_non_exhaustive()
    }
}

/// To hand the value to another process, as [`Descriptor`](crate::Descriptor) says.
impl<T> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.mutex.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Mutex::deserialize(deserializer).map(|mutex| Self { mutex })
    }
}
