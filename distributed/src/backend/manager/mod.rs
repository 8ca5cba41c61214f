//! The client of a manager: a server of queues in CPython's protocol.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;

mod attempt;
mod connection;
mod get;
mod lease;
mod owner;
mod proxy;
mod tasks;

use self::attempt::State;
use self::connection::{Connection, Target, request};
use self::lease::Out;
pub(crate) use self::proxy::arguments;
pub use self::proxy::{Proxy, ProxyGuard};

use super::tasks::{SubmitterBackend, TaskSource};
use super::{Backend, Codec, Encoded, LeaseBackend, QueueBackend, Read, ResultParts};
use crate::peer_timeout::PEER_TIMEOUT;
use crate::wire::handshake::Digest;
use crate::wire::pickle::{self, Encoder, Pickle, Span};
use crate::{CONNECT_TIME, DeadLetter, Durability, Error, QueueOptions, Result, Status};

/// The longest pause between two attempts to reach a server that is away.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the end of a queue may take that tells its server so.
const FAREWELL: Duration = Duration::from_secs(1);
/// Python's own clock cannot add up to much more.
const FOREVER: Duration = Duration::from_secs(1_000_000_000);

/// A client of a manager.
#[derive(Clone, Debug)]
pub(crate) struct ManagerClient {
    target: Target,
    retry_time: Duration,
}

impl Backend for ManagerClient {
    fn reconnect_within(&self, time: Duration) -> Arc<dyn Backend> {
        Arc::new(ManagerClient {
            retry_time: time,
            ..self.clone()
        })
    }

    fn peer_timeout(&self, time: Duration) -> Arc<dyn Backend> {
        let mut client = self.clone();
        client.target.peer_timeout = time;
        Arc::new(client)
    }

    fn retry_time(&self) -> Duration {
        Duration::ZERO
    }

    fn queue(&self, name: &str) -> Result<Box<dyn QueueBackend>> {
        Ok(Box::new(self.open_queue(name)?))
    }

    fn submitter(&self, queue: &str, name: &str) -> Result<Box<dyn SubmitterBackend>> {
        Ok(Box::new(self.open_submitter(queue, name)?))
    }

    fn task_source(&self, queue: &str, worker: &str) -> Result<Box<dyn TaskSource>> {
        Ok(Box::new(self.open_task_source(queue, worker)?))
    }

    fn proxy(&self, name: &str, args: &[Vec<u8>]) -> Result<Proxy> {
        self.open_proxy(name, args)
    }

    fn create(&self, options: &QueueOptions) -> Result<()> {
        Err(fixed(options.name()))
    }

    fn purge(&self, name: &str) -> Result<u64> {
        self.clone().about("purge", name, read)
    }

    fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>> {
        self.clone().about("dead_letters", name, read)
    }

    fn retry_dead(&self, name: &str) -> Result<u64> {
        self.clone().about("retry_dead", name, read)
    }

    fn status(&self) -> Result<Status> {
        self.clone().once("status", |_| {}, read::<Status>)
    }

    fn durability(&self, _name: &str) -> Result<Durability> {
        Ok(Durability::Memory)
    }
}

/// Whether what has these methods may be a queue. CPython's server may show few of a queue's; a `dict` has
/// a `get` too, and so has a `Value`.
fn is_queue(methods: &BTreeSet<String>) -> bool {
    let has = |method| methods.contains(method);
    has("put") || has("get") && !has("keys") && !has("set")
}

/// What a client cannot do to the queues of a manager.
fn fixed(queue: &str) -> Error {
    Error::NoQueue {
        name: queue.to_string(),
        said: "a manager has the queues that it was started with".to_string(),
    }
}

impl ManagerClient {
    pub(crate) fn new(address: String, key: Vec<u8>, requires_sha256: bool) -> ManagerClient {
        let target = Target {
            address,
            key,
            bare: Digest::Md5,
            requires_sha256,
            time: CONNECT_TIME,
            peer_timeout: PEER_TIMEOUT,
        };
        let retry_time = Duration::ZERO;
        ManagerClient { target, retry_time }
    }

    /// Whether a manager is there, and knows the key. If nobody listens, the error says so.
    pub(crate) fn check(&mut self) -> Result<()> {
        let mut connection = self.target.connect()?;
        connection.call(&mut request(None, "dummy", |_| {}), nothing)
    }

    fn open_queue(&self, name: &str) -> Result<ManagerQueue> {
        let mut client = self.clone();
        let (ident, methods) = client.open(name)?;
        // It ends its reference also to what is no queue.
        let state = State::new(client, ident);
        if !is_queue(&methods) {
            return Err(Error::NoQueue {
                name: name.to_string(),
                said:
                    "what has this name is an object of another type, which `Client::proxy` opens"
                        .to_string(),
            });
        }
        Ok(ManagerQueue {
            name: name.to_string(),
            address: self.target.address.clone(),
            methods,
            state: Mutex::new(state),
        })
    }

    /// Opens a queue and refers to it; its ident and its methods.
    fn open(&mut self, name: &str) -> Result<(String, BTreeSet<String>)> {
        self.about("create", name, read)
    }

    /// Asks the manager for something about the queue of this name.
    fn about<R>(
        &mut self,
        method: &str,
        name: &str,
        read: impl FnOnce(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let said = self.once(method, |args| _ = args.str(name), read);
        said.map_err(|error| match error {
            Error::Remote { class, text } => Error::NoQueue {
                name: name.to_string(),
                said: format!("{class}: {text}"),
            },
            error => error,
        })
    }

    /// Calls the manager itself, which takes a connection for each call.
    fn once<R>(
        &mut self,
        method: &str,
        args: impl FnOnce(&mut Encoder),
        read: impl FnOnce(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let mut connection = self.connect()?;
        connection.call(&mut request(None, method, args), read)
    }

    /// A connection to a server that was there before: if nobody listens, it has gone.
    fn connect(&mut self) -> Result<Connection> {
        let connected = self.target.connect();
        connected.map_err(|error| match error.is_refused() {
            true => Error::Closed {
                address: self.target.address.clone(),
            },
            false => error,
        })
    }
}

/// A queue, with a connection of its own.
#[derive(Debug)]
pub(crate) struct ManagerQueue {
    name: String,
    address: String,
    /// What the server offers: more than Python's methods, if it is one of ours.
    methods: BTreeSet<String>,
    state: Mutex<State>,
}

impl QueueBackend for ManagerQueue {
    fn codec(&self) -> Codec {
        Codec::Pickle
    }

    fn put(&self, items: Vec<Vec<u8>>, timeout: Option<Duration>) -> Result<()> {
        if items.len() == 1 || !self.methods.contains("put_many") {
            return items.iter().try_for_each(|code| {
                let args = |args: &mut Encoder| waiting(args.item(code), timeout);
                self.call("put", args, nothing)
            });
        }
        let args = |args: &mut Encoder| {
            args.list();
            items.iter().for_each(|code| _ = args.item(code));
            args.appends();
        };
        self.call("put_many", args, nothing)
    }

    fn put_tasks(&self, items: Vec<Vec<u8>>, reply: &str) -> Result<Vec<String>> {
        let args = |args: &mut Encoder| {
            args.list();
            items.iter().for_each(|code| _ = args.item(code));
            args.appends().str(reply);
        };
        self.call("put_tasks", args, read)
    }

    fn get_result(&self, timeout: Option<Duration>, read_item: Read) -> Result<ResultParts> {
        self.call(
            "get_result",
            |args| waiting(args, timeout),
            |reply, parts| {
                let parts: Vec<Span> = reply.inside(parts.value).collect();
                let [id, failure, item] = parts[..] else {
                    return Err(Error::Protocol(
                        "a result is not (id, failure, item)".into(),
                    ));
                };
                let id = read::<Option<String>>(reply, id)?;
                let failure = read::<Option<(u32, String)>>(reply, failure)?;
                if failure.is_none() {
                    read_item(Encoded::Pickle(reply, item))?;
                }
                Ok((id.unwrap_or_default(), failure))
            },
        )
    }

    fn get(&self, n: usize, timeout: Option<Duration>, read: Read) -> Result<()> {
        self.get_items(n, timeout, read)
    }

    /// One item, which this connection holds if its queue redelivers.
    fn take(
        &self,
        _n: usize,
        timeout: Option<Duration>,
        _expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>> {
        self.taken(self.take_one(timeout, read))
    }

    fn put_and_take(
        &self,
        lease: &mut dyn LeaseBackend,
        results: &dyn QueueBackend,
        result: Vec<u8>,
        read: Read,
    ) -> Result<Result<Vec<Box<dyn LeaseBackend + '_>>>> {
        let ident_of_results = self
            .ident_here(results)
            .filter(|_| self.methods.contains("put_and_take"));
        let Some(ident_of_results) = ident_of_results else {
            lease.put_result(results, result)?;
            return Ok(Err(Error::Empty));
        };
        let args = |args: &mut Encoder| _ = args.item(&result).str(&ident_of_results);
        let taken = {
            let mut state = self.state();
            let ident = state.ident.clone();
            state.attempt(&ident, "put_and_take", args, |reply, item| {
                Ok(read(Encoded::Pickle(reply, item)))
            })
        };
        match taken {
            Ok(taken) => Ok(self.taken(taken)),
            // The time of the item was over: another does it, and its result counts.
            Err(error) if lease::is_late(&error) => Ok(Err(Error::Empty)),
            Err(Error::Empty) => Ok(Err(Error::Empty)),
            Err(error) => Err(error),
        }
    }

    /// A manager leases one item at a time.
    fn lease(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>> {
        let mut leases = vec![self.lease_one(timeout, expires, read)?];
        while leases.len() < n {
            match self.lease_one(Some(Duration::ZERO), expires, read) {
                Ok(lease) => leases.push(lease),
                // What is held already is worked off, and the error met again after that.
                Err(_) => break,
            }
        }
        Ok(leases)
    }

    fn task_done(&self) -> Result<()> {
        self.call("task_done", |_| {}, nothing)
    }

    fn join(&self) -> Result<()> {
        self.call("join", |_| {}, nothing)
    }

    fn len(&self) -> Result<usize> {
        self.call("qsize", |_| {}, read)
    }

    fn is_empty(&self) -> Result<bool> {
        self.call("empty", |_| {}, read)
    }

    fn is_full(&self) -> Result<bool> {
        self.call("full", |_| {}, read)
    }
}

impl ManagerQueue {
    /// As `get_one`, of an item that comes back in any case, if the server has that.
    fn take_one(&self, timeout: Option<Duration>, read: Read) -> Result<()> {
        let method = match self.methods.contains("take") {
            true => "take",
            false => "get",
        };
        let item = |reply: &Pickle, item| read(Encoded::Pickle(reply, item));
        self.call(method, |args| waiting(args, timeout), item)
    }

    /// What holds the next item: the connection alone on a server of CPython, which has no leases.
    fn lease_one(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read_item: Read,
    ) -> Result<Box<dyn LeaseBackend + '_>> {
        if !self.methods.contains("lease") {
            self.get_one(timeout, read_item)?;
            return Ok(self.held(Out::Got));
        }
        let args = |args: &mut Encoder| {
            args.bool(true);
            seconds(args, timeout);
            seconds(args, expires);
        };
        let (id, item) = self.call("lease", args, |reply, pair| {
            let mut parts = reply.inside(pair.value);
            let (Some(id), Some(item)) = (parts.next(), parts.next()) else {
                return Err(Error::Protocol("a lease is not (id, item)".into()));
            };
            Ok((read(reply, id)?, read_item(Encoded::Pickle(reply, item))))
        })?;
        // An item that cannot be decoded goes back with its lease.
        let held = self.held(Out::Leased(id));
        item.map(|()| held as Box<dyn LeaseBackend>)
    }
}

/// The arguments `block` and `timeout`, as far as they are needed.
fn waiting(args: &mut Encoder, timeout: Option<Duration>) {
    match timeout {
        Some(Duration::ZERO) => _ = args.bool(false),
        Some(time) if time < FOREVER => seconds(args.bool(true), timeout),
        _ => {}
    }
}

fn seconds(args: &mut Encoder, time: Option<Duration>) {
    match time {
        Some(time) if time < FOREVER => args.float(time.as_secs_f64()),
        _ => args.none(),
    };
}

fn read<R: DeserializeOwned>(pickle: &Pickle, value: Span) -> Result<R> {
    let read = pickle::from_value(pickle, value.value);
    read.map_err(|error| Error::Protocol(format!("an unexpected reply: {error}")))
}

fn nothing(_: &Pickle, _: Span) -> Result<()> {
    Ok(())
}
