use std::any;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attempt::State;
use super::{ManagerClient, nothing, read, waiting};
use crate::backend::Encoded;
use crate::wire::pickle::{self, Encoder, Pickle, ValueKind};
use crate::{Error, Result};

/// An object that a manager shares, such as a `dict` or a lock: Python's `BaseProxy`, from
/// [`Client::proxy`](crate::Client::proxy).
///
/// To the server a proxy is what a thread is in Python: one connection, which makes one call at a time
/// and holds what it has acquired. Threads may share a proxy, but each call waits for the one before it:
/// a thread that waits for another needs a proxy of its own, from [`try_clone`](Proxy::try_clone).
///
/// Arguments and answers are pickles: what a type is in Python, [`pickle`](crate::pickle) says.
/// Arguments are a tuple, and Python's keywords cannot be sent. A proxy is no value: it cannot be put
/// into a queue, be an argument, or be answered.
///
/// A call whose connection is lost fails, for it may have been done. The next call connects anew.
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
    state: Mutex<State>,
}

/// What a [`Proxy`] has acquired, released when dropped: Python's `with lock:`.
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
        let state = Mutex::new(State::new(client, ident));
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
    /// counterpart in Python, or the answer is no `R`. [`Error::Closed`] when the server is gone: the
    /// call may have been done or not. [`Error::Protocol`] when the answer is another proxy, which
    /// only Python has a use for.
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
        let mut state = self.state.lock().unwrap();
        let ident = state.ident.clone();
        let args = |code: &mut Encoder| args.iter().for_each(|arg| _ = code.item(arg));
        state.attempt(&ident, method, args, |reply, answer| {
            Encoded::Pickle(reply, answer).decode()
        })
    }

    /// Acquires a lock, a permit of a semaphore or the lock of a condition, and waits for it as long as
    /// it takes.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] when the object has no `acquire`, [`Error::Closed`] when the server is gone.
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
    /// [`Error::Closed`] when the server is gone, [`Error::Remote`] when the object is.
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
            let state = self.state.lock().unwrap();
            (state.client.clone(), state.ident.clone())
        };
        client.once("incref", |args| _ = args.str(&ident), nothing)?;
        Ok(Proxy {
            methods: self.methods.clone(),
            state: Mutex::new(State::new(client, ident)),
        })
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<ProxyGuard<'_>>> {
        let mut state = self.state.lock().unwrap();
        let ident = state.ident.clone();
        let args = |code: &mut Encoder| waiting(code, timeout);
        let is_held: bool = state.attempt(&ident, "acquire", args, read)?;
        Ok(is_held.then(|| ProxyGuard {
            proxy: self,
            connection: state.connections,
        }))
    }
}

impl ProxyGuard<'_> {
    /// Releases it. Dropped, the guard does so too, and says nothing of an error.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the connection was lost, by which it was released before.
    /// [`Error::Remote`] when another has released it.
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
        let mut state = self.proxy.state.lock().unwrap();
        // It ended with its connection. Over another it would be released for whoever has it since.
        if state.connection.is_none() || state.connections != self.connection {
            let address = state.client.target.address.clone();
            return Err(Error::Closed { address });
        }
        let ident = state.ident.clone();
        state.attempt(&ident, "release", |_| {}, nothing)
    }
}

impl Drop for ProxyGuard<'_> {
    fn drop(&mut self) {
        // Of a connection that is lost there is nothing to release.
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
    let code = pickle::to_vec(args).map_err(wrong)?;
    let tuple = Pickle::read(&code).map_err(|malformed| wrong(malformed.into()))?;
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
