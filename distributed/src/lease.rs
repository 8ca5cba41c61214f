use crate::Result;
use crate::backend::LeaseBackend;
#[cfg(doc)]
use crate::{Error, Queue};

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
