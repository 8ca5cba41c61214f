use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{mem, thread};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Queue, Result};

/// How long a worker waits for a task before it looks whether it shall stop.
const SLICE: Duration = Duration::from_secs(1);
/// How much work a worker takes at once, and so keeps from others, and how late a result may be.
const AHEAD: Duration = Duration::from_millis(100);

/// Takes tasks from one queue and puts their results in another, in several threads.
///
/// A task is acknowledged after its result is stored, so a worker that is killed loses none: on an
/// engine another worker has its tasks when their leases end, and on a manager, if the queue
/// redelivers, at once. Work may so be done twice, and its result counts once: on an engine by the
/// id of the task, and on a manager because a task ends with its result, in one step.
///
/// On an engine, short tasks are fetched several at a time, but never more than some 100 ms of work, so that none
/// waits behind a long one while other workers have nothing to do.
#[derive(Clone, Debug)]
pub struct Worker {
    concurrency: usize,
    prefetch: usize,
    idle: Option<Duration>,
    time_limit: Option<Duration>,
    stop: Arc<AtomicBool>,
}

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worked {
    /// Tasks whose results are stored.
    pub done: u64,
    /// Times that the work on a task failed or panicked.
    pub failed: u64,
    /// Tasks that were given back untouched at the end.
    pub given_back: u64,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker::new()
    }
}

impl Worker {
    /// A worker of one thread that fetches up to 32 tasks at a time and never leaves.
    pub fn new() -> Worker {
        Worker {
            concurrency: 1,
            prefetch: 32,
            idle: None,
            time_limit: None,
            stop: Arc::default(),
        }
    }

    /// How many tasks are worked on at the same time, at least 1.
    pub fn concurrency(mut self, threads: usize) -> Worker {
        self.concurrency = threads.max(1);
        self
    }

    /// The most tasks that one thread fetches at a time, at least 1; from a manager always 1.
    pub fn prefetch(mut self, tasks: usize) -> Worker {
        self.prefetch = tasks.max(1);
        self
    }

    /// How long there may be no task before the worker leaves.
    pub fn idle(mut self, time: Duration) -> Worker {
        self.idle = Some(time);
        self
    }

    /// On an engine, how long a task may take before it is given to another worker too.
    pub fn time_limit(mut self, time: Duration) -> Worker {
        self.time_limit = Some(time);
        self
    }

    /// What makes the worker stop when it is set, as a signal handler may do: it finishes what it
    /// is at, gives back the rest, and leaves.
    pub fn stop(mut self, stop: Arc<AtomicBool>) -> Worker {
        self.stop = stop;
        self
    }

    /// Works until it is stopped or idle for too long. A task whose work fails is tried again
    /// later, and is a dead letter in the end.
    ///
    /// # Errors
    ///
    /// The first of a thread: those of opening queues, and [`Error::Engine`] when the engine is
    /// away for too long, [`Error::Closed`] when the manager is gone.
    pub fn run<T, R, E>(
        &self,
        client: &Client,
        tasks: &str,
        results: &str,
        work: impl Fn(&T) -> std::result::Result<R, E> + Sync,
    ) -> Result<Worked>
    where
        T: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        E: Display,
    {
        let failed = AtomicBool::new(false);
        let one = || {
            let thread = || {
                let thread = Thread {
                    worker: self,
                    tasks: client.queue(tasks)?,
                    results: client.queue(results)?,
                    failed: &failed,
                    worked: Worked::default(),
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
    /// Whether any thread has failed.
    failed: &'w AtomicBool,
    worked: Worked,
}

impl<T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> Thread<'_, T, R> {
    fn run<E: Display>(mut self, work: impl Fn(&T) -> std::result::Result<R, E>) -> Result<Worked> {
        let mut at_once = 1;
        let mut idle_since = Instant::now();
        while !self.is_over() {
            let left = self
                .worker
                .idle
                .map_or(SLICE, |idle| idle.saturating_sub(idle_since.elapsed()));
            if left.is_zero() {
                break;
            }
            match self.batch(at_once, left.min(SLICE), &work) {
                Ok((number, took)) => {
                    let all = number == at_once;
                    at_once = next_batch(at_once, all, took).min(self.worker.prefetch);
                    idle_since = Instant::now();
                }
                Err(Error::Empty) => at_once = 1,
                // It comes again, for a worker that knows its type.
                Err(Error::Json { .. } | Error::Item { .. }) => self.worked.failed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(self.worked)
    }

    fn is_over(&self) -> bool {
        self.worker.stop.load(SeqCst) || self.failed.load(SeqCst)
    }

    /// Works off up to so many tasks; how many they were, and how long they took.
    fn batch<E: Display>(
        &mut self,
        at_once: usize,
        wait: Duration,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<(usize, Duration)> {
        let limit = self.worker.time_limit;
        let leases = self.tasks.take_many(at_once, Some(wait), limit)?;
        let (number, start) = (leases.len(), Instant::now());
        let mut finished = Vec::with_capacity(number);
        let mut finished_since = start;
        for lease in leases {
            if self.is_over() {
                self.worked.given_back += 1;
                continue;
            }
            // What is done is safe before one is begun that may be what a worker died of.
            if finished_since.elapsed() > AHEAD || lease.is_suspect() {
                self.worked.done += finished.len() as u64;
                self.tasks.finish(&self.results, mem::take(&mut finished))?;
                finished_since = Instant::now();
            }
            // Where we were frozen for too long, others have had what we took.
            if !lease.begin()? {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| work(&lease.item))) {
                Ok(Ok(result)) => finished.push((lease, result)),
                Ok(Err(error)) => {
                    self.worked.failed += 1;
                    lease.fail(&error.to_string())?;
                }
                Err(panic) => {
                    self.worked.failed += 1;
                    lease.fail(&format!("the worker panicked: {}", text(panic.as_ref())))?;
                }
            }
        }
        self.worked.done += finished.len() as u64;
        self.tasks.finish(&self.results, finished)?;
        Ok((number, start.elapsed()))
    }
}

/// How many to fetch next: as many as take no longer than [`AHEAD`] together.
fn next_batch(at_once: usize, all: bool, took: Duration) -> usize {
    if took > AHEAD {
        let share = at_once as f64 * AHEAD.as_secs_f64() / took.as_secs_f64();
        (share as usize).max(1)
    } else if all && took < AHEAD / 2 {
        2 * at_once
    } else {
        at_once
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
