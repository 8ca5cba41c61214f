//! Growing: from one master to many sites, with the queues on an engine.
//!
//! One manager is one process on one machine: its queues are in memory, and gone with it. When tasks
//! must outlive a server, or more workers come than one serves, the same programs have their queues
//! on NATS JetStream. The feature `nats` of this crate brings its client:
//!
//! ```sh
//! nats-server -js -sd ./queues                     # or: cargo xtask cluster up, for three nodes
//! cargo run -p distributed --features nats --bin task_master -- --queues nats://localhost:4222
//! cargo run -p distributed --features nats --bin task_worker -- --queues nats://localhost:4222
//! cargo run -p distributed --features nats --bin manager -- status nats://localhost:4222
//! ```
//!
//! Debian 12's nats-server, 2.9.10, does all that is said here, but for `sync_interval`, which needs
//! 2.10. In earnest use 2.12.6 or newer, for what was mended in its security since.
//!
//! # What differs
//!
//! | | manager, `tcp://` | engine, `nats://` or `tls://` |
//! | --- | --- | --- |
//! | items | pickles, as Python has them | JSON, as every language has it; what JSON would change (NaN, a `Some` of `None`) is refused by `put` |
//! | the server dies | its items are gone | nothing is lost; calls wait for it up to 30 s |
//! | power fails | its items are gone | see below: [`Durability`](crate::Durability) |
//! | a worker dies | its items are back at once, at the front | back when the lease ends, 30 s unless set |
//! | its machine dies | back after [`peer_timeout`](crate::Builder::peer_timeout), 90 s unless set | back when the lease ends |
//! | a worker freezes | its items are out, unless a lease expires | back when the lease ends |
//! | a long task | the connection is its lease | the lease is renewed for as long as it takes |
//! | `put` twice by a lost reply | twice in the queue | once, by its id |
//! | a worker dies after its result | its task ended with it, in one step | the task is done again, and its result known by its id |
//! | too often begun and not finished | goes to `<name>.dead`, with the reason and the count | the same |
//! | a worker dies with tasks that it had only fetched | has only one | they come back, and that counts as one try for each |
//! | `maxsize` | what waits | what waits and what is out |
//! | `put` on a full queue | is woken when there is room | looks again after 20 ms, later each second |
//! | `put_many` | all or nothing, side by side | in order, others may be between |
//! | `len` | what waits | what waits and was never out |
//! | `task_done` | counts | ends the oldest item of this handle |
//! | who may join | who has the key | who has a user, token, nkey or credentials file |
//! | encryption | none | `tls://` |
//! | an item's size | 1 GiB, as the server is set | 1 MiB, as the server is set |
//! | tasks by name | yes | yes: see [what differs](crate::guide::tasks_by_name#on-an-engine); a delay needs 2.12 |
//! | a queue begins | with its manager | by [`Client::create`](crate::Client::create), and stays |
//!
//! Work is done at least once on both. A result counts once for a reader that stays: it remembers
//! the last million or so. One that starts anew may be given a result that the one before it had
//! and did not live to acknowledge; the engine itself knows an id for two minutes.
//!
//! A lease that ends while its holder still works is not taken from it: both work then, and the
//! holder learns it from [`Error::LeaseOver`](crate::Error::LeaseOver). Nothing fences it off.
//!
//! # Losing power
//!
//! A server that is killed loses nothing. A machine that loses power does, for NATS writes to disk
//! every two minutes: what was put in between is lost, though `put` had returned. `task_master` says
//! at its start which of these holds:
//!
//! - `jetstream { sync_interval: always }` in the server's configuration: each item is on disk before
//!   `put` returns. With `http: 127.0.0.1:8222` there and `?monitor=http://127.0.0.1:8222` in the URL
//!   this can be seen, and is said.
//! - `--replicas 3` on three machines: one may fail. When all lose power at once, so do you, unless
//!   they write at once too.
//! - neither: a warning.
//!
//! # Who may do what
//!
//! A server without users lets everybody do everything. This one has a master, who makes and empties
//! queues, and workers, who take tasks, put results and give up on tasks, and can do no more:
//!
//! ```text
#![doc = include_str!("../../docs/permissions.conf")]
//! ```
//!
//! `tm.clients` and `allow_responses` let a client be counted by `manager status`; without them it
//! works all the same. Whoever may subscribe to `_INBOX.>` can overhear what others are handed: who
//! must not see a task needs an account of his own, with queues of its own.
//!
//! The server does not answer what it forbids, so a call that is not allowed ends after some
//! seconds, with the words of the server in its error.
//!
//! A name and a password are read by whoever listens on the way: add `tls { cert_file: ..., key_file:
//! ... }`, and to the URL `?ca=FILE` with the authority that signed it, unless the system knows it.
//! In place of a password NATS's tools make files: `?nkey=FILE`, `?creds=FILE`, or, for `tls { ...
//! ca_file: ..., verify_and_map: true }`, `?cert=FILE&key=FILE`.
//!
//! # A worker in another language
//!
//! A queue NAME is the stream `tm-queue-NAME` of the subject `tm.queue.NAME`, with the consumer
//! `workers`; its dead letters are `tm-dead-NAME`. `tm` is the namespace, the path of the URL. What
//! tells one task from another is the header `Nats-Msg-Id`; what tells a result that comes a second
//! time is `Result-Of`, the id of its task. With nats-py:
//!
//! ```python
#![doc = include_str!("../../docs/nats_worker.py")]
//! ```
//!
//! While a task may take longer than the lease, call `task.in_progress()` every third of it. Workers of
//! this crate count in the stream `tm-starts-NAME` how often they begin a task again, and move one that
//! was begun too often to the dead letters; so if all workers are like this one, a task that kills them
//! does so for ever.
//!
//! # How far
//!
//! Measured here with `cargo xtask bench distributed`, on two processors that server, master and
//! workers share, with nats-server 2.9.10 and tasks that do nothing: so these are floors, and their
//! ratios are worth more than the figures.
//!
//! | one stream of tasks and one of results, one node | tasks/s |
//! | --- | --- |
//! | 4 workers that fetch up to 32 short tasks at a time | 21,800 |
//! | 4 workers that fetch one at a time | 5,900 |
//! | 4 workers of Celery on Redis, in the same run | 420 |
//! | 4 workers of CPython's `BaseManager`, in the same run | 3,700 |
//! | a master that puts and gets one by one | 1,700 |
//! | the same on three nodes with three replicas, on the same two processors | 510 |
//!
//! 10,000 waiting tasks, each a number, took 1.25 MB of disk: 125 bytes, 120 of them for the id and
//! the frame. From that:
//!
//! | tasks a day | a second | at three times the mean | written, 1 KB task and 1 KB result | if no worker comes for an hour |
//! | --- | --- | --- | --- | --- |
//! | 1,000 | 0.01 | 0.03 | 2.2 MB a day | 47 KB |
//! | 1 million | 12 | 35 | 2.2 GB a day | 47 MB |
//! | 1 billion | 11,600 | 34,700 | 2.2 TB a day | 47 GB |
//!
//! Times three with three replicas. What is done is deleted, so a day's writing is not a day's
//! storage: the disk has to hold what may pile up, the last column.
//!
//! - **A thousand a day** need no engine. A manager does 55,000 tasks/s here, with 4 workers.
//! - **A million a day** are one server with `sync_interval: always`, or three small ones if it may
//!   not stop. One stream is far from full.
//! - **A billion a day** peak at 34,700/s, above the 21,800 of one stream here. Split the tasks by
//!   subject: `get_task_queue_0` to `_7`, each with its results, a worker on each, or several. Then
//!   a stream has 4,300/s, less than even single fetches give here. Eight streams of three replicas
//!   spread their leaders over the nodes.
//! - **Several sites**: a cluster each, with a leaf node where workers are far away: one connection
//!   outwards, encrypted, and a namespace per site. Not tried here.
//!
//! # What it costs
//!
//! This is what such a task cost the server, in runs of their own: processor time, the most memory
//! that the process had, and what it wrote to disk.
//!
//! | 10,000 tasks, 4 workers | tasks/s | processor, a task | memory | written, a task |
//! | --- | --- | --- | --- | --- |
//! | up to 32 at a time | 20,000 | 45 us | 30 MB | 0.25 KB |
//! | one at a time | 4,900 | 150 us | 26 MB | 0.35 KB |
//! | `sync_interval: always` (2.15.1), up to 32 at a time | 2,100 | 310 us | 38 MB | 15 KB |
//! | `sync_interval: always` (2.15.1), one at a time | 1,250 | 560 us | 38 MB | 16 KB |
//! | three replicas, up to 32 at a time, each of three nodes | 5,400 | 80 us | 35 MB | 0.7 KB |
//!
//! To that come some 300 bytes of memory for each id, of a task and of its result, for the two
//! minutes in which the engine knows it: a million tasks in a row took it to 720 MB. In machines:
//!
//! | tasks a day | processors at the peak, one server | one with `always` | three replicas, each node | memory | the workers' processors at the peak, if a task takes 10 ms |
//! | --- | --- | --- | --- | --- | --- |
//! | 1,000 | none to speak of | none | none | 30 MB | none |
//! | 1 million | 0.002 | 0.01 | 0.003 | 35 MB | 0.35 |
//! | 1 billion | 1.6 | 11 | 2.8 | 2.5 GB | 350 |
//!
//! So a million a day run beside something else on any machine, and a billion on three of eight
//! processors, 8 GB and 10 GbE, each of which writes 80 MB/s at the peak for items of 1 KB; with
//! `always` as well they have to write many times that. At any size it is the workers that cost. All
//! this is arithmetic on tasks of a few bytes and was not tried: measure on your machines before you
//! promise it.
//!
//! # What breaks first
//!
//! In this order: workers that fetch one short task at a time; one master that puts or gets one by
//! one (use [`put_many`](crate::Queue::put_many) and [`get_many`](crate::Queue::get_many)); the processor of
//! the node that leads a stream; its disk, with `always`; its memory for ids.
//!
//! A node that dies costs some seconds without progress: in `cargo xtask chaos distributed-cluster` here
//! 8 s at most over 18 kills with nats-server 2.15.1, and 16 s over 240 kills with 2.9.10, on two
//! processors for which other work queued ten times over. Every one of these 86 rounds ended, with one
//! result for each task. Leases shorter than that hand out again what healthy workers are at.
//!
//! For a cluster take 2.10 or newer all the same. Once a node of 2.9.10 was killed, the replicas of a
//! stream may differ for ever: 112, 115 and 0 items were seen of which all were done, in every second
//! trial of tasks by name with three kills, and in none of 2.15.1. Such items count in
//! [`status`](crate::Client::status) and for `maxsize`, nobody is given them, and
//! [`join`](crate::Queue::join) ends with an error after 30 s.
//!
//! A busy cluster takes longer than 10 s to make the queues of a master. A worker waits for them as
//! long as `--idle` says, and at least 10 s; one that has left says so, and its master waits for a
//! result for as long as `--timeout` says.
//!
//! A node that loses its network says so to nobody: its clients ask every second, and leave it after
//! three questions without an answer; a call that waits for an item hears of its server every second,
//! and asks anew after three of silence. Name all nodes in the URL, so that the next one is known.
//! `cargo xtask chaos partitions` cuts each of three nodes off for 20 s in turn. Here, on two
//! processors that are busy with other work, all workers went on, every task had one result, and the
//! longest time without one was 9 s with nats-server 2.15.1, in one of 72 cuts 12 s, and 9 s too when
//! each was cut off for 60 s (`chaos long-partitions`); it was 26 s in another such run, in which the
//! nodes themselves got a tenth of the processors. The candidacy of a node that is back may unseat the
//! leader of those that worked without it: then they elect once more, for up to 9 s. A node that fails
//! in the midst of that adds its own time; 17 s were the longest seen. With 2.9.10 each return does so,
//! and it was 18 to 21 s.
//!
//! A node whose disk is full switches its JetStream off. With nats-server 2.15.1 the others take over
//! what it led, and masters and workers go on, those connected to that node too. With 2.9.10 it keeps
//! the lead and stores nothing: calls fail after 30 s until there is room on its disk.
//!
//! A worker far away asks for its next tasks while it works: at a round trip of 200 ms, one thread did
//! 1,000 short tasks in 7.8 s.
//!
//! # What is not promised
//!
//! Exactly one execution of a task; an order when items come back; priorities and delays, but of tasks
//! [by name](super::tasks_by_name); fencing of a worker that lost its lease; anything when a minority of
//! the nodes is left, but that calls fail after 30 s.
