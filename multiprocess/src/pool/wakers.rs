//! The futures that wait for something in the table of a pool.

use std::{collections::HashMap, mem, num::NonZeroU64, task::Waker};

/// What a future waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Awaited {
    /// The outcome of the task with this ticket.
    Task(u64),
    /// The next ticket of a completion queue.
    Completion(NonZeroU64),
}

/// Those that wait, and those that are to be woken once the table is not locked: a runtime may do
/// anything when a future is woken, or its waker dropped.
#[derive(Default)]
pub(super) struct PoolWakers {
    waiting: HashMap<Awaited, Waker>,
    woken: Vec<Waker>,
    /// A thread receives for them.
    pub(super) has_receiver: bool,
}

impl PoolWakers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Enters a future, and returns the waker that it had.
    pub(super) fn enter(&mut self, awaited: Awaited, waker: Waker) -> Option<Waker> {
        self.waiting.insert(awaited, waker)
    }

    pub(super) fn leave(&mut self, awaited: Awaited) -> Option<Waker> {
        self.waiting.remove(&awaited)
    }

    /// Has the future woken that waits for this, if any.
    pub(super) fn wake(&mut self, awaited: Awaited) {
        // Mostly nobody uses futures at all.
        if !self.waiting.is_empty() {
            self.woken.extend(self.waiting.remove(&awaited));
        }
    }

    /// Has all of them woken.
    pub(super) fn wake_all(&mut self) {
        self.woken
            .extend(self.waiting.drain().map(|(_, waker)| waker));
    }

    /// Those that are to be woken.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        mem::take(&mut self.woken)
    }
}
