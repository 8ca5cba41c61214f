//! The tasks that are out, by their tickets: what is kept of each, and how it is found.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU64,
    sync::Arc,
};

use super::{
    block::ResultBlock,
    chunk::{Mode, Part},
    fd_store::StoredFds,
    usage::TaskUsage,
};
use crate::{Error, Result};

/// A task that was submitted, until its handle is dropped. There may be hundreds of thousands, and
/// each is looked up several times, so it is kept small.
pub(super) struct Task {
    /// Its number in the task queue, which changes when it is tried again.
    pub(super) number: u64,
    /// How many items of the caller it holds.
    pub(super) items: u64,
    /// Nobody asks for the outcome.
    pub(super) forgotten: bool,
    /// Somebody has seen the outcome.
    pub(super) heard: bool,
    pub(super) outcome: Option<Result<Arc<[u8]>, Box<Error>>>,
    pub(super) more: Option<Box<More>>,
    /// The completion queue in which its handle waits for any of several tasks.
    pub(super) completion_queue: Option<NonZeroU64>,
}

/// What only some tasks have: chunks, tasks that may be tried again, those with descriptors, and those
/// with large results or a measure.
#[derive(Default)]
pub(super) struct More {
    pub(super) chunk: Option<ChunkState>,
    pub(super) retry: Option<Retry>,
    /// Kept for the worker, and for the next one, until there is an outcome.
    pub(super) descriptors: Option<StoredFds>,
    /// Of the result of a task that is no chunk.
    pub(super) block: Option<Arc<ResultBlock>>,
    /// How its worker panics, until that is said to be dead.
    pub(super) panicked: Option<Error>,
    /// What its items took, by their places, if the pool measures that.
    pub(super) usage: Vec<Option<TaskUsage>>,
}

/// What is known of a chunk.
pub(super) struct ChunkState {
    pub(super) mode: Mode,
    /// Of the items before this one, `parts` has what became of them.
    pub(super) have: u64,
    pub(super) parts: Vec<Part>,
    /// The items before this one have run, when the chunk has an outcome.
    pub(super) ran: u64,
    /// What has not begun is not to begin.
    pub(super) stopped: bool,
}

/// What it takes to try a task again.
pub(super) struct Retry {
    /// How often each item may be tried again.
    pub(super) most: u32,
    /// How often `item` may be, still.
    pub(super) left: u32,
    pub(super) item: u64,
    /// With its block behind it, if it has one.
    pub(super) task: Box<[u8]>,
}

impl Retry {
    /// Whether an item may be tried once more; counts it.
    pub(super) fn allows(&mut self, item: u64) -> bool {
        if item != self.item {
            (self.item, self.left) = (item, self.most);
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

/// What is submitted, beside its bytes.
#[derive(Clone, Copy)]
pub(super) struct Submission {
    /// How many items of the caller it holds.
    pub(super) items: u64,
    /// Of a chunk, its mode.
    pub(super) mode: Option<Mode>,
    pub(super) completion_queue: Option<NonZeroU64>,
}

impl Submission {
    /// A task of one item, for whose outcome alone somebody waits.
    pub(super) const ONE: Self = Self {
        items: 1,
        mode: None,
        completion_queue: None,
    };

    /// Whether the task is to be kept, so that it can be put again.
    pub(super) fn is_kept(&self, retries: u32) -> bool {
        let outlives = self.mode.is_none_or(Mode::outlives_worker);
        outlives && (retries > 0 || self.items > 1)
    }
}

/// Tasks by their tickets, which rise. Most are gone before many others come, so the latest lie side
/// by side, and the few that stay for long are kept apart.
#[derive(Default)]
pub(super) struct Tasks {
    /// From the ticket `first` on; `None` for one that is gone or was none.
    pub(super) latest: VecDeque<Option<Task>>,
    first: u64,
    /// How many of `latest` are there.
    count: usize,
    pub(super) older: HashMap<u64, Task>,
}

/// Up to this many places of gone tasks are not worth a search for those that stay.
pub(super) const GONE_MAX: usize = 1024;

impl Tasks {
    /// Enters a task under a ticket that is higher than all before.
    pub(super) fn insert(&mut self, ticket: u64, task: Task) {
        if self.latest.is_empty() {
            self.first = ticket;
        }
        // Numbers of tries in between are no tickets.
        let place = (ticket - self.first) as usize;
        self.latest.resize_with(place, || None);
        self.latest.push_back(Some(task));
        self.count += 1;
        if self.latest.len() > GONE_MAX + 4 * self.count {
            let tasks = self.latest.drain(..).zip(self.first..);
            let there = tasks.filter_map(|(task, ticket)| Some((ticket, task?)));
            self.older.extend(there);
            self.count = 0;
        }
    }

    /// All tasks with their tickets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Task)> {
        let latest = (self.first..).zip(&self.latest);
        let latest = latest.filter_map(|(ticket, task)| Some((ticket, task.as_ref()?)));
        let older = self.older.iter().map(|(ticket, task)| (*ticket, task));
        older.chain(latest)
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Task> {
        match ticket.checked_sub(self.first) {
            Some(place) if (place as usize) < self.latest.len() => {
                self.latest[place as usize].as_ref()
            }
            _ => self.older.get(&ticket),
        }
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut Task> {
        match ticket.checked_sub(self.first) {
            Some(place) if (place as usize) < self.latest.len() => {
                self.latest[place as usize].as_mut()
            }
            _ => self.older.get_mut(&ticket),
        }
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<Task> {
        let place = ticket.checked_sub(self.first).map(|place| place as usize);
        let removed = match place.and_then(|place| self.latest.get_mut(place)) {
            Some(task) => {
                self.count -= usize::from(task.is_some());
                task.take()
            }
            None => self.older.remove(&ticket),
        };
        while let Some(None) = self.latest.front() {
            self.latest.pop_front();
            self.first += 1;
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::{message, slot::Step, table::TaskTable};

    #[test]
    fn a_task_over_its_time_is_not_tried_again() {
        let mut table = TaskTable::default();
        table.insert(5, Submission::ONE, 1, Some(b"a task".as_slice().into()));
        let overdue = Error::TaskTimedOut {
            timeout: Duration::from_secs(1),
        };
        let mut message = Vec::new();
        message::write_error(5, Step(0), &overdue, &mut message);
        table.record(&message, None, |_| panic!("it is put again"));
        assert_eq!(table.outcome(5), Some(Err(&overdue)));
    }
}
