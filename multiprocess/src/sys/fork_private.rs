//! Descriptors that a forked child must not keep.
//!
//! A forked child inherits every descriptor, and one that keeps another process's pipe open keeps
//! its reader waiting for an end that does not come. So what this crate opens for itself is
//! registered here, and a child closes it first thing.

use std::{
    collections::BTreeMap,
    io, mem,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::descriptors::close_range;

/// The open private descriptors of this process, each with its owner.
static OPEN: Mutex<BTreeMap<RawFd, u64>> = Mutex::new(BTreeMap::new());

/// A file for this process alone. In a forked child its descriptor is closed and this value a
/// harmless leftover: [`get`](Self::get) fails, and dropping it closes nothing.
#[derive(Debug)]
pub(crate) struct ForkPrivate<F: AsRawFd> {
    file: Option<F>,
    /// Tells this value from a leftover whose descriptor had the same number.
    owner: u64,
}

impl<F: AsRawFd> ForkPrivate<F> {
    pub(crate) fn new(file: F) -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        OPEN.lock().unwrap().insert(file.as_raw_fd(), owner);
        let file = Some(file);
        Self { file, owner }
    }

    /// The file, if this is the process that opened it.
    pub(crate) fn get(&self) -> io::Result<&F> {
        self.file
            .as_ref()
            .filter(|file| OPEN.lock().unwrap().get(&file.as_raw_fd()) == Some(&self.owner))
            .ok_or_else(|| io::Error::other("it belongs to the process that forked this one"))
    }
}

impl<F: AsRawFd> Drop for ForkPrivate<F> {
    fn drop(&mut self) {
        // Held while the file closes: nobody may be given the number before it is off the list.
        let mut open = OPEN.lock().unwrap();
        let file = self.file.take().expect("taken here only");
        if open.get(&file.as_raw_fd()) == Some(&self.owner) {
            open.remove(&file.as_raw_fd());
            drop(file);
        } else {
            mem::forget(file);
        }
    }
}

/// Closes every private descriptor of the parent, in a child that has just been forked.
pub(crate) fn close_all() {
    let open = mem::take(&mut *OPEN.lock().unwrap());
    // They mostly lie side by side, so a few calls close hundreds.
    let mut left = open.into_keys().peekable();
    while let Some(first) = left.next() {
        let mut last = first;
        while let Some(next) = left.next_if_eq(&(last + 1)) {
            last = next;
        }
        // SAFETY: it makes a leftover of each `ForkPrivate` that owns one of them, which checks that
        // before it uses it.
        unsafe { close_range(first, last) };
    }
}
