use std::fmt;
use std::io::{self, ErrorKind};

use crate::TaskFailed;
use crate::wire::pickle;

/// What can go wrong between a server of queues and its clients.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// match client.queue::<u32>("tasks")?.try_get() {
///     Ok(task) => println!("{task}"),
///     Err(Error::Empty) => println!("no task yet"),
///     Err(error) => return Err(error),
/// }
/// // Its text has the cause too, and so has what a `main` prints that returns it.
/// let error = client.queue::<u32>("task").expect_err("it has another name");
/// assert!(error.to_string().starts_with("the server has no queue `task`"));
/// # Ok::<(), Error>(())
/// ```
#[non_exhaustive]
pub enum Error {
    /// The queue held no item in time: Python's `queue.Empty`.
    Empty,
    /// The queue had no room in time: Python's `queue.Full`.
    Full,
    /// The connection has ended without a word, or nobody listens any more: the server has died, or is
    /// one of Python's, which says nothing when it ends.
    Closed {
        /// Where the server was.
        address: String,
    },
    /// The server has been shut down, and said so.
    ShutDown {
        /// Where the server was.
        address: String,
    },
    /// The server does not know our key.
    Auth {
        /// Where the server is.
        address: String,
    },
    /// An empty key would let everybody in.
    EmptyKey,
    /// The server has no queue of this name.
    NoQueue {
        /// The name that was asked for.
        name: String,
        /// What the server says of it.
        said: String,
    },
    /// The item has no counterpart in Python, or the one received is not of the wanted type. Also when
    /// its own `Serialize` or `Deserialize` panics.
    Item {
        /// The wanted type.
        item_type: &'static str,
        /// What is wrong with it.
        source: pickle::Error,
        /// The item that was received, for [`pickle::from_slice`] with another type.
        pickle: Vec<u8>,
    },
    /// The server raised an exception, or its text about one.
    Remote {
        /// The exception's class.
        class: String,
        /// What it says.
        text: String,
    },
    /// The item cannot be written as JSON, or the one received is not of the wanted type. Also when its
    /// own `Serialize` or `Deserialize` panics.
    Json {
        /// The wanted type.
        item_type: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The item is longer than the engine takes.
    TooLong(String),
    /// The lease has ended before its item was done: another may have the item.
    LeaseOver,
    /// The task has no outcome yet.
    TaskPending,
    /// The task was cancelled, and has no result.
    TaskCancelled,
    /// The server that had the task was shut down or killed, and the one that is there now does not
    /// know it.
    TaskLost,
    /// The task failed each time that it was tried.
    TaskFailed(TaskFailed),
    /// The text does not say where queues are, or this program cannot reach such a place.
    Address(String),
    /// A server cannot have a queue or an object of this name.
    Name {
        /// The name.
        name: String,
        /// What is wrong with it, and what mends it.
        reason: String,
    },
    /// The engine refused, or did not answer.
    Engine {
        /// What was attempted, and where.
        attempt: String,
        /// What the engine said.
        reason: String,
    },
    /// The other side said what it may not say.
    Protocol(String),
    /// The operating system refused.
    Io {
        /// What was attempted, and on what.
        attempt: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Empty => f.write_str("the queue is empty"),
            Error::Full => f.write_str("the queue is full"),
            Error::Closed { address } => write!(
                f,
                "the server at {address} has closed the connection: it has died, or is one of \
                 Python's and has ended"
            ),
            Error::ShutDown { address } => write!(f, "the server at {address} has been shut down"),
            Error::Auth { address } => {
                write!(
                    f,
                    "the server at {address} has another key: give the one it was given"
                )
            }
            Error::EmptyKey => f.write_str("the key is empty: choose one of at least one byte"),
            Error::NoQueue { name, said } => write!(f, "the server has no queue `{name}`: {said}"),
            Error::Item {
                item_type, source, ..
            } => write!(f, "an item does not go through as {item_type}: {source}"),
            Error::Remote { class, text } => write!(f, "the server raised {class}: {text}"),
            Error::Json { item_type, source } => {
                write!(
                    f,
                    "an item of type {item_type} does not go through JSON: {source}"
                )
            }
            Error::TooLong(said) => write!(
                f,
                "the item is too long ({said}): pass it by reference, as a file or an object"
            ),
            Error::LeaseOver => {
                f.write_str("the lease is over: the item may have been given to another")
            }
            Error::TaskPending => f.write_str("the task has no outcome yet"),
            Error::TaskCancelled => f.write_str("the task was cancelled"),
            Error::TaskLost => f.write_str(
                "the task went with its server, which was started anew and keeps tasks in memory \
                 alone: submit it again",
            ),
            Error::TaskFailed(failed) => failed.fmt(f),
            Error::Address(reason) => write!(f, "cannot use the address of queues: {reason}"),
            Error::Name { name, reason } => write!(f, "cannot serve the name `{name}`: {reason}"),
            Error::Engine { attempt, reason } => write!(f, "{attempt}: {reason}"),
            Error::Protocol(reason) => write!(f, "protocol: {reason}"),
            Error::Io { attempt, source } => write!(f, "{attempt}: {source}"),
        }
    }
}

/// Without a `source`: the text has the cause already.
impl std::error::Error for Error {}

/// The text, for this is what a `main` that returns an error prints of it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names the attempt.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            attempt: attempt.into(),
            source,
        }
    }

    /// The same of what holds an item of this type, which is what a user knows of.
    pub(crate) fn of_type<T>(mut self) -> Error {
        if let Error::Item { item_type, .. } | Error::Json { item_type, .. } = &mut self {
            *item_type = std::any::type_name::<T>();
        }
        self
    }

    /// What is wrong with an item, without its type.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::Item { source, .. } => source.to_string(),
            Error::Json { source, .. } => source.to_string(),
            error => error.to_string(),
        }
    }

    /// Whether the server takes no such item, and will not do so later. One that does not know the
    /// queue says so by a `KeyError`.
    pub(crate) fn refuses_item(&self) -> bool {
        match self {
            Error::TooLong(_) => true,
            Error::Remote { class, .. } => class != "KeyError",
            _ => false,
        }
    }

    /// Whether nobody listens where a server should.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == ErrorKind::ConnectionRefused)
    }
}
