//! Where queues are: on a manager or, with the feature `nats`, on an engine.
//!
//! The two differ behind these traits, which know items as bytes. The handles of a user, above
//! them, know their types.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::{DeadLetter, Durability, Error, QueueOptions, Result, Status};

mod codec;
#[cfg(feature = "nats")]
mod json;
pub(crate) mod manager;
#[cfg(feature = "nats")]
pub(crate) mod nats;
pub(crate) mod tasks;

pub(crate) use codec::{Codec, Encoded};
use manager::Proxy;
use tasks::{SubmitterBackend, TaskSource};

/// A place of queues, as a client has it.
pub(crate) trait Backend: Debug + Send + Sync {
    /// The same place, for queues whose calls try to reach it for so long.
    fn reconnect_within(&self, time: Duration) -> Arc<dyn Backend>;

    /// The same place, for queues whose server may be silent for so long.
    fn peer_timeout(&self, time: Duration) -> Arc<dyn Backend>;

    /// How long a worker goes on trying to get a task; zero where the calls do so themselves.
    fn retry_time(&self) -> Duration;

    fn queue(&self, name: &str) -> Result<Box<dyn QueueBackend>>;

    /// For who submits tasks by name, under a name of its own.
    fn submitter(&self, queue: &str, name: &str) -> Result<Box<dyn SubmitterBackend>>;

    /// For a worker that runs tasks by name, and calls itself so.
    fn task_source(&self, queue: &str, worker: &str) -> Result<Box<dyn TaskSource>>;

    /// An object that clients share, made with these arguments if the name is that of a type.
    fn proxy(&self, _name: &str, _args: &[Vec<u8>]) -> Result<Proxy> {
        let reason = "shared objects are only on a manager";
        Err(Error::Address(reason.to_string()))
    }

    fn create(&self, options: &QueueOptions) -> Result<()>;

    fn purge(&self, name: &str) -> Result<u64>;

    /// The dead letters of a queue that nobody has taken.
    fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>>;

    /// Puts the dead letters of a queue back into it.
    fn retry_dead(&self, name: &str) -> Result<u64>;

    fn status(&self) -> Result<Status>;

    fn durability(&self, name: &str) -> Result<Durability>;
}

/// The id of a task, and if it failed how often it was tried and why it failed.
pub(crate) type ResultParts = (String, Option<(u32, String)>);

/// Where there is no such thing.
fn only_on_a_manager(what: &str) -> Error {
    Error::Address(format!("{what} are only on a manager of this crate"))
}

/// Decodes an item where it was received, so that no call copies it first.
pub(crate) type Read<'r> = &'r mut dyn FnMut(Encoded) -> Result<()>;

/// A queue of encoded items. It is `Any` so that a backend recognises another queue of its own.
pub(crate) trait QueueBackend: Any + Debug + Send + Sync {
    /// How this queue wants its items.
    fn codec(&self) -> Codec;

    fn put(&self, items: Vec<Vec<u8>>, timeout: Option<Duration>) -> Result<()>;

    /// Puts results, each under the id of its item if both backends know ids.
    fn put_results(&self, results: Vec<(Option<String>, Vec<u8>)>) -> Result<()> {
        self.put(results.into_iter().map(|(_, item)| item).collect(), None)
    }

    /// Puts tasks whose results go to the queue of this name; their ids.
    fn put_tasks(&self, _items: Vec<Vec<u8>>, _reply: &str) -> Result<Vec<String>> {
        Err(only_on_a_manager("masters of tasks"))
    }

    /// The next result: the id of its task, and how often and why that failed, if so.
    fn get_result(&self, _timeout: Option<Duration>, _read: Read) -> Result<ResultParts> {
        Err(only_on_a_manager("masters of tasks"))
    }

    /// Takes up to `n` items: at least one, or an error.
    fn get(&self, n: usize, timeout: Option<Duration>, read: Read) -> Result<()>;

    /// Takes up to `n` items for a worker, which says of each when its work begins.
    fn take(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>>;

    /// Puts the result of an item that [`take`](QueueBackend::take) has handed out, as
    /// [`put_result`](LeaseBackend::put_result) does, and takes the next item if it is there: in one
    /// call where the server has that, and else none.
    fn put_and_take(
        &self,
        lease: &mut dyn LeaseBackend,
        results: &dyn QueueBackend,
        result: Vec<u8>,
        _read: Read,
    ) -> Result<Result<Vec<Box<dyn LeaseBackend + '_>>>> {
        lease.put_result(results, result)?;
        Ok(Err(Error::Empty))
    }

    /// Asks for up to `n` items that the next [`take`](QueueBackend::take) has, and waits for none.
    /// False where that cannot be.
    fn ask_ahead(&self, _n: usize) -> bool {
        false
    }

    /// Takes up to `n` items under leases; the work on all of them has begun.
    fn lease(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>>;

    fn task_done(&self) -> Result<()>;

    fn join(&self) -> Result<()>;

    fn len(&self) -> Result<usize>;

    fn is_empty(&self) -> Result<bool>;

    fn is_full(&self) -> Result<bool>;
}

/// What holds an item that is out. Dropped, the item goes back. What a backend does not know of an
/// item is `None`.
pub(crate) trait LeaseBackend: Debug + Send + Sync {
    fn id(&self) -> Option<&str> {
        None
    }

    fn deliveries(&self) -> Option<u32> {
        None
    }

    /// Of a dead letter: how often the work on it was begun, and why it is one.
    fn death(&self) -> Option<(u32, &str)> {
        None
    }

    /// Says that the work begins. False when the lease is over, and another may have the item.
    fn begin(&self) -> Result<bool> {
        Ok(true)
    }

    fn done(self: Box<Self>) -> Result<()>;

    /// Says that the work failed. Where a server keeps no reasons, the item only goes back.
    fn fail(self: Box<Self>, reason: &str) -> Result<()>;

    /// Puts the result, after which the lease is to be ended. False when it was over before, and the
    /// result does not count for that.
    fn put_result(&mut self, results: &dyn QueueBackend, result: Vec<u8>) -> Result<bool> {
        let id = self.id().map(String::from);
        results.put_results(vec![(id, result)]).map(|()| true)
    }
}
