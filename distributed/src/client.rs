use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "nats")]
use crate::nats;
use crate::server::Status;
use crate::{Durability, Error, QueueOptions, Result, manager};

/// A client of the place where queues are: of a manager, from
/// [`Manager::connect`](crate::Manager::connect), or of an engine, from
/// [`connect`](crate::connect()).
#[derive(Clone, Debug)]
pub struct Client(Place);

#[derive(Clone, Debug)]
enum Place {
    Manager(manager::Client),
    #[cfg(feature = "nats")]
    Engine(nats::Client),
}

/// A call that both places have.
macro_rules! either {
    ($either:expr, $place:ident, $there:ident => $call:expr) => {
        match $either {
            $place::Manager($there) => $call,
            #[cfg(feature = "nats")]
            $place::Engine($there) => $call,
        }
    };
}

impl Client {
    pub(crate) fn of_manager(client: manager::Client) -> Client {
        Client(Place::Manager(client))
    }

    #[cfg(feature = "nats")]
    pub(crate) fn of_engine(client: nats::Client) -> Client {
        Client(Place::Engine(client))
    }

    /// How long a call tries to reach a server that has gone away, with longer and longer pauses.
    /// It holds for queues that are opened afterwards.
    ///
    /// Unless it is said, not at all for a manager: a call that the loss interrupted is made
    /// again, and the server may have done it before. A `put` can put twice, and a `get` lose what
    /// it was handed, unless the queue redelivers. What was in the queues of a manager that died
    /// is lost; they are there again, and empty.
    ///
    /// On an engine, 30 s: nothing that was put is lost or put twice.
    pub fn reconnect_within(self, time: Duration) -> Client {
        Client(match self.0 {
            Place::Manager(client) => Place::Manager(client.reconnect_within(time)),
            #[cfg(feature = "nats")]
            Place::Engine(client) => Place::Engine(client.reconnect_within(time)),
        })
    }

    /// Opens a queue: Python's `manager.get_task_queue()`. One that waits holds up no other.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is none of this name, [`Error::Closed`] when the manager is
    /// gone since; [`Error::Engine`] when the stream of this name is none of ours. Else those of
    /// [`connect`](crate::connect()).
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>> {
        Ok(Queue(match &self.0 {
            Place::Manager(client) => There::Manager(client.queue(name)?),
            #[cfg(feature = "nats")]
            Place::Engine(client) => There::Engine(Box::new(client.queue(name)?)),
        }))
    }

    /// Makes a queue on an engine, and its dead letters; of one that is there, it changes size,
    /// lease and replicas. A manager has the queues that it was started with.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] for a manager; [`Error::Engine`] when the stream of this name is none of
    /// ours, or the server refuses: more replicas than nodes, no room on its disk, no permission.
    pub fn create(&self, queue: impl Into<QueueOptions>) -> Result<()> {
        let queue = queue.into();
        match &self.0 {
            Place::Manager(_) => Err(no_engine(queue.name())),
            #[cfg(feature = "nats")]
            Place::Engine(client) => client.create(&queue),
        }
    }

    /// Empties a queue of an engine: what waits and what is out.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] for a manager, else those of [`queue`](Client::queue).
    pub fn purge(&self, name: &str) -> Result<()> {
        match &self.0 {
            Place::Manager(_) => Err(no_engine(name)),
            #[cfg(feature = "nats")]
            Place::Engine(client) => client.purge(name),
        }
    }

    /// What the server says of its connections and queues.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] from a server of CPython, which does not have it; [`Error::Engine`] from
    /// an engine that does not answer; else those of [`queue`](Client::queue).
    pub fn status(&self) -> Result<Status> {
        either!(&self.0, Place, client => client.status())
    }

    /// What of a queue survives a loss of power.
    ///
    /// # Errors
    ///
    /// Those of [`queue`](Client::queue).
    #[cfg_attr(not(feature = "nats"), expect(unused_variables))]
    pub fn durability(&self, name: &str) -> Result<Durability> {
        match &self.0 {
            Place::Manager(_) => Ok(Durability::Memory),
            #[cfg(feature = "nats")]
            Place::Engine(client) => client.durability(name),
        }
    }
}

fn no_engine(queue: &str) -> Error {
    Error::NoQueue {
        name: queue.to_string(),
        said: "a manager has the queues that it was started with".to_string(),
    }
}

/// A queue: on a manager, Python's proxy of a `queue.Queue`; on an engine, a stream.
///
/// First in, first out, but for items that come back. Threads may share a queue, but a call waits
/// for the one before; a thread that waits in `get` takes a queue of its own.
///
/// On a manager, items are pickles: what a `T` is in Python, [`pickle`](crate::pickle) says. A
/// server whose machine is gone without a word is noticed within some 90 s. On an engine, items are
/// JSON. What else differs, [`growing`](crate::growing) has in a table.
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
pub struct Queue<T>(There<T>);

#[derive(Debug)]
enum There<T> {
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

    /// How many items wait: Python's `qsize`. Others may change that at any moment.
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

/// An item that is out of its queue until it is known whether it was worked off; from
/// [`Queue::lease`]. Dropped, it goes back.
#[derive(Debug)]
pub struct Lease<'q, T> {
    /// The item.
    pub item: T,
    held: Held<'q, T>,
}

#[derive(Debug)]
enum Held<'q, T> {
    Manager(manager::Held<'q, T>),
    #[cfg(feature = "nats")]
    Engine(nats::Held<'q, T>),
}

impl<T> Lease<'_, T> {
    /// What tells the item from all others, on an engine.
    pub fn id(&self) -> Option<&str> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => Some(held.id()),
        }
    }

    /// How often the item was handed out, with this time, on an engine.
    pub fn deliveries(&self) -> Option<u32> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => Some(held.deliveries()),
        }
    }

    /// Of a dead letter on an engine: how often the work on it was begun, and why it is one.
    pub fn death(&self) -> Option<(u32, &str)> {
        match &self.held {
            Held::Manager(_) => None,
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.death(),
        }
    }

    /// Says that the work begins, which an engine counts. False when the lease is over, and another
    /// may have the item.
    pub(crate) fn begin(&self) -> Result<bool> {
        match &self.held {
            Held::Manager(_) => Ok(true),
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.begin(),
        }
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
    pub fn done(self) -> Result<()> {
        either!(self.held, Held, held => held.done())
    }

    /// Says that the work failed: the item goes back.
    ///
    /// On an engine it comes again after a pause that grows with each time, from 1 s to 5 minutes,
    /// and after its last delivery it is a dead letter with this reason.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the dead letter cannot be stored.
    #[cfg_attr(not(feature = "nats"), expect(unused_variables))]
    pub fn fail(self, reason: &str) -> Result<()> {
        match self.held {
            Held::Manager(_) => Ok(()),
            #[cfg(feature = "nats")]
            Held::Engine(held) => held.fail(reason),
        }
    }
}

/// Connects to the place of queues that `url` names.
///
/// - `tcp://host:5000` is a manager, whose key is the environment variable `MANAGER_AUTHKEY`, and
///   without it the notebook's, `abc`.
/// - `nats://host:4222`, or `tls://host:4222` for encryption, is an engine, with the feature `nats`:
///   `nats://user:password@host:4222,host2:4222/namespace?monitor=http://host:8222`. A name alone
///   before the `@` is a token. The path keeps the queues of several programs apart. The options
///   `creds`, `nkey`, `ca`, `cert` and `key` are files, as NATS's tools have them; `monitor` is
///   where the server tells how it writes to disk.
///
/// Calls block; in an asynchronous program they belong where blocking is allowed, and panic in a
/// task of tokio elsewhere.
///
/// # Errors
///
/// [`Error::Address`] when that is no such URL, or the feature is off; [`Error::Io`] when nobody
/// listens there or a file cannot be read; [`Error::Auth`] for another key; [`Error::Engine`] when
/// the engine refuses us, is too old, has JetStream off, or does not answer within 5 s. None
/// repeats a secret of the URL.
///
/// # Examples
///
/// ```
/// use distributed::{Error, Manager};
///
/// let server = Manager::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// # if std::env::var_os("MANAGER_AUTHKEY").is_some() { return Ok::<(), Error>(()) }
/// let client = distributed::connect(&format!("tcp://{}", server.address()))?;
/// client.queue::<u32>("tasks")?.put(&34)?;
/// assert!(matches!(distributed::connect("http://localhost"), Err(Error::Address(_))));
/// # Ok::<(), Error>(())
/// ```
pub fn connect(url: &str) -> Result<Client> {
    connect_within(Duration::ZERO, url)
}

/// As [`connect`](connect()), for a client that may start before its server: tries again for `time`
/// while nobody listens there, and waits until then for a queue that is not on the engine yet.
///
/// # Errors
///
/// Those of `connect`, from the last try.
pub fn connect_within(time: Duration, url: &str) -> Result<Client> {
    let until = Instant::now() + time;
    match url.split_once("://") {
        Some(("tcp", address)) => {
            let key = std::env::var_os("MANAGER_AUTHKEY");
            let key = key.map_or(b"abc".to_vec(), |key| key.into_encoded_bytes());
            crate::Manager::connect_within(until - Instant::now(), address, &key)
        }
        #[cfg(feature = "nats")]
        Some(("nats" | "tls", _)) => nats::Client::connect_until(until, url).map(Client::of_engine),
        #[cfg(not(feature = "nats"))]
        Some(("nats" | "tls", _)) => Err(Error::Address(
            "this program was built without the feature nats (cargo run --features \
             distributed/nats)"
                .to_string(),
        )),
        _ => Err(Error::Address(
            "expected tcp://HOST:PORT, nats://HOST:PORT or tls://HOST:PORT".to_string(),
        )),
    }
}
