//! Who submits tasks by name to an engine.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};

use super::engine::{Engine, new_id};
use super::publish::publish_all;
use super::pull::Pull;
use super::task_source::{BACKOFF, BACKOFF_MAX, RETRIES, TIME_LIMIT};
use super::task_streams::{AWAY_MAX, StoredOutcome, TaskStreams, read_outcome};
use crate::backend::Codec;
use crate::backend::tasks::{Outcome, SubmitterBackend};
use crate::{Error, Result, TaskOptions};

/// How many outcomes come at once, if so many are there.
const OUTCOMES_MAX: usize = 256;

pub(super) struct NatsSubmitter {
    engine: Arc<Engine>,
    streams: TaskStreams,
    own: String,
    /// Whether a task was submitted that the server makes one that waits.
    has_delayed: AtomicBool,
    outcomes: Mutex<Outcomes>,
}

struct Outcomes {
    pull: Pull,
    /// When the engine was asked last.
    asked: Instant,
    /// What came together with another.
    ahead: Vec<(String, Outcome)>,
}

impl NatsSubmitter {
    pub(super) fn open(
        engine: &Arc<Engine>,
        queue: &str,
        own: &str,
        retry_time: Duration,
    ) -> Result<NatsSubmitter> {
        let (streams, inbox) = engine.wait(async {
            let (streams, _) = TaskStreams::make(engine, queue, retry_time).await?;
            let inbox = streams.inbox(engine, own).await?;
            Ok::<_, Error>((streams, inbox))
        })?;
        Ok(NatsSubmitter {
            engine: engine.clone(),
            streams,
            own: own.to_string(),
            has_delayed: AtomicBool::new(false),
            outcomes: Mutex::new(Outcomes {
                pull: Pull::new(inbox),
                asked: Instant::now(),
                ahead: Vec::new(),
            }),
        })
    }
}

impl SubmitterBackend for NatsSubmitter {
    fn codec(&self) -> Codec {
        Codec::Json
    }

    /// Who submitted it, and a number.
    fn new_id(&self) -> String {
        format!("{}-{}", self.own, new_id())
    }

    fn submit(&self, calls: Vec<(String, Vec<u8>)>, options: &TaskOptions) -> Result<()> {
        let millis = |time: Duration| time.as_millis().to_string();
        let publication = |(id, call): (String, Vec<u8>)| {
            let mut message = PublishMessage::build()
                .payload(call.into())
                .header(RETRIES, options.retries.to_string().as_str())
                .header(BACKOFF, millis(options.backoff.0).as_str())
                .header(BACKOFF_MAX, millis(options.backoff.1).as_str());
            if let Some(limit) = options.time_limit {
                message = message.header(TIME_LIMIT, millis(limit).as_str());
            }
            let (priority, delay) = (options.priority, options.delay);
            self.streams
                .place(&self.engine, &id, message, priority, delay)
        };
        let publications = calls
            .into_iter()
            .map(publication)
            .collect::<Result<Vec<_>>>()?;
        if !options.delay.is_zero() {
            self.has_delayed.store(true, SeqCst);
        }
        let stored = publish_all(&self.engine, publications, self.streams.retry_time, None);
        self.engine.wait(stored)
    }

    fn outcomes(
        &self,
        timeout: Option<Duration>,
        _pending: &dyn Fn() -> Vec<String>,
    ) -> Result<Vec<(String, Outcome)>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut outcomes = self.outcomes.lock().unwrap();
        if !outcomes.ahead.is_empty() {
            return Ok(mem::take(&mut outcomes.ahead));
        }
        let (engine, streams) = (&self.engine, &self.streams);
        engine.wait(async {
            if outcomes.asked.elapsed() > AWAY_MAX / 2 {
                // It may be forgotten. Made once more, it has all outcomes that are still there.
                outcomes.pull = Pull::new(streams.inbox(engine, &self.own).await?);
            }
            let retry_time = streams.retry_time;
            let taken = outcomes
                .pull
                .take(engine, OUTCOMES_MAX, deadline, retry_time);
            let taken = taken.await;
            outcomes.asked = Instant::now();
            for message in taken? {
                let context = engine.context.clone();
                let message = Message { message, context };
                // One whose word is lost comes again, and is known by its id.
                let _ = message.ack_with(AckKind::Ack).await;
                let outcome = read_outcome(&message.subject, &message.payload);
                outcomes.ahead.push(outcome);
            }
            match outcomes.ahead.is_empty() {
                true => Err(Error::Empty),
                false => Ok(mem::take(&mut outcomes.ahead)),
            }
        })
    }

    fn cancel(&self, id: &str) -> Result<bool> {
        // Any other is no id, and might be a wildcard.
        let is_id =
            |text: &str| !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric());
        if !id
            .split_once('-')
            .is_some_and(|(own, number)| is_id(own) && is_id(number))
        {
            return Ok(false);
        }
        let (engine, streams) = (&self.engine, &self.streams);
        engine.wait(async {
            let is_cancelled = streams.has(engine, id).await?
                && streams
                    .settle(engine, id, &StoredOutcome::CANCELLED)
                    .await?;
            if is_cancelled {
                streams.remove(engine, id).await?;
                let (cancels, id) = (streams.cancels.clone(), id.to_string());
                let _ = engine.client.publish(cancels, id.into()).await;
            }
            Ok(is_cancelled)
        })
    }
}

impl Drop for NatsSubmitter {
    /// What nobody will ask for any more is not kept, unless it tells a worker that a task is cancelled
    /// which the server was making one that waits as it was taken out.
    fn drop(&mut self) {
        let has_delayed = *self.has_delayed.get_mut();
        let leaves = self.streams.leave(&self.engine, &self.own, has_delayed);
        self.engine.wait(leaves);
    }
}

impl fmt::Debug for NatsSubmitter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("NatsSubmitter")
            .field("queue", &self.streams.queue)
            .finish_non_exhaustive()
    }
}
