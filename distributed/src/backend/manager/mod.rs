//! The client of a manager: a server of queues in CPython's protocol.

use std::any;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

mod connection;

use self::connection::Connection;
pub(crate) use self::connection::{Target, request};

use crate::wire::pickle::{self, Encoder, Pickle, Span};
use crate::{Error, Result, Status, random};

/// The longest pause between two attempts to reach a server that is away.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the end of a queue may take that tells its server so.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client of a manager.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) target: Target,
    patience: Duration,
}

impl Client {
    pub(crate) fn new(target: Target) -> Client {
        Client {
            target,
            patience: Duration::ZERO,
        }
    }

    pub(crate) fn reconnect_within(mut self, time: Duration) -> Client {
        self.patience = time;
        self
    }

    pub(crate) fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>> {
        let mut client = self.clone();
        let (ident, methods) = client.create(name)?;
        Ok(Queue {
            name: name.to_string(),
            methods,
            state: Mutex::new(State {
                client,
                ident,
                connection: None,
            }),
            items: PhantomData,
        })
    }

    pub(crate) fn status(&self) -> Result<Status> {
        self.clone().once("status", |_| {}, read::<Status>)
    }

    /// Opens a queue and refers to it; its ident and its methods.
    fn create(&mut self, name: &str) -> Result<(String, BTreeSet<String>)> {
        let created = self.once("create", |args| _ = args.str(name), read);
        created.map_err(|error| match error {
            Error::Remote { class, text } => Error::NoQueue {
                name: name.to_string(),
                said: format!("{class}: {text}"),
            },
            error => error,
        })
    }

    /// Calls the manager itself, which takes a connection for each call.
    pub(crate) fn once<R>(
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
        self.target
            .connect()
            .map_err(|error| match error.is_refused() {
                true => Error::Closed,
                false => error,
            })
    }
}

/// A queue, with a connection of its own.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    name: String,
    /// What the server offers: more than Python's methods, if it is one of ours.
    methods: BTreeSet<String>,
    state: Mutex<State>,
    items: PhantomData<fn(T) -> T>,
}

#[derive(Debug)]
struct State {
    client: Client,
    ident: String,
    connection: Option<Connection>,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub(crate) fn put_within(&self, item: &T, timeout: Option<Duration>) -> Result<()> {
        let code = code(item)?;
        let args = |args: &mut Encoder| waiting(args.item(&code), timeout);
        self.call("put", args, nothing)
    }

    pub(crate) fn put_many(&self, items: &[T]) -> Result<()> {
        if !self.methods.contains("put_many") {
            return items
                .iter()
                .try_for_each(|item| self.put_within(item, None));
        }
        let codes = items.iter().map(code).collect::<Result<Vec<_>>>()?;
        let args = |args: &mut Encoder| {
            args.list();
            codes.iter().for_each(|code| _ = args.item(code));
            args.appends();
        };
        self.call("put_many", args, nothing)
    }

    pub(crate) fn get_within(&self, timeout: Option<Duration>) -> Result<T> {
        self.call("get", |args| waiting(args, timeout), item)
    }

    pub(crate) fn get_many(&self, n: usize, timeout: Option<Duration>) -> Result<Vec<T>> {
        let args = |args: &mut Encoder| seconds(args.int(n as i128), timeout);
        if self.methods.contains("get_many") {
            return self.call("get_many", args, item);
        }
        let mut items = vec![self.get_within(timeout)?];
        while items.len() < n {
            match self.get_within(Some(Duration::ZERO)) {
                Err(Error::Empty) => break,
                item => items.push(item?),
            }
        }
        Ok(items)
    }

    /// The first item, and what holds it: nothing on a server of CPython, which has no leases.
    pub(crate) fn lease(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<(T, Held<'_, T>)> {
        let (out, item) = if self.methods.contains("lease") {
            let args = |args: &mut Encoder| {
                args.bool(true);
                seconds(args, timeout);
                seconds(args, expires);
            };
            let (id, item) = self.call("lease", args, item)?;
            (Out::Leased(id), item)
        } else {
            (Out::Got, self.get_within(timeout)?)
        };
        Ok((item, Held::new(out, self)))
    }

    /// The first item, and what holds it, as its queue has it: this connection, if it redelivers.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Result<(T, Held<'_, T>)> {
        let item = self.get_within(timeout)?;
        Ok((item, Held::new(Out::Got, self)))
    }

    /// Puts the result of what was taken in another queue. Over the same connection, so that for
    /// the server the one ends with the other.
    pub(crate) fn put_result<R: Serialize>(&self, results: &Queue<R>, result: &R) -> Result<()> {
        let code = code(result)?;
        let ident = results.state.lock().unwrap().ident.clone();
        let args = |args: &mut Encoder| waiting(args.item(&code), None);
        let mut state = self.state.lock().unwrap();
        state.attempt(&ident, "put", args, nothing)
    }

    pub(crate) fn task_done(&self) -> Result<()> {
        self.call("task_done", |_| {}, nothing)
    }

    pub(crate) fn join(&self) -> Result<()> {
        self.call("join", |_| {}, nothing)
    }

    pub(crate) fn len(&self) -> Result<usize> {
        self.call("qsize", |_| {}, read)
    }

    pub(crate) fn is_empty(&self) -> Result<bool> {
        self.call("empty", |_| {}, read)
    }

    pub(crate) fn is_full(&self) -> Result<bool> {
        self.call("full", |_| {}, read)
    }
}

impl<T> Queue<T> {
    fn call<R>(
        &self,
        method: &str,
        args: impl Fn(&mut Encoder),
        read: impl Fn(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let mut state = self.state.lock().unwrap();
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut is_new = false;
        loop {
            let ident = state.ident.clone();
            match state.attempt(&ident, method, &args, &read) {
                Err(Error::Closed) if start.elapsed() + pause < state.client.patience => {
                    thread::sleep(random::jitter(pause));
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                // The server was restarted, and Python's gives its queues new idents then.
                Err(Error::Remote { class, .. }) if class == "KeyError" && !is_new => {
                    state.ident = state.client.create(&self.name)?.0;
                    is_new = true;
                }
                outcome => return outcome,
            }
        }
    }
}

impl State {
    fn attempt<R>(
        &mut self,
        ident: &str,
        method: &str,
        args: impl Fn(&mut Encoder),
        read: impl Fn(&Pickle, Span) -> Result<R>,
    ) -> Result<R> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.client.connect()?;
                let name = |args: &mut Encoder| _ = args.str("Rust");
                connection.call(&mut request(None, "accept_connection", name), nothing)?;
                connection
            }
        };
        let outcome = connection.call(&mut request(Some(ident), method, args), read);
        // Any other error is an answer, after which both sides are in step.
        if !matches!(
            outcome,
            Err(Error::Closed | Error::Io { .. } | Error::Protocol(_))
        ) {
            self.connection = Some(connection);
        }
        outcome
    }
}

impl<T> Drop for Queue<T> {
    /// Ends the reference, for the sake of servers that count them. A server that is gone does not
    /// mind.
    fn drop(&mut self) {
        let Ok(state) = self.state.get_mut() else {
            return;
        };
        drop(state.connection.take());
        state.client.target.time = FAREWELL;
        let ident = |args: &mut Encoder| _ = args.str(&state.ident);
        let _ = state.client.once("decref", ident, nothing);
    }
}

/// What holds an item that is out. Dropped, the item goes back, if its queue has that.
#[derive(Debug)]
pub(crate) struct Held<'q, T> {
    out: Option<Out>,
    queue: &'q Queue<T>,
}

#[derive(Debug)]
enum Out {
    /// By a lease of this number.
    Leased(u64),
    /// By the connection alone.
    Got,
}

impl<'q, T> Held<'q, T> {
    fn new(out: Out, queue: &'q Queue<T>) -> Held<'q, T> {
        let out = Some(out);
        Held { out, queue }
    }

    /// Whether the connection alone holds it, and a result over it ends that.
    pub(crate) fn is_got(&self) -> bool {
        matches!(self.out, Some(Out::Got))
    }

    pub(crate) fn done(mut self) -> Result<()> {
        match self.out.take() {
            Some(Out::Leased(id)) => {
                self.queue
                    .call("ack", |args| _ = args.int(id.into()), nothing)
            }
            _ => Ok(()),
        }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        match self.out {
            Some(Out::Leased(id)) => {
                let _ = self
                    .queue
                    .call("release", |args| _ = args.int(id.into()), nothing);
            }
            // The end of the connection is the only word for it that every server knows.
            Some(Out::Got) => drop(self.queue.state.lock().unwrap().connection.take()),
            None => {}
        }
    }
}

/// The arguments `block` and `timeout`, as far as they are needed.
fn waiting(args: &mut Encoder, timeout: Option<Duration>) {
    match timeout {
        None => {}
        Some(Duration::ZERO) => _ = args.bool(false),
        timeout => seconds(args.bool(true), timeout),
    }
}

fn seconds(args: &mut Encoder, time: Option<Duration>) {
    // Python's own clock cannot add up to much more.
    const FOREVER: f64 = 1e9;
    match time.map(|time| time.as_secs_f64()) {
        Some(seconds) if seconds < FOREVER => args.float(seconds),
        _ => args.none(),
    };
}

fn code<T: Serialize>(item: &T) -> Result<Vec<u8>> {
    pickle::to_item(item).map_err(|source| Error::Item {
        item_type: any::type_name::<T>(),
        source,
        pickle: Vec::new(),
    })
}

fn item<T: DeserializeOwned>(reply: &Pickle, value: Span) -> Result<T> {
    pickle::from_value(reply, value.value).map_err(|source| Error::Item {
        item_type: any::type_name::<T>(),
        source,
        pickle: reply.part(value).unwrap_or_default(),
    })
}

fn read<R: DeserializeOwned>(pickle: &Pickle, value: Span) -> Result<R> {
    let read = pickle::from_value(pickle, value.value);
    read.map_err(|error| Error::Protocol(format!("an unexpected reply: {error}")))
}

pub(crate) fn nothing(_: &Pickle, _: Span) -> Result<()> {
    Ok(())
}
