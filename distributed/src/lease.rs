use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(doc)]
use crate::Error;
use crate::backend::{LeaseBackend, Read};
use crate::{Queue, Result};

/// An item that was taken from its queue and is not done yet; made by [`Queue::lease`]. If it is
/// dropped before it is [`done`](Lease::done), the item goes back.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// let lease = tasks.lease()?;
/// assert_eq!(lease.item, 34);
/// // Nobody else gets it meanwhile.
/// assert!(matches!(tasks.try_get(), Err(Error::Empty)));
/// lease.done()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an item whose lease is dropped goes back to its queue"]
pub struct Lease<'q, T> {
    /// The item.
    pub item: T,
    pub(crate) backend: Box<dyn LeaseBackend + 'q>,
}

impl<T> Lease<'_, T> {
    /// The item's id on an engine; `None` on a manager.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// // A manager tells its items apart by their connection.
    /// assert_eq!(tasks.lease()?.id(), None);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn id(&self) -> Option<&str> {
        self.backend.id()
    }

    /// How often an engine has handed out the item, this time included; `None` on a manager.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.lease()?.deliveries(), None);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn deliveries(&self) -> Option<u32> {
        self.backend.deliveries()
    }

    /// How often the work on a dead letter was begun, and why it became one; `None` for other
    /// items, and on a manager.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// assert_eq!(tasks.lease()?.death(), None);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn death(&self) -> Option<(u32, &str)> {
        self.backend.death()
    }

    /// Says that the work begins, which an engine counts. False when the lease is over, and another
    /// may have the item.
    pub(crate) fn begin(&self) -> Result<bool> {
        self.backend.begin()
    }

    /// Puts its encoded result, after which it is to be ended. False when it was over before.
    pub(crate) fn put_result<R>(&mut self, results: &Queue<R>, result: Vec<u8>) -> Result<bool> {
        self.backend.put_result(results.backend.as_ref(), result)
    }

    /// Whether the item was out before, on an engine: it may be what its holder died of.
    pub(crate) fn is_suspect(&self) -> bool {
        self.deliveries().is_some_and(|deliveries| deliveries > 1)
    }

    /// Ends the lease: the item is worked off.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] or [`Error::LeaseOver`] when the lease is over, and the item may have been
    /// given to another; [`Error::Closed`] when the manager is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// tasks.lease()?.done()?;
    /// assert!(tasks.is_empty()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn done(self) -> Result<()> {
        self.backend.done()
    }

    /// Says that the work failed: the item goes back. The log has the reason.
    ///
    /// It comes again after a pause that grows with each time, from 1 s to 5 minutes, and after its
    /// last delivery it is a dead letter with this reason. From a server of Python's it comes back at
    /// once or not at all, since that keeps nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the dead letter cannot be stored; [`Error::Closed`] when the manager is
    /// gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// # let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// tasks.lease()?.fail("no database")?;
    /// // For a second nobody gets it.
    /// assert!(matches!(tasks.try_get(), Err(Error::Empty)));
    /// assert_eq!(tasks.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fail(self, reason: &str) -> Result<()> {
        tracing::warn!(reason, "the work on an item failed");
        self.backend.fail(reason)
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
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
        let take = |read: Read| self.backend.lease(n, timeout, expires, read);
        let (items, held) = decoded(take)?;
        Ok(leases(items, held))
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
        let take = |read: Read| self.backend.take(n, timeout, expires, read);
        let (items, held) = decoded(take)?;
        Ok(leases(items, held))
    }

    /// Asks for up to `n` items that the next [`take_many`](Queue::take_many) has, where the queue
    /// can.
    pub(crate) fn ask_ahead(&self, n: usize) -> bool {
        self.backend.ask_ahead(n)
    }

    /// Puts the encoded result of an item that [`take_many`](Queue::take_many) has handed to a worker,
    /// whose lease is then to be ended; and takes the next item, if it is there and the same call can.
    /// The inner result is that of the second.
    pub(crate) fn put_and_take<R>(
        &self,
        results: &Queue<R>,
        lease: &mut Lease<'_, T>,
        result: Vec<u8>,
    ) -> Result<Result<Vec<Lease<'_, T>>>> {
        let results = results.backend.as_ref();
        let lease = lease.backend.as_mut();
        let take = |read: Read| self.backend.put_and_take(lease, results, result, read);
        let (items, held) = decoded(take)?;
        Ok(held.map(|held| leases(items, held)))
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
            && let (Some(mut lease), Some((_, result))) = (leases.pop(), coded.pop())
        {
            let counts = lease.put_result(results.backend.as_ref(), result)?;
            return Ok(usize::from(!counts || lease.done().is_err()));
        }
        results.backend.put_results(coded)?;
        let ended = leases.into_iter().map(|lease| lease.done());
        Ok(ended.filter(Result::is_err).count())
    }
}

/// What a call of a backend returns, and the items that it has read meanwhile.
fn decoded<T: DeserializeOwned, H>(call: impl FnOnce(Read) -> Result<H>) -> Result<(Vec<T>, H)> {
    let mut items = Vec::new();
    let returned = call(&mut |encoded| {
        items.push(encoded.decode()?);
        Ok(())
    })?;
    Ok((items, returned))
}

/// Items, each with what holds it.
fn leases<'q, T>(items: Vec<T>, held: Vec<Box<dyn LeaseBackend + 'q>>) -> Vec<Lease<'q, T>> {
    let leases = items.into_iter().zip(held);
    leases
        .map(|(item, backend)| Lease { item, backend })
        .collect()
}
