//! [`Builder`]: what a pool is to be like, and how it starts.

use std::{
    io,
    num::NonZeroUsize,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Pool,
    client::PoolClient,
    control::WORKERS_MAX,
    fd_store::FdStoreClient,
    memory,
    shared::{Initializer, PoolShared},
    sleeper::WakeFd,
    supervisor,
    task::{nothing, one},
    worker,
};
use crate::{
    Error, Result, Serializable, codec,
    fd_passing::Descriptor,
    oom_kills::OomKills,
    queue::raw::RawQueue,
    spawn_request::SpawnRequest,
    sys::{call::Function, fork_private::ForkPrivate, pidfd, shm::Shared},
    zygote,
};

/// How many pools may be around a new one, each in a task of the one around it. A task that uses the
/// static pool of its own worker, whose tasks do the same, would make pools without end.
const DEPTH_MAX: u32 = 4;

/// What a [`Pool`] is to be like; made by [`Pool::builder`].
///
/// # Examples
///
/// ```
/// let builder = multiprocess::Pool::builder().workers(2).name("squares");
/// let pool = builder.build()?;
/// assert_eq!(pool.workers(), 2);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder starts nothing until `build`"]
pub struct Builder {
    workers: Option<usize>,
    initializer: Option<Result<Initializer>>,
    finalizer: Option<Function>,
    max_tasks_per_child: Option<u64>,
    max_memory_per_child: Option<u64>,
    max_memory_per_task: Option<u64>,
    memory_budget: Option<u64>,
    task_timeout: Option<Duration>,
    retries: u32,
    measures_usage: bool,
    name: Option<String>,
}

impl Builder {
    /// How many workers: Python's `processes`. At least 1, at most 1024, else
    /// [`build`](Self::build) fails; if nothing is said, as many as the machine has CPUs for this
    /// program. [`Pool::resize`] changes it later.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What each worker does first: Python's `initializer`. As for a task, that is a `fn` item or a
    /// closure that captures nothing.
    ///
    /// When it panics or dies three times in a row, the pool fails with
    /// [`Error::InitializerFailed`]; Python would start workers for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Pool;
    /// use std::cell::Cell;
    ///
    /// thread_local!(static READY: Cell<bool> = const { Cell::new(false) });
    ///
    /// let pool = Pool::builder().workers(1).initializer(|| READY.set(true)).build()?;
    /// assert!(pool.apply(|()| READY.get(), ())?);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn initializer(self, function: fn()) -> Self {
        self.initialize(Function::of(function, nothing), |_| Ok(()))
    }

    /// As [`initializer`](Self::initializer), with an argument: Python's `initializer` and
    /// `initargs`. Give a queue or a lock to each worker here, which a task then need not bring along.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Pool, Queue};
    /// use std::sync::OnceLock;
    ///
    /// static LOG: OnceLock<Queue<String>> = OnceLock::new();
    ///
    /// let log = Queue::new()?;
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .initializer_with(|log: Queue<String>| LOG.set(log).unwrap(), log.clone())
    ///     .build()?;
    /// pool.apply(|n: u64| LOG.get().unwrap().put(&format!("got {n}")).unwrap(), 7)?;
    /// assert_eq!(log.get()?, "got 7");
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn initializer_with<A: Serializable>(self, function: fn(A), argument: A) -> Self {
        let function = Function::of(function, one);
        self.initialize(function, |bytes| codec::append(&argument, bytes))
    }

    fn initialize(
        mut self,
        function: Function,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Self {
        let request = SpawnRequest::new(function, false, write);
        self.initializer = Some(request.map(|request| Initializer {
            function: request.function,
            argument: request.argument,
            descriptors: request.descriptors.into_iter().map(Descriptor).collect(),
        }));
        self
    }

    /// What each worker does last, after its last task: when the pool is
    /// [joined](super::Pool::join), or the worker is replaced for its number of tasks or its memory.
    /// A killed worker does not run it, and dropping a pool kills its workers. Nobody is told if it
    /// panics or ends its process. Python's pools have no such call.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Pool, Queue};
    /// use std::sync::OnceLock;
    ///
    /// static LOG: OnceLock<Queue<String>> = OnceLock::new();
    ///
    /// let log = Queue::new()?;
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .initializer_with(|log: Queue<String>| LOG.set(log).unwrap(), log.clone())
    ///     .finalizer(|| LOG.get().unwrap().put(&"closed".to_string()).unwrap())
    ///     .build()?;
    /// pool.apply(|n: u64| n + 1, 7)?;
    /// pool.join()?;
    /// assert_eq!((log.get()?, log.get()?), ("closed".to_string(), "closed".to_string()));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn finalizer(mut self, function: fn()) -> Self {
        self.finalizer = Some(Function::of(function, nothing));
        self
    }

    /// After how many tasks a worker is replaced by a fresh one: Python's `maxtasksperchild`. A
    /// chunk of a map counts as one. 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().workers(1).max_tasks_per_child(1).build()?;
    /// let process = |()| std::process::id();
    /// assert_ne!(pool.apply(process, ())?, pool.apply(process, ())?);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.max_tasks_per_child = Some(tasks.max(1));
        self
    }

    /// How much memory a worker may have, in bytes: one that has more after its task is replaced by
    /// a fresh one. Only its own memory counts, and not what it shares by files or with the
    /// supervisor's image. A chunk of a map counts as one task. Python's pools have no such limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().workers(1).max_memory_per_child(64 << 20).build()?;
    /// let leak = |len: usize| {
    ///     std::mem::forget(vec![1_u8; len]);
    ///     std::process::id()
    /// };
    /// let first = pool.apply(leak, 1)?;
    /// assert_eq!(pool.apply(leak, 100 << 20)?, first);
    /// assert_ne!(pool.apply(leak, 1)?, first);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn max_memory_per_child(mut self, bytes: u64) -> Self {
        self.max_memory_per_child = Some(bytes);
        self
    }

    /// How much memory a task, or an item of a map, may take, in bytes. One that takes more is killed
    /// with its worker's process group and gives [`Error::OutOfMemory`]; it is not tried again. No
    /// other task notices. Python has no such limit.
    ///
    /// What counts is by how much the worker's own memory has grown since the task began: what it
    /// shares by files does not count, nor what the initializer or an earlier task has left, nor the
    /// memory of processes that the task starts. The supervisor looks every 20 ms while tasks run, so
    /// a peak that is shorter may not be seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let limit = 64 << 20;
    /// let pool = Pool::builder().workers(2).max_memory_per_task(limit).build()?;
    /// let hungry = |len: usize| {
    ///     let bytes = vec![1_u8; len];
    ///     thread::sleep(Duration::from_secs(600));
    ///     bytes.len()
    /// };
    /// let failed = pool.apply(hungry, 100 << 20);
    /// assert!(matches!(failed, Err(Error::OutOfMemory { peak, .. }) if peak > limit));
    /// assert_eq!(pool.apply(|len: usize| vec![1_u8; len].len(), 10 << 20)?, 10 << 20);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_memory_per_task(mut self, bytes: u64) -> Self {
        self.max_memory_per_task = Some(bytes);
        self
    }

    /// How much memory all tasks that run at once may take, in bytes. Those that do not fit wait.
    ///
    /// With [`max_memory_per_task`](Self::max_memory_per_task) the pool has only as many workers as
    /// fit; without, each of its workers' tasks may take its part of the budget. A worker that has
    /// kept more than a quarter of what its task may take is replaced. Python has no budget.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Pool;
    ///
    /// let pool = Pool::builder()
    ///     .workers(8)
    ///     .max_memory_per_task(64 << 20)
    ///     .memory_budget(256 << 20)
    ///     .build()?;
    /// assert_eq!(pool.workers(), 4);
    /// let lengths = pool.map(|len: usize| vec![1_u8; len].len(), [48 << 20; 8])?;
    /// assert_eq!(lengths, [48 << 20; 8]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// How long a task, or an item of a map, may run. After that it is killed with its worker's
    /// process group and gives [`Error::TaskTimedOut`]; it is not tried again. Python has no such
    /// limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let limit = Duration::from_millis(50);
    /// let pool = Pool::builder().workers(1).task_timeout(limit).build()?;
    /// let late = pool.apply(thread::sleep, Duration::from_secs(600));
    /// assert!(matches!(late, Err(Error::TaskTimedOut { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// How often a task, or an item of a map, is tried again after its worker died; by default
    /// never. The items of its chunk that were done are not done again. A task that panics has an
    /// outcome and is not tried again. The tries happen while somebody waits for a result, since
    /// the application keeps the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Pool, Queue};
    /// use std::{process, sync::OnceLock};
    ///
    /// static TRIES: OnceLock<Queue<u32>> = OnceLock::new();
    ///
    /// let tries = Queue::new()?;
    /// let pool = Pool::builder()
    ///     .workers(1)
    ///     .retries(2)
    ///     .initializer_with(|tries| TRIES.set(tries).unwrap(), tries.clone())
    ///     .build()?;
    /// let succeeds_at_last = |n: u64| {
    ///     let tries = TRIES.get().unwrap();
    ///     tries.put(&process::id()).unwrap();
    ///     if tries.len() < 3 {
    ///         process::abort();
    ///     }
    ///     n * n
    /// };
    /// assert_eq!(pool.apply(succeeds_at_last, 5)?, 25);
    /// assert_eq!(tries.len(), 3);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Measures what each task takes, and each item of a map: [`TaskUsage`](super::TaskUsage) says
    /// precisely what. [`AsyncResult::usage`](super::AsyncResult::usage) and
    /// [`MapResult::usage`](super::MapResult::usage) tell it, also of tasks that failed or were killed.
    /// The other calls have no place for it.
    ///
    /// It costs some 20 µs for each task or item. Who does not ask for it pays nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().workers(2).measure_usage().build()?;
    /// let lengths = pool.map_async(|len: usize| vec![1_u8; len].len(), [1000, 64 << 20])?;
    /// lengths.wait()?;
    /// for usage in lengths.usage().into_iter().flatten() {
    ///     println!("{:?} on processors, {:?} bytes", usage.cpu, usage.peak_memory);
    /// }
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn measure_usage(mut self) -> Self {
        self.measures_usage = true;
        self
    }

    /// Names the pool, in errors and in `ps`; otherwise it is `Pool-1`, `Pool-2`, ….
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::builder().workers(1).name("squares").build()?;
    /// assert!(format!("{pool:?}").contains("squares"));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    ///
    /// [`Error::WorkerCount`] for no worker, or for more than 1024. [`Error::BudgetTooSmall`] if no task
    /// fits in the budget of memory. [`Error::NestedTooDeep`] within
    /// the tasks of five pools, each in a task of the one around it. [`Error::Os`] if the system is
    /// out of processes, memory or descriptors, or if the program cannot be executed again, for which
    /// [`init`](crate::init) gives the reasons. [`Error::Serial`] if the initializer's argument has no
    /// binary form.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .task_timeout(Duration::from_secs(60))
    ///     .retries(1)
    ///     .name("squares")
    ///     .build()?;
    /// assert_eq!(pool.apply(|n: u64| n * n, 5)?, 25);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn build(self) -> Result<Pool> {
        static NAMES: AtomicU32 = AtomicU32::new(1);
        let count = || NAMES.fetch_add(1, Relaxed);
        let name = self.name.unwrap_or_else(|| format!("Pool-{}", count()));
        let cpus = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let os = |what| move |error: io::Error| Error::os(what, error);
        let workers = self.workers.unwrap_or_else(|| cpus().min(WORKERS_MAX));
        if !(1..=WORKERS_MAX).contains(&workers) {
            let max = WORKERS_MAX;
            return Err(Error::WorkerCount { workers, max });
        }
        let (workers, max_memory_per_task) =
            memory::fit(workers, self.memory_budget, self.max_memory_per_task)?;
        let max_memory_left = max_memory_per_task.filter(|_| self.memory_budget.is_some());
        let depth = worker::depth();
        if depth > DEPTH_MAX {
            return Err(Error::NestedTooDeep { pools: depth });
        }
        let initializer = self.initializer.transpose()?;
        let shared = PoolShared {
            tasks: RawQueue::new(0)?,
            results: RawQueue::new(0)?,
            control: Shared::for_workers(workers)
                .map_err(os("create the shared memory of a pool"))?,
            finalizer: self.finalizer,
            max_tasks_per_child: self.max_tasks_per_child,
            max_memory_per_child: self.max_memory_per_child,
            max_memory_per_task,
            memory_budget: self.memory_budget,
            max_memory_left: max_memory_left.map(|task| task / 4),
            task_timeout: self.task_timeout,
            retries: self.retries,
            oom_kills: OomKills::now(),
            measures_usage: self.measures_usage,
            name,
            depth,
            application_wake: WakeFd::new().map_err(os("open an eventfd for a pool"))?,
            supervisor_wake: WakeFd::new().map_err(os("open an eventfd for a pool"))?,
            opened: Instant::now(),
            descriptor_requests: None,
            descriptors_max: None,
        };
        let pair = UnixStream::pair().map_err(os("open a pipe to a supervisor"))?;
        let (wakeup, theirs) = (ForkPrivate::new(pair.0), pair.1);
        wakeup
            .get()
            .and_then(|wakeup| wakeup.set_nonblocking(true))
            .map_err(os("set up the pipe to a supervisor"))?;
        let (fd_store, store_end) =
            FdStoreClient::new().map_err(os("open a socket to a supervisor"))?;
        let me = process::id();
        let pidfd = pidfd::open(me.cast_signed()).map_err(os("open a pidfd of this process"))?;
        let function = Function::of(supervisor::run as fn(supervisor::Argument), one);
        let request = SpawnRequest::new(function, false, |bytes| {
            let ends = (Descriptor(OwnedFd::from(theirs)), Descriptor(store_end));
            let application = (ends, Descriptor(pidfd), me);
            codec::append_unread(&(&shared, initializer, application), bytes)
        });
        let request = request.map_err(|error| match error {
            // What a user cannot see is named by what it is for.
            Error::Serial { reason, .. } => Error::Serial {
                attempt: format!("hand over what the supervisor of {} needs", shared.name),
                reason,
            },
            error => error,
        })?;
        let supervisor = zygote::start(&format!("the supervisor of {}", shared.name), request)?;
        let client = Arc::new(PoolClient::new(shared, supervisor, wakeup, fd_store));
        Ok(Pool { client })
    }
}
