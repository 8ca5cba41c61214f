use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(doc)]
use crate::Error;
use crate::Result;
use crate::backend::QueueBackend;

/// A queue: on a manager, Python's proxy of a `queue.Queue`; on an engine, a stream.
///
/// Items come out in the order in which they were put, except those that come back. Threads may
/// share a queue, but each call waits for the one before it. For a thread that waits in `get`, open
/// a queue of its own.
///
/// A child that is forked calls over a connection of its own on a manager, as with Python's proxies, and
/// its end gives back nothing that its parent has. It borrows the queue: a closure that moves it drops
/// it in the parent. Until it calls or ends, it holds its parent's connection open, so that what a
/// killed parent had is free only then. A program with a queue on an engine has more than one thread,
/// and is not to be forked.
///
/// On a manager, items are pickles: what a `T` is in Python, [`pickle`](crate::pickle) says. A
/// server whose machine is gone without a word is noticed in time, see
/// [`Client::peer_timeout`](crate::Client::peer_timeout). On an engine, items are
/// JSON. What else differs, [`growing`](crate::guide::growing) has in a table.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("names").serve("127.0.0.1:0", b"abc")?;
/// let names = Client::connect(server.address(), b"abc")?.queue::<String>("names")?;
/// names.put(&"Bob".to_string())?;
/// assert_eq!(names.len()?, 1);
/// assert_eq!(names.get_timeout(Duration::from_secs(10))?, "Bob");
/// assert!(names.is_empty()?);
/// assert!(matches!(names.try_get(), Err(Error::Empty)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    pub(crate) backend: Box<dyn QueueBackend>,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub(crate) fn new(backend: Box<dyn QueueBackend>) -> Queue<T> {
        let items = PhantomData;
        Queue { backend, items }
    }

    /// Puts an item at the end, and waits for room as long as it takes. When it returns, the
    /// server has it; an engine, on as many nodes as the queue has replicas.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] when the item has no counterpart in Python, [`Error::Json`] when it has none
    /// in JSON, [`Error::Remote`] or [`Error::TooLong`] when it is over the server's limit,
    /// [`Error::Closed`] when the manager is gone: it may have got the item or not.
    /// [`Error::Engine`] when the engine cannot store it or is away for too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_within(item, None)
    }

    /// As [`put`](Queue::put), but waits no longer than `timeout` for room: `put(…, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when there was no room in time;
    /// [`Error::Item`] or [`Error::Json`] when the item cannot be written, [`Error::Remote`] or
    /// [`Error::TooLong`] when it is over the server's limit, [`Error::Closed`] when the manager is
    /// gone, [`Error::Engine`] when the engine cannot store it or is away for too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let tasks = QueueOptions::new("tasks").maxsize(1);
    /// # let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// # let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&1)?;
    /// let full = tasks.put_timeout(&2, Duration::from_millis(10));
    /// assert!(matches!(full, Err(Error::Full)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_within(item, Some(timeout))
    }

    /// As [`put_timeout`](Queue::put_timeout) without any wait: Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when there is no room;
    /// [`Error::Item`] or [`Error::Json`] when the item cannot be written, [`Error::Remote`] or
    /// [`Error::TooLong`] when it is over the server's limit, [`Error::Closed`] when the manager is
    /// gone, [`Error::Engine`] when the engine cannot store it or is away for too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let tasks = QueueOptions::new("tasks").maxsize(1);
    /// # let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// # let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.try_put(&1)?;
    /// assert!(matches!(tasks.try_put(&2), Err(Error::Full)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_within(item, Some(Duration::ZERO))
    }

    fn put_within(&self, item: &T, timeout: Option<Duration>) -> Result<()> {
        let code = self.backend.codec().encode(item)?;
        self.backend.put(vec![code], timeout)
    }

    /// Puts all items at the end.
    ///
    /// A manager gets them in one message, as soon as it has room for all, and keeps them next to
    /// each other. A server of CPython has no such call and gets them one after the other. An
    /// engine gets several at a time: items of other clients may come between them, and an item
    /// that had to be sent again comes after its successors.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] or [`Error::Json`] when an item cannot be written. [`Error::TooLong`] when
    /// one is over the engine's limit. [`Error::Remote`] when a manager can never have room for so
    /// many. [`Error::Closed`] when the manager is gone. [`Error::Engine`] when the engine cannot
    /// store one or is away for too long; it may have some of the items then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put_many(&[1, 2, 3])?;
    /// assert_eq!(tasks.len()?, 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_many(&self, items: &[T]) -> Result<()> {
        let codec = self.backend.codec();
        let codes = items.iter().map(|item| codec.encode(item));
        self.backend.put(codes.collect::<Result<_>>()?, None)
    }

    /// Takes the first item, and waits for one as long as it takes.
    ///
    /// A client that dies during this call takes no item with it. If the queue redelivers, the item
    /// belongs to this handle until its next `get` or [`task_done`](Queue::task_done). It goes back
    /// if the handle or the process ends before that.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone. [`Error::Engine`] when the engine is away for
    /// too long. [`Error::Item`] when the item is not a `T`: if the queue redelivers, it comes again
    /// later and is a dead letter in the end, which says so; if not, it is taken, as in Python, and the
    /// error has its bytes. On an engine that error is [`Error::Json`]: the item comes back later, and
    /// becomes a dead letter in the end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get(&self) -> Result<T> {
        self.get_within(None)
    }

    /// As [`get`](Queue::get), but waits no longer than `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time;
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long, [`Error::Item`] or [`Error::Json`] when an item is not a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// let late = tasks.get_timeout(Duration::from_millis(10));
    /// assert!(matches!(late, Err(Error::Empty)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_within(Some(timeout))
    }

    /// As [`get_timeout`](Queue::get_timeout) without any wait: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there is none;
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long, [`Error::Item`] or [`Error::Json`] when an item is not a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// assert!(matches!(tasks.try_get(), Err(Error::Empty)));
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.try_get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T> {
        self.get_within(Some(Duration::ZERO))
    }

    fn get_within(&self, timeout: Option<Duration>) -> Result<T> {
        let mut items = self.get_many(1, timeout)?;
        Ok(items.pop().expect("there is one, or it is Empty"))
    }

    /// Takes up to `n` items at once. If there are none, it waits for the first ones no longer than
    /// `timeout`, and without limit if `None`. It does not wait until there are `n`.
    ///
    /// Of those that are not a `T`, a queue that redelivers, or an engine, keeps all: they come again
    /// later, are dead letters in the end, and are an error only where none else came with them. A
    /// queue that does not redeliver has given them away with the others of the same call: the bytes in
    /// [`Error::Item`] are the list of all these. A server of CPython hands them out one by one, and
    /// the error with the bytes of the one comes with the next call if others were before it.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time; [`Error::Remote`] when `n` is 0;
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long, [`Error::Item`] or [`Error::Json`] when an item is not a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put_many(&[1, 2, 3])?;
    /// assert_eq!(tasks.get_many(2, None)?, [1, 2]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_many(&self, n: usize, timeout: Option<Duration>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        self.backend.get(n, timeout, &mut |encoded| {
            items.push(encoded.decode()?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Counts one item as done: Python's `task_done`. If an engine's queue does not redeliver, an
    /// item counts as done when it is got.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when more are counted than were put;
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// tasks.get()?;
    /// tasks.task_done()?;
    /// tasks.join()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn task_done(&self) -> Result<()> {
        self.backend.task_done()
    }

    /// Waits until every item that was put is done: Python's `join`. An engine is asked ten times a
    /// second, and a dead letter counts as done.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long, and when for 30 s it had items that it gave to nobody.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// tasks.get()?;
    /// tasks.task_done()?;
    /// // Each item that was put is worked off.
    /// tasks.join()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join(&self) -> Result<()> {
        self.backend.join()
    }

    /// How many items wait: Python's `qsize`. Others may change that at any moment. An engine does
    /// not count the items that came back and wait again.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for
    /// too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.len()?, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn len(&self) -> Result<usize> {
        self.backend.len()
    }

    /// Whether no item waits: Python's `empty`.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// assert!(tasks.is_empty()?);
    /// tasks.put(&34)?;
    /// assert!(!tasks.is_empty()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        self.backend.is_empty()
    }

    /// Whether there is no room for another item: Python's `full`. On an engine, items that are out
    /// take room too.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// // It has no limit.
    /// assert!(!tasks.is_full()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_full(&self) -> Result<bool> {
        self.backend.is_full()
    }
}
