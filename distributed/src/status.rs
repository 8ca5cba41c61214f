use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a server says of itself: connections and queues, counted since its start. It prints as a
/// table.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let status = Client::connect(server.address(), b"abc")?.status()?;
/// assert_eq!(status.queues[0].name, "tasks");
/// assert!(status.to_string().starts_with("connections: "));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Connections that are open, with the one that asked.
    pub connections: u64,
    /// What a manager stores for its clients, in bytes.
    #[serde(default)]
    pub memory: u64,
    /// The memory that it may use, three quarters of it for items; 0 on an engine, which has limits of
    /// its own.
    #[serde(default)]
    pub max_memory: u64,
    /// The queues, by name.
    pub queues: Vec<QueueStatus>,
    /// Of the connections of a manager, those whose clients have proved the key and call queues.
    #[serde(default)]
    pub clients: u64,
    /// How many clients a manager has refused, by the reason: `key` for another key or a digest that
    /// is not taken, `protocol` for another protocol, `late` for a handshake that took too long, `evicted`
    /// for one that was silent while others wanted its place, `full` where there were as many as there
    /// may be.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Objects that clients share beside queues.
    #[serde(default)]
    pub objects: u64,
    /// How long a manager's calls take.
    #[serde(default)]
    pub calls: CallTimes,
    /// Items and locks that clients hold, those first that are held longest, 1,000 at most. An engine
    /// does not tell.
    #[serde(default)]
    pub holds: Vec<HoldStatus>,
    /// Clients that wait for items, for room or for locks, those first that wait longest, 1,000 at
    /// most. An engine does not tell.
    #[serde(default)]
    pub waits: Vec<WaitStatus>,
}

/// How long calls of a manager took, from the request to the reply, its sending included. A call that
/// waited for another client, as for an item, says nothing of the server: it is counted apart.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?.put(&3)?;
/// let calls = server.status().calls;
/// assert_eq!(calls.buckets.iter().map(|(_, count)| count).sum::<u64>() + calls.over, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallTimes {
    /// How many took so long at most, and longer than the time before.
    pub buckets: Vec<(Duration, u64)>,
    /// How many took longer than all of these times.
    pub over: u64,
    /// How long all of them took together.
    pub total: Duration,
    /// Calls that waited, which are in none of these numbers.
    pub waited: u64,
}

/// An item or a lock that a client holds.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// tasks.put(&3)?;
/// let lease = tasks.lease()?;
/// let hold = &server.status().holds[0];
/// assert_eq!((&*hold.name, &*hold.kind, hold.deliveries), ("tasks", "item", 1));
/// assert!(hold.client.contains(" at 127.0.0.1:"));
/// # drop(lease);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoldStatus {
    /// The name or ident of the queue of the item, or of the lock.
    pub name: String,
    /// `item`, or the type of the lock: `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore` or `Condition`.
    pub kind: String,
    /// What the client calls itself, and where it is: `Process-1|Thread-2 at 127.0.0.1:4242`. Empty
    /// for an item that nobody has: the work on it failed and it waits to be tried again, or it is
    /// leased for a time and its client has left.
    pub client: String,
    /// For how long it is held.
    pub time: Duration,
    /// When the item comes back, from now on, if it has a time.
    pub expires: Option<Duration>,
    /// How often the item was handed out; 0 of a lock.
    pub deliveries: u32,
    /// The id of the task, if a [`Master`](crate::Master) has put it.
    pub task: Option<String>,
}

/// A client that waits.
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// let waiter = thread::spawn(move || tasks.get());
/// let wait = loop {
///     match server.status().waits.pop() {
///         Some(wait) => break wait,
///         None => thread::yield_now(),
///     }
/// };
/// assert_eq!((&*wait.name, &*wait.kind), ("tasks", "get"));
/// # server.shutdown();
/// # assert!(waiter.join().expect("it does not panic").is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitStatus {
    /// The name or ident of the queue or lock.
    pub name: String,
    /// `get`, `put` or `acquire`.
    pub kind: String,
    /// What the client calls itself, and where it is.
    pub client: String,
    /// For how long it waits.
    pub time: Duration,
}

/// What a server says of one queue.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let tasks = client.queue::<u32>("tasks")?;
/// tasks.put_many(&[3, 4])?;
/// tasks.get()?;
/// let status = &client.status()?.queues[0];
/// // One is out: it is delivered, and not worked off.
/// assert_eq!((status.put, status.delivered, status.len, status.unfinished), (2, 1, 1, 2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Its name; of a queue that a call made, its ident.
    pub name: String,
    /// Items that nobody has taken.
    pub len: u64,
    /// The most items it takes; 0 for any number.
    pub maxsize: u64,
    /// What its items take, those included that are out or wait to be put, in bytes.
    #[serde(default)]
    pub bytes: u64,
    /// The most that they may take, in bytes; 0 where only the server's limit holds.
    #[serde(default)]
    pub max_bytes: u64,
    /// Whether it hands an item out again when the worker that had it is gone.
    pub redeliver: bool,
    /// Clients that wait in `get`.
    pub waiting: u64,
    /// Items that are out and may come back.
    pub leases: u64,
    /// Items that were put.
    pub put: u64,
    /// Items that were handed out, again and again ones included.
    pub delivered: u64,
    /// Items that came back.
    pub redelivered: u64,
    /// Items that were put and not worked off: what `join` waits for.
    pub unfinished: u64,
    /// Clients that wait in `put`.
    #[serde(default)]
    pub putters: u64,
    /// How long the item is out that is out longest; none on an engine, which does not tell.
    #[serde(default)]
    pub oldest_lease: Option<Duration>,
    /// The name of the factory that made it, or that of the queue of results of which it has one
    /// master's; empty of a queue that has a name of its own.
    #[serde(default)]
    pub factory: String,
}

/// The most items and locks whose holders are printed.
const HOLDS_PRINTED: usize = 20;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "connections: {}", self.connections)?;
        if self.max_memory > 0 {
            let (used, most) = (self.memory, self.max_memory);
            writeln!(f, "memory: {used} of {most} bytes")?;
        }
        let width = self
            .queues
            .iter()
            .map(|queue| queue.name.len())
            .max()
            .unwrap_or(0)
            // Formatting panics on a greater width.
            .clamp(5, u16::MAX.into());
        write!(f, "{:width$}", "queue")?;
        for head in [
            "length",
            "maxsize",
            "bytes",
            "max bytes",
            "waiting",
            "leases",
            "put",
            "delivered",
            "redelivered",
            "unfinished",
        ] {
            write!(f, " {head:>11}")?;
        }
        for queue in &self.queues {
            write!(f, "\n{:width$} {:>11}", queue.name, queue.len)?;
            let limit = |f: &mut fmt::Formatter, limit| match limit {
                0 => write!(f, " {:>11}", "-"),
                limit => write!(f, " {limit:>11}"),
            };
            limit(f, queue.maxsize)?;
            write!(f, " {:>11}", queue.bytes)?;
            limit(f, queue.max_bytes)?;
            for count in [
                queue.waiting,
                queue.leases,
                queue.put,
                queue.delivered,
                queue.redelivered,
                queue.unfinished,
            ] {
                write!(f, " {count:>11}")?;
            }
        }
        self.write_holds(f, width)
    }
}

impl Status {
    /// Who holds what, after the queues, whose names have this width.
    fn write_holds(&self, f: &mut fmt::Formatter, width: usize) -> fmt::Result {
        if self.holds.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "\n{:width$} {:>16} {:>11}  by",
            "held", "kind", "seconds"
        )?;
        for hold in self.holds.iter().take(HOLDS_PRINTED) {
            let (name, kind) = (&hold.name, &hold.kind);
            let seconds = hold.time.as_secs_f64();
            let client = match &*hold.client {
                "" => "-",
                client => client,
            };
            write!(f, "\n{name:width$} {kind:>16} {seconds:>11.1}  {client}")?;
        }
        if let Some(more) = self.holds.len().checked_sub(HOLDS_PRINTED + 1) {
            write!(f, "\nand {} more, held for less time", more + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::{from_slice, to_vec};

    /// What a client knows that was built when a status said no more.
    #[derive(Serialize, Deserialize)]
    struct OlderStatus {
        connections: u64,
        queues: Vec<OlderQueueStatus>,
    }

    #[derive(Serialize, Deserialize)]
    struct OlderQueueStatus {
        name: String,
        len: u64,
        maxsize: u64,
        redeliver: bool,
        waiting: u64,
        leases: u64,
        put: u64,
        delivered: u64,
        redelivered: u64,
        unfinished: u64,
    }

    fn queue() -> QueueStatus {
        QueueStatus {
            name: "tasks".to_string(),
            len: 3,
            maxsize: 0,
            bytes: 800,
            max_bytes: 0,
            redeliver: true,
            waiting: 0,
            leases: 1,
            put: 4,
            delivered: 1,
            redelivered: 0,
            unfinished: 4,
            putters: 2,
            oldest_lease: Some(Duration::from_secs(9)),
            factory: String::new(),
        }
    }

    #[test]
    fn an_older_client_reads_what_it_knows_and_one_of_an_older_server_reads_the_rest_as_nothing() {
        let status = Status {
            connections: 5,
            queues: vec![queue()],
            holds: vec![HoldStatus {
                name: "tasks".to_string(),
                kind: "item".to_string(),
                client: "a worker at 10.0.0.1:4242".to_string(),
                time: Duration::from_millis(9001),
                expires: None,
                deliveries: 1,
                task: None,
            }],
            refused: BTreeMap::from([("key".to_string(), 2)]),
            ..Status::default()
        };
        let code = to_vec(&status).expect("a status is data");
        assert_eq!(from_slice::<Status>(&code).expect("it is one"), status);
        let older: OlderStatus = from_slice(&code).expect("it has all that was known");
        assert_eq!((older.connections, older.queues[0].leases), (5, 1));
        let code = to_vec(&older).expect("it is data");
        let status: Status = from_slice(&code).expect("what is missing is nothing");
        assert_eq!((status.queues[0].len, status.holds.len()), (3, 0));
        assert_eq!(status.queues[0].oldest_lease, None);
    }
}
