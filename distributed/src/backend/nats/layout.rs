//! The streams of a queue, and the names that any client of NATS needs to join in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::engine::{self, Engine};
use crate::{Error, QueueOptions, Result};

/// The consumer that all workers of a queue share.
pub(super) const CONSUMER: &str = "workers";
/// How the name of a queue ends that has the dead letters of another.
pub(super) const DEAD: &str = ".dead";
/// The header of a result: the id of its item, so that it counts once however often the item was
/// worked off.
pub(super) const RESULT_OF: &str = "Result-Of";
/// The headers of a dead letter.
pub(super) const REASON: &str = "Reason";
pub(super) const DELIVERIES: &str = "Deliveries";

/// How long the engine remembers ids, to store nothing twice. Each costs it some 300 bytes of memory
/// for so long.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// How long a dead letter is kept.
const DEAD_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long it is known that the work on an item was begun.
const ATTEMPTS_AGE: Duration = DEAD_AGE;
/// More than the workers that one server serves have out and waiting.
pub(super) const IN_FLIGHT_MAX: i64 = 1 << 17;
pub(super) const WAITING_MAX: i64 = 1 << 14;

/// What the stream's description says for us; a server of 2.9 keeps no metadata.
#[derive(Deserialize, Serialize)]
struct Description {
    /// Of the layout, for programs of another time.
    version: u32,
    redeliver: bool,
    max_deliveries: u32,
}

const VERSION: u32 = 1;

/// A queue that is there.
pub(super) struct Found {
    pub(super) consumer: PullConsumer,
    pub(super) options: QueueOptions,
    pub(super) info: Info,
}

/// The stream and the subject of a queue.
pub(super) fn names(engine: &Engine, queue: &str) -> Result<(String, String)> {
    match queue.strip_suffix(DEAD) {
        Some(name) => names_of(engine, "dead", name, queue),
        None => names_of(engine, "queue", queue, queue),
    }
}

/// The stream that has a message for each time that the work on an item was begun, and the subject
/// above those of the items.
pub(super) fn names_of_attempts(engine: &Engine, queue: &str) -> Result<(String, String)> {
    names_of(engine, "starts", queue, queue)
}

/// The stream of a kind, and the subject that it has or is above those that it has.
pub(super) fn names_of(
    engine: &Engine,
    kind: &str,
    name: &str,
    queue: &str,
) -> Result<(String, String)> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    if name.is_empty() || !name.chars().all(plain) {
        let reason = "a name has only A-Z a-z 0-9 _ and -, and may end in .dead";
        return Err(engine.error(&format!("use the queue `{queue}`"), reason));
    }
    let namespace = &engine.address.namespace;
    Ok((
        format!("{namespace}-{kind}-{name}"),
        format!("{namespace}.{kind}.{name}"),
    ))
}

/// Makes the streams of a queue, the queue itself last, and their consumers.
pub(super) async fn create(
    engine: &Engine,
    options: &QueueOptions,
    retry_time: Duration,
) -> Result<()> {
    let (stream, subject) = names_of_attempts(engine, &options.name)?;
    let attempts = Config {
        name: stream,
        subjects: vec![format!("{subject}.*")],
        retention: RetentionPolicy::Limits,
        max_age: ATTEMPTS_AGE,
        ..config(options)
    };
    put_stream(engine, &options.name, &attempts, retry_time).await?;
    let dead = QueueOptions {
        name: format!("{}{DEAD}", options.name),
        maxsize: 0,
        redeliver: false,
        // Whoever reads dead letters may do so as often as need be.
        max_deliveries: 0,
        ..options.clone()
    };
    make(engine, &dead, DEAD_AGE, retry_time).await?;
    make(engine, options, Duration::ZERO, retry_time).await
}

async fn make(
    engine: &Engine,
    options: &QueueOptions,
    max_age: Duration,
    retry_time: Duration,
) -> Result<()> {
    let queue = options.name.as_str();
    let attempt = creation(queue);
    let (stream, subject) = names(engine, queue)?;
    let items = Config {
        name: stream.clone(),
        subjects: vec![subject],
        max_messages: match options.maxsize {
            0 => -1,
            maxsize => i64::try_from(maxsize).unwrap_or(i64::MAX),
        },
        max_age,
        duplicate_window: DUPLICATE_WINDOW,
        ..config(options)
    };
    put_stream(engine, queue, &items, retry_time).await?;
    let consumer = pull::Config {
        durable_name: Some(CONSUMER.to_string()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: options.lease,
        // A message beyond the server's limit would stay in the stream and not be seen again.
        max_deliver: -1,
        max_ack_pending: IN_FLIGHT_MAX,
        max_waiting: WAITING_MAX,
        ..pull::Config::default()
    };
    put_consumer(engine, &attempt, &stream, consumer, retry_time)
        .await
        .map(drop)
}

/// Makes a consumer, or finds one that is there like that.
pub(super) async fn put_consumer(
    engine: &Engine,
    attempt: &str,
    stream: &str,
    consumer: pull::Config,
    retry_time: Duration,
) -> Result<PullConsumer> {
    let start = Instant::now();
    loop {
        let context = &engine.context;
        match context
            .create_consumer_on_stream(consumer.clone(), stream)
            .await
        {
            Ok(consumer) => return Ok(consumer),
            Err(error) if start.elapsed() > retry_time => {
                return Err(engine.error(attempt, error));
            }
            Err(error) => match error.kind() {
                jetstream::stream::ConsumerErrorKind::JetStream(refusal)
                    if !engine::is_passing(refusal.error_code()) =>
                {
                    return Err(engine.error(attempt, refusal));
                }
                _ => sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

fn creation(queue: &str) -> String {
    format!("create the queue `{queue}`")
}

/// What all streams of a queue have in common.
pub(super) fn config(options: &QueueOptions) -> Config {
    let description = Description {
        version: VERSION,
        redeliver: options.redeliver,
        max_deliveries: options.max_deliveries,
    };
    let description = serde_json::to_string(&description).expect("it is plain data");
    Config {
        description: Some(description),
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: options.replicas,
        ..Config::default()
    }
}

/// Makes a stream, or makes one of ours that is there like that.
pub(super) async fn put_stream(
    engine: &Engine,
    queue: &str,
    config: &Config,
    retry_time: Duration,
) -> Result<()> {
    let attempt = creation(queue);
    let stream = &config.name;
    let path = format!("STREAM.INFO.{stream}");
    let kind = match ask::<Info>(engine, &attempt, path, &(), retry_time).await? {
        Ok(info) => {
            described(engine, queue, &info, config.retention)?;
            "UPDATE"
        }
        Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => "CREATE",
        Err(error) => return Err(engine.error(&attempt, error)),
    };
    let path = format!("STREAM.{kind}.{stream}");
    let made = ask::<Info>(engine, &attempt, path, config, retry_time).await?;
    let info = answered(engine, &attempt, made)?;
    described(engine, queue, &info, config.retention).map(|_| ())
}

/// Finds the stream and the consumer of a queue.
pub(super) async fn find(engine: &Engine, queue: &str, retry_time: Duration) -> Result<Found> {
    let (stream, _) = names(engine, queue)?;
    let attempt = format!("open the queue `{queue}`");
    let missing = || Error::NoQueue {
        name: queue.to_string(),
        said: format!(
            "no stream {stream} at {}: a master makes it",
            engine.address
        ),
    };
    let path = format!("STREAM.INFO.{stream}");
    let info = match ask::<Info>(engine, &attempt, path, &(), retry_time).await? {
        Ok(info) => info,
        Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return Err(missing()),
        Err(error) => return Err(engine.error(&attempt, error)),
    };
    let description = described(engine, queue, &info, RetentionPolicy::WorkQueue)?;
    let start = Instant::now();
    let asked = format!("$JS.API.CONSUMER.INFO.{stream}.{CONSUMER}");
    let consumer: PullConsumer = loop {
        let found = engine.context.get_consumer_from_stream(CONSUMER, &stream);
        match found.await {
            Ok(consumer) => break consumer,
            Err(error) => match error.kind() {
                jetstream::stream::ConsumerErrorKind::JetStream(refusal)
                    if refusal.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
                {
                    return Err(missing());
                }
                _ if engine.permission_errors.has(&asked, start)
                    || start.elapsed() > retry_time =>
                {
                    return Err(engine.error(&attempt, error));
                }
                _ => sleep(Duration::from_millis(100)).await,
            },
        }
    };
    let options = QueueOptions {
        maxsize: usize::try_from(info.config.max_messages).unwrap_or(0),
        redeliver: description.redeliver,
        max_deliveries: description.max_deliveries,
        lease: consumer.cached_info().config.ack_wait,
        replicas: info.config.num_replicas,
        ..QueueOptions::new(queue)
    };
    Ok(Found {
        consumer,
        options,
        info,
    })
}

/// Empties a queue.
pub(super) async fn purge(engine: &Engine, queue: &str, retry_time: Duration) -> Result<u64> {
    let (stream, _) = names(engine, queue)?;
    let attempt = format!("empty the queue `{queue}`");
    find(engine, queue, retry_time).await?;
    let path = format!("STREAM.PURGE.{stream}");
    let purged = ask::<Purged>(engine, &attempt, path, &(), retry_time).await?;
    answered(engine, &attempt, purged).map(|answer| answer.purged)
}

/// What a stream answers that was emptied.
#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// What the stream says of itself; an error for one that another program has made.
fn described(
    engine: &Engine,
    queue: &str,
    info: &Info,
    retention: RetentionPolicy,
) -> Result<Description> {
    let text = info.config.description.as_deref().unwrap_or_default();
    let description = serde_json::from_str::<Description>(text).ok();
    match description {
        Some(description)
            if description.version == VERSION && info.config.retention == retention =>
        {
            Ok(description)
        }
        _ => {
            let reason = format!(
                "the stream {} is there with another layout: remove it, or keep apart from it by a \
                 path in the URL, as in {}/mine",
                info.config.name, engine.address
            );
            Err(engine.error(&format!("use the queue `{queue}`"), reason))
        }
    }
}

type Answer<V> = std::result::Result<V, jetstream::Error>;

/// Asks the server, again and again while nobody can answer for it.
pub(super) async fn ask<V: DeserializeOwned>(
    engine: &Engine,
    attempt: &str,
    path: String,
    request: &impl Serialize,
    retry_time: Duration,
) -> Result<Answer<V>> {
    let start = Instant::now();
    loop {
        let reason = match engine.context.request(path.clone(), request).await {
            Ok(Response::Ok(value)) => return Ok(Ok(value)),
            Ok(Response::Err { error }) if !engine::is_passing(error.error_code()) => {
                return Ok(Err(error));
            }
            Ok(Response::Err { error }) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let is_forbidden = engine
            .permission_errors
            .has(&format!("$JS.API.{path}"), start);
        if is_forbidden || start.elapsed() > retry_time {
            return Err(engine.error(attempt, reason));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// How many messages a stream has of a subject, which may have wildcards.
pub(super) async fn count(
    engine: &Engine,
    attempt: &str,
    stream: &str,
    subject: &str,
    retry_time: Duration,
) -> Result<u32> {
    let path = format!("STREAM.INFO.{stream}");
    let request = serde_json::json!({ "subjects_filter": subject });
    let counted = ask::<SubjectCounts>(engine, attempt, path, &request, retry_time).await?;
    let subjects = answered(engine, attempt, counted)?.state.subjects;
    Ok(subjects.unwrap_or_default().values().sum())
}

/// The part of a stream's description that counts the messages of some subjects.
#[derive(Deserialize)]
struct SubjectCounts {
    state: SubjectState,
}

#[derive(Deserialize)]
struct SubjectState {
    subjects: Option<BTreeMap<String, u32>>,
}

pub(super) fn answered<V>(engine: &Engine, attempt: &str, answer: Answer<V>) -> Result<V> {
    answer.map_err(|error| engine.error(attempt, error))
}
