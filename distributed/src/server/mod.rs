//! The server: who may come in, how much they may send, and when it ends.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::{Error, QueueOptions, Result, Status};

mod calls;
mod frame_stream;
mod item_queue;
mod leases;
mod management;
mod memory;
mod queues;
mod session;
mod state;

use state::{Limits, ServerState};

/// How many connections may wait to be accepted: enough for all workers of a cluster that start at
/// one moment. The kernel has a limit of its own (`net.core.somaxconn`, 4096 by default).
const BACKLOG: u32 = 4096;
/// How long, at the end, replies that are under way may take.
const GRACE: Duration = Duration::from_secs(1);

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
    factories: BTreeSet<String>,
    limits: Limits,
    max_memory: Option<u64>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            queues: Vec::new(),
            factories: BTreeSet::new(),
            limits: Limits {
                message: 64 << 20,
                connections: 10_000,
                handshake: Duration::from_secs(10),
            },
            max_memory: None,
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
        self.factories.insert(name.into());
        self
    }

    /// The longest message, in bytes, at most 4 GiB; 64 MiB if not said. A client that sends a
    /// longer one is cut off.
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
    /// The last quarter is left for messages on their way in and out. Those are not counted: what
    /// bounds them is [`max_message`](Builder::max_message) and
    /// [`max_connections`](Builder::max_connections). The process also takes the program itself, some
    /// kilobytes for each connection, and what the allocator keeps.
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
    /// tasks.put_many(&[item.clone(), item.clone()])?;
    /// assert!(matches!(tasks.try_put(&item), Err(Error::Full)));
    /// assert_eq!(server.status().max_memory, 1 << 20);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_memory(mut self, bytes: u64) -> Builder {
        self.max_memory = Some(bytes);
        self
    }

    /// The most connections at one time; 10,000 by default. Connections beyond that are closed at
    /// once. A Python client has one for each thread that uses a queue, and now and then one more
    /// for a moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpStream;
    ///
    /// use distributed::{Client, Server};
    ///
    /// let builder = Server::builder().queue("tasks").max_connections(1);
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// let only = TcpStream::connect(server.address())?;
    /// assert!(Client::connect(server.address(), b"abc").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// let mut silent = TcpStream::connect(server.address())?;
    /// io::copy(&mut silent, &mut io::sink())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handshake_timeout(mut self, time: Duration) -> Builder {
        self.limits.handshake = time;
        self
    }

    /// Listens on `address` (`host:port`; port 0 is any free one) and serves the queues to whoever
    /// knows the key: Python's `manager.start()`, with a thread in place of a process.
    ///
    /// Messages are neither encrypted nor signed, so a public address is for networks you trust;
    /// see [`security`](crate::guide::security).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] for an empty key; [`Error::Io`] when it cannot listen there.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert_ne!(server.address().port(), 0);
    /// let refused = Server::builder().serve("127.0.0.1:0", b"");
    /// assert!(matches!(refused, Err(Error::EmptyKey)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn serve(self, address: impl Display, key: &[u8]) -> Result<Server> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let max_memory = self.max_memory.unwrap_or_else(memory::half_of_the_machine);
        // A quarter is left for messages on their way in and out.
        let memory = memory::Budget::new(max_memory - max_memory / 4);
        let mut queues = queues::Queues::new(Arc::clone(&memory));
        self.queues
            .into_iter()
            .for_each(|options| queues.add(options));
        let state = Arc::new(ServerState {
            key: key.to_vec(),
            factories: self.factories,
            limits: self.limits,
            queues: Mutex::new(queues),
            max_memory,
            memory,
            stop: watch::Sender::new(false),
        });
        let (address, served) = (address.to_string(), Arc::clone(&state));
        let (started, bound) = mpsc::channel();
        // The thread makes the runtime and drops it too: a caller that is async may not do so.
        let thread = thread::Builder::new()
            .name("manager".into())
            .spawn(move || run(&address, served, &started))
            .map_err(Error::io("start the server's thread"))?;
        let address = bound.recv().expect("the thread says how it started")?;
        info!(%address, "serving");
        Ok(Server {
            address,
            state,
            thread: Some(thread),
        })
    }
}

/// Listens, says through `started` on which address or why not, and serves until it is time to end.
fn run(address: &str, state: Arc<ServerState>, started: &mpsc::Sender<Result<SocketAddr>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(Error::io("start the server")(error)));
            return;
        }
    };
    runtime.block_on(async {
        let listener = listen(address).and_then(|listener| {
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        });
        match listener {
            Ok((listener, bound)) => {
                let _ = started.send(Ok(bound));
                // They go with the runtime.
                tokio::spawn(serve_putters(Arc::clone(&state)));
                tokio::spawn(expire(Arc::clone(&state)));
                accept(listener, state).await;
            }
            Err(error) => {
                let _ = started.send(Err(Error::io(format!("listen on {address}"))(error)));
            }
        }
    });
}

/// Listens on the first of the addresses that `address` stands for on which it can.
fn listen(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let listener = socket.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A server of queues. It stops when it is dropped.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// server.shutdown();
/// assert!(matches!(tasks.get(), Err(distributed::Error::Closed)));
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a server that is dropped shuts down"]
pub struct Server {
    address: SocketAddr,
    state: Arc<ServerState>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins a server, with no queue yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.shutdown();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Where it listens, with the port that it really has.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert!(server.address().ip().is_loopback());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is in the queues, and who is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert_eq!(server.status().queues[0].len, 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn status(&self) -> Status {
        self.state.status(&self.state.queues())
    }

    /// Another handle that can stop the server, for a thread that waits for a signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    /// use std::thread;
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let stopper = server.stopper();
    /// thread::spawn(move || stopper.stop());
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.state))
    }

    /// Waits until the server has ended: because a client called `shutdown`, or by a [`Stopper`].
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.stopper().stop();
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Stops: calls under way get their answer, blocked ones [`Error::Closed`]. When it returns,
    /// the port is free and the thread has ended. Items that nobody took are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// server.shutdown();
    /// assert!(tasks.put(&34).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn shutdown(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.state.stop.send_replace(true);
            let _ = thread.join();
        }
    }
}

/// Stops a [`Server`] that someone else waits for; from [`Server::stopper`].
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// use distributed::{Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let stopper = server.stopper();
/// let signal = thread::spawn(move || stopper.stop());
/// // It returns, for another thread has stopped the server.
/// server.wait();
/// # signal.join().expect("it only stops the server");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<ServerState>);

impl Stopper {
    /// Asks the server to end, and does not wait until it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.stopper().stop();
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }
}

/// Serves those who wait for memory whenever some has become free.
async fn serve_putters(state: Arc<ServerState>) {
    loop {
        state.memory.freed().await;
        state.queues().serve_putters();
    }
}

/// Gives back what was leased for a time, each when its time is over: one timer for all.
async fn expire(state: Arc<ServerState>) {
    let sooner = Arc::clone(&state.queues().leases.sooner);
    loop {
        let next = state.queues().expire(Instant::now());
        let due = async {
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => {}
        }
        // Many may be due, and others are to have the lock between.
        yield_now().await;
    }
}

/// Lets clients in, each to a task of its own, until it is time to end.
async fn accept(listener: TcpListener, state: Arc<ServerState>) {
    let mut stopping = state.stop.subscribe();
    let places = Arc::new(Semaphore::new(state.limits.connections));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => break,
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors: those who are in may leave, then it goes on.
                warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            warn!(
                limit = state.limits.connections,
                "a connection is refused: there are too many"
            );
            continue;
        };
        let state = Arc::clone(&state);
        clients.spawn(async move {
            session::serve(stream, state).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    let _ = timeout(GRACE, all).await;
    info!("ended");
}
