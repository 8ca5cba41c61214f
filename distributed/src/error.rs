use std::io::{self, ErrorKind};

/// What can go wrong between a server of queues and its clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue held no item in time: Python's `queue.Empty`.
    #[error("the queue is empty")]
    Empty,
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
    #[error("the server has no queue `{name}`, it has: {known}")]
    NoQueue {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The item cannot be written as JSON, or the one received is not of the wanted type.
    #[error("an item of type {item_type} does not go through JSON")]
    Item {
        /// The wanted type.
        item_type: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The other side said what it may not say, or a message is over the limit.
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
}
