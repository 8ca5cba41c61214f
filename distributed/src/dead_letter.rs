use serde::{Deserialize, Serialize};

/// An item that was tried as often as it may be and that nobody finished; from
/// [`Client::dead_letters`](crate::Client::dead_letters).
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, QueueOptions, Server};
///
/// let tasks = QueueOptions::new("tasks").max_deliveries(1);
/// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let tasks = client.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// tasks.lease()?.fail("no database")?;
/// let letter = &client.dead_letters("tasks")?[0];
/// assert_eq!((letter.tries, letter.reason.as_str()), (1, "no database"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// How often it was handed out.
    pub tries: u32,
    /// What the last worker said of its failure, or what the server knows of it.
    pub reason: String,
    /// How long the item is, in bytes.
    pub bytes: u64,
}
