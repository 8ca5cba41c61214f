use std::io::{self, ErrorKind};

use crate::wire::pickle;

/// What can go wrong between a server of queues and its clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue held no item in time: Python's `queue.Empty`.
    #[error("the queue is empty")]
    Empty,
    /// The queue had no room in time: Python's `queue.Full`.
    #[error("the queue is full")]
    Full,
    /// The other side has shut down or died.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side does not know our key.
    #[error("the other side has another key")]
    Auth,
    /// An empty key would let everybody in.
    #[error("the key is empty: choose one of at least one byte")]
    EmptyKey,
    /// The server has no queue of this name.
    #[error("the server has no queue `{name}`: {said}")]
    NoQueue {
        /// The name that was asked for.
        name: String,
        /// What the server says of it.
        said: String,
    },
    /// The item has no counterpart in Python, or the one received is not of the wanted type.
    #[error("an item does not go through as {item_type}")]
    Item {
        /// The wanted type.
        item_type: &'static str,
        /// What is wrong with it.
        source: pickle::Error,
        /// The item that was received, for [`pickle::from_slice`] with another type.
        pickle: Vec<u8>,
    },
    /// The server raised an exception, or its text about one.
    #[error("the server raised {class}: {text}")]
    Remote {
        /// The exception's class.
        class: String,
        /// What it says.
        text: String,
    },
    /// The item cannot be written as JSON, or the one received is not of the wanted type.
    #[error("an item of type {item_type} does not go through JSON: {source}")]
    Json {
        /// The wanted type.
        item_type: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The item is longer than the engine takes.
    #[error("the item is too long ({0}): pass it by reference, as a file or an object")]
    TooLong(String),
    /// The lease has ended before its item was done: another may have the item.
    #[error("the lease is over: the item may have been given to another")]
    LeaseOver,
    /// The text does not say where queues are, or this program cannot reach such a place.
    #[error("cannot use the address of queues: {0}")]
    Address(String),
    /// The engine refused, or did not answer.
    #[error("{attempt}: {reason}")]
    Engine {
        /// What was attempted, and where.
        attempt: String,
        /// What the engine said.
        reason: String,
    },
    /// The other side said what it may not say.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The operating system refused.
    #[error("{attempt}")]
    Io {
        /// What was attempted, and on what.
        attempt: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// A result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Names the attempt; the many ways in which the system says that a peer is gone become one.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted => Error::Closed,
            _ => Error::Io {
                attempt: attempt.into(),
                source,
            },
        }
    }

    /// Whether nobody listens where a server should.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == ErrorKind::ConnectionRefused)
    }
}
