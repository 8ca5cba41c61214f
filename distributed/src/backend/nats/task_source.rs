//! Who runs tasks by name from an engine.
//!
//! A worker asks for one task at a time, so that its deliveries are its tries: one that was killed, or
//! frozen for longer than a lease, has used a try up, and needed no word for it. What comes beside the
//! task that is taken goes back with a note that it was not begun.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::Subscriber;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::attempts;
use super::engine::Engine;
use super::leases::Leases;
use super::pull::Pull;
use super::queue::{header, number};
use super::task_streams::{LEAD, StoredOutcome, TaskStreams};
use crate::backend::tasks::{CancelledTask, ReadTask, TaskHead, TaskLease, TaskSource};
use crate::backend::{Codec, Encoded};
use crate::{Error, Result, random};

/// The headers of a task: how often it is tried again, and times in milliseconds.
pub(super) const RETRIES: &str = "Retries";
pub(super) const BACKOFF: &str = "Backoff";
pub(super) const BACKOFF_MAX: &str = "Backoff-Max";
pub(super) const TIME_LIMIT: &str = "Time-Limit";
/// When a delayed task may begin, in milliseconds since 1970.
pub(super) const DUE: &str = "Due";

/// So often a delayed task is given back until its time, and no more: a worker whose clock is behind
/// begins it later by this many times the lead, and not when its clock says so.
const EARLY_MAX: u32 = 3;

/// The shortest time for which a task is waited for.
const LEAST_WAIT: Duration = Duration::from_millis(1);
/// The pause after an engine did not answer.
const AWAY_PAUSE: Duration = Duration::from_millis(200);

/// Why a task failed that was begun often enough, and whose workers said nothing.
const UNFINISHED: &str = "it was handed out as often as it may be, and not finished";

pub(super) struct NatsTaskSource {
    shared: Arc<TaskEnds>,
    /// One for each priority, the most urgent first.
    pulls: Mutex<Vec<Pull>>,
    /// Tells of tasks that are cancelled, once somebody has asked.
    cancels: Mutex<Option<Subscriber>>,
}

/// What the end of a task needs, in whichever thread it comes.
struct TaskEnds {
    engine: Arc<Engine>,
    streams: TaskStreams,
    worker: String,
    leases: Leases,
}

/// A task that is out.
struct TakenTask {
    id: String,
    /// Of its lease.
    number: u64,
    tries: u32,
    retries: u32,
    backoff: (Duration, Duration),
    time_limit: Option<Duration>,
}

struct NatsTaskLease {
    shared: Arc<TaskEnds>,
    /// None once it has ended, which its time limit may bring about as well.
    task: Arc<Mutex<Option<TakenTask>>>,
    timer: Option<AbortHandle>,
}

impl NatsTaskSource {
    pub(super) fn open(
        engine: &Arc<Engine>,
        queue: &str,
        worker: &str,
        retry_time: Duration,
    ) -> Result<NatsTaskSource> {
        let opened = TaskStreams::consumers(engine, queue, retry_time);
        let (streams, consumers) = engine.wait(opened)?;
        Ok(NatsTaskSource {
            shared: Arc::new(TaskEnds {
                leases: Leases::new(engine, streams.lease),
                engine: engine.clone(),
                streams,
                worker: worker.to_string(),
            }),
            pulls: Mutex::new(consumers.into_iter().map(Pull::new).collect()),
            cancels: Mutex::default(),
        })
    }

    /// The next message of a task: the most urgent one that is there, or else the first that comes.
    async fn next(&self, pulls: &mut [Pull], deadline: Instant) -> Result<async_nats::Message> {
        let shared = &self.shared;
        let (engine, retry_time) = (&shared.engine, shared.streams.retry_time);
        for pull in pulls.iter_mut() {
            match pull.take(engine, 1, Some(Instant::now()), retry_time).await {
                Ok(mut messages) => return messages.pop().ok_or(Error::Empty),
                Err(Error::Empty) => {}
                Err(error) => return Err(error),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        for pull in pulls.iter_mut() {
            pull.ask_for_one(engine, left.max(LEAST_WAIT)).await?;
        }
        let mut answers: FuturesUnordered<_> = pulls.iter_mut().map(Pull::answer).collect();
        let mut came = None;
        while came.is_none()
            && let Some(answer) = answers.next().await
        {
            came = answer;
        }
        drop(answers);
        // Nobody can take back what was asked for without losing what is on its way.
        for pull in pulls.iter_mut().filter(|pull| pull.is_asked()) {
            let mut late = pull.replace();
            let shared = shared.clone();
            engine.runtime().spawn(async move {
                if let Some(message) = late.answer().await {
                    let context = shared.engine.context.clone();
                    let message = Message { message, context };
                    shared.give_back_untouched(&message).await;
                }
            });
        }
        came.ok_or(Error::Empty)
    }

    /// The task of a message, unless it has its outcome.
    async fn receive(
        &self,
        message: async_nats::Message,
    ) -> Result<Option<(Arc<Message>, TakenTask)>> {
        let shared = &self.shared;
        let (engine, streams) = (&shared.engine, &shared.streams);
        let context = engine.context.clone();
        let message = Arc::new(Message { message, context });
        let delivered = match message.info() {
            Ok(info) => u32::try_from(info.delivered).unwrap_or(u32::MAX),
            Err(error) => return Err(engine.error("get a task", error)),
        };
        if delivered <= EARLY_MAX && time_left(&message).is_some() {
            shared.give_back_untouched(&message).await;
            return Ok(None);
        }
        let id = id_of(&message);
        let key = number(&id);
        let count = |name| header(&message, name).and_then(|text| text.parse::<u64>().ok());
        let millis = |name| count(name).map(Duration::from_millis);
        let mut task = TakenTask {
            number: shared.leases.hold(message.clone(), key, None),
            tries: delivered,
            retries: count(RETRIES).map_or(2, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            backoff: (
                millis(BACKOFF).unwrap_or(random::BACKOFF.0),
                millis(BACKOFF_MAX).unwrap_or(random::BACKOFF.1),
            ),
            time_limit: millis(TIME_LIMIT),
            id,
        };
        // A delayed task that was cancelled while the server was making it one that waits comes all the
        // same, for the first time.
        if delivered > 1 || header(&message, DUE).is_some() {
            let (queue, retry_time) = (&streams.queue, streams.retry_time);
            let (is_settled, noted) = tokio::try_join!(
                streams.is_settled(engine, &task.id),
                attempts::count(engine, queue, key, retry_time),
            )?;
            if is_settled {
                shared.acknowledge(task.number, AckKind::Ack).await;
                return Ok(None);
            }
            task.tries = delivered.saturating_sub(noted - 1).max(1);
        }
        if task.tries > task.retries.saturating_add(1) {
            task.tries -= 1;
            shared.settle_failed(task, UNFINISHED, None).await?;
            return Ok(None);
        }
        Ok(Some((message, task)))
    }
}

impl TaskSource for NatsTaskSource {
    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn take(&self, timeout: Duration, read: ReadTask) -> Result<Box<dyn TaskLease + '_>> {
        let deadline = Instant::now() + timeout;
        let mut pulls = self.pulls.lock().unwrap();
        let (message, task) = self.shared.engine.wait(async {
            loop {
                let next = self.next(&mut pulls, deadline).await;
                if let Err(Error::Engine { .. }) = next {
                    sleep(random::jitter(AWAY_PAUSE)).await;
                }
                if let Some(taken) = self.receive(next?).await? {
                    return Ok::<_, Error>(taken);
                }
            }
        })?;
        let head = TaskHead {
            id: task.id.clone(),
            attempt: task.tries,
        };
        let lease = NatsTaskLease {
            shared: self.shared.clone(),
            task: Arc::new(Mutex::new(Some(task))),
            timer: None,
        };
        read(head, &Encoded::Json(&message.payload));
        Ok(Box::new(lease))
    }

    fn cancelled(&self, time: Duration) -> Result<Vec<CancelledTask>> {
        let engine = &self.shared.engine;
        let mut cancels = self.cancels.lock().unwrap();
        engine.wait(async {
            let cancels = match &mut *cancels {
                Some(cancels) => cancels,
                none => {
                    let subject = self.shared.streams.cancels.clone();
                    let subscribed = engine.client.subscribe(subject).await;
                    let failed = |error| engine.error("listen for cancelled tasks", error);
                    none.insert(subscribed.map_err(failed)?)
                }
            };
            let next = timeout(time, cancels.next()).await.ok().flatten();
            let task = |message: async_nats::Message| CancelledTask {
                id: String::from_utf8_lossy(&message.payload).into(),
                attempt: None,
            };
            Ok(next.map(task).into_iter().collect())
        })
    }
}

impl TaskEnds {
    async fn acknowledge(&self, number: u64, kind: AckKind) {
        if let Some((message, _)) = self.leases.end(number) {
            // A word that is lost leaves the task to the end of its lease.
            let _ = message.ack_with(kind).await;
        }
    }

    /// Gives back what came and was not begun, which is no try, until its time.
    async fn give_back_untouched(&self, message: &Message) {
        let (queue, key) = (&self.streams.queue, number(&id_of(message)));
        // Without the note it counts as a try, and without the word it waits for its lease.
        let _ = attempts::note(&self.engine, queue, key, self.streams.retry_time).await;
        let _ = message.ack_with(AckKind::Nak(time_left(message))).await;
    }

    async fn settle_failed(
        &self,
        task: TakenTask,
        reason: &str,
        worker: Option<&str>,
    ) -> Result<()> {
        let failed = StoredOutcome::failed(reason, task.tries, worker);
        // The outcome is stored before the task ends: a crash between the two leaves both, and the
        // next worker sees that it has its outcome.
        self.streams.settle(&self.engine, &task.id, &failed).await?;
        self.acknowledge(task.number, AckKind::Term).await;
        Ok(())
    }

    async fn fail(&self, task: TakenTask, reason: &str) -> Result<()> {
        if task.tries > task.retries {
            return self.settle_failed(task, reason, Some(&self.worker)).await;
        }
        let pause = random::backoff(task.backoff.0, task.backoff.1, task.tries);
        self.acknowledge(task.number, AckKind::Nak(Some(pause)))
            .await;
        Ok(())
    }
}

impl TaskLease for NatsTaskLease {
    fn watch_time(&mut self, is_over: &Arc<AtomicBool>) {
        let limit = self
            .task
            .lock()
            .unwrap()
            .as_ref()
            .and_then(|task| task.time_limit);
        let Some(limit) = limit else {
            return;
        };
        let (shared, task) = (self.shared.clone(), self.task.clone());
        let is_over = is_over.clone();
        let runtime = self.shared.engine.runtime();
        let timer = runtime.spawn(async move {
            sleep(limit).await;
            let task = task.lock().unwrap().take();
            if let Some(task) = task {
                is_over.store(true, SeqCst);
                let reason = format!("it took longer than its time limit of {limit:?}");
                if let Err(error) = shared.fail(task, &reason).await {
                    tracing::warn!(%error, "a task over its time limit stays until its lease ends");
                }
            }
        });
        self.timer = Some(timer.abort_handle());
    }

    fn finish(self: Box<Self>, result: Vec<u8>) -> Result<bool> {
        let Some(task) = self.end() else {
            return Ok(false);
        };
        let shared = &self.shared;
        let result = serde_json::from_slice::<&RawValue>(&result);
        let result = result.map_err(|error| Error::Protocol(format!("a result: {error}")))?;
        shared.engine.wait(async {
            let done = StoredOutcome::done(result);
            match shared.streams.settle(&shared.engine, &task.id, &done).await {
                Ok(is_first) => {
                    shared.acknowledge(task.number, AckKind::Ack).await;
                    Ok(is_first)
                }
                // No other worker would be luckier with it.
                Err(error @ Error::TooLong(_)) => {
                    let reason = format!("its result: {error}");
                    shared.fail(task, &reason).await.map(|()| false)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn fail(self: Box<Self>, reason: &str) -> Result<()> {
        match self.end() {
            Some(task) => self.shared.engine.wait(self.shared.fail(task, reason)),
            None => Ok(()),
        }
    }
}

impl NatsTaskLease {
    /// What is to be ended, unless its time limit has ended it.
    fn end(&self) -> Option<TakenTask> {
        let task = self.task.lock().unwrap().take()?;
        if let Some(timer) = &self.timer {
            timer.abort();
        }
        Some(task)
    }
}

impl Drop for NatsTaskLease {
    fn drop(&mut self) {
        if let Some(task) = self.end() {
            let given_back = self.shared.acknowledge(task.number, AckKind::Nak(None));
            self.shared.engine.wait(given_back);
        }
    }
}

impl fmt::Debug for NatsTaskLease {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("NatsTaskLease").finish_non_exhaustive()
    }
}

impl fmt::Debug for NatsTaskSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("NatsTaskSource")
            .field("queue", &self.shared.streams.queue)
            .finish_non_exhaustive()
    }
}

/// How long it is until the time of a delayed task: no longer than the server may be early.
fn time_left(message: &Message) -> Option<Duration> {
    let due = header(message, DUE)?.parse().ok()?;
    let due = UNIX_EPOCH.checked_add(Duration::from_millis(due))?;
    let left = due.duration_since(SystemTime::now()).ok()?;
    Some(left.min(LEAD)).filter(|left| !left.is_zero())
}

/// The id of a task is the last word of its subject.
fn id_of(message: &Message) -> String {
    message
        .subject
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_string()
}
