//! A worker: takes tasks, runs them, puts results, until the task queue is closed and empty.

use std::{
    io::{self, Write},
    mem,
    os::fd::{AsFd, OwnedFd},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::gettid};

use super::{
    block::{LentBlock, WorkerBlocks},
    chunk::{Chunk, Mode, split_argument},
    control::RESULT_BYTES,
    fd_store,
    memory::{self, SHORT_NANOS},
    message::{self, ITEMS_HEAD},
    shared::{Initializer, PoolShared},
    slot::{Phase, Slot, Step},
    usage::UsageMeter,
};
use crate::{
    Error, Result, limits, output,
    panics::Panics,
    queue::{
        lending::{Lent, TakenBlock},
        step::step,
    },
    sys::{call::Function, fork::exit_now, group, signals},
};

/// A buffer that has grown beyond this is not kept: 1 MiB.
const KEPT_MAX: usize = 1 << 20;

/// How long a worker that is marked for the kill sleeps between looks whether it still is.
const MARKED_LOOK: Duration = Duration::from_millis(1);

/// The worker that this process is, or whose task has forked it.
static CURRENT: Mutex<Option<&'static Worker>> = Mutex::new(None);

/// The worker that this process is.
#[inline]
pub(super) fn current() -> Option<&'static Worker> {
    *lock(&CURRENT)
}

/// In how many pools' tasks this process is, each in a task of the one around it.
pub(super) fn depth() -> u32 {
    current().map_or(0, |worker| worker.shared.depth + 1)
}

/// Which worker of its pool this process is, counted from 0; `None` outside of a task.
///
/// A worker that is replaced leaves its index to its successor, so that at each moment the workers
/// of a pool have different ones, below [`Pool::workers`](crate::Pool::workers); after a
/// [`resize`](crate::Pool::resize) to fewer, those that have yet to leave are at and above it. Use it to
/// give each worker a device of its own. Python's pools do not tell; `current_process()._identity` counts
/// replaced workers on.
///
/// In a process that a task has forked it is that of the task's worker.
///
/// # Examples
///
/// ```
/// use multiprocess::{Pool, pool::worker_index};
///
/// let pool = Pool::new(2)?;
/// let devices = pool.map(|_: u64| format!("gpu:{}", worker_index().unwrap()), 0..10)?;
/// assert!(devices.iter().all(|device| ["gpu:0", "gpu:1"].contains(&device.as_str())));
/// assert_eq!(worker_index(), None);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[must_use]
pub fn worker_index() -> Option<usize> {
    current().map(|worker| worker.index)
}

/// The descriptor that goes with the task of this worker, by its place in the task's bytes.
pub(crate) fn stored_descriptor(place: u64) -> io::Result<OwnedFd> {
    let worker = current();
    let requests = worker.and_then(|it| it.shared.descriptor_requests.as_ref());
    let requests =
        requests.ok_or_else(|| io::Error::other("it is the argument of a pool's task"))?;
    fd_store::fetch(requests.as_fd(), place)
}

/// The life of the worker in slot `index`, in a process just forked from the supervisor.
pub(super) fn run(
    shared: Arc<PoolShared>,
    initializer: Option<Initializer>,
    index: usize,
    supervisor: i32,
) -> ! {
    group::lead_and_die_with(supervisor);
    // In the background of its terminal, a process that reads from it or sets it is stopped, for as
    // long as nobody sees to it. Without these signals it gets an error, or its way.
    signals::ignore(Signal::SIGTTIN);
    signals::ignore(Signal::SIGTTOU);
    if let Some(max) = shared.descriptors_max {
        limits::lower_descriptors(max);
    }
    let pid = &shared.control.slots[index].pid;
    // The worker says itself who it is, since the application may ask before the supervisor knows.
    pid.store(process::id(), SeqCst);
    shared.name_process(&index.to_string());
    // Never freed: the process is this worker to its end.
    let worker: &'static Worker = Box::leak(Box::new(Worker {
        meter: shared.measures_usage.then(Mutex::default),
        shared,
        index,
        panics: Panics::watch(say_before_abort),
        memory_noted: AtomicU64::new(0),
        blocks: WorkerBlocks::default(),
    }));
    // Where there is no zygote, the worker whose task has made the pool stands there.
    lock(&CURRENT).replace(worker);
    let code = worker.work(initializer);
    output::flush();
    exit_now(code)
}

/// Says how this worker panics, in a program that is built to abort: it ends with that.
fn say_before_abort(error: Error) {
    // A thread that a task has left behind is none of the next one's business, and a process that a task
    // has forked is no worker.
    let me = process::id();
    let is_own = gettid().as_raw().cast_unsigned() == me;
    let worker = current().filter(|it| is_own && it.slot().pid.load(SeqCst) == me);
    let Some(worker) = worker else {
        return;
    };
    let mut message = Vec::new();
    match worker.slot().in_progress() {
        Some(task) => message::write_panic(task.task, &error, &mut message),
        None if worker.slot().phase() == Some(Phase::Starting) => {
            message::write_error(message::INITIALIZER, Step(0), &error, &mut message);
        }
        None => return,
    }
    // The queue is never closed, and refuses no short message.
    let _ = worker.shared.put_result(&message, None);
}

pub(super) struct Worker {
    pub(super) shared: Arc<PoolShared>,
    index: usize,
    panics: Panics,
    /// When it looked at its memory last, in nanoseconds of [`memory::ticks`].
    memory_noted: AtomicU64,
    pub(super) blocks: WorkerBlocks,
    /// If the pool measures what tasks take.
    meter: Option<Mutex<UsageMeter>>,
}

impl Worker {
    fn slot(&self) -> &Slot {
        &self.shared.control.slots[self.index]
    }

    fn work(&self, initializer: Option<Initializer>) -> i32 {
        let mut message = Vec::new();
        if let Some(initializer) = initializer
            && let Err(error) = self.panics.catch(|| Ok(initializer.run(&mut Vec::new())?))
        {
            self.report(message::INITIALIZER, Step(0), &error, &mut message);
            return 1;
        }
        // The phase first: a supervisor that sees the count finds no worker of it in `Starting`.
        self.slot().set_phase(Phase::Working);
        self.shared.control.started.fetch_add(1, SeqCst);
        let at_start = self.note_memory(true).unwrap_or(0);
        let mut task = Vec::new();
        let mut block = None;
        let mut done = 0;
        let mut last_phase = Phase::Retired;
        while self.shared.max_tasks_per_child.is_none_or(|max| done < max) {
            let claim = |number, _: &[u8]| {
                let now = self.shared.now().unwrap_or_default();
                self.shared.control.claim(self.index, number, now);
            };
            let tasks = &self.shared.tasks;
            let is_one_too_many = || self.index >= self.shared.control.workers_wanted();
            match tasks.get_unless(&mut task, &mut block, is_one_too_many, claim) {
                Ok((number, len)) => {
                    let (shared, control) = (&self.shared, &self.shared.control);
                    if shared.task_timeout.is_some()
                        || shared.max_memory_per_task.is_some()
                            && control.unwatched.load(SeqCst) != 0
                    {
                        // Its time counts from now on, and what it takes.
                        shared.supervisor_wake.wake(&control.supervisor);
                    }
                    self.perform(number, &task[..len], block.take(), &mut message);
                    let left = self.note_memory(false);
                    let grown = left.map(|left| left.saturating_sub(at_start));
                    if shared.max_memory_left.is_some() && grown > shared.max_memory_left {
                        break;
                    }
                }
                Err(Error::Empty) => break,
                Err(_) => {
                    last_phase = Phase::Drained;
                    break;
                }
            }
            shrink(&mut task);
            shrink(&mut message);
            done += 1;
            if self
                .shared
                .max_memory_per_child
                .is_some_and(|max| memory::of_process("self") > max)
            {
                break;
            }
        }
        self.slot().set_phase(last_phase);
        if let Some(finalizer) = self.shared.finalizer {
            // Nobody waits for what it says.
            let finish = || Ok(finalizer.call(&[], &mut message)?);
            let _ = self.panics.catch(finish);
        }
        0
    }

    /// Runs a task, unless it was cancelled, and reports.
    fn perform(&self, number: u64, task: &[u8], block: Option<TakenBlock>, message: &mut Vec<u8>) {
        let has_block = block.is_some();
        if let Some(block) = block {
            self.blocks.keep_argument(block);
        }
        message::begin_result(number, message);
        let outcome = match self.shared.control.is_cancelled(number) {
            true => Err(Error::Cancelled.into()),
            false => self.panics.catch(|| {
                self.begin_usage();
                let task = Function::split_from(task);
                let (function, argument) = task.expect("a task starts with its function");
                Ok(function.call(argument, message)?)
            }),
        };
        self.end_usage(self.slot().step().done());
        if has_block {
            // Of a task that has not read it.
            drop(self.argument_block());
        }
        // The output first: whoever has the result may rely on it.
        let _ = io::stdout().flush();
        self.put_usage(number);
        let block = self.result_block();
        let sent = outcome.and_then(|()| {
            if message.is_empty() {
                return Ok(());
            }
            if self.shared.control.is_forgotten(number) {
                // That it is done counts, what it gave does not.
                message::begin_result(number, message);
                return Ok(self.shared.put_result(message, None)?);
            }
            Ok(self.shared.put_result(message, block)?)
        });
        if let Err(error) = sent {
            self.report(number, self.slot().step(), &error, message);
        }
        step("task: reported");
        // Marked for the kill, it must not take another task, which would be killed in the place of
        // this one. The supervisor may find that this one was not overdue, and take the mark back.
        while !self.slot().release(number) {
            thread::sleep(MARKED_LOOK);
        }
        step("task: released");
    }

    /// Runs the items of a chunk by `run`, which takes its arguments off those that are left, and appends
    /// a result. `message` is one with its head. In the end it is to be put, unless it is empty.
    #[inline]
    pub(super) fn run_items<'a>(
        &self,
        chunk: &Chunk<'a>,
        message: &mut Vec<u8>,
        mut run: impl FnMut(&mut &'a [u8], &mut Vec<u8>) -> Result<(), Box<Error>>,
    ) -> Result<(), Box<Error>> {
        let (slot, control) = (self.slot(), &self.shared.control);
        let mut gathered = Gathered::new(self, chunk.first, message);
        slot.begin_chunk(chunk.first, chunk.mode.outlives_worker());
        let is_watched = self.shared.has_limits() || self.shared.measures_usage;
        let is_plain = chunk.mode == Mode::Once && !is_watched;
        let mut arguments = chunk.arguments;
        for item in chunk.first..chunk.end {
            if control.is_cancelled(gathered.task) {
                return Err(Error::Cancelled.into());
            }
            if is_plain {
                // Nobody asks here for the end of an item, only for the next one's begin.
                slot.begin_item(item, None);
                let start = gathered.message.len();
                run(&mut arguments, gathered.message)?;
                gathered.put_if_large(item, start)?;
            } else {
                self.run_item(chunk.mode, item, &mut arguments, &mut gathered, &mut run)?;
            }
        }
        gathered.finish(chunk.end);
        Ok(())
    }

    /// Runs one item whose end is told, and takes its arguments off those that are left.
    fn run_item<'a>(
        &self,
        mode: Mode,
        item: u64,
        arguments: &mut &'a [u8],
        gathered: &mut Gathered<'_>,
        run: &mut impl FnMut(&mut &'a [u8], &mut Vec<u8>) -> Result<(), Box<Error>>,
    ) -> Result<(), Box<Error>> {
        let (slot, control) = (self.slot(), &self.shared.control);
        slot.begin_item(item, self.shared.now());
        self.begin_usage();
        let start = gathered.message.len();
        let outcome = match mode {
            Mode::Once => run(arguments, gathered.message),
            Mode::Retried | Mode::Each => {
                let (mut own, behind) = split_argument(arguments).expect("it has its length");
                *arguments = behind;
                match mode {
                    Mode::Each => self.panics.catch(|| run(&mut own, gathered.message)),
                    _ => run(&mut own, gathered.message),
                }
            }
        };
        step("item: run");
        self.end_usage(item);
        match outcome.and_then(|()| Ok(gathered.put_if_large(item, start)?)) {
            // Else it was large and is put.
            Ok(()) if mode.outlives_worker() && start < gathered.message.len() => {
                control.publish(self.index, gathered.results(), start - ITEMS_HEAD);
            }
            Ok(()) => {}
            Err(error) => gathered.put_failure(mode, (item, start), error)?,
        }
        step("item: published");
        slot.finish_item(item, gathered.results().len());
        step("item: finished");
        if self.shared.has_limits() {
            self.wait_while_marked(gathered.task);
        }
        self.note_memory(false);
        Ok(())
    }

    /// Notes what memory this process has before its next task or item, if there is a limit; returns
    /// it. Unless it has to, it does not do so again within a moment.
    #[inline]
    fn note_memory(&self, has_to: bool) -> Option<u64> {
        self.shared.max_memory_per_task?;
        let now = memory::ticks();
        // Relaxed: this thread alone uses it.
        if !has_to && now - self.memory_noted.load(Relaxed) < SHORT_NANOS {
            return None;
        }
        self.memory_noted.store(now, Relaxed);
        let memory = memory::of_process("self");
        memory::note(self.slot(), memory);
        Some(memory)
    }

    /// The task or item in progress is measured from now on.
    #[inline]
    fn begin_usage(&self) {
        if let Some(meter) = &self.meter {
            lock(meter).begin(&self.shared.control.taken_before[self.index]);
        }
    }

    /// The task or item in progress has ended, if none has said so.
    #[inline]
    fn end_usage(&self, item: u64) {
        if let Some(meter) = &self.meter {
            lock(meter).end(item);
        }
    }

    /// Tells what items of a task took. To be called before their results are put: with the last of
    /// these the task has its outcome.
    fn put_usage(&self, task: u64) {
        let Some(meter) = &self.meter else {
            return;
        };
        let ended = mem::take(&mut lock(meter).ended);
        if !ended.is_empty() {
            let mut message = Vec::new();
            message::write_usage(task, &ended, &mut message);
            // The queue is never closed, and the chunk of so many items was no longer.
            let _ = self.shared.put_result(&message, None);
        }
    }

    /// Waits for the kill, if the supervisor has decided on it, before another item is begun.
    fn wait_while_marked(&self, task: u64) {
        while self.slot().is_marked(task) {
            thread::sleep(MARKED_LOOK);
        }
    }

    /// The block of the task's argument, for the first who asks.
    pub(super) fn argument_block(&self) -> Option<LentBlock<'_>> {
        let (lease, used) = self.blocks.take_argument()?;
        Some((Lent::new(&self.shared.tasks, lease), used))
    }

    /// The block of the last result, which is to be put.
    #[inline]
    fn result_block(&self) -> Option<LentBlock<'_>> {
        let (lease, used) = self.blocks.take_result()?;
        Some((Lent::new(&self.shared.results, lease), used))
    }

    /// Puts a message that there is no result.
    fn report(&self, number: u64, at: Step, error: &Error, message: &mut Vec<u8>) {
        message::write_error(number, at, error, message);
        // The queue is never closed, and refuses no short message.
        let _ = self.shared.put_result(message, None);
    }
}

/// The results of a chunk's items that are not put yet, in a message.
struct Gathered<'a> {
    worker: &'a Worker,
    task: u64,
    /// Of which item the first one is.
    first: u64,
    message: &'a mut Vec<u8>,
}

impl<'a> Gathered<'a> {
    fn new(worker: &'a Worker, first: u64, message: &'a mut Vec<u8>) -> Self {
        let head = message.first_chunk().expect("a message has a head");
        let task = u64::from_le_bytes(*head);
        message.resize(ITEMS_HEAD, 0);
        Self {
            worker,
            task,
            first,
            message,
        }
    }

    #[inline]
    fn results(&self) -> &[u8] {
        &self.message[ITEMS_HEAD..]
    }

    /// Puts all results, those of `item` alone, if they are too many to be published or have a block.
    #[inline]
    fn put_if_large(&mut self, item: u64, start: usize) -> Result<()> {
        if self.results().len() <= RESULT_BYTES && !self.worker.blocks.has_result() {
            return Ok(());
        }
        self.put_large(item, start)
    }

    #[cold]
    fn put_large(&mut self, item: u64, start: usize) -> Result<()> {
        self.worker.put_usage(self.task);
        let block = self.worker.result_block();
        self.put_up_to(item, start)?;
        // What lies before the item's result is put, so that there is room for the head of another.
        let message = &mut self.message[start - ITEMS_HEAD..];
        message[..ITEMS_HEAD].copy_from_slice(&message::items_head(self.task, item, 1));
        self.worker.shared.put_result(message, block)?;
        step("item: put");
        self.clear_up_to(item + 1);
        Ok(())
    }

    /// Puts the results of the items before `item`, which end at `end`.
    #[cold]
    fn put_up_to(&mut self, item: u64, end: usize) -> Result<()> {
        if self.first < item {
            self.write_head(item);
            self.worker.shared.put_result(&self.message[..end], None)?;
            step("items: put");
        }
        Ok(())
    }

    /// Puts what is there, and then that `item` failed; returns the error if the chunk ends with it.
    #[cold]
    fn put_failure(
        &mut self,
        mode: Mode,
        (item, start): (u64, usize),
        error: Box<Error>,
    ) -> Result<(), Box<Error>> {
        if mode != Mode::Each {
            return Err(error);
        }
        self.worker.put_usage(self.task);
        self.put_up_to(item, start)?;
        let at = Step::in_item(item);
        self.worker.report(self.task, at, &error, self.message);
        self.clear_up_to(item + 1);
        Ok(())
    }

    fn clear_up_to(&mut self, first: u64) {
        self.message.resize(ITEMS_HEAD, 0);
        self.message.truncate(ITEMS_HEAD);
        shrink(self.message);
        self.first = first;
        self.worker.slot().deliver_up_to(first);
    }

    fn write_head(&mut self, end: u64) {
        let head = message::items_head(self.task, self.first, end - self.first);
        self.message[..ITEMS_HEAD].copy_from_slice(&head);
    }

    /// Makes a message of what is there, which is empty if there is nothing.
    fn finish(mut self, end: u64) {
        if self.first < end {
            self.write_head(end);
        } else {
            self.message.clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a large buffer back to the system.
#[inline]
fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_MAX {
        buffer.truncate(KEPT_MAX);
        buffer.shrink_to_fit();
    }
}
