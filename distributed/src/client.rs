use std::any;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{Connection, Reply, Request};
use crate::{Error, Result};

/// A client of a server of queues; from [`Manager::connect`](crate::Manager::connect).
pub struct Client {
    pub(crate) address: String,
    pub(crate) key: Vec<u8>,
}

impl Client {
    /// Opens a queue of the server: Python's `manager.get_task_queue()`. Each queue has a
    /// connection of its own, so one that waits holds up no other.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when the server has none of this name, [`Error::Closed`] when it is gone
    /// since; else those of [`Manager::connect`](crate::Manager::connect).
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>> {
        let mut connection =
            Connection::connect(&self.address, &self.key).map_err(|error| match error {
                Error::Io { source, .. } if source.kind() == ErrorKind::ConnectionRefused => {
                    Error::Closed
                }
                error => error,
            })?;
        connection.send(&Request::Open(name.to_string()))?;
        match connection.receive()? {
            Reply::Done => Ok(Queue {
                connection: Mutex::new(connection),
                items: PhantomData,
            }),
            Reply::NoQueue(known) => Err(Error::NoQueue {
                name: name.to_string(),
                known: known.join(", "),
            }),
            reply => Err(unexpected(&reply)),
        }
    }
}

/// A queue on a server: Python's proxy of a `queue.Queue`.
///
/// First in, first out. Items travel as JSON: maps need keys that JSON can name, and a float that
/// is not a number becomes null. Threads may share a queue, but a call waits for the one before;
/// a thread that waits in `get` takes a queue of its own. A server that falls silent without
/// closing the connection, as at a loss of power, is not noticed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Error, Manager};
///
/// let server = Manager::builder().queue("names").serve("127.0.0.1:0", b"abc")?;
/// let names = Manager::connect(server.address(), b"abc")?.queue::<String>("names")?;
/// names.put(&"Bob".to_string())?;
/// assert_eq!(names.len()?, 1);
/// assert_eq!(names.get_timeout(Duration::from_secs(10))?, "Bob");
/// assert!(names.is_empty()?);
/// assert!(matches!(names.try_get(), Err(Error::Empty)));
/// # Ok::<(), Error>(())
/// ```
pub struct Queue<T> {
    connection: Mutex<Connection>,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts an item at the end. When it returns, the server has it.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] when JSON cannot carry it, [`Error::Protocol`] when it is over 64 MiB
    /// there, [`Error::Closed`] when the server is gone: it may have got the item or not.
    pub fn put(&self, item: &T) -> Result<()> {
        let item = serde_json::to_string(item).map_err(wrong_item::<T>)?;
        match self.call(&Request::PutItem(item))? {
            Reply::Done => Ok(()),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Takes the first item, and waits for one as long as it takes.
    ///
    /// A client that dies in here takes no item with it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the server is gone; [`Error::Item`] when the item is not a `T`: it
    /// stays the first of the queue.
    pub fn get(&self) -> Result<T> {
        self.take(None)
    }

    /// As [`get`](Queue::get), but waits no longer than `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time; else those of `get`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.take(Some(timeout))
    }

    /// As [`get_timeout`](Queue::get_timeout) without any wait: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `get_timeout`.
    pub fn try_get(&self) -> Result<T> {
        self.take(Some(Duration::ZERO))
    }

    /// How many items wait: Python's `qsize`. Others may change that at any moment.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the server is gone.
    pub fn len(&self) -> Result<usize> {
        match self.call(&Request::Len)? {
            Reply::Len(len) => Ok(len),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Whether no item waits: Python's `empty`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    fn take(&self, timeout: Option<Duration>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap();
        connection.send(&Request::Get(timeout))?;
        let item = match connection.receive()? {
            Reply::Item(item) => serde_json::from_str(&item).map_err(wrong_item::<T>),
            Reply::Empty => return Err(Error::Empty),
            Reply::Closed => return Err(Error::Closed),
            reply => return Err(unexpected(&reply)),
        };
        // Confirmed to a server that has gone since, the item is ours all the same.
        let _ = connection.send(match item {
            Ok(_) => &Request::Took,
            Err(_) => &Request::GiveBack,
        });
        item
    }

    fn call(&self, request: &Request) -> Result<Reply> {
        let mut connection = self.connection.lock().unwrap();
        connection.send(request)?;
        connection.receive()
    }
}

fn wrong_item<T>(source: serde_json::Error) -> Error {
    Error::Item {
        item_type: any::type_name::<T>(),
        source,
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Protocol(format!("the server answered {reply:?}"))
}
