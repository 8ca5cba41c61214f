//! Waiting for a change that another process makes, however either of them ends.
//!
//! A waiter leaves nothing behind that its death could spoil: no count, no place in a list, only a
//! bit that says "someone may sleep here", which the first wake without a sleeper clears.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};
use std::{hint, thread};

use crate::queue::step::step;
use crate::sys::futex::{self, looks};
use crate::sys::shm::shareable;
use crate::sys::word;

/// How long a waiter sleeps before it looks by itself. Only a death makes that look find something:
/// of one who had made the change and did not come to wake anybody, or of a waiter that was woken
/// and took the wake with it.
const LOOK_FIRST: Duration = Duration::from_millis(20);

/// Each look comes after twice the time of the one before, up to this time: who has waited long
/// waits a little longer, and an idle process hardly wakes.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// The most looks before sleeping, where another core can make the change meanwhile: 10 to 20 µs.
const LOOKS_MAX: u32 = 8;

/// The looks of a wait that tries anew whether looking helps: 60 to 120 µs, in which a process that
/// sleeps can be woken and answer. From then on it may find its answer before it sleeps, and so may
/// the other one.
const LOOKS_TRIED: u32 = 48;

/// How many pauses of the processor there are before the first look, of some 10 to 20 ns each. They
/// double from look to look, for so many looks.
const PAUSES: u32 = 16;
const DOUBLINGS: u32 = 3;

/// How many waits go without a look, once looking has failed, before it is tried anew; after each try
/// in vain twice as many as before it, up to the most.
const LOOKLESS_FIRST: u32 = 32;
const LOOKLESS_MAX: u32 = 4096;

shareable! {
    /// A place to sleep: a counter that changes with every wait and every wake, with the lowest bit
    /// set while someone may be asleep.
    pub(crate) struct EventCount {
        word: word::AtomicU32,
    }
}

const SLEEPER: u32 = 1;
const STEP: u32 = 2;

impl EventCount {
    /// Waits until `ready`, or the deadline; returns the last answer of `ready`, which must load
    /// what it looks at with `SeqCst`.
    pub(crate) fn wait(
        &self,
        spin: &AdaptiveSpin,
        deadline: Option<Instant>,
        ready: impl Fn() -> bool,
    ) -> bool {
        if spin.sees(&ready) {
            return true;
        }
        let mut look = looks::first(LOOK_FIRST);
        loop {
            step("wait: nothing was there");
            let mark = self.announce();
            // A change that was stored before the announcement may have woken nobody.
            if ready() {
                return true;
            }
            step("wait: nothing is there yet");
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.unwrap_or(Duration::MAX);
            if left.is_zero() {
                return false;
            }
            // A change after the announcement has changed the word, and this returns at once.
            let woken = futex::wait(&self.word, mark, left.min(look));
            if ready() {
                looks::found(woken);
                return true;
            }
            if !woken {
                if left <= look {
                    return false;
                }
                look = (look * 2).min(LOOK_MAX);
            }
        }
    }

    /// Wakes one waiter, if any sleeps. The change must have been stored with `SeqCst` before: then
    /// either the waiter sees it after its announcement, or the announcement is seen here.
    #[inline]
    pub(crate) fn notify_one(&self) {
        // SeqCst, as the change before it and the announcement: not both sides can miss the other.
        if self.word.load(SeqCst) & SLEEPER != 0 {
            self.notify(1);
        }
    }

    /// Wakes so many waiters, as far as they sleep; as [`notify_one`](Self::notify_one).
    #[inline]
    pub(crate) fn notify_many(&self, count: usize) {
        if count > 0 && self.word.load(SeqCst) & SLEEPER != 0 {
            self.notify(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    /// Wakes all waiters.
    pub(crate) fn notify_all(&self) {
        self.notify(i32::MAX);
    }

    #[cold]
    fn notify(&self, count: i32) {
        // The step turns away who has announced itself and is not yet asleep.
        let mark = self.word.fetch_add(STEP, SeqCst).wrapping_add(STEP);
        if futex::wake(&self.word, count) == 0 {
            // Nobody slept, and if the word is unchanged nobody has come since.
            let _ = self
                .word
                .compare_exchange(mark, mark & !SLEEPER, SeqCst, SeqCst);
        }
    }

    /// Whether someone may sleep, whom nobody has woken.
    #[cfg(test)]
    pub(crate) fn has_sleeper(&self) -> bool {
        self.word.load(SeqCst) & SLEEPER != 0
    }

    /// Sets the sleeper's bit and a new count; returns the word to sleep on.
    fn announce(&self) -> u32 {
        // SeqCst: it comes before the look that follows, in the one order of all threads.
        let next = |word: u32| word.wrapping_add(STEP) | SLEEPER;
        let before = self
            .word
            .fetch_update(SeqCst, SeqCst, |word| Some(next(word)));
        next(before.unwrap_or_else(|word| word))
    }
}

/// Looks for a moment before a wait, as long as that has helped lately: it does while the other
/// process runs on another core, and only takes its time away while it does not.
///
/// It belongs to one process, which learns by it.
pub(crate) struct AdaptiveSpin {
    looks: AtomicU32,
    /// How many of the first looks are left out, since the changes are a stream: while one waits for the
    /// next look some gather, and the cores need not exchange a cache line for each.
    left_out: AtomicU32,
    /// How many waits are left that do not look, while `looks` is 0.
    lookless: AtomicU32,
    /// How many they will be the next time.
    lookless_next: AtomicU32,
}

impl AdaptiveSpin {
    pub(crate) fn new() -> Self {
        Self {
            looks: AtomicU32::new(LOOKS_MAX),
            left_out: AtomicU32::new(0),
            lookless: AtomicU32::new(0),
            lookless_next: AtomicU32::new(LOOKLESS_FIRST),
        }
    }

    /// Tells how many changes a wait has found. Several are a stream of them; one may be an answer, for
    /// which the other process waits in turn.
    pub(crate) fn found(&self, changes: u64) {
        let left_out = self.left_out.load(Relaxed);
        let left_out = match changes {
            0 | 1 => left_out.saturating_sub(1),
            _ => (left_out + 1).min(DOUBLINGS),
        };
        self.left_out.store(left_out, Relaxed);
    }

    fn sees(&self, ready: impl Fn() -> bool) -> bool {
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |n| n.get()));
        ready() || cores > 1 && self.sees_in_a_while(ready)
    }

    fn sees_in_a_while(&self, ready: impl Fn() -> bool) -> bool {
        let mut looks = self.looks.load(Relaxed);
        if looks == 0 {
            let left = self.lookless.load(Relaxed);
            if left > 0 {
                self.lookless.store(left - 1, Relaxed);
                return false;
            }
            looks = LOOKS_TRIED;
        }
        let left_out = self.left_out.load(Relaxed);
        for look in left_out..looks.max(left_out + 1) {
            for _ in 0..PAUSES << look.min(DOUBLINGS) {
                hint::spin_loop();
            }
            if ready() {
                self.looks.store((looks + 1).min(LOOKS_MAX), Relaxed);
                // A try that found something is worth little unless the shorter looks do as well.
                if looks <= LOOKS_MAX {
                    self.lookless_next.store(LOOKLESS_FIRST, Relaxed);
                }
                return true;
            }
        }
        let fewer = if looks > LOOKS_MAX { 0 } else { looks / 2 };
        self.looks.store(fewer, Relaxed);
        if fewer == 0 {
            let waits = self.lookless_next.load(Relaxed);
            self.lookless.store(waits, Relaxed);
            self.lookless_next
                .store((waits * 2).min(LOOKLESS_MAX), Relaxed);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How many looks a wait takes in vain.
    fn looks_in_vain(spin: &AdaptiveSpin) -> u32 {
        let looks = Cell::new(0);
        let seen = spin.sees_in_a_while(|| {
            looks.set(looks.get() + 1);
            false
        });
        assert!(!seen);
        looks.get()
    }

    #[test]
    fn who_looks_in_vain_looks_ever_less() {
        let spin = AdaptiveSpin::new();
        let mut waits = (0..100_000).map(|_| looks_in_vain(&spin));
        let first: u32 = waits.by_ref().take(10_000).sum();
        assert!((LOOKS_TRIED..16 * LOOKS_TRIED).contains(&first), "{first}");
        let then: u32 = waits.sum();
        let most = LOOKS_TRIED * (90_000 / LOOKLESS_MAX + 1);
        assert!((LOOKS_TRIED..=most).contains(&then), "{then}");
    }

    #[test]
    fn a_stream_of_changes_is_looked_at_less_often_and_single_answers_as_before() {
        let spin = AdaptiveSpin::new();
        (0..10).for_each(|_| spin.found(5));
        assert_eq!(looks_in_vain(&spin), LOOKS_MAX - DOUBLINGS);
        // One of several readers finds a single item now and then, and reads a stream all the same.
        spin.found(1);
        spin.found(5);
        // One look is left, and is taken.
        while spin.looks.load(Relaxed) > 1 {
            looks_in_vain(&spin);
        }
        assert_eq!(looks_in_vain(&spin), 1);
        let spin = AdaptiveSpin::new();
        (0..10).for_each(|_| spin.found(5));
        (0..10).for_each(|_| spin.found(1));
        assert_eq!(looks_in_vain(&spin), LOOKS_MAX);
    }

    #[test]
    fn an_answer_that_takes_a_wake_is_found_by_a_try_and_then_by_a_few_looks() {
        let spin = AdaptiveSpin::new();
        // Until one did not look, so that one fewer is left.
        while looks_in_vain(&spin) > 0 {}
        let seen_after = |looks: u32| {
            let left = Cell::new(looks);
            spin.sees_in_a_while(|| {
                left.set(left.get() - 1);
                left.get() == 0
            })
        };
        let waits = (0..LOOKLESS_FIRST).find(|_| seen_after(LOOKS_TRIED - 1));
        assert_eq!(waits, Some(LOOKLESS_FIRST - 1));
        assert!(seen_after(LOOKS_MAX), "looking is usual again");
    }
}
