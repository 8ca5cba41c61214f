//! Chapter 5: queues served over TCP, for a master and its workers, in CPython's own protocol.
//!
//! The master serves named queues with [`Manager::builder`]; it and its workers use them as
//! clients, with [`Manager::connect`]. Either side may be Python instead, any from 2.7 to 3.14, and
//! need not be changed for it: the protocol is that of `multiprocessing.managers`.
//!
//! - [`guide`]: how to put Rust on one side of a program in Python, who can do what, and what an
//!   engine is for.
//! - [`Client`], [`Queue`], [`Lease`], [`Worker`], [`Status`]: what a user holds.
//! - `backend`: where queues are, on a manager or, with the feature `nats`, on an engine.
//! - `wire`: the manager protocol as bytes; [`pickle`]: items as data, and what they are in Rust;
//!   [`handshake`]: how both sides prove that they know the key.
//! - `server`: the queues, and a task for each connection.
//!
//! # Coming from `multiprocessing.managers`
//!
//! | Python | Rust |
//! | --- | --- |
//! | `QueueManager.register("get_task_queue", callable=…)` | [`Builder::queue`] |
//! | `SyncManager`'s `Queue`, `JoinableQueue` | [`Builder::factory`] |
//! | `manager.start()` | [`Builder::serve`] |
//! | `manager.get_server().serve_forever()` | [`Server::wait`], or the program `manager` |
//! | `manager.shutdown()` | [`Server::shutdown`] |
//! | `manager.connect()` | [`Manager::connect`], [`Manager::connect_within`] |
//! | `manager.get_task_queue()` | [`Client::queue`] |
//! | `put`, `put(timeout=…)`, `put_nowait` | [`Queue::put`], [`Queue::put_timeout`], [`Queue::try_put`] |
//! | `get`, `get(timeout=…)`, `get_nowait` | [`Queue::get`], [`Queue::get_timeout`], [`Queue::try_get`] |
//! | `qsize`, `empty`, `full` | [`Queue::len`], [`Queue::is_empty`], [`Queue::is_full`] |
//! | `task_done`, `join` | [`Queue::task_done`], [`Queue::join`] |
//! | `queue.Empty`, `queue.Full` | [`Error::Empty`], [`Error::Full`] |
//! | `AuthenticationError` | [`Error::Auth`] |
//! | `EOFError`, `BrokenPipeError` | [`Error::Closed`] |
//! | `RemoteError`, `ValueError`, `TypeError` | [`Error::Remote`] |
//! | nothing | redelivery, the dead queue, [`Queue::lease`], [`Queue::put_many`], [`Client::status`] |
//!
//! Only queues are served, first in, first out. `PriorityQueue` and `LifoQueue` would have to
//! understand what they order; `dict`, `list`, `Lock` and the other types of a `SyncManager`,
//! `queue.shutdown` of Python 3.13, Unix sockets and the XML-RPC serializer are left out too.

use std::fmt::Display;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

mod backend;
mod client;
mod durability;
mod error;
pub mod guide;
mod lease;
mod queue;
mod queue_options;
mod random;
mod server;
mod status;
mod wire;
mod worker;

use backend::manager::ManagerClient;
pub use client::{Client, connect, connect_within};
pub use durability::Durability;
pub use error::{Error, Result};
pub use lease::Lease;
pub use queue::Queue;
pub use queue_options::QueueOptions;
pub use server::{Builder, Server, Stopper};
pub use status::{QueueStatus, Status};
pub use wire::{handshake, pickle};
pub use worker::{Worked, Worker};

/// How long a connection and its handshake may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Where both sides begin: Python's `multiprocessing.managers.BaseManager`.
///
/// # Examples
///
/// ```
/// use distributed::Manager;
///
/// let server = Manager::builder().queue("get_task_queue").serve("127.0.0.1:0", b"abc")?;
/// let manager = Manager::connect(server.address(), b"abc")?;
/// let tasks = manager.queue::<u32>("get_task_queue")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Debug)]
pub enum Manager {}

impl Manager {
    /// Begins a server, with no queue yet.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Connects to the server at `address` (`host:port`) and checks that both know the key:
    /// Python's `manager.connect()`.
    ///
    /// # Errors
    ///
    /// [`Error::Auth`] when the keys differ, [`Error::EmptyKey`] for an empty one, [`Error::Io`]
    /// when nobody listens there or the handshake takes over 5 s, [`Error::Protocol`] when it is
    /// another kind of server.
    pub fn connect(address: impl Display, key: &[u8]) -> Result<Client> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let mut client = ManagerClient::new(address.to_string(), key.to_vec());
        client.check()?;
        Ok(Client(Arc::new(client)))
    }

    /// As [`connect`](Manager::connect), for a client that may start before its server: tries
    /// again for `time` while nobody listens there.
    ///
    /// # Errors
    ///
    /// Those of `connect`, from the last try.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::Manager;
    ///
    /// let server = Manager::builder().serve("127.0.0.1:0", b"abc")?;
    /// let manager = Manager::connect_within(Duration::from_secs(10), server.address(), b"abc")?;
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn connect_within(time: Duration, address: impl Display, key: &[u8]) -> Result<Client> {
        let start = Instant::now();
        loop {
            match Manager::connect(&address, key) {
                Err(error) if error.is_refused() && start.elapsed() < time => {
                    thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }
}
