//! A Rust worker for a Python master.
//!
//! The master is a program that serves its own queues, with CPython's own server:
//!
//! ```python
#![doc = include_str!("../../docs/master.py")]
//! ```
//!
//! The worker opens the queues by the names under which the master has registered them, and says
//! what their items are in Rust:
//!
//! ```
//! use distributed::{Client, Error};
//!
//! fn work(address: &str) -> distributed::Result<()> {
//!     let manager = Client::connect(address, b"abc")?;
//!     let tasks = manager.queue::<u64>("get_task_queue")?;
//!     let results = manager.queue::<String>("get_result_queue")?;
//!     loop {
//!         let n = tasks.get()?;
//!         results.put(&format!("{n} * {n} = {}", n * n))?;
//!     }
//! }
//! # use std::io::{BufRead, BufReader};
//! # use std::process::{Command, Stdio};
//! # let mut master = Command::new("python3");
//! # master.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/master.py"));
//! # let Ok(mut master) = master.stdout(Stdio::piped()).spawn() else {
//! #     assert!(std::env::var_os("CI").is_none(), "no python3 to run the master");
//! #     return;
//! # };
//! # let mut said = BufReader::new(master.stdout.take().expect("it is piped")).lines();
//! # let address = said.next().expect("a line").expect("text");
//!
//! // The master is done, and its server has ended.
//! assert!(matches!(work(&address), Err(Error::Closed { .. })));
//! # assert_eq!(said.last().expect("a line").expect("text"), "Result: 9 * 9 = 81");
//! # assert!(master.wait().expect("it is ours").success());
//! ```
//!
//! CPython's servers of 3.6 to 3.13 are met in their own words. What only ours offers is missing
//! there: [`Client::status`](crate::Client::status) fails, `put_many` and `get_many` work item by
//! item, and [`Queue::lease`](crate::Queue::lease) takes an item for good. A task that a worker
//! takes and does not finish is lost there, since CPython's server hands out and forgets.
