use std::any;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{Connection, Target, request};
use crate::pickle::{self, Encoder, Pickle, Span};
use crate::server::Status;
use crate::{Error, Result};

/// The longest pause between two attempts to reach a server that is away.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the end of a queue may take that tells its server so.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client of a server of queues; from [`Manager::connect`](crate::Manager::connect).
#[derive(Clone, Debug)]
pub struct Client {
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

    /// How long a call tries to reach a server that has gone away, with longer and longer pauses;
    /// zero, the default, is not at all. It holds for queues that are opened afterwards.
    ///
    /// A call that the loss interrupted is made again. The server may have done it before: a `put`
    /// can put twice, and a `get` lose what it was handed, unless the queue redelivers. What was in
    /// the queues of a server that died is lost; they are there again, and empty.
    pub fn reconnect_within(mut self, time: Duration) -> Client {
        self.patience = time;
        self
    }

    /// Opens a queue of the server: Python's `manager.get_task_queue()`. Each queue has a
    /// connection of its own, so one that waits holds up no other.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when the server has none of this name, [`Error::Closed`] when it is gone
    /// since; else those of [`Manager::connect`](crate::Manager::connect).
    pub fn queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Queue<T>> {
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

    /// What the server says of its connections and queues.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] from a server of CPython, which does not have it; else those of
    /// [`queue`](Client::queue).
    pub fn status(&self) -> Result<Status> {
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

/// A queue on a server: Python's proxy of a `queue.Queue`.
///
/// First in, first out. Items are pickles: what a `T` is in Python, [`pickle`](crate::pickle) says.
/// Threads may share a queue, but a call waits for the one before; a thread that waits in `get`
/// takes a queue of its own. A server whose machine is gone without a word is noticed within some
/// 90 s.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Error, Manager};
///
/// let server = Manager::builder().queue("names").serve("127.0.0.1:0", b"abc")?;
/// let names = Manager::connect(server.address(), b"abc")?.queue::<String>("names")?;
/// names.put(&"Bob".to_string())?;
/// assert_eq!(names.len()?, 1);
/// assert_eq!(names.get_timeout(Duration::from_secs(10))?, "Bob");
/// assert!(names.is_empty()?);
/// assert!(matches!(names.try_get(), Err(Error::Empty)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Queue<T> {
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
    /// Puts an item at the end, and waits for room as long as it takes. When it returns, the
    /// server has it.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] when the item has no counterpart in Python, [`Error::Remote`] when it is
    /// over the server's limit, [`Error::Closed`] when the server is gone: it may have got the
    /// item or not.
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_within(item, None)
    }

    /// As [`put`](Queue::put), but waits no longer than `timeout` for room: `put(…, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when there was no room in time; else those of `put`.
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_within(item, Some(timeout))
    }

    /// As [`put_timeout`](Queue::put_timeout) without any wait: Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `put_timeout`.
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_within(item, Some(Duration::ZERO))
    }

    fn put_within(&self, item: &T, timeout: Option<Duration>) -> Result<()> {
        let code = code(item)?;
        let args = |args: &mut Encoder| waiting(args.item(&code), timeout);
        self.call("put", args, nothing)
    }

    /// Puts all items at the end, next to each other, in one message. Waits until there is room for
    /// all. On a server of CPython, which lacks it, it puts one after the other.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Queue::put); [`Error::Remote`] when there can never be room for so many.
    pub fn put_many(&self, items: &[T]) -> Result<()> {
        if !self.methods.contains("put_many") {
            return items.iter().try_for_each(|item| self.put(item));
        }
        let codes = items.iter().map(code).collect::<Result<Vec<_>>>()?;
        let args = |args: &mut Encoder| {
            args.list();
            codes.iter().for_each(|code| _ = args.item(code));
            args.appends();
        };
        self.call("put_many", args, nothing)
    }

    /// Takes the first item, and waits for one as long as it takes.
    ///
    /// A client that dies in here takes no item with it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the server is gone; [`Error::Item`] when the item is not a `T`: it is
    /// taken, and its pickle is in the error.
    pub fn get(&self) -> Result<T> {
        self.get_within(None)
    }

    /// As [`get`](Queue::get), but waits no longer than `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time; else those of `get`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_within(Some(timeout))
    }

    /// As [`get_timeout`](Queue::get_timeout) without any wait: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `get_timeout`.
    pub fn try_get(&self) -> Result<T> {
        self.get_within(Some(Duration::ZERO))
    }

    fn get_within(&self, timeout: Option<Duration>) -> Result<T> {
        self.call("get", |args| waiting(args, timeout), item)
    }

    /// Takes up to `n` items, in one message: those that there are, or, if there are none, the
    /// first ones that come. Waits for these no longer than `timeout`, and without limit if `None`.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Queue::get_timeout); [`Error::Remote`] when `n` is 0.
    pub fn get_many(&self, n: usize, timeout: Option<Duration>) -> Result<Vec<T>> {
        let args = |args: &mut Encoder| seconds(args.int(n as i128), timeout);
        if self.methods.contains("get_many") {
            return self.call("get_many", args, item);
        }
        let mut items = vec![self.get_within(timeout)?];
        while items.len() < n {
            match self.try_get() {
                Err(Error::Empty) => break,
                item => items.push(item?),
            }
        }
        Ok(items)
    }

    /// Takes the first item under a lease: it goes back to the queue unless
    /// [`done`](Lease::done) is called, whatever happens to this client.
    ///
    /// Waits for one no longer than `timeout`, and without limit if `None`. With `expires`, the
    /// lease also ends after so long, for a client that hangs.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] from a server of CPython, which does not have it; else those of
    /// [`get_timeout`](Queue::get_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::Manager;
    ///
    /// let server = Manager::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Manager::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&34)?;
    /// let lease = tasks.lease(None, None)?;
    /// assert_eq!((lease.item, tasks.len()?), (34, 0));
    /// drop(lease);
    /// assert_eq!(tasks.len()?, 1);
    /// tasks.lease(None, None)?.done()?;
    /// assert!(tasks.is_empty()?);
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn lease(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Lease<'_, T>> {
        let args = |args: &mut Encoder| {
            args.bool(true);
            seconds(args, timeout);
            seconds(args, expires);
        };
        let (id, item) = self.call("lease", args, item)?;
        Ok(Lease {
            item,
            id: Some(id),
            queue: self,
        })
    }

    /// Counts one item as worked off: Python's `task_done`.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when more are counted than were put, else those of [`len`](Queue::len).
    pub fn task_done(&self) -> Result<()> {
        self.call("task_done", |_| {}, nothing)
    }

    /// Waits until every item that was put has been worked off: Python's `join`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn join(&self) -> Result<()> {
        self.call("join", |_| {}, nothing)
    }

    /// How many items wait: Python's `qsize`. Others may change that at any moment.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the server is gone.
    pub fn len(&self) -> Result<usize> {
        self.call("qsize", |_| {}, read)
    }

    /// Whether no item waits: Python's `empty`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_empty(&self) -> Result<bool> {
        self.call("empty", |_| {}, read)
    }

    /// Whether there is no room for another item: Python's `full`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_full(&self) -> Result<bool> {
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
            match state.attempt(method, &args, &read) {
                Err(Error::Closed) if start.elapsed() + pause < state.client.patience => {
                    // Not all clients at the same moment.
                    thread::sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
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
        let outcome = connection.call(&mut request(Some(&self.ident), method, args), read);
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

/// An item that is out of its queue until it is known whether it was worked off; from
/// [`Queue::lease`]. Dropped, it goes back.
#[derive(Debug)]
pub struct Lease<'q, T> {
    /// The item.
    pub item: T,
    id: Option<u64>,
    queue: &'q Queue<T>,
}

impl<T> Lease<'_, T> {
    /// Ends the lease: the item is worked off.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when the lease is over, and the item may have been given to another;
    /// [`Error::Closed`] when the server is gone.
    pub fn done(mut self) -> Result<()> {
        let id = self.id.take().unwrap_or_default();
        self.queue
            .call("ack", |args| _ = args.int(id.into()), nothing)
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _ = self
                .queue
                .call("release", |args| _ = args.int(id.into()), nothing);
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
