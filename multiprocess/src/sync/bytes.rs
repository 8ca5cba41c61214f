//! Values as bytes in words that other processes may write at any time.

use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};

use super::Plain;
use crate::sys::word::AtomicU64;

const WORD: usize = size_of::<u64>();

/// How many words a value takes.
pub(super) const fn words_of<T>() -> usize {
    size_of::<T>().div_ceil(WORD)
}

/// Reads the value that starts at this byte.
#[inline]
pub(super) fn load<T: Plain>(words: &[AtomicU64], start: usize) -> T {
    let mut value = T::new_zeroed();
    read(words, start, value.as_mut_bytes());
    value
}

/// Reads bytes from this one on.
#[inline]
pub(super) fn read(words: &[AtomicU64], start: usize, mut bytes: &mut [u8]) {
    let mut at = start;
    while !bytes.is_empty() {
        let word = words[at / WORD].load(Acquire).to_le_bytes();
        let from = &word[at % WORD..];
        let len = from.len().min(bytes.len());
        let (now, then) = bytes.split_at_mut(len);
        now.copy_from_slice(&from[..len]);
        (at, bytes) = (at + len, then);
    }
}

/// Writes bytes from this one on. Other bytes of their words may change meanwhile, and keep their
/// changes.
#[inline]
pub(super) fn write(words: &[AtomicU64], start: usize, mut bytes: &[u8]) {
    let mut at = start;
    while !bytes.is_empty() {
        let (word, place) = (&words[at / WORD], at % WORD);
        let len = (WORD - place).min(bytes.len());
        let (now, then) = bytes.split_at(len);
        match now.first_chunk() {
            Some(whole) => word.store(u64::from_le_bytes(*whole), Release),
            None => {
                let _ = word.fetch_update(SeqCst, SeqCst, |word| Some(with(word, place, now)));
            }
        }
        (at, bytes) = (at + len, then);
    }
}

/// Replaces the first word, which is of one value, in one step. A value without bytes has none.
#[inline]
pub(super) fn replace(words: &[AtomicU64], bytes: &[u8]) {
    if !bytes.is_empty() {
        words[0].store(with(0, 0, bytes), Release);
    }
}

/// Changes the value that starts at this byte, in one step of all processes. It lies in one word.
/// Returns the value before.
#[inline]
pub(super) fn update<T: Plain>(
    words: &[AtomicU64],
    start: usize,
    next: impl Fn(T) -> Option<T>,
) -> Result<T, T> {
    let (word, place) = (&words[start / WORD], start % WORD);
    let read = |word: u64| {
        let mut value = T::new_zeroed();
        let bytes = word.to_le_bytes();
        let len = size_of::<T>();
        value
            .as_mut_bytes()
            .copy_from_slice(&bytes[place..place + len]);
        value
    };
    let changed = |word| next(read(word)).map(|value| with(word, place, value.as_bytes()));
    let before = word.fetch_update(SeqCst, SeqCst, changed);
    before.map(read).map_err(read)
}

/// The word with these bytes from `place` on.
#[inline]
fn with(word: u64, place: usize, bytes: &[u8]) -> u64 {
    let mut all = word.to_le_bytes();
    all[place..place + bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}
