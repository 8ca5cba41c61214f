use std::fmt;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

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
        Ok(())
    }
}
