//! A Rust master for Python workers.
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
//!   the front of the queue unless `ack(lease)` is called before the connection or the time ends.
//!   `release(lease)` gives it back at once.
//! - A queue of the name `<name>.dead`, with what was handed out too often. Python registers it by
//!   that name and calls `getattr(manager, "get_task_queue.dead")()`.
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
