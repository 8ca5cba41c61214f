//! The connection to an engine, which all queues of a client share.

use std::pin::pin;
use std::process;
use std::sync::Arc;
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{ConnectOptions, Event, ServerAddr, ServerError};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::address::Address;
use super::connect_errors;
use super::permission_errors::PermissionErrors;
use crate::{CONNECT_TIME, Error, Result, random};

/// How long the answer to one request may take.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(3);
/// How long a call goes on trying when the engine is away. The leader of a stream that dies has a
/// successor after 4 to 9 s.
pub(super) const RETRY_TIME: Duration = Duration::from_secs(30);
/// How often the server is asked whether it is there. Three questions without an answer, and the
/// connection is left for another node: one that has lost its power or its network says nothing.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Streams like ours and consumers by name are not known to older ones.
const OLDEST: (u64, u64) = (2, 9);

/// The connection to an engine, which all queues of a client share.
pub(super) struct Engine {
    pub(super) address: Address,
    pub(super) client: async_nats::Client,
    pub(super) context: Context,
    /// How often it was connected.
    pub(super) connections: watch::Receiver<u64>,
    pub(super) permission_errors: PermissionErrors,
    /// Dropped without a wait, since it may be dropped where waiting is forbidden.
    runtime: Option<Runtime>,
}

impl Engine {
    pub(super) fn wait<R>(&self, future: impl Future<Output = R>) -> R {
        wait(self.runtime(), future)
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the drop")
    }

    /// The version of the server, as far as it says what a server can do.
    pub(super) fn version(&self) -> (u64, u64) {
        let info = self.client.server_info();
        let mut parts = info.version.split('.').map_while(|part| part.parse().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// Whether other nodes may do what the one that answers cannot.
    pub(super) fn is_cluster(&self) -> bool {
        self.client.server_info().cluster.is_some()
    }

    /// An error of a call, with what the server has forbidden during it.
    pub(super) fn error(&self, attempt: &str, reason: impl ToString) -> Error {
        let attempt = format!("{attempt} at {}", self.address);
        let mut reason = reason.to_string();
        if let Some(said) = self.permission_errors.last(RETRY_TIME + 2 * REQUEST_TIME) {
            reason = format!("{reason}; the server says: {said}");
        }
        Error::Engine { attempt, reason }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future, while the runtime's own thread does what it needs. A runtime's own wait panics in
/// a task of another runtime, and in the destructors that run there.
fn wait<R>(runtime: &Runtime, future: impl Future<Output = R>) -> R {
    let _inside = runtime.enter();
    // A task has a budget, which ends only when it yields.
    let mut future = pin!(unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}

pub(super) fn connect(address: &Address) -> Result<Engine> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("nats")
        .enable_all()
        .build()
        .map_err(Error::io("start a thread for the connection"))?;
    let (connected, connections) = watch::channel(0);
    let permission_errors = PermissionErrors::default();
    let options = ConnectOptions::new()
        .name(format!("rust-{}", process::id()))
        .max_reconnects(None)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback({
            let connections = connections.clone();
            move |attempts| pause(*connections.borrow(), attempts)
        })
        .event_callback({
            let (permission_errors, presence) =
                (permission_errors.clone(), address.clients_subject());
            move |event| {
                match event {
                    Event::Connected => connected.send_modify(|count| *count += 1),
                    Event::ServerError(ServerError::Other(said)) => {
                        permission_errors.note(&said, &presence)
                    }
                    _ => {}
                }
                async {}
            }
        });
    let client = wait(&runtime, async {
        let options = address.identify(options).await?;
        let connecting = timeout(CONNECT_TIME, async {
            let options = options.connection_timeout(attempt_time(&address.servers).await);
            options.connect(address.servers.as_slice()).await
        });
        match connecting.await {
            Ok(client) => client.map_err(|error| connect_errors::refused(address, &error)),
            Err(_) => Err(Error::Engine {
                attempt: format!("connect to {address}"),
                reason: connect_errors::late(),
            }),
        }
    })?;
    // It starts a task of its own.
    let entered = runtime.enter();
    let context = ContextBuilder::new()
        .timeout(REQUEST_TIME)
        .build(client.clone());
    drop(entered);
    let engine = Engine {
        address: address.clone(),
        client,
        context,
        connections,
        permission_errors,
        runtime: Some(runtime),
    };
    engine.wait(check(&engine))?;
    Ok(engine)
}

/// How long to wait before the next attempt: not at all for the first connection, which tries each
/// server once.
fn pause(connections: u64, attempts: usize) -> Duration {
    if connections == 0 {
        return Duration::ZERO;
    }
    let longest = Duration::from_millis(50) * (1 << attempts.min(5)) as u32;
    random::jitter(longest.min(Duration::from_secs(1)))
}

/// How long one server may take, so that those after it have their turn when it has lost its power
/// and says nothing; each by all its addresses. A far one needs a second for its greetings.
async fn attempt_time(servers: &[ServerAddr]) -> Duration {
    let mut addresses = 0;
    for server in servers {
        // One that is not known fails at once.
        addresses += server.socket_addrs().await.map_or(0, Iterator::count);
    }
    let addresses = u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    (CONNECT_TIME / addresses).max(Duration::from_secs(1))
}

/// Whether the server can do what we need.
async fn check(engine: &Engine) -> Result<()> {
    let info = engine.client.server_info();
    if engine.version() < OLDEST {
        let (major, minor) = OLDEST;
        let reason = format!(
            "the server is version {}, queues need {major}.{minor} or newer",
            info.version
        );
        return Err(engine.error("use the server", reason));
    }
    // A node without it passes the calls on to those of its cluster that have it.
    if !info.jetstream && engine.context.query_account().await.is_err() {
        let reason = "JetStream is off: start nats-server with -js and -sd FOLDER; if it was, its disk \
                      may be full, which its log says";
        return Err(engine.error("use the server", reason));
    }
    Ok(())
}

/// Whether an error of the server is over once its cluster has found itself.
pub(super) fn is_passing(code: ErrorCode) -> bool {
    [
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
        ErrorCode::CLUSTER_NO_PEERS,
        ErrorCode::CLUSTER_INCOMPLETE,
        ErrorCode::STREAM_OFFLINE,
        ErrorCode::CONSUMER_OFFLINE,
        ErrorCode::STREAM_TOO_MANY_REQUESTS,
    ]
    .contains(&code)
}

pub(super) fn new_id() -> String {
    format!("{:032x}", u128::from_ne_bytes(random::bytes()))
}
