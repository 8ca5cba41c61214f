//! [`Pool`]: worker processes that share tasks, under a supervisor.
//!
//! A pool is two queues in shared memory and a supervisor. The application puts tasks into one
//! queue, the workers put results into the other. The supervisor, a process of its own, forks the
//! workers and replaces those that die; into the results it puts which task died with them.
//!
//! | who is killed | what follows |
//! |---|---|
//! | a worker with a task | the task is tried again or gives [`Error::Killed`]; no other task notices |
//! | a worker without one | nothing but its successor |
//! | the supervisor | the workers end; every handle says [`Error::PoolBroken`] |
//! | the application | supervisor, workers and all that they started end |

use std::{
    collections::VecDeque,
    ffi::CString,
    fmt, io,
    num::NonZeroUsize,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process,
    sync::{
        Arc,
        atomic::{
            AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::prctl;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error, Result, codec,
    handle::{Handle, Order},
    handover::Descriptor,
    queue::raw::RawQueue,
    sys::{
        call::{Function, conjure},
        pidfd,
        private::Private,
        shm::Shared,
    },
};
use control::{CANCELLED_WORDS, Control, WORKERS_MAX};
use office::Office;

pub use imap::Imap;
pub use office::Progress;
pub use result::AsyncResult;

pub(crate) mod control;
mod imap;
mod message;
mod office;
mod result;
mod supervisor;
mod worker;

/// How many chunks of a map each worker gets, so that all end at about the same time.
const CHUNKS_PER_WORKER: usize = 4;

/// The most items of a chunk whose size is chosen here.
const CHUNK_MAX: usize = 1 << 14;

/// How many chunks of a map may be under way.
const CHUNKS_AHEAD: usize = 1 << 12;

/// What application, supervisor and workers have in common, each in its own copy.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shop {
    tasks: RawQueue,
    results: RawQueue,
    control: Shared<Control>,
    workers: usize,
    initializer: Option<Initializer>,
    max_tasks_per_child: Option<u64>,
    task_timeout: Option<Duration>,
    retries: u32,
    name: String,
    /// The zero of the pool's clock, which the supervisor sets and the workers have from it.
    #[serde(skip, default = "Instant::now")]
    opened: Instant,
}

/// What each worker does first.
#[derive(Debug, Serialize, Deserialize)]
struct Initializer {
    function: Function,
    argument: Vec<u8>,
    /// What goes with the argument, see [`handover`](crate::handover).
    descriptors: Vec<Descriptor<OwnedFd>>,
}

impl Shop {
    /// Nanoseconds on the pool's clock; it stands still if nobody needs it.
    fn now(&self) -> u64 {
        match self.task_timeout {
            Some(_) => self.opened.elapsed().as_nanos() as u64,
            None => 0,
        }
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.opened + Duration::from_nanos(nanos)
    }

    /// Names this process for `ps` and `top`, which show 15 bytes.
    fn name_process(&self, suffix: &str) {
        if let Ok(name) = CString::new(format!("{}-{suffix}", self.name)) {
            let _ = prctl::set_name(&name);
        }
    }
}

/// Worker processes that share tasks, each taking the next as it gets free: Python's
/// `multiprocessing.Pool`.
///
/// A task is a function and its argument. The function is a `fn` item or a closure that captures
/// nothing, which is checked when the program is compiled; argument and result are serialised.
/// The handle may be shared by threads. It has no thread of its own. In a program that has threads
/// when the pool is made, and in a large one, begin with [`init`](crate::init): the workers then are
/// copies of the program as it was at that call, else as it is when the pool is made.
///
/// # When a process is killed
///
/// Every task that was handed in has exactly one outcome, and a task that is told to have died has
/// died: it was in the hand of a worker that was killed. See the [module](self) for who else may
/// die. A worker is replaced within milliseconds, and its children are killed with it, since each
/// worker leads a process group.
///
/// # Dropping the handle
///
/// As Python's `with` block, it terminates the pool: tasks that are not done are
/// [`Cancelled`](Error::Cancelled). A forked child's copy of the handle does nothing.
///
/// # Different from Python
///
/// A pool may be used within a task of another pool. A worker that cannot get through its
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
    office: Arc<Office>,
}

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
    max_tasks_per_child: Option<u64>,
    task_timeout: Option<Duration>,
    retries: u32,
    name: Option<String>,
}

impl Builder {
    /// How many workers: Python's `processes`. At least 1, at most 1024; otherwise as many as the
    /// machine has CPUs for this program.
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
    pub fn initializer<F: Fn() + Copy + 'static>(self, function: F) -> Self {
        self.initializer_with(move |()| function(), ())
    }

    /// As [`initializer`](Self::initializer), with an argument: Python's `initializer` and
    /// `initargs`. It is how workers get a queue, which cannot be part of a task.
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
    pub fn initializer_with<F, A>(mut self, function: F, argument: A) -> Self
    where
        F: Fn(A) + Copy + 'static,
        A: Serialize + DeserializeOwned,
    {
        let _ = function;
        let order = Order::new(Function::of(one::<F, A, ()>), &argument, false);
        self.initializer = Some(order.map(|order| Initializer {
            function: order.function,
            argument: order.argument,
            descriptors: order.descriptors.into_iter().map(Descriptor).collect(),
        }));
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

    /// How long a task, or a chunk of a map, may run. After that it is killed with its worker's
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

    /// How often a task is tried again whose worker died with it; otherwise never. A task that
    /// panics has an answer and is not tried again. The tries happen while somebody waits for a
    /// result, since the application keeps the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Pool, Queue};
    /// use std::{process, sync::OnceLock};
    ///
    /// static TRIES: OnceLock<Queue<u32>> = OnceLock::new();
    ///
    /// let tries = TRIES.get_or_init(|| Queue::new().unwrap());
    /// let pool = Pool::builder().workers(1).retries(2).build()?;
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
    /// [`Error::Threaded`] when the program has another thread and did not begin with
    /// [`init`](crate::init). [`Error::Os`] if the system is out of processes, memory or
    /// descriptors. [`Error::Serial`] if the initializer's argument has no binary form.
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
        let shop = Shop {
            tasks: RawQueue::new(0)?,
            results: RawQueue::new(0)?,
            control: Shared::create("multiprocess-pool", CANCELLED_WORDS)
                .map_err(os("create the shared memory of a pool"))?,
            workers: self.workers.unwrap_or_else(cpus).clamp(1, WORKERS_MAX),
            initializer: self.initializer.transpose()?,
            max_tasks_per_child: self.max_tasks_per_child,
            task_timeout: self.task_timeout,
            retries: self.retries,
            name,
            opened: Instant::now(),
        };
        let pair = UnixStream::pair().map_err(os("open a pipe to a supervisor"))?;
        let (bell, theirs) = (Private::new(pair.0), pair.1);
        bell.get()
            .and_then(|bell| bell.set_nonblocking(true))
            .map_err(os("set up the pipe to a supervisor"))?;
        let me =
            pidfd::open(process::id().cast_signed()).map_err(os("open a pidfd of this process"))?;
        let argument = (shop, Descriptor(theirs), Descriptor(me));
        let order = Order::new(Function::of(supervisor::run), &argument, false)?;
        let (shop, ..) = argument;
        let supervisor = Handle::start(&format!("the supervisor of {}", shop.name), order)?;
        let office = Arc::new(Office::new(shop, supervisor, bell));
        Ok(Pool { office })
    }
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
    pub fn apply<F, A, R>(&self, function: F, argument: A) -> Result<R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.apply_async(function, argument)?.get()
    }

    /// Hands a task to the pool, and does not wait for it: `apply_async(f, (arg,))`.
    ///
    /// # Errors
    ///
    /// [`Error::Serial`] or [`Error::TooLarge`] for the argument, [`Error::Closed`] after
    /// [`close`](Self::close). If the pool is known to have failed, why.
    ///
    /// # Examples
    ///
    /// A function that captures something does not compile:
    ///
    /// ```compile_fail
    /// let pool = multiprocess::Pool::new(1)?;
    /// let factor = std::hint::black_box(3);
    /// pool.apply_async(move |n: u64| n * factor, 9)?;
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn apply_async<F, A, R>(&self, function: F, argument: A) -> Result<AsyncResult<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let _ = function;
        let function = Function::of(one::<F, A, R>).to_bytes();
        let mut buffer = codec::Buffer::take();
        let task = codec::encode_behind(function.len(), &argument, buffer.bytes())?;
        task[..function.len()].copy_from_slice(&function);
        let ticket = self.office.submit(task, 1, None)?;
        Ok(AsyncResult::new(Arc::clone(&self.office), ticket))
    }

    /// Runs a function on all items and returns the results in their order: `map(f, items)`.
    ///
    /// The items travel in chunks, whose size is chosen as Python does: four for each worker.
    ///
    /// # Errors
    ///
    /// The first error, by the order of items; the results of the other items are lost with it.
    /// For a result or an error of each item, there is [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn map<F, A, R>(&self, function: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let items = items.into_iter();
        if let (known, Some(most)) = items.size_hint()
            && known == most
        {
            return self.map_chunked(function, items, self.chunk_size(known));
        }
        let items: Vec<A> = items.collect();
        let size = self.chunk_size(items.len());
        self.map_chunked(function, items, size)
    }

    fn chunk_size(&self, items: usize) -> usize {
        let chunks = CHUNKS_PER_WORKER * self.workers();
        items.div_ceil(chunks).min(CHUNK_MAX)
    }

    /// As [`map`](Self::map), with so many items in a chunk: `map(f, items, chunksize)`. 0 counts
    /// as 1.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let lengths = pool.map_chunked(|s: String| s.len(), ["a", "bc"].map(String::from), 1)?;
    /// assert_eq!(lengths, [1, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn map_chunked<F, A, R>(
        &self,
        function: F,
        items: impl IntoIterator<Item = A>,
        chunk_size: usize,
    ) -> Result<Vec<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let _ = function;
        let head = Function::of(many::<F, A, R>).to_bytes();
        let mut items = items.into_iter().fuse();
        let mut chunks = VecDeque::<AsyncResult<()>>::new();
        let mut results = Vec::with_capacity(items.size_hint().0);
        let mut task = Vec::new();
        let mut more = true;
        while more || !chunks.is_empty() {
            while more && chunks.len() < CHUNKS_AHEAD {
                let count = write_chunk(head, &mut items, chunk_size.max(1), &mut task)?;
                more = count == chunk_size.max(1);
                if count > 0 {
                    let ticket = self.office.submit(&task, count as u64, None)?;
                    chunks.push_back(AsyncResult::new(Arc::clone(&self.office), ticket));
                }
            }
            if let Some(chunk) = chunks.pop_front() {
                chunk.get_many(&mut results)?;
            }
        }
        Ok(results)
    }

    /// As [`map`](Self::map), for a function of two arguments: `starmap(f, pairs)`. For more, let
    /// `map` run a closure that takes a tuple.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// assert_eq!(pool.starmap(u64::pow, [(2, 3), (3, 2)])?, [8, 9]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn starmap<F, A, B, R>(
        &self,
        function: F,
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Vec<R>>
    where
        F: Fn(A, B) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map(move |(a, b)| function(a, b), pairs)
    }

    /// Runs a function on items, one by one, and gives the results in their order as they come:
    /// `imap(f, items)`.
    ///
    /// The iterator may be endless: items are taken from it only as far ahead as the workers need,
    /// four for each, and none before the first result is asked for. Python takes all that there
    /// are.
    ///
    /// # Errors
    ///
    /// Each item of the iterator is a result of its own, with the errors of
    /// [`apply`](Self::apply).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..);
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// assert_eq!(squares.next().unwrap()?, 4);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn imap<F, I, R>(&self, function: F, items: I) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serialize + DeserializeOwned>,
        F: Fn(I::Item) -> R + Copy + 'static,
        R: Serialize + DeserializeOwned,
    {
        let _ = function;
        let function = Function::of(one::<F, I::Item, R>);
        Imap::new(&self.office, function, items.into_iter(), true)
    }

    /// As [`imap`](Self::imap), with the results in the order in which they are done:
    /// `imap_unordered(f, items)`.
    ///
    /// # Errors
    ///
    /// As for [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let sum: u64 = pool.imap_unordered(|n: u64| n * n, 1..=3).map(Result::unwrap).sum();
    /// assert_eq!(sum, 14);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn imap_unordered<F, I, R>(&self, function: F, items: I) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serialize + DeserializeOwned>,
        F: Fn(I::Item) -> R + Copy + 'static,
        R: Serialize + DeserializeOwned,
    {
        let _ = function;
        let function = Function::of(one::<F, I::Item, R>);
        Imap::new(&self.office, function, items.into_iter(), false)
    }

    /// How many items are done, of how many that were handed in. A look at the results that have
    /// come, which asks no worker; a chunk of a map counts when it is done.
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
        self.office.progress()
    }

    /// How many workers the pool has.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// assert_eq!(pool.workers(), 2);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn workers(&self) -> usize {
        self.office.shop.workers
    }

    /// The process ids of the workers at this moment, for a look at them with `ps`. A worker that
    /// was just replaced may still be among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// let pid = pool.apply(|()| std::process::id(), ())?;
    /// assert_eq!(pool.worker_pids(), [pid as i32]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn worker_pids(&self) -> Vec<i32> {
        let slots = &self.office.shop.control.slots[..self.workers()];
        slots
            .iter()
            .map(|slot| slot.pid.load(SeqCst).cast_signed())
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
    /// assert_eq!(pool.supervisor_pid(), parent as i32);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn supervisor_pid(&self) -> i32 {
        self.office.supervisor()
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
        self.office.close();
    }

    /// Waits until all tasks are done and the workers have ended: `close()` and `join()`. Handles
    /// of results stay good.
    ///
    /// # Errors
    ///
    /// [`Error::PoolBroken`] or [`Error::InitializerFailed`], if tasks were not done for that
    /// reason. That a task failed is told by its own handle.
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
        self.office.close();
        self.office.wait_for_all()?;
        self.office.dismiss();
        Ok(())
    }

    /// Ends the workers and what they started at once: `terminate()`. Tasks that are not done are
    /// [`Cancelled`](Error::Cancelled). Dropping the pool does the same.
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
        self.office.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.office.shop.name)
            .field("workers", &self.workers())
            .field("supervisor", &self.office.supervisor())
            .finish()
    }
}

/// Writes a task with up to `size` items, and returns how many.
fn write_chunk<A: Serialize>(
    head: [u8; Function::LEN],
    items: &mut impl Iterator<Item = A>,
    size: usize,
    task: &mut Vec<u8>,
) -> Result<usize> {
    task.clear();
    task.extend_from_slice(&head);
    task.extend_from_slice(&[0; 8]);
    let mut count = 0;
    for item in items.take(size) {
        codec::append(&item, task)?;
        count += 1;
    }
    // Items may take no bytes, so their end does not say how many they were.
    task[Function::LEN..][..8].copy_from_slice(&(count as u64).to_le_bytes());
    Ok(count)
}

/// A task of one item, as its worker runs it.
fn one<F, A, R>(argument: &[u8], result: &mut Vec<u8>) -> Result<()>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    codec::append(&conjure::<F>()(codec::decode(argument)?), result)
}

/// A task of many items, as its worker runs it.
fn many<F, A, R>(chunk: &[u8], results: &mut Vec<u8>) -> Result<()>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    let (count, mut items) = split_count(chunk);
    results.extend_from_slice(&count.to_le_bytes());
    for _ in 0..count {
        let item;
        (item, items) = codec::decode_first(items)?;
        codec::append(&conjure::<F>()(item), results)?;
    }
    Ok(())
}

/// The number of items at the start of a chunk, and the items.
fn split_count(chunk: &[u8]) -> (u64, &[u8]) {
    match chunk.split_first_chunk() {
        Some((count, items)) => (u64::from_le_bytes(*count), items),
        None => (0, chunk),
    }
}
