//! The functions that a worker runs by their names.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tracing::{Span, debug_span, field};

use super::{SLICE, Worked, Worker, start};
use crate::backend::tasks::{CancelledTask, TaskHead, TaskLease, TaskSource};
use crate::backend::{Codec, Encoded};
use crate::task_queue::TaskPayload;
use crate::{Client, Error, Result, TASK_SPANS, panics, random};

/// How long it takes at most until a worker that stops has noticed it everywhere.
const STOP_TIME: Duration = Duration::from_millis(250);

/// How many cancelled tasks a worker remembers, of those that it was told of last. A task is on its way
/// to it for milliseconds, and more are seldom cancelled in that time.
const TOLD_MAX: usize = 1024;

/// What a function may know of the task that it runs.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use distributed::{Client, Server, Worker};
///
/// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// # let client = Client::connect(server.address(), b"abc")?;
/// let count = client.task_queue("tasks")?.submit::<u32>("count", &1000)?;
/// let worker = Worker::new().task_with("count", |task, n: u32| {
///     // Looked at now and then, so that it ends soon when nobody waits for it any more.
///     let counted = (0..n).take_while(|_| !task.is_cancelled()).count();
///     Ok::<_, String>((task.attempt(), counted))
/// });
/// worker.idle(Duration::from_millis(50)).serve(&client, "tasks")?;
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TaskContext {
    id: String,
    attempt: u32,
    is_cancelled: Arc<AtomicBool>,
}

impl TaskContext {
    /// The id of the task, which its submitter has too.
    ///
    /// # Examples
    ///
    /// See [`TaskContext`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which try this is: 1 for the first.
    ///
    /// # Examples
    ///
    /// See [`TaskContext`].
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the result would not count any more: the task was cancelled, or its time is over.
    ///
    /// # Examples
    ///
    /// See [`TaskContext`].
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(SeqCst)
    }
}

/// The result of a call, or why there is none.
pub(super) type CallResult<R> = std::result::Result<R, String>;
/// A call that is decoded and not run yet. It returns the encoded result; an error is one of the
/// worker's own, which can go on no more.
type BoundTask = Box<dyn FnOnce(&TaskContext) -> Result<CallResult<Vec<u8>>>>;
/// Decodes the arguments of a call.
type RegisteredTask = Arc<dyn Fn(Codec, &Encoded) -> Result<BoundTask> + Send + Sync>;

/// Functions by the names under which they are called.
#[derive(Clone, Default)]
pub(super) struct Functions(BTreeMap<String, RegisteredTask>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Functions {
    /// The call of a task, whose span is told its name; an error says why it cannot be run.
    fn call(&self, codec: Codec, encoded: &Encoded, span: &Span) -> CallResult<BoundTask> {
        let call = encoded.decode::<TaskPayload<String, IgnoredAny>>();
        let no_call = |error: Error| format!("it is no call of a task: {}", error.cause());
        let name = call.map_err(no_call)?.task;
        span.record("function", name.as_str());
        let Some(function) = self.0.get(&name) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(format!("no task `{name}` is registered here, but {known}"));
        };
        function(codec, encoded)
            .map_err(|error| format!("the arguments of `{name}`: {}", said(&error)))
    }
}

/// An error with its cause.
fn said(error: &Error) -> String {
    format!("{error:?}")
}

impl Worker {
    /// Registers a function under the name by which [`TaskQueue::submit`](crate::TaskQueue::submit)
    /// calls it; run by [`serve`](Worker::serve). Its text of an error is told to the submitter.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use distributed::{Client, Error, Server, Worker};
    ///
    /// fn length(text: String) -> Result<usize, Error> {
    ///     Ok(text.chars().count())
    /// }
    ///
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let four = client.task_queue("tasks")?.submit::<usize>("length", &"four")?;
    /// let worker = Worker::new().task("length", length).idle(Duration::from_millis(50));
    /// worker.serve(&client, "tasks")?;
    /// assert_eq!(four.result(None)?, 4);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn task<T, R, E>(
        self,
        name: impl Into<String>,
        work: impl Fn(T) -> std::result::Result<R, E> + Send + Sync + 'static,
    ) -> Worker
    where
        T: DeserializeOwned + 'static,
        R: Serialize,
        E: Display,
    {
        self.task_with(name, move |_, args| work(args))
    }

    /// As [`task`](Worker::task), for a function that looks at its task: whether it is cancelled, and
    /// which try it is.
    ///
    /// # Examples
    ///
    /// See [`TaskContext`].
    pub fn task_with<T, R, E>(
        self,
        name: impl Into<String>,
        work: impl Fn(&TaskContext, T) -> std::result::Result<R, E> + Send + Sync + 'static,
    ) -> Worker
    where
        T: DeserializeOwned + 'static,
        R: Serialize,
        E: Display,
    {
        self.register(name, move |context, args| {
            Ok(work(context, args).map_err(|error| error.to_string()))
        })
    }

    pub(super) fn register<T, R>(
        mut self,
        name: impl Into<String>,
        work: impl Fn(&TaskContext, T) -> Result<CallResult<R>> + Send + Sync + 'static,
    ) -> Worker
    where
        T: DeserializeOwned + 'static,
        R: Serialize,
    {
        let work = Arc::new(work);
        let function: RegisteredTask = Arc::new(move |codec, encoded| {
            let call = encoded.decode::<TaskPayload<IgnoredAny, T>>();
            let args = call.map_err(Error::of_type::<T>)?.args;
            let work = Arc::clone(&work);
            Ok(Box::new(move |context: &TaskContext| {
                let result = work(context, args)?;
                Ok(result.and_then(|result| codec.encode(&result).map_err(|error| said(&error))))
            }))
        });
        self.functions.0.insert(name.into(), function);
        self
    }

    /// Takes tasks by name from a queue and runs its functions, in as many threads as its
    /// [`concurrency`](Worker::concurrency) says, until it is stopped or idle for too long. Each
    /// thread has one task at a time.
    ///
    /// A task fails when its function returns an error or panics, when it takes longer than its time
    /// limit, when its arguments are not what the function wants, when the server refuses its result,
    /// as one that is too long, and when there is no function of its name. It is tried again as its
    /// submitter said, and then its submitter is told.
    ///
    /// # Errors
    ///
    /// The first error that a thread met: [`Error::NoQueue`] when the server has no such queue,
    /// [`Error::Engine`] when the engine is away for too long, [`Error::Closed`] when the manager
    /// is gone. What a worker had then is given to another.
    ///
    /// # Examples
    ///
    /// See [`task`](Worker::task).
    pub fn serve(&self, client: &Client, queue: &str) -> Result<Worked> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = match host.trim() {
            "" => "localhost",
            host => host,
        };
        let number = u32::from_ne_bytes(random::bytes());
        let name = format!("{host}/{}/{number:08x}", std::process::id());
        let cancels = Cancels::default();
        let is_over = AtomicBool::new(false);
        // They are left together, when all have ended.
        let open = |_| client.0.task_source(queue, &name);
        let sources = (0..=self.concurrency)
            .map(open)
            .collect::<Result<Vec<_>>>()?;
        let (cancels, is_over) = (&cancels, &is_over);
        thread::scope(|scope| {
            let (listener, sources) = sources.split_first().expect("there is one at least");
            // From now on it hears of all, also of the first task.
            listener.cancelled(Duration::ZERO)?;
            let listening = start(scope, move || {
                while !is_over.load(SeqCst) {
                    cancels.note(listener.cancelled(STOP_TIME)?);
                }
                Ok(())
            })?;
            let ends = EndsOnDrop(is_over);
            let (mut total, mut outcome) = (Worked::default(), Ok(()));
            let mut threads = Vec::new();
            for source in sources {
                let thread = start(scope, move || {
                    let retry_time = client.0.retry_time();
                    let worked = self.work(source.as_ref(), retry_time, cancels, is_over);
                    // One that fails ends all, for the others would meet the same.
                    worked.inspect_err(|_| is_over.store(true, SeqCst))
                });
                match thread {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        is_over.store(true, SeqCst);
                        outcome = Err(error);
                        break;
                    }
                }
            }
            for thread in threads {
                match thread.join().expect("panics of the work are caught") {
                    Ok(worked) => {
                        total.done += worked.done;
                        total.failed += worked.failed;
                    }
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            drop(ends);
            let listened = listening.join().expect("it has nothing to panic about");
            outcome.and(listened).map(|()| total)
        })
    }

    /// Works off tasks one after the other.
    fn work(
        &self,
        source: &dyn TaskSource,
        retry_time: Duration,
        cancels: &Cancels,
        is_over: &AtomicBool,
    ) -> Result<Worked> {
        let mut worked = Worked::default();
        let mut idle_since = Instant::now();
        let mut away_since = None;
        while !self.stop.load(SeqCst) && !is_over.load(SeqCst) {
            let left = self
                .idle
                .map_or(SLICE, |idle| idle.saturating_sub(idle_since.elapsed()));
            if left.is_zero() {
                break;
            }
            let mut taken = None;
            let lease = source.take(left.min(SLICE), &mut |head, encoded| {
                let span = try_span(&head);
                let call = self.functions.call(source.codec(), encoded, &span);
                taken = Some((head, call, span));
            });
            let (lease, (head, call, span)) = match (lease, taken) {
                (Ok(lease), Some(taken)) => (lease, taken),
                (Err(Error::Empty), _) | (Ok(_), None) => {
                    away_since = None;
                    continue;
                }
                // There may be tasks, which nobody can know.
                (Err(Error::Engine { .. }), _)
                    if away_since.get_or_insert_with(Instant::now).elapsed() < retry_time =>
                {
                    idle_since = Instant::now();
                    continue;
                }
                (Err(error), _) => return Err(error),
            };
            match span.in_scope(|| run(lease, head, call, cancels))? {
                true => worked.done += 1,
                false => worked.failed += 1,
            }
            (idle_since, away_since) = (Instant::now(), None);
        }
        Ok(worked)
    }
}

/// Ends all threads of a worker, also when one panics.
struct EndsOnDrop<'w>(&'w AtomicBool);

impl Drop for EndsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The span of a try. What its function says is inside it.
fn try_span(head: &TaskHead) -> Span {
    debug_span!(
        target: TASK_SPANS,
        "task",
        task = head.id,
        attempt = head.attempt,
        function = field::Empty,
        error = field::Empty,
    )
}

/// Runs one call, and ends its task. Whether its result counts.
fn run(
    mut lease: Box<dyn TaskLease + '_>,
    head: TaskHead,
    call: CallResult<BoundTask>,
    cancels: &Cancels,
) -> Result<bool> {
    let Some(is_cancelled) = cancels.begin(&head) else {
        // It was cancelled on its way here, and so is nobody's: the lease, dropped, changes nothing.
        return Ok(false);
    };
    let context = TaskContext {
        is_cancelled,
        id: head.id,
        attempt: head.attempt,
    };
    lease.watch_time(&context.is_cancelled);
    let result = match call {
        Ok(call) => {
            let panicked = |text| Ok(Err(format!("the worker panicked: {text}")));
            panics::caught(|| call(&context)).unwrap_or_else(panicked)
        }
        Err(reason) => Ok(Err(reason)),
    };
    let id = context.id.clone();
    cancels.end(context);
    match result? {
        Ok(result) => lease.finish(result),
        Err(reason) => {
            Span::current().record("error", reason.as_str());
            tracing::warn!(id, reason, "a task failed");
            lease.fail(&reason)?;
            Ok(false)
        }
    }
}

/// What a worker knows of cancelled tasks.
#[derive(Default)]
struct Cancels(Mutex<Tries>);

#[derive(Default)]
struct Tries {
    /// Those that run, and whether each is cancelled. Of one task there may be several: the last of
    /// them, and those before it whose time was over and who have not looked yet.
    running: HashMap<(String, u32), Arc<AtomicBool>>,
    /// What was told last, since the word of a task may be here before the task is.
    told: VecDeque<CancelledTask>,
}

impl Cancels {
    /// The flag of a try that begins; none of one that is cancelled already.
    fn begin(&self, head: &TaskHead) -> Option<Arc<AtomicBool>> {
        let mut tries = self.0.lock().unwrap();
        if tries
            .told
            .iter()
            .any(|told| told.means(&head.id, head.attempt))
        {
            return None;
        }
        let flag = Arc::<AtomicBool>::default();
        let one = (head.id.clone(), head.attempt);
        tries.running.insert(one, Arc::clone(&flag));
        Some(flag)
    }

    fn end(&self, one: TaskContext) {
        let mut tries = self.0.lock().unwrap();
        tries.running.remove(&(one.id, one.attempt));
    }

    fn note(&self, cancelled: Vec<CancelledTask>) {
        let mut tries = self.0.lock().unwrap();
        for told in cancelled {
            for ((id, attempt), flag) in &tries.running {
                if told.means(id, *attempt) {
                    flag.store(true, SeqCst);
                }
            }
            tries.told.push_back(told);
            if tries.told.len() > TOLD_MAX {
                tries.told.pop_front();
            }
        }
    }
}

impl CancelledTask {
    fn means(&self, id: &str, attempt: u32) -> bool {
        self.id == id && self.attempt.is_none_or(|only| only == attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: &str, attempt: Option<u32>) -> CancelledTask {
        let id = id.to_string();
        CancelledTask { id, attempt }
    }

    fn head(id: &str, attempt: u32) -> TaskHead {
        let id = id.to_string();
        TaskHead { id, attempt }
    }

    #[test]
    fn a_try_that_is_cancelled_before_it_begins_does_not_begin() {
        let cancels = Cancels::default();
        cancels.note(vec![
            told("of an engine", None),
            told("of a manager", Some(1)),
        ]);
        assert!(cancels.begin(&head("of an engine", 1)).is_none());
        assert!(cancels.begin(&head("of an engine", 2)).is_none());
        assert!(cancels.begin(&head("of a manager", 1)).is_none());
        // The time of the first was over, and the second has its own.
        assert!(cancels.begin(&head("of a manager", 2)).is_some());
        assert!(cancels.begin(&head("another", 1)).is_some());
    }

    #[test]
    fn a_try_that_runs_is_told_and_others_of_its_task_only_if_they_are_meant() {
        let cancels = Cancels::default();
        let begin = |attempt| cancels.begin(&head("task", attempt)).expect("it may begin");
        let (first, second) = (begin(1), begin(2));
        cancels.note(vec![told("other", None), told("task", Some(1))]);
        assert!(first.load(SeqCst) && !second.load(SeqCst));
        cancels.note(vec![told("task", None)]);
        assert!(second.load(SeqCst));
    }

    #[test]
    fn what_was_told_is_remembered_up_to_a_number() {
        let cancels = Cancels::default();
        let some = |number: usize| told(&number.to_string(), None);
        cancels.note((0..=TOLD_MAX).map(some).collect());
        assert!(cancels.begin(&head("0", 1)).is_some());
        assert!(cancels.begin(&head("1", 1)).is_none());
        assert_eq!(cancels.0.lock().unwrap().told.len(), TOLD_MAX);
    }
}
