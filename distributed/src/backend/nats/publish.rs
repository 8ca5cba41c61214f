//! Publishing: acknowledged, and again under the same id until it is.

use std::error::Error as _;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::engine::{self, Engine};
use crate::{Error, Result, random};

/// How many messages may be under way; a client of NATS stands still far above.
const WINDOW: usize = 256;
/// The pauses between attempts grow from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// What is to be stored, and where.
pub(super) struct Publication {
    pub(super) subject: String,
    pub(super) message: PublishMessage,
}

/// Whether another attempt may succeed.
enum Refusal {
    /// Once others have taken items.
    Full,
    /// Once the engine is there again.
    Away(String),
    /// None will.
    Final(Error),
}

/// Publishes all, several at a time. When it returns, all are stored; `Full` after `room`, if the
/// stream has none until then.
///
/// A message is stored when the engine has said so, and not before: as many nodes have it then as
/// the stream has replicas. If that word does not come, nobody knows whether it was stored. So each
/// message has an id and is sent again under it: the engine stores the second one only if it has
/// lost the first, for as long as it remembers ids.
pub(super) async fn publish_all(
    engine: &Engine,
    publications: Vec<Publication>,
    retry_time: Duration,
    room: Option<Instant>,
) -> Result<()> {
    let mut publications = publications.into_iter().peekable();
    while publications.peek().is_some() {
        // What the server forbids it says apart, at some time after this.
        let sent_at = Instant::now();
        let mut under_way = Vec::new();
        for publication in publications.by_ref().take(WINDOW) {
            // Sent in order; only the answers are waited for together.
            let sent = send(engine, &publication).await;
            under_way.push(async move { (publication, confirm(engine, sent).await) });
        }
        // All of a window are answered before the next one begins, so that one that has to be sent
        // again is behind no more than a window. Those are sent one after the other: a full stream
        // has room for them one by one.
        for (publication, refused) in join_all(under_way).await {
            if let Err(refusal) = refused {
                again(engine, &publication, sent_at, retry_time, room, refusal).await?;
            }
        }
    }
    Ok(())
}

type Sent = std::result::Result<jetstream::context::PublishAckFuture, PublishError>;

async fn send(engine: &Engine, publication: &Publication) -> Sent {
    let message = publication.message.clone();
    let subject = publication.subject.clone();
    engine.context.send_publish(subject, message).await
}

async fn confirm(engine: &Engine, sent: Sent) -> std::result::Result<(), Refusal> {
    let stored = match sent {
        Ok(sent) => sent.await.map(|_| ()),
        Err(error) => Err(error),
    };
    stored.map_err(|error| refusal(engine, &error))
}

/// Tries until it is stored: the id in the message sees to it that it is not so twice.
async fn again(
    engine: &Engine,
    publication: &Publication,
    sent_at: Instant,
    retry_time: Duration,
    room: Option<Instant>,
    mut refusal: Refusal,
) -> Result<()> {
    let start = Instant::now();
    let mut pause = PAUSES[0];
    loop {
        match refusal {
            Refusal::Full if room.is_some_and(|room| Instant::now() + pause > room) => {
                return Err(Error::Full);
            }
            Refusal::Away(reason)
                if engine.permission_errors.has(&publication.subject, sent_at) =>
            {
                return Err(engine.error("put an item", reason));
            }
            Refusal::Away(reason) if start.elapsed() > retry_time => {
                return Err(engine.error("put an item", unstored(engine, reason)));
            }
            Refusal::Final(error) => return Err(error),
            Refusal::Full | Refusal::Away(_) => {}
        }
        // Clients that were refused together come back at different moments.
        sleep(random::jitter(pause)).await;
        pause = (2 * pause).min(PAUSES[1]);
        match confirm(engine, send(engine, publication).await).await {
            Ok(()) => return Ok(()),
            Err(again) => refusal = again,
        }
    }
}

/// What is known of why nobody has stored it. A node that loses its network is left within seconds,
/// so whoever is connected is so to one that answers; and one whose disk is full does not say so to
/// those who put.
fn unstored(engine: &Engine, reason: String) -> String {
    match engine.client.connection_state() {
        State::Connected => format!(
            "{reason}; the server answers, but the item is not stored: its cluster has lost most of \
             its nodes, or, if its disk is full, which its log says, make room and start it again"
        ),
        _ => format!("{reason}; no server answers: see whether they run and can be reached"),
    }
}

fn refusal(engine: &Engine, error: &PublishError) -> Refusal {
    match error.kind() {
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => Refusal::Away(error.to_string()),
        PublishErrorKind::MaxPayloadExceeded => Refusal::Final(Error::TooLong(error.to_string())),
        _ => {
            let text = error.to_string();
            let source = error.source();
            let code = source
                .and_then(|source| source.downcast_ref::<jetstream::Error>())
                .map(|error| error.error_code());
            match code {
                _ if text.contains("maximum messages exceeded") => Refusal::Full,
                // Of a subject that takes one, nobody makes room.
                _ if text.contains("maximum messages per subject exceeded") => {
                    Refusal::Final(Error::Full)
                }
                Some(code) if engine::is_passing(code) => Refusal::Away(text),
                // The first try is stored or lost in a moment, and the next one told which.
                Some(ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT) => Refusal::Away(text),
                // In a cluster another node may have room, and takes the stream over.
                Some(
                    ErrorCode::INSUFFICIENT_RESOURCES
                    | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                    | ErrorCode::STREAM_STORE_FAILED,
                ) => {
                    let reason = format!("its disk, or its share of it, is full: {text}");
                    match engine.is_cluster() {
                        true => Refusal::Away(reason),
                        false => Refusal::Final(engine.error("store an item", reason)),
                    }
                }
                _ => Refusal::Final(engine.error("store an item", text)),
            }
        }
    }
}
