//! Chapter 5: queues served over TCP, for a master and its workers.
//!
//! The master serves named queues with [`Manager::builder`]; it and its workers use them as
//! clients, with [`Manager::connect`]. Both sides prove that they know a key, by HMAC-SHA256 over
//! random challenges, and neither sends it.
//!
//! - `error`: what can go wrong.
//! - `connection`: frames, the handshake, and the messages of both sides.
//! - `server`: the queues, one thread per client.
//! - `client`: a queue as its users see it.
//! - [`options`]: the command lines of the chapter's programs.

use std::fmt::Display;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

mod client;
mod connection;
mod error;
pub mod options;
mod server;

pub use client::{Client, Queue};
pub use error::{Error, Result};
pub use server::{Builder, Server};

/// Where both sides begin: Python's `multiprocessing.managers.BaseManager`.
///
/// # Examples
///
/// ```
/// use distributed::Manager;
///
/// let server = Manager::builder().queue("get_task_queue").serve("127.0.0.1:0", b"abc")?;
/// let manager = Manager::connect(server.address(), b"abc")?;
/// let tasks = manager.queue::<u32>("get_task_queue")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Debug)]
pub enum Manager {}

impl Manager {
    /// Begins a server, with no queue yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Connects to the server at `address` (`host:port`) and checks that both know the key:
    /// Python's `manager.connect()`.
    ///
    /// # Errors
    ///
    /// [`Error::Auth`] when the keys differ, [`Error::EmptyKey`] for an empty one, [`Error::Io`]
    /// when nobody listens there or the handshake takes over 5 s, [`Error::Protocol`] when it is
    /// another kind of server.
    pub fn connect(address: impl Display, key: &[u8]) -> Result<Client> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let address = address.to_string();
        connection::Connection::connect(&address, key)?;
        let key = key.to_vec();
        Ok(Client { address, key })
    }

    /// As [`connect`](Manager::connect), for a client that may start before its server: tries
    /// again for `time` while nobody listens there.
    ///
    /// # Errors
    ///
    /// Those of `connect`, from the last try.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::Manager;
    ///
    /// let server = Manager::builder().serve("127.0.0.1:0", b"abc")?;
    /// let manager = Manager::connect_within(Duration::from_secs(10), server.address(), b"abc")?;
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn connect_within(time: Duration, address: impl Display, key: &[u8]) -> Result<Client> {
        let start = Instant::now();
        loop {
            match Manager::connect(&address, key) {
                Err(Error::Io { source, .. })
                    if source.kind() == ErrorKind::ConnectionRefused && start.elapsed() < time =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }
}
