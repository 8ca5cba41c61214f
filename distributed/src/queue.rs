use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{LeaseBackend, QueueBackend, Read};
use crate::{Error, Lease, Result};

/// A queue: on a manager, Python's proxy of a `queue.Queue`; on an engine, a stream.
///
/// Items come out in the order in which they were put, except those that come back. Threads may
/// share a queue, but each call waits for the one before it. For a thread that waits in `get`, open
/// a queue of its own.
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
    /// too long. [`Error::Item`] when the item is not a `T`: as in Python, it is taken and lost,
    /// unless the queue redelivers. On an engine that error is [`Error::Json`]: the item comes back
    /// later, and becomes a dead letter in the end.
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

    /// Takes the first item under a lease, and waits for one as long as it takes. The item goes back
    /// to the queue unless [`done`](Lease::done) is called, whatever happens to this client.
    ///
    /// A server of CPython has no leases: from there an item is taken for good.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long, [`Error::Item`] or [`Error::Json`] when the item is not a `T`: it goes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// let lease = tasks.lease()?;
    /// assert_eq!((lease.item, tasks.len()?), (34, 0));
    /// drop(lease);
    /// assert_eq!(tasks.len()?, 1);
    /// tasks.lease()?.done()?;
    /// assert!(tasks.is_empty()?);
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn lease(&self) -> Result<Lease<'_, T>> {
        self.lease_one(None, None)
    }

    /// As [`lease`](Queue::lease), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was no item in time; [`Error::Closed`], [`Error::Engine`],
    /// [`Error::Item`] and [`Error::Json`] as from `lease`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server};
    /// # use std::time::Duration;
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// let none = tasks.lease_timeout(Duration::from_millis(10));
    /// assert!(matches!(none, Err(Error::Empty)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<'_, T>> {
        self.lease_one(Some(timeout), None)
    }

    /// As [`lease`](Queue::lease), but the lease ends by itself after the time `expires`, for a client
    /// that hangs. On a manager it ends by nothing else: who dies with it has it until then. Waits
    /// for an item no longer than `timeout`, and without limit if `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was no item in time; [`Error::Closed`], [`Error::Engine`],
    /// [`Error::Item`] and [`Error::Json`] as from `lease`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server};
    /// # use std::time::Duration;
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// let late = tasks.lease_for(Duration::from_millis(10), None)?;
    /// // The lease of `late` ends, so that the item comes again.
    /// assert_eq!(tasks.lease()?.item, 34);
    /// assert!(late.done().is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lease_for(&self, expires: Duration, timeout: Option<Duration>) -> Result<Lease<'_, T>> {
        self.lease_one(timeout, Some(expires))
    }

    fn lease_one(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Lease<'_, T>> {
        let mut leases = self.lease_many(1, timeout, expires)?;
        Ok(leases.pop().expect("there is one, or it is Empty"))
    }

    /// As [`lease`](Queue::lease), for up to `n` items at once. The work on each of them counts as
    /// begun: if this client dies, each has one try less before it becomes a dead letter.
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
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put_many(&[1, 2, 3])?;
    /// for lease in tasks.lease_many(2, None, None)? {
    ///     lease.done()?;
    /// }
    /// assert_eq!(tasks.len()?, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn lease_many(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Vec<Lease<'_, T>>> {
        leases(|read| self.backend.lease(n, timeout, expires, read))
    }

    /// Up to `n` items for a worker, as their queue has it: on an engine by leases, of which it says
    /// when each is [begun](Lease::begin); on a manager one, which its connection holds if the queue
    /// redelivers.
    pub(crate) fn take_many(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Vec<Lease<'_, T>>> {
        leases(|read| self.backend.take(n, timeout, expires, read))
    }

    /// Asks for up to `n` items that the next [`take_many`](Queue::take_many) has, where the queue
    /// can.
    pub(crate) fn ask_ahead(&self, n: usize) -> bool {
        self.backend.ask_ahead(n)
    }

    /// As [`finish`](Queue::finish), of one item that [`take_many`](Queue::take_many) has handed to a
    /// worker; and takes the next one, if it is there and the same call can. The inner result is that
    /// of the second.
    pub(crate) fn finish_and_take<R: Serialize + DeserializeOwned>(
        &self,
        results: &Queue<R>,
        (lease, result): (Lease<'_, T>, R),
    ) -> Result<Result<Vec<Lease<'_, T>>>> {
        let result = results.backend.codec().encode(&result)?;
        let results = results.backend.as_ref();
        let mut finished = Ok(());
        let taken = leases(|read| {
            let both = self
                .backend
                .finish_and_take(lease.backend, results, result, read);
            both.unwrap_or_else(|error| {
                finished = Err(error);
                Err(Error::Empty)
            })
        });
        finished.map(|()| taken)
    }

    /// Puts the results of items in another queue, and then ends the leases. Returns how many of
    /// the leases were over before; the results of those are stored too.
    ///
    /// An engine stores each result under the id of its item. So if an item is done twice, the
    /// reader gets its result once.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] or [`Error::Json`] when a result cannot be written. [`Error::TooLong`] when
    /// one is over the engine's limit. [`Error::Closed`] when the manager is gone.
    /// [`Error::Engine`] when the engine cannot store one or is away for too long.
    /// [`Error::Remote`] when a manager refuses the results. All items go back then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server};
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// # let results = client.queue::<u32>("results")?;
    /// tasks.put(&3)?;
    /// let lease = tasks.lease()?;
    /// let square = lease.item * lease.item;
    /// // None of the leases was over.
    /// assert_eq!(tasks.finish(&results, vec![(lease, square)])?, 0);
    /// assert_eq!(results.get()?, 9);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn finish<R: Serialize + DeserializeOwned>(
        &self,
        results: &Queue<R>,
        finished: Vec<(Lease<'_, T>, R)>,
    ) -> Result<usize> {
        let codec = results.backend.codec();
        let (mut leases, mut coded) = (Vec::new(), Vec::new());
        for (lease, result) in finished {
            let id = lease.id().map(String::from);
            coded.push((id, codec.encode(&result)?));
            leases.push(lease.backend);
        }
        if leases.len() == 1
            && let (Some(lease), Some((_, result))) = (leases.pop(), coded.pop())
        {
            let is_ended = lease.finish(results.backend.as_ref(), result)?;
            return Ok(usize::from(!is_ended));
        }
        results.backend.put_results(coded)?;
        let ended = leases.into_iter().map(|lease| lease.done());
        Ok(ended.filter(Result::is_err).count())
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

/// What a backend hands out, with the items decoded.
fn leases<'q, T: DeserializeOwned>(
    take: impl FnOnce(Read) -> Result<Vec<Box<dyn LeaseBackend + 'q>>>,
) -> Result<Vec<Lease<'q, T>>> {
    let mut items = Vec::new();
    let held = take(&mut |encoded| {
        items.push(encoded.decode()?);
        Ok(())
    })?;
    let leases = items.into_iter().zip(held);
    Ok(leases
        .map(|(item, backend)| Lease { item, backend })
        .collect())
}
