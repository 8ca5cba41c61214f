//! Which tasks of a pool are out, and what became of them: the application's state, without any I/O.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU64,
};

use super::message;
use crate::{Error, Result};

/// A task that was submitted, until its handle is dropped. There may be hundreds of thousands, and
/// each is looked up several times, so it is kept small.
pub(super) struct Task {
    /// Its number in the task queue, which changes when it is tried again.
    pub(super) number: u64,
    /// How many items of the caller it holds.
    pub(super) items: u64,
    /// Nobody asks for the outcome.
    forgotten: bool,
    outcome: Option<Result<Box<[u8]>, Box<Error>>>,
    retry: Option<Box<Retry>>,
    /// The completion queue in which its handle waits for any of several tasks.
    completion_queue: Option<NonZeroU64>,
}

/// What it takes to try a task again.
pub(super) struct Retry {
    /// How often that may still happen.
    pub(super) left: u32,
    pub(super) task: Box<[u8]>,
}

/// How many items are done, of how many that were handed in: made by
/// [`Pool::progress`](crate::Pool::progress).
///
/// # Examples
///
/// ```
/// let pool = multiprocess::Pool::new(2)?;
/// let mut squares = pool.imap_unordered(|n: u64| n * n, 0..100);
/// squares.next();
/// let progress = pool.progress();
/// println!("{} of {}", progress.done, progress.total);
/// assert!(progress.done >= 1 && progress.total <= 100);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Items with a result or an error.
    pub done: u64,
    /// Items handed in so far.
    pub total: u64,
}

/// Tasks by their tickets, which rise. Most are gone before many others come, so the latest lie side
/// by side, and the few that stay for long are kept apart.
#[derive(Default)]
struct Tasks {
    /// From the ticket `first` on; `None` for one that is gone or was none.
    latest: VecDeque<Option<Task>>,
    first: u64,
    /// How many of `latest` are there.
    count: usize,
    older: HashMap<u64, Task>,
}

/// Up to this many places of gone tasks are not worth a search for those that stay.
const GONE_MAX: usize = 1024;

impl Tasks {
    /// Enters a task under a ticket that is higher than all before.
    fn insert(&mut self, ticket: u64, task: Task) {
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

    fn get(&self, ticket: u64) -> Option<&Task> {
        match ticket.checked_sub(self.first) {
            Some(place) if (place as usize) < self.latest.len() => {
                self.latest[place as usize].as_ref()
            }
            _ => self.older.get(&ticket),
        }
    }

    fn get_mut(&mut self, ticket: u64) -> Option<&mut Task> {
        match ticket.checked_sub(self.first) {
            Some(place) if (place as usize) < self.latest.len() => {
                self.latest[place as usize].as_mut()
            }
            _ => self.older.get_mut(&ticket),
        }
    }

    fn remove(&mut self, ticket: u64) {
        let place = ticket.checked_sub(self.first).map(|place| place as usize);
        match place.and_then(|place| self.latest.get_mut(place)) {
            Some(task) => self.count -= usize::from(task.take().is_some()),
            None => _ = self.older.remove(&ticket),
        }
        while let Some(None) = self.latest.front() {
            self.latest.pop_front();
            self.first += 1;
        }
    }
}

/// The tasks of a pool by their tickets. A ticket is the number under which the task was put first.
#[derive(Default)]
pub(super) struct TaskTable {
    tasks: Tasks,
    /// The tickets of tasks that were put again, by their present number.
    retried: HashMap<u64, u64>,
    /// The tickets of finished tasks, by completion queue.
    completion_queues: HashMap<NonZeroU64, VecDeque<u64>>,
    last_completion_queue: u64,
    /// Tasks without an outcome.
    pub(super) open: u64,
    pub(super) progress: Progress,
    pub(super) closed: bool,
    /// Why the pool ended, and with it every task that had no outcome.
    pub(super) end: Option<Error>,
    /// What the last failed initializer said.
    initializer_error: Option<String>,
    /// A thread sleeps at the results.
    pub(super) receiving: bool,
    pub(super) message: Vec<u8>,
}

impl TaskTable {
    /// Enters a task, whose first number is its ticket.
    pub(super) fn insert(
        &mut self,
        number: u64,
        items: u64,
        retry: Option<Retry>,
        completion_queue: Option<NonZeroU64>,
    ) {
        let task = Task {
            number,
            items,
            forgotten: false,
            outcome: None,
            retry: retry.map(Box::new),
            completion_queue,
        };
        self.tasks.insert(number, task);
        self.open += 1;
        self.progress.total += items;
    }

    /// What became of a task; `None` while nothing did. A task that is not known ends with the pool.
    pub(super) fn outcome(&self, ticket: u64) -> Option<Result<&[u8], &Error>> {
        match (self.tasks.get(ticket)?.outcome.as_ref(), &self.end) {
            (Some(Ok(value)), _) => Some(Ok(value)),
            (Some(Err(error)), _) => Some(Err(error)),
            (None, Some(end)) => Some(Err(end)),
            (None, None) => None,
        }
    }

    /// The present number of a task that has no outcome.
    pub(super) fn open_number(&self, ticket: u64) -> Option<u64> {
        let task = self.tasks.get(ticket)?;
        task.outcome.is_none().then_some(task.number)
    }

    /// Opens a completion queue, to which the tickets of its tasks are added as they are done.
    pub(super) fn open_completion_queue(&mut self) -> NonZeroU64 {
        self.last_completion_queue += 1;
        let queue = NonZeroU64::new(self.last_completion_queue).expect("it counts from 1");
        self.completion_queues.insert(queue, VecDeque::new());
        queue
    }

    pub(super) fn close_completion_queue(&mut self, queue: NonZeroU64) {
        self.completion_queues.remove(&queue);
    }

    /// The next ticket of a completion queue; `Some(None)` when the pool has ended without.
    pub(super) fn next_completed(&mut self, queue: NonZeroU64) -> Option<Option<u64>> {
        match (
            self.completion_queues.get_mut(&queue)?.pop_front(),
            &self.end,
        ) {
            (None, None) => None,
            (ticket, _) => Some(ticket),
        }
    }

    /// Drops the interest in a task.
    pub(super) fn forget(&mut self, ticket: u64) {
        let Some(task) = self.tasks.get_mut(ticket) else {
            return;
        };
        task.forgotten = true;
        if task.outcome.is_some() || self.end.is_some() {
            self.tasks.remove(ticket);
        }
    }

    /// Enters a message of a worker or the supervisor. `put_again` puts a task whose worker has died
    /// into the task queue, and returns its next number.
    pub(super) fn record(&mut self, message: &[u8], put_again: impl Fn(&[u8]) -> Option<u64>) {
        match message::read(message) {
            None => {}
            Some((message::INITIALIZER, Err(error))) => {
                self.initializer_error = Some(error.to_string());
            }
            Some((message::POOL, Err(Error::InitializerFailed { tries, reason }))) => {
                let reason = self.initializer_error.take().unwrap_or(reason);
                self.end = Some(Error::InitializerFailed { tries, reason });
            }
            // The task died with its worker, through no decision of the pool's.
            Some((number, Err(Error::Killed { .. } | Error::Exited { .. })))
                if self.retry(number, &put_again) => {}
            Some((number, outcome)) => {
                let ticket = self.retried.remove(&number).unwrap_or(number);
                // A number that is not the task's present one is that of a try which counts no more.
                if self.open_number(ticket) == Some(number) {
                    self.finish(ticket, outcome.map(Box::from).map_err(Box::new));
                }
            }
        }
    }

    /// Puts a task again whose worker has died; false if that is not to be.
    fn retry(&mut self, number: u64, put_again: impl Fn(&[u8]) -> Option<u64>) -> bool {
        let ticket = self.retried.get(&number).copied().unwrap_or(number);
        let open = self.open_number(ticket) == Some(number);
        let Some(task) = self.tasks.get_mut(ticket).filter(|_| open) else {
            return false;
        };
        let Some(retry) = task.retry.as_mut().filter(|retry| retry.left > 0) else {
            return false;
        };
        let Some(next) = put_again(&retry.task) else {
            return false;
        };
        retry.left -= 1;
        task.number = next;
        self.retried.remove(&number);
        self.retried.insert(next, ticket);
        true
    }

    /// Enters a task's outcome, if it has none.
    pub(super) fn finish(&mut self, ticket: u64, outcome: Result<Box<[u8]>, Box<Error>>) {
        let Some(task) = self.tasks.get_mut(ticket) else {
            return;
        };
        if task.outcome.is_some() {
            return;
        }
        task.outcome = Some(outcome);
        task.retry = None;
        self.open -= 1;
        self.progress.done += task.items;
        let queue = task.completion_queue;
        if let Some(queue) = queue.and_then(|queue| self.completion_queues.get_mut(&queue)) {
            queue.push_back(ticket);
        }
        if task.forgotten {
            self.tasks.remove(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(tickets: impl IntoIterator<Item = u64>) -> TaskTable {
        let mut table = TaskTable::default();
        tickets
            .into_iter()
            .for_each(|ticket| table.insert(ticket, 1, None, None));
        table
    }

    #[test]
    fn a_task_that_stays_for_long_is_found_among_those_that_go() {
        let mut table = table([7]);
        for ticket in 8..100_000 {
            table.insert(ticket, 1, None, None);
            table.finish(ticket, Ok([].into()));
            table.forget(ticket);
            let places = table.tasks.latest.len();
            assert!(places <= GONE_MAX + 8, "{places} places for two tasks");
        }
        assert_eq!(table.open_number(7), Some(7));
        table.finish(7, Ok([1].into()));
        assert_eq!(table.outcome(7), Some(Ok(&[1][..])));
        table.forget(7);
        assert!(table.outcome(7).is_none() && table.tasks.older.is_empty());
    }

    #[test]
    fn tickets_may_leave_out_the_numbers_of_tries() {
        let mut table = table([0, 3, 9]);
        assert_eq!(
            [0, 1, 3, 9, 10].map(|ticket| table.open_number(ticket).is_some()),
            [true, false, true, true, false]
        );
        table.finish(0, Ok([].into()));
        table.forget(0);
        table.forget(3);
        assert_eq!(table.open_number(9), Some(9));
    }
}
