use std::str::FromStr;
use std::time::Duration;

/// The order in which a queue hands out its items.
///
/// Its text is Python's name of such a queue.
///
/// # Examples
///
/// ```
/// use distributed::QueueOrder;
///
/// assert_eq!("LifoQueue".parse(), Ok(QueueOrder::Lifo));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// First in, first out: Python's `Queue`, `JoinableQueue` and `SimpleQueue`.
    #[default]
    Fifo,
    /// Last in, first out: Python's `LifoQueue`.
    Lifo,
    /// The least first, and of equal ones the one that came first: Python's `PriorityQueue`.
    ///
    /// The server compares `None`, `bool`, `int`, `float`, `str`, `bytes`, and tuples and lists of
    /// them, as far as the first that differ: of `(2, anything)` it reads the 2. `put` of what it
    /// cannot compare with what waits is a `TypeError` in Python, [`Error::Remote`](crate::Error::Remote)
    /// in Rust. An item that comes back has the place that its value has.
    Priority,
}

impl FromStr for QueueOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<QueueOrder, String> {
        match text {
            "Queue" | "JoinableQueue" | "SimpleQueue" => Ok(QueueOrder::Fifo),
            "LifoQueue" => Ok(QueueOrder::Lifo),
            "PriorityQueue" => Ok(QueueOrder::Priority),
            _ => Err(format!(
                "no queue '{text}': there are Queue, JoinableQueue, SimpleQueue, LifoQueue and \
                 PriorityQueue"
            )),
        }
    }
}

/// A queue that is to be served: its name and its rules.
///
/// # Examples
///
/// ```
/// use distributed::{QueueOptions, Server};
///
/// let server = Server::builder()
///     .queue(QueueOptions::new("get_task_queue").redeliver(true))
///     .queue(QueueOptions::new("get_result_queue").maxsize(100))
///     .serve("127.0.0.1:0", b"abc")?;
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options alone make no queue"]
pub struct QueueOptions {
    pub(crate) name: String,
    pub(crate) maxsize: usize,
    pub(crate) order: QueueOrder,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) redeliver: bool,
    pub(crate) max_deliveries: u32,
    pub(crate) visibility_timeout: Option<Duration>,
    pub(crate) lease: Duration,
    pub(crate) replicas: usize,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions::new("")
    }
}

impl QueueOptions {
    /// A queue of any number of items, each handed out once: Python's `queue.Queue()`.
    ///
    /// Clients open it by its name, which Python's name as a method: `get_task_queue`.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::QueueOptions;
    ///
    /// assert_eq!(QueueOptions::new("tasks").name(), "tasks");
    /// ```
    pub fn new(name: impl Into<String>) -> QueueOptions {
        QueueOptions {
            name: name.into(),
            maxsize: 0,
            order: QueueOrder::Fifo,
            max_bytes: None,
            redeliver: false,
            max_deliveries: 3,
            visibility_timeout: None,
            lease: Duration::from_secs(30),
            replicas: 1,
        }
    }

    /// Its name.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::QueueOptions;
    ///
    /// assert_eq!(QueueOptions::new("tasks").name(), "tasks");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most items that may wait; `put` waits for room. 0 is any number, as in Python.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, QueueOptions, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").maxsize(1);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// tasks.put(&1)?;
    /// assert!(tasks.is_full()?);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn maxsize(mut self, items: usize) -> QueueOptions {
        self.maxsize = items;
        self
    }

    /// On a manager, the order in which items are handed out; an engine has first in, first out
    /// alone, and refuses the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, QueueOptions, QueueOrder, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").order(QueueOrder::Priority);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<(u32, String)>("tasks")?;
    /// tasks.put_many(&[(2, "later".into()), (1, "first".into())])?;
    /// assert_eq!(tasks.get()?.1, "first");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn order(mut self, order: QueueOrder) -> QueueOptions {
        self.order = order;
        self
    }

    /// On a manager, the most that its items may take, in bytes, within what the server may store:
    /// three quarters of what [`Builder::max_memory`](crate::Builder::max_memory) has for items if
    /// not said. An item that is out on a lease counts, and each counts 256 bytes for its place.
    /// `put` waits for room. An engine takes no notice of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, QueueOptions, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").max_bytes(64 << 10);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let tasks = Client::connect(server.address(), b"abc")?.queue::<String>("tasks")?;
    /// let never = tasks.put(&"x".repeat(100 << 10)).expect_err("it is too long");
    /// assert!(never.to_string().contains("max_bytes"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_bytes(mut self, bytes: u64) -> QueueOptions {
        self.max_bytes = Some(bytes);
        self
    }

    /// Whether an item goes back to the front when the worker that got it is gone before the item
    /// was done. An item is done at the worker's next `put`, `get` or `task_done` on any queue over
    /// the same connection.
    ///
    /// With it, a worker that is killed loses nothing, but if it is killed after its work and
    /// before its `put`, the work is done twice. Without it, an item is lost with its worker, as in
    /// Python.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, QueueOptions, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").redeliver(true);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let master = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// master.put(&34)?;
    /// let worker = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    /// assert_eq!(worker.get()?, 34);
    /// // It is gone before it has put a result.
    /// drop(worker);
    /// assert_eq!(master.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn redeliver(mut self, redeliver: bool) -> QueueOptions {
        self.redeliver = redeliver;
        self
    }

    /// How often an item is handed out before it goes to the queue `<name>.dead`; 3 if not said.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, QueueOptions, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").redeliver(true).max_deliveries(1);
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// let worker = client.queue::<u32>("tasks")?;
    /// worker.put(&34)?;
    /// assert_eq!(worker.get()?, 34);
    /// // It is gone before it has put a result, and that was the only try.
    /// drop(worker);
    /// assert_eq!(client.queue::<u32>("tasks.dead")?.get()?, 34);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_deliveries(mut self, times: u32) -> QueueOptions {
        self.max_deliveries = times.max(1);
        self
    }

    /// On a manager, how long a worker may have an item of a queue that redelivers; for ever if not
    /// said. After that the item is another's, though the worker's connection is still open: it may
    /// be frozen, or at a task that never ends. So say more than the longest task takes.
    ///
    /// A worker that is late and then puts its result is refused: `put` raises `RuntimeError`,
    /// [`Error::Remote`](crate::Error::Remote) in Rust, once. If it asks for the next item instead,
    /// it gets one. The time runs on while a `put` waits for room. A lease without a time of its
    /// own has this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, QueueOptions, Server};
    ///
    /// let tasks = QueueOptions::new("tasks").redeliver(true);
    /// let tasks = tasks.visibility_timeout(Duration::from_millis(20));
    /// let server = Server::builder().queue(tasks).serve("127.0.0.1:0", b"abc")?;
    /// let client = Client::connect(server.address(), b"abc")?;
    /// let (frozen, other) = (client.queue::<u32>("tasks")?, client.queue::<u32>("tasks")?);
    /// frozen.put(&34)?;
    /// assert_eq!(frozen.get()?, 34);
    /// assert_eq!(other.get()?, 34);
    /// assert!(frozen.put(&35).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn visibility_timeout(mut self, time: Duration) -> QueueOptions {
        self.visibility_timeout = Some(time);
        self
    }

    /// How long an engine waits for a sign of life from the holder of an item before the item comes
    /// back: 30 s by default, and at least 100 ms. A manager needs no such time, since it sees the
    /// worker's connection end.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use distributed::QueueOptions;
    ///
    /// // If a worker is killed, others get its tasks after 5 s.
    /// let tasks = QueueOptions::new("tasks").redeliver(true).lease(Duration::from_secs(5));
    /// distributed::connect("nats://localhost:4222")?.create(tasks)?;
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn lease(mut self, time: Duration) -> QueueOptions {
        self.lease = time.max(Duration::from_millis(100));
        self
    }

    /// On an engine, how many nodes store each item: 1 if not said, or 3 or 5 in a cluster.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use distributed::QueueOptions;
    ///
    /// // One of three nodes may fail, and no task is lost.
    /// let tasks = QueueOptions::new("tasks").redeliver(true).replicas(3);
    /// distributed::connect("nats://localhost:4222")?.create(tasks)?;
    /// # Ok::<(), distributed::Error>(())
    /// ```
    pub fn replicas(mut self, nodes: usize) -> QueueOptions {
        self.replicas = nodes;
        self
    }
}

impl<S: Into<String>> From<S> for QueueOptions {
    fn from(name: S) -> QueueOptions {
        QueueOptions::new(name)
    }
}
