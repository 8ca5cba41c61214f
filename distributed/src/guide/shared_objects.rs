//! Objects that clients share: `dict`, `list` and the others of Python's `SyncManager`.
//!
//! A program that shares state through a manager of its own calls `start()`, and the manager is a
//! process of CPython. With [`Builder::sync_manager`](crate::Builder::sync_manager) it calls
//! `connect()` instead, and all else stays:
//!
//! ```python
//! from multiprocessing.managers import SyncManager
//!
//! manager = SyncManager(address=("127.0.0.1", 5000), authkey=b"abc")
//! manager.connect()
//! counts = manager.dict()
//! counts["words"] = 7
//! ```
//!
//! The program `manager` serves these names with `--sync-manager`. What `manager.dict()` makes
//! belongs to whoever has a proxy of it. An object that all clients open by its name is made when
//! the server starts, with [`Builder::object`](crate::Builder::object) or `--object settings:dict`,
//! and stays:
//!
//! ```python
//! from multiprocessing.managers import BaseManager, DictProxy
//!
//! class Settings(BaseManager):
//!     pass
//!
//! Settings.register("settings", proxytype=DictProxy)
//! ```
//!
//! `set` is a name of `SyncManager` from Python 3.15 on. An older one names the methods that it wants;
//! without `exposed` its proxy has those that the server tells it of, which are all of 3.15:
//!
//! ```python
//! SyncManager.register("set")
//! seen = manager.set(["a"])
//! seen.add("b")
//! ```
//!
//! There `seen &= {"a"}` changes the set too, but makes `seen` a `set` of the program's own, which is
//! what such a proxy of CPython's does: call `intersection_update`.
//!
//! A call is one step: no other call of the object comes between its parts. `counts["words"] += 1`
//! is two calls, in Python as here.
//!
//! # In Rust
//!
//! [`Client::proxy`](crate::Client::proxy) opens or makes an object, and
//! [`Proxy::call`](crate::Proxy::call) calls its methods under Python's names, on this server as on
//! CPython's own:
//!
//! ```
//! # use distributed::{Client, Error, Server};
//! # let server = Server::builder().sync_manager().serve("127.0.0.1:0", b"abc")?;
//! # let client = Client::connect(server.address(), b"abc")?;
//! let counts = client.proxy("dict", ())?;
//! let lock = client.proxy("Lock", ())?;
//! {
//!     let _held = lock.acquire()?;
//!     let words: i64 = counts.call("get", ("words", 0))?;
//!     counts.call::<()>("__setitem__", ("words", words + 1))?;
//! }
//! assert_eq!(counts.call::<i64>("get", ("words",))?, 1);
//! # Ok::<(), Error>(())
//! ```
//!
//! Python's operators are methods: `d[k]` is `__getitem__`, `k in d` `__contains__`, `len(d)`
//! `__len__`; attributes of a `Namespace` are `__getattribute__` and `__setattr__`, and the `value` of a
//! `Value` is `get` and `set`.
//!
//! # What is read, and what is refused
//!
//! Values are the pickles that clients sent, so they may be of classes that only clients know. The
//! server reads one only where a key, an equality or an order depends on it, and compares as Python
//! does: `1`, `1.0` and `True` are one key. It reads `None`, `bool`, `int`, `float`, `str`, `bytes`,
//! and tuples and lists of them, up to 32 in one another. For anything else it raises `TypeError`:
//!
//! | What | Where |
//! | --- | --- |
//! | an instance, as of a subclass of `str`, an enum, a named tuple, a `frozenset`, not a number | a key of a `dict`, an element of a `set`; `in`, `index`, `count`, `remove` and `sort` of a `list` that get to it |
//! | a function | `sort(key=…)`: the server runs no code |
//! | a proxy, a generator | `dict(…)`, `list(…)`, `set(…)`, `extend`, `update`, `union` and the like: pass `proxy.copy()` or `proxy[:]` |
//! | an `OrderedDict`, `defaultdict`, `Counter` or another subclass of `dict` | `dict(…)`, `update`: pass `dict(counter)` |
//! | `bytes`, a `deque`, an `array`, an iterator, a view of a `dict` | `list(…)`, `extend` and the like: pass `list(…)` of it |
//! | a function | the action of a `Barrier`: the party that gets 0 from `wait()` can do it |
//! | a lock of another server, or none | `Condition(lock)`: it takes a proxy of a `Lock` or `RLock` of this server |
//! | another typecode than `b B h H i I l L q Q f d` | `Array` |
//! | `Pool` | everywhere: there is no such name |
//!
//! Some things are other than in CPython. Errors have words of their own, and a wrong pair in `update`
//! is a `TypeError`; a `sort` that fails leaves the list as it was. A `Barrier` has a party at least,
//! and the `maxsize` of a queue is an `int`. A timeout of any length is taken. An iterator of a `dict`
//! goes through the keys that were there when it began, whatever happens to the dict. `str(proxy)`
//! shows an instance by the name of its class, and an `int` of more than 127 bits by its bytes. An
//! `Array` keeps its length when a slice is assigned.
//!
//! CPython has tests of what a manager serves: Python 3.11 runs 41 of its 45. Against this server all
//! of these pass but two: the action of a barrier, and the iterator of a dict that has changed.
//!
//! # What it costs
//!
//! What objects store counts in [`Builder::max_memory`](crate::Builder::max_memory), each value with
//! 256 bytes for its place; objects may take three quarters of what is for items. A call over that
//! raises `MemoryError`, and the server goes on. An answer that would be over
//! [`Builder::max_message`](crate::Builder::max_message), such as the copy of a large dict, is a
//! `ValueError`. One of more than 1 MiB counts like what objects store until its client has read it, so
//! it may be a `MemoryError` too. A value that elements of an argument have in common, as the rows of
//! `[row] * 1000`, is stored for each of them: up to 64 MiB, or four times the call. Calls may have
//! made 65,536 objects at one time.
//!
//! A call that looks at all elements of a long list or answers with them, and most of all `sort`, holds
//! up everybody else for as long as it takes.
//!
//! # Queues
//!
//! `Queue` and `JoinableQueue` are there too, and `LifoQueue`, `PriorityQueue` and `SimpleQueue` of
//! the module `queue`, which Python's `SyncManager` does not have: a client registers these names.
//! [`QueueOrder`](crate::QueueOrder) says what a `PriorityQueue` compares. A queue under a name has
//! its order by [`QueueOptions::order`](crate::QueueOptions::order) or `--queue jobs:PriorityQueue`.
//!
//! # Who holds a lock
//!
//! The holder of a lock, of an `RLock` and of a permit is a connection. In CPython that is a thread
//! of a process, as it is with a manager of its own. Who waits is served in the order of arrival.
//! As in CPython, any thread may release a `Lock` or a semaphore, and only its holder an `RLock`.
//!
//! CPython's own server knows no holder of a `Lock`: a program that is killed leaves it locked for
//! ever. This server does not:
//!
//! | What ends | What follows |
//! | --- | --- |
//! | the holder of a `Lock` or `RLock` | it is free at once, and goes to who waits longest |
//! | the holder of permits of a semaphore | they are free, as far as the semaphore does not get more than it began with: one that began with 0 counts events, and what was taken from it was heard |
//! | one that waits for a lock, a permit or an event | it is passed over |
//! | one that waits in a `Condition` | it does not count: `notify()` reaches one that is there |
//! | a party that waits at a `Barrier` | the barrier is broken: the others raise `BrokenBarrierError`, which says so, and the server logs it; `reset()` mends it |
//! | the server | calls that wait raise `EOFError` |
//!
//! What a lock protected may be half done when its holder is killed. `acquire()` says `True` in any
//! case, as unmodified programs expect; one that can mend what it protects asks the lock when it has
//! it. A proxy of `SyncManager` has no method of that name, and passes it on:
//!
//! ```python
//! with lock:
//!     died = lock._callmethod("owner_died")
//!     if died:
//!         log.warning("%s died with the lock", died)  # MainProcess at 127.0.0.1:40112
//!         mend()
//!         lock._callmethod("clear_owner_died")
//! ```
//!
//! `owner_died` is `None`, or what the last one that died with it called itself and where it was. It
//! says so to each holder until one calls `clear_owner_died`: one that did not ask has mended nothing.
//! Of a condition it tells of its lock, and of a semaphore it tells of permits that came back. The
//! server logs it as a warning too. A client that ends while it holds a lock counts as dead, and so
//! does a thread.
//!
//! A thread that ends lets go of what it holds, since its connection ends with it. A client that
//! acquires in one thread and releases in another does so while the first one lives.
//!
//! # When a client dies
//!
//! An object that a call made ends 10 s after its last proxy has gone, and a queue at once. A proxy
//! that is inside an item, or in a `dict` or `list` of the server, counts as one until 10 s after it
//! was taken out, for a day at most: a program may put a queue for the answers into its task and keep
//! none itself. A client that is killed, or ends by `process::exit` in Rust, tells nobody that its proxies
//! are gone: what only it had made stays until the server ends. CPython's server does the same. It counts the
//! proxies that programs say they have, and the end of a connection says nothing of them: a thread
//! that ends closes its connection too, and its proxies may be with other threads.
//! [`factory_timeout`](crate::Builder::factory_timeout) drops queues that nobody has used for so
//! long, and no other objects. An
//! object with a name stays in any case, and a proxy of it from before a restart of the server finds
//! the one after it, which is empty.
