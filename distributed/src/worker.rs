use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{mem, thread};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Lease, Queue, Result};

mod functions;
#[cfg(feature = "processes")]
mod processes;

use functions::Functions;
pub use functions::TaskContext;

/// How long a worker waits for a task before it looks whether it shall stop.
const SLICE: Duration = Duration::from_secs(1);
/// How much work a worker takes at once, and so keeps from others, and how late a result may be.
const AHEAD: Duration = Duration::from_millis(100);

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

    /// Works until it is stopped or idle for too long. A task whose work fails is tried again later,
    /// after a pause that grows from 1 s to 5 minutes, and is a dead letter in the end, with what
    /// the work said ([`Client::dead_letters`]). On a manager of this crate this holds for every
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
                let thread = Thread {
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
            let threads: Vec<_> = (0..self.concurrency).map(|_| scope.spawn(one)).collect();
            let mut outcome = Ok(());
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

struct Thread<'w, T, R> {
    worker: &'w Worker,
    tasks: Queue<T>,
    results: Queue<R>,
    retry_time: Duration,
    /// Whether any thread has failed.
    failed: &'w AtomicBool,
}

/// What a thread has before it, which its watchdog sees too.
struct TaskBatch<'q, T, R> {
    ahead: VecDeque<Lease<'q, T>>,
    finished: Vec<(Lease<'q, T>, R)>,
    /// How many were asked for that have not been taken yet.
    asked: usize,
    /// How long the work on this batch has taken.
    busy: Duration,
    /// Since when the thread is at the task that it is at.
    begun: Option<Instant>,
    worked: Worked,
    is_left: bool,
}

impl<T, R> Thread<'_, T, R>
where
    T: Serialize + DeserializeOwned + Send,
    R: Serialize + DeserializeOwned + Send,
{
    fn run<E: Display>(&self, work: impl Fn(&T) -> std::result::Result<R, E>) -> Result<Worked> {
        let batch = Mutex::new(TaskBatch {
            ahead: VecDeque::new(),
            finished: Vec::new(),
            asked: 0,
            busy: Duration::ZERO,
            begun: None,
            worked: Worked::default(),
            is_left: false,
        });
        let left = Condvar::new();
        thread::scope(|scope| {
            let watchdog = scope.spawn(|| {
                let watched = self.watch_time(&batch, &left);
                watched.inspect_err(|_| self.failed.store(true, SeqCst))
            });
            let outcome = self.work(&batch, work);
            self.give_back_asked(&batch);
            batch.lock().unwrap().is_left = true;
            left.notify_one();
            outcome.and(watchdog.join().expect("it has nothing to panic about"))
        })?;
        Ok(batch.into_inner().unwrap().worked)
    }

    /// Fetches tasks and works them off, until it is time to leave.
    fn work<'q, E: Display>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T, R>>,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<()> {
        let mut at_once = 1;
        let mut idle_since = Instant::now();
        let mut away_since = None;
        let mut next = None;
        while !self.is_over() {
            let left = self
                .worker
                .idle
                .map_or(SLICE, |idle| idle.saturating_sub(idle_since.elapsed()));
            if left.is_zero() {
                break;
            }
            let (n, taken) = match next.take() {
                Some(taken) => (1, taken),
                None => self.take(batch, at_once, left.min(SLICE)),
            };
            match taken {
                Ok(leases) => {
                    let taken = leases.len();
                    let all = taken == n;
                    batch.lock().unwrap().refill(leases);
                    if all && n > 1 && at_once > 1 && self.tasks.ask_ahead(at_once) {
                        batch.lock().unwrap().asked = at_once;
                    }
                    next = self.work_off(batch, &work)?;
                    let busy = batch.lock().unwrap().busy;
                    at_once = next_batch(at_once, taken, all, busy).min(self.worker.prefetch);
                    (idle_since, away_since) = (Instant::now(), None);
                }
                Err(Error::Empty) => (at_once, away_since) = (1, None),
                // There may be tasks, which nobody can know.
                Err(Error::Engine { .. })
                    if away_since.get_or_insert_with(Instant::now).elapsed() < self.retry_time =>
                {
                    (at_once, idle_since) = (1, Instant::now());
                }
                // It comes again, for a worker that knows its type.
                Err(Error::Json { .. } | Error::Item { .. }) => {
                    batch.lock().unwrap().worked.failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
        // Dropped, they go back.
        let left = next.map_or(0, |taken| taken.map_or(0, |leases| leases.len()));
        batch.lock().unwrap().worked.given_back += left as u64;
        Ok(())
    }

    /// Takes tasks, `at_once` if none were asked for; returns how many it has tried to take.
    fn take<'q>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T, R>>,
        at_once: usize,
        wait: Duration,
    ) -> (usize, Result<Vec<Lease<'q, T>>>) {
        let n = match mem::take(&mut batch.lock().unwrap().asked) {
            0 => at_once,
            asked => asked,
        };
        let taken = self.tasks.take_many(n, Some(wait), self.worker.time_limit);
        (n, taken)
    }

    fn is_over(&self) -> bool {
        self.worker.stop.load(SeqCst) || self.failed.load(SeqCst)
    }

    /// Works off the batch, and returns what came with the end of it.
    fn work_off<'q, E: Display>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T, R>>,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<Option<Result<Vec<Lease<'q, T>>>>> {
        let mut stored = Instant::now();
        loop {
            if self.is_over() {
                let ahead = batch.lock().unwrap().take_ahead();
                drop(ahead);
            }
            let Some(lease) = batch.lock().unwrap().ahead.pop_front() else {
                break;
            };
            // What is done is safe before one is begun that may be what a worker died of.
            if stored.elapsed() > AHEAD || lease.is_suspect() {
                let finished = batch.lock().unwrap().take_finished();
                self.store(finished)?;
                stored = Instant::now();
            }
            // Where we were frozen for too long, others have had what we took.
            if !lease.begin()? {
                continue;
            }
            let begun = Instant::now();
            batch.lock().unwrap().begun = Some(begun);
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&lease.item)));
            let mut batch = batch.lock().unwrap();
            batch.begun = None;
            batch.busy += begun.elapsed();
            let reason = match outcome {
                Ok(Ok(result)) => {
                    batch.finished.push((lease, result));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("the worker panicked: {}", text(panic.as_ref())),
            };
            batch.worked.failed += 1;
            drop(batch);
            lease.fail(&reason)?;
        }
        let mut finished = batch.lock().unwrap().take_finished();
        match finished.pop() {
            Some(one) if finished.is_empty() && !self.is_over() => {
                let taken = self.tasks.finish_and_take(&self.results, one)?;
                Ok((!matches!(taken, Err(Error::Empty))).then_some(taken))
            }
            last => {
                finished.extend(last);
                self.store(finished).map(|()| None)
            }
        }
    }

    /// Sees to it that nothing waits for a task that takes long: neither the tasks behind it, which
    /// others may do, nor the results before it.
    fn watch_time<'q>(&'q self, batch: &Mutex<TaskBatch<'q, T, R>>, left: &Condvar) -> Result<()> {
        loop {
            let guard = batch.lock().unwrap();
            let waited = left.wait_timeout_while(guard, AHEAD, |batch| !batch.is_left);
            let (mut guard, _) = waited.unwrap();
            if guard.is_left {
                return Ok(());
            }
            if guard.begun.is_some_and(|begun| begun.elapsed() > AHEAD) {
                let (ahead, finished) = (guard.take_ahead(), guard.take_finished());
                drop(guard);
                drop(ahead);
                self.give_back_asked(batch);
                self.store(finished)?;
            }
        }
    }

    /// Gives back what was asked for and not taken yet.
    fn give_back_asked<'q>(&'q self, batch: &Mutex<TaskBatch<'q, T, R>>) {
        let asked = mem::take(&mut batch.lock().unwrap().asked);
        if asked > 0
            && let Ok(leases) = self.tasks.take_many(asked, Some(Duration::ZERO), None)
        {
            batch.lock().unwrap().worked.given_back += leases.len() as u64;
        }
    }

    /// Puts results, and ends their tasks.
    fn store(&self, finished: Vec<(Lease<'_, T>, R)>) -> Result<()> {
        if !finished.is_empty() {
            self.tasks.finish(&self.results, finished)?;
        }
        Ok(())
    }
}

impl<'q, T, R> TaskBatch<'q, T, R> {
    fn refill(&mut self, leases: Vec<Lease<'q, T>>) {
        self.ahead = leases.into();
        self.busy = Duration::ZERO;
    }

    /// What has not been begun. Dropped, it goes back.
    fn take_ahead(&mut self) -> VecDeque<Lease<'q, T>> {
        self.worked.given_back += self.ahead.len() as u64;
        mem::take(&mut self.ahead)
    }

    fn take_finished(&mut self) -> Vec<(Lease<'q, T>, R)> {
        self.worked.done += self.finished.len() as u64;
        mem::take(&mut self.finished)
    }
}

/// How many to fetch next: as many as take no longer than [`AHEAD`] together, by those that were
/// worked on, and at most twice as many as before.
fn next_batch(at_once: usize, taken: usize, all: bool, busy: Duration) -> usize {
    let fitting = taken as f64 * AHEAD.as_secs_f64() / busy.as_secs_f64();
    let most = if all { 2 * at_once } else { at_once };
    // Those that took no time at all fit in any number.
    (fitting as usize).clamp(1, most)
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
