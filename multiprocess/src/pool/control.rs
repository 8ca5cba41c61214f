//! The shared memory by which application, supervisor and workers of a pool know of each other.
//!
//! A [`Slot`] says which task its worker has in progress. It is written before the take of the task
//! is committed, and cleared after the task's result is committed. So the supervisor, which has a
//! dead worker's slot and the queue's count of takes, knows whether a task died with it, and which.
//! For a chunk the slot also says which item is in progress, and what the items before it gave.

use std::{
    io,
    ops::Range,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use super::{sleeper::SleepMark, slot::Slot, usage::TakenBefore};
use crate::{
    limits,
    sys::shm::{Shared, shareable},
};

/// The most workers that a pool may have.
pub(crate) const WORKERS_MAX: usize = 1024;

/// How many tasks can be marked at a time, as cancelled and as forgotten.
const MARKS: usize = 1 << 14;

/// How many words a worker has for results that are not in the queue yet: 64 KiB.
const RESULT_WORDS: usize = 1 << 13;

/// How many bytes of results a worker gathers before it puts them.
pub(crate) const RESULT_BYTES: usize = RESULT_WORDS * size_of::<u64>();

shareable! {
    /// The header of a pool's control block. Behind it lie words: [`MARKS`] for cancelled tasks, as
    /// many for forgotten ones, and [`RESULT_WORDS`] for each worker.
    pub(crate) struct Control {
        /// 1 once the application wants all to end at once.
        pub(crate) stop: AtomicU32,
        /// 1 while the supervisor looks at no worker's memory: who begins a task then wakes it.
        pub(crate) unwatched: AtomicU32,
        /// How many workers the pool is to have. Those of higher indexes leave.
        pub(crate) workers: AtomicU32,
        /// How many slots were ever in use, those of workers that have yet to leave among them.
        pub(crate) used: AtomicU32,
        /// How many workers ever came through their initializer.
        pub(crate) started: AtomicU32,
        /// How many tasks were ever cancelled; while 0, nobody needs to look which.
        cancelled: AtomicU64,
        /// How many tasks were ever forgotten before their end; while 0, nobody needs to look which.
        forgotten: AtomicU64,
        /// The application, when it has waited for a result for a while.
        pub(super) application: SleepMark,
        /// The supervisor, when it has no task's time to watch.
        pub(super) supervisor: SleepMark,
        claim: Claim,
        pub(crate) slots: [Slot; WORKERS_MAX],
        /// Of each worker, apart from its slot, which fills a cache line: most pools do not measure.
        pub(super) taken_before: [TakenBefore; WORKERS_MAX],
    }

    /// The last take of a task that was begun; written with the consumers' lock of the task queue held.
    #[repr(align(64))]
    struct Claim {
        /// Whose slot has it.
        by: AtomicU64,
        /// Which task, plus one.
        task: AtomicU64,
    }
}

impl Control {
    /// Notes that the worker of slot `index` takes `task`. To be called before the take is
    /// committed, with the consumers' lock held.
    pub(crate) fn claim(&self, index: usize, task: u64, now: u64) {
        // Relaxed: the lock orders these words among those who claim, and nobody else reads them.
        if self.claim.task.load(Relaxed) == task + 1 {
            // The last claimer was killed before its commit, since the same task is taken again: it
            // never had the task. Cleared before this take is committed, so that the supervisor,
            // which looks after the commit, cannot find the task in two slots.
            let last = self.claim.by.load(Relaxed) as usize;
            self.slots[last % WORKERS_MAX].disown(task);
        }
        // `by` first: whoever finds the task's number here also finds whose slot has it.
        self.claim.by.store(index as u64, Relaxed);
        self.claim.task.store(task + 1, SeqCst);
        self.slots[index].take(task, now);
    }
}

impl Shared<Control> {
    /// A control block for so many workers, with room for as many more as there may be. That is 64 MiB
    /// of addresses, of which nobody pays for what no worker has written.
    pub(crate) fn for_workers(workers: usize) -> io::Result<Self> {
        let slots = slots_within(
            workers,
            limits::file_size().min(limits::address_space() / 64),
        );
        let control = Self::create("multiprocess-pool", 2 * MARKS + slots * RESULT_WORDS)?;
        control.resize(workers);
        Ok(control)
    }

    /// The most workers that there is room for.
    pub(crate) fn workers_max(&self) -> usize {
        (self.words().len() - 2 * MARKS) / RESULT_WORDS
    }

    /// Wants so many workers, which there is room for.
    pub(crate) fn resize(&self, workers: usize) {
        let workers = workers as u32;
        // In this order: whoever sees the number also finds that the slots are in use.
        self.used.fetch_max(workers, SeqCst);
        self.workers.store(workers, SeqCst);
    }

    /// How many workers the pool is to have.
    #[inline]
    pub(crate) fn workers_wanted(&self) -> usize {
        (self.workers.load(SeqCst) as usize).min(self.workers_max())
    }

    /// The slots that ever had a worker.
    pub(crate) fn used_slots(&self) -> &[Slot] {
        // No more than there are, also if another process has written over the number.
        let used = (self.used.load(SeqCst) as usize).min(self.workers_max());
        &self.slots[..used]
    }

    /// Marks a task as cancelled. Another whose mark has the same place is then run for nothing.
    pub(crate) fn cancel(&self, task: u64) {
        // The word before the count: whoever sees the count finds the word. `SeqCst` twice, since a
        // worker first takes the task and then looks for the mark, while the application first marks
        // and then looks whether the task is taken: one of the two sees the other.
        self.words()[task as usize % MARKS].store(task + 1, SeqCst);
        self.cancelled.fetch_add(1, SeqCst);
    }

    /// Whether a task was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self, task: u64) -> bool {
        self.cancelled.load(SeqCst) > 0
            && self.words()[task as usize % MARKS].load(SeqCst) == task + 1
    }

    /// Marks a task whose result nobody wants. Another whose mark has the same place then sends its
    /// result for nothing.
    pub(crate) fn forget(&self, task: u64) {
        // Relaxed: a worker that misses the mark sends a result, which the application throws away.
        self.words()[MARKS + task as usize % MARKS].store(task + 1, Relaxed);
        self.forgotten.fetch_add(1, Relaxed);
    }

    /// Whether nobody wants a task's result.
    #[inline]
    pub(crate) fn is_forgotten(&self, task: u64) -> bool {
        self.forgotten.load(Relaxed) > 0
            && self.words()[MARKS + task as usize % MARKS].load(Relaxed) == task + 1
    }

    /// Writes over the results of the worker of slot `index` from byte `start` on. `results` are all
    /// that it has gathered, at most [`RESULT_BYTES`].
    #[inline]
    pub(crate) fn publish(&self, index: usize, results: &[u8], start: usize) {
        let first = start / size_of::<u64>();
        let changed = &results[first * size_of::<u64>()..];
        let words = &self.words()[Self::results(index)][first..];
        let (whole, tail) = changed.as_chunks();
        // Relaxed: the step that follows puts these bytes in force, and is a release.
        for (word, bytes) in words.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        if !tail.is_empty() {
            let last = match results.last_chunk() {
                // One load, and the bytes before these are shifted out.
                Some(last) => u64::from_le_bytes(*last) >> (u64::BITS - 8 * tail.len() as u32),
                None => {
                    let bytes = tail.iter().rev();
                    bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
                }
            };
            words[whole.len()].store(last, Relaxed);
        }
    }

    /// Appends so many bytes of the results of slot `index`, whose worker is dead. A length that no
    /// worker writes is cut off at [`RESULT_BYTES`]: then a process wrote over it, and the results do
    /// not read as such.
    pub(crate) fn append_published(&self, index: usize, len: usize, buffer: &mut Vec<u8>) {
        let len = len.min(RESULT_BYTES);
        let end = buffer.len() + len;
        let words = &self.words()[Self::results(index)];
        for word in &words[..len.div_ceil(size_of::<u64>())] {
            buffer.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        buffer.truncate(end);
    }

    fn results(index: usize) -> Range<usize> {
        let start = 2 * MARKS + index * RESULT_WORDS;
        start..start + RESULT_WORDS
    }
}

/// For how many workers there is room in so many bytes: at least for these, which are wanted.
fn slots_within(workers: usize, bytes: u64) -> usize {
    let words = (Shared::<Control>::WORDS + 2 * MARKS * size_of::<u64>()) as u64;
    let slots = bytes.saturating_sub(words) / RESULT_BYTES as u64;
    usize::try_from(slots)
        .unwrap_or(WORKERS_MAX)
        .clamp(workers, WORKERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::slot::KillReason;

    #[test]
    fn a_small_limit_leaves_room_for_the_workers_that_are_wanted() {
        assert_eq!(slots_within(2, 0), 2);
        let before = Shared::<Control>::WORDS + 2 * MARKS * size_of::<u64>();
        assert_eq!(slots_within(2, (before + 9 * RESULT_BYTES) as u64), 9);
        assert_eq!(slots_within(2, u64::MAX), WORKERS_MAX);
    }

    #[test]
    fn no_slot_is_beyond_the_memory_whatever_another_process_wrote() {
        // As under a limit.
        let words = 2 * MARKS + 3 * RESULT_WORDS;
        let control = Shared::<Control>::create("test", words).expect("there is memory");
        control.used.store(u32::MAX, SeqCst);
        control.workers.store(u32::MAX, SeqCst);
        assert_eq!(control.used_slots().len(), 3);
        assert_eq!(control.workers_wanted(), 3);
    }

    fn control() -> Shared<Control> {
        Shared::for_workers(2).expect("there is memory")
    }

    #[test]
    fn a_take_that_was_not_committed_is_taken_off_the_dead_workers_slot() {
        let control = control();
        control.claim(0, 5, 0);
        assert!(control.slots[0].mark_for_kill(5, KillReason::Overdue));
        control.claim(1, 5, 0);
        assert!(control.slots[0].in_progress().is_none());
        assert_eq!(control.slots[1].in_progress().map(|it| it.task), Some(5));
        control.claim(0, 6, 0);
        assert_eq!(control.slots[1].in_progress().map(|it| it.task), Some(5));
    }

    #[test]
    fn marks_are_of_one_task_and_of_one_kind() {
        let control = control();
        control.cancel(5);
        control.forget(6);
        assert_eq!([5, 6].map(|task| control.is_cancelled(task)), [true, false]);
        assert_eq!([5, 6].map(|task| control.is_forgotten(task)), [false, true]);
        control.cancel(5 + MARKS as u64);
        assert!(!control.is_cancelled(5));
    }

    #[test]
    fn published_results_are_read_as_they_were_written_piece_by_piece() {
        let control = control();
        let mut results = Vec::new();
        for piece in [&b"a"[..], b"", b"bcdefghi", b"jklmnopqrstu"] {
            let start = results.len();
            results.extend_from_slice(piece);
            control.publish(1, &results, start);
            let mut read = b"head".to_vec();
            control.append_published(1, results.len(), &mut read);
            assert_eq!(read, [b"head", results.as_slice()].concat());
        }
        let full = vec![7; RESULT_BYTES];
        control.publish(0, &full, 0);
        let mut read = Vec::new();
        control.append_published(1, results.len(), &mut read);
        assert_eq!(read, results);
    }

    #[test]
    fn a_length_that_another_process_wrote_over_reads_no_other_results() {
        let control = control();
        control.publish(0, &[7; RESULT_BYTES], 0);
        control.publish(1, &[8; RESULT_BYTES], 0);
        for len in [RESULT_BYTES + 1, usize::MAX] {
            let mut read = Vec::new();
            control.append_published(0, len, &mut read);
            assert_eq!(read, [7; RESULT_BYTES]);
        }
    }
}
