//! Fetching items: requests that the server keeps until it has an item or their time is up.
//!
//! A request has a number, to which the server tells its end; items come to the same inbox with no
//! word of the request that they answer. So an item that is late is taken for an answer to the next
//! request, which is right, and the end of an earlier request is told from that of this one by its
//! number.

use std::mem;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use super::engine::Engine;
use crate::{Error, Result, random};

/// How long the server keeps a request that is not answered.
const SLICE: Duration = Duration::from_secs(30);
/// How often it says that it still has one. A request is lost with the node that had it, of which
/// nobody is told where that was cut off: its silence tells.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How much later than it is due a word of the server may come.
const GRACE: Duration = Duration::from_secs(2);
/// The pauses after requests that nobody took grow from the first to the second: a cluster that
/// looks for a leader says so at once to whoever asks.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

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
    /// A request that nobody waits for yet.
    ahead: Option<PendingPull>,
    /// What was forbidden before concerns other handles.
    since: Instant,
}

/// A request on its way.
#[derive(Clone)]
struct PendingPull {
    /// Where its end is told.
    reply: String,
    n: usize,
    asked: tokio::time::Instant,
    /// After how long without a word of the server it is lost.
    silence: Duration,
    /// Of the time when it was sent.
    connections: watch::Receiver<u64>,
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
            ahead: None,
            since: Instant::now(),
        }
    }

    /// Asks for up to `n` of those that are there; the next [`take`](Pull::take) has them.
    pub(super) async fn ask_ahead(&mut self, engine: &Engine, n: usize) -> Result<()> {
        if self.ahead.is_none() {
            self.ahead = Some(self.ask(engine, n, Duration::ZERO).await?);
        }
        Ok(())
    }

    /// Takes those that are there, up to `n`, or else the first that comes until `deadline`; first of
    /// all those that were asked for ahead, however many. An engine that does not answer is an error
    /// at the deadline, and after `retry_time`.
    pub(super) async fn take(
        &mut self,
        engine: &Engine,
        n: usize,
        deadline: Option<Instant>,
        retry_time: Duration,
    ) -> Result<Vec<async_nats::Message>> {
        let mut is_first = true;
        let mut lost_since = None;
        let mut pause = PAUSES[0];
        loop {
            let now = Instant::now();
            self.check_acknowledgements(engine)?;
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(now));
            // Several are taken as they are there; then one is waited for. A request for several
            // that waits ends only when all of them are there, or its time is up.
            let look = is_first && (n > 1 || left.is_zero());
            let mut request = match self.ahead.take() {
                Some(request) => request,
                None if look => self.ask(engine, n, Duration::ZERO).await?,
                None if left.is_zero() => return Err(Error::Empty),
                None => self.ask(engine, 1, left.min(SLICE)).await?,
            };
            let mut messages = Vec::new();
            let end = self.collect(&mut request, &mut messages).await;
            if !messages.is_empty() {
                return Ok(messages);
            }
            match end {
                End::Answered => (is_first, lost_since, pause) = (false, None, PAUSES[0]),
                End::Busy if left.is_zero() => return Err(Error::Empty),
                End::Busy => sleep(Duration::from_millis(100)).await,
                End::Lost => {
                    // In a new inbox nothing is late. What was on its way to the old one is ours
                    // until its lease ends, and is another's then.
                    self.answers = None;
                    let next = self.subject("$JS.API.CONSUMER.MSG.NEXT");
                    let is_over = engine.permission_errors.has(&next, now)
                        || deadline.is_some_and(|deadline| deadline <= Instant::now());
                    if is_over || lost_since.get_or_insert(now).elapsed() > retry_time {
                        let reason = "no answer to a request for an item";
                        return Err(engine.error("get an item", reason));
                    }
                    sleep(random::jitter(pause)).await;
                    pause = (2 * pause).min(PAUSES[1]);
                }
            }
        }
    }

    /// Asks for one that is there or comes in so long; [`answer`](Pull::answer) has it.
    pub(super) async fn ask_for_one(&mut self, engine: &Engine, wait: Duration) -> Result<()> {
        self.ahead = Some(self.ask(engine, 1, wait).await?);
        Ok(())
    }

    /// What comes of what was asked for. Dropped, it loses nothing: another call waits on.
    pub(super) async fn answer(&mut self) -> Option<async_nats::Message> {
        let mut request = self.ahead.clone()?;
        let mut messages = Vec::new();
        let end = self.collect(&mut request, &mut messages).await;
        match end {
            End::Answered => {}
            End::Busy => sleep(Duration::from_millis(100)).await,
            End::Lost => self.answers = None,
        }
        self.ahead = None;
        messages.pop()
    }

    /// Whether an answer may come still.
    pub(super) fn is_asked(&self) -> bool {
        self.ahead.is_some()
    }

    /// One with requests of its own, in the place of this one.
    pub(super) fn replace(&mut self) -> Pull {
        let new = Pull::new(self.consumer.clone());
        mem::replace(self, new)
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
        let info = self.consumer.cached_info();
        format!("{call}.{}.{}", info.stream_name, info.name)
    }

    /// Sends a request, which the server keeps for so long.
    async fn ask(&mut self, engine: &Engine, n: usize, wait: Duration) -> Result<PendingPull> {
        let mut connections = engine.connections.clone();
        connections.mark_unchanged();
        self.number += 1;
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => none.insert(Answers::subscribe(engine).await?),
        };
        let reply = format!("{}.{}", answers.inbox, self.number);
        // The server refuses one that is longer than half of the request.
        let heartbeat = (wait >= 2 * HEARTBEAT).then_some(HEARTBEAT);
        let config = BatchConfig {
            batch: n,
            expires: (!wait.is_zero()).then_some(wait),
            no_wait: wait.is_zero(),
            idle_heartbeat: heartbeat.unwrap_or_default(),
            ..BatchConfig::default()
        };
        let asked = self.consumer.request_batch(config, reply.as_str().into());
        if let Err(error) = asked.await {
            return Err(engine.error("get an item", error));
        }
        Ok(PendingPull {
            reply,
            n,
            asked: tokio::time::Instant::now(),
            silence: heartbeat.unwrap_or(wait) + GRACE,
            connections,
        })
    }

    /// Waits for the answers to a request.
    async fn collect(
        &mut self,
        request: &mut PendingPull,
        messages: &mut Vec<async_nats::Message>,
    ) -> End {
        let Some(answers) = &mut self.answers else {
            return End::Lost;
        };
        let mut give_up = request.asked + request.silence;
        while messages.len() < request.n {
            let answer = tokio::select! {
                biased;
                answer = timeout_at(give_up, answers.subscriber.next()) => answer,
                // The server that had the request is not the one that we are connected to.
                _ = request.connections.changed() => return End::Lost,
            };
            let Ok(Some(message)) = answer else {
                return End::Lost;
            };
            give_up = tokio::time::Instant::now() + request.silence;
            match message.status {
                None | Some(StatusCode::OK) => messages.push(message),
                // The end of an earlier request.
                Some(_) if message.subject.as_str() != request.reply => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return End::Answered,
                Some(StatusCode::NO_RESPONDERS) => return End::Lost,
                Some(_) => return End::Busy,
            }
        }
        End::Answered
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
