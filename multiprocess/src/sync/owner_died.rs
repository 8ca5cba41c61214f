//! What a lock says when its owner has died with it.

use std::{fmt, result};

use crate::Error;

/// A guard, or the word that the lock's owner died with it: as [`std::sync::LockResult`].
pub type LockResult<G> = result::Result<G, OwnerDied<G>>;

/// A guard, or why there is none: as [`std::sync::TryLockResult`].
pub type TryLockResult<G> = result::Result<G, TryLockError<G>>;

/// The owner of a lock died while it had it: as [`std::sync::PoisonError`].
///
/// It has the guard, for whoever can go on from there. The lock says so at each time, until it is
/// told to forget it, as by [`Mutex::clear_poison`](super::Mutex::clear_poison). As an [`Error`] it
/// is [`Error::OwnerDied`].
///
/// # Examples
/// ```
/// use multiprocess::{Process, sync::Mutex};
///
/// let shares = Mutex::new([50, 50])?;
/// let killed = Process::spawn(|| {
///     let mut guard = shares.lock().unwrap();
///     guard[0] -= 30;
///     std::process::abort()
/// });
/// let killed = killed?;
/// let pid = killed.pid();
/// let _: Result<(), _> = killed.join();
///
/// let died = shares.lock().unwrap_err();
/// assert_eq!(died.pid(), pid);
/// let guard = died.into_inner();
/// shares.clear_poison();
/// // What it had not given back by unlocking was not done.
/// assert_eq!(*guard, [50, 50]);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct OwnerDied<G> {
    guard: G,
    pid: u32,
}

impl<G> OwnerDied<G> {
    pub(super) fn new(guard: G, pid: u32) -> Self {
        Self { guard, pid }
    }

    /// The process that had the lock. If only the thread ended that had it, or panicked, the process
    /// may still run.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The guard, to go on.
    pub fn into_inner(self) -> G {
        self.guard
    }

    /// The guard, to look.
    pub fn get_ref(&self) -> &G {
        &self.guard
    }

    /// The guard, to mend what it guards.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.guard
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::OwnerDied { pid: self.pid }.fmt(f)
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<G> std::error::Error for OwnerDied<G> {}

impl<G> From<OwnerDied<G>> for Error {
    fn from(died: OwnerDied<G>) -> Self {
        Self::OwnerDied { pid: died.pid }
    }
}

/// Why a lock was not taken, or not without a word: as [`std::sync::TryLockError`].
pub enum TryLockError<G> {
    /// It was taken, and its last owner had died with it.
    OwnerDied(OwnerDied<G>),
    /// Another has it, or had it until the time was over.
    WouldBlock,
}

impl<G> TryLockError<G> {
    /// The answer to a try that gave this, if the time was not over.
    pub(super) fn of(locked: Option<LockResult<G>>) -> TryLockResult<G> {
        locked
            .ok_or(Self::WouldBlock)?
            .map_err(TryLockError::OwnerDied)
    }
}

impl<G> fmt::Display for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(died) => died.fmt(f),
            Self::WouldBlock => f.write_str("another has the lock"),
        }
    }
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<G> std::error::Error for TryLockError<G> {}

impl<G> From<TryLockError<G>> for Error {
    fn from(error: TryLockError<G>) -> Self {
        match error {
            TryLockError::OwnerDied(died) => died.into(),
            TryLockError::WouldBlock => Self::TimedOut,
        }
    }
}
