//! What workers and supervisor report to the application.
//!
//! A message is a word, which says of which task and of what kind, and then the bytes of a result,
//! the results of some items of a chunk, or how far the task had come and an error.

use std::io;

use super::{
    slot::Step,
    usage::{TaskUsage, USAGE_WORDS},
};
use crate::{Error, codec};

/// How many bytes of a message come before a result.
pub(super) const HEAD: usize = 8;

/// How many bytes of a message come before the results of items: also the first item and a count.
pub(super) const ITEMS_HEAD: usize = HEAD + 16;

/// The task number of a message that concerns the pool.
pub(super) const POOL: u64 = (1 << 60) - 1;

/// The task number of a message about an initializer that failed.
pub(super) const INITIALIZER: u64 = POOL - 1;

/// The task number of a message that a worker has ended, whatever it had in progress.
pub(super) const WORKER: u64 = POOL - 2;

const FAILED: u64 = 1 << 63;
const ITEMS: u64 = 1 << 62;
const USAGE: u64 = 1 << 61;
const PANICKED: u64 = 1 << 60;

/// The kinds of messages.
const KINDS: u64 = FAILED | ITEMS | USAGE | PANICKED;

/// What a message says of a task.
#[derive(Debug)]
pub(super) enum Report<'a> {
    Result(&'a [u8]),
    /// The results of `count` items of a chunk from the item `first` on.
    Items {
        first: u64,
        count: u64,
        results: &'a [u8],
    },
    /// What items of a task took, by their places in it. It comes before their results.
    Usage(Vec<(u64, TaskUsage)>),
    /// An item failed, or the task ended here.
    Failed {
        at: Step,
        error: Error,
    },
    /// The worker panics with the task, in a program that is built to abort. That it is dead then, and
    /// how far it had come, another message says.
    Panicked(Error),
}

/// The head of a message with the result of a task, to which the result is appended.
pub(super) fn begin_result(task: u64, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&task.to_le_bytes());
}

/// The head of a message with the results of items.
pub(super) fn items_head(task: u64, first: u64, count: u64) -> [u8; ITEMS_HEAD] {
    let mut head = [0; ITEMS_HEAD];
    for (part, word) in head.chunks_exact_mut(8).zip([task | ITEMS, first, count]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    head
}

/// Makes the message that a task, or an item of it, has ended without a result.
pub(super) fn write_error(task: u64, at: Step, error: &Error, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&(task | FAILED).to_le_bytes());
    message.extend_from_slice(&at.0.to_le_bytes());
    codec::append_unread(error, message).expect("text and numbers have a binary form");
}

/// Makes the message that a worker panics with a task, and ends with it.
pub(super) fn write_panic(task: u64, error: &Error, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&(task | PANICKED).to_le_bytes());
    codec::append_unread(error, message).expect("text has a binary form");
}

/// Makes the message what items of a task took.
pub(super) fn write_usage(task: u64, items: &[(u64, TaskUsage)], message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&(task | USAGE).to_le_bytes());
    for (item, usage) in items {
        let words = [*item].into_iter().chain(usage.to_words());
        words.for_each(|word| message.extend_from_slice(&word.to_le_bytes()));
    }
}

fn read_usage(body: &[u8]) -> Vec<(u64, TaskUsage)> {
    let words = body
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let words: Vec<u64> = words.collect();
    let (items, _) = words.as_chunks::<{ 1 + USAGE_WORDS }>();
    let each = items.iter();
    each.map(|&[item, elapsed, cpu, peak]| (item, TaskUsage::from_words([elapsed, cpu, peak])))
        .collect()
}

/// Takes a message apart: the task's number and the report. `None` for what is no message.
pub(super) fn read(message: &[u8]) -> Option<(u64, Report<'_>)> {
    let (word, body) = split_word(message)?;
    let report = match word & KINDS {
        0 => Report::Result(body),
        ITEMS => {
            let (first, body) = split_word(body)?;
            let (count, results) = split_word(body)?;
            Report::Items {
                first,
                count,
                results,
            }
        }
        USAGE => Report::Usage(read_usage(body)),
        PANICKED => Report::Panicked(codec::decode(body).ok()?),
        _ => {
            let (step, body) = split_word(body)?;
            let (at, error) = (Step(step), codec::decode(body).ok()?);
            Report::Failed { at, error }
        }
    };
    Some((word & !KINDS, report))
}

/// What becomes of a task of which a message says what cannot be.
#[cold]
pub(super) fn damaged() -> Error {
    let reason = "the pool's shared memory is damaged, since a process that has it wrote over it; \
                  make another pool";
    let cause = io::Error::new(io::ErrorKind::InvalidData, reason);
    Error::os("read a result of the pool", cause)
}

/// What becomes of a task that no worker has since one has ended like this.
#[cold]
pub(super) fn lost(ending: &Error) -> Error {
    let reason = format!(
        "a process that has the pool's shared memory wrote over what its worker had noted there, and \
         {ending}; make another pool"
    );
    let cause = io::Error::new(io::ErrorKind::InvalidData, reason);
    Error::os("find a task of the pool", cause)
}

/// The word at the start of `bytes`, and the rest.
pub(super) fn split_word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*word), rest))
}
