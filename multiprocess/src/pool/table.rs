//! Which tasks of a pool are out, and what became of them: the application's state, without any I/O.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    num::NonZeroU64,
    sync::Arc,
    task::Waker,
};

use super::{
    block::{ResultBlock, SharedResult},
    chunk::{Mode, Part},
    fd_store::StoredFds,
    lost::LostTasks,
    message::{self, Report},
    open_tasks::{ChunkState, More, Retry, Submission, Task, Tasks},
    retry::worker_died,
    slot::Step,
    unheard::UnheardFailures,
    wakers::{Awaited, PoolWakers},
};
use crate::{Error, Result};

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

/// The tasks of a pool by their tickets. A ticket is the number under which the task was put first.
#[derive(Default)]
pub(super) struct TaskTable {
    pub(super) tasks: Tasks,
    /// The tickets of tasks that were put again, by their present number.
    pub(super) retried: HashMap<u64, u64>,
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
    /// How many tasks were forgotten without an outcome since the results were last taken for that.
    forgotten: u32,
    pub(super) unheard: UnheardFailures,
    pub(super) wakers: PoolWakers,
    pub(super) lost: LostTasks,
}

/// How many tasks are forgotten before somebody looks for their results.
const FORGOTTEN_MAX: u32 = 256;

/// A buffer for messages that has grown beyond this is not kept: 1 MiB.
const KEPT_MAX: usize = 1 << 20;

impl TaskTable {
    /// Whether results should be taken though nobody waits, so that those of forgotten tasks do not
    /// pile up. After this answer it is not asked for again for a while.
    pub(super) fn is_time_to_drain(&mut self) -> bool {
        let is_time = self.forgotten >= FORGOTTEN_MAX && !self.receiving;
        if is_time {
            self.forgotten = 0;
        }
        is_time
    }

    /// The futures that have something to find.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        if self.end.is_some() {
            self.wakers.wake_all();
        }
        self.wakers.take_woken()
    }

    /// Takes the buffer for messages back.
    pub(super) fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_MAX {
            self.message = buffer;
        }
    }

    /// Enters a task, whose first number is its ticket. `retries` says how often an item of it may be
    /// tried again, if it is kept for that.
    pub(super) fn insert(
        &mut self,
        number: u64,
        submission: Submission,
        retries: u32,
        kept: Option<Box<[u8]>>,
    ) {
        let chunk = submission.mode.map(|mode| ChunkState {
            mode,
            have: 0,
            parts: Vec::new(),
            ran: 0,
            stopped: false,
        });
        let retry = kept.map(|task| Retry {
            most: retries,
            left: retries,
            item: 0,
            task,
        });
        let mut more = None;
        if chunk.is_some() || retry.is_some() {
            let new = more.insert(Box::<More>::default());
            (new.chunk, new.retry) = (chunk, retry);
        }
        let task = Task {
            number,
            items: submission.items,
            forgotten: false,
            heard: false,
            outcome: None,
            more,
            completion_queue: submission.completion_queue,
        };
        self.tasks.insert(number, task);
        self.open += 1;
        self.progress.total += submission.items;
    }

    /// Has the descriptors of a task kept until it has an outcome.
    pub(super) fn keep_descriptors(&mut self, ticket: u64, stored: StoredFds) {
        if let Some(task) = self.tasks.get_mut(ticket) {
            task.more.get_or_insert_default().descriptors = Some(stored);
        }
    }

    /// What became of a task; `None` while nothing did. A task that is not known ends with the pool.
    pub(super) fn outcome(&self, ticket: u64) -> Option<Result<&Arc<[u8]>, &Error>> {
        let task = self.tasks.get(ticket)?;
        match (task.outcome.as_ref(), &self.end) {
            (Some(outcome), _) => Some(outcome.as_ref().map_err(AsRef::as_ref)),
            (None, Some(end)) => Some(Err(end)),
            (None, None) => None,
        }
    }

    /// As [`outcome`](Self::outcome), to be read without the table. It is heard with that.
    pub(super) fn result(&mut self, ticket: u64) -> Option<Result<SharedResult>> {
        let outcome = self.outcome(ticket)?.cloned().map_err(Error::clone);
        self.hear(ticket);
        let task = self.tasks.get(ticket)?;
        let block = task.more.as_ref().and_then(|more| more.block.clone());
        Some(outcome.map(|bytes| SharedResult { bytes, block }))
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

    /// Drops the interest in a task. Returns its present number if it has no outcome yet.
    pub(super) fn forget(&mut self, ticket: u64) -> Option<u64> {
        let task = self.tasks.get_mut(ticket)?;
        task.forgotten = true;
        let is_open = task.outcome.is_none() && self.end.is_none();
        let number = task.number;
        if is_open {
            self.forgotten += 1;
        } else {
            self.remove(ticket);
        }
        is_open.then_some(number)
    }

    /// Removes a task that has an outcome, or has none any more, and notes what nobody has heard.
    fn remove(&mut self, ticket: u64) {
        if let Some(task) = self.tasks.remove(ticket) {
            self.unheard.note(ticket, &task);
        }
    }

    /// Notes that the outcome of a task has been seen.
    pub(super) fn hear(&mut self, ticket: u64) {
        if let Some(task) = self.tasks.get_mut(ticket) {
            task.heard = true;
        }
    }

    /// What became of the items of a chunk that is done, in their order.
    pub(super) fn take_parts(&mut self, ticket: u64) -> Vec<Part> {
        let chunk = self.chunk_mut(ticket);
        chunk.map_or_else(Vec::new, |chunk| mem::take(&mut chunk.parts))
    }

    /// How many items of a chunk that failed have run.
    pub(super) fn ran(&mut self, ticket: u64) -> u64 {
        self.chunk_mut(ticket).map_or(0, |chunk| chunk.ran)
    }

    /// Sees to it that a chunk is not tried again; its present number if it has no outcome.
    pub(super) fn stop(&mut self, ticket: u64) -> Option<u64> {
        let number = self.open_number(ticket)?;
        if let Some(chunk) = self.chunk_mut(ticket) {
            chunk.stopped = true;
        }
        Some(number)
    }

    /// How many items of the task with this number a worker has done that are not known here.
    pub(super) fn unknown_items(&self, number: u64, done: u64) -> u64 {
        let ticket = self.retried.get(&number).copied().unwrap_or(number);
        let task = self.tasks.get(ticket);
        let open = task.filter(|task| task.outcome.is_none() && task.number == number);
        let chunk = open.and_then(|task| task.more.as_ref()?.chunk.as_ref());
        let items = open.map_or(0, |task| task.items);
        chunk.map_or(0, |chunk| done.min(items).saturating_sub(chunk.have))
    }

    fn chunk_mut(&mut self, ticket: u64) -> Option<&mut ChunkState> {
        let more = self.tasks.get_mut(ticket)?.more.as_mut()?;
        more.chunk.as_mut()
    }

    /// Enters a message of a worker or the supervisor, with its block. `put_again` puts a task whose
    /// worker has died into the task queue, and returns its next number.
    pub(super) fn record(
        &mut self,
        message: &[u8],
        block: Option<ResultBlock>,
        put_again: impl Fn(&[u8]) -> Option<u64>,
    ) {
        let Some((number, report)) = message::read(message) else {
            // Of whichever task it was meant to be, nobody will hear of that any more.
            self.end.get_or_insert_with(message::damaged);
            return;
        };
        let ticket = self.retried.get(&number).copied().unwrap_or(number);
        // A number that is not the task's present one is that of a try which counts no more.
        let is_present = self.open_number(ticket) == Some(number);
        match (number, report) {
            (message::INITIALIZER, Report::Failed { error, .. }) => {
                self.initializer_error = Some(error.to_string());
            }
            (message::POOL, Report::Failed { error, .. }) => {
                let error = match (error, self.initializer_error.take()) {
                    (Error::InitializerFailed { tries, .. }, Some(reason)) => {
                        Error::InitializerFailed { tries, reason }
                    }
                    (error, _) => error,
                };
                self.end = Some(error);
            }
            (message::WORKER, Report::Failed { error, .. }) => self.lost.ending = Some(error),
            _ if !is_present => {}
            (_, Report::Usage(items)) => self.add_usage(ticket, &items),
            (_, Report::Result(result)) => {
                let is_forgotten = self.tasks.get(ticket).is_some_and(|task| task.forgotten);
                let outcome = match self.chunk_mut(ticket) {
                    None => Ok(result.into()),
                    // Of one that nobody asks for, a worker only says that it is done.
                    Some(_) if is_forgotten => Ok([].into()),
                    Some(_) => Err(message::damaged().into()),
                };
                if block.is_some()
                    && let Some(task) = self.tasks.get_mut(ticket)
                {
                    task.more.get_or_insert_default().block = block.map(Arc::new);
                }
                self.finish(ticket, outcome);
            }
            (
                _,
                Report::Items {
                    first,
                    count,
                    results,
                },
            ) => self.add_results(ticket, (first, count), results, block),
            (_, Report::Panicked(error)) => self.note_panic(ticket, error),
            (_, Report::Failed { at, error }) => {
                if !worker_died(&error) {
                    self.fail(ticket, at, error);
                } else if let Some(error) = self.survive(ticket, at, error, put_again) {
                    self.end_task(ticket, at, error);
                }
            }
        }
    }

    /// Enters results of a chunk's items, if they are not known: a worker that dies may leave some to
    /// be put twice.
    fn add_results(
        &mut self,
        ticket: u64,
        (first, count): (u64, u64),
        results: &[u8],
        block: Option<ResultBlock>,
    ) {
        let items = self.tasks.get(ticket).map_or(0, |task| task.items);
        let Some(chunk) = self.chunk_mut(ticket) else {
            return self.finish(ticket, Err(message::damaged().into()));
        };
        if first > chunk.have || count > items - first {
            self.finish(ticket, Err(message::damaged().into()));
        } else if chunk.have == first {
            let block = block.map(Box::new);
            chunk
                .parts
                .push(Part::Results(count, results.into(), block));
            self.advance(ticket, count);
        }
    }

    /// Counts items of a chunk whose outcome is known, and ends the chunk with its last one.
    fn advance(&mut self, ticket: u64, count: u64) {
        let Some(task) = self.tasks.get_mut(ticket) else {
            return;
        };
        let items = task.items;
        let Some(chunk) = task.more.as_mut().and_then(|more| more.chunk.as_mut()) else {
            return;
        };
        chunk.have += count;
        self.progress.done += count;
        if chunk.have == items {
            chunk.ran = items;
            self.finish(ticket, Ok([].into()));
        }
    }

    /// Enters what a living worker says of a task, or of an item that has an outcome of its own.
    fn fail(&mut self, ticket: u64, at: Step, error: Error) {
        match self.chunk_mut(ticket) {
            Some(chunk) if chunk.mode == Mode::Each && at.is_in_item() => {
                if chunk.have == at.done() {
                    chunk.parts.push(Part::Failed(error));
                    self.advance(ticket, 1);
                }
            }
            _ => self.end_task(ticket, at, error),
        }
    }

    /// Enters that a task has failed, with all items that have no outcome of their own.
    fn end_task(&mut self, ticket: u64, at: Step, error: Error) {
        let items = self.tasks.get(ticket).map_or(0, |task| task.items);
        if let Some(chunk) = self.chunk_mut(ticket) {
            chunk.ran = items.min(at.done() + u64::from(at.is_in_item()));
        }
        self.finish(ticket, Err(Box::new(error)));
    }

    /// Enters a task's outcome, if it has none.
    pub(super) fn finish(&mut self, ticket: u64, outcome: Result<Arc<[u8]>, Box<Error>>) {
        let Some(task) = self.tasks.get_mut(ticket) else {
            return;
        };
        if task.outcome.is_some() {
            return;
        }
        task.outcome = Some(outcome);
        let mut known = 0;
        if let Some(more) = &mut task.more {
            more.retry = None;
            more.descriptors = None;
            known = more.chunk.as_ref().map_or(0, |chunk| chunk.have);
        }
        self.open -= 1;
        self.progress.done += task.items - known;
        if task.number != ticket {
            self.retried.remove(&task.number);
        }
        let (queue, is_forgotten) = (task.completion_queue, task.forgotten);
        if let Some(id) = queue
            && let Some(queue) = self.completion_queues.get_mut(&id)
        {
            queue.push_back(ticket);
            self.wakers.wake(Awaited::Completion(id));
        }
        self.wakers.wake(Awaited::Task(ticket));
        if is_forgotten {
            self.remove(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        pool::{chunk::ChunkWriter, open_tasks::GONE_MAX},
        queue::{lending::BlockWriter, raw::Wait},
        sys::call::Function,
    };

    fn table(tickets: impl IntoIterator<Item = u64>) -> TaskTable {
        let mut table = TaskTable::default();
        tickets
            .into_iter()
            .for_each(|ticket| table.insert(ticket, Submission::ONE, 0, None));
        table
    }

    #[test]
    fn a_task_that_stays_for_long_is_found_among_those_that_go() {
        let mut table = table([7]);
        for ticket in 8..100_000 {
            table.insert(ticket, Submission::ONE, 0, None);
            table.finish(ticket, Ok([].into()));
            table.forget(ticket);
            let places = table.tasks.latest.len();
            assert!(places <= GONE_MAX + 8, "{places} places for two tasks");
        }
        assert_eq!(table.open_number(7), Some(7));
        table.finish(7, Ok([1].into()));
        assert_eq!(table.outcome(7), Some(Ok(&[1].into())));
        table.forget(7);
        assert!(table.outcome(7).is_none() && table.tasks.older.is_empty());
    }

    /// A chunk of three items, which its worker was killed with.
    fn killed(stopped: bool, mode: Mode) -> (TaskTable, bool) {
        let mut chunk = Vec::new();
        let function = Function::of((|| ()) as fn(), |_, _, _| Ok(()));
        let mut writer = ChunkWriter::new(function, 3, mode);
        let mut block = BlockWriter::new(None, Wait::No);
        writer.write(&mut [1, 2, 3].into_iter(), &mut chunk, &mut block);
        let submission = Submission {
            items: 3,
            mode: Some(mode),
            completion_queue: None,
        };
        let mut table = TaskTable::default();
        table.insert(5, submission, 1, Some(chunk.into()));
        if stopped {
            assert_eq!(table.stop(5), Some(5));
        }
        let killed = Error::Killed { signal: 9, pid: 1 };
        let mut message = Vec::new();
        message::write_error(5, Step::in_item(1), &killed, &mut message);
        let put = Cell::new(false);
        // The result of the first item came before.
        table.add_results(5, (0, 1), &[], None);
        table.record(&message, None, |_| {
            put.set(true);
            Some(9)
        });
        (table, put.get())
    }

    #[test]
    fn a_chunk_of_a_map_that_has_ended_is_not_tried_again() {
        let (table, put) = killed(false, Mode::Retried);
        assert!(put && table.open_number(5) == Some(9));
        assert_eq!(table.progress, Progress { done: 1, total: 3 });
        let (mut table, put) = killed(true, Mode::Retried);
        assert!(!put && table.outcome(5).is_some());
        assert_eq!(table.ran(5), 2);
        assert_eq!(table.progress, Progress { done: 3, total: 3 });
    }

    #[test]
    fn what_an_earlier_try_says_counts_no_more() {
        let (mut table, _) = killed(false, Mode::Retried);
        let mut message = Vec::new();
        message::begin_result(5, &mut message);
        table.record(&message, None, |_| None);
        assert_eq!(table.open_number(5), Some(9));
        message::begin_result(9, &mut message);
        table.record(&message, None, |_| None);
        assert!(table.outcome(5).is_some() && table.retried.is_empty());
    }

    #[test]
    fn a_report_that_cannot_be_ends_its_task_with_an_error() {
        let counts = [(0, 4), (0, u64::MAX), (1, 3), (2, 1), (u64::MAX, 1)];
        for (first, count) in counts {
            // A chunk of three items, of which the first is known.
            let (mut table, _) = killed(false, Mode::Retried);
            table.record(&message::items_head(9, first, count), None, |_| None);
            let outcome = table.outcome(5).expect("it has an outcome");
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains("damaged"), "{text}");
            assert_eq!(table.progress, Progress { done: 3, total: 3 });
        }
        let mut table = table([7]);
        table.record(&message::items_head(7, 0, 1), None, |_| None);
        assert!(matches!(table.outcome(7), Some(Err(Error::Os { .. }))));
    }

    #[test]
    fn no_more_items_are_done_than_there_are() {
        let (mut table, _) = killed(false, Mode::Each);
        assert_eq!(table.unknown_items(9, u64::MAX >> 1), 2);
        let error = Error::Cancelled;
        let mut message = Vec::new();
        message::write_error(9, Step(u64::MAX), &error, &mut message);
        table.record(&message, None, |_| None);
        assert_eq!(table.open_number(5), Some(9), "of no item that is awaited");
        message::write_error(9, Step(u64::MAX - 1), &error, &mut message);
        table.record(&message, None, |_| None);
        assert_eq!(table.ran(5), 3);
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
