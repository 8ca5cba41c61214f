//! What a server is to serve, and within which limits.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tracing::info;

use super::call_clock::CallClock;
use super::frame_stream::PERMIT;
use super::objects::{self, ObjectType};
use super::refusals::Refusals;
use super::state::{Factory, Limits, ServerState};
use super::{Server, memory, names, queues, run};
#[cfg(feature = "metrics")]
use crate::exporter;
use crate::peer_timeout::PEER_TIMEOUT;
use crate::{Error, QueueOptions, QueueOrder, Result, ServerAddress};

/// A server that does not serve yet; from [`Server::builder`](crate::Server::builder).
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, QueueOptions, Server};
///
/// let builder = Server::builder()
///     .queue(QueueOptions::new("tasks").redeliver(true))
///     .queue("results")
///     .max_connections(1000);
/// let server = builder.serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// client.queue::<u32>("tasks")?.put(&34)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is served before `serve`"]
pub struct Builder {
    queues: Vec<QueueOptions>,
    factories: BTreeMap<String, Factory>,
    objects: Vec<(String, ObjectType)>,
    limits: Limits,
    max_memory: Option<u64>,
    #[cfg(feature = "metrics")]
    metrics: Option<String>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            queues: Vec::new(),
            factories: BTreeMap::new(),
            objects: Vec::new(),
            limits: Limits {
                message: 1 << 30,
                connections: 10_000,
                handshake: Duration::from_secs(10),
                peer_timeout: PEER_TIMEOUT,
                requires_sha256: false,
                factory_timeout: None,
            },
            max_memory: None,
            #[cfg(feature = "metrics")]
            metrics: None,
        }
    }

    /// Adds a queue, by its name or with [`QueueOptions`]: Python's `register` with a callable that
    /// returns a `queue.Queue`.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, QueueOptions, Server};
    ///
    /// let results = QueueOptions::new("results").maxsize(100);
    /// let builder = Server::builder().queue("tasks").queue(results);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// assert_eq!(server.status().queues.len(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn queue(mut self, queue: impl Into<QueueOptions>) -> Builder {
        self.queues.push(queue.into());
        self
    }

    /// Adds a name under which clients make queues, as with `Queue` and `JoinableQueue` of Python's
    /// `SyncManager`. Each call makes a new queue, with the `maxsize` that it passes. The queue
    /// ends with its last proxy.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// // A program of Python may now call `manager.Queue()`.
    /// let server = Server::builder().factory("Queue").serve("127.0.0.1:0", b"abc")?;
    /// assert_eq!(server.status().queues.len(), 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn factory(mut self, name: impl Into<String>) -> Builder {
        self.factories
            .insert(name.into(), Factory::Queue(QueueOrder::Fifo));
        self
    }

    /// How long a queue of a [factory](Builder::factory) may be without use before it is dropped with
    /// what is in it; for ever if not said, as in Python, where a client that is killed leaves its
    /// queues. A queue is in use while a connection is open that has called it. At least 10 ms.
    ///
    /// Say more than your clients leave a queue alone for: one that made a queue and did not call it,
    /// or whose threads have ended, has no connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Error, Server};
    ///
    /// let builder = Server::builder().factory("Queue");
    /// let builder = builder.factory_timeout(Duration::from_secs(24 * 3600));
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn factory_timeout(mut self, time: Duration) -> Builder {
        self.limits.factory_timeout = Some(time.max(Duration::from_millis(10)));
        self
    }

    /// As [`factory`](Builder::factory), of queues that hand out their items in this order.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, QueueOrder, Server};
    ///
    /// // A program of Python may now call `manager.LifoQueue()`.
    /// let builder = Server::builder().queue_factory("LifoQueue", QueueOrder::Lifo);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn queue_factory(mut self, name: impl Into<String>, order: QueueOrder) -> Builder {
        self.factories.insert(name.into(), Factory::Queue(order));
        self
    }

    /// Adds an object of a type that Python's `SyncManager` has, under a name by which all clients
    /// open the same one: Python's `register` with a callable that returns it. What it stores counts
    /// in [`max_memory`](Builder::max_memory).
    ///
    /// See [`shared_objects`](crate::guide::shared_objects) for what is refused, and for what
    /// becomes of a lock when its holder dies.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, ObjectType, Server};
    ///
    /// // A program of Python opens it with `manager.register("settings", proxytype=DictProxy)`.
    /// let builder = Server::builder().object("settings", ObjectType::Dict);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn object(mut self, name: impl Into<String>, object: ObjectType) -> Builder {
        self.objects.push((name.into(), object));
        self
    }

    /// Adds a name under which clients make objects of this type. Each call makes a new one, of the
    /// arguments that it passes, as the type's own call in Python does. The object ends with its
    /// last proxy.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, ObjectType, Server};
    ///
    /// // A program of Python may now call `manager.counters({"a": 1})`.
    /// let builder = Server::builder().object_factory("counters", ObjectType::Dict);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn object_factory(mut self, name: impl Into<String>, object: ObjectType) -> Builder {
        self.factories.insert(name.into(), Factory::Object(object));
        self
    }

    /// Adds all names of Python's `SyncManager` but `Pool`, and those of the queues that the module
    /// `queue` has beside, `LifoQueue`, `PriorityQueue` and `SimpleQueue`: a program that calls `connect()` instead
    /// of `start()` may call `manager.dict()`, `manager.Lock()` and the others as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().sync_manager().serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sync_manager(mut self) -> Builder {
        for (name, object) in objects::SYNC_MANAGER {
            self = self.object_factory(name, object);
        }
        self.factory("Queue")
            .factory("JoinableQueue")
            .factory("SimpleQueue")
            .queue_factory("LifoQueue", QueueOrder::Lifo)
            .queue_factory("PriorityQueue", QueueOrder::Priority)
    }

    /// The longest message, in bytes, at most 4 GiB and a quarter of
    /// [`max_memory`](Builder::max_memory); 1 GiB if not said. A longer one is an error for its
    /// client.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let builder = Server::builder().queue("tasks").max_message(1 << 10);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<String>("tasks")?;
    /// assert!(tasks.put(&"x".repeat(1 << 12)).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_message(mut self, bytes: u32) -> Builder {
        self.limits.message = bytes as usize;
        self
    }

    /// The memory that the server may use for what clients send, in bytes; half of what the machine
    /// or its cgroup has if not said.
    ///
    /// Three quarters of it are for items: those that wait, that are out on a lease and that are
    /// being sent, each with 256 bytes for its place. Of those three quarters one queue may have as
    /// much, unless it has [`max_bytes`](QueueOptions::max_bytes). A put over that waits, or is
    /// [`Full`](Error::Full), as one over `maxsize` is. An item that can never fit is an error that
    /// says so.
    ///
    /// The last quarter is for messages on their way in. One of more than 16 KiB takes its length of
    /// it before it is read, in the order of arrival, and keeps it until its call is done. A put that
    /// gets none within 30 s is [`Full`](Error::Full); a client that then is more than 10 s behind
    /// 1 MiB a second is cut off. What is sent is sent from where it is stored; an answer of a shared
    /// object is a copy, which counts as stored if it is longer than 1 MiB. The
    /// process also takes the program itself, up to 40 kilobytes for each connection, what a message
    /// takes while it is read, which is its length once more and a place for each of its values, of
    /// which there may be 8,388,608; and what the allocator keeps.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let builder = Server::builder().queue("tasks").max_memory(1 << 20);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<String>("tasks")?;
    /// let item = "x".repeat(200_000);
    /// tasks.put(&item)?;
    /// tasks.put(&item)?;
    /// assert!(matches!(tasks.try_put(&item), Err(Error::Full)));
    /// assert_eq!(server.status().max_memory, 1 << 20);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_memory(mut self, bytes: u64) -> Builder {
        self.max_memory = Some(bytes);
        self
    }

    /// The most connections at one time of clients that have proved the key; 10,000 by default. A
    /// client beyond that waits for a place, as long as a
    /// [handshake](Builder::handshake_timeout) may take, and is then told so: [`Error::Io`], and in
    /// Python an `OSError`. A Python client has one for each thread
    /// that uses a queue, and now and then one more for a moment.
    ///
    /// Those who have not proved the key have 1,024 places of their own. When these are taken, a
    /// newcomer has the place of the one who has had his longest, but for 50 ms at least, of the
    /// address that has the most.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server};
    ///
    /// let builder = Server::builder().queue("tasks").max_connections(1);
    /// let builder = builder.handshake_timeout(Duration::from_millis(200));
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let only = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// only.put(&34)?;
    /// assert!(Client::connect(server.address(), b"abc").is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_connections(mut self, connections: usize) -> Builder {
        self.limits.connections = connections.min(Semaphore::MAX_PERMITS);
        self
    }

    /// How long a client may take to prove that it has the key and to say what it wants; 10 s if
    /// not said.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// use distributed::Server;
    ///
    /// let builder = Server::builder().handshake_timeout(Duration::from_millis(50));
    /// let server = builder.queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// // A client that says nothing hears the server's challenge, and then the end.
    /// let mut silent = TcpStream::connect(server.address().to_string())?;
    /// io::copy(&mut silent, &mut io::sink())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handshake_timeout(mut self, time: Duration) -> Builder {
        self.limits.handshake = time;
        self
    }

    /// Lets nobody in who proves the key by MD5, as Python up to 3.11 does; from 3.12 on it proves it
    /// by SHA-256. Nobody is known to forge the proof by MD5, but many rules forbid it.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").require_sha256().serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect_sha256(server.address(), b"abc")?;
    /// client.queue::<u32>("tasks")?.put(&34)?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn require_sha256(mut self) -> Builder {
        self.limits.requires_sha256 = true;
        self
    }

    /// How long a client's machine may be silent before its connection counts as lost; 90 s if not
    /// said, and 18 hours at most. Then what it held comes back, and it waits for nothing any more.
    ///
    /// A machine that is up answers for its programs, so a worker may be at a task for as long as
    /// it likes. What also ends is the connection of a client that was sent something and reads
    /// none of it for so long. One that waits for an item is looked after once a second at most, so
    /// less than 2 s is 2 s for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Error, Server};
    ///
    /// let builder = Server::builder().queue("tasks").peer_timeout(Duration::from_secs(10));
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn peer_timeout(mut self, time: Duration) -> Builder {
        self.limits.peer_timeout = time;
        self
    }

    /// Answers HTTP on this address too, `host:port`: `/metrics` is the [status](crate::Server::status)
    /// as [Prometheus reads it](crate::Status::to_prometheus), and `/health` is answered with 200 for as
    /// long as the server serves. Whoever can reach the address needs no key, so let it be one of this
    /// machine or of a network of your own. Of the feature `metrics`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    ///
    /// use distributed::Server;
    ///
    /// let builder = Server::builder().queue("tasks").metrics("127.0.0.1:0");
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let mut stream = TcpStream::connect(server.metrics_address().expect("it has one"))?;
    /// stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    /// let mut answer = String::new();
    /// stream.read_to_string(&mut answer)?;
    /// assert!(answer.starts_with("HTTP/1.1 200 OK"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics(mut self, address: impl Into<String>) -> Builder {
        self.metrics = Some(address.into());
        self
    }

    /// Listens on `address` and serves the queues to whoever knows the key: Python's
    /// `manager.start()`, with a thread in place of a process. An address is `host:port`, where port 0
    /// is any free one, or a Unix socket for clients of this machine: its path, as `/run/tasks.sock`
    /// or `./tasks.sock`, or `@` and a name of Linux that is in no folder, Python's `"\0name"`.
    ///
    /// The file of a Unix socket has the mode that the umask says, so with the usual one only its
    /// user can connect, who must prove the key all the same; an `@` name has no mode. The file goes
    /// with the server. One that a killed server has left is replaced.
    ///
    /// Messages are neither encrypted nor signed, so a public address is for networks you trust;
    /// see [`security`](crate::guide::security).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] for an empty key; [`Error::Address`] for an address that is none;
    /// [`Error::Name`] where two queues, objects or factories have the same name, where one is empty or
    /// begins with `#`, and for that of a queue that the server makes itself, as `tasks.dead` beside
    /// `tasks`;
    /// [`Error::Io`] when it cannot listen there, as where another server does, or where the metrics
    /// are to be.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert_ne!(server.address().to_string(), "127.0.0.1:0");
    /// let refused = Server::builder().serve("127.0.0.1:0", b"");
    /// assert!(matches!(refused, Err(Error::EmptyKey)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn serve(self, address: impl Display, key: &[u8]) -> Result<Server> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let address = address.to_string();
        ServerAddress::check(&address)?;
        let objects = self.objects.iter().map(|(name, _)| name);
        names::check(&self.queues, objects.chain(self.factories.keys()))?;
        #[cfg(feature = "metrics")]
        let metrics = self.metrics.as_deref().map(exporter::listen).transpose()?;
        #[cfg(feature = "metrics")]
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        let max_memory = self.max_memory.unwrap_or_else(memory::half_of_the_machine);
        // A quarter is left for messages on their way in and out.
        let memory = memory::Budget::new(max_memory - max_memory / 4);
        let permits = (max_memory / 4 / PERMIT as u64).min(u32::MAX.into()) as usize;
        let messages = permits.min(Semaphore::MAX_PERMITS);
        let mut limits = self.limits;
        limits.message = limits.message.min(messages * PERMIT);
        let mut queues = queues::Queues::new(Arc::clone(&memory));
        self.queues
            .into_iter()
            .for_each(|options| queues.add(options));
        for (name, object) in self.objects {
            let added = queues.objects.add(&name, object);
            added.map_err(|fault| Error::Remote {
                class: fault.class.to_string(),
                text: format!("cannot make {name}: {}", fault.text),
            })?;
        }
        let state = Arc::new(ServerState {
            key: key.to_vec(),
            factories: self.factories,
            limits,
            queues: Mutex::new(queues),
            max_memory,
            memory,
            messages: Arc::new(Semaphore::new(messages)),
            strangers: Arc::default(),
            refusals: Refusals::default(),
            calls: CallClock::default(),
            places: Arc::new(Semaphore::new(self.limits.connections)),
            stop: watch::Sender::new(false),
        });
        let served = Arc::clone(&state);
        let (started, bound) = mpsc::channel();
        // The thread makes the runtime and drops it too: a caller that is async may not do so.
        let thread = thread::Builder::new()
            .name("manager".into())
            .spawn(move || {
                #[cfg(feature = "metrics")]
                let beside = metrics.map(|(listener, _)| {
                    let state = Arc::clone(&served);
                    exporter::serve(listener, move || Ok(state.status(&state.queues())))
                });
                #[cfg(not(feature = "metrics"))]
                let beside = None::<std::future::Pending<Result<()>>>;
                run(&address, served, &started, beside)
            })
            .map_err(Error::io("start the server's thread"))?;
        let address = bound.recv().expect("the thread says how it started")?;
        info!(%address, "serving");
        Ok(Server {
            address,
            #[cfg(feature = "metrics")]
            metrics_address,
            state,
            thread: Some(thread),
        })
    }
}
