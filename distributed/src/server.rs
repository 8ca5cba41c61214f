use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::connection::{Connection, Reply, Request};
use crate::{Error, Result};

/// How often a waiting `get` looks whether its client is still there.
const SLICE: Duration = Duration::from_millis(50);
/// How long, at a shutdown, replies that are under way may take.
const GRACE: Duration = Duration::from_secs(1);

/// The queues of a server that does not serve yet; from [`Manager::builder`](crate::Manager).
#[derive(Default)]
pub struct Builder {
    queues: BTreeMap<String, Items>,
}

impl Builder {
    /// Adds a queue, of any number of items: Python's `register` with a `queue.Queue`.
    pub fn queue(mut self, name: &str) -> Builder {
        self.queues.insert(name.to_string(), Items::default());
        self
    }

    /// Listens on `address` (`host:port`; port 0 is any free one) and serves the queues to whoever
    /// knows the key: Python's `manager.start()`, with threads in place of a process.
    ///
    /// Messages are neither encrypted nor signed, so a public address is for networks you trust.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] for an empty key; [`Error::Io`] when it cannot listen there.
    pub fn serve(self, address: impl Display, key: &[u8]) -> Result<Server> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let attempt = || format!("listen on {address}");
        let listener = TcpListener::bind(address.to_string()).map_err(Error::io(attempt()))?;
        let bound = listener.local_addr().map_err(Error::io(attempt()))?;
        let shared = Arc::new(Shared {
            key: key.to_vec(),
            queues: self.queues,
            stopping: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .spawn(move || accept(listener, &theirs))
            .map_err(Error::io("start the server's thread"))?;
        Ok(Server {
            address: bound,
            shared,
            thread: Some(thread),
        })
    }
}

/// A server of queues. It stops when it is dropped.
///
/// # Examples
///
/// ```
/// use distributed::Manager;
///
/// let server = Manager::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Manager::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// server.shutdown();
/// assert!(matches!(tasks.get(), Err(distributed::Error::Closed)));
/// # Ok::<(), distributed::Error>(())
/// ```
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens, with the port that it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: calls under way get their answer, blocked ones [`Error::Closed`]. When it returns,
    /// the port is free and all threads have ended. Items that nobody took are dropped.
    pub fn shutdown(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for queue in self.shared.queues.values() {
            let _items = queue.items.lock().unwrap();
            queue.changed.notify_all();
        }
        let Some(thread) = self.thread.take() else {
            return;
        };
        let mut wake = self.address;
        if wake.ip().is_unspecified() {
            wake.set_ip(match wake {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        // A connection ends the wait for one; where none is to be had, accept fails and ends it.
        let _ = TcpStream::connect_timeout(&wake, GRACE);
        while !thread.is_finished() {
            thread::sleep(Duration::from_millis(1));
            let _ = TcpStream::connect_timeout(&wake, GRACE);
        }
        let _ = thread.join();
    }
}

/// What the threads of a server share.
struct Shared {
    key: Vec<u8>,
    queues: BTreeMap<String, Items>,
    stopping: AtomicBool,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Lets clients in, each to a thread of its own, and ends these threads at the end.
fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    let mut clients: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    while !shared.is_stopping() {
        let client = listener
            .accept()
            .and_then(|(stream, _)| start(stream, shared));
        clients.retain(|(_, thread)| !thread.is_finished());
        match client {
            Ok(client) => clients.push(client),
            // Out of descriptors or threads: those who are in may leave, then it goes on.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
    drop(listener);
    for (stream, _) in &clients {
        let _ = stream.shutdown(Shutdown::Read);
    }
    let deadline = Instant::now() + GRACE;
    while clients.iter().any(|(_, thread)| !thread.is_finished()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    for (stream, thread) in clients {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

fn start(stream: TcpStream, shared: &Arc<Shared>) -> std::io::Result<(TcpStream, JoinHandle<()>)> {
    let ours = stream.try_clone()?;
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().spawn(move || {
        let ending = stream.try_clone();
        // A client that breaks the rules ends its own connection and nothing else.
        let _ = serve(stream, &shared);
        // The accepting thread may hold its handle for long, and the client must see the end.
        let _ = ending.map(|stream| stream.shutdown(Shutdown::Both));
    })?;
    Ok((ours, thread))
}

/// Serves one client until it leaves.
fn serve(stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut client = Connection::accept(stream, &shared.key)?;
    let Request::Open(name) = client.receive()? else {
        return Err(Error::Protocol("no queue has been opened".into()));
    };
    let Some(queue) = shared.queues.get(&name) else {
        return client.send(&Reply::NoQueue(shared.queues.keys().cloned().collect()));
    };
    client.send(&Reply::Done)?;
    while !shared.is_stopping() {
        match client.receive()? {
            Request::PutItem(item) => {
                queue.items.lock().unwrap().push_back(item);
                queue.changed.notify_one();
                client.send(&Reply::Done)?;
            }
            Request::Get(timeout) => queue.hand_out(&mut client, timeout, shared)?,
            Request::Len => {
                let len = queue.items.lock().unwrap().len();
                client.send(&Reply::Len(len))?;
            }
            request => return Err(Error::Protocol(format!("{request:?} out of turn"))),
        }
    }
    Ok(())
}

/// One queue.
#[derive(Default)]
struct Items {
    items: Mutex<VecDeque<String>>,
    changed: Condvar,
}

impl Items {
    /// Answers a `get`. An item that the client does not confirm goes back to the front.
    fn hand_out(
        &self,
        client: &mut Connection,
        timeout: Option<Duration>,
        shared: &Shared,
    ) -> Result<()> {
        let reply = self.take(client, timeout, shared)?;
        let sent = client.send(&reply);
        let Reply::Item(item) = reply else {
            return sent;
        };
        let answer = sent.and_then(|()| client.receive());
        if !matches!(answer, Ok(Request::Took)) {
            self.items.lock().unwrap().push_front(item);
            self.changed.notify_one();
        }
        match answer? {
            Request::Took | Request::GiveBack => Ok(()),
            request => Err(Error::Protocol(format!("{request:?} out of turn"))),
        }
    }

    fn take(
        &self,
        client: &Connection,
        timeout: Option<Duration>,
        shared: &Shared,
    ) -> Result<Reply> {
        // A deadline beyond the end of time is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut items = self.items.lock().unwrap();
        loop {
            if shared.is_stopping() {
                return Ok(Reply::Closed);
            }
            if !client.peer_is_there() {
                // The wake-up may have been for an item that the next one can have.
                self.changed.notify_one();
                return Err(Error::Closed);
            }
            if let Some(item) = items.pop_front() {
                return Ok(Reply::Item(item));
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Reply::Empty);
            }
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            items = self.changed.wait_timeout(items, slice).unwrap().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manager;

    #[test]
    fn an_item_that_its_client_never_confirmed_goes_back_to_the_front() -> Result<()> {
        let server = Manager::builder().queue("q").serve("127.0.0.1:0", b"abc")?;
        let queue = Manager::connect(server.address(), b"abc")?.queue::<u32>("q")?;
        queue.put(&1)?;
        queue.put(&2)?;
        let mut dying = Connection::connect(&server.address().to_string(), b"abc")?;
        dying.send(&Request::Open("q".into()))?;
        assert!(matches!(dying.receive()?, Reply::Done));
        dying.send(&Request::Get(None))?;
        assert!(matches!(dying.receive()?, Reply::Item(item) if item == "1"));
        assert_eq!(queue.len()?, 1);
        drop(dying);
        let deadline = Instant::now() + Duration::from_secs(10);
        while queue.len()? < 2 && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!([queue.try_get()?, queue.try_get()?], [1, 2]);
        Ok(())
    }

    #[test]
    fn a_client_that_has_gone_is_handed_nothing() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let client = thread::spawn(move || Connection::connect(&address, b"abc").map(drop));
        let (stream, _) = listener.accept().expect("the client comes");
        let gone = Connection::accept(stream, b"abc")?;
        client.join().expect("no panic")?;
        let shared = Shared {
            key: Vec::new(),
            queues: BTreeMap::new(),
            stopping: AtomicBool::new(false),
        };
        let queue = Items::default();
        queue.items.lock().unwrap().push_back("1".into());
        let taken = queue.take(&gone, None, &shared);
        assert!(matches!(taken, Err(Error::Closed)), "{taken:?}");
        assert_eq!(*queue.items.lock().unwrap(), ["1"]);
        Ok(())
    }
}
