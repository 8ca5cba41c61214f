//! Watching: what a manager or an engine is doing, for those who run it.
//!
//! # Prometheus
//!
//! A manager answers HTTP too when it is told where:
//!
//! ```sh
//! manager --queue tasks --queue results --metrics 127.0.0.1:9100
//! curl http://127.0.0.1:9100/metrics
//! curl http://127.0.0.1:9100/health          # 200 for as long as it serves
//! ```
//!
//! In a program of your own that is [`Builder::metrics`](crate::Builder::metrics), or, where a web
//! server is there already, the text alone:
//!
//! ```
//! use distributed::{Error, Server};
//!
//! let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
//! let page = server.status().to_prometheus();
//! assert!(page.contains("distributed_queue_length{queue=\"tasks\"} 0"));
//! # Ok::<(), Error>(())
//! ```
//!
//! Beside an engine, or a manager that was started without, a small program asks and answers in its
//! place; without `--bind` it prints the text once. Its `/health` is 503, with the reason, while the
//! engine does not answer:
//!
//! ```sh
//! manager metrics nats://localhost:4222 --bind 127.0.0.1:9100
//! ```
//!
//! Prometheus is told where to look. Grafana draws what Prometheus has:
//!
//! ```yaml
//! scrape_configs:
//!   - job_name: tasks
//!     static_configs:
//!       - targets: ["127.0.0.1:9100"]
//! ```
//!
//! | What one wants to know | PromQL |
//! | --- | --- |
//! | tasks put, and handed out, each second | `rate(distributed_queue_put_total[1m])`, `rate(distributed_queue_delivered_total[1m])` |
//! | what piles up | `distributed_queue_length > 1000` |
//! | a worker that hangs | `distributed_queue_oldest_lease_seconds > 600` |
//! | work that fails for good | `increase(distributed_queue_dead_lettered_total[1h]) > 0` |
//! | nobody is there to work | `distributed_queue_length > 0 and distributed_queue_leases == 0` |
//! | a lock that nobody lets go | `distributed_lock_held_seconds > 60` |
//! | memory that runs out | `distributed_memory_bytes / distributed_max_memory_bytes > 0.7`, since puts wait at 0.75 |
//! | somebody guesses keys | `rate(distributed_refused_total{reason="key"}[5m]) > 0` |
//! | how long 99 of 100 calls take | `histogram_quantile(0.99, rate(distributed_call_seconds_bucket[5m]))` |
//!
//! # The names
//!
//! All begin with `distributed_`. Those of a queue have the label `queue`.
//!
//! | Name | What | Engine |
//! | --- | --- | --- |
//! | `queue_length`, `queue_maxsize`, `queue_bytes`, `queue_max_bytes`, `queue_leases`, `queue_unfinished` | as in [`QueueStatus`](crate::QueueStatus) | yes |
//! | `queue_waiting_getters`, `queue_waiting_putters` | clients that wait there | requests for items; putters look again and do not wait |
//! | `queue_put_total`, `queue_delivered_total` | counted since the start | since the queue was made |
//! | `queue_dead_letters`, `queue_dead_lettered_total` | what is in `NAME.dead`, and all that ever came there | yes |
//! | `queue_redelivered_total`, `queue_oldest_lease_seconds` | items that came back; the age of the oldest lease | no |
//! | `made_queues`, `made_queues_length`, `made_queues_leases` | queues that calls have made, summed up under the label `factory` | there are none |
//! | `lock_holders`, `lock_held_seconds`, `lock_waiting` | of locks and semaphores that are held or waited for, by the label `lock` | there are none |
//! | `connections` | all that are open | clients of the namespace |
//! | `clients`, `objects`, `memory_bytes`, `max_memory_bytes`, `refused_total` | as in [`Status`](crate::Status) | no |
//! | `call_seconds`, `calls_waited_total` | see [`CallTimes`](crate::CallTimes) | no |
//!
//! No label names a client: clients come and go, and Prometheus would keep a series of each. Who holds
//! what is told by [`Status::holds`](crate::Status::holds).
//!
//! # On a terminal
//!
//! ```sh
//! cargo run -p distributed --features top --bin manager -- top 127.0.0.1:5000
//! ```
//!
//! shows the queues with their rates between two looks, who holds which item or lock and for how long,
//! and who waits, those first who have it longest. The arrows scroll, Tab goes to the next table, the
//! arrows to the sides and `s` sort the queues by another column, `r` turns them round, and `q` ends.
//! It speaks Chinese with `--lang zh` or in a Chinese locale. Without a terminal that moves its cursor
//! it says so and ends with 2; `manager status` prints there. Of an engine it shows the queues alone,
//! for JetStream does not say who holds what.
//!
//! # The life of an item
//!
//! ```sh
//! cargo run -p distributed --features traces --bin manager -- \
//!     --queue tasks --redeliver tasks --traces http://127.0.0.1:4318
//! ```
//!
//! sends a span for each item to a collector of OpenTelemetry, by OTLP over HTTP, without encryption.
//! The span is called `item`, and lasts from when the item was put until it is done: acknowledged,
//! answered by a result, or handed out from a queue that does not redeliver. It has the attributes
//! `queue`, `bytes` and, of a task that has a master or was submitted by name and of its result, `task`,
//! the id of the task. Its events are `handed out`, with `client` and `deliveries`, `given back` with
//! the `reason` of the worker, and `dead letter`; a dead letter's span lasts until somebody takes it.
//! What is still in a queue when the server ends is not done, and may have no span.
//!
//! In a program of your own, a server's spans and events are those of the crate `tracing`, with the
//! target [`ITEM_SPANS`](crate::ITEM_SPANS) at the level of debug, for any subscriber. It is told under the
//! lock of all queues: so it must be quick, and must not call that server. A call ends at its panic, with
//! the connection; the others go on.
//!
//! # The work on a task
//!
//! A [`Worker`](crate::Worker) in Rust has a span for each try of a task by name, with the target
//! [`TASK_SPANS`](crate::TASK_SPANS) at the level of debug. The span is called `task`, and lasts while
//! the function runs and until the server has the outcome; what the function itself says is inside it.
//! It has the attributes `task`, the id of the task, `attempt`, `function`, its name, and `error` where
//! the try failed. A task carries no context of a trace, so the span is no child of that of its item:
//! the attribute `task` of both is the same.
//!
//! # What it costs
//!
//! A call reads the clock twice and adds to three numbers, whether metrics are asked for or not. A
//! scrape takes the server's one lock for as long as it takes to look at each queue and each lease
//! once; the text is made without it, beside the server's thread. A span that nobody subscribes to is
//! not made. One that is sent costs some microseconds and is sent by a thread of its own, which drops
//! spans rather than let clients wait for a collector that is slow or gone.
//!
//! Whoever can reach the address needs no key and sees the names of your queues. Bind it to this
//! machine, or to a network of your own.
