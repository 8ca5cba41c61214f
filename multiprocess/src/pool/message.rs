//! What workers and supervisor report to the application.
//!
//! A message is a word, which says of which task and of what kind, and a result's bytes or an
//! [`Ending`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, codec};

/// How many bytes of a message come before the result.
pub(crate) const HEAD: usize = 8;

/// The task number of a message that concerns the pool.
pub(crate) const POOL: u64 = (1 << 60) - 1;

/// The task number of a message about an initializer that failed.
pub(crate) const INITIALIZER: u64 = POOL - 1;

const ENDED: u64 = 1 << 63;

/// How a task ended that gave no result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ending {
    Panicked {
        message: String,
        location: String,
    },
    Unserialisable {
        attempt: String,
        source: postcard::Error,
    },
    TooLarge {
        len: u64,
        max: u64,
    },
    Killed {
        signal: i32,
        pid: i32,
    },
    Exited {
        code: i32,
    },
    Overdue {
        timeout: Duration,
    },
    Cancelled,
    Broken,
    InitializerFailed {
        tries: u32,
        reason: String,
    },
}

impl Ending {
    /// How a process ended, by its exit code as Python counts.
    pub(crate) fn of_process(pid: i32, code: i32) -> Self {
        match code {
            ..0 => Self::Killed { signal: -code, pid },
            _ => Self::Exited { code },
        }
    }

    /// Whether the task died with its worker through no decision of the pool's.
    pub(crate) fn is_death(&self) -> bool {
        matches!(self, Self::Killed { .. } | Self::Exited { .. })
    }

    pub(crate) fn of_error(error: Error) -> Self {
        match error {
            Error::Serial { attempt, source } => Self::Unserialisable { attempt, source },
            Error::TooLarge { len, max } => Self::TooLarge { len, max },
            other => Self::Panicked {
                message: other.to_string(),
                location: "the worker".into(),
            },
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Panicked { message, location } => Error::Panicked { message, location },
            Self::Unserialisable { attempt, source } => Error::Serial { attempt, source },
            Self::TooLarge { len, max } => Error::TooLarge { len, max },
            Self::Killed { signal, pid } => Error::Killed { signal, pid },
            Self::Exited { code } => Error::Exited { code },
            Self::Overdue { timeout } => Error::TaskTimedOut { timeout },
            Self::Cancelled => Error::Cancelled,
            Self::Broken => Error::PoolBroken,
            Self::InitializerFailed { tries, reason } => Error::InitializerFailed { tries, reason },
        }
    }
}

/// The head of a message with the result of a task, to which the result is appended.
pub(crate) fn begin_result(task: u64, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&task.to_le_bytes());
}

/// Makes the message that a task has ended without a result.
pub(crate) fn write_ending(task: u64, ending: &Ending, message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(&(task | ENDED).to_le_bytes());
    codec::append(ending, message).expect("text and numbers have a binary form");
}

/// Takes a message apart; `None` for what is no message.
pub(crate) fn read(message: &[u8]) -> Option<(u64, Result<&[u8], Ending>)> {
    let (head, body) = message.split_first_chunk::<HEAD>()?;
    let word = u64::from_le_bytes(*head);
    let body = match word & ENDED {
        0 => Ok(body),
        _ => Err(codec::decode(body).ok()?),
    };
    Some((word & !ENDED, body))
}
