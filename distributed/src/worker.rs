use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Result};

mod functions;
#[cfg(feature = "processes")]
mod processes;
mod worker_thread;

use functions::Functions;
pub use functions::TaskContext;
use worker_thread::WorkerThread;

/// How long a worker waits for a task before it looks whether it shall stop.
const SLICE: Duration = Duration::from_secs(1);

/// Takes tasks from one queue and puts their results in another, in several threads.
///
/// A task is acknowledged after its result is stored, so a worker that is killed loses none. On an
/// engine, another worker gets its tasks when their leases end; on a manager, at once if the queue
/// redelivers. A task may therefore be done twice, but its result counts once: an engine knows it
/// by the id of the task, and a manager ends the task and stores the result in one step.
///
/// On an engine, short tasks are fetched several at a time, about 100 ms of work, and the next ones
/// are asked for while these are worked on, so that the way there costs little. When a task takes
/// longer than that, those that wait behind it are given back to other workers, and the results
/// before it are stored.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, Server, Worker};
///
/// let builder = Server::builder().queue("tasks").queue("results");
/// let server = builder.serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// client.queue::<u32>("tasks")?.put_many(&[3, 4, 5])?;
/// let worker = Worker::new().concurrency(2).idle(Duration::from_millis(50));
/// let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
/// assert_eq!(worked.done, 3);
/// assert_eq!(client.queue::<u32>("results")?.len()?, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a worker does nothing until it runs"]
pub struct Worker {
    concurrency: usize,
    prefetch: usize,
    idle: Option<Duration>,
    time_limit: Option<Duration>,
    stop: Arc<AtomicBool>,
    functions: Functions,
}

/// What a worker has done.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, QueueOptions, Server, Worker};
///
/// let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(1);
/// let server = Server::builder().queue(tasks).queue("results").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// client.queue::<u32>("tasks")?.put_many(&[2, 3])?;
/// let half = |n: &u32| if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") };
/// let worker = Worker::new().idle(Duration::from_millis(50));
/// let worked = worker.run(&client, "tasks", "results", half)?;
/// assert_eq!((worked.done, worked.failed), (1, 1));
/// assert_eq!(client.queue::<u32>("tasks.dead")?.get()?, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worked {
    /// Tasks whose results are stored.
    pub done: u64,
    /// Times that the work on a task failed or panicked.
    pub failed: u64,
    /// Tasks that were given back untouched: at the end, or from behind one that took long.
    pub given_back: u64,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker::new()
    }
}

impl Worker {
    /// A worker of one thread that fetches up to 32 tasks at a time and never leaves.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put_many(&[3, 4])?;
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let worked = Worker::new().stop(stop.clone()).run(&client, "tasks", "results", |n: &u32| {
    ///     // The last task: else it would wait for more.
    ///     stop.store(*n == 4, Ordering::SeqCst);
    ///     Ok::<u32, Error>(n * n)
    /// })?;
    /// assert_eq!(worked.done, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new() -> Worker {
        Worker {
            concurrency: 1,
            prefetch: 32,
            idle: None,
            time_limit: None,
            stop: Arc::default(),
            functions: Functions::default(),
        }
    }

    /// How many tasks are worked on at the same time, at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Barrier;
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put_many(&[3, 4])?;
    /// let worker = Worker::new().concurrency(2).idle(Duration::from_millis(50));
    /// // Each task waits for the other.
    /// let both = Barrier::new(2);
    /// let worked = worker.run(&client, "tasks", "results", |n: &u32| {
    ///     both.wait();
    ///     Ok::<u32, Error>(n * n)
    /// })?;
    /// assert_eq!(worked.done, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn concurrency(mut self, threads: usize) -> Worker {
        self.concurrency = threads.max(1);
        self
    }

    /// The most tasks that one thread fetches at a time, at least 1; from a manager always 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put_many(&[3, 4])?;
    /// let worker = Worker::new().prefetch(16).idle(Duration::from_millis(50));
    /// let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
    /// // From a manager it had one at a time, so that none had to be given back.
    /// assert_eq!((worked.done, worked.given_back), (2, 0));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prefetch(mut self, tasks: usize) -> Worker {
        self.prefetch = tasks.max(1);
        self
    }

    /// How long the worker waits for a task before it leaves; without limit by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server, Worked, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let worker = Worker::new().idle(Duration::from_millis(10));
    /// // There is no task, so it leaves.
    /// let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
    /// assert_eq!(worked, Worked::default());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn idle(mut self, time: Duration) -> Worker {
        self.idle = Some(time);
        self
    }

    /// On an engine, how long a task may take before it is given to another worker too.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put(&3)?;
    /// let worker = Worker::new().time_limit(Duration::from_millis(1)).idle(Duration::from_millis(50));
    /// let worked = worker.run(&client, "tasks", "results", |n: &u32| {
    ///     std::thread::sleep(Duration::from_millis(5));
    ///     Ok::<u32, Error>(n * n)
    /// })?;
    /// // A manager has no such limit: the task is done once.
    /// assert_eq!(worked.done, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn time_limit(mut self, time: Duration) -> Worker {
        self.time_limit = Some(time);
        self
    }

    /// A flag that stops the worker. Once it is set, for example by a signal handler, the worker
    /// finishes the task at hand, gives back the rest, and leaves.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put_many(&[3, 4])?;
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let worker = Worker::new().stop(Arc::clone(&stop));
    /// let worked = worker.run(&client, "tasks", "results", |n: &u32| {
    ///     // As a signal handler does. The task at hand is still finished.
    ///     stop.store(true, Ordering::SeqCst);
    ///     Ok::<u32, Error>(n * n)
    /// })?;
    /// assert_eq!((worked.done, client.queue::<u32>("tasks")?.len()?), (1, 1));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stop(mut self, stop: Arc<AtomicBool>) -> Worker {
        self.stop = stop;
        self
    }

    /// Works until it is stopped or idle for too long. A task whose work fails, or whose
    /// result cannot be written or is refused by the server, is tried again later, after a pause that
    /// grows from 1 s to 5 minutes, and is a dead letter in the end, with what the work or the server
    /// said ([`Client::dead_letters`]). On a manager of this crate this holds for every
    /// queue with a name, whether it redelivers or not; on one of Python's the task is gone, and the
    /// log has what the work said.
    ///
    /// # Errors
    ///
    /// The first error that a thread met: [`Error::NoQueue`] when the server has no such queue,
    /// [`Error::Engine`] when the engine is away for too long, [`Error::Closed`] when the manager
    /// is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server, Worker};
    /// use std::time::Duration;
    ///
    /// let builder = Server::builder().queue("tasks").queue("results");
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put_many(&[3, 4])?;
    /// let worker = Worker::new().idle(Duration::from_millis(50));
    /// worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
    /// assert_eq!(client.queue::<u32>("results")?.get_many(2, None)?, [9, 16]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn run<T, R, E>(
        &self,
        client: &Client,
        tasks: &str,
        results: &str,
        work: impl Fn(&T) -> std::result::Result<R, E> + Sync,
    ) -> Result<Worked>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Serialize + DeserializeOwned + Send,
        E: Display,
    {
        let failed = AtomicBool::new(false);
        let one = || {
            let thread = || {
                let thread = WorkerThread {
                    worker: self,
                    tasks: client.queue(tasks)?,
                    results: client.queue(results)?,
                    retry_time: client.0.retry_time(),
                    failed: &failed,
                };
                thread.run(&work)
            };
            // One that fails ends all, for the others would meet the same.
            thread().inspect_err(|_| failed.store(true, SeqCst))
        };
        let mut total = Worked::default();
        thread::scope(|scope| {
            let (mut threads, mut outcome) = (Vec::new(), Ok(()));
            while threads.len() < self.concurrency && !failed.load(SeqCst) {
                match start(scope, one) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        failed.store(true, SeqCst);
                        outcome = Err(error);
                    }
                }
            }
            for thread in threads {
                match thread.join().expect("panics of the work are caught") {
                    Ok(worked) => {
                        total.done += worked.done;
                        total.failed += worked.failed;
                        total.given_back += worked.given_back;
                    }
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            outcome.map(|()| total)
        })
    }
}

/// A thread of a worker.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started = thread::Builder::new().spawn_scoped(scope, work);
    started.map_err(Error::io("start a thread of a worker"))
}
