use std::fmt;

/// What of a queue survives a loss of power; it prints as a sentence.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Durability, Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let durability = client.durability("tasks")?;
/// assert_eq!(durability, Durability::Memory);
/// assert_eq!(durability.to_string(), "items are in memory, and gone with the manager");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// `put` returns when the item is on the disk of an engine's node.
    Synchronous,
    /// `put` returns when so many nodes have the item, and their disks get it later.
    Replicated(usize),
    /// `put` returns when one node has the item, and its disk gets it later.
    Late,
    /// Items are in the memory of a manager.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Durability::Synchronous => {
                write!(
                    f,
                    "synchronous writes, a power cut loses nothing that was put"
                )
            }
            Durability::Replicated(nodes) => write!(
                f,
                "{nodes} replicas, a node may fail; a power cut of all at once loses what was put \
                 in the last 2 minutes"
            ),
            Durability::Late => write!(
                f,
                "warning: a power cut loses what was put in the last 2 minutes; `sync_interval: \
                 always` in the server's configuration (2.10 or newer) or three replicas prevent it"
            ),
            Durability::Memory => write!(f, "items are in memory, and gone with the manager"),
        }
    }
}
