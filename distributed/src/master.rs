use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Queue, Result, random};
#[cfg(doc)]
use crate::{Error, Worker};

/// Puts tasks into a manager's queue and gets their results, and no other's: each task has an id, and
/// its result has the same. Several masters may share both queues, and so may what puts and gets
/// without an id.
///
/// The results are in a queue of the master's own, `<results>@<name>`. Workers know nothing of it:
/// they put into `<results>`, and the server sees from the connection of which task that is. This
/// holds for a [`Worker`], and for one in Python, unchanged, that gets a task and then puts its result
/// in the same thread. What is put in another thread, or under a lease of its own, has no id and goes
/// to `<results>`.
///
/// What a master leaves that is killed stays in its queue, which
/// [`Client::status`] lists, and any client can take. A master of the same name goes on with it. A
/// server of Python's has none of this, nor has an engine.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, Master, Server, Worker};
///
/// let builder = Server::builder().queue("tasks").queue("results");
/// let server = builder.serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let [one, other] = [(); 2].map(|()| Master::<u32, u32>::new(&client, "tasks", "results"));
/// let (one, other) = (one?, other?);
/// let id = one.put(&3)?;
/// other.put(&4)?;
/// let worker = Worker::new().idle(Duration::from_millis(50));
/// worker.run(&client, "tasks", "results", |n: &u32| Ok::<u32, Error>(n * n))?;
/// let answer = one.get(Some(Duration::from_secs(10)))?;
/// assert_eq!((answer.id, answer.result), (id, Ok(9)));
/// assert_eq!(other.get(None)?.result, Ok(16));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Master<T, R> {
    tasks: Queue<T>,
    results: Queue<R>,
    reply: String,
}

/// The result of a task of a [`Master`].
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Master, QueueOptions, Server};
///
/// let tasks = QueueOptions::new("tasks").max_deliveries(1);
/// let server = Server::builder().queue(tasks).queue("results").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let master = Master::<u32, u32>::new(&client, "tasks", "results")?;
/// let id = master.put(&34)?;
/// client.queue::<u32>("tasks")?.lease()?.fail("no database")?;
/// let answer = master.get(None)?;
/// assert_eq!(answer.id, id);
/// assert_eq!(answer.result.expect_err("it failed").reason, "no database");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskResult<R> {
    /// What [`Master::put`] returned for the task.
    pub id: String,
    /// The result, or why there is none.
    pub result: std::result::Result<R, TaskFailed>,
}

/// Why a task is a dead letter.
///
/// # Examples
///
/// See [`TaskResult`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFailed {
    /// How often it was tried.
    pub tries: u32,
    /// What the last worker said, or what the server knows.
    pub reason: String,
    /// The name of the task, if it was submitted by name.
    pub task: Option<String>,
    /// Where it was tried last: what a worker of tasks by name calls itself, `host/process/…`.
    pub worker: Option<String>,
}

impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the task")?;
        if let Some(task) = &self.task {
            write!(f, " `{task}`")?;
        }
        let tries = if self.tries == 1 { "try" } else { "tries" };
        write!(f, " failed in {} {tries}", self.tries)?;
        if let Some(worker) = &self.worker {
            write!(f, ", the last on {worker}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for TaskFailed {}

impl<T, R> Master<T, R>
where
    T: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    /// A master with a name that nobody else has.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is no such queue, or the server has no queues of masters;
    /// [`Error::Closed`] when the manager is gone.
    ///
    /// # Examples
    ///
    /// See [`Master`].
    pub fn new(client: &Client, tasks: &str, results: &str) -> Result<Master<T, R>> {
        let name = format!("{:016x}", u64::from_ne_bytes(random::bytes()));
        Master::named(client, tasks, results, &name)
    }

    /// A master that goes on with what one of the same name has left, of at most 100 bytes. Two that
    /// run at the same time share their results.
    ///
    /// # Errors
    ///
    /// As [`new`](Master::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Master, Server};
    ///
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let master = Master::<u32, u32>::named(&client, "tasks", "results", "nightly")?;
    /// assert_eq!(client.status()?.queues[1].name, "results@nightly");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn named(client: &Client, tasks: &str, results: &str, name: &str) -> Result<Master<T, R>> {
        let reply = format!("{results}@{name}");
        Ok(Master {
            tasks: client.queue(tasks)?,
            results: client.queue(&reply)?,
            reply,
        })
    }

    /// Puts a task, and waits for room as long as it takes; its id.
    ///
    /// # Errors
    ///
    /// As [`Queue::put`].
    ///
    /// # Examples
    ///
    /// See [`Master`].
    pub fn put(&self, task: &T) -> Result<String> {
        let mut ids = self.put_many(std::slice::from_ref(task))?;
        Ok(ids.pop().unwrap_or_default())
    }

    /// Puts tasks side by side, and waits for room for all of them; their ids, in order.
    ///
    /// # Errors
    ///
    /// As [`Queue::put_many`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Master, Server};
    /// # let builder = Server::builder().queue("tasks").queue("results");
    /// # let server = builder.serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let master = Master::<u32, u32>::new(&client, "tasks", "results")?;
    /// assert_eq!(master.put_many(&[3, 4])?.len(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_many(&self, tasks: &[T]) -> Result<Vec<String>> {
        let queue = &self.tasks.backend;
        let items = tasks.iter().map(|task| queue.codec().encode(task));
        queue.put_tasks(items.collect::<Result<_>>()?, &self.reply)
    }

    /// The next result of a task of this master, in the order in which they come.
    ///
    /// # Errors
    ///
    /// As [`Queue::get_timeout`].
    ///
    /// # Examples
    ///
    /// See [`Master`].
    pub fn get(&self, timeout: Option<Duration>) -> Result<TaskResult<R>> {
        let mut value = None;
        let read = &mut |item: crate::backend::Encoded| {
            value = Some(item.decode()?);
            Ok(())
        };
        let (id, failure) = self.results.backend.get_result(timeout, read)?;
        let result = match (failure, value) {
            (Some((tries, reason)), _) => Err(TaskFailed {
                tries,
                reason,
                task: None,
                worker: None,
            }),
            (None, Some(value)) => Ok(value),
            (None, None) => return Err(crate::Error::Protocol("a result is missing".into())),
        };
        Ok(TaskResult { id, result })
    }
}
