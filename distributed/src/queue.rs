use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(doc)]
use crate::Error;
use crate::backend::manager;
#[cfg(feature = "nats")]
use crate::backend::nats;
use crate::either::either;
use crate::lease::Held;
use crate::{Lease, Result};

/// A queue: on a manager, Python's proxy of a `queue.Queue`; on an engine, a stream.
///
/// First in, first out, but for items that come back. Threads may share a queue, but a call waits
/// for the one before; a thread that waits in `get` takes a queue of its own.
///
/// On a manager, items are pickles: what a `T` is in Python, [`pickle`](crate::pickle) says. A
/// server whose machine is gone without a word is noticed within some 90 s. On an engine, items are
/// JSON. What else differs, [`growing`](crate::guide::growing) has in a table.
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
#[derive(Debug)]
pub struct Queue<T>(pub(crate) There<T>);

#[derive(Debug)]
pub(crate) enum There<T> {
    Manager(manager::Queue<T>),
    #[cfg(feature = "nats")]
    Engine(Box<nats::Queue<T>>),
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts an item at the end, and waits for room as long as it takes. When it returns, the
    /// server has it; an engine, on as many nodes as the queue has replicas.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] when the item has no counterpart in Python, [`Error::Json`] when it has none
    /// in JSON, [`Error::Remote`] or [`Error::TooLong`] when it is over the server's limit,
    /// [`Error::Closed`] when the manager is gone: it may have got the item or not.
    /// [`Error::Engine`] when the engine cannot store it or is away for too long.
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_within(item, None)
    }

    /// As [`put`](Queue::put), but waits no longer than `timeout` for room: `put(…, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when there was no room in time; else those of `put`.
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_within(item, Some(timeout))
    }

    /// As [`put_timeout`](Queue::put_timeout) without any wait: Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `put_timeout`.
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_within(item, Some(Duration::ZERO))
    }

    fn put_within(&self, item: &T, timeout: Option<Duration>) -> Result<()> {
        either!(&self.0, There, queue => queue.put_within(item, timeout))
    }

    /// Puts all items at the end.
    ///
    /// On a manager, next to each other, in one message, when there is room for all; on a server of
    /// CPython, which lacks that, one after the other. On an engine, several at a time: others may
    /// put between them, and one that had to be put again is behind those after it.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Queue::put), and an engine may have some of the items then;
    /// [`Error::Remote`] when a manager can never have room for so many.
    pub fn put_many(&self, items: &[T]) -> Result<()> {
        either!(&self.0, There, queue => queue.put_many(items))
    }

    /// Takes the first item, and waits for one as long as it takes.
    ///
    /// A client that dies in here takes no item with it. Where the queue redelivers, the item stays
    /// ours until the next `get` or [`task_done`](Queue::task_done), and goes back if neither comes:
    /// by the end of the process, or of this handle.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long. [`Error::Item`] when the item is not a `T`: as in Python, it is taken and lost, unless
    /// the queue redelivers. [`Error::Json`] is its like on an engine, where the item comes back
    /// later, and is a dead letter in the end.
    pub fn get(&self) -> Result<T> {
        self.get_within(None)
    }

    /// As [`get`](Queue::get), but waits no longer than `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time; else those of `get`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_within(Some(timeout))
    }

    /// As [`get_timeout`](Queue::get_timeout) without any wait: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `get_timeout`.
    pub fn try_get(&self) -> Result<T> {
        self.get_within(Some(Duration::ZERO))
    }

    fn get_within(&self, timeout: Option<Duration>) -> Result<T> {
        either!(&self.0, There, queue => queue.get_within(timeout))
    }

    /// Takes up to `n` items, at once: those that there are, or, if there are none, the first ones
    /// that come. Waits for these no longer than `timeout`, and without limit if `None`.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Queue::get_timeout); [`Error::Remote`] when `n` is 0.
    pub fn get_many(&self, n: usize, timeout: Option<Duration>) -> Result<Vec<T>> {
        either!(&self.0, There, queue => queue.get_many(n, timeout))
    }

    /// Takes the first item under a lease: it goes back to the queue unless
    /// [`done`](Lease::done) is called, whatever happens to this client.
    ///
    /// Waits for one no longer than `timeout`, and without limit if `None`. With `expires`, the
    /// lease also ends after so long, for a client that hangs. A server of CPython has no leases:
    /// from there an item is taken for good.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Queue::get_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::Manager;
    ///
    /// let server = Manager::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Manager::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// let lease = tasks.lease(None, None)?;
    /// assert_eq!((lease.item, tasks.len()?), (34, 0));
    /// drop(lease);
    /// assert_eq!(tasks.len()?, 1);
    /// tasks.lease(None, None)?.done()?;
    /// assert!(tasks.is_empty()?);
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn lease(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Lease<'_, T>> {
        let mut leases = self.lease_many(1, timeout, expires)?;
        Ok(leases.pop().expect("there is one, or it is Empty"))
    }

    /// As [`lease`](Queue::lease), but up to `n` of those that there are. The work on all of them
    /// counts as begun: if this client dies, each has one try less before it is a dead letter.
    ///
    /// # Errors
    ///
    /// Those of `lease`.
    pub fn lease_many(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Vec<Lease<'_, T>>> {
        match &self.0 {
            There::Manager(queue) => lease_each(queue, n, timeout, expires),
            #[cfg(feature = "nats")]
            There::Engine(_) => {
                let leases = self.take_many(n, timeout, expires)?;
                // When each is begun, only the caller knows: here all are.
                for lease in &leases {
                    lease.begin()?;
                }
                Ok(leases)
            }
        }
    }

    /// Up to `n` items for a worker, as their queue has it: on an engine by leases, of which it says
    /// when each is [begun](Lease::begin); on a manager one, which its connection holds if the queue
    /// redelivers.
    #[cfg_attr(not(feature = "nats"), expect(unused_variables))]
    pub(crate) fn take_many(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Vec<Lease<'_, T>>> {
        match &self.0 {
            There::Manager(queue) => {
                let (item, held) = queue.take(timeout)?;
                let held = Held::Manager(held);
                Ok(vec![Lease { item, held }])
            }
            #[cfg(feature = "nats")]
            There::Engine(queue) => {
                let held = queue.lease_many(n, timeout, expires)?.into_iter();
                let lease = |(item, held)| Lease {
                    item,
                    held: Held::Engine(held),
                };
                Ok(held.map(lease).collect())
            }
        }
    }

    /// Puts the results of items in another queue, and then ends the leases. How many leases were
    /// over before is the answer; their results are there all the same.
    ///
    /// On an engine each result goes under the id of its item: if an item is worked off twice, the
    /// reader gets the result once.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Queue::put), when all items go back.
    pub fn finish<R: Serialize + DeserializeOwned>(
        &self,
        results: &Queue<R>,
        mut finished: Vec<(Lease<'_, T>, R)>,
    ) -> Result<usize> {
        if let (There::Manager(tasks), There::Manager(results), [(lease, result)]) =
            (&self.0, &results.0, finished.as_slice())
            && matches!(&lease.held, Held::Manager(held) if held.is_got())
        {
            tasks.put_result(results, result)?;
            let (lease, _) = finished.swap_remove(0);
            return lease.done().map(|()| 0);
        }
        let (leases, values): (Vec<_>, Vec<_>) = finished.into_iter().unzip();
        match &results.0 {
            There::Manager(queue) if values.len() == 1 => queue.put_within(&values[0], None)?,
            There::Manager(queue) => queue.put_many(&values)?,
            #[cfg(feature = "nats")]
            There::Engine(queue) => {
                let ids = leases.iter().map(|lease| lease.id().unwrap_or_default());
                queue.put_as(ids.zip(&values))?;
            }
        }
        let ended = leases.into_iter().map(Lease::done);
        Ok(ended.filter(Result::is_err).count())
    }

    /// Counts one item as worked off: Python's `task_done`. Where an engine's queue does not
    /// redeliver, every item is, as it is got.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when more are counted than were put, else those of [`len`](Queue::len).
    pub fn task_done(&self) -> Result<()> {
        either!(&self.0, There, queue => queue.task_done())
    }

    /// Waits until every item that was put has been worked off: Python's `join`. On an engine it
    /// asks ten times in a second, and a dead letter counts as worked off.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn join(&self) -> Result<()> {
        either!(&self.0, There, queue => queue.join())
    }

    /// How many items wait: Python's `qsize`. Others may change that at any moment. On an engine, items
    /// that came back are not among them, though they wait too.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for
    /// too long.
    pub fn len(&self) -> Result<usize> {
        either!(&self.0, There, queue => queue.len())
    }

    /// Whether no item waits: Python's `empty`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_empty(&self) -> Result<bool> {
        either!(&self.0, There, queue => queue.is_empty())
    }

    /// Whether there is no room for another item: Python's `full`. On an engine, items that are out
    /// take room too.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_full(&self) -> Result<bool> {
        either!(&self.0, There, queue => queue.is_full())
    }
}

/// A manager leases one item at a time.
fn lease_each<T: Serialize + DeserializeOwned>(
    queue: &manager::Queue<T>,
    n: usize,
    timeout: Option<Duration>,
    expires: Option<Duration>,
) -> Result<Vec<Lease<'_, T>>> {
    let mut leases = Vec::new();
    let mut wait = timeout;
    while leases.len() < n.max(1) {
        match queue.lease(wait, expires) {
            Ok((item, held)) => leases.push(Lease {
                item,
                held: Held::Manager(held),
            }),
            // What is held already is worked off, and the error met again after that.
            Err(_) if !leases.is_empty() => break,
            Err(error) => return Err(error),
        }
        wait = Some(Duration::ZERO);
    }
    Ok(leases)
}
