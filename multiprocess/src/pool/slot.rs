//! What a worker has in progress, in shared memory, so that it can be told after the worker's death.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::{queue::step::step, sys::shm::shareable};

shareable! {
    /// A worker's slot, which its successors inherit.
    #[repr(align(64))]
    pub(crate) struct Slot {
        /// 0, or the number of the task in progress plus one, maybe with a reason to kill on it.
        task: AtomicU64,
        /// When the task or its present item was begun, in nanoseconds of the pool's clock; written
        /// before `task` and before `step`.
        since: AtomicU64,
        /// A [`Step`]. Its store puts an item's result in force.
        step: AtomicU64,
        /// Of which item the first published result is.
        first: AtomicU64,
        /// How many bytes are published: `ends[items done % 2]` is in force, the other is free to be
        /// written.
        ends: [AtomicU64; 2],
        /// 1 if the results of a chunk's items are published one by one.
        publishes: AtomicU32,
        /// A [`Phase`].
        phase: AtomicU32,
        /// The worker's process id.
        pub(crate) pid: AtomicU32,
        /// What the worker's own memory was before its task or item, in pages. In bytes it would take
        /// the slot another cache line.
        pub(super) memory_pages: AtomicU32,
    }
}

/// How far a worker has come in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In the initializer.
    Starting = 1,
    /// Takes tasks.
    Working = 2,
    /// Has seen the end of the task queue, and needs no successor.
    Drained = 3,
    /// Has done all tasks that one worker does, or is one too many. It needs a successor if its slot is
    /// still to have a worker.
    Retired = 4,
}

/// Why the supervisor shall kill a worker, as a bit of [`Slot::task`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum KillReason {
    OutOfMemory = 1 << 61,
    Overdue = 1 << 62,
    Cancelled = 1 << 63,
}

const KILL_REASONS: u64 =
    KillReason::OutOfMemory as u64 | KillReason::Overdue as u64 | KillReason::Cancelled as u64;

/// Whether a slot's word is that of `task` with a reason to kill on it.
fn is_marked(word: u64, task: u64) -> bool {
    word & KILL_REASONS != 0 && word & !KILL_REASONS == task + 1
}

/// How far a chunk has come: twice the number of items that are done, plus one while the next is in
/// progress. Of a task that is no chunk it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step(pub(crate) u64);

impl Step {
    pub(crate) fn in_item(item: u64) -> Self {
        Self(2 * item + 1)
    }

    /// How many items are done, which is also the index of the next.
    pub(crate) fn done(self) -> u64 {
        self.0 / 2
    }

    /// Whether that next item is in progress.
    pub(crate) fn is_in_item(self) -> bool {
        self.0 % 2 == 1
    }

    /// Between two items, or before the first one of a chunk that is tried again.
    pub(super) fn is_between(self) -> bool {
        self.0 > 0 && !self.is_in_item()
    }
}

/// A task that a worker has in progress.
#[derive(Clone, Copy)]
pub(crate) struct InProgress {
    pub(crate) task: u64,
    pub(crate) overdue: bool,
    pub(crate) out_of_memory: bool,
    pub(crate) marked: bool,
}

/// Results that a dead worker has left behind.
pub(crate) struct Published {
    /// Of which item the first one is.
    pub(crate) first: u64,
    /// How many items they are of.
    pub(crate) count: u64,
    /// How many bytes they take.
    pub(crate) len: usize,
}

/// What the worker writes, with its task.
impl Slot {
    /// Notes a task as in progress. To be called before its take is committed.
    pub(super) fn take(&self, task: u64, now: u64) {
        // Relaxed, and both before `task`, whose store is a release: whoever finds the task finds its
        // time, and no item of the task before.
        self.since.store(now, Relaxed);
        self.step.store(0, Relaxed);
        // SeqCst, since the supervisor announces its sleep and then looks for a task, and the worker
        // notes the task and then looks for the sleeper.
        self.task.store(task + 1, SeqCst);
    }

    /// Counts the time of what is in progress from `now` on. To be called while the worker is stopped.
    pub(super) fn restart_clock(&self, now: u64) {
        // Relaxed: the supervisor stores it and reads it itself, and the worker writes over it.
        self.since.store(now, Relaxed);
    }

    /// Takes a task off the slot of a worker that died before it had committed the take.
    pub(super) fn disown(&self, task: u64) {
        // An exchange, since the supervisor may put a mark on the word at the same time.
        let not_its_own = |word| (word & !KILL_REASONS == task + 1).then_some(0);
        let _ = self.task.fetch_update(SeqCst, SeqCst, not_its_own);
    }

    /// Notes that the task is a chunk whose items before `first` are done elsewhere.
    pub(crate) fn begin_chunk(&self, first: u64, publishes: bool) {
        // Relaxed: the step below is a release.
        self.publishes.store(publishes.into(), Relaxed);
        self.deliver_up_to(first);
        // Release: whoever sees a step of this chunk sees what was written above.
        self.step.store(2 * first, Release);
    }

    /// Notes that an item begins, at `now` if the pool has a clock.
    #[inline]
    pub(crate) fn begin_item(&self, item: u64, now: Option<u64>) {
        if let Some(now) = now {
            // Relaxed: the step below is a release.
            self.since.store(now, Relaxed);
        }
        // Release: whoever sees the item finds its time, or that of a later one.
        self.step.store(Step::in_item(item).0, Release);
    }

    /// Notes that an item is done, and that the results up to its own take `len` bytes.
    #[inline]
    pub(crate) fn finish_item(&self, item: u64, len: usize) {
        let done = item + 1;
        // Relaxed, and at the place that is not in force until the step is stored.
        self.ends[(done & 1) as usize].store(len as u64, Relaxed);
        // The commit, for a worker that is killed: before it the item is in progress, after it the
        // item is done, with the other end in force. Release: its result was published before.
        self.step.store(2 * done, Release);
    }

    /// Notes that the results of all items before `first` are in the queue. A worker that is killed
    /// between the put and this leaves them to be put again, and the application drops the copy.
    pub(crate) fn deliver_up_to(&self, first: u64) {
        // Relaxed: the next step is a release. Up to then nothing is published behind `first`.
        self.first.store(first, Relaxed);
    }

    /// Whether the worker is marked for the kill, after it has finished an item of `task`.
    pub(crate) fn is_marked(&self, task: u64) -> bool {
        // The other half of `mark_overdue`: the step is stored before the mark is looked for. Stored once
        // more, since an exchange is the cheapest barrier; nobody else writes it.
        self.step.swap(self.step.load(Relaxed), SeqCst);
        is_marked(self.task.load(SeqCst), task)
    }

    /// Notes that the result of `task` is committed; false if the worker was marked before.
    pub(crate) fn release(&self, task: u64) -> bool {
        // One exchange decides between this and `mark_for_kill`.
        let answer = self.task.compare_exchange(task + 1, 0, SeqCst, SeqCst);
        match answer {
            Ok(_) => true,
            Err(word) if is_marked(word, task) => false,
            // Another process wrote over it, and nobody will kill the worker for that.
            Err(_) => {
                self.task.store(0, SeqCst);
                true
            }
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        // SeqCst as for all that happens once in a life: it costs nothing that counts.
        self.phase.store(phase as u32, SeqCst);
    }
}

/// What supervisor and application do with a worker's slot.
impl Slot {
    /// Makes the slot ready for a worker.
    pub(crate) fn vacate(&self, phase: Phase) {
        // The last worker is dead and the next is not forked, so that the order does not matter.
        self.task.store(0, SeqCst);
        self.pid.store(0, SeqCst);
        self.set_phase(phase);
    }

    pub(crate) fn in_progress(&self) -> Option<InProgress> {
        // An acquire at least: whoever finds the task finds its time.
        let word = self.task.load(SeqCst);
        let task = (word & !KILL_REASONS).checked_sub(1)?;
        Some(InProgress {
            task,
            overdue: word & KillReason::Overdue as u64 != 0,
            out_of_memory: word & KillReason::OutOfMemory as u64 != 0,
            marked: word & KILL_REASONS != 0,
        })
    }

    /// The task that was lost with the worker, which is dead. `taken` counts the takes of all tasks.
    pub(crate) fn lost_with_worker(&self, taken: impl FnOnce() -> u64) -> Option<InProgress> {
        let task = self.in_progress()?;
        // If the take was not committed, the task is another's or will be. Whoever takes it clears
        // this slot before the commit: so if the commit is seen here, the second look sees that.
        (taken() > task.task && self.in_progress().is_some()).then_some(task)
    }

    pub(crate) fn step(&self) -> Step {
        // SeqCst for `mark_overdue`, and as an acquire for what was written before the step.
        Step(self.step.load(SeqCst))
    }

    /// Since when the task or its item has been in progress; `None` between two items.
    pub(crate) fn begun(&self) -> Option<u64> {
        let step = self.step();
        // Acquire, so that the second look at the step comes after it: if the step is the same, the
        // time is that step's, or a later one's, which is never overdue too early.
        let since = self.since.load(Acquire);
        (!step.is_between() && self.step() == step).then_some(since)
    }

    /// Since when the last task or item was in progress of a worker that is dead.
    pub(super) fn since(&self) -> u64 {
        // Relaxed: its writer is dead.
        self.since.load(Relaxed)
    }

    /// Marks the worker for the kill if it still has `task` in progress; it will take no other.
    pub(crate) fn mark_for_kill(&self, task: u64, reason: KillReason) -> bool {
        let marked = (task + 1) | reason as u64;
        // One exchange decides between this and `release`, and between two reasons.
        let answer = self.task.compare_exchange(task + 1, marked, SeqCst, SeqCst);
        answer.is_ok()
    }

    /// Marks the worker for the kill if `task` was begun, or its present item, at or before
    /// `latest`. Returns whether it did.
    ///
    /// The worker looks for the mark after each item. So an item that follows the overdue one is
    /// not begun, or the mark is taken back here.
    pub(crate) fn mark_overdue(&self, task: u64, latest: u64) -> bool {
        let before = self.step();
        if self.begun().is_none_or(|begun| begun > latest) {
            return false;
        }
        step("overdue: found");
        self.mark_in_step(task, before, KillReason::Overdue)
    }

    /// Marks the worker for the kill if it still has `task` in progress and has not gone on since
    /// `before`. Returns whether it did.
    pub(crate) fn mark_in_step(&self, task: u64, before: Step, reason: KillReason) -> bool {
        if !self.mark_for_kill(task, reason) {
            return false;
        }
        step("overdue: marked");
        // SeqCst on both sides: either the worker has moved on and that is seen here, or it sees the
        // mark when it has done the item.
        if self.step() == before {
            return true;
        }
        let marked = (task + 1) | reason as u64;
        // A cancellation may have come instead, and stays.
        let answer = self.task.compare_exchange(marked, task + 1, SeqCst, SeqCst);
        answer.is_err()
    }

    /// The results of items before `done` that a worker has published and not put, which has died at
    /// that item or at the next; `None` if there are none.
    pub(crate) fn published(&self, done: u64) -> Option<Published> {
        // Relaxed: its writer is dead, and the step that was read before is an acquire.
        let first = self.first.load(Relaxed);
        let publishes = self.publishes.load(Relaxed) != 0;
        (publishes && done > first).then(|| Published {
            first,
            count: done - first,
            len: self.ends[(done & 1) as usize].load(Relaxed) as usize,
        })
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        let phase = self.phase.load(SeqCst);
        let all = [
            Phase::Starting,
            Phase::Working,
            Phase::Drained,
            Phase::Retired,
        ];
        all.into_iter().find(|&it| it as u32 == phase)
    }

    /// Writes over the task, as a process that has gone wrong may.
    #[cfg(test)]
    pub(super) fn damage(&self, word: u64) {
        self.task.store(word, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        pool::control::Control,
        queue::step::{no_step, on_step},
        sys::shm::Shared,
    };

    fn control() -> Arc<Shared<Control>> {
        Arc::new(Shared::for_workers(1).expect("there is memory"))
    }

    #[test]
    fn a_condemned_worker_is_not_released_and_a_released_one_not_condemned() {
        let control = control();
        let slot = &control.slots[0];
        control.claim(0, 5, 0);
        assert!(slot.mark_for_kill(5, KillReason::Cancelled));
        assert!(!slot.release(5));
        slot.vacate(Phase::Working);
        control.claim(0, 6, 0);
        assert!(slot.release(6));
        assert!(!slot.mark_for_kill(6, KillReason::Overdue));
    }

    #[test]
    fn a_task_that_is_taken_has_begun_no_item() {
        let control = control();
        let slot = &control.slots[0];
        control.claim(0, 5, 0);
        slot.begin_chunk(0, true);
        slot.finish_item(0, 0);
        assert!(slot.release(5));
        control.claim(0, 6, 100);
        assert_eq!(slot.step(), Step(0));
        assert_eq!(slot.begun(), Some(100));
    }

    #[test]
    fn only_a_task_whose_take_was_committed_is_lost_with_its_worker() {
        let control = Shared::<Control>::for_workers(2).expect("there is memory");
        let [dead, living, ..] = &control.slots;
        let lost = |taken| Some(dead.lost_with_worker(|| taken)?.task);
        control.claim(0, 5, 0);
        assert_eq!([5, 6].map(lost), [None, Some(5)]);
        // Taken by another between the look at the slot and that at the count.
        let by_another = dead.lost_with_worker(|| {
            control.claim(1, 5, 0);
            6
        });
        assert!(by_another.is_none());
        assert!(living.lost_with_worker(|| 6).is_some());
    }

    #[test]
    fn a_worker_whose_slot_another_process_wrote_over_goes_on() {
        let control = control();
        let slot = &control.slots[0];
        for other in [0, 9 | KillReason::Overdue as u64, u64::MAX] {
            control.claim(0, 5, 0);
            slot.task.store(other, SeqCst);
            assert!(!slot.is_marked(5));
            assert!(slot.release(5));
            assert!(slot.in_progress().is_none());
        }
    }

    #[test]
    fn only_what_was_begun_so_early_is_overdue() {
        let control = control();
        let slot = &control.slots[0];
        control.claim(0, 5, 100);
        assert!(!slot.mark_overdue(5, 99));
        slot.begin_chunk(0, true);
        slot.begin_item(0, Some(200));
        assert!(!slot.mark_overdue(5, 199));
        slot.finish_item(0, 0);
        assert!(!slot.mark_overdue(5, 300), "between two items");
        slot.begin_item(1, Some(300));
        assert!(!slot.mark_overdue(4, 300), "another task");
        assert!(slot.mark_overdue(5, 300));
        assert!(slot.is_marked(5));
    }

    #[test]
    fn an_item_that_follows_an_overdue_one_is_not_killed_in_its_place() {
        for at in ["overdue: found", "overdue: marked"] {
            let control = control();
            let slot = &control.slots[0];
            control.claim(0, 5, 100);
            slot.begin_chunk(0, true);
            slot.begin_item(0, Some(100));
            let worker = Arc::clone(&control);
            on_step(move |step| {
                if step == at {
                    worker.slots[0].finish_item(0, 0);
                    worker.slots[0].begin_item(1, Some(200));
                }
            });
            let marked = slot.mark_overdue(5, 150);
            no_step();
            assert!(!marked && !slot.is_marked(5), "{at}");
        }
    }

    #[test]
    fn what_is_published_is_what_was_done_and_not_delivered() {
        let control = control();
        let slot = &control.slots[0];
        let published = |done| {
            let it = slot.published(done)?;
            Some((it.first, it.count, it.len))
        };
        control.claim(0, 5, 0);
        slot.begin_chunk(3, true);
        assert_eq!(published(3), None);
        slot.finish_item(3, 10);
        slot.finish_item(4, 30);
        assert_eq!(published(5), Some((3, 2, 30)));
        assert_eq!(
            published(4),
            Some((3, 1, 10)),
            "before the last one is in force"
        );
        slot.deliver_up_to(5);
        assert_eq!(published(5), None);
        slot.finish_item(5, 7);
        assert_eq!(published(6), Some((5, 1, 7)));
        slot.begin_chunk(0, false);
        slot.finish_item(0, 9);
        assert_eq!(published(1), None, "a chunk that publishes nothing");
    }
}
