//! Handing descriptors to a process that did not inherit them.
//!
//! A queue is a descriptor, and bytes cannot carry one. While a process is being started, the
//! descriptors of all that is serialised for it are collected here and travel beside the bytes,
//! which hold their places; in the new process they are provided while the bytes are read.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

thread_local! {
    static COLLECTED: RefCell<Option<Vec<OwnedFd>>> = const { RefCell::new(None) };
    static PROVIDED: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, within which descriptors may be given, and returns them in the order of their
/// places.
pub fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
    /// Puts back what was there before, also when `work` panics.
    struct Outer(Option<Vec<OwnedFd>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            COLLECTED.set(self.0.take());
        }
    }
    let _outer = Outer(COLLECTED.replace(Some(Vec::new())));
    let result = work();
    (result, COLLECTED.take().unwrap_or_default())
}

/// Runs `work`, within which each of these descriptors may be taken once.
pub fn provide<R>(descriptors: Vec<OwnedFd>, work: impl FnOnce() -> R) -> R {
    struct Outer(Vec<Option<OwnedFd>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            PROVIDED.set(std::mem::take(&mut self.0));
        }
    }
    let provided = descriptors.into_iter().map(Some).collect();
    let _outer = Outer(PROVIDED.replace(provided));
    work()
}

/// Adds a duplicate of the descriptor to those collected and returns its place; fails outside of
/// [`collect`].
pub(crate) fn give(descriptor: BorrowedFd<'_>) -> io::Result<u32> {
    COLLECTED.with_borrow_mut(|collected| {
        let Some(collected) = collected else {
            REFUSED.set(true);
            return Err(io::Error::other("there is no process being started"));
        };
        collected.push(descriptor.try_clone_to_owned()?);
        Ok(collected.len() as u32 - 1)
    })
}

/// Takes the descriptor at this place; `None` outside of [`provide`], or if it was taken.
pub(crate) fn take(place: u32) -> Option<OwnedFd> {
    PROVIDED.with_borrow_mut(|provided| provided.get_mut(place as usize)?.take())
}

/// Whether a descriptor was refused since the last call. The codec's own errors carry no text.
pub(crate) fn was_refused() -> bool {
    REFUSED.take()
}
