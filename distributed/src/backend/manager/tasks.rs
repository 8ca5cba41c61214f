//! Tasks by name on a manager: submitters and workers, each with a queue of their own beside that of
//! the tasks.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::lease::{ManagerLease, Out};
use super::owner::Owner;
use super::{ManagerClient, ManagerQueue, nothing, read, seconds, waiting};
use crate::backend::tasks::{
    CancelledTask, Outcome, ReadTask, SubmitterBackend, TaskHead, TaskLease, TaskSource,
};
use crate::backend::{Backend, Codec, Encoded, LeaseBackend, QueueBackend};
use crate::wire::pickle::{Encoder, Pickle, Span};
use crate::{Error, Result, TaskOptions, random};

/// How long a worker waits before it tries again to end a task, while there is no room for its
/// result.
const PAUSE: Duration = Duration::from_millis(100);
/// Of how many tasks one call asks whether they are known.
const ASKED_MAX: usize = 1000;

/// Who submits tasks.
#[derive(Debug)]
pub(crate) struct ManagerSubmitter {
    client: ManagerClient,
    tasks: ManagerQueue,
    /// Has the outcomes; its calls wait, so they have a connection of their own.
    outcomes: ManagerQueue,
    /// Which of its connections led to the server that was asked last which tasks it has.
    asked: AtomicU64,
    /// Who gets the outcomes.
    owner: Owner,
}

/// Who runs tasks.
#[derive(Debug)]
pub(crate) struct ManagerTaskSource {
    tasks: ManagerQueue,
    /// Has the tries that are over before they are done, each by its task's id and its number.
    cancelled: ManagerQueue,
    worker: String,
}

/// What an outcome says of itself beside the result.
#[derive(Deserialize)]
struct OutcomeHead {
    id: Option<String>,
    state: String,
    error: Option<String>,
    tries: Option<u32>,
    worker: Option<String>,
}

/// What a task says of itself beside the call.
#[derive(Deserialize)]
struct Head {
    lease: u64,
    id: Option<String>,
    attempt: u32,
}

impl ManagerClient {
    pub(super) fn open_submitter(&self, queue: &str, name: &str) -> Result<ManagerSubmitter> {
        Ok(ManagerSubmitter {
            client: self.clone(),
            tasks: self.open_tasks(queue)?,
            outcomes: self.open_queue(&format!("{queue}@{name}"))?,
            asked: AtomicU64::new(0),
            owner: Owner::me(),
        })
    }

    pub(super) fn open_task_source(&self, queue: &str, worker: &str) -> Result<ManagerTaskSource> {
        Ok(ManagerTaskSource {
            tasks: self.open_tasks(queue)?,
            cancelled: self.open_queue(&format!("{queue}@{worker}"))?,
            worker: worker.to_string(),
        })
    }

    fn open_tasks(&self, name: &str) -> Result<ManagerQueue> {
        let queue = self.open_queue(name)?;
        match queue.methods.contains("take_task") {
            true => Ok(queue),
            false => Err(Error::NoQueue {
                name: name.to_string(),
                said: "tasks by name need a manager of this crate".to_string(),
            }),
        }
    }
}

impl SubmitterBackend for ManagerSubmitter {
    fn codec(&self) -> Codec {
        Codec::Pickle
    }

    fn submit(&self, calls: Vec<(String, Vec<u8>)>, options: &TaskOptions) -> Result<()> {
        self.require_owner("submit a task")?;
        let args = |args: &mut Encoder| {
            args.list();
            calls.iter().for_each(|(_, call)| _ = args.item(call));
            args.appends().str(&self.outcomes.name).list();
            calls.iter().for_each(|(id, _)| _ = args.str(id));
            args.appends().int(options.priority.number().into());
            seconds(args, Some(options.delay));
            args.int(options.retries.into());
            seconds(args, Some(options.backoff.0));
            seconds(args, Some(options.backoff.1));
            seconds(args, options.time_limit);
        };
        self.tasks.call("submit", args, nothing)
    }

    /// At the other end of each new connection may be a server that was started anew: it is asked
    /// which of the tasks it has, for of the others nobody would ever tell.
    fn outcomes(
        &self,
        timeout: Option<Duration>,
        pending: &dyn Fn() -> Vec<String>,
    ) -> Result<Vec<(String, Outcome)>> {
        self.require_owner("get the outcome of a task")?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let retries = self.client.retry_time > Duration::ZERO;
        loop {
            if !self.outcomes.is_connected() {
                // Only to connect, for as long as that may take.
                match self.outcome(Some(Duration::ZERO)) {
                    Err(Error::Empty) => {}
                    came => return came.map(|one| vec![one]),
                }
            }
            let connection = self.outcomes.connections();
            if self.asked.load(SeqCst) != connection {
                let lost = self.lost(pending())?;
                self.asked.store(connection, SeqCst);
                if !lost.is_empty() {
                    return Ok(lost);
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.outcome_here(left) {
                Err(Error::Closed { .. } | Error::ShutDown { .. }) if retries => {}
                came => return came.map(|one| vec![one]),
            }
        }
    }

    fn cancel(&self, id: &str) -> Result<bool> {
        self.require_owner("cancel a task")?;
        self.tasks.call("cancel", |args| _ = args.str(id), read)
    }
}

impl ManagerSubmitter {
    /// A forked child would get the outcomes of its parent's tasks, and the parent the child's.
    fn require_owner(&self, attempt: &str) -> Result<()> {
        let mends = "open the task queue in this process";
        self.owner.require(attempt, mends)
    }

    /// The next outcome, from whatever server there is.
    fn outcome(&self, timeout: Option<Duration>) -> Result<(String, Outcome)> {
        let args = |args: &mut Encoder| waiting(args, timeout);
        self.outcomes.call("get_outcome", args, read_outcome)
    }

    /// The next outcome, from the server that the connection leads to.
    fn outcome_here(&self, timeout: Option<Duration>) -> Result<(String, Outcome)> {
        let args = |args: &mut Encoder| waiting(args, timeout);
        self.outcomes.attempt("get_outcome", args, read_outcome)
    }

    /// Those of the tasks that the server does not know.
    fn lost(&self, ids: Vec<String>) -> Result<Vec<(String, Outcome)>> {
        if !self.tasks.methods.contains("known") {
            return Ok(Vec::new());
        }
        let mut lost = Vec::new();
        for ids in ids.chunks(ASKED_MAX) {
            let args = |args: &mut Encoder| {
                args.list();
                ids.iter().for_each(|id| _ = args.str(id));
                args.appends();
            };
            let known: Vec<bool> = self.tasks.call("known", args, read)?;
            let ids = ids.iter().zip(known);
            lost.extend(
                ids.filter(|(_, known)| !known)
                    .map(|(id, _)| (id.clone(), Outcome::Lost)),
            );
        }
        Ok(lost)
    }
}

fn read_outcome(reply: &Pickle, dict: Span) -> Result<(String, Outcome)> {
    let head = read::<OutcomeHead>(reply, dict)?;
    let id = head.id.unwrap_or_default();
    let outcome = match head.state.as_str() {
        // What cannot be read is told to who asks for this one, and not to who happens to read.
        "done" => match part_of(reply, dict, "result") {
            Ok(result) => Outcome::Done(result),
            Err(error) => Outcome::Unreadable(format!("the result of a task: {error}")),
        },
        "failed" => Outcome::Failed {
            tries: head.tries.unwrap_or(0),
            reason: head.error.unwrap_or_default(),
            worker: head.worker,
        },
        _ => Outcome::Cancelled,
    };
    Ok((id, outcome))
}

impl Drop for ManagerSubmitter {
    /// What nobody will ask for any more is not kept.
    fn drop(&mut self) {
        if !self.owner.is_me() {
            return;
        }
        let _ = self.client.purge(&self.outcomes.name);
        // The last one that was got would come back with the end of its connection, unless another
        // call says that it has arrived.
        let mut state = self.outcomes.state();
        if state.connection.is_some() {
            let ident = state.ident.clone();
            let _ = state.attempt(&ident, "get", |args| _ = args.bool(false), nothing);
        }
    }
}

impl TaskSource for ManagerTaskSource {
    fn codec(&self) -> Codec {
        Codec::Pickle
    }

    fn take(&self, timeout: Duration, read_task: ReadTask) -> Result<Box<dyn TaskLease + '_>> {
        let args = |args: &mut Encoder| waiting(args.str(&self.worker), Some(timeout));
        let lease = self.tasks.call("take_task", args, |reply, dict| {
            let head = read::<Head>(reply, dict)?;
            let call = value_of(reply, dict, "call")?;
            let task = TaskHead {
                id: head.id.unwrap_or_default(),
                attempt: head.attempt,
            };
            read_task(task, &Encoded::Pickle(reply, call));
            Ok(head.lease)
        })?;
        Ok(self.tasks.held(Out::Leased(lease)))
    }

    fn cancelled(&self, timeout: Duration) -> Result<Vec<CancelledTask>> {
        let mut tasks = Vec::new();
        let got = self.cancelled.get(100, Some(timeout), &mut |told| {
            let (id, attempt) = told.decode::<(String, u32)>()?;
            let attempt = Some(attempt);
            tasks.push(CancelledTask { id, attempt });
            Ok(())
        });
        match got {
            Ok(()) | Err(Error::Empty) => Ok(tasks),
            Err(error) => Err(error),
        }
    }
}

impl TaskLease for ManagerLease<'_> {
    fn finish(mut self: Box<Self>, result: Vec<u8>) -> Result<bool> {
        let Some(Out::Leased(lease)) = self.out else {
            return Ok(false);
        };
        let args = |args: &mut Encoder| _ = args.int(lease.into()).item(&result);
        loop {
            match self.queue.call("finish", args, nothing) {
                Err(Error::Full) => thread::sleep(random::jitter(PAUSE)),
                Ok(()) => {
                    self.out = None;
                    return Ok(true);
                }
                // No other worker would be luckier with this result. Where it is not the result but
                // the lease that is gone, since its time was over, it was cancelled or a reply was
                // lost, a failure changes nothing.
                Err(error @ Error::Remote { .. }) => {
                    let reason = format!("its result: {error}");
                    return TaskLease::fail(self, &reason).map(|()| false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn fail(self: Box<Self>, reason: &str) -> Result<()> {
        LeaseBackend::fail(self, reason)
    }
}

/// The value in a dict under a text.
fn value_of(pickle: &Pickle, dict: Span, key: &str) -> Result<Span> {
    let missing = || Error::Protocol(format!("a dict has no `{key}`"));
    pickle.entry(dict.value, key).ok_or_else(missing)
}

/// The same as a pickle of its own.
fn part_of(pickle: &Pickle, dict: Span, key: &str) -> Result<Vec<u8>> {
    let part = pickle.part(value_of(pickle, dict, key)?);
    part.map_err(|error| Error::Protocol(error.to_string()))
}
