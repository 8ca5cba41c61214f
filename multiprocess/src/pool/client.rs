//! The application's side of a pool: which tasks are out, and what became of them.
//!
//! No thread stands behind it. Whoever waits for a result takes what the workers have put, for
//! himself and for all other handles; while one thread sleeps at the queue, the others sleep until
//! something changes.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    io::Write,
    mem,
    num::NonZeroU64,
    os::unix::net::UnixStream,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use super::{
    control::KillReason,
    message::{self, Ending},
    shared::PoolShared,
};
use crate::{
    Error, Result,
    handle::Handle,
    queue::raw::Wait,
    sys::{fork_private::ForkPrivate, identity::Identity, poll::poll},
};

/// How long to sleep at the queue before looking whether the supervisor still lives.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// How long the supervisor has to end everything.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What became of a task.
pub(crate) enum Outcome {
    Value(Box<[u8]>),
    Ended(Box<Ending>),
}

/// A task that was handed in, until its handle is dropped. There may be hundreds of thousands, and
/// each is looked up several times, so it is kept small.
struct Task {
    /// Its number in the task queue, which changes when it is tried again.
    number: u64,
    /// How many items of the caller it holds.
    items: u64,
    /// Nobody asks for the outcome.
    forgotten: bool,
    outcome: Option<Outcome>,
    again: Option<Box<Retry>>,
    /// The completion queue in which its handle waits for any of several tasks.
    completion_queue: Option<NonZeroU64>,
}

/// What it takes to try a task again.
struct Retry {
    /// How often that may still happen.
    left: u32,
    task: Box<[u8]>,
}

/// Tickets are numbers in a row. Their low bits choose the place in the table, so that tasks that
/// follow each other lie side by side; the highest bits, by which the table tells apart what lies
/// side by side, are mixed.
#[derive(Default)]
struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("tickets are hashed as the numbers that they are");
    }

    fn write_u64(&mut self, ticket: u64) {
        const HIGHEST: u64 = 0x7f << 57;
        let mixed = ticket.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = ticket & !HIGHEST | mixed & HIGHEST;
    }
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

#[derive(Default)]
struct TaskTable {
    /// By ticket: the number under which the task was put first.
    tasks: HashMap<u64, Task, BuildHasherDefault<TicketHasher>>,
    /// The tickets of tasks that were put again, by their present number.
    again: HashMap<u64, u64>,
    /// The finished tickets of each completion queue.
    completion_queues: HashMap<NonZeroU64, VecDeque<u64>>,
    last_completion_queue: u64,
    /// Tasks without an outcome.
    open: u64,
    progress: Progress,
    closed: bool,
    /// How the pool ended, and with it every task that had no outcome.
    end: Option<Ending>,
    /// What the last failed initializer said.
    initializer_error: Option<String>,
    /// A thread sleeps at the results.
    receiving: bool,
    message: Vec<u8>,
}

/// The application's end of a pool.
pub(crate) struct PoolClient {
    pub(crate) shared: PoolShared,
    table: Mutex<TaskTable>,
    changed: Condvar,
    supervisor: Handle,
    wakeup: ForkPrivate<UnixStream>,
    owner: Identity,
}

impl PoolClient {
    pub(crate) fn new(
        shared: PoolShared,
        supervisor: Handle,
        wakeup: ForkPrivate<UnixStream>,
    ) -> Self {
        Self {
            shared,
            table: Mutex::default(),
            changed: Condvar::new(),
            supervisor,
            wakeup,
            owner: Identity::mine(),
        }
    }

    pub(crate) fn supervisor(&self) -> i32 {
        self.supervisor.pid()
    }

    /// Whether this process made the pool; a forked child has a copy that is good for nothing.
    pub(crate) fn is_ours(&self) -> bool {
        Identity::mine() == self.owner
    }

    fn table(&self) -> MutexGuard<'_, TaskTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a task in, and returns its ticket.
    pub(crate) fn submit(
        &self,
        bytes: &[u8],
        items: u64,
        completion_queue: Option<NonZeroU64>,
    ) -> Result<u64> {
        self.require_ours()?;
        loop {
            let mut table = self.table();
            if table.closed {
                return Err(Error::Closed);
            }
            if let Some(end) = &table.end {
                return Err(end.clone().into_error());
            }
            // With the table in hand, so that nobody gets the result before the task is in them.
            match self.shared.tasks.put(bytes, Wait::No) {
                Ok(number) => {
                    let left = self.shared.retries;
                    let task = || bytes.into();
                    let again = (left > 0).then(|| Box::new(Retry { left, task: task() }));
                    let (outcome, forgotten) = (None, false);
                    let task = Task {
                        number,
                        items,
                        outcome,
                        again,
                        completion_queue,
                        forgotten,
                    };
                    table.tasks.insert(number, task);
                    table.open += 1;
                    table.progress.total += items;
                    return Ok(number);
                }
                Err(Error::Full) => {
                    drop(table);
                    self.wait(Some(Instant::now() + LOOK_AFTER), |_| None::<()>)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a task; `None` if the deadline came first. The outcome stays in the table.
    pub(crate) fn outcome<T>(
        &self,
        ticket: u64,
        deadline: Option<Instant>,
        read: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut read = Some(read);
        let value = self.wait(deadline, |table| {
            let outcome = table.tasks.get(&ticket)?.outcome.as_ref();
            let outcome = match (outcome, &table.end) {
                (Some(Outcome::Value(value)), _) => Ok(value),
                (Some(Outcome::Ended(ending)), _) => Err(&**ending),
                (None, Some(ending)) => Err(ending),
                (None, None) => return None,
            };
            let read = read.take().expect("an outcome is returned once");
            Some(match outcome {
                Ok(value) => read(value),
                Err(ending) => Err(ending.clone().into_error()),
            })
        })?;
        value.transpose()
    }

    pub(crate) fn is_ready(&self, ticket: u64) -> bool {
        let ready = self.wait(Some(Instant::now()), |table| {
            let task = table.tasks.get(&ticket)?;
            (task.outcome.is_some() || table.end.is_some()).then_some(())
        });
        matches!(ready, Ok(Some(())))
    }

    /// Opens a completion queue, in which the tickets of its tasks stand as they get ready.
    pub(crate) fn open_completion_queue(&self) -> NonZeroU64 {
        let mut table = self.table();
        table.last_completion_queue += 1;
        let completion_queue =
            NonZeroU64::new(table.last_completion_queue).expect("it counts from 1");
        table
            .completion_queues
            .insert(completion_queue, VecDeque::new());
        completion_queue
    }

    pub(crate) fn close_completion_queue(&self, completion_queue: NonZeroU64) {
        self.table().completion_queues.remove(&completion_queue);
    }

    /// Waits for the next ticket of a completion queue; `None` when the pool has ended without.
    pub(crate) fn next_completed(&self, completion_queue: NonZeroU64) -> Result<Option<u64>> {
        let next = self.wait(None, |table| {
            match (
                table
                    .completion_queues
                    .get_mut(&completion_queue)?
                    .pop_front(),
                &table.end,
            ) {
                (None, None) => None,
                (ticket, _) => Some(ticket),
            }
        })?;
        Ok(next.flatten())
    }

    /// Waits until every task has an outcome.
    pub(crate) fn wait_for_all(&self) -> Result<()> {
        let over = self.wait(None, |table| match (table.open, &table.end) {
            (0, _) => Some(Ok(())),
            (_, Some(end)) => Some(Err(end.clone().into_error())),
            _ => None,
        })?;
        over.unwrap_or(Ok(()))
    }

    pub(crate) fn progress(&self) -> Progress {
        let seen = self.wait(Some(Instant::now()), |_| None::<()>);
        debug_assert!(!matches!(seen, Ok(Some(()))));
        self.table().progress
    }

    /// Drops the interest in a task.
    pub(crate) fn forget(&self, ticket: u64) {
        let mut table = self.table();
        let Some(task) = table.tasks.get_mut(&ticket) else {
            return;
        };
        task.forgotten = true;
        if task.outcome.is_some() || table.end.is_some() {
            table.tasks.remove(&ticket);
        }
    }

    /// Gives a task up: one that waits is not begun, one that runs is killed. False if it has an
    /// outcome already.
    pub(crate) fn cancel(&self, ticket: u64) -> bool {
        if !self.is_ours() || self.is_ready(ticket) {
            return false;
        }
        let mut table = self.table();
        let Some(task) = table.tasks.get(&ticket).filter(|t| t.outcome.is_none()) else {
            return false;
        };
        let number = task.number;
        table.finish(ticket, Outcome::Ended(Ending::Cancelled.into()));
        drop(table);
        self.changed.notify_all();
        let control = &self.shared.control;
        // A worker looks for the mark after it has noted the task: one of the two sees the other.
        control.cancel(control.words(), number);
        let slots = &control.slots[..self.shared.workers];
        let mark_for_kill =
            |slot: &super::control::Slot| slot.mark_for_kill(number, KillReason::Cancelled);
        if slots.iter().any(mark_for_kill) {
            self.wake_supervisor();
        }
        true
    }

    pub(crate) fn close(&self) {
        self.table().closed = true;
    }

    /// Lets the workers end when the task queue is empty, and waits until all have ended.
    pub(crate) fn dismiss(&self) {
        self.shared.tasks.close();
        self.wait_for_supervisor(None);
    }

    /// Ends the workers at once, and with them the tasks that have no outcome.
    pub(crate) fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        self.close();
        self.shared.control.stop.store(1, SeqCst);
        self.wake_supervisor();
        self.wait_for_supervisor(Some(Instant::now() + END_WITHIN));
        self.table().end.get_or_insert(Ending::Cancelled);
        self.changed.notify_all();
    }

    fn wake_supervisor(&self) {
        if let Ok(mut wakeup) = self.wakeup.get() {
            // If it is full of rings, or the supervisor is gone, one more makes no difference.
            let _ = wakeup.write(&[1]);
        }
    }

    /// Waits for the supervisor's end, and buries it.
    fn wait_for_supervisor(&self, deadline: Option<Instant>) {
        let Ok(pidfd) = self.supervisor.pidfd() else {
            return;
        };
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, deadline), Ok(true)) {
            let _ = self.supervisor.signal(libc::SIGKILL);
        }
        // An error says that it is buried already.
        let _ = self.supervisor.reap();
    }

    fn supervisor_has_ended(&self) -> bool {
        !matches!(self.supervisor.exitcode(), Ok(None))
    }

    fn require_ours(&self) -> Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        let other = std::io::Error::other("it belongs to the process that forked this one");
        Err(Error::os(format!("use pool {}", self.shared.name), other))
    }

    /// Waits until `look` finds what it wants in the table; `None` if the deadline came first.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut TaskTable) -> Option<T>,
    ) -> Result<Option<T>> {
        self.require_ours()?;
        let mut table = self.table();
        loop {
            if let Some(found) = look(&mut table) {
                return Ok(Some(found));
            }
            if !table.receiving && table.end.is_none() && self.take_all(&mut table) {
                self.changed.notify_all();
                continue;
            }
            let slice = Instant::now() + LOOK_AFTER;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            if table.receiving || table.end.is_some() {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(table, left);
                table = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            table = self.receive(table, until);
        }
    }

    /// Sleeps at the results without the table, for all threads.
    fn receive<'a>(
        &'a self,
        mut table: MutexGuard<'a, TaskTable>,
        until: Instant,
    ) -> MutexGuard<'a, TaskTable> {
        table.receiving = true;
        let mut message = mem::take(&mut table.message);
        drop(table);
        let got = self
            .shared
            .results
            .get(&mut message, Wait::Until(until), |_, _| ());
        // Asked before the last look at the results: what was put before the end is then in.
        let ended = got.is_err() && self.supervisor_has_ended();
        let mut table = self.table();
        table.receiving = false;
        if let Ok((_, len)) = got {
            self.note(&mut table, &message[..len]);
        }
        table.message = message;
        if ended {
            self.take_all(&mut table);
            table.end.get_or_insert(Ending::Broken);
        }
        self.changed.notify_all();
        table
    }

    /// Takes all results that are there; false if there was none.
    fn take_all(&self, table: &mut TaskTable) -> bool {
        let mut message = mem::take(&mut table.message);
        let mut any = false;
        while let Ok((_, len)) = self.shared.results.get(&mut message, Wait::No, |_, _| ()) {
            self.note(table, &message[..len]);
            any = true;
        }
        table.message = message;
        any
    }

    /// Enters a message into the table.
    fn note(&self, table: &mut TaskTable, bytes: &[u8]) {
        let Some((number, body)) = message::read(bytes) else {
            return;
        };
        match (number, body) {
            (message::INITIALIZER, Err(ending)) => {
                table.initializer_error = Some(ending.into_error().to_string());
            }
            (message::POOL, Err(Ending::InitializerFailed { tries, reason })) => {
                let reason = table.initializer_error.take().unwrap_or(reason);
                table.end = Some(Ending::InitializerFailed { tries, reason });
            }
            (number, Err(ending)) if ending.is_death() && self.retry(table, number) => {}
            (number, body) => {
                let ticket = table.again.remove(&number).unwrap_or(number);
                let outcome = match body {
                    Ok(value) => Outcome::Value(value.into()),
                    Err(ending) => Outcome::Ended(ending.into()),
                };
                if table
                    .tasks
                    .get(&ticket)
                    .is_some_and(|task| task.number == number)
                {
                    table.finish(ticket, outcome);
                }
            }
        }
    }

    /// Puts a task again whose worker has died; false if that is not to be.
    fn retry(&self, table: &mut TaskTable, number: u64) -> bool {
        let ticket = table.again.get(&number).copied().unwrap_or(number);
        let Some(task) = table.tasks.get_mut(&ticket) else {
            return false;
        };
        if task.outcome.is_some() || task.number != number {
            return false;
        }
        let Some(again) = task.again.as_mut().filter(|again| again.left > 0) else {
            return false;
        };
        let Ok(next) = self.shared.tasks.put(&again.task, Wait::No) else {
            return false;
        };
        again.left -= 1;
        task.number = next;
        table.again.remove(&number);
        table.again.insert(next, ticket);
        true
    }
}

impl TaskTable {
    /// Enters a task's outcome, if it has none.
    fn finish(&mut self, ticket: u64, outcome: Outcome) {
        let Some(task) = self.tasks.get_mut(&ticket) else {
            return;
        };
        if task.outcome.is_some() {
            return;
        }
        task.outcome = Some(outcome);
        task.again = None;
        self.open -= 1;
        self.progress.done += task.items;
        if let Some(completion_queue) = task
            .completion_queue
            .and_then(|completion_queue| self.completion_queues.get_mut(&completion_queue))
        {
            completion_queue.push_back(ticket);
        }
        if task.forgotten {
            self.tasks.remove(&ticket);
        }
    }
}
