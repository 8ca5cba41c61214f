//! The shared memory by which application, supervisor and workers of a pool know of each other.
//!
//! A worker's slot says which task it has in hand. It is written before the take of the task is
//! committed, and cleared after its result is committed. So the supervisor, which has a dead
//! worker's slot and the queue's count of takes, knows whether a task died with it, and which.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use crate::sys::shm::shareable;

/// The most workers that a pool may have.
pub(crate) const WORKERS_MAX: usize = 1024;

/// How many words follow the header, for cancelled tasks.
pub(crate) const CANCELLED_WORDS: usize = 1 << 16;

shareable! {
    /// The header of a pool's control block; [`CANCELLED_WORDS`] words follow.
    pub(crate) struct Control {
        /// 1 once the application wants all to end at once.
        pub(crate) stop: AtomicU32,
        /// How many workers ever came through their initializer.
        pub(crate) started: AtomicU32,
        /// How many tasks were ever cancelled; while 0, nobody needs to look which.
        pub(crate) cancelled: AtomicU64,
        claim: Claim,
        pub(crate) slots: [Slot; WORKERS_MAX],
    }

    /// The last take of a task that was begun; written with the consumers' lock of the task queue held.
    #[repr(align(64))]
    struct Claim {
        /// Whose slot has it.
        by: AtomicU64,
        /// Which task, as in [`Slot::hand`].
        hand: AtomicU64,
    }

    /// A worker's slot, which its successors inherit.
    #[repr(align(64))]
    pub(crate) struct Slot {
        /// 0, or the number of the task in hand plus one, maybe with a reason on it.
        hand: AtomicU64,
        /// When that task was taken, in nanoseconds of the pool's clock; written before `hand`.
        pub(crate) since: AtomicU64,
        /// A [`Phase`].
        phase: AtomicU32,
        /// The worker's process id.
        pub(crate) pid: AtomicU32,
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
}

/// Why the supervisor shall kill a worker, as a bit of [`Slot::hand`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum KillReason {
    Overdue = 1 << 62,
    Cancelled = 1 << 63,
}

const KILL_REASONS: u64 = KillReason::Overdue as u64 | KillReason::Cancelled as u64;

/// A task in a worker's hand.
#[derive(Clone, Copy)]
pub(crate) struct InHand {
    pub(crate) task: u64,
    pub(crate) overdue: bool,
    pub(crate) marked: bool,
}

impl Control {
    /// Notes that the worker of slot `index` takes `task`. To be called before the take is
    /// committed, with the consumers' lock held.
    pub(crate) fn claim(&self, index: usize, task: u64, now: u64) {
        let hand = task + 1;
        if self.claim.hand.load(Relaxed) == hand {
            // Somebody was killed on the way to this commit: the task is not his.
            let slot = &self.slots[self.claim.by.load(Relaxed) as usize % WORKERS_MAX].hand;
            let not_his = |word| (word & !KILL_REASONS == hand).then_some(0);
            let _ = slot.fetch_update(SeqCst, SeqCst, not_his);
        }
        self.claim.by.store(index as u64, Relaxed);
        self.claim.hand.store(hand, SeqCst);
        self.slots[index].since.store(now, SeqCst);
        self.slots[index].hand.store(hand, SeqCst);
    }

    /// Marks a task as cancelled in `words`. Another that has its place there is forgotten, and is
    /// then run for nothing.
    pub(crate) fn cancel(&self, words: &[AtomicU64], task: u64) {
        words[task as usize % CANCELLED_WORDS].store(task + 1, SeqCst);
        self.cancelled.fetch_add(1, SeqCst);
    }

    /// Whether a task was cancelled.
    pub(crate) fn is_cancelled(&self, words: &[AtomicU64], task: u64) -> bool {
        self.cancelled.load(SeqCst) > 0
            && words[task as usize % CANCELLED_WORDS].load(SeqCst) == task + 1
    }
}

impl Slot {
    /// Makes the slot ready for a worker.
    pub(crate) fn vacate(&self, phase: Phase) {
        self.hand.store(0, SeqCst);
        self.pid.store(0, SeqCst);
        self.set_phase(phase);
    }

    pub(crate) fn in_hand(&self) -> Option<InHand> {
        let hand = self.hand.load(SeqCst);
        let task = (hand & !KILL_REASONS).checked_sub(1)?;
        Some(InHand {
            task,
            overdue: hand & KillReason::Overdue as u64 != 0,
            marked: hand & KILL_REASONS != 0,
        })
    }

    /// Condemns the worker if it still has `task` in hand; it will take no other.
    pub(crate) fn mark_for_kill(&self, task: u64, reason: KillReason) -> bool {
        let hand = task + 1;
        let marked = hand | reason as u64;
        let answer = self.hand.compare_exchange(hand, marked, SeqCst, SeqCst);
        answer.is_ok()
    }

    /// Notes that the result of `task` is committed; false if the worker was marked before.
    pub(crate) fn release(&self, task: u64) -> bool {
        let answer = self.hand.compare_exchange(task + 1, 0, SeqCst, SeqCst);
        answer.is_ok()
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        [Phase::Starting, Phase::Working, Phase::Drained]
            .into_iter()
            .find(|&phase| phase as u32 == self.phase.load(SeqCst))
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shm::Shared;

    #[test]
    fn a_take_that_was_not_committed_is_taken_off_the_dead_workers_slot() {
        let control = Shared::<Control>::create("test", CANCELLED_WORDS).expect("there is memory");
        control.claim(0, 5, 0);
        assert!(control.slots[0].mark_for_kill(5, KillReason::Overdue));
        control.claim(1, 5, 0);
        assert!(control.slots[0].in_hand().is_none());
        assert_eq!(control.slots[1].in_hand().map(|hand| hand.task), Some(5));
        control.claim(0, 6, 0);
        assert_eq!(control.slots[1].in_hand().map(|hand| hand.task), Some(5));
    }

    #[test]
    fn a_condemned_worker_is_not_released_and_a_released_one_not_condemned() {
        let control = Shared::<Control>::create("test", CANCELLED_WORDS).expect("there is memory");
        let slot = &control.slots[0];
        control.claim(0, 5, 0);
        assert!(slot.mark_for_kill(5, KillReason::Cancelled));
        assert!(!slot.release(5));
        slot.vacate(Phase::Working);
        control.claim(0, 6, 0);
        assert!(slot.release(6));
        assert!(!slot.mark_for_kill(6, KillReason::Overdue));
    }
}
