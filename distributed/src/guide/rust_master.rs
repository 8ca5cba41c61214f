//! A Rust master for Python workers.
//!
//! A worker that takes a task and puts its result in one thread, one after the other, is safe as it
//! is: with `redeliver`, a task whose worker is killed goes to another one, and its result is there
//! once. All other shapes need the two calls of a lease, [below](#workers-of-other-shapes): a thread
//! for each fetch, a `ThreadPoolExecutor`, a `multiprocessing.Pool` in the worker,
//! `asyncio.to_thread`. With a plain `get` the first loses its tasks to other workers when the
//! thread ends, and the others lose what is under way when they are killed.
//!
//! The worker is a program that people already have. It needs no change, whatever its Python:
//!
//! ```python
#![doc = include_str!("../../docs/worker.py")]
//! ```
//!
//! The master serves both queues and uses them itself. With `redeliver`, a task whose worker is
//! killed goes to another one:
//!
//! ```
//! use std::time::Duration;
//!
//! use distributed::{Client, QueueOptions, Server};
//!
//! let server = Server::builder()
//!     .queue(QueueOptions::new("get_task_queue").redeliver(true))
//!     .queue("get_result_queue")
//!     .serve("127.0.0.1:0", b"abc")?;
//! # let mut worker = std::process::Command::new("python3");
//! # worker.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/worker.py"));
//! # let Ok(mut worker) = worker.arg(server.address().to_string()).spawn() else {
//! #     assert!(std::env::var_os("CI").is_none(), "no python3 to run the worker");
//! #     return Ok(());
//! # };
//! let manager = Client::connect(server.address(), b"abc")?;
//! let tasks = manager.queue::<Option<u32>>("get_task_queue")?;
//! let results = manager.queue::<String>("get_result_queue")?;
//! for n in 0..10 {
//!     tasks.put(&Some(n))?;
//! }
//! for n in 0..10 {
//!     let result = results.get_timeout(Duration::from_secs(60))?;
//!     assert_eq!(result, format!("{n} * {n} = {}", n * n));
//! }
//! // This worker leaves when it is handed None.
//! tasks.put(&None)?;
//! # assert!(worker.wait().expect("it is ours").success());
//! # Ok::<(), distributed::Error>(())
//! ```
//!
//! Whoever gets from `get_result_queue` is handed results of all masters. Of several, or of one that is
//! started again, each gets its own with [`Master`](crate::Master), from the same workers.
//!
//! Where the master is Python too, the program `manager` serves the queues for both. In the master
//! `start()` becomes `connect()`, and `shutdown()` goes: a Python manager has it only after `start()`.
//!
//! ```sh
//! MANAGER_AUTHKEY=abc manager --queue get_task_queue --queue get_result_queue --redeliver get_task_queue
//! ```
//!
//! # What a Python worker gets beyond Python's server
//!
//! - `put_many(items)`, `get_many(n, timeout=None)`: many items in one message. `get_many` returns
//!   what there is, at least one item, and raises `queue.Empty` after the timeout.
//! - `lease(block=True, timeout=None, expires=None)` returns `(lease, item)`: the item goes back to
//!   the front of the queue unless `ack(lease)` is called in time. Without `expires` that is before
//!   the connection ends; with it, before so many seconds have passed, on any connection.
//!   `release(lease)` gives the item back at once.
//! - `take(block=True, timeout=None)` is `get` of an item that comes back if the worker is gone,
//!   whether the queue redelivers or not. `fail(reason)` says that the work on it failed: it comes back
//!   after a pause that grows from 1 s to 5 minutes, and is a dead letter with that reason in the end.
//! - `put_and_take(item, results)` puts `item` into the queue of the name `results`, and takes the next
//!   item, in one call. The one before is done with it. It raises `queue.Empty` if no item is there;
//!   the result is put all the same. A Rust [`Worker`](crate::Worker) works so.
//! - A queue of the name `<name>.dead`, with what was handed out too often. Python registers it by
//!   that name and calls `getattr(manager, "get_task_queue.dead")()`.
//!
//! # Workers of other shapes
//!
//! CPython has a connection for each thread, and the server cannot see which connections are one
//! process. So a worker that fetches in one thread and works in another says itself what is done:
//!
//! ```python
//! lease, n = tasks.lease(expires=60)   # in place of n = tasks.get()
//! ...
//! results.put(n * n)                   # in any thread, or in a process of the worker's pool
//! tasks.ack(lease)                     # new
//! ```
//!
//! The time must be longer than a task takes, and until it is over the task of a killed worker is
//! nobody's. `put` and `ack` are two calls: a worker that is killed between them, or is late, leaves
//! a result that comes a second time. `ack` of a lease that is over raises `ValueError`.
//!
//! A plain loop that may freeze needs no change, if the queue has a
//! [`visibility_timeout`](crate::QueueOptions::visibility_timeout): the task is another's after that
//! time, and the late `put` raises `RuntimeError`.
//!
//! # After Ctrl-C in Python
//!
//! `KeyboardInterrupt` ends a call of the client, of which the server hears nothing. It learns it from
//! the next call over that connection: then the first one is given up, takes nothing, and each call
//! gets its own answer. CPython's server goes on with the first, and every answer is that of the call
//! before. An item that was put between the two is on its way by then, and nothing tells its reply
//! from one that is waited for. With `redeliver` it comes back when the connection ends, so end it:
//!
//! ```python
//! del tasks._tls.connection
//! ```
//!
//! # When the server is restarted
//!
//! What was in its queues is lost, and they are there again, under the same idents. A Rust client
//! goes on if it was told to ([`Client::reconnect_within`](crate::Client::reconnect_within)). In
//! Python the call at hand raises `EOFError` or `ConnectionResetError`, and every later one
//! `BrokenPipeError`, until the proxy forgets its connection:
//!
//! ```python
//! del tasks._tls.connection
//! ```
//!
//! Then the next call connects anew. The line is for one thread: each has a connection of its own.
