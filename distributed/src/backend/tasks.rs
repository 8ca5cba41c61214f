//! Tasks by name: what a submitter and a worker need of the place where queues are.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Codec, Encoded};
use crate::{Result, TaskOptions, random};

/// A task as its worker is handed it, and the call, which is `{"task": NAME, "args": ARGUMENTS}`.
pub(crate) type ReadTask<'r> = &'r mut dyn FnMut(TaskHead, &Encoded);

/// What is known of a task beside its call.
pub(crate) struct TaskHead {
    pub(crate) id: String,
    /// Which try it is, from 1.
    pub(crate) attempt: u32,
}

/// A task whose result nobody waits for any more.
pub(crate) struct CancelledTask {
    pub(crate) id: String,
    /// The try that is over; all of them, where none is named.
    pub(crate) attempt: Option<u32>,
}

/// What became of a task.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Its result, as one value that [`Codec::decode`] reads.
    Done(Vec<u8>),
    Failed {
        tries: u32,
        reason: String,
        worker: Option<String>,
    },
    Cancelled,
    /// It went with its server.
    Lost,
    /// What came of it is none of these.
    Unreadable(String),
}

/// The side of those who submit tasks.
pub(crate) trait SubmitterBackend: Debug + Send + Sync {
    fn codec(&self) -> Codec;

    /// An id for a task.
    fn new_id(&self) -> String {
        random::id()
    }

    /// Submits calls, each under its id.
    fn submit(&self, calls: Vec<(String, Vec<u8>)>, options: &TaskOptions) -> Result<()>;

    /// The next outcomes of tasks that were submitted here, and their ids: one at least. `pending`
    /// tells the ids of those that the server should have.
    fn outcomes(
        &self,
        timeout: Option<Duration>,
        pending: &dyn Fn() -> Vec<String>,
    ) -> Result<Vec<(String, Outcome)>>;

    /// Cancels a task. False when it has its outcome already.
    fn cancel(&self, id: &str) -> Result<bool>;
}

/// The side of those who run tasks.
pub(crate) trait TaskSource: Debug + Send + Sync {
    fn codec(&self) -> Codec;

    /// The next task.
    fn take(&self, timeout: Duration, read: ReadTask) -> Result<Box<dyn TaskLease + '_>>;

    /// Tasks whose results nobody waits for any more.
    fn cancelled(&self, timeout: Duration) -> Result<Vec<CancelledTask>>;
}

/// What holds a task that is out. Dropped, the task goes back.
pub(crate) trait TaskLease: Debug {
    /// Sets the flag when the time of the task is over, where [`TaskSource::cancelled`] does not tell.
    fn watch_time(&mut self, _is_over: &Arc<AtomicBool>) {}

    /// Ends the task with its result. False when another may have it, or nobody waits for it.
    fn finish(self: Box<Self>, result: Vec<u8>) -> Result<bool>;

    /// Says that the work failed.
    fn fail(self: Box<Self>, reason: &str) -> Result<()>;
}
