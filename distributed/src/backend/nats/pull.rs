//! Fetching items: requests that the server keeps until it has an item or their time is up.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout_at};

use super::engine::Engine;
use super::layout::CONSUMER;
use crate::{Error, Result};

/// How long the server keeps a request. Where a node of a cluster dies, a request may be lost with
/// it, and is made again after this.
const SLICE: Duration = Duration::from_secs(5);
/// How much later we give a request up ourselves.
const GRACE: Duration = Duration::from_secs(1);

/// What comes of one request.
enum End {
    /// The server has answered in full.
    Answered,
    /// There may be no answer any more.
    Lost,
    /// Too many ask at the same time.
    Busy,
}

/// The requests for items of one queue, which share a subscription: an item that comes late is
/// the next one's.
pub(super) struct Pull {
    consumer: PullConsumer,
    answers: Option<Answers>,
    number: u64,
    /// What was forbidden before concerns other handles.
    since: Instant,
}

struct Answers {
    inbox: String,
    subscriber: Subscriber,
}

impl Pull {
    pub(super) fn new(consumer: PullConsumer) -> Pull {
        Pull {
            consumer,
            answers: None,
            number: 0,
            since: Instant::now(),
        }
    }

    /// Takes those that are there, up to `n`, or else the first that comes until `deadline`. An
    /// engine that does not answer is an error then, and after `patience`.
    pub(super) async fn take(
        &mut self,
        engine: &Engine,
        n: usize,
        deadline: Option<Instant>,
        patience: Duration,
    ) -> Result<Vec<async_nats::Message>> {
        let mut is_first = true;
        let mut lost_since = None;
        loop {
            let now = Instant::now();
            self.check_acknowledgements(engine)?;
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(now));
            // Several are taken as they are there; then one is waited for.
            let look = is_first && (n > 1 || left.is_zero());
            if left.is_zero() && !look {
                return Err(Error::Empty);
            }
            let (n, wait) = match look {
                true => (n, Duration::ZERO),
                false => (1, left.min(SLICE)),
            };
            let mut messages = Vec::new();
            let end = self.request(engine, n, wait, &mut messages).await?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            match end {
                End::Answered => (is_first, lost_since) = (false, None),
                End::Busy if left.is_zero() => return Err(Error::Empty),
                End::Busy => sleep(Duration::from_millis(100)).await,
                End::Lost => {
                    self.answers = None;
                    let next = self.subject("$JS.API.CONSUMER.MSG.NEXT");
                    let is_over = engine.permission_errors.has(&next, now)
                        || deadline.is_some_and(|deadline| deadline <= Instant::now());
                    if is_over || lost_since.get_or_insert(now).elapsed() > patience {
                        let reason = "no answer to a request for an item";
                        return Err(engine.error("get an item", reason));
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Who may not acknowledge would be given the same items for ever.
    fn check_acknowledgements(&self, engine: &Engine) -> Result<()> {
        match engine
            .permission_errors
            .has(&self.subject("$JS.ACK"), self.since)
        {
            true => Err(engine.error("get an item", "those before may not be acknowledged")),
            false => Ok(()),
        }
    }

    fn subject(&self, call: &str) -> String {
        let stream = &self.consumer.cached_info().stream_name;
        format!("{call}.{stream}.{CONSUMER}")
    }

    async fn request(
        &mut self,
        engine: &Engine,
        n: usize,
        wait: Duration,
        messages: &mut Vec<async_nats::Message>,
    ) -> Result<End> {
        let mut connections = engine.connections.clone();
        connections.mark_unchanged();
        self.number += 1;
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => none.insert(Answers::subscribe(engine).await?),
        };
        let reply = format!("{}.{}", answers.inbox, self.number);
        let config = BatchConfig {
            batch: n,
            expires: (!wait.is_zero()).then_some(wait),
            no_wait: wait.is_zero(),
            ..BatchConfig::default()
        };
        let asked = self.consumer.request_batch(config, reply.as_str().into());
        if let Err(error) = asked.await {
            return Err(engine.error("get an item", error));
        }
        let give_up = tokio::time::Instant::now() + wait + GRACE;
        while messages.len() < n {
            let answer = tokio::select! {
                biased;
                answer = timeout_at(give_up, answers.subscriber.next()) => answer,
                // Whoever waits on a server that was restarted waits in vain.
                _ = connections.changed() => return Ok(End::Lost),
            };
            let Ok(Some(message)) = answer else {
                return Ok(End::Lost);
            };
            match message.status {
                None | Some(StatusCode::OK) => messages.push(message),
                // The end of an earlier request.
                Some(_) if message.subject.as_str() != reply => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(End::Answered),
                Some(StatusCode::NO_RESPONDERS) => return Ok(End::Lost),
                Some(_) => return Ok(End::Busy),
            }
        }
        Ok(End::Answered)
    }
}

impl Answers {
    async fn subscribe(engine: &Engine) -> Result<Answers> {
        let inbox = engine.client.new_inbox();
        let subscribed = engine.client.subscribe(format!("{inbox}.*")).await;
        let subscriber = subscribed.map_err(|error| engine.error("get an item", error))?;
        Ok(Answers { inbox, subscriber })
    }
}
