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

/// The most looks before sleeping, where another core can make the change meanwhile: some 10 µs.
const LOOKS_MAX: u32 = 8;

/// How many waits go without a look, once looking has failed, before it is tried again.
const LOOKLESS_MAX: u32 = 32;

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
            let timeout = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => left.min(look),
                None => look,
            };
            // A change after the announcement has changed the word, and this returns at once.
            let woken = futex::wait(&self.word, mark, timeout);
            if ready() {
                looks::found(woken);
                return true;
            }
            if !woken {
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
    lookless: AtomicU32,
}

impl AdaptiveSpin {
    pub(crate) fn new() -> Self {
        Self {
            looks: AtomicU32::new(LOOKS_MAX),
            lookless: AtomicU32::new(0),
        }
    }

    fn sees(&self, ready: impl Fn() -> bool) -> bool {
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |n| n.get()));
        if ready() {
            return true;
        }
        if cores == 1 {
            return false;
        }
        let mut looks = self.looks.load(Relaxed);
        if looks == 0 {
            if self.lookless.fetch_add(1, Relaxed) < LOOKLESS_MAX {
                return false;
            }
            self.lookless.store(0, Relaxed);
            looks = 2;
        }
        for look in 0..looks {
            // The distance lets some items gather, so that the cores need not exchange the count
            // of items for each of them.
            for _ in 0..16 << look.min(3) {
                hint::spin_loop();
            }
            if ready() {
                self.looks.store((looks + 1).min(LOOKS_MAX), Relaxed);
                return true;
            }
        }
        self.looks.store(looks / 2, Relaxed);
        false
    }
}
