use std::io;

/// What can go wrong with a process, a pool or a queue.
///
/// One enum serves the whole crate, since a pool's handle can meet what a process meets and what
/// a queue meets; each method names in its `# Errors` the few variants that it returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue held no item (in time): Python's `queue.Empty`.
    #[error("the queue is empty")]
    Empty,
    /// The queue had no room (in time): Python's `queue.Full`.
    #[error("the queue is full")]
    Full,
    /// The queue was closed, and for a reader it is drained as well: Python's `queue.ShutDown`.
    #[error("the queue is closed")]
    Closed,
    /// The item's serialised form is longer than a queue can ever hold.
    #[error("an item of {len} bytes does not fit in the queue, which takes at most {max}")]
    TooLarge {
        /// Length of the serialised item, in bytes.
        len: u64,
        /// The longest item that the queue takes, in bytes.
        max: u64,
    },
    /// Readers died with this many items in hand, for which `task_done` will never be called.
    #[error("{0} items were lost with the processes that had taken them")]
    ItemsLost(u64),
    /// `task_done` was called more often than items were taken: Python's `ValueError`.
    #[error("task_done was called more often than items were taken from the queue")]
    NothingInHand,
    /// An item or a message held a queue or a connection, which are no mere data.
    #[error(
        "a queue or a connection can be handed to a process only at its start, as one of its arguments"
    )]
    NotAtStart,
    /// The program has threads, so that forking it here could deadlock the child.
    #[error(
        "cannot fork a program with {threads} threads: call multiprocess::init() as the first line of main, and start processes by spawn_with"
    )]
    Threaded {
        /// How many threads the program had.
        threads: usize,
    },
    /// The function panicked in its process.
    #[error("the process panicked at {location}: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
        /// Where it panicked, as `file:line:column`.
        location: String,
    },
    /// The process was ended by a signal.
    #[error("process {pid} was killed by signal {signal}")]
    Killed {
        /// The number of the signal.
        signal: i32,
        /// The process that was killed.
        pid: i32,
    },
    /// The process ended by itself before its function had returned.
    #[error("the process exited with code {code} before its function returned")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// The time given was over first.
    #[error("timed out")]
    TimedOut,
    /// A task of a pool ran longer than the pool's `task_timeout`, and was killed with its process
    /// group.
    #[error("the task still ran after {timeout:?} and was killed")]
    TaskTimedOut {
        /// The time that each task of the pool is given.
        timeout: std::time::Duration,
    },
    /// The task was cancelled, or its pool was terminated before the task was done.
    #[error("the task was cancelled")]
    Cancelled,
    /// The pool's supervisor was killed, and the workers have ended with it. Make another pool.
    #[error("the pool is broken: the process that supervises its workers is gone")]
    PoolBroken,
    /// No worker of the pool came through its initializer, in several tries.
    #[error("the pool's initializer failed {tries} times in a row: {reason}")]
    InitializerFailed {
        /// How often it was tried.
        tries: u32,
        /// What the last one said, or how it died.
        reason: String,
    },
    /// A program had not ended in time and was killed, with the process group that it had been
    /// given: Python's `subprocess.TimeoutExpired`.
    #[error("`{program}` had not ended after {timeout:?} and was killed with its children")]
    TimeoutExpired {
        /// The program that was run.
        program: String,
        /// The time that it was given.
        timeout: std::time::Duration,
        /// What it had written to its standard output by then.
        stdout: Vec<u8>,
        /// What it had written to its standard error by then.
        stderr: Vec<u8>,
    },
    /// A value could not be turned into bytes, or bytes into a value.
    #[error("cannot {attempt}: {source}")]
    Serial {
        /// What was attempted, and on what type.
        attempt: String,
        /// What the codec said.
        source: postcard::Error,
    },
    /// The operating system refused.
    #[error("cannot {attempt}: {source}")]
    Os {
        /// What was attempted, and on what.
        attempt: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn os(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (attempt, source) = (attempt.into(), source.into());
        Self::Os { attempt, source }
    }
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
