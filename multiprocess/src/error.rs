use std::{fmt, io, ops::Range, time::Duration};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What can go wrong with a process, a pool, a queue or a lock.
///
/// One enum serves the whole crate, since a pool's handle can meet what a process meets and what
/// a queue meets. Each method names in its `# Errors` the few variants that it returns.
///
/// An error can be sent like any value, so a function that runs in another process may return
/// [`Result`]. [`Result::flatten`](std::result::Result::flatten) then makes one result of two.
/// `Debug` shows the same sentence as `Display`: a `main` that returns the error tells how to mend it.
///
/// # Examples
///
/// ```
/// use multiprocess::{Error, Process, Queue, Result};
///
/// fn first(queue: &Queue<u32>) -> Result<u32> {
///     queue.try_get()
/// }
///
/// let queue = Queue::new()?;
/// let process = Process::spawn(|| first(&queue))?;
/// assert_eq!(process.join().flatten(), Err(Error::Empty));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// The queue held no item (in time): Python's `queue.Empty`.
    Empty,
    /// The queue had no room (in time): Python's `queue.Full`.
    Full,
    /// The queue was closed, and for a reader it is drained as well: Python's `queue.ShutDown`.
    Closed,
    /// The item's serialised form is longer than a queue can ever hold.
    TooLarge {
        /// Length of the serialised item, in bytes.
        len: u64,
        /// The longest item that the queue takes, in bytes.
        max: u64,
    },
    /// Readers died with this many items in hand, for which `task_done` will never be called.
    ItemsLost(u64),
    /// The owner of a lock died while it had it. The guard is in the
    /// [`OwnerDied`](crate::sync::OwnerDied) that the lock returns.
    OwnerDied {
        /// The process that had the lock.
        pid: u32,
    },
    /// A process died, or a thread of it panicked, while it attended a barrier: Python's
    /// `BrokenBarrierError`, for a reason that Python does not see.
    PartyDied {
        /// The process that attended.
        pid: u32,
    },
    /// Someone gave up waiting at the barrier, or broke or reset it: Python's `BrokenBarrierError`.
    BarrierBroken,
    /// As many attend the barrier as it has parties.
    BarrierFull {
        /// How many these are.
        parties: usize,
    },
    /// A barrier cannot have so many parties: Python's `ValueError`.
    PartyCount {
        /// How many were asked for.
        parties: usize,
        /// The most that a barrier can have.
        max: usize,
    },
    /// `task_done` was called more often than items were taken: Python's `ValueError`.
    NothingInHand,
    /// A permit was released that nobody had, of a bounded semaphore: Python's `ValueError`.
    ReleasedTooOften,
    /// An item of a queue, or the value of a process or a task, held a [`Descriptor`](crate::Descriptor),
    /// a queue, a connection or a lock, which are no mere data.
    NotAtStart,
    /// The program has threads, so that forking it here could deadlock the child.
    Threaded {
        /// How many threads the program had.
        threads: usize,
    },
    /// The function panicked in its process.
    Panicked {
        /// The panic's message.
        message: String,
        /// Where it panicked, as `file:line:column`.
        location: String,
    },
    /// The process was ended by a signal.
    Killed {
        /// The number of the signal.
        signal: i32,
        /// The process that was killed.
        pid: u32,
    },
    /// The process was ended by SIGKILL, and the system's OOM killer has struck meanwhile: memory was
    /// at its end, of the machine or of the process's control group.
    ///
    /// The system does not say whom it has killed, it only counts: for the control group in whose
    /// memory a process is (`oom_kill` in `memory.events`, or in `memory.oom_control` of version 1), and
    /// where no group counts, for the machine (`/proc/vmstat`). This error is given only if that count
    /// has risen since the process was started, or in the 10 ms before; of a worker, since the pool last
    /// looked, after a death. Whoever kills a process with SIGKILL while another of its group dies for
    /// want of memory is not told apart. Whom this program itself has killed is
    /// [`Killed`](Self::Killed).
    OomKilled {
        /// The process that was killed.
        pid: u32,
    },
    /// The process ended by itself before its function had returned.
    Exited {
        /// The process that ended.
        pid: u32,
        /// The exit code.
        code: i32,
    },
    /// The time given was over first.
    TimedOut,
    /// A task of a pool, or an item of a map, ran longer than the pool's `task_timeout`, and was
    /// killed with its process group.
    TaskTimedOut {
        /// The time that each task or item is given.
        timeout: Duration,
    },
    /// A task of a pool, or an item of a map, took more memory than the pool's `max_memory_per_task`,
    /// and was killed with its process group.
    OutOfMemory {
        /// How much each task or item may take, in bytes.
        limit: u64,
        /// How much this one had taken when it was found, in bytes.
        peak: u64,
    },
    /// A pool's memory budget has no room for one task of its `max_memory_per_task`.
    BudgetTooSmall {
        /// The budget, in bytes.
        budget: u64,
        /// How much a task may take, in bytes.
        task: u64,
    },
    /// The task was cancelled, or its pool was terminated before the task was done.
    Cancelled,
    /// The pool's supervisor was killed, and the workers have ended with it. Make another pool.
    PoolBroken,
    /// An item of a map failed. What had not begun by then was not begun, and what ran was waited for.
    MapFailed {
        /// Which item, counted from 0: the first by their order, if several failed.
        item: u64,
        /// The items that ran, this one among them, as ranges of such numbers.
        ran: Vec<Range<u64>>,
        /// How it failed.
        error: Box<Error>,
    },
    /// Tasks of a pool failed whose handles were dropped, so that nobody heard of it.
    TasksFailed {
        /// How many.
        count: u64,
        /// The first of them, counted from 0 in the order in which tasks were handed in; a chunk of a
        /// map is one task.
        task: u64,
        /// How that one failed.
        error: Box<Error>,
    },
    /// A pool cannot have so many workers: Python's `ValueError`.
    WorkerCount {
        /// How many were asked for.
        workers: usize,
        /// The most that a pool can have.
        max: usize,
    },
    /// A pool was to be made in a task of a pool, which was made in a task of a pool, and so on.
    NestedTooDeep {
        /// How many pools are around it.
        pools: u32,
    },
    /// No worker of the pool came through its initializer, in several tries.
    InitializerFailed {
        /// How often it was tried.
        tries: u32,
        /// What the last one said, or how it died.
        reason: String,
    },
    /// A program had not ended in time and was killed, with the process group that it had been
    /// given: Python's `subprocess.TimeoutExpired`.
    TimeoutExpired {
        /// The program that was run.
        program: String,
        /// The time that it was given.
        timeout: Duration,
        /// What it had written to its standard output by then.
        stdout: Vec<u8>,
        /// What it had written to its standard error by then.
        stderr: Vec<u8>,
    },
    /// A value could not be turned into bytes, or bytes into a value.
    Serial {
        /// What was attempted, and on what type.
        attempt: String,
        /// What was in the way, and in which field.
        reason: String,
    },
    /// The operating system refused.
    Os {
        /// What was attempted, and on what.
        attempt: String,
        /// The system's number for the reason, if it gave one: see errno(3).
        errno: Option<i32>,
        /// The reason in words.
        reason: String,
    },
}

impl Error {
    /// The error of a system call, or of the standard library, with what was attempted and on what.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Error;
    ///
    /// let refused = std::fs::read("/no/such/file").map_err(|e| Error::os("read /no/such/file", e));
    /// let text = "cannot read /no/such/file: No such file or directory (os error 2)";
    /// assert_eq!(refused.unwrap_err().to_string(), text);
    /// ```
    pub fn os(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self::Os {
            attempt: attempt.into(),
            errno: source.raw_os_error(),
            reason: limits::explained(&source),
        }
    }

    /// The error of a process that could not be started.
    pub(crate) fn no_process(attempt: String, source: io::Error) -> Self {
        let mut error = Self::os(attempt, source);
        if let Self::Os { errno, reason, .. } = &mut error
            && errno.map(Errno::from_raw) == Some(Errno::EAGAIN)
        {
            reason.push_str(&limits::of_processes());
        }
        error
    }

    /// How a process ended, by its exit code as Python counts: -9 for one that signal 9 ended.
    pub(crate) fn of_exit(pid: u32, code: i32) -> Self {
        match code {
            ..0 => Self::Killed { signal: -code, pid },
            _ => Self::Exited { pid, code },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the queue is empty"),
            Self::Full => f.write_str("the queue is full"),
            Self::Closed => f.write_str(CLOSED),
            Self::TooLarge { len, max } => write_too_large(f, *len, *max),
            Self::ItemsLost(count) => {
                write!(
                    f,
                    "{count} items were lost with the processes that had taken them"
                )
            }
            Self::OwnerDied { pid } => write_owner_died(f, *pid),
            Self::PartyDied { pid } => write_party_died(f, *pid),
            Self::BarrierBroken => f.write_str(BARRIER_BROKEN),
            Self::BarrierFull { parties } => write_barrier_full(f, *parties),
            Self::PartyCount { parties, max } => {
                write_count(f, "a barrier", *parties, "parties", *max)
            }
            Self::NothingInHand => f.write_str(NOTHING_IN_HAND),
            Self::ReleasedTooOften => f.write_str("all permits of the semaphore are free already"),
            Self::NotAtStart => f.write_str(NOT_AT_START),
            Self::Threaded { threads } => write!(
                f,
                "cannot fork a program with {threads} threads: start the process by spawn_with, \
                 which takes a function and its argument"
            ),
            Self::Panicked { message, location } => {
                write!(f, "the process panicked at {location}: {message}")
            }
            Self::Killed { signal, pid } => write_killed(f, *signal, *pid),
            Self::OomKilled { pid } => write_oom_killed(f, *pid),
            Self::Exited { pid, code } => write!(
                f,
                "process {pid} exited with code {code} before its function returned"
            ),
            Self::TimedOut => f.write_str("timed out"),
            Self::TaskTimedOut { timeout } => {
                write!(f, "the task still ran after {timeout:?} and was killed")
            }
            Self::OutOfMemory { limit, peak } => write_out_of_memory(f, *limit, *peak),
            Self::BudgetTooSmall { budget, task } => write_budget_too_small(f, *budget, *task),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::PoolBroken => f.write_str(POOL_BROKEN),
            Self::MapFailed { item, ran, error } => write_map_failed(f, *item, ran, error),
            Self::TasksFailed { count, task, error } => write_tasks_failed(f, *count, *task, error),
            Self::WorkerCount { workers, max } => {
                write_count(f, "a pool", *workers, "workers", *max)
            }
            Self::NestedTooDeep { pools } => write_nested_too_deep(f, *pools),
            Self::InitializerFailed { tries, reason } => write!(
                f,
                "the pool's initializer failed {tries} times in a row: {reason}"
            ),
            Self::TimeoutExpired {
                program, timeout, ..
            } => write!(
                f,
                "`{program}` had not ended after {timeout:?} and was killed with its children"
            ),
            Self::Serial { attempt, reason }
            | Self::Os {
                attempt, reason, ..
            } => {
                write!(f, "cannot {attempt}: {reason}")
            }
        }
    }
}

/// How [`Error::NothingInHand`] reads.
const NOTHING_IN_HAND: &str =
    "task_done was called more often than items were taken from the queue";

/// How [`Error::NotAtStart`] reads.
const NOT_AT_START: &str = "a descriptor, a queue, a connection or a lock is no data that lies in memory: \
                            hand it over as an argument of a process or of a pool's task, to all \
                            workers by `initializer_with`, or in a message of a pipe";

fn write_killed(f: &mut fmt::Formatter<'_>, signal: i32, pid: u32) -> fmt::Result {
    write!(f, "process {pid} was killed by signal {signal}")?;
    // Those of real time have no names.
    match Signal::try_from(signal) {
        Ok(signal) => write!(f, " ({signal})"),
        Err(_) => Ok(()),
    }
}

fn write_oom_killed(f: &mut fmt::Formatter<'_>, pid: u32) -> fmt::Result {
    write!(
        f,
        "process {pid} was killed by signal 9 (SIGKILL) when the system's OOM killer struck, since \
         memory was at its end: run fewer at once, or give a pool a `max_memory_per_task` and a \
         `memory_budget`"
    )
}

fn write_owner_died(f: &mut fmt::Formatter<'_>, pid: u32) -> fmt::Result {
    write!(
        f,
        "process {pid} died, or a thread of it panicked, while it had the lock: look at what it \
         guards, and call `clear_poison`"
    )
}

/// How [`Error::Closed`] reads.
const CLOSED: &str = "the queue or pool is closed, or the connection's other end is gone";

/// How [`Error::PoolBroken`] reads.
const POOL_BROKEN: &str = "the pool is broken: the process that supervises its workers is gone. It \
                           was killed, or had no memory or too small a stack (`ulimit -s`): start \
                           another pool";

/// How [`Error::BarrierBroken`] reads.
const BARRIER_BROKEN: &str = "the barrier is broken, since someone gave up: reset it to go on";

fn write_party_died(f: &mut fmt::Formatter<'_>, pid: u32) -> fmt::Result {
    write!(
        f,
        "process {pid} died while it attended the barrier: reset that, and let another attend"
    )
}

fn write_barrier_full(f: &mut fmt::Formatter<'_>, parties: usize) -> fmt::Result {
    write!(
        f,
        "all {parties} parties attend the barrier already: make it for more, or let one leave"
    )
}

fn write_count(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    count: usize,
    of: &str,
    max: usize,
) -> fmt::Result {
    write!(
        f,
        "cannot make {what} of {count} {of}: the number must be at least 1 and at most {max}"
    )
}

fn write_too_large(f: &mut fmt::Formatter<'_>, len: u64, max: u64) -> fmt::Result {
    write!(
        f,
        "an item of {len} bytes does not fit in the queue, which takes at most {max}: as much as \
         memory can hold, or less under `ulimit -v` or `ulimit -f`; send it in parts, or make the \
         queue under a higher limit"
    )
}

fn write_out_of_memory(f: &mut fmt::Formatter<'_>, limit: u64, peak: u64) -> fmt::Result {
    write!(
        f,
        "the task had taken {peak} bytes of memory, of {limit} that it may take, and was killed: raise \
         `max_memory_per_task`, or the `memory_budget` if that alone was given, or let the task do \
         less at once"
    )
}

fn write_budget_too_small(f: &mut fmt::Formatter<'_>, budget: u64, task: u64) -> fmt::Result {
    write!(
        f,
        "cannot make a pool whose tasks may take {task} bytes of memory each and {budget} in all: \
         lower `max_memory_per_task`, or raise `memory_budget`"
    )
}

fn write_nested_too_deep(f: &mut fmt::Formatter<'_>, pools: u32) -> fmt::Result {
    write!(
        f,
        "cannot make a pool within {pools} others, each in a task of the one around it: a static \
         pool is another one in each worker, so its tasks must not use it without end"
    )
}

fn write_tasks_failed(
    f: &mut fmt::Formatter<'_>,
    count: u64,
    task: u64,
    error: &Error,
) -> fmt::Result {
    match count {
        1 => write!(
            f,
            "task {task}, whose result nobody asked for, failed: {error}"
        ),
        _ => write!(
            f,
            "{count} tasks failed whose results nobody asked for; task {task}: {error}"
        ),
    }
}

fn write_map_failed(
    f: &mut fmt::Formatter<'_>,
    item: u64,
    ran: &[Range<u64>],
    error: &Error,
) -> fmt::Result {
    write!(f, "item {item} of the map failed: {error}; ")?;
    if ran.is_empty() {
        return f.write_str("no item has run");
    }
    f.write_str("of the items ran ")?;
    for (place, range) in ran.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        match range.end - range.start {
            1 => write!(f, "{comma}{}", range.start)?,
            _ => write!(f, "{comma}{} to {}", range.start, range.end - 1)?,
        }
    }
    Ok(())
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
