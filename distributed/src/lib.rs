//! Queues of tasks over the network, for a master and its workers, in CPython's own protocol.
//!
//! The master serves named queues with [`Server::builder`]; it and its workers use them as
//! clients, with [`Client::connect`]. Either side may be Python instead, any from 2.7 to 3.13 as tested, and
//! need not be changed for it: the protocol is that of `multiprocessing.managers`.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use distributed::{Client, Error, QueueOptions, Server, Worker};
//!
//! // The master serves the queues and puts tasks.
//! let tasks = QueueOptions::new("tasks").redeliver(true);
//! let server = Server::builder().queue(tasks).queue("results").serve("127.0.0.1:0", b"abc")?;
//! let master = Client::connect(server.address(), b"abc")?;
//! master.queue::<u32>("tasks")?.put_many(&[3, 4])?;
//!
//! // A worker on any machine runs a function on each, until no more come.
//! let client = Client::connect(server.address(), b"abc")?;
//! let worker = Worker::new().idle(Duration::from_millis(50));
//! worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
//!
//! // The master gets the results.
//! assert_eq!(master.queue::<u32>("results")?.get_many(2, None)?, [9, 16]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Where things are
//!
//! - [`guide`]: how to put Rust on one side of a program in Python, who can do what, and what an
//!   engine is for.
//! - [`Client`], [`Queue`], [`Lease`], [`Worker`], [`Status`]: what a user holds.
//! - [`TaskQueue`], [`TaskHandle`], [`TaskOptions`]: tasks by name, with an outcome for each;
//!   [`guide::tasks_by_name`] shows them.
//! - [`Server`], [`Builder`], [`QueueOptions`]: the queues of a manager, and their rules.
//! - [`connect`](connect()): queues by their URL, on a manager or, with the feature `nats`, on an engine.
//! - [`pickle`]: items as data, and what they are in Rust; [`handshake`]: how both sides prove that
//!   they know the key.
//!
//! # How to depend on it
//!
//! ```toml
//! [dependencies]
//! distributed = { path = "…/distributed", default-features = false }
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `nats` | the queues and tasks of [`connect`](connect()) on NATS JetStream: [`guide::growing`] |
//! | `processes` | `Worker::task_in_pool`: tasks in processes, where a crash costs a try and not the worker |
//! | `metrics` | what a server is doing, as Prometheus reads it: [`guide::watching`] |
//! | `programs` | the programs `manager`, `task_master` and `task_worker`; on by default |
//! | `top` | `manager top`, which shows a server on a terminal |
//! | `traces` | `manager --traces`, which sends the life of each item to OpenTelemetry |
//!
//! # Coming from `multiprocessing.managers`
//!
//! | Python | Rust |
//! | --- | --- |
//! | `QueueManager.register("get_task_queue", callable=…)` | [`Builder::queue`] |
//! | `SyncManager`'s `Queue`, `JoinableQueue` | [`Builder::factory`], [`Builder::sync_manager`] |
//! | `LifoQueue`, `PriorityQueue`, `SimpleQueue` | [`QueueOptions::order`], [`Builder::queue_factory`] |
//! | `SyncManager`'s `dict`, `list`, `set`, `Namespace`, `Value`, `Array`, `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`, `Event`, `Condition`, `Barrier` | [`Builder::sync_manager`], [`Builder::object`], [`Builder::object_factory`] |
//! | `manager.dict()`, `manager.Lock()` of a client | [`Client::proxy`] |
//! | `proxy.append(3)`, `with proxy:` | [`Proxy::call`], [`Proxy::acquire`] |
//! | `manager.start()` | [`Builder::serve`] |
//! | `address=("127.0.0.1", 5000)`, `address="/run/tasks.sock"` | [`ServerAddress`] |
//! | `manager.get_server().serve_forever()` | [`Server::wait`], or the program `manager` |
//! | `manager.shutdown()` | [`Server::shutdown`] |
//! | `manager.connect()` | [`Client::connect`], [`Client::connect_within`] |
//! | `manager.get_task_queue()` | [`Client::queue`] |
//! | `put`, `put(timeout=…)`, `put_nowait` | [`Queue::put`], [`Queue::put_timeout`], [`Queue::try_put`] |
//! | `get`, `get(timeout=…)`, `get_nowait` | [`Queue::get`], [`Queue::get_timeout`], [`Queue::try_get`] |
//! | `qsize`, `empty`, `full` | [`Queue::len`], [`Queue::is_empty`], [`Queue::is_full`] |
//! | `task_done`, `join` | [`Queue::task_done`], [`Queue::join`] |
//! | `queue.Empty`, `queue.Full` | [`Error::Empty`], [`Error::Full`] |
//! | `AuthenticationError` | [`Error::Auth`] |
//! | `EOFError`, `BrokenPipeError` | [`Error::Closed`]; [`Error::ShutDown`] from a server that says so |
//! | `RemoteError`, `ValueError`, `TypeError` | [`Error::Remote`] |
//! | nothing | redelivery, the dead queue, [`Master`], [`TaskQueue`], [`Queue::lease`], [`Queue::put_many`], [`Client::status`] |
//!
//! `Pool` of a `SyncManager`, `queue.shutdown` of Python 3.13 and the XML-RPC serializer are left out. What differs for the objects is in [`guide::shared_objects`].

use std::time::Duration;

mod backend;
mod client;
mod dead_letter;
mod durability;
mod error;
#[cfg(feature = "metrics")]
mod exporter;
pub mod guide;
mod lease;
mod master;
#[cfg(feature = "metrics")]
mod metrics;
mod panics;
mod peer_timeout;
mod queue;
mod queue_options;
mod random;
mod server;
mod server_address;
mod status;
mod task_options;
mod task_queue;
mod wire;
mod worker;

pub use backend::manager::{Proxy, ProxyGuard};
pub use client::{Client, connect, connect_within};
pub use dead_letter::DeadLetter;
pub use durability::Durability;
pub use error::{Error, Result};
pub use lease::Lease;
pub use master::{Master, TaskFailed, TaskResult};
pub use queue::Queue;
pub use queue_options::{QueueOptions, QueueOrder};
pub use server::{Builder, ObjectType, Server, Stopper};
pub use server_address::ServerAddress;
pub use status::{CallTimes, HoldStatus, QueueStatus, Status, WaitStatus};
pub use task_options::{Priority, TaskOptions};
pub use task_queue::{TaskHandle, TaskQueue};
pub use wire::{handshake, pickle};
pub use worker::{TaskContext, Worked, Worker};

/// The target of the spans that a server makes for `tracing`, one for each item from when it is put
/// until it is done, at the level of debug. See [`guide::watching`].
pub const ITEM_SPANS: &str = "distributed::item";

/// The target of the spans that a [`Worker`] makes for `tracing`, one for each try of a task by name, at
/// the level of debug. See [`guide::watching`].
pub const TASK_SPANS: &str = "distributed::task";

/// How long a connection and its handshake may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
