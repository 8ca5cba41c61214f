//! [`Pool`]: worker processes that share tasks, under a supervisor.
//!
//! A pool is two queues in shared memory and a supervisor. The application puts tasks into one
//! queue, the workers put results into the other. The supervisor, a process of its own, forks the
//! workers and replaces those that die. A slot in shared memory tells it which task, and which item
//! of a chunk, a worker had in progress; into the results it puts that this died.
//!
//! ```text
//!                 tasks                         results
//!  application ══════════▶ worker 0, 1, 2, … ═══════════▶ application
//!       │                   ▲         │                       ▲
//!       │ wakes             │ forks,  │ slot: task and item   ║ what died
//!       │                   │ kills   ▼ in progress           ║ with a worker
//!       └────────────▶   supervisor  ═════════════════════════╝
//! ```
//!
//! | who is killed | what follows |
//! |---|---|
//! | a worker with a task | the task is tried again or gives [`Error::Killed`](crate::Error::Killed), or [`Error::OomKilled`](crate::Error::OomKilled) if the system's OOM killer has struck; no other task notices |
//! | a worker without one | nothing but its successor, or none if it was one too many |
//! | the supervisor | the workers end; every handle says [`Error::PoolBroken`](crate::Error::PoolBroken) |
//! | the application | supervisor, workers and all that they started end |

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use crate::{Result, Serializable, codec, fd_passing, sys::call::Function};
use client::PoolClient;
use open_tasks::Submission;
use task::one;

pub use builder::Builder;
pub use imap::Imap;
#[cfg(feature = "stream")]
pub use imap::ImapStream;
pub use map_result::MapResult;
pub use result::AsyncResult;
pub use table::Progress;
pub use usage::TaskUsage;
pub(crate) use worker::stored_descriptor;
pub use worker::worker_index;

mod block;
mod builder;
mod chunk;
mod client;
mod control;
mod fd_store;
mod imap;
mod lost;
mod map;
mod map_result;
mod memory;
mod message;
mod open_tasks;
mod resize;
mod result;
mod retry;
mod shared;
mod sleeper;
mod slot;
mod supervisor;
mod table;
mod task;
mod unheard;
mod usage;
mod wakers;
mod worker;

/// Worker processes that share tasks, each taking the next as it gets free: Python's
/// `multiprocessing.Pool`.
///
/// A task is a function and its argument. The function is a `fn` item or a closure that captures
/// nothing, which is checked when the program is compiled; argument and result are serialised.
/// The handle may be shared by threads. It has no thread of its own.
///
/// Workers are fresh images of the program: what `main` has done, they have not. What they need
/// beside their tasks, an initializer gives them ([`Builder::initializer_with`]).
/// [`init`](crate::init) says what they have of the program.
///
/// # Large arguments and results
///
/// Strings, bytes and vectors of numbers from 64 KiB on, wherever they stand in an argument or a result,
/// are copied once on their way in and once on their way out, in memory of the pool that is used again.
/// A pool keeps some 32 MiB of it. Of tasks that may be tried again
/// ([`retries`](Builder::retries)), the application has one more copy until they are done. What a
/// killed worker had of such memory comes back at once, and the task is tried with its whole argument.
///
/// # When a process is killed
///
/// Every task that was handed in has exactly one outcome. A task is reported as killed only if the
/// worker that ran it was killed. See the [module](self) for who else may die. A worker is replaced
/// within milliseconds. Its children are killed with it, since each worker leads a process group.
///
/// A process that writes over the pool's shared memory can take away what a worker had noted of its
/// task. If that worker is then killed, its task fails with [`Error::Os`](crate::Error::Os), which
/// says so, and is not tried again. So may fail, at the same moment, the task of a living worker
/// whose note is gone.
///
/// # Dropping the handle
///
/// As Python's `with` block, it terminates the pool: tasks that are not done are
/// [`Cancelled`](crate::Error::Cancelled). A forked child's copy of the handle does nothing.
///
/// # In a static
///
/// `static POOL: LazyLock<Pool>` works. A worker is a fresh image of the program, though: a task that
/// reaches `POOL` makes another pool there, which is its worker's own and ends with it. So each of
/// four workers may come to have four more. Let the task return what is left to do instead, or make
/// the pool in `main` and pass it on.
///
/// # Different from Python
///
/// A pool may be used within a task of another pool, five deep. A worker that cannot get through its
/// initializer is not started for ever. A killed worker is no reason to hang.
///
/// # Examples
///
/// ```
/// use multiprocess::Pool;
///
/// let pool = Pool::new(4)?;
/// let square = pool.apply_async(|n: u64| n * n, 9)?;
/// assert_eq!(square.get()?, 81);
/// assert_eq!(pool.map(|n: u64| n + 1, [1, 2, 3])?, [2, 3, 4]);
/// pool.join()?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Pool {
    client: Arc<PoolClient>,
}

impl Pool {
    /// Starts so many workers: Python's `Pool(workers)`. For as many as there are CPUs, and for
    /// all else, there is [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(4)?;
    /// assert_eq!(pool.map(|n: u64| n * n, 1..=3)?, [1, 4, 9]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Starts a pool with an initializer, a limit of time, retries, …
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().build()?;
    /// assert_eq!(pool.workers(), std::thread::available_parallelism().unwrap().get());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs a function in a worker and waits for its result: `apply(f, (arg,))`.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// assert_eq!(pool.apply(|(a, b): (u64, u64)| a * b, (6, 7))?, 42);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn apply<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<R> {
        self.apply_async(function, argument)?.get()
    }

    /// Hands a task to the pool, and does not wait for it: `apply_async(f, (arg,))`.
    ///
    /// # Errors
    ///
    /// [`Error::Serial`](crate::Error::Serial) or [`Error::TooLarge`](crate::Error::TooLarge) for
    /// the argument, [`Error::Closed`](crate::Error::Closed) after
    /// [`close`](Self::close). If the pool is known to have failed, why.
    ///
    /// # Examples
    ///
    /// A task that can fail returns a `Result`, which [`flatten`](Result::flatten) joins with the
    /// pool's:
    ///
    /// ```
    /// use multiprocess::{Error, Pool, Result};
    ///
    /// fn size(path: String) -> Result<u64> {
    ///     let file = std::fs::metadata(&path);
    ///     Ok(file.map_err(|error| Error::os(format!("look at {path}"), error))?.len())
    /// }
    ///
    /// let pool = Pool::new(1)?;
    /// let failed = pool.apply_async(size, "/no/such/file".to_string())?.get().flatten();
    /// assert!(failed.unwrap_err().to_string().starts_with("cannot look at /no/such/file"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// A function that captures something does not compile:
    ///
    /// ```compile_fail
    /// let pool = multiprocess::Pool::new(1)?;
    /// let factor = std::hint::black_box(3);
    /// pool.apply_async(move |n: u64| n * factor, 9)?;
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn apply_async<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<AsyncResult<R>> {
        let mut buffer = codec::Buffer::to_write();
        let task = buffer.bytes();
        let mut block = self.client.argument_block();
        let function = Function::of(function, one);
        let (written, fds) =
            fd_passing::collect_unique(|| task::write(function, &argument, task, &mut block));
        written?;
        let ticket = self.client.submit(task, block, fds, Submission::ONE)?;
        Ok(AsyncResult::new(Arc::clone(&self.client), ticket))
    }

    /// How many items are done, and how many were handed in. It reads the results that have come
    /// and what the workers have in progress, and keeps no worker waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// pool.map(|n: u64| n, 0..10)?;
    /// let progress = pool.progress();
    /// assert_eq!((progress.done, progress.total), (10, 10));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn progress(&self) -> Progress {
        self.client.progress()
    }

    /// How many workers the pool has, or is to have: those that [`resize`](Self::resize) has started
    /// may not be there yet, and some that are to leave may still have a task in hand.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// assert_eq!(pool.workers(), 2);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn workers(&self) -> usize {
        self.client.shared.control.workers_wanted()
    }

    /// The process ids of the workers at this moment, for a look at them with `ps`. A worker that
    /// was just replaced may still be among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// let pid = pool.apply(|()| std::process::id(), ())?;
    /// assert_eq!(pool.worker_pids(), [pid]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn worker_pids(&self) -> Vec<u32> {
        let slots = self.client.shared.control.used_slots();
        slots
            .iter()
            .map(|slot| slot.pid.load(SeqCst))
            .filter(|&pid| pid != 0)
            .collect()
    }

    /// The process id of the supervisor.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// // The supervisor is the parent of the workers.
    /// let parent = pool.apply(|()| std::os::unix::process::parent_id(), ())?;
    /// assert_eq!(pool.supervisor_pid(), parent);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn supervisor_pid(&self) -> u32 {
        self.client.supervisor()
    }

    /// Takes no more tasks: `close()`. Those that were handed in are done.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    ///
    /// let pool = Pool::new(1)?;
    /// pool.close();
    /// assert!(matches!(pool.apply(|n: u64| n, 1), Err(Error::Closed)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close(&self) {
        self.client.close();
    }

    /// Waits until all tasks are done and the workers have ended: `close()` and `join()`. Handles
    /// of results stay good.
    ///
    /// # Errors
    ///
    /// [`Error::PoolBroken`](crate::Error::PoolBroken) or
    /// [`Error::InitializerFailed`](crate::Error::InitializerFailed), if tasks were not done for
    /// that reason. [`Error::TasksFailed`](crate::Error::TasksFailed), if tasks failed whose handles
    /// were dropped before anyone asked; of the others, the handle reports it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let square = pool.apply_async(|n: u64| n * n, 9)?;
    /// pool.join()?;
    /// assert!(square.ready());
    /// assert_eq!(square.get()?, 81);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn join(self) -> Result<()> {
        self.client.close();
        self.client.wait_for_all()?;
        self.client.shut_down();
        self.client.unheard_failures()
    }

    /// Ends the workers and what they started at once: `terminate()`. Tasks that are not done are
    /// [`Cancelled`](crate::Error::Cancelled). Dropping the pool does the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let endless = pool.apply_async(thread::sleep, Duration::from_secs(600))?;
    /// pool.terminate();
    /// assert!(matches!(endless.get(), Err(Error::Cancelled)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn terminate(self) {}
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.client.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.client.shared.name)
            .field("workers", &self.workers())
            .field("supervisor", &self.client.supervisor())
            .finish()
    }
}
