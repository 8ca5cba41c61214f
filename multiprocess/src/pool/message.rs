//! What workers and supervisor report to the application.
//!
//! A message is a word, which says of which task and of what kind, and the bytes of a result or of
//! an error.

use crate::{Error, Result, codec};

/// How many bytes of a message come before the result.
pub(crate) const HEAD: usize = 8;

/// The task number of a message that concerns the pool.
pub(crate) const POOL: u64 = (1 << 60) - 1;

/// The task number of a message about an initializer that failed.
pub(crate) const INITIALIZER: u64 = POOL - 1;

const FAILED: u64 = 1 << 63;

/// The head of a message with the result of a task, to which the result is appended.
pub(crate) fn begin_result(task: u64, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&task.to_le_bytes());
}

/// Makes the message that a task has ended without a result.
pub(crate) fn write_error(task: u64, error: &Error, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&(task | FAILED).to_le_bytes());
    codec::append_unread(error, message).expect("text and numbers have a binary form");
}

/// Takes a message apart; `None` for what is no message.
pub(crate) fn read(message: &[u8]) -> Option<(u64, Result<&[u8]>)> {
    let (head, body) = message.split_first_chunk::<HEAD>()?;
    let word = u64::from_le_bytes(*head);
    let body = match word & FAILED {
        0 => Ok(body),
        _ => Err(codec::decode(body).ok()?),
    };
    Some((word & !FAILED, body))
}
