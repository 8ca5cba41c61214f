//! The application's side of a pool: it submits tasks and waits for what becomes of them.
//!
//! No thread stands behind it. Whoever waits for a result takes what the workers have put, for
//! itself and for all other handles. While one thread sleeps at the queue of results, the others
//! sleep until it has something.

use std::{
    io::{self, Write},
    mem,
    num::NonZeroU64,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering::SeqCst},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use super::{
    block::SharedResult,
    chunk::Part,
    fd_store::FdStoreClient,
    open_tasks::Submission,
    shared::PoolShared,
    slot::{KillReason, Slot},
    table::{Progress, TaskTable},
    wakers::Awaited,
};
use crate::{
    Error, Result,
    handle::Handle,
    queue::{
        lending::{BlockWriter, TakenBlock},
        raw::Wait,
        step::step,
    },
    sys::{fork_private::ForkPrivate, identity::Identity, poll::poll},
};

/// How long to wait at the queue of results, before sleeping where the supervisor's end is heard.
const SOON: Duration = Duration::from_millis(10);

/// How long to wait for room in a full queue of tasks before trying again.
pub(super) const ROOM_AGAIN: Duration = Duration::from_millis(20);

/// How long the thread that receives for futures goes on, once none waits.
const LINGER: Duration = Duration::from_secs(1);

/// How long the supervisor has to end everything.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long the supervisor has to end when it is killed.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// The application's end of a pool.
pub(crate) struct PoolClient {
    pub(super) shared: Arc<PoolShared>,
    table: Mutex<TaskTable>,
    /// The table has something that it had not.
    changed: Condvar,
    supervisor: Handle,
    /// Wakes the supervisor.
    wakeup: ForkPrivate<UnixStream>,
    pub(super) fd_store: Arc<FdStoreClient>,
    owner: Identity,
}

impl PoolClient {
    pub(super) fn new(
        shared: PoolShared,
        supervisor: Handle,
        wakeup: ForkPrivate<UnixStream>,
        fd_store: Arc<FdStoreClient>,
    ) -> Self {
        Self {
            shared: Arc::new(shared),
            table: Mutex::default(),
            changed: Condvar::new(),
            supervisor,
            wakeup,
            fd_store,
            owner: Identity::mine(),
        }
    }

    pub(super) fn supervisor(&self) -> u32 {
        self.supervisor.pid()
    }

    /// Whether this process made the pool; a forked child has a copy that is good for nothing.
    fn is_ours(&self) -> bool {
        Identity::mine() == self.owner
    }

    pub(super) fn table(&self) -> MutexGuard<'_, TaskTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a task with its block and its descriptors, and returns its ticket.
    pub(super) fn submit(
        &self,
        bytes: &[u8],
        block: BlockWriter<'_>,
        fds: Vec<(u64, OwnedFd)>,
        submission: Submission,
    ) -> Result<u64> {
        self.require_ours()?;
        let retries = self.shared.retries;
        // A worker that dies takes the block along.
        let is_kept = submission.is_kept(retries);
        let mut kept = is_kept.then(|| [bytes, block.block()].concat().into_boxed_slice());
        let mut block = block.finish();
        let mut stored = match fds.is_empty() {
            true => None,
            false => self.store_descriptors(fds)?,
        };
        loop {
            let mut table = self.table();
            if table.closed {
                return Err(Error::Closed);
            }
            if let Some(end) = &table.end {
                return Err(end.clone());
            }
            // With the table locked, so that nobody sees the result before the task is in the table.
            let put = match &mut block {
                None => self.shared.tasks.put(bytes, Wait::No),
                Some((lent, used)) => lent.put(bytes, *used, Wait::No),
            };
            match put {
                Ok(number) => {
                    table.insert(number, submission, retries, kept.take());
                    if let Some(stored) = stored.take() {
                        table.keep_descriptors(number, stored);
                    }
                    if table.is_time_to_drain() && self.take_all(&mut table) {
                        drop(self.announce(table));
                    }
                    return Ok(number);
                }
                Err(Error::Full) => {
                    drop(table);
                    self.wait(Some(Instant::now() + ROOM_AGAIN), |_| None::<()>)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a task. The result stays in the table.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the deadline came first.
    pub(super) fn result(&self, ticket: u64, deadline: Option<Instant>) -> Result<SharedResult> {
        let result = self.wait(deadline, |table| table.result(ticket))?;
        result.ok_or(Error::TimedOut)?
    }

    pub(super) fn is_ready(&self, ticket: u64) -> bool {
        let ready = self.wait(Some(Instant::now()), |table| {
            table.outcome(ticket).map(|_| ())
        });
        matches!(ready, Ok(Some(())))
    }

    /// As [`wait`](Self::wait), for a future, which is woken when what it waits for may be there.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        awaited: Awaited,
        waker: &Waker,
        mut look: impl FnMut(&mut TaskTable) -> Option<Result<T>>,
    ) -> Poll<Result<T>> {
        let mut own = Some(waker.clone());
        let mut others = Vec::new();
        let found = self.wait(Some(Instant::now()), |table| {
            let found = look(table);
            match found {
                Some(_) => others.extend(table.wakers.leave(awaited)),
                None => others.extend(own.take().and_then(|it| table.wakers.enter(awaited, it))),
            }
            found
        });
        match found {
            Ok(Some(found)) => Poll::Ready(found),
            Ok(None) => match self.receive_for_futures() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sees to it that a thread receives while futures wait, none of which can sleep at the results.
    fn receive_for_futures(self: &Arc<Self>) -> Result<()> {
        let mut table = self.table();
        if !table.wakers.has_receiver {
            let client = Arc::clone(self);
            let thread = thread::Builder::new().name("pool futures".to_string());
            let started = thread.spawn(move || while client.receive_until_none_waits() {});
            started.map_err(|e| Error::os("start the thread that futures wait by", e))?;
            table.wakers.has_receiver = true;
        }
        Ok(())
    }

    /// Receives while futures wait; false if then none has come for a while.
    fn receive_until_none_waits(&self) -> bool {
        let none_waits = |table: &mut TaskTable| table.wakers.is_empty().then_some(());
        let one_waits = |table: &mut TaskTable| (!table.wakers.is_empty()).then_some(());
        let _ = self.wait(None, none_waits);
        let _ = self.wait(Some(Instant::now() + LINGER), one_waits);
        let mut table = self.table();
        table.wakers.has_receiver = !table.wakers.is_empty();
        table.wakers.has_receiver
    }

    pub(super) fn open_completion_queue(&self) -> NonZeroU64 {
        self.table().open_completion_queue()
    }

    pub(super) fn close_completion_queue(&self, queue: NonZeroU64) {
        let mut table = self.table();
        table.close_completion_queue(queue);
        let waker = table.wakers.leave(Awaited::Completion(queue));
        drop(table);
        // Without the table: a runtime may do anything then.
        drop(waker);
    }

    /// Waits until every task has an outcome.
    pub(super) fn wait_for_all(&self) -> Result<()> {
        let over = self.wait(None, |table| match (table.open, &table.end) {
            (0, _) => Some(Ok(())),
            (_, Some(end)) => Some(Err(end.clone())),
            _ => None,
        })?;
        over.unwrap_or(Ok(()))
    }

    /// The failures of tasks whose handles were dropped before anyone asked.
    pub(super) fn unheard_failures(&self) -> Result<()> {
        self.table().unheard.as_result()
    }

    pub(super) fn progress(&self) -> Progress {
        // Before the look at the results: an item that is done here is found there, or is not lost
        // in between.
        let slots = self.shared.control.used_slots();
        let in_progress = slots
            .iter()
            .filter_map(|slot| Some((slot.in_progress()?.task, slot.step().done())))
            .collect::<Vec<_>>();
        // The wait enters what has come; a copy in another process stays as it was.
        let _ = self.wait(Some(Instant::now()), |_| None::<()>);
        let table = self.table();
        let mut progress = table.progress;
        for (number, done) in in_progress {
            progress.done += table.unknown_items(number, done);
        }
        progress
    }

    /// Drops the interest in a task.
    pub(super) fn forget(&self, ticket: u64) {
        if !self.is_ours() {
            return;
        }
        let mut table = self.table();
        let is_open = table.forget(ticket);
        // Dropped without the table: a runtime may do anything then.
        let waker = table.wakers.leave(Awaited::Task(ticket));
        if let Some(number) = is_open {
            self.shared.control.forget(number);
        }
        if table.is_time_to_drain() && self.take_all(&mut table) {
            table = self.announce(table);
        }
        drop(table);
        drop(waker);
    }

    /// What became of the items of a chunk that is done.
    pub(super) fn take_parts(&self, ticket: u64) -> Vec<Part> {
        self.table().take_parts(ticket)
    }

    /// Sees to it that what has not begun of a chunk does not begin. The chunk then soon has an
    /// outcome.
    pub(super) fn stop(&self, table: &mut TaskTable, ticket: u64) {
        let Some(number) = table.stop(ticket) else {
            return;
        };
        self.shared.control.cancel(number);
        // Looked at after the mark: a worker that takes it from now on sees the mark.
        if self.shared.tasks.taken() <= number {
            table.finish(ticket, Err(Error::Cancelled.into()));
        }
    }

    /// Gives a task up: one that waits is not begun, one that runs is killed. False if it has an
    /// outcome already.
    pub(super) fn cancel(&self, ticket: u64) -> bool {
        if !self.is_ours() || self.is_ready(ticket) {
            return false;
        }
        let mut table = self.table();
        let Some(number) = table.open_number(ticket) else {
            return false;
        };
        table.finish(ticket, Err(Error::Cancelled.into()));
        drop(self.announce(table));
        let control = &self.shared.control;
        // A worker looks for the mark after it has noted the task: one of the two sees the other.
        control.cancel(number);
        let slots = control.used_slots();
        let mark = |slot: &Slot| slot.mark_for_kill(number, KillReason::Cancelled);
        if slots.iter().any(mark) {
            self.wake_supervisor();
        }
        true
    }

    pub(super) fn close(&self) {
        self.table().closed = true;
    }

    /// Lets the workers end when the task queue is empty, and waits until all have ended.
    pub(super) fn shut_down(&self) {
        self.shared.tasks.close();
        self.wait_for_supervisor(None);
    }

    /// Ends the workers at once, and with them the tasks that have no outcome.
    pub(super) fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        self.close();
        // Before the wake, so that the supervisor finds it when it has heard that.
        self.shared.control.stop.store(1, SeqCst);
        self.wake_supervisor();
        self.wait_for_supervisor(Some(Instant::now() + END_WITHIN));
        let mut table = self.table();
        table.end.get_or_insert(Error::Cancelled);
        drop(self.announce(table));
    }

    pub(super) fn wake_supervisor(&self) {
        if let Ok(mut wakeup) = self.wakeup.get() {
            // If the socket is full, or the supervisor is gone, one more byte makes no difference.
            let _ = wakeup.write(&[1]);
        }
    }

    /// Waits for the supervisor's end, and reaps it. Kills it at the deadline. One that cannot be
    /// killed is left: the program may have fewer rights by now than it has.
    fn wait_for_supervisor(&self, deadline: Option<Instant>) {
        let Ok(pidfd) = self.supervisor.pidfd() else {
            return;
        };
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        let mut has_ended = matches!(poll(&mut fds, deadline), Ok(true));
        if !has_ended {
            let _ = self.supervisor.signal(libc::SIGKILL);
            let deadline = Instant::now() + KILLED_WITHIN;
            has_ended = matches!(poll(&mut fds, Some(deadline)), Ok(true));
        }
        if has_ended {
            // An error says that it is reaped already.
            let _ = self.supervisor.reap();
        }
    }

    fn supervisor_has_ended(&self) -> bool {
        !matches!(self.supervisor.exitcode(), Ok(None))
    }

    pub(super) fn require_ours(&self) -> Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        let other = io::Error::other("it belongs to the process that forked this one");
        Err(Error::os(format!("use pool {}", self.shared.name), other))
    }

    /// Waits until `look` finds what it wants in the table; `None` if the deadline came first.
    pub(super) fn wait<T>(
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
                table = self.announce(table);
                continue;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            table = if table.receiving || table.end.is_some() {
                self.wait_for_receiver(table, deadline)
            } else {
                self.receive(table, deadline)
            };
        }
    }

    /// Tells all who wait that the table has changed.
    fn announce<'a>(&'a self, mut table: MutexGuard<'a, TaskTable>) -> MutexGuard<'a, TaskTable> {
        self.changed.notify_all();
        let woken = table.take_woken();
        if woken.is_empty() {
            return table;
        }
        // Without the table: a runtime may do anything when a future is woken.
        drop(table);
        woken.into_iter().for_each(Waker::wake);
        self.table()
    }

    /// Sleeps until the thread that receives has something, for whomever, or stops receiving.
    fn wait_for_receiver<'a>(
        &self,
        table: MutexGuard<'a, TaskTable>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, TaskTable> {
        let Some(deadline) = deadline else {
            let woken = self.changed.wait(table);
            return woken.unwrap_or_else(PoisonError::into_inner);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let woken = self.changed.wait_timeout(table, left);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Sleeps at the results, for all threads, and lets them have the table meanwhile.
    fn receive<'a>(
        &'a self,
        mut table: MutexGuard<'a, TaskTable>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, TaskTable> {
        table.receiving = true;
        let mut message = mem::take(&mut table.message);
        drop(table);
        let mut block = None;
        let got = self.next_result(&mut message, &mut block, deadline);
        step("results: looked for");
        // Asked before the last look at the results: what was put before the end is then in.
        let ended = matches!(got, Ok(None)) && self.supervisor_has_ended();
        let mut table = self.table();
        table.receiving = false;
        match got {
            Ok(Some(len)) => {
                self.record(&mut table, &message[..len], block);
                if table.has_suspects() {
                    self.take_all(&mut table);
                }
            }
            Ok(None) => {}
            // The results behind it cannot be reached either.
            Err(error) => {
                table.end.get_or_insert(error);
            }
        }
        table.keep(message);
        if ended {
            self.take_all(&mut table);
            // Another thread stores it before it ends the supervisor, whose end was seen above.
            let end = match self.shared.control.stop.load(SeqCst) {
                0 => Error::PoolBroken,
                _ => Error::Cancelled,
            };
            table.end.get_or_insert(end);
        }
        self.announce(table)
    }

    /// The length of the next message; `None` if the deadline or the supervisor's end came first.
    fn next_result(
        &self,
        message: &mut Vec<u8>,
        block: &mut Option<TakenBlock>,
        deadline: Option<Instant>,
    ) -> Result<Option<usize>> {
        let results = &self.shared.results;
        let mut take = |wait| match results.get_with_block(message, block, wait, |_, _| ()) {
            Ok((_, len)) => Ok(Some(len)),
            Err(Error::Empty) => Ok(None),
            Err(error) => Err(error),
        };
        // Most results come soon. This wait costs those who put them nothing.
        let soon = Instant::now() + SOON;
        let first = deadline.map_or(soon, |deadline| deadline.min(soon));
        if let Some(len) = take(Wait::Until(first))? {
            return Ok(Some(len));
        }
        let sleep = |error| Error::os("wait for the results of a pool", error);
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            // Else the application sleeps where it hears the supervisor's end. A worker's end is
            // heard of through the supervisor, so that no clock is needed.
            let supervisor = self.supervisor.pidfd().map_err(sleep)?;
            let sleeper = &self.shared.control.application;
            let has_result = || self.shared.results.len() > 0;
            let wake = &self.shared.application_wake;
            step("results: nothing was there");
            let slept = wake.sleep(sleeper, [supervisor], deadline, has_result);
            if let Some(len) = take(Wait::No)? {
                return Ok(Some(len));
            }
            let [supervisor_ended] = slept.map_err(sleep)?;
            if supervisor_ended {
                break;
            }
        }
        Ok(None)
    }

    /// Takes all results that are there; false if there was none.
    fn take_all(&self, table: &mut TaskTable) -> bool {
        let mut message = mem::take(&mut table.message);
        let mut any = false;
        let results = &self.shared.results;
        let mut block = None;
        while let Ok((_, len)) =
            results.get_with_block(&mut message, &mut block, Wait::No, |_, _| ())
        {
            self.record(table, &message[..len], block.take());
            any = true;
        }
        table.keep(message);
        table.end_lost();
        any
    }
}

#[cfg(test)]
mod tests;
