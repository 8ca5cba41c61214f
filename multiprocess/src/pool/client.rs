//! The application's side of a pool: which tasks are out, and what became of them.
//!
//! No thread stands behind it. Whoever waits for a result takes what the workers have put, for
//! himself and for all other handles; while one thread sleeps at the queue, the others sleep until
//! it has news.

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
    control::Verdict,
    message::{self, Ending},
    shared::Shop,
};
use crate::{
    Error, Result,
    handle::Handle,
    queue::raw::Patience,
    sys::{fork_private::Private, identity::Identity, poll::poll},
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
    again: Option<Box<Again>>,
    /// The line in which its handle waits for any of several tasks.
    line: Option<NonZeroU64>,
}

/// What it takes to try a task again.
struct Again {
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
struct Books {
    /// By ticket: the number under which the task was put first.
    tasks: HashMap<u64, Task, BuildHasherDefault<TicketHasher>>,
    /// The tickets of tasks that were put again, by their present number.
    again: HashMap<u64, u64>,
    /// The finished tickets of each line.
    lines: HashMap<NonZeroU64, VecDeque<u64>>,
    last_line: u64,
    /// Tasks without an outcome.
    open: u64,
    progress: Progress,
    closed: bool,
    /// How the pool ended, and with it every task that had no outcome.
    end: Option<Ending>,
    /// What the last failed initializer said.
    complaint: Option<String>,
    /// A thread sleeps at the results.
    somebody_listens: bool,
    message: Vec<u8>,
}

/// The application's end of a pool.
pub(crate) struct Office {
    pub(crate) shop: Shop,
    books: Mutex<Books>,
    news: Condvar,
    supervisor: Handle,
    bell: Private<UnixStream>,
    owner: Identity,
}

impl Office {
    pub(crate) fn new(shop: Shop, supervisor: Handle, bell: Private<UnixStream>) -> Self {
        Self {
            shop,
            books: Mutex::default(),
            news: Condvar::new(),
            supervisor,
            bell,
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

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a task in, and returns its ticket.
    pub(crate) fn submit(&self, bytes: &[u8], items: u64, line: Option<NonZeroU64>) -> Result<u64> {
        self.require_ours()?;
        loop {
            let mut books = self.books();
            if books.closed {
                return Err(Error::Closed);
            }
            if let Some(end) = &books.end {
                return Err(end.clone().into_error());
            }
            // With the books in hand, so that nobody gets the result before the task is in them.
            match self.shop.tasks.put(bytes, Patience::None) {
                Ok(number) => {
                    let left = self.shop.retries;
                    let task = || bytes.into();
                    let again = (left > 0).then(|| Box::new(Again { left, task: task() }));
                    let (outcome, forgotten) = (None, false);
                    let task = Task {
                        number,
                        items,
                        outcome,
                        again,
                        line,
                        forgotten,
                    };
                    books.tasks.insert(number, task);
                    books.open += 1;
                    books.progress.total += items;
                    return Ok(number);
                }
                Err(Error::Full) => {
                    drop(books);
                    self.wait(Some(Instant::now() + LOOK_AFTER), |_| None::<()>)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a task; `None` if the deadline came first. The outcome stays in the books.
    pub(crate) fn outcome<T>(
        &self,
        ticket: u64,
        deadline: Option<Instant>,
        read: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut read = Some(read);
        let value = self.wait(deadline, |books| {
            let outcome = books.tasks.get(&ticket)?.outcome.as_ref();
            let outcome = match (outcome, &books.end) {
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
        let ready = self.wait(Some(Instant::now()), |books| {
            let task = books.tasks.get(&ticket)?;
            (task.outcome.is_some() || books.end.is_some()).then_some(())
        });
        matches!(ready, Ok(Some(())))
    }

    /// Opens a line, in which the tickets of its tasks stand as they get ready.
    pub(crate) fn open_line(&self) -> NonZeroU64 {
        let mut books = self.books();
        books.last_line += 1;
        let line = NonZeroU64::new(books.last_line).expect("it counts from 1");
        books.lines.insert(line, VecDeque::new());
        line
    }

    pub(crate) fn close_line(&self, line: NonZeroU64) {
        self.books().lines.remove(&line);
    }

    /// Waits for the next ticket of a line; `None` when the pool has ended without.
    pub(crate) fn next_in_line(&self, line: NonZeroU64) -> Result<Option<u64>> {
        let next = self.wait(None, |books| {
            match (books.lines.get_mut(&line)?.pop_front(), &books.end) {
                (None, None) => None,
                (ticket, _) => Some(ticket),
            }
        })?;
        Ok(next.flatten())
    }

    /// Waits until every task has an outcome.
    pub(crate) fn wait_for_all(&self) -> Result<()> {
        let over = self.wait(None, |books| match (books.open, &books.end) {
            (0, _) => Some(Ok(())),
            (_, Some(end)) => Some(Err(end.clone().into_error())),
            _ => None,
        })?;
        over.unwrap_or(Ok(()))
    }

    pub(crate) fn progress(&self) -> Progress {
        let seen = self.wait(Some(Instant::now()), |_| None::<()>);
        debug_assert!(!matches!(seen, Ok(Some(()))));
        self.books().progress
    }

    /// Drops the interest in a task.
    pub(crate) fn forget(&self, ticket: u64) {
        let mut books = self.books();
        let Some(task) = books.tasks.get_mut(&ticket) else {
            return;
        };
        task.forgotten = true;
        if task.outcome.is_some() || books.end.is_some() {
            books.tasks.remove(&ticket);
        }
    }

    /// Gives a task up: one that waits is not begun, one that runs is killed. False if it has an
    /// outcome already.
    pub(crate) fn cancel(&self, ticket: u64) -> bool {
        if !self.is_ours() || self.is_ready(ticket) {
            return false;
        }
        let mut books = self.books();
        let Some(task) = books.tasks.get(&ticket).filter(|t| t.outcome.is_none()) else {
            return false;
        };
        let number = task.number;
        books.finish(ticket, Outcome::Ended(Ending::Cancelled.into()));
        drop(books);
        self.news.notify_all();
        let control = &self.shop.control;
        // A worker looks for the mark after it has noted the task: one of the two sees the other.
        control.cancel(control.words(), number);
        let slots = &control.slots[..self.shop.workers];
        let condemn = |slot: &super::control::Slot| slot.condemn(number, Verdict::Cancelled);
        if slots.iter().any(condemn) {
            self.ring();
        }
        true
    }

    pub(crate) fn close(&self) {
        self.books().closed = true;
    }

    /// Lets the workers end when the task queue is empty, and waits until all have ended.
    pub(crate) fn dismiss(&self) {
        self.shop.tasks.close();
        self.await_end(None);
    }

    /// Ends the workers at once, and with them the tasks that have no outcome.
    pub(crate) fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        self.close();
        self.shop.control.stop.store(1, SeqCst);
        self.ring();
        self.await_end(Some(Instant::now() + END_WITHIN));
        self.books().end.get_or_insert(Ending::Cancelled);
        self.news.notify_all();
    }

    fn ring(&self) {
        if let Ok(mut bell) = self.bell.get() {
            // If it is full of rings, or the supervisor is gone, one more makes no difference.
            let _ = bell.write(&[1]);
        }
    }

    /// Waits for the supervisor's end, and buries it.
    fn await_end(&self, deadline: Option<Instant>) {
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
        Err(Error::os(format!("use pool {}", self.shop.name), other))
    }

    /// Waits until `look` finds what it wants in the books; `None` if the deadline came first.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut Books) -> Option<T>,
    ) -> Result<Option<T>> {
        self.require_ours()?;
        let mut books = self.books();
        loop {
            if let Some(found) = look(&mut books) {
                return Ok(Some(found));
            }
            if !books.somebody_listens && books.end.is_none() && self.take_all(&mut books) {
                self.news.notify_all();
                continue;
            }
            let slice = Instant::now() + LOOK_AFTER;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            if books.somebody_listens || books.end.is_some() {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.news.wait_timeout(books, left);
                books = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            books = self.listen(books, until);
        }
    }

    /// Sleeps at the results without the books, for all threads.
    fn listen<'a>(
        &'a self,
        mut books: MutexGuard<'a, Books>,
        until: Instant,
    ) -> MutexGuard<'a, Books> {
        books.somebody_listens = true;
        let mut message = mem::take(&mut books.message);
        drop(books);
        let got = self
            .shop
            .results
            .get(&mut message, Patience::Until(until), |_, _| ());
        // Asked before the last look at the results: what was put before the end is then in.
        let ended = got.is_err() && self.supervisor_has_ended();
        let mut books = self.books();
        books.somebody_listens = false;
        if let Ok((_, len)) = got {
            self.note(&mut books, &message[..len]);
        }
        books.message = message;
        if ended {
            self.take_all(&mut books);
            books.end.get_or_insert(Ending::Broken);
        }
        self.news.notify_all();
        books
    }

    /// Takes all results that are there; false if there was none.
    fn take_all(&self, books: &mut Books) -> bool {
        let mut message = mem::take(&mut books.message);
        let mut any = false;
        while let Ok((_, len)) = self
            .shop
            .results
            .get(&mut message, Patience::None, |_, _| ())
        {
            self.note(books, &message[..len]);
            any = true;
        }
        books.message = message;
        any
    }

    /// Enters a message into the books.
    fn note(&self, books: &mut Books, bytes: &[u8]) {
        let Some((number, body)) = message::read(bytes) else {
            return;
        };
        match (number, body) {
            (message::INITIALIZER, Err(ending)) => {
                books.complaint = Some(ending.into_error().to_string());
            }
            (message::POOL, Err(Ending::InitializerFailed { tries, reason })) => {
                let reason = books.complaint.take().unwrap_or(reason);
                books.end = Some(Ending::InitializerFailed { tries, reason });
            }
            (number, Err(ending)) if ending.is_death() && self.try_again(books, number) => {}
            (number, body) => {
                let ticket = books.again.remove(&number).unwrap_or(number);
                let outcome = match body {
                    Ok(value) => Outcome::Value(value.into()),
                    Err(ending) => Outcome::Ended(ending.into()),
                };
                if books
                    .tasks
                    .get(&ticket)
                    .is_some_and(|task| task.number == number)
                {
                    books.finish(ticket, outcome);
                }
            }
        }
    }

    /// Puts a task again whose worker has died; false if that is not to be.
    fn try_again(&self, books: &mut Books, number: u64) -> bool {
        let ticket = books.again.get(&number).copied().unwrap_or(number);
        let Some(task) = books.tasks.get_mut(&ticket) else {
            return false;
        };
        if task.outcome.is_some() || task.number != number {
            return false;
        }
        let Some(again) = task.again.as_mut().filter(|again| again.left > 0) else {
            return false;
        };
        let Ok(next) = self.shop.tasks.put(&again.task, Patience::None) else {
            return false;
        };
        again.left -= 1;
        task.number = next;
        books.again.remove(&number);
        books.again.insert(next, ticket);
        true
    }
}

impl Books {
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
        if let Some(line) = task.line.and_then(|line| self.lines.get_mut(&line)) {
            line.push_back(ticket);
        }
        if task.forgotten {
            self.tasks.remove(&ticket);
        }
    }
}
