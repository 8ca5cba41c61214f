//! One thread of a [`Worker`]: it takes tasks, works them off and stores their results.

use std::collections::VecDeque;
use std::fmt::Display;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SLICE, Worked, Worker, start};
use crate::{Error, Lease, Queue, Result, panics};

/// How much work a worker takes at once, and so keeps from others, and how late a result may be.
const AHEAD: Duration = Duration::from_millis(100);

pub(super) struct WorkerThread<'w, T, R> {
    pub(super) worker: &'w Worker,
    pub(super) tasks: Queue<T>,
    pub(super) results: Queue<R>,
    pub(super) retry_time: Duration,
    /// Whether any thread has failed.
    pub(super) failed: &'w AtomicBool,
}

/// What a thread has before it, which its watchdog sees too.
struct TaskBatch<'q, T> {
    ahead: VecDeque<Lease<'q, T>>,
    /// With their results as the queue of these wants them.
    finished: Vec<(Lease<'q, T>, Vec<u8>)>,
    /// How many were asked for that have not been taken yet.
    asked: usize,
    /// How long the work on this batch has taken.
    busy: Duration,
    /// Since when the thread is at the task that it is at.
    begun: Option<Instant>,
    worked: Worked,
    is_left: bool,
}

/// Ends the watchdog of a thread, also when that panics.
struct Leaving<'b, 'q, T>(&'b Mutex<TaskBatch<'q, T>>, &'b Condvar);

impl<T> Drop for Leaving<'_, '_, T> {
    fn drop(&mut self) {
        let batch = self.0.lock();
        batch.unwrap_or_else(PoisonError::into_inner).is_left = true;
        self.1.notify_one();
    }
}

impl<T, R> WorkerThread<'_, T, R>
where
    T: Serialize + DeserializeOwned + Send,
    R: Serialize + DeserializeOwned + Send,
{
    pub(super) fn run<E: Display>(
        &self,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<Worked> {
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
            let watchdog = start(scope, || {
                let watched = self.watch_time(&batch, &left);
                watched.inspect_err(|_| self.failed.store(true, SeqCst))
            })?;
            let leaving = Leaving(&batch, &left);
            let outcome = self.work(&batch, work);
            self.give_back_asked(&batch);
            drop(leaving);
            outcome.and(watchdog.join().expect("it has nothing to panic about"))
        })?;
        Ok(batch.into_inner().unwrap().worked)
    }

    /// Fetches tasks and works them off, until it is time to leave.
    fn work<'q, E: Display>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T>>,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<()> {
        let mut at_once = 1;
        let mut idle_since = Instant::now();
        let mut away_since = None;
        // What came with the results of the tasks before it.
        let mut next = Err(Error::Empty);
        while !self.is_over() {
            let left = self
                .worker
                .idle
                .map_or(SLICE, |idle| idle.saturating_sub(idle_since.elapsed()));
            if left.is_zero() {
                break;
            }
            let (n, taken) = match mem::replace(&mut next, Err(Error::Empty)) {
                Err(Error::Empty) => self.take(batch, at_once, left.min(SLICE)),
                taken => (1, taken),
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
        let left = next.map_or(0, |leases| leases.len());
        batch.lock().unwrap().worked.given_back += left as u64;
        Ok(())
    }

    /// Takes tasks, `at_once` if none were asked for; returns how many it has tried to take.
    fn take<'q>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T>>,
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

    /// Works off the batch. The inner result is what came with the end of it: `Empty` if nothing did.
    fn work_off<'q, E: Display>(
        &'q self,
        batch: &Mutex<TaskBatch<'q, T>>,
        work: impl Fn(&T) -> std::result::Result<R, E>,
    ) -> Result<Result<Vec<Lease<'q, T>>>> {
        let (mut stored, codec) = (Instant::now(), self.results.backend.codec());
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
                self.store(batch, finished)?;
                stored = Instant::now();
            }
            // Where we were frozen for too long, others have had what we took.
            if !lease.begin()? {
                continue;
            }
            let begun = Instant::now();
            batch.lock().unwrap().begun = Some(begun);
            // All of it that is not ours, with what it drops: it may panic, and has no lock.
            let call = || match work(&lease.item) {
                Ok(result) => codec.encode(&result).map_err(|error| why_unstored(&error)),
                Err(error) => Err(error.to_string()),
            };
            let outcome = panics::caught(call);
            let mut batch = batch.lock().unwrap();
            batch.begun = None;
            batch.busy += begun.elapsed();
            let reason = match outcome {
                Ok(Ok(result)) => {
                    batch.finished.push((lease, result));
                    continue;
                }
                Ok(Err(reason)) => reason,
                Err(text) => format!("the worker panicked: {text}"),
            };
            batch.worked.failed += 1;
            drop(batch);
            lease.fail(&reason)?;
        }
        let mut finished = batch.lock().unwrap().take_finished();
        match finished.pop() {
            Some((mut lease, result)) if finished.is_empty() && !self.is_over() => {
                let put = self.tasks.put_and_take(&self.results, &mut lease, result);
                let (put, next) = match put {
                    Ok(next) => (Ok(true), next),
                    Err(error) => (Err(error), Err(Error::Empty)),
                };
                self.end(batch, lease, put).map(|()| next)
            }
            last => {
                finished.extend(last);
                self.store(batch, finished)?;
                Ok(Err(Error::Empty))
            }
        }
    }

    /// Sees to it that nothing waits for a task that takes long: neither the tasks behind it, which
    /// others may do, nor the results before it.
    fn watch_time<'q>(&'q self, batch: &Mutex<TaskBatch<'q, T>>, left: &Condvar) -> Result<()> {
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
                self.store(batch, finished)?;
            }
        }
    }

    /// Gives back what was asked for and not taken yet.
    fn give_back_asked<'q>(&'q self, batch: &Mutex<TaskBatch<'q, T>>) {
        let asked = mem::take(&mut batch.lock().unwrap().asked);
        if asked > 0
            && let Ok(leases) = self.tasks.take_many(asked, Some(Duration::ZERO), None)
        {
            batch.lock().unwrap().worked.given_back += leases.len() as u64;
        }
    }

    /// Puts results, and ends their tasks.
    fn store(
        &self,
        batch: &Mutex<TaskBatch<'_, T>>,
        finished: Vec<(Lease<'_, T>, Vec<u8>)>,
    ) -> Result<()> {
        if finished.len() > 1 {
            let coded = finished.iter();
            let coded = coded.map(|(lease, result)| (lease.id().map(String::from), result.clone()));
            match self.results.backend.put_results(coded.collect()) {
                Ok(()) => {
                    let mut leases = finished.into_iter();
                    return leases.try_for_each(|(lease, _)| self.end(batch, lease, Ok(true)));
                }
                // One by one it shows which is refused. Those that are stored are known by their ids.
                Err(error) if error.refuses_item() => {}
                Err(error) => return Err(error),
            }
        }
        for (mut lease, result) in finished {
            let put = lease.put_result(&self.results, result);
            self.end(batch, lease, put)?;
        }
        Ok(())
    }

    /// Ends a task whose result was put, or, if the server refuses that, says so: no other worker
    /// would be luckier with it.
    fn end(
        &self,
        batch: &Mutex<TaskBatch<'_, T>>,
        lease: Lease<'_, T>,
        put: Result<bool>,
    ) -> Result<()> {
        match put {
            Ok(_) => {
                // One whose lease was over is with another.
                let _ = lease.done();
                Ok(())
            }
            Err(error) if error.refuses_item() => {
                let worked = &mut batch.lock().unwrap().worked;
                (worked.done, worked.failed) = (worked.done - 1, worked.failed + 1);
                lease.fail(&why_unstored(&error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Why a task has failed whose function has not.
fn why_unstored(error: &Error) -> String {
    format!("its result: {error}")
}

impl<'q, T> TaskBatch<'q, T> {
    fn refill(&mut self, leases: Vec<Lease<'q, T>>) {
        self.ahead = leases.into();
        self.busy = Duration::ZERO;
    }

    /// What has not been begun. Dropped, it goes back.
    fn take_ahead(&mut self) -> VecDeque<Lease<'q, T>> {
        self.worked.given_back += self.ahead.len() as u64;
        mem::take(&mut self.ahead)
    }

    fn take_finished(&mut self) -> Vec<(Lease<'q, T>, Vec<u8>)> {
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
