//! The server: it listens, lets clients in, and ends.

#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::{Error, Result, ServerAddress, Status};

mod builder;
mod call_clock;
mod calls;
mod dead_letters;
mod failure;
mod frame_stream;
mod holders;
mod item_queue;
mod keeping;
mod lanes;
mod leases;
mod listener;
mod made_queues;
mod management;
mod memory;
mod names;
mod objects;
pub(crate) mod queues;
mod refusals;
mod replies;
mod session;
mod state;
mod strangers;
mod task_calls;
mod tasks;
mod traced;
mod waiter;

pub use builder::Builder;
use listener::Listener;
pub use objects::ObjectType;
use state::ServerState;

/// How long, at the end, replies that are under way may take.
const GRACE: Duration = Duration::from_secs(1);

/// Listens, says through `started` on which address or why not, and serves until it is time to end,
/// and does what is to be done `beside`.
fn run(
    address: &str,
    state: Arc<ServerState>,
    started: &mpsc::Sender<Result<ServerAddress>>,
    beside: Option<impl Future<Output = Result<()>> + Send + 'static>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(Error::io("start the server")(error)));
            return;
        }
    };
    runtime.block_on(async {
        match Listener::bind(address) {
            Ok((listener, bound)) => {
                let _ = started.send(Ok(bound));
                // They go with the runtime.
                tokio::spawn(serve_putters(Arc::clone(&state)));
                tokio::spawn(expire(Arc::clone(&state)));
                tokio::spawn(drop_unused(Arc::clone(&state)));
                beside.map(tokio::spawn);
                accept(listener, state).await;
            }
            Err(error) => {
                let _ = started.send(Err(Error::io(format!("listen on {address}"))(error)));
            }
        }
    });
}

/// A server of queues. It stops when it is dropped.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
/// tasks.put(&34)?;
/// assert_eq!(tasks.get()?, 34);
/// server.shutdown();
/// assert!(matches!(tasks.get(), Err(distributed::Error::ShutDown { .. })));
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a server that is dropped shuts down"]
pub struct Server {
    address: ServerAddress,
    #[cfg(feature = "metrics")]
    metrics_address: Option<SocketAddr>,
    state: Arc<ServerState>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins a server, with no queue yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.shutdown();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Where it listens, with the port that it really has. Its text is the address for clients.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert!(server.address().to_string().starts_with("127.0.0.1:"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn address(&self) -> ServerAddress {
        self.address.clone()
    }

    /// Where it answers HTTP, with the port that it really has, if [`Builder::metrics`] says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let builder = Server::builder().queue("tasks").metrics("127.0.0.1:0");
    /// let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// assert!(server.metrics_address().is_some_and(|address| address.port() != 0));
    /// # Ok::<(), Error>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// What is in the queues, and who is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// assert_eq!(server.status().queues[0].len, 0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn status(&self) -> Status {
        self.state.status(&self.state.queues())
    }

    /// Another handle that can stop the server, for a thread that waits for a signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    /// use std::thread;
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let stopper = server.stopper();
    /// thread::spawn(move || stopper.stop());
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.state))
    }

    /// Waits until the server has ended: because a client called `shutdown`, or by a [`Stopper`].
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.stopper().stop();
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Stops: calls under way get their answer, blocked ones [`Error::ShutDown`]. When it returns,
    /// the port is free, the file of a Unix socket is gone, and the thread has ended. Items that nobody took are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// server.shutdown();
    /// assert!(tasks.put(&34).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn shutdown(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.state.stop.send_replace(true);
            let _ = thread.join();
        }
    }
}

/// Stops a [`Server`] that someone else waits for; from [`Server::stopper`].
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// use distributed::{Error, Server};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let stopper = server.stopper();
/// let signal = thread::spawn(move || stopper.stop());
/// // It returns, for another thread has stopped the server.
/// server.wait();
/// # signal.join().expect("it only stops the server");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<ServerState>);

impl Stopper {
    /// Asks the server to end, and does not wait until it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// server.stopper().stop();
    /// server.wait();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }
}

/// Serves those who wait for memory whenever some has become free.
async fn serve_putters(state: Arc<ServerState>) {
    loop {
        state.memory.freed().await;
        state.queues().serve_putters();
    }
}

/// Gives back what was leased for a time, each when its time is over: one timer for all.
async fn expire(state: Arc<ServerState>) {
    let sooner = Arc::clone(&state.queues().leases.sooner);
    loop {
        let next = state.queues().expire(Instant::now());
        let due = async {
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => {}
        }
        // Many may be due, and others are to have the lock between.
        yield_now().await;
    }
}

/// Drops what clients have made and nobody uses, if that is wanted.
async fn drop_unused(state: Arc<ServerState>) {
    let Some(time) = state.limits.factory_timeout else {
        return;
    };
    loop {
        sleep(time / 4).await;
        state.queues().drop_unused(Instant::now(), time);
    }
}

/// Lets clients in, each to a task of its own, until it is time to end.
async fn accept(listener: Listener, state: Arc<ServerState>) {
    let mut stopping = state.stop.subscribe();
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => break,
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: those who are in may leave, then it goes on.
                warn!(%error, "cannot accept a connection");
                state.strangers.evict();
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        // While there is no place for it, others wait in the backlog.
        let stranger = tokio::select! {
            _ = stopping.wait_for(|is_stopping| *is_stopping) => break,
            stranger = state.strangers.admit(peer.into()) => stranger,
        };
        clients.spawn(session::serve(stream, peer, Arc::clone(&state), stranger));
    }
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    let _ = timeout(GRACE, all).await;
    info!("ended");
}
