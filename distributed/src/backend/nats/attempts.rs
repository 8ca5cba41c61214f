//! How often the work on an item was begun.
//!
//! The engine counts deliveries. A worker that fetches ahead and is killed by one item takes others
//! down with it that it never looked at, and those are delivered again as well. So the beginning of
//! each further try is noted in a stream; only an item that was begun too often is a dead letter. Of
//! tasks by name, of which a worker has one at a time, the deliveries are noted that began nothing.

use std::time::Duration;

use super::engine::{self, Engine};
use super::layout;
use super::publish::{Publication, publish_all};
use crate::Result;
use async_nats::jetstream::message::PublishMessage;

/// Notes that the work on an item begins once more. The first time needs no note.
pub(super) async fn note(
    engine: &Engine,
    queue: &str,
    id: u128,
    retry_time: Duration,
) -> Result<()> {
    let (_, subject) = layout::names_of_attempts(engine, queue)?;
    let note = Publication {
        subject: format!("{subject}.{id:032x}"),
        message: PublishMessage::build().message_id(engine::new_id()),
    };
    publish_all(engine, vec![note], retry_time, None).await
}

/// How often it was begun: once without a note, and once with each.
pub(super) async fn count(
    engine: &Engine,
    queue: &str,
    id: u128,
    retry_time: Duration,
) -> Result<u32> {
    let (stream, subject) = layout::names_of_attempts(engine, queue)?;
    let subject = format!("{subject}.{id:032x}");
    let attempt = format!("ask how often an item of the queue `{queue}` was begun");
    let notes = layout::count(engine, &attempt, &stream, &subject, retry_time).await?;
    Ok(1 + notes)
}
