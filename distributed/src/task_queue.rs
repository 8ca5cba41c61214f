use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::Codec;
use crate::backend::tasks::{Outcome, SubmitterBackend};
use crate::{Client, Error, Result, TaskFailed, TaskOptions, random};
#[cfg(doc)]
use crate::{Priority, Worker};

/// What is submitted, as Python sees it too: `{"task": NAME, "args": ARGUMENTS}`.
#[derive(Deserialize, Serialize)]
pub(crate) struct TaskPayload<N, A> {
    pub(crate) task: N,
    pub(crate) args: A,
}

/// Submits tasks by name to a queue, from which a [`Worker`] takes them that has functions of these
/// names; made by [`Client::task_queue`].
///
/// Each task has an outcome, and its [`TaskHandle`] gets it: the result, an error with its text and
/// where it came from, or that it was cancelled. A worker that is killed loses no task: another gets
/// it. A task may therefore be begun more than once, and its outcome comes once.
///
/// The outcomes that nobody has asked for are gone when this and all its handles are dropped. When
/// this process is killed they stay with the server: with a manager, whose [`Client::status`] shows them
/// as a queue `<name>@…`, and with an engine for 24 hours. A child that is forked opens a task queue of
/// its own: with its parent's, calls are refused. What else differs on an engine is in
/// [`guide::tasks_by_name`](crate::guide::tasks_by_name).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, Server, Worker};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let client = Client::connect(server.address(), b"abc")?;
/// let tasks = client.task_queue("tasks")?;
/// let sum = tasks.submit::<u32>("add", &(3, 4))?;
/// // On any machine.
/// let worker = Worker::new().task("add", |(a, b): (u32, u32)| Ok::<u32, Error>(a + b));
/// worker.idle(Duration::from_millis(50)).serve(&client, "tasks")?;
/// assert_eq!(sum.result(Some(Duration::from_secs(10)))?, 7);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TaskQueue(Arc<Submitter>);

#[derive(Debug)]
struct Submitter {
    backend: Box<dyn SubmitterBackend>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

/// The outcomes that handles wait for.
#[derive(Debug, Default)]
struct Inbox {
    /// By the ids of the tasks that have a handle.
    outcomes: HashMap<String, OutcomeState>,
    /// Whether one of those who wait reads what comes, for all.
    is_read: bool,
}

/// What is known of a task that has a handle.
#[derive(Debug)]
enum OutcomeState {
    /// The server may not have it yet.
    Submitted,
    /// The server has it.
    Pending,
    Came(Outcome),
}

/// A task that was submitted. Dropped, it is still run, and its outcome is nobody's.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Error, Server, TaskOptions, Worker};
///
/// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// # let client = Client::connect(server.address(), b"abc")?;
/// let tasks = client.task_queue("tasks")?;
/// let once = TaskOptions::new().retries(0);
/// let half = tasks.submit_with::<u32>("half", &7, once)?;
/// let work = |n: u32| if n % 2 == 0 { Ok(n / 2) } else { Err("it is odd") };
/// let worker = Worker::new().task("half", work).idle(Duration::from_millis(50));
/// worker.serve(&client, "tasks")?;
/// let Err(Error::TaskFailed(failed)) = half.result(Some(Duration::from_secs(10))) else {
///     panic!("7 is odd");
/// };
/// assert_eq!((failed.reason.as_str(), failed.tries), ("it is odd", 1));
/// assert_eq!(failed.task.as_deref(), Some("half"));
/// // The host and the process.
/// assert!(failed.worker.is_some_and(|worker| worker.contains('/')));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct TaskHandle<R> {
    id: String,
    task: String,
    submitter: Arc<Submitter>,
    result: PhantomData<fn() -> R>,
}

impl Client {
    /// Submits tasks by name to the queue of this name, which is any queue that a manager has by its
    /// name, or an engine by [`Client::create`]. Others may use it beside that as a [`Queue`](crate::Queue).
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] when there is no such queue, or the server is CPython's;
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine refuses its streams
    /// or is away for too long.
    ///
    /// # Examples
    ///
    /// See [`TaskQueue`].
    pub fn task_queue(&self, name: &str) -> Result<TaskQueue> {
        let own = format!("{:016x}", u64::from_ne_bytes(random::bytes()));
        Ok(TaskQueue(Arc::new(Submitter {
            backend: self.0.submitter(name, &own)?,
            inbox: Mutex::default(),
            arrived: Condvar::new(),
        })))
    }
}

impl TaskQueue {
    /// Submits a call of the function that workers know by this name. When it returns, the server
    /// has it: while the queue is full, it waits. In Python, arguments that are a tuple or a list are
    /// those by position, and a map those by name.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] or [`Error::Json`] when the arguments cannot be written,
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine cannot store it
    /// or is away for too long.
    ///
    /// # Examples
    ///
    /// See [`TaskQueue`].
    pub fn submit<R>(&self, task: &str, args: &impl Serialize) -> Result<TaskHandle<R>> {
        self.submit_with(task, args, TaskOptions::new())
    }

    /// As [`submit`](TaskQueue::submit), with a priority, a delay, retries or a time limit.
    ///
    /// # Errors
    ///
    /// As [`submit`](TaskQueue::submit). [`Error::Engine`] also for a delay that the engine's version
    /// does not know.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Priority, Server, TaskOptions, Worker};
    ///
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.task_queue("tasks")?;
    /// let later = TaskOptions::new().delay(Duration::from_millis(20));
    /// let urgent = TaskOptions::new().priority(Priority::High);
    /// tasks.submit_with::<()>("say", &"last", later)?;
    /// tasks.submit::<()>("say", &"second")?;
    /// tasks.submit_with::<()>("say", &"first", urgent)?;
    /// let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    /// let worker = Worker::new().idle(Duration::from_millis(100)).task("say", {
    ///     let said = said.clone();
    ///     move |text: String| Ok::<(), Error>(said.lock().unwrap().push(text))
    /// });
    /// worker.serve(&client, "tasks")?;
    /// assert_eq!(*said.lock().unwrap(), ["first", "second", "last"]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn submit_with<R>(
        &self,
        task: &str,
        args: &impl Serialize,
        options: TaskOptions,
    ) -> Result<TaskHandle<R>> {
        let mut handles = self.submit_many(task, std::slice::from_ref(&args), options)?;
        Ok(handles.pop().expect("it was submitted"))
    }

    /// Submits a call for each of the arguments, in one step.
    ///
    /// # Errors
    ///
    /// As [`submit`](TaskQueue::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server, TaskOptions};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.task_queue("tasks")?;
    /// let squares = tasks.submit_many::<u32>("square", &[3, 4], TaskOptions::new())?;
    /// assert_eq!(squares.len(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn submit_many<R>(
        &self,
        task: &str,
        args: &[impl Serialize],
        options: TaskOptions,
    ) -> Result<Vec<TaskHandle<R>>> {
        let submitter = &self.0;
        let codec = submitter.backend.codec();
        let call = |args| encoded(codec, task, args).map(|call| (submitter.backend.new_id(), call));
        let calls = args.iter().map(call).collect::<Result<Vec<_>>>()?;
        let handle = |(id, _): &(String, Vec<u8>)| {
            let mut inbox = submitter.inbox.lock().unwrap();
            inbox.outcomes.insert(id.clone(), OutcomeState::Submitted);
            TaskHandle {
                id: id.clone(),
                task: task.to_string(),
                submitter: Arc::clone(submitter),
                result: PhantomData,
            }
        };
        // Before an outcome can come.
        let handles: Vec<TaskHandle<R>> = calls.iter().map(handle).collect();
        submitter.backend.submit(calls, &options)?;
        let mut inbox = submitter.inbox.lock().unwrap();
        for handle in &handles {
            if let Some(state @ OutcomeState::Submitted) = inbox.outcomes.get_mut(&handle.id) {
                *state = OutcomeState::Pending;
            }
        }
        drop(inbox);
        Ok(handles)
    }

    /// Cancels the task of this id, whoever submitted it; see [`TaskHandle::cancel`].
    ///
    /// # Errors
    ///
    /// As [`TaskHandle::cancel`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use distributed::{Client, Error, Server};
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let tasks = client.task_queue("tasks")?;
    /// let task = tasks.submit::<u32>("square", &3)?;
    /// assert!(client.task_queue("tasks")?.cancel(task.id())?);
    /// assert!(matches!(task.result(None), Err(Error::TaskCancelled)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self, id: &str) -> Result<bool> {
        self.0.backend.cancel(id)
    }
}

fn encoded<A: Serialize>(codec: Codec, task: &str, args: &A) -> Result<Vec<u8>> {
    let call = codec.encode(&TaskPayload { task, args });
    call.map_err(Error::of_type::<A>)
}

impl<R> TaskHandle<R> {
    /// The id of the task, which its worker has too.
    ///
    /// # Examples
    ///
    /// See [`TaskQueue::cancel`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Cancels the task. One that waits or is delayed never runs. Of one that runs, the result does
    /// not count, and its function is told ([`TaskContext::is_cancelled`](crate::TaskContext::is_cancelled)).
    /// False when the task has its outcome already.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the manager is gone, [`Error::Engine`] when the engine is away for too
    /// long.
    ///
    /// # Examples
    ///
    /// See [`TaskQueue::cancel`].
    pub fn cancel(&self) -> Result<bool> {
        self.submitter.backend.cancel(&self.id)
    }

    /// The result, for which it waits no longer than `timeout`, and without limit if `None`. It may
    /// be asked for again.
    ///
    /// # Errors
    ///
    /// [`Error::TaskPending`] when there is none in time. [`Error::TaskFailed`] when the function
    /// failed each time that it was tried, with the text of the last failure, [`Error::TaskCancelled`].
    /// [`Error::TaskLost`] when the client [reconnects](Client::reconnect_within) to a manager that was
    /// started anew, without the tasks of the one before it.
    /// [`Error::Item`] or [`Error::Json`] when the result is not an `R`. [`Error::Protocol`] when what its
    /// worker has stored is no outcome. [`Error::Closed`] when the manager is gone, [`Error::Engine`]
    /// when the engine is away for too long.
    ///
    /// # Examples
    ///
    /// See [`TaskQueue`] and [`TaskHandle`].
    pub fn result(&self, timeout: Option<Duration>) -> Result<R>
    where
        R: DeserializeOwned,
    {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let submitter = &self.submitter;
        match submitter.outcome(&self.id, deadline)? {
            Outcome::Done(result) => submitter.backend.codec().decode(&result),
            Outcome::Failed {
                tries,
                reason,
                worker,
            } => Err(Error::TaskFailed(TaskFailed {
                tries,
                reason,
                task: Some(self.task.clone()),
                worker,
            })),
            Outcome::Cancelled => Err(Error::TaskCancelled),
            Outcome::Lost => Err(Error::TaskLost),
            Outcome::Unreadable(reason) => Err(Error::Protocol(reason)),
        }
    }
}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        let mut inbox = self.submitter.inbox.lock().unwrap();
        inbox.outcomes.remove(&self.id);
    }
}

impl Submitter {
    /// The ids of the tasks that the server has, or had, and whose outcomes have not come.
    fn pending(&self) -> Vec<String> {
        let inbox = self.inbox.lock().unwrap();
        let states = inbox.outcomes.iter();
        let pending = states.filter(|(_, state)| matches!(state, OutcomeState::Pending));
        pending.map(|(id, _)| id.clone()).collect()
    }

    /// Waits for an outcome. One of those who wait reads for all, until it has its own.
    fn outcome(&self, id: &str, deadline: Option<Instant>) -> Result<Outcome> {
        let mut inbox = self.inbox.lock().unwrap();
        loop {
            if let Some(OutcomeState::Came(outcome)) = inbox.outcomes.get(id) {
                return Ok(outcome.clone());
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if inbox.is_read {
                inbox = match left {
                    Some(Duration::ZERO) => return Err(Error::TaskPending),
                    Some(left) => self.arrived.wait_timeout(inbox, left).unwrap().0,
                    None => self.arrived.wait(inbox).unwrap(),
                };
                continue;
            }
            inbox.is_read = true;
            drop(inbox);
            let came = self.backend.outcomes(left, &|| self.pending());
            inbox = self.inbox.lock().unwrap();
            inbox.is_read = false;
            // Also after an error: another may read on.
            self.arrived.notify_all();
            match came {
                Ok(outcomes) => {
                    for (id, outcome) in outcomes {
                        // One that nobody waits for has come before, or its handle is dropped.
                        if let Some(state @ (OutcomeState::Submitted | OutcomeState::Pending)) =
                            inbox.outcomes.get_mut(&id)
                        {
                            *state = OutcomeState::Came(outcome);
                        }
                    }
                }
                Err(Error::Empty) => return Err(Error::TaskPending),
                Err(error) => return Err(error),
            }
        }
    }
}
