use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server says of itself: connections and queues, counted since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Connections that are open, with the one that asked.
    pub connections: u64,
    /// The queues, by name.
    pub queues: Vec<QueueStatus>,
}

/// What a server says of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Its name; of a queue that a call made, its ident.
    pub name: String,
    /// Items that nobody has taken.
    pub len: u64,
    /// The most items it takes; 0 for any number.
    pub maxsize: u64,
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
            match queue.maxsize {
                0 => write!(f, " {:>11}", "-")?,
                maxsize => write!(f, " {maxsize:>11}")?,
            }
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
