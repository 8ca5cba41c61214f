//! The locks that the threads of this process hold, in the order in which their lists have them. What
//! the shared memory says of that is not believed.
//!
//! Each thread has a chain of places, of which no other thread changes any: from the first, which
//! is of no lock, to the last that is held, and on to those that are free. Any thread may look which
//! lock a place is of, so that nobody unmaps the memory of one that is held.

use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

use super::identity::Identity;
use super::mutex::{Head, list};
use super::word;

/// The place of one lock. It is never freed, and goes to another thread when its own has ended.
#[derive(Default)]
pub(super) struct HeldLock {
    /// The process in which a thread has this place; 0 while any may take it. A forked child has
    /// copies of its parent's, which are of no use to it.
    process: AtomicU64,
    /// The thread that has it.
    thread: AtomicU32,
    /// That thread's list.
    head: AtomicPtr<Head>,
    /// The lock as the list has it; null if none is held here.
    entry: AtomicPtr<word::AtomicU64>,
    /// The entry that follows it in the list.
    next: AtomicPtr<word::AtomicU64>,
    /// The places before this one and after it in the thread's chain.
    older: AtomicPtr<HeldLock>,
    newer: AtomicPtr<HeldLock>,
    /// The place that was made before this one, by whichever thread.
    made_before: AtomicPtr<HeldLock>,
}

/// The place that was made last.
static ALL: AtomicPtr<HeldLock> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// The place of the last lock that this thread holds.
    static LAST: Cell<Option<&'static HeldLock>> = const { Cell::new(None) };
}

/// The place that a link leads to.
#[inline]
fn follow(link: &AtomicPtr<HeldLock>) -> Option<&'static HeldLock> {
    // SAFETY: a link is null, or was a reference to a place, and none is ever freed. Acquire: of one
    // that another thread made, all is seen.
    unsafe { link.load(Acquire).as_ref() }
}

/// All places that there are.
fn all() -> impl Iterator<Item = &'static HeldLock> {
    std::iter::successors(follow(&ALL), |place| follow(&place.made_before))
}

/// Whether a thread of this process holds a lock whose entry lies at these addresses. Nobody may be
/// about to lock or unlock one of them.
pub(crate) fn is_held_within(addresses: &Range<usize>) -> bool {
    let me = Identity::mine().word();
    all().any(|place| {
        let entry = place.entry.load(Relaxed);
        addresses.contains(&entry.addr()) && place.process() == me
    })
}

/// The calling thread ends without a look at its places. What it has noted for its end would be found
/// by the next thread that has its memory.
#[cfg(test)]
pub(super) fn end_at_once() {
    at_end_of_thread(ptr::null_mut());
}

/// The places of a party that has died are no longer its own.
#[cfg(test)]
pub(super) fn forget(process: u64) {
    for place in all().filter(|place| place.process() == process) {
        place.entry.store(ptr::null_mut(), Relaxed);
        place.process.store(0, Release);
    }
}

impl HeldLock {
    /// The place of the last lock that the calling thread holds, or its first place.
    #[inline]
    pub(super) fn last() -> &'static Self {
        match LAST.get() {
            Some(last) if last.process() == Identity::mine().word() => last,
            _ => Self::first(),
        }
    }

    /// The first place of the calling thread, of no lock. With those after it, it is given back when
    /// the thread has ended.
    #[cold]
    fn first() -> &'static Self {
        // SAFETY: the call has no arguments.
        let thread = unsafe { libc::gettid() }.cast_unsigned();
        let head = list().expect("it was asked for when the memory was mapped");
        let process = Identity::mine().word();
        let first = Self::claim(process, thread, head.cast_mut());
        at_end_of_thread(address(first));
        LAST.set(Some(first));
        first
    }

    /// The free place behind the last.
    #[inline]
    pub(super) fn following(&'static self) -> &'static Self {
        follow(&self.newer).unwrap_or_else(|| self.lengthened())
    }

    #[cold]
    fn lengthened(&'static self) -> &'static Self {
        let place = Self::claim(self.process(), self.thread(), self.head.load(Relaxed));
        place.older.store(address(self), Relaxed);
        self.newer.store(address(place), Relaxed);
        place
    }

    /// A place that no thread has, for this one.
    fn claim(process: u64, thread: u32, head: *mut Head) -> &'static Self {
        let is_free = |place: &&Self| {
            // Acquire: the thread that had it has ended its use of it.
            let claimed = place.process.compare_exchange(0, process, Acquire, Relaxed);
            claimed.is_ok()
        };
        let place = all().find(is_free).unwrap_or_else(|| Self::make(process));
        place.thread.store(thread, Relaxed);
        place.head.store(head, Relaxed);
        place.older.store(ptr::null_mut(), Relaxed);
        place.newer.store(ptr::null_mut(), Relaxed);
        place
    }

    fn make(process: u64) -> &'static Self {
        let place = Self {
            process: AtomicU64::new(process),
            ..Self::default()
        };
        let place: &'static Self = Box::leak(Box::new(place));
        let link = |last| {
            place.made_before.store(last, Relaxed);
            Some(address(place))
        };
        // Release: who finds the place finds what it is made of. No value is refused.
        let _ = ALL.fetch_update(Release, Relaxed, link);
        place
    }

    /// Notes the lock that the thread has taken at this place, which is its last from here on.
    #[inline]
    pub(super) fn hold(&'static self, entry: *mut word::AtomicU64, next: *mut word::AtomicU64) {
        self.next.store(next, Relaxed);
        self.entry.store(entry, Relaxed);
        LAST.set(Some(self));
    }

    /// Whether it is the place of the last lock that the thread holds.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        LAST.get().is_some_and(|last| ptr::eq(last, self))
    }

    /// The last place is of no lock any more.
    #[inline]
    pub(super) fn release(&self) {
        self.entry.store(ptr::null_mut(), Relaxed);
        LAST.set(follow(&self.older));
    }

    /// The same of a place that is not the last. Returns the entry that comes before its own in the list.
    pub(super) fn release_within(&'static self) -> *mut word::AtomicU64 {
        let (Some(newer), Some(last)) = (follow(&self.newer), LAST.get()) else {
            return ptr::null_mut();
        };
        self.entry.store(ptr::null_mut(), Relaxed);
        newer.next.store(self.next(), Relaxed);
        link(follow(&self.older), newer);
        // It becomes the first of those that are free.
        let free = follow(&last.newer);
        link(Some(last), self);
        match free {
            Some(free) => link(Some(self), free),
            None => self.newer.store(ptr::null_mut(), Relaxed),
        }
        newer.entry.load(Relaxed)
    }

    /// The entry that follows this lock's in the list.
    #[inline]
    pub(super) fn next(&self) -> *mut word::AtomicU64 {
        self.next.load(Relaxed)
    }

    /// The process in which a thread has the place.
    #[inline]
    pub(super) fn process(&self) -> u64 {
        self.process.load(Relaxed)
    }

    /// The number of the thread that has the place.
    #[inline]
    pub(super) fn thread(&self) -> u32 {
        self.thread.load(Relaxed)
    }

    /// The head of that thread's list.
    #[inline]
    pub(super) fn head(&self) -> &Head {
        // SAFETY: it is of this thread, since a guard stays in its thread, and lives as long.
        unsafe { &*self.head.load(Relaxed) }
    }
}

fn address(place: &'static HeldLock) -> *mut HeldLock {
    ptr::from_ref(place).cast_mut()
}

/// Puts one place behind the other.
fn link(older: Option<&'static HeldLock>, newer: &'static HeldLock) {
    newer
        .older
        .store(older.map_or(ptr::null_mut(), address), Relaxed);
    if let Some(older) = older {
        older.newer.store(address(newer), Relaxed);
    }
}

/// Gives a thread's places back when its variables have been destroyed, whose ends may lock too. Of
/// none, if `first` is null.
fn at_end_of_thread(first: *mut HeldLock) {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    // Without a key, as after a thousand others, the places stay the thread's for ever.
    if let Some(key) = *KEY.get_or_init(key) {
        // SAFETY: the key was made and is never deleted; the value is for `give_back`.
        unsafe { libc::pthread_setspecific(key, first.cast_const().cast()) };
    }
}

fn key() -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: the place is valid for the write; the function is called with what `at_end_of_thread`
    // stores, and no panic leaves it.
    let answer = unsafe { libc::pthread_key_create(&raw mut key, Some(give_back)) };
    (answer == 0).then_some(key)
}

/// A lock that the thread has not given back keeps its place: the system walks the list later.
unsafe extern "C" fn give_back(first: *mut c_void) {
    LAST.set(None);
    let mut next = follow(&AtomicPtr::new(first.cast()));
    while let Some(place) = next {
        next = follow(&place.newer);
        if place.entry.load(Relaxed).is_null() {
            // Release: whoever claims it comes after all that this thread did.
            place.process.store(0, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::thread;

    use super::super::mutex::{FreeGuard, RobustMutex};
    use super::super::shm::Shared;
    use super::*;

    fn mutex() -> Shared<RobustMutex> {
        Shared::create("test", 0).expect("a page")
    }

    fn lock(mutex: &RobustMutex) -> FreeGuard<'_> {
        mutex.lock_free_order(|| None).expect("no deadline")
    }

    /// Locks when its thread's variables are destroyed.
    struct LocksAtEnd;

    impl Drop for LocksAtEnd {
        fn drop(&mut self) {
            drop(lock(&mutex()));
        }
    }

    thread_local! {
        static LOCKS_AT_END: RefCell<Option<LocksAtEnd>> = const { RefCell::new(None) };
    }

    #[test]
    fn threads_that_have_ended_leave_their_places_to_others() {
        let work = || {
            let mutexes = [mutex(), mutex(), mutex()];
            let mut guards = mutexes.each_ref().map(|mutex| Some(lock(mutex)));
            guards[1] = None;
            LOCKS_AT_END.set(Some(LocksAtEnd));
        };
        let run = || thread::spawn(work).join().expect("no panic");
        run();
        let before = all().count();
        (0..100).for_each(|_| run());
        // Those of tests beside this one are few.
        assert!(all().count() < before + 50, "{} places", all().count());
    }

    #[test]
    fn what_a_thread_holds_is_known_to_all_until_it_is_given_back() {
        let mutexes = [mutex(), mutex(), mutex()];
        let are_held = || {
            let look = || {
                mutexes
                    .each_ref()
                    .map(|mutex| is_held_within(&mutex.addresses()))
            };
            thread::scope(|scope| scope.spawn(look).join().expect("no panic"))
        };
        let mut guards = mutexes.each_ref().map(|mutex| Some(lock(mutex)));
        assert_eq!(are_held(), [true; 3]);
        guards[0] = None;
        assert_eq!(are_held(), [false, true, true]);
        guards[0] = Some(lock(&mutexes[0]));
        guards[1] = None;
        assert_eq!(are_held(), [true, false, true]);
        guards[2] = None;
        assert_eq!(are_held(), [true, false, false]);
        guards[1] = Some(lock(&mutexes[1]));
        guards[0] = None;
        assert_eq!(are_held(), [false, true, false]);
        std::mem::forget(guards);
        assert_eq!(are_held(), [false, true, false]);
    }
}
