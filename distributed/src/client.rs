use std::fmt::Display;
#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::Backend;
use crate::backend::manager::{ManagerClient, arguments};
#[cfg(feature = "nats")]
use crate::backend::nats::NatsClient;
#[cfg(feature = "metrics")]
use crate::exporter;
use crate::{
    DeadLetter, Durability, Error, Proxy, Queue, QueueOptions, QueueOrder, Result, ServerAddress,
    Status,
};

/// A client of the place where queues are: of a manager, from
/// [`Client::connect`](crate::Client::connect), or of an engine, from
/// [`connect`](crate::connect()).
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let tasks = client.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client(pub(crate) Arc<dyn Backend>);

impl Client {
    /// Connects to the server at `address` and checks that both know the key: Python's
    /// `manager.connect()`. An address is `host:port`, or a Unix socket: its path, as
    /// `/run/tasks.sock`, or `@` and its name ([`ServerAddress`](crate::ServerAddress)).
    ///
    /// # Errors
    ///
    /// [`Error::Auth`] when the keys differ, [`Error::EmptyKey`] for an empty one,
    /// [`Error::Address`] for an address that is none, [`Error::Io`]
    /// when nobody listens there or the handshake takes over 5 s, [`Error::Protocol`] when it is
    /// another kind of server.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// assert!(client.queue::<u32>("tasks")?.is_empty()?);
    /// // The key is another.
    /// let refused = Client::connect(server.address(), b"abd");
    /// assert!(matches!(refused, Err(Error::Auth { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn connect(address: impl Display, key: &[u8]) -> Result<Client> {
        Client::connect_manager(address, key, false)
    }

    /// As [`connect`](Client::connect), to a server that proves the key by SHA-256: no proof by MD5
    /// is given or taken, as Python's servers up to 3.11 have it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Client::connect), and [`Error::Auth`] from such a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect_sha256(server.address(), b"abc")?;
    /// assert!(client.queue::<u32>("tasks")?.is_empty()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn connect_sha256(address: impl Display, key: &[u8]) -> Result<Client> {
        Client::connect_manager(address, key, true)
    }

    fn connect_manager(address: impl Display, key: &[u8], requires_sha256: bool) -> Result<Client> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let address = address.to_string();
        ServerAddress::check(&address)?;
        let mut client = ManagerClient::new(address, key.to_vec(), requires_sha256);
        client.check()?;
        Ok(Client(Arc::new(client)))
    }

    /// As [`connect`](Client::connect), for a client that may start before its server: tries
    /// again for `time` while nobody listens there.
    ///
    /// # Errors
    ///
    /// From the last try: [`Error::Address`] when `url` names no place of queues, [`Error::Io`] when
    /// nobody listens there, [`Error::Auth`] for another key, [`Error::Engine`] when the engine refuses
    /// us.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect_within(Duration::from_secs(10), server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put(&34)?;
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn connect_within(time: Duration, address: impl Display, key: &[u8]) -> Result<Client> {
        let start = Instant::now();
        loop {
            match Client::connect(&address, key) {
                Err(error) if error.is_refused() && start.elapsed() < time => {
                    thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    /// How long a call tries to reach a server that has gone away, with longer and longer pauses.
    /// It applies to the queues that are opened afterwards.
    ///
    /// For a manager the default is not to try, because a call that is made again may take effect
    /// twice: the server may have done it before the connection was lost. A `put` can put twice. A
    /// `get` can lose the item that it was handed, unless the queue redelivers. A manager that is
    /// started again has its queues, and they are empty.
    ///
    /// For an engine the default is 30 s, and nothing that was put is lost or put twice. A `put`
    /// gives up after two minutes at the latest, because the engine forgets an item's id then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let client = client.reconnect_within(Duration::from_secs(10));
    /// client.queue::<u32>("tasks")?.put(&34)?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use = "it holds for the client that is returned"]
    pub fn reconnect_within(self, time: Duration) -> Client {
        Client(self.0.reconnect_within(time))
    }

    /// How long the machine of a manager may be silent before a call ends with [`Error::Io`], which
    /// says so; 90 s if not said, and 18 hours at most. It applies to the queues that are opened
    /// afterwards. An engine takes no notice of it: it is asked every second.
    ///
    /// A machine that is up answers for its programs, so a `get` may wait for as long as it likes.
    /// What also ends is a call whose message a manager that is there does not read for so long, if it
    /// is longer than what the systems keep. A manager that is stopped, whose machine is there, is waited
    /// for. Less than 2 s is 2 s for a call that waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let client = client.peer_timeout(Duration::from_secs(10));
    /// client.queue::<u32>("tasks")?.put(&34)?;
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use = "it holds for the client that is returned"]
    pub fn peer_timeout(self, time: Duration) -> Client {
        Client(self.0.peer_timeout(time))
    }

    /// Opens a queue: Python's `manager.get_task_queue()`. A call that waits on one queue holds up
    /// no call on another.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is no queue of this name. [`Error::Engine`] when the stream of
    /// this name was not made by this crate, or the engine is away for too long. [`Error::Closed`],
    /// [`Error::Io`], [`Error::Auth`] or [`Error::Protocol`] when the manager cannot be reached any
    /// more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.queue::<(u32, String)>("tasks")?;
    /// tasks.put(&(34, "Bob".to_string()))?;
    /// assert_eq!(tasks.get()?.1, "Bob");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>> {
        Ok(Queue::new(self.0.queue(name)?))
    }

    /// A proxy of an object that a manager shares: of the one with this name, or of a new one if the name is
    /// that of a type, made with these arguments. Python's `manager.settings()`, and
    /// `manager.dict({"a": 1})`. The arguments are a tuple.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when the manager has nothing of this name, or refuses the arguments.
    /// [`Error::Item`] when `args` is no tuple or has no counterpart in Python. [`Error::Address`] for
    /// an engine, which has queues alone. [`Error::Closed`], [`Error::Io`], [`Error::Auth`] or
    /// [`Error::Protocol`] when the manager cannot be reached any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("settings", ObjectType::Dict).sync_manager();
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let settings = client.proxy("settings", ())?;
    /// settings.call::<()>("__setitem__", ("verbose", true))?;
    /// let names = client.proxy("list", (["Bob", "Alice"],))?;
    /// assert_eq!(names.call::<usize>("__len__", ())?, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn proxy(&self, name: &str, args: impl Serialize) -> Result<Proxy> {
        self.0.proxy(name, &arguments(&args)?)
    }

    /// Makes a queue on an engine, and another for its dead letters. If the queue exists, this
    /// changes its size, lease and replicas. A manager has only the queues that it was started
    /// with.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] for a manager, and for another order than first in, first out.
    /// [`Error::Engine`] when the stream of this name was not
    /// made by this crate, or when the server refuses: more replicas than nodes, no room on its
    /// disk, no permission.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// // A manager's queues are those of its builder.
    /// assert!(client.create(QueueOptions::new("more")).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn create(&self, queue: impl Into<QueueOptions>) -> Result<()> {
        let queue = queue.into();
        if queue.order != QueueOrder::Fifo {
            return Err(Error::NoQueue {
                name: queue.name,
                said: "only a manager has another order than first in, first out".to_string(),
            });
        }
        self.0.create(&queue)
    }

    /// Empties a queue: what waits, and on an engine what is out, too. How many items that were; fewer
    /// where an engine was away meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is none of this name; [`Error::Closed`] when the manager is gone,
    /// [`Error::Engine`] when the engine refuses or is away for too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put_many(&[3, 4])?;
    /// assert_eq!(client.purge("tasks")?, 2);
    /// assert!(tasks.is_empty()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn purge(&self, name: &str) -> Result<u64> {
        self.0.purge(name)
    }

    /// The dead letters of a manager's queue that nobody has taken from `<name>.dead`, with how often
    /// each was tried and why it failed.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is none of this name; [`Error::Closed`] when the manager is gone;
    /// [`Error::Engine`] from an engine, see [`Lease::death`](crate::Lease::death).
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// assert!(client.dead_letters("tasks")?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>> {
        self.0.dead_letters(name)
    }

    /// Puts the dead letters of a manager's queue at its end, to be tried as if for the first time.
    /// How many they were. What they need is room in memory, not in `maxsize`. `purge` of
    /// `<name>.dead` drops them instead.
    ///
    /// # Errors
    ///
    /// As [`dead_letters`](Client::dead_letters).
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// let tasks = QueueOptions::new("tasks").max_deliveries(1);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// tasks.lease()?.fail("no database")?;
    /// assert_eq!(client.retry_dead("tasks")?, 1);
    /// assert_eq!(tasks.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn retry_dead(&self, name: &str) -> Result<u64> {
        self.0.retry_dead(name)
    }

    /// What the server says of its connections and queues.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] from a server of CPython, which does not have it; [`Error::Engine`] from
    /// an engine that does not answer; [`Error::Closed`] when the manager is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, QueueOptions, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let status = client.status()?;
    /// assert_eq!(status.queues[0].name, "tasks");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn status(&self) -> Result<Status> {
        self.0.status()
    }

    /// Answers HTTP on this address, for ever: `/metrics` is the status of the server as
    /// [Prometheus reads it](crate::Status::to_prometheus), and `/health` is answered with 200 if the
    /// server gives a status, and with 503 and the reason if not. For an engine; a manager
    /// [does that itself](crate::Builder::metrics). Of the feature `metrics`.
    ///
    /// `started` is told the address with the port that it really has.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot listen there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use std::sync::mpsc;
    /// use std::thread;
    ///
    /// use distributed::{Client, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// let (started, address) = mpsc::channel();
    /// thread::spawn(move || client.serve_metrics("127.0.0.1:0", |at| _ = started.send(at)));
    /// let mut stream = TcpStream::connect(address.recv()?)?;
    /// stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    /// let mut answer = String::new();
    /// stream.read_to_string(&mut answer)?;
    /// assert!(answer.contains("distributed_queue_length{queue=\"tasks\"} 0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn serve_metrics(&self, address: &str, started: impl FnOnce(SocketAddr)) -> Result<()> {
        let (listener, address) = exporter::listen(address)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start what answers for metrics"))?;
        started(address);
        let client = self.clone();
        runtime.block_on(exporter::serve(listener, move || client.status()))
    }

    /// What of a queue survives a loss of power.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when an engine has none of this name; [`Error::Engine`] when it refuses or is
    /// away for too long.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Durability, Error, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// // A manager keeps its items in memory.
    /// assert_eq!(client.durability("tasks")?, Durability::Memory);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn durability(&self, name: &str) -> Result<Durability> {
        self.0.durability(name)
    }
}

/// What URLs there are.
const EXPECTED: &str =
    "expected tcp://HOST:PORT, unix:///PATH, nats://HOST:PORT or tls://HOST:PORT";

/// Connects to the place of queues that `url` names.
///
/// - `tcp://host:5000`, or `unix:///run/tasks.sock` for a Unix socket, is a manager, whose key is the
///   environment variable `MANAGER_AUTHKEY`.
/// - `nats://host:4222`, or `tls://host:4222` for encryption, is an engine, with the feature `nats`:
///   `nats://user:password@host:4222,host2:4222/namespace?monitor=http://host:8222`. A name alone
///   before the `@` is a token. The path keeps the queues of several programs apart. The options
///   `creds`, `nkey`, `ca`, `cert` and `key` are files, as NATS's tools have them, and with `ca` or
///   `cert` encryption is insisted on; `monitor` is where the server tells how it writes to disk.
///
/// Calls block their thread. In an asynchronous program, make them where that is allowed, as in
/// `spawn_blocking`: elsewhere they keep other tasks waiting.
///
/// # Errors
///
/// [`Error::Address`] when `url` is no such URL, the feature is off, or the environment lacks a
/// manager's key. [`Error::Io`] when nobody listens there or a file cannot be read. [`Error::Auth`]
/// for another key. [`Error::Engine`] when the engine refuses us, is too old, has JetStream off, or
/// does not answer within 5 s. No error repeats a secret of the URL.
///
/// # Examples
///
/// ```
/// use distributed::{Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// match distributed::connect(&format!("tcp://{}", server.address())) {
///     Ok(client) => client.queue::<u32>("tasks")?.put(&34)?,
///     Err(Error::Auth { .. }) => println!("MANAGER_AUTHKEY is another key"),
///     Err(Error::Address(reason)) => println!("{reason}"),
///     Err(error) => return Err(error),
/// }
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
/// From the last try: [`Error::Address`] when `url` names no place of queues, [`Error::Io`] when
/// nobody listens there, [`Error::Auth`] for another key, [`Error::Engine`] when the engine refuses
/// us.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let url = format!("tcp://{}", server.address());
/// match distributed::connect_within(Duration::from_secs(10), &url) {
///     Ok(client) => assert_eq!(client.status()?.queues[0].name, "tasks"),
///     // MANAGER_AUTHKEY is not set, or is another key: no waiting would mend that.
///     Err(Error::Address(_) | Error::Auth { .. }) => {}
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), Error>(())
/// ```
pub fn connect_within(time: Duration, url: &str) -> Result<Client> {
    match url.split_once("://") {
        Some((scheme @ ("tcp" | "unix"), address)) => {
            if (scheme == "unix") != ServerAddress::unix(address).is_some() {
                let reason = "expected tcp://HOST:PORT or unix:///PATH";
                return Err(Error::Address(reason.to_string()));
            }
            let key = std::env::var_os("MANAGER_AUTHKEY").ok_or_else(|| {
                let reason = format!("{scheme}:// needs the manager's key: set MANAGER_AUTHKEY");
                Error::Address(reason)
            })?;
            Client::connect_within(time, address, key.as_encoded_bytes())
        }
        #[cfg(feature = "nats")]
        Some(("nats" | "tls", _)) => {
            let client = NatsClient::connect_within(time, url)?;
            Ok(Client(Arc::new(client)))
        }
        #[cfg(not(feature = "nats"))]
        Some(("nats" | "tls", _)) => Err(Error::Address(
            "nats:// and tls:// need the feature nats, which this program was built without: cargo \
             run -p distributed --features nats --bin ..."
                .to_string(),
        )),
        Some((scheme, _)) => Err(Error::Address(format!(
            "no queues are reached by {scheme}://: {EXPECTED}"
        ))),
        None => Err(Error::Address(format!(
            "{EXPECTED}; `Client::connect` takes HOST:PORT and a key"
        ))),
    }
}
