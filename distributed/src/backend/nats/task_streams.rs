//! The streams of tasks by name, beside those of their queue.
//!
//! `tasks` has a subject for each task, `….high.ID` or of another priority, with a consumer for each
//! priority, and `….later.ID` for one that is delayed, of which the server makes the other when its
//! time has come. A task stays there until it has its outcome. `outcomes` has a subject for each task
//! too, which takes one message: so a task is done, failed or cancelled, and never two of these.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::engine::{Engine, new_id};
use super::layout::{self, DUPLICATE_WINDOW, Found, IN_FLIGHT_MAX, WAITING_MAX};
use super::publish::{Publication, publish_all};
use super::task_source::DUE;
use crate::backend::tasks::Outcome;
use crate::{Error, Priority, Result};

/// How long an outcome is kept.
const OUTCOME_AGE: Duration = Duration::from_secs(24 * 3600);
/// After how long without a word that it came an outcome is sent again: it was on its way when a server
/// died. That word is said at once, and may have far to go.
const OUTCOME_LEASE: Duration = Duration::from_secs(3);
/// After how long without a request the engine forgets that a submitter waits for outcomes.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(3600);
/// How much before its time the server makes a delayed task one that waits: it makes many of them at
/// once, every 250 ms. The worker that gets it early gives it back until its time.
pub(super) const LEAD: Duration = Duration::from_millis(300);
/// The oldest server that delays messages.
const DELAYS: (u64, u64) = (2, 12);

/// Where the tasks by name of a queue are.
#[derive(Clone, Debug)]
pub(super) struct TaskStreams {
    pub(super) queue: String,
    tasks: String,
    tasks_subject: String,
    outcomes: String,
    outcomes_subject: String,
    /// Where workers are told of tasks that are cancelled; stored nowhere.
    pub(super) cancels: String,
    pub(super) retry_time: Duration,
    /// How long a worker has a task without a sign of life.
    pub(super) lease: Duration,
    /// The version of a server that delays no messages.
    no_delays: Option<String>,
}

impl TaskStreams {
    /// Finds the queue.
    async fn find(
        engine: &Engine,
        queue: &str,
        retry_time: Duration,
    ) -> Result<(TaskStreams, Found)> {
        let (tasks, tasks_subject) = layout::names_of(engine, "tasks", queue, queue)?;
        let (outcomes, outcomes_subject) = layout::names_of(engine, "outcomes", queue, queue)?;
        let (_, cancels) = layout::names_of(engine, "cancels", queue, queue)?;
        let found = layout::find(engine, queue, retry_time).await?;
        let is_old = engine.version() < DELAYS;
        let streams = TaskStreams {
            queue: queue.to_string(),
            tasks,
            tasks_subject,
            outcomes,
            outcomes_subject,
            cancels,
            retry_time,
            lease: found.options.lease,
            no_delays: is_old.then(|| engine.client.server_info().version),
        };
        Ok((streams, found))
    }

    /// Makes the streams, or gives them the rules of their queue if they are there. With the consumers of
    /// the tasks, the most urgent first.
    pub(super) async fn make(
        engine: &Engine,
        queue: &str,
        retry_time: Duration,
    ) -> Result<(TaskStreams, Vec<PullConsumer>)> {
        let (streams, found) = TaskStreams::find(engine, queue, retry_time).await?;
        let tasks = Config {
            name: streams.tasks.clone(),
            subjects: vec![format!("{}.*.*", streams.tasks_subject)],
            duplicate_window: DUPLICATE_WINDOW,
            // The server delays nothing under another policy. Without a limit, none is discarded.
            discard: DiscardPolicy::Old,
            allow_message_schedules: streams.no_delays.is_none(),
            ..layout::config(&found.options)
        };
        let outcomes = Config {
            name: streams.outcomes.clone(),
            subjects: vec![format!("{}.*.*", streams.outcomes_subject)],
            retention: RetentionPolicy::Limits,
            max_messages_per_subject: 1,
            discard_new_per_subject: true,
            max_age: OUTCOME_AGE,
            duplicate_window: DUPLICATE_WINDOW,
            ..layout::config(&found.options)
        };
        for config in [tasks, outcomes] {
            layout::put_stream(engine, queue, &config, retry_time).await?;
        }
        let mut consumers = Vec::new();
        for priority in Priority::ALL.into_iter().rev() {
            let consumer = pull::Config {
                durable_name: Some(consumer_name(priority).to_string()),
                filter_subject: format!("{}.{}.*", streams.tasks_subject, consumer_name(priority)),
                ack_policy: AckPolicy::Explicit,
                ack_wait: streams.lease,
                max_deliver: -1,
                max_ack_pending: IN_FLIGHT_MAX,
                max_waiting: WAITING_MAX,
                ..pull::Config::default()
            };
            let made = streams.put_consumer(engine, consumer, &streams.tasks);
            consumers.push(made.await?);
        }
        Ok((streams, consumers))
    }

    /// The streams, and the consumers of the tasks, the most urgent first. Whoever comes first makes
    /// them.
    pub(super) async fn consumers(
        engine: &Engine,
        queue: &str,
        retry_time: Duration,
    ) -> Result<(TaskStreams, Vec<PullConsumer>)> {
        let (found, _) = TaskStreams::find(engine, queue, retry_time).await?;
        if let Ok(consumers) = found.open(engine).await {
            return Ok((found, consumers));
        }
        TaskStreams::make(engine, queue, retry_time).await
    }

    async fn open(&self, engine: &Engine) -> Result<Vec<PullConsumer>> {
        let mut consumers = Vec::new();
        for priority in Priority::ALL.into_iter().rev() {
            let context = &engine.context;
            let found = context.get_consumer_from_stream(consumer_name(priority), &self.tasks);
            let found = found.await;
            consumers.push(found.map_err(|error| engine.error(&self.opening(), error))?);
        }
        Ok(consumers)
    }

    /// A consumer of the outcomes of one submitter.
    pub(super) async fn inbox(&self, engine: &Engine, own: &str) -> Result<PullConsumer> {
        let consumer = pull::Config {
            durable_name: Some(own.to_string()),
            filter_subject: format!("{}.{own}.*", self.outcomes_subject),
            ack_policy: AckPolicy::Explicit,
            ack_wait: OUTCOME_LEASE,
            inactive_threshold: AWAY_MAX,
            ..pull::Config::default()
        };
        self.put_consumer(engine, consumer, &self.outcomes).await
    }

    async fn put_consumer(
        &self,
        engine: &Engine,
        consumer: pull::Config,
        stream: &str,
    ) -> Result<PullConsumer> {
        layout::put_consumer(engine, &self.opening(), stream, consumer, self.retry_time).await
    }

    fn opening(&self) -> String {
        format!("open the tasks by name of the queue `{}`", self.queue)
    }

    /// Ends what `inbox` made, with the outcomes unless they are to be kept for their time.
    pub(super) async fn leave(&self, engine: &Engine, own: &str, keeps_outcomes: bool) {
        let context = &engine.context;
        let path = format!("CONSUMER.DELETE.{}.{own}", self.outcomes);
        let _ = context.request::<_, _, serde_json::Value>(path, &()).await;
        if !keeps_outcomes {
            let subject = format!("{}.{own}.*", self.outcomes_subject);
            let _ = self.purge(engine, &self.outcomes, subject).await;
        }
    }

    /// Deletes what a stream has of a subject.
    async fn purge(&self, engine: &Engine, stream: &str, subject: String) -> Result<()> {
        let request = serde_json::json!({ "filter": subject });
        let attempt = format!("take tasks out of the queue `{}`", self.queue);
        let path = format!("STREAM.PURGE.{stream}");
        let purged =
            layout::ask::<serde_json::Value>(engine, &attempt, path, &request, self.retry_time);
        layout::answered(engine, &attempt, purged.await?).map(drop)
    }

    /// Where and how a task is stored that is to run after a delay, if there is one.
    pub(super) fn place(
        &self,
        engine: &Engine,
        id: &str,
        message: PublishMessage,
        priority: Priority,
        delay: Duration,
    ) -> Result<Publication> {
        let subject = format!("{}.{}.{id}", self.tasks_subject, consumer_name(priority));
        let message = message.message_id(id);
        if delay.is_zero() {
            return Ok(Publication { subject, message });
        }
        if let Some(version) = &self.no_delays {
            let attempt = format!("delay a task of the queue `{}`", self.queue);
            let (major, minor) = DELAYS;
            let reason =
                format!("the server is version {version}, delays need {major}.{minor} or newer");
            return Err(engine.error(&attempt, reason));
        }
        let due = SystemTime::now().checked_add(delay);
        let at = due.map(|due| OffsetDateTime::from(due - LEAD));
        let at = at.and_then(|at| at.format(&Rfc3339).ok());
        let (Some(due), Some(at)) = (due, at) else {
            let attempt = format!("delay a task of the queue `{}`", self.queue);
            return Err(engine.error(&attempt, format!("no clock goes as far as {delay:?}")));
        };
        let message = message.header(DUE, millis_of(due).to_string().as_str());
        if delay <= LEAD {
            return Ok(Publication { subject, message });
        }
        Ok(Publication {
            message: message
                .header(NATS_SCHEDULE, format!("@at {at}").as_str())
                .header(NATS_SCHEDULE_TARGET, subject.as_str()),
            subject: format!("{}.later.{id}", self.tasks_subject),
        })
    }

    /// Whether a task waits, is delayed, or is out.
    pub(super) async fn has(&self, engine: &Engine, id: &str) -> Result<bool> {
        let attempt = format!("look for a task of the queue `{}`", self.queue);
        let subject = format!("{}.*.{id}", self.tasks_subject);
        let count = layout::count(engine, &attempt, &self.tasks, &subject, self.retry_time);
        Ok(count.await? > 0)
    }

    /// Takes a task out, wherever it is.
    pub(super) async fn remove(&self, engine: &Engine, id: &str) -> Result<()> {
        let subject = format!("{}.*.{id}", self.tasks_subject);
        self.purge(engine, &self.tasks, subject).await
    }

    /// Stores the outcome of a task. False when it has one.
    pub(super) async fn settle(
        &self,
        engine: &Engine,
        id: &str,
        outcome: &StoredOutcome<'_>,
    ) -> Result<bool> {
        let outcome = serde_json::to_vec(outcome).expect("it is plain data");
        let publication = Publication {
            subject: self.outcome(id),
            // One that is sent again, since no word of it came, is the same.
            message: PublishMessage::build()
                .payload(outcome.into())
                .message_id(new_id()),
        };
        match publish_all(engine, vec![publication], self.retry_time, None).await {
            Ok(()) => Ok(true),
            Err(Error::Full) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a task has its outcome.
    pub(super) async fn is_settled(&self, engine: &Engine, id: &str) -> Result<bool> {
        let request = serde_json::json!({ "last_by_subj": self.outcome(id) });
        let attempt = format!(
            "ask for the outcome of a task of the queue `{}`",
            self.queue
        );
        let path = format!("STREAM.MSG.GET.{}", self.outcomes);
        let asked =
            layout::ask::<serde_json::Value>(engine, &attempt, path, &request, self.retry_time);
        match asked.await? {
            Ok(_) => Ok(true),
            Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(false),
            Err(error) => Err(engine.error(&attempt, error)),
        }
    }

    /// The subject of a task's outcome, below that of its submitter.
    fn outcome(&self, id: &str) -> String {
        format!("{}.{}", self.outcomes_subject, id.replacen('-', ".", 1))
    }
}

/// What became of a task, as it is stored.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredOutcome<'a> {
    state: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

impl<'a> StoredOutcome<'a> {
    pub(super) const CANCELLED: StoredOutcome<'static> = StoredOutcome {
        state: "cancelled",
        result: None,
        error: None,
        tries: None,
        worker: None,
    };

    pub(super) fn done(result: &'a RawValue) -> StoredOutcome<'a> {
        StoredOutcome {
            state: "done",
            result: Some(result),
            ..StoredOutcome::CANCELLED
        }
    }

    pub(super) fn failed(reason: &str, tries: u32, worker: Option<&str>) -> StoredOutcome<'a> {
        StoredOutcome {
            state: "failed",
            error: Some(reason.to_string()),
            tries: Some(tries),
            worker: worker.map(str::to_string),
            ..StoredOutcome::CANCELLED
        }
    }
}

/// Reads an outcome, and the id of its task out of its subject.
pub(super) fn read_outcome(subject: &str, payload: &[u8]) -> (String, Outcome) {
    let mut words = subject.rsplit('.');
    let (number, own) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let outcome = match serde_json::from_slice::<StoredOutcome>(payload) {
        Ok(stored) if stored.state == "done" => {
            Outcome::Done(stored.result.map_or("null", RawValue::get).into())
        }
        Ok(stored) if stored.state == "failed" => Outcome::Failed {
            tries: stored.tries.unwrap_or(0),
            reason: stored.error.unwrap_or_default(),
            worker: stored.worker,
        },
        Ok(_) => Outcome::Cancelled,
        // A worker in another language has written it. To who happens to read it is nothing to tell.
        Err(error) => Outcome::Unreadable(format!("the outcome of a task: {error}")),
    };
    (format!("{own}-{number}"), outcome)
}

/// A time of day as a header has it: full milliseconds since 1970, and none too few.
fn millis_of(time: SystemTime) -> u128 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().div_ceil(1000)
}

/// A priority, as the subject of its tasks and their consumer are named.
pub(super) fn consumer_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_no_json_is_that_of_its_own_task() {
        let odd = br#"{"state": "done", "result": Infinity}"#;
        let (id, outcome) = read_outcome("tm.outcomes.tasks.aa.01", odd);
        assert_eq!(id, "aa-01");
        assert!(matches!(outcome, Outcome::Unreadable(_)), "{outcome:?}");
    }
}
