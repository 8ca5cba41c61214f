//! Tasks by name: a client submits a call, a worker somewhere has the function.
//!
//! ```
//! use std::time::Duration;
//!
//! use distributed::{Client, Error, Priority, Server, TaskOptions, Worker};
//!
//! fn resize((width, height): (u32, u32)) -> Result<u32, String> {
//!     if height == 0 { Err("it has no height".to_string()) } else { Ok(width / height) }
//! }
//!
//! # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
//! # let client = Client::connect(server.address(), b"abc")?;
//! // On one machine.
//! let tasks = client.task_queue("tasks")?;
//! let options = TaskOptions::new().priority(Priority::High).retries(0);
//! let good = tasks.submit::<u32>("resize", &(1024, 512))?;
//! let bad = tasks.submit_with::<u32>("resize", &(1024, 0), options)?;
//!
//! // On others.
//! let worker = Worker::new().task("resize", resize).concurrency(2);
//! worker.idle(Duration::from_millis(50)).serve(&client, "tasks")?;
//!
//! assert_eq!(good.result(Some(Duration::from_secs(10)))?, 2);
//! let error = bad.result(None).expect_err("it fails").to_string();
//! assert!(error.starts_with("the task `resize` failed in 1 try, the last on "));
//! assert!(error.ends_with(": it has no height"));
//! # Ok::<(), Error>(())
//! ```
//!
//! [`Worker::task`](crate::Worker::task) and [`TaskQueue`](crate::TaskQueue) are the two sides. A queue
//! of tasks is any queue that has a name. [`Master`](crate::Master) is for workers that have no names
//! and no functions: programs in Python that get from one queue and put into another, unchanged.
//!
//! # What holds
//!
//! - A task is begun at least once, and its outcome comes once. A worker that is killed gives it back
//!   at once, and that counts as a try.
//! - [`TaskOptions`](crate::TaskOptions) say how urgent a task is, when it may run, how long, and how
//!   often it is tried again. Each costs the server the same however many tasks wait.
//! - A task that is cancelled and waits never runs. Nor does one on its way to a worker that has heard
//!   of its cancellation; a worker remembers the last 1,024 of those. One that runs is told within a
//!   moment, and ends when its function looks; its submitter is told at once.
//! - What a thread runs cannot be ended from outside. A function that never looks occupies its thread
//!   for as long as it takes, also when its time limit is over.
//!
//! # In processes
//!
//! A function that may crash, or that cannot look, runs in a process of a `multiprocess::Pool`, with
//! the feature `processes` and `Worker::task_in_pool`. The program needs no other line for it:
//!
//! ```no_run
#![doc = include_str!("../../examples/task_processes.rs")]
//! ```
//!
//! - A segfault, an abort or a kill costs that try, and its submitter is told: `process 4711 was killed
//!   by signal 11 (SIGSEGV)`. The worker, its name and its other tasks stay.
//! - A task that is cancelled, or over its time limit, is killed with all that its process started.
//! - A pool has memory limits, initializers and numbers of tasks after which a process is replaced:
//!   see its builder. Its own `task_timeout` counts as a failure of the task.
//! - When the pool itself is gone, the worker ends with an error, and its tasks go to others.
//!
//! # On an engine
//!
//! With the feature `nats`, the same calls have their tasks on NATS JetStream, where they outlive a
//! server: [`Client::create`](crate::Client::create) makes the queue, and whoever opens its tasks first
//! makes their streams. What differs:
//!
//! | | manager, `tcp://` | engine, `nats://` or `tls://` |
//! | --- | --- | --- |
//! | arguments and results | pickles | JSON, of 1 MiB at most; a longer result is a failure of its task |
//! | a worker is killed | its tasks are back at once | back when the lease ends, 30 s unless [`QueueOptions::lease`](crate::QueueOptions::lease) says otherwise |
//! | the server is killed | its tasks are gone | none is lost; submitters and workers go on within 30 s |
//! | an outcome is kept | until its submitter has it, or leaves | until its submitter leaves, and 24 hours at most; those of a submitter of delayed tasks 24 hours |
//! | a delay | on any | needs nats-server 2.12 or newer, and is [some milliseconds late](#many-at-once), more when thousands are due at once; an older one gets an error that names both versions |
//! | a pause before a retry | on any | on any |
//! | a delayed task in [`QueueStatus`](crate::QueueStatus) | is put and delivered once | is put and delivered twice |
//! | priorities | the next task is the most urgent | the same, for a worker that looks; one that waits has the first that comes |
//! | a time limit | counted by the server | counted by the worker; that of a frozen one ends with its lease |
//! | a running task is cancelled | its worker is told | all workers of the queue are told; one that has lost its connection for that moment runs on, and its result does not count |
//! | an id | 32 digits | 16 digits of the submitter, a hyphen, and 32 |
//! | `maxsize`, `len`, `join`, `purge` of the queue | are of its tasks by name too | are not; [`Client::status`](crate::Client::status) counts both |
//! | a task fails whose submitter has left | is a dead letter | its outcome is kept for 24 hours |
//! | workers in Python | below | below, with fewer rules |
//!
//! # Many at once
//!
//! Measured on two processors with nothing else to do. `TASKS=10000 cargo test --release -p distributed --features nats --test nats --
//! many:: --nocapture --test-threads 1` measures the engine again, and tries it with few tasks if none are
//! named; `cargo test --release -p distributed --test tasks -- --nocapture thousand` the manager.
//!
//! | 10,000 tasks | manager | nats-server 2.15.1 |
//! | --- | --- | --- |
//! | delayed, 1,000 due a second: how late they run | 0.8 ms at the median, 4.4 ms at most | 3.4 ms at the median, 70 ms at most |
//! | due in the second in which the server was killed | gone with it | 0.3 to 0.8 s after it was back |
//! | delayed, due when it was back | gone with it | 4 ms late at the median; the first ones wait behind those of the line above |
//! | an urgent task that comes while workers are at the others | is the next | begun after 2 ms, before 8,472 others |
//! | cancelled while they run: until their functions see it | not measured | 1.7 ms at the median, 12 ms at most |
//! | cancelled while they wait or are delayed (2,000) | none runs | none runs |
//!
//! The engine looks for delayed tasks four times a second. So it hands them out up to 0.3 s early, and
//! the worker that gets one gives it back until its time, which is no try. The clocks of submitter,
//! server and worker have to agree: a worker whose clock is behind begins a task late by as much, and by
//! 0.9 s at most; one whose clock is ahead begins it early, by 0.3 s at most.
//!
//! # In Python
//!
//! The call is `{"task": NAME, "args": ARGUMENTS}`, the outcome `{"id": …, "state": "done", "result":
//! …}`, or `"failed"` with `error`, `tries` and `worker`, or `"cancelled"`. So CPython as it is serves
//! the same tasks:
//!
//! ```python
#![doc = include_str!("../../docs/task_worker.py")]
//! ```
//!
//! and submits them: `tasks.submit([{"task": "add", "args": (3, 4)}], "tasks@me", delay=1.5)` returns
//! their ids, `manager.register("tasks@me")` makes known the queue whose `get_outcome()` returns what
//! became of them, one by one. `submit` takes by name `ids`, `priority` (-1, 0, 1), `delay`, `retries`,
//! `backoff`, `backoff_max` and `time_limit`, in seconds. An id that is known already is that of the
//! first call that had it: a call that is submitted once more runs once. `tasks.cancel(id)` cancels.
//! The last outcome counts as received with the next call of the same thread, and comes again if that
//! never is.
//!
//! # In Python on an engine
//!
//! With nats-py, a worker of the same tasks has some fifty lines:
//!
//! ```python
#![doc = include_str!("../../docs/nats_task_worker.py")]
//! ```
//!
//! Each task has one outcome, an error with its traceback; a task whose worker is killed goes to
//! another when its lease ends, and that counts as a try. What this worker does not do: it ends no
//! function at its time limit and does not hear that its task is cancelled, but a result that comes
//! after the outcome does not count. It looks for the most urgent task and has one at a time. It knows
//! no longest pause before a retry, and a task that others gave back unbegun has used a try up. A
//! result of over 1 MiB ends it. A task that kills each worker goes on to do so while all are like
//! this one; a worker in Rust among them ends it after its retries.
