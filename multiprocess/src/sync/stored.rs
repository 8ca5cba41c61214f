//! A value in shared memory that is replaced as a whole, and the right to do that.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Acquire, Release};

use super::ownership::OwnedLock;
use super::{Plain, bytes};
use crate::queue::step::step;
use crate::sys::shm::shareable;
use crate::sys::word::{AtomicU32, AtomicU64};

shareable! {
    /// Where a value stands in the words behind the header. One of more than a word stands there
    /// twice: one of them is in force, and the other is free to be written.
    pub(super) struct Versions {
        /// Which of the two is in force, by its lowest bit.
        current: AtomicU32,
        unused: AtomicU32,
    }
}

impl Versions {
    /// How often a value stands in the memory.
    const fn copies<T>() -> usize {
        if size_of::<T>() > size_of::<u64>() {
            2
        } else {
            1
        }
    }

    /// How many words a value takes, with its copy.
    pub(super) const fn words_of<T>() -> usize {
        bytes::words_of::<T>() * Self::copies::<T>()
    }

    /// The value. With a lock held that keeps it from being replaced.
    #[inline]
    pub(super) fn load<T: Plain>(&self, words: &[AtomicU64]) -> T {
        bytes::load(copy::<T>(words, self.current.load(Acquire)), 0)
    }

    /// Replaces the value in one step. With the lock held.
    #[inline]
    pub(super) fn replace<T: Plain>(&self, words: &[AtomicU64], value: &T) {
        if Self::copies::<T>() == 1 {
            return bytes::replace(words, value.as_bytes());
        }
        let next = self.current.load(Acquire).wrapping_add(1);
        bytes::write(copy::<T>(words, next), 0, value.as_bytes());
        step("value: written");
        // Release: who finds the number finds the value.
        self.current.store(next, Release);
        step("value: replaced");
    }
}

/// The words of the copy with this number.
#[inline]
fn copy<T>(words: &[AtomicU64], number: u32) -> &[AtomicU64] {
    let first = number as usize % Versions::copies::<T>() * bytes::words_of::<T>();
    &words[first..]
}

/// A copy of a value whose lock is held. If it was changed, it replaces the value when it is dropped,
/// before the lock is given back.
pub(super) struct Exclusive<'a, T: Plain> {
    value: T,
    changed: bool,
    versions: &'a Versions,
    words: &'a [AtomicU64],
    held: OwnedLock<'a>,
}

impl<'a, T: Plain> Exclusive<'a, T> {
    #[inline]
    pub(super) fn new(versions: &'a Versions, words: &'a [AtomicU64], held: OwnedLock<'a>) -> Self {
        Self {
            value: versions.load(words),
            changed: false,
            versions,
            words,
            held,
        }
    }
}

impl<T: Plain> Deref for Exclusive<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Plain> DerefMut for Exclusive<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

impl<T: Plain> Drop for Exclusive<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.changed && self.held.counts() {
            self.versions.replace(self.words, &self.value);
        }
    }
}
