use std::any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attempt::State;
use super::owner::Owner;
use super::{ManagerClient, nothing, read, waiting};
use crate::backend::{Codec, Encoded};
use crate::wire::pickle::{self, Encoder, Pickle, ValueKind};
use crate::{Error, Result};

/// An object that a manager shares, such as a `dict` or a lock: Python's `BaseProxy`, from
/// [`Client::proxy`](crate::Client::proxy).
///
/// To the server a proxy is what a thread is in Python: one connection, which makes one call at a time
/// and holds what it has acquired. So a proxy may go to another thread and cannot be shared by two: each
/// has its own, from [`try_clone`](Proxy::try_clone). A child that is forked borrows it, as a
/// [`Queue`](crate::Queue), and what its parent has acquired stays the parent's. A call blocks its
/// thread; an async program makes it where that is allowed, as in `spawn_blocking`.
///
/// Arguments and answers are pickles: what a type is in Python, [`pickle`](crate::pickle) says.
/// Arguments are a tuple, as is an array, and `()` is none. Python's keywords and slices cannot be sent. A
/// proxy is no value: it cannot be put into a queue, be an argument, or be answered.
///
/// A call whose connection is lost fails, for it may have been done, and is not tried again: the client's
/// [`reconnect_within`](crate::Client::reconnect_within) is for queues. The next call connects anew. It
/// finds a named object of a server of this crate that was started again, which is as new. On one of
/// CPython's the object is gone, and is to be opened again.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// use distributed::{Client, Error, ObjectType, Server};
///
/// let builder = Server::builder().object("counts", ObjectType::Dict);
/// let server = builder.serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// // Python: counts["words"] = 7
/// let counts = client.proxy("counts", ())?;
/// counts.call::<()>("__setitem__", ("words", 7))?;
/// assert_eq!(counts.call::<i64>("get", ("words",))?, 7);
/// assert_eq!(counts.call::<HashMap<String, i64>>("copy", ())?.len(), 1);
/// let missing = counts.call::<i64>("__getitem__", ("lines",));
/// assert!(matches!(missing, Err(Error::Remote { class, .. }) if class == "KeyError"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    methods: BTreeSet<String>,
    state: RefCell<State>,
}

/// What a [`Proxy`] has acquired, released when dropped: Python's `with lock:`. So it is when a panic
/// drops it, after which `owner_died` is `None`: only who ends without a word counts as dead.
///
/// # Examples
///
/// ```
/// # use distributed::{Client, Error, ObjectType, Server};
/// # let builder = Server::builder().object("gate", ObjectType::Lock);
/// # let server = builder.serve("127.0.0.1:0", b"abc")?;
/// # let client = Client::connect(server.address(), b"abc")?;
/// let gate = client.proxy("gate", ())?;
/// let held = gate.acquire()?;
/// // Whoever had it before may have died, and left half done what it protects.
/// if let Some(who) = gate.call::<Option<String>>("owner_died", ())? {
///     println!("{who} died with the lock");
///     gate.call::<()>("clear_owner_died", ())?;
/// }
/// held.release()?;
/// # Ok::<(), Error>(())
/// ```
#[must_use = "what it holds is released as soon as it is dropped"]
#[derive(Debug)]
pub struct ProxyGuard<'p> {
    proxy: &'p Proxy,
    /// Which of the proxy's connections holds it.
    connection: u64,
    owner: Owner,
}

impl ManagerClient {
    /// What the manager makes, or has, under a name.
    pub(super) fn open_proxy(&self, name: &str, args: &[Vec<u8>]) -> Result<Proxy> {
        let mut client = self.clone();
        let args = |code: &mut Encoder| {
            code.str(name);
            args.iter().for_each(|arg| _ = code.item(arg));
        };
        let (ident, methods) = client.once("create", args, read)?;
        let state = RefCell::new(State::new(client, ident));
        Ok(Proxy { methods, state })
    }
}

impl Proxy {
    /// Calls a method of the object, and waits for its answer as long as the method takes.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] with the exception that the method raises; [`Error::Empty`] and
    /// [`Error::Full`] for those of Python's queues. [`Error::Item`] when `args` is no tuple or has no
    /// counterpart in Python, or the answer is no `R`, which is found when the call is done: the `R` that
    /// takes any answer is [`serde::de::IgnoredAny`]. [`Error::ShutDown`] or [`Error::Closed`] when the
    /// server is gone: the call may have been done or not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server};
    /// # let server = Server::builder().sync_manager().serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// // Python: names = manager.list(["Bob"])
    /// let names = client.proxy("list", (vec!["Bob"],))?;
    /// names.call::<()>("append", ("Alice",))?;
    /// names.call::<()>("sort", ())?;
    /// assert_eq!(names.call::<String>("__getitem__", (0,))?, "Alice");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn call<R: DeserializeOwned>(&self, method: &str, args: impl Serialize) -> Result<R> {
        let args = arguments(&args)?;
        let mut state = self.state.borrow_mut();
        let ident = state.ident.clone();
        let args = |code: &mut Encoder| args.iter().for_each(|arg| _ = code.item(arg));
        let answer = state.attempt(&ident, method, args, |reply, answer| {
            Encoded::Pickle(reply, answer).decode()
        });
        answer.map_err(|error| self.explain(error, &ident, method))
    }

    /// A server of Python's says `KeyError` also of an object and of a method that are not there.
    fn explain(&self, error: Error, ident: &str, method: &str) -> Error {
        let Error::Remote { class, text } = &error else {
            return error;
        };
        let key = text.trim_matches('\'');
        let (class, text) = match class.as_str() {
            "KeyError" if key == ident => (
                "RemoteError",
                "the object is gone, or its server was started anew: open it again".to_string(),
            ),
            "KeyError" if key == method && !self.methods.contains(method) => {
                let methods: Vec<&str> = self.methods().collect();
                let methods = methods.join(", ");
                (
                    "AttributeError",
                    format!("no method `{method}`: there are {methods}"),
                )
            }
            _ => return error,
        };
        Error::Remote {
            class: class.to_string(),
            text,
        }
    }

    /// Acquires a lock, a permit of a semaphore or the lock of a condition, and waits for it as long as
    /// it takes.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when the object has no `acquire`, [`Error::ShutDown`] or [`Error::Closed`] when
    /// the server is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("slots", ObjectType::Semaphore(2));
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let slots = client.proxy("slots", ())?;
    /// let (_one, _another) = (slots.acquire()?, slots.acquire()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn acquire(&self) -> Result<ProxyGuard<'_>> {
        let said = || Error::Protocol("acquire() of a shared object gave up".to_string());
        self.acquire_within(None)?.ok_or_else(said)
    }

    /// As [`acquire`](Proxy::acquire), for so long; zero does not wait. `None` when it did not get it.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Proxy::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("gate", ObjectType::Lock);
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let gate = client.proxy("gate", ())?;
    /// let held = gate.acquire()?;
    /// assert!(gate.try_clone()?.acquire_timeout(Duration::ZERO)?.is_none());
    /// # drop(held);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ProxyGuard<'_>>> {
        self.acquire_within(Some(timeout))
    }

    /// The methods that the server shows of the object, in the order of their names.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("started", ObjectType::Event);
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let started = client.proxy("started", ())?;
    /// assert!(started.methods().any(|method| method == "is_set"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str)
    }

    /// Another proxy of the same object, which makes its calls and holds what it acquires by itself.
    ///
    /// # Errors
    ///
    /// [`Error::ShutDown`] or [`Error::Closed`] when the server is gone, [`Error::Remote`] when the object
    /// is.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("started", ObjectType::Event);
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let started = client.proxy("started", ())?;
    /// let waits = started.try_clone()?;
    /// let waiter = thread::spawn(move || waits.call::<bool>("wait", ()));
    /// started.call::<()>("set", ())?;
    /// assert!(waiter.join().expect("it does not panic")?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Proxy> {
        let (mut client, ident) = {
            let state = self.state.borrow_mut();
            (state.client.clone(), state.ident.clone())
        };
        client.once("incref", |args| _ = args.str(&ident), nothing)?;
        Ok(Proxy {
            methods: self.methods.clone(),
            state: RefCell::new(State::new(client, ident)),
        })
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<ProxyGuard<'_>>> {
        let mut state = self.state.borrow_mut();
        let ident = state.ident.clone();
        let args = |code: &mut Encoder| waiting(code, timeout);
        let answer = state.attempt(&ident, "acquire", args, read);
        let is_held: bool = answer.map_err(|error| self.explain(error, &ident, "acquire"))?;
        Ok(is_held.then(|| ProxyGuard {
            proxy: self,
            connection: state.connections,
            owner: Owner::me(),
        }))
    }
}

impl ProxyGuard<'_> {
    /// Releases it. Dropped, the guard does so too, and says nothing of an error.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection was lost: a server of this crate has released it then, and one
    /// of CPython is asked to. [`Error::Remote`] when another has released it and nobody has it; who has
    /// it since is not told apart, and loses it, as in Python.
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, ObjectType, Server};
    /// # let builder = Server::builder().object("gate", ObjectType::Lock);
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let gate = client.proxy("gate", ())?;
    /// let held = gate.acquire()?;
    /// // As in Python, whoever has a proxy may release it.
    /// gate.call::<()>("release", ())?;
    /// assert!(matches!(held.release(), Err(Error::Remote { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn release(self) -> Result<()> {
        ManuallyDrop::new(self).let_go()
    }

    fn let_go(&self) -> Result<()> {
        self.owner
            .require("release what was acquired", "release it there")?;
        let mut state = self.proxy.state.borrow_mut();
        let is_lost = state.connection.is_none() || state.connections != self.connection;
        // Here it ended with its connection, and over another it would be released for whoever has it
        // since. A server of CPython keeps it.
        if is_lost && self.proxy.methods.contains("owner_died") {
            let address = state.client.target.address.clone();
            return Err(Error::Closed { address });
        }
        let ident = state.ident.clone();
        state.attempt(&ident, "release", |_| {}, nothing)
    }
}

impl Drop for ProxyGuard<'_> {
    fn drop(&mut self) {
        // When the server is gone there is nothing to release, nor in a forked child.
        let _ = self.let_go();
    }
}

/// The arguments in a tuple, each as an item.
pub(crate) fn arguments<A: Serialize>(args: &A) -> Result<Vec<Vec<u8>>> {
    let wrong = |source| Error::Item {
        item_type: any::type_name::<A>(),
        source,
        pickle: Vec::new(),
    };
    let code = Codec::Pickle.encode(args)?;
    let tuple = Pickle::read_item(&code).map_err(|malformed| wrong(malformed.into()))?;
    match tuple.kind(tuple.root()) {
        ValueKind::None => Ok(Vec::new()),
        ValueKind::Tuple => {
            let items = tuple.inside(tuple.root());
            let items = items.map(|arg| tuple.item(arg, usize::MAX));
            let items: Result<_, _> = items.collect();
            items.map_err(|malformed| wrong(malformed.into()))
        }
        _ => {
            let reason = "arguments are a tuple: `(3,)` is one argument, `()` is none";
            Err(wrong(pickle::Error::Mismatch(reason.to_string())))
        }
    }
}
