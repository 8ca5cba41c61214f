//! A lock that knows who has it, and who died with it.

use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::thread;
use std::time::Instant;

use super::owner_died::{LockResult, OwnerDied};
use crate::queue::step::step;
use crate::sys::identity::Identity;
use crate::sys::mutex::{FreeGuard, RobustMutex};
use crate::sys::shm::shareable;
use crate::sys::word::AtomicU64;

shareable! {
    /// A robust mutex with the names of its owner and of the last owner that died.
    pub(super) struct Ownership {
        lock: RobustMutex,
        /// The process that has the lock, from after it locked until before it unlocks: whoever locks
        /// and finds a name here follows one that died in between.
        holder: AtomicU64,
        /// The process that died with the lock, until that is cleared; 0 for none.
        dead: AtomicU64,
    }
}

/// The lock is held; dropping it unlocks.
pub(super) struct OwnedLock<'a> {
    ownership: &'a Ownership,
    /// The thread was unwinding when it locked.
    was_panicking: bool,
    guard: FreeGuard<'a>,
}

impl Ownership {
    /// Locks; `None` when the deadline, which is asked for only if there is a wait, passes first.
    #[inline]
    pub(super) fn lock(&self, deadline: impl FnOnce() -> Option<Instant>) -> Option<OwnedLock<'_>> {
        let guard = self.enter(deadline)?;
        self.holder.store(guard.owner(), Relaxed);
        step("lock: the holder is named");
        Some(OwnedLock {
            ownership: self,
            was_panicking: thread::panicking(),
            guard,
        })
    }

    /// Locks for a moment, without a name: if this one dies with the lock, nobody hears of it.
    #[inline]
    pub(super) fn enter(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<FreeGuard<'_>> {
        let guard = self.lock.lock_free_order(deadline)?;
        step("lock: taken");
        let last = self.holder.load(Relaxed);
        if last != 0 {
            self.dead.store(last, SeqCst);
            step("lock: the dead is named");
            self.holder.store(0, Relaxed);
        }
        Some(guard)
    }

    /// What the lock's guard is to its user, who is told of an owner that died.
    #[inline]
    pub(super) fn answer<G>(&self, guard: G) -> LockResult<G> {
        match self.dead() {
            None => Ok(guard),
            Some(pid) => Err(OwnerDied::new(guard, pid)),
        }
    }

    /// The process that died with the lock, since that was cleared.
    #[inline]
    pub(super) fn dead(&self) -> Option<u32> {
        Identity::from_word(self.dead.load(SeqCst)).map(Identity::pid)
    }

    pub(super) fn clear(&self) {
        self.dead.store(0, SeqCst);
    }

    /// Whether a thread that lives has the lock at this moment.
    pub(super) fn is_held(&self) -> bool {
        self.lock.is_locked()
    }

    /// The process that died with the lock, if nobody has locked since. One that died before it could
    /// note its name, or after it took that back, did not have the lock for any use.
    pub(super) fn left_by(&self) -> Option<Identity> {
        let holder = Identity::from_word(self.holder.load(Relaxed));
        holder.filter(|_| self.lock.is_left_by_the_dead())
    }

    /// Who has the lock at this moment and lives.
    pub(super) fn holder(&self) -> Option<u32> {
        let holder = Identity::from_word(self.holder.load(Relaxed))?;
        holder.is_alive().then(|| holder.pid())
    }
}

impl OwnedLock<'_> {
    /// Whether what the guard's user did is to be seen by others: this process has the lock, and the
    /// thread did not panic with it.
    #[inline]
    pub(super) fn counts(&self) -> bool {
        self.is_ours() && !self.has_panicked()
    }

    /// Whether this process has the lock, and is no fork of the one that has it.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.guard.is_ours()
    }

    /// Whether the thread has panicked since it locked.
    #[inline]
    pub(super) fn has_panicked(&self) -> bool {
        thread::panicking() && !self.was_panicking
    }
}

impl Drop for OwnedLock<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        if self.has_panicked() {
            self.ownership.dead.store(self.guard.owner(), SeqCst);
        }
        // Release: what the guard gave back was stored before.
        self.ownership.holder.store(0, Release);
        step("lock: no holder is named");
    }
}
