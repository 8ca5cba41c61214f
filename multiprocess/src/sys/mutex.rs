//! A mutex in shared memory that outlives its owner.
//!
//! Each thread has a list of the locks that it holds, which the C library has told the kernel of:
//! get_robust_list(2). When a thread ends, however it does, the kernel walks the list and marks the
//! locks. So does `PTHREAD_MUTEX_ROBUST`, but that believes the addresses that it finds in the shared
//! memory, where any process may write. Here they are written for the kernel, which checks them, and
//! never read.
//!
//! The thread must have been born by pthread_create or fork: a raw clone has no list.

use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, compiler_fence};
use std::time::{Duration, Instant};

use super::futex::{self, looks};
use super::held_locks::HeldLock;
use super::identity::Identity;
use super::shm::shareable;
use super::word::{AtomicU32, AtomicU64};
use crate::queue::step::step;

shareable! {
    /// A robust mutex, to be placed in memory that several processes map. Zeroes are a free one.
    pub(crate) struct RobustMutex {
        /// 0 if it is free, else its owner's thread id or [`OWNER_DIED`]; with [`WAITERS`] if someone
        /// may sleep.
        word: AtomicU32,
        /// As in the C library's mutex, whose place of `entry` is that of all locks in the list.
        unused: [AtomicU32; 7],
        /// The lock as the list has it: the address of the entry that follows.
        entry: AtomicU64,
    }
}

/// Someone may sleep at the word. These three are the kernel's, which reads and writes the word.
const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The owner ended in possession.
const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
/// The bits of the owner's thread id.
const OWNER: u32 = libc::FUTEX_TID_MASK;

/// How long one sleeps before it looks again: a waiter that is killed just after it was woken takes
/// the wake with it.
const LOOK: Duration = Duration::from_millis(20);

/// The head of a thread's list, as the kernel has it.
#[repr(C)]
pub(super) struct Head {
    /// The first lock's entry; of no lock, the head itself.
    first: AtomicPtr<AtomicU64>,
    /// From an entry to its lock's word, in bytes.
    offset: isize,
    /// The lock that is being taken or given: maybe the thread has it, maybe not.
    pending: AtomicPtr<AtomicU64>,
}

/// The mutex is held; dropping it unlocks. Such guards are dropped in the reverse order of their locks.
///
/// It is two words, so that it passes in registers: one of more is copied in memory, and waited for.
#[must_use]
pub(crate) struct Guard<'a> {
    mutex: &'a RobustMutex,
    /// The entry that was the list's first. The copy in the shared memory is the kernel's.
    next: *mut AtomicU64,
    /// The list is the thread's that locked.
    not_send: PhantomData<*const ()>,
}

/// A guard that may be dropped in any order with others of its kind. Dropped in a forked child, which
/// has not got the lock, it does nothing.
///
/// Whoever forgets one keeps the mutex's memory mapped: the thread's list goes on through it.
#[must_use]
pub(crate) struct FreeGuard<'a> {
    mutex: &'a RobustMutex,
    place: &'static HeldLock,
    /// The list is the thread's that locked.
    not_send: PhantomData<*const ()>,
}

/// The head of the calling thread's list.
pub(super) fn list() -> io::Result<*const Head> {
    let (mut head, mut len) = (ptr::null::<Head>(), 0usize);
    // SAFETY: both places are valid for the writes; 0 is the calling thread.
    let answer =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let place =
        offset_of!(RobustMutex, word).cast_signed() - offset_of!(RobustMutex, entry).cast_signed();
    // SAFETY: the kernel has it from the C library, which keeps it as long as the thread lives.
    let head_here = unsafe { head.as_ref() };
    match head_here {
        Some(list) if len == size_of::<Head>() && list.offset == place => Ok(head),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether the system keeps the list; without it a lock would die with its owner.
pub(crate) fn is_supported() -> io::Result<()> {
    list().map(drop).map_err(|error| {
        let reason = format!("the system has no list of robust locks: {error}");
        io::Error::new(error.kind(), reason)
    })
}

impl RobustMutex {
    /// Locks. If the last owner died in possession, `repair` runs first, with the mutex held; should
    /// it be killed there, the next owner runs it again.
    ///
    /// Gives `None` when the deadline passes first, which is asked for only if there is a wait.
    #[inline(always)]
    pub(crate) fn lock(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
        repair: impl FnOnce(),
    ) -> Option<Guard<'_>> {
        let thread = HeldLock::last();
        let (next, died) = self.take(thread, deadline)?;
        let guard = Guard {
            mutex: self,
            next,
            not_send: PhantomData,
        };
        if died {
            repair();
        }
        Some(guard)
    }

    /// As [`lock`](Self::lock), for locks that users hold. What the dead left is told by the memory
    /// itself, so there is nothing to repair.
    #[inline]
    pub(crate) fn lock_free_order(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<FreeGuard<'_>> {
        let place = HeldLock::last().following();
        let (next, _) = self.take(place, deadline)?;
        place.hold(self.entry.as_ptr().cast(), next);
        Some(FreeGuard {
            mutex: self,
            place,
            not_send: PhantomData,
        })
    }

    /// Locks, and makes it the first of the list of the thread that has this place. Returns what was the
    /// first, and whether the last owner died in possession.
    #[inline(always)]
    fn take(
        &self,
        thread: &HeldLock,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<(*mut AtomicU64, bool)> {
        let (me, head) = (thread.thread(), thread.head());
        let entry = self.entry.as_ptr().cast::<AtomicU64>();
        // From here on the kernel looks at the word, should the thread end.
        head.pending.store(entry, Relaxed);
        compiler_fence(SeqCst);
        // Acquire: what the last owner wrote is seen.
        let died = match self.word.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => Some(false),
            Err(_) => self.lock_contended(me, deadline()),
        };
        let Some(died) = died else {
            head.pending.store(ptr::null_mut(), Relaxed);
            return None;
        };
        // The entry points on before it is the first, and is the first before it ceases to pend.
        let next = head.first.load(Relaxed);
        self.entry.store(next.expose_provenance() as u64, Relaxed);
        compiler_fence(SeqCst);
        head.first.store(entry, Relaxed);
        compiler_fence(SeqCst);
        head.pending.store(ptr::null_mut(), Relaxed);
        Some((next, died))
    }

    /// Takes the mutex out of the thread's list, by `unlink`, and unlocks.
    #[inline]
    fn give(&self, head: &Head, unlink: impl FnOnce(&Head)) {
        let entry = self.entry.as_ptr().cast::<AtomicU64>();
        head.pending.store(entry, Relaxed);
        compiler_fence(SeqCst);
        unlink(head);
        compiler_fence(SeqCst);
        // Release: the next owner sees what this one wrote.
        if self.word.swap(0, Release) & WAITERS != 0 {
            futex::wake(&self.word, 1);
        }
        // Up to here the kernel would wake someone in this thread's place.
        compiler_fence(SeqCst);
        head.pending.store(ptr::null_mut(), Relaxed);
    }

    /// Whether a thread that lives has it. If not, what it did while it had it is seen.
    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Acquire) & OWNER != 0
    }

    /// Whether its last owner died in possession, and nobody has locked it since.
    pub(crate) fn is_left_by_the_dead(&self) -> bool {
        let word = self.word.load(Acquire);
        word & OWNER == 0 && word & OWNER_DIED != 0
    }

    /// The owner needs a fraction of a microsecond, if it runs at all: look again a few times, let
    /// others run, and only then sleep in the kernel, which makes the owner's unlock slow as well.
    ///
    /// Returns whether the last owner died in possession.
    #[cold]
    fn lock_contended(&self, me: u32, deadline: Option<Instant>) -> Option<bool> {
        let (mut attempt, mut slept, mut woken) = (0, 0, true);
        loop {
            let seen = self.word.load(Relaxed);
            if seen & OWNER == 0 {
                // Who has slept does not know of the others who sleep, so it says that there are.
                let mine = me | seen & WAITERS | slept;
                let taken = self.word.compare_exchange(seen, mine, Acquire, Relaxed);
                match taken {
                    Ok(_) => {
                        looks::found(woken);
                        return Some(seen & OWNER_DIED != 0);
                    }
                    Err(_) => continue,
                }
            }
            attempt += 1;
            step("lock: another has it");
            match attempt {
                ..6 => (0..1 << attempt).for_each(|_| std::hint::spin_loop()),
                6..12 => std::thread::yield_now(),
                _ => {
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    if left == Some(Duration::ZERO) {
                        return None;
                    }
                    let asleep = seen | WAITERS;
                    let marked = self.word.compare_exchange(seen, asleep, Relaxed, Relaxed);
                    if marked.is_ok() {
                        let look = looks::first(LOOK);
                        let timeout = left.map_or(look, |left| left.min(look));
                        woken = futex::wait(&self.word, asleep, timeout);
                        slept = WAITERS;
                    }
                }
            }
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let unlink = |head: &Head| head.first.store(self.next, Relaxed);
        self.mutex.give(HeldLock::last().head(), unlink);
    }
}

impl FreeGuard<'_> {
    /// The process that has the lock.
    #[inline]
    pub(crate) fn owner(&self) -> u64 {
        self.place.process()
    }

    /// Whether this process has the lock, and is no fork of the one that has it.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        self.owner() == Identity::mine().word()
    }
}

impl Drop for FreeGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let (head, next) = (self.place.head(), self.place.next());
        if self.place.is_last() {
            self.mutex
                .give(head, |head| head.first.store(next, Relaxed));
            self.place.release();
        } else {
            let before = self.place.release_within();
            // SAFETY: its lock is held by a `FreeGuard`, so its memory is mapped.
            let before = unsafe { before.as_ref() };
            self.mutex.give(head, |_| {
                if let Some(before) = before {
                    before.store(next.expose_provenance() as u64, Relaxed);
                }
            });
        }
        step("lock: given back");
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::sys::shm::Shared;
    use crate::sys::word::{WeakMemory, modelled};

    fn mutex() -> Shared<RobustMutex> {
        Shared::create("test", 512).expect("a page")
    }

    fn forever() -> Option<Instant> {
        None
    }

    #[test]
    fn one_thread_at_a_time_has_it() {
        let mutex = mutex();
        let add = || {
            for _ in 0..20_000 {
                let _held = mutex
                    .lock(forever, || panic!("nobody died"))
                    .expect("no deadline");
                let seen = mutex.words()[0].load(Relaxed);
                mutex.words()[0].store(seen + 1, Relaxed);
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(add))));
        assert_eq!(mutex.words()[0].load(Relaxed), 80_000);
    }

    #[test]
    fn what_an_owner_wrote_is_what_the_next_one_reads_by_any_way_to_the_lock() {
        for seed in 1..=64 {
            let mutex = mutex();
            let model = WeakMemory::new(seed);
            let write = || {
                drop(mutex.lock(forever, || ()));
                let held = mutex.lock(forever, || ());
                mutex.words()[0].store(seed, Relaxed);
                drop(held);
                if seed % 2 == 0 {
                    // As one who slept leaves the word: the next owner cannot take it at once.
                    let marked = mutex.word.compare_exchange(0, WAITERS, Relaxed, Relaxed);
                    assert_eq!(marked, Ok(0));
                }
            };
            let read = || {
                let _held = mutex.lock(forever, || ());
                assert_eq!(mutex.words()[0].load(Relaxed), seed, "an old value");
            };
            thread::scope(|scope| {
                let writer = scope.spawn(|| modelled(&model, 0, write));
                writer.join().expect("it writes");
                scope.spawn(|| modelled(&model, 1, read));
            });
        }
    }

    #[test]
    fn a_deadline_ends_the_wait_and_leaves_the_lock_to_its_owner() {
        let mutex = mutex();
        let held = mutex.lock(forever, || ());
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        thread::scope(|scope| {
            scope.spawn(|| assert!(mutex.lock(soon, || ()).is_none()));
        });
        drop(held);
        assert!(mutex.lock(soon, || panic!("nobody died")).is_some());
    }

    #[test]
    fn the_lock_of_a_thread_that_ended_is_repaired_by_the_next() {
        let mutex = mutex();
        thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(mutex.lock(forever, || ())));
        });
        let mut repairs = 0;
        drop(mutex.lock(forever, || repairs += 1));
        drop(mutex.lock(forever, || repairs += 1));
        assert_eq!(repairs, 1);
    }

    #[test]
    fn a_lock_that_was_given_back_is_not_the_threads_when_it_ends() {
        let mutex = mutex();
        let lock = || {
            drop(mutex.lock(forever, || ()));
            // As memory in which something else stands by then.
            let id = HeldLock::last().thread();
            mutex.word.store(id, Relaxed);
            id
        };
        let id = thread::scope(|scope| scope.spawn(lock).join().expect("no panic"));
        assert_eq!(mutex.word.load(Relaxed), id);
    }

    #[test]
    fn locks_within_locks_are_given_back_in_turn() {
        let (outer, inner) = (mutex(), mutex());
        for _ in 0..3 {
            let first = outer.lock(forever, || panic!("nobody died"));
            let second = inner.lock(forever, || panic!("nobody died"));
            drop(second);
            drop(first);
        }
    }

    #[test]
    fn locks_given_back_in_any_order_are_freed_when_their_thread_ends() {
        for (first, second) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let mutexes = [mutex(), mutex(), mutex(), mutex()];
            thread::scope(|scope| {
                scope.spawn(|| {
                    let lock = |mutex| RobustMutex::lock_free_order(mutex, forever);
                    let mut guards = mutexes.each_ref().map(|mutex| lock(mutex));
                    for given_back in [first, second] {
                        drop(guards[given_back].take());
                        // Another has it, and writes its own list's address into the entry.
                        let other = &mutexes[given_back];
                        thread::scope(|scope| {
                            scope.spawn(|| std::mem::forget(other.lock(forever, || ())));
                        });
                    }
                    std::mem::forget(guards);
                });
            });
            let soon = || Some(Instant::now() + Duration::from_secs(10));
            for mutex in &mutexes {
                let mut died = false;
                assert!(mutex.lock(soon, || died = true).is_some());
                assert!(
                    died,
                    "it was given back although its owner died in possession"
                );
            }
        }
    }
}
