//! What the three kinds of processes of a pool have in common.

use std::{
    ffi::CString,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use nix::sys::prctl;
use serde::{Deserialize, Serialize};

use super::{block::LentBlock, control::Control, sleeper::WakeFd};
use crate::{
    Result,
    fd_passing::{self, Descriptor},
    oom_kills::OomKills,
    queue::raw::{RawQueue, Wait},
    sys::{call::Function, shm::Shared},
};

/// What application, supervisor and workers have in common, each in its own copy.
#[derive(Serialize, Deserialize)]
pub(super) struct PoolShared {
    pub(super) tasks: RawQueue,
    pub(super) results: RawQueue,
    pub(super) control: Shared<Control>,
    /// What each worker does last.
    pub(super) finalizer: Option<Function>,
    pub(super) max_tasks_per_child: Option<u64>,
    /// In bytes.
    pub(super) max_memory_per_child: Option<u64>,
    /// In bytes.
    pub(super) max_memory_per_task: Option<u64>,
    /// In bytes.
    pub(super) memory_budget: Option<u64>,
    /// How many bytes more than at its start a worker may have after a task.
    pub(super) max_memory_left: Option<u64>,
    pub(super) task_timeout: Option<Duration>,
    pub(super) retries: u32,
    /// When the pool was made.
    pub(super) oom_kills: OomKills,
    /// Whether it is measured what tasks take.
    pub(super) measures_usage: bool,
    pub(super) name: String,
    /// In how many pools' tasks it was made, each in a task of the one around it.
    pub(super) depth: u32,
    /// Wakes the application, see [`Control::application`].
    pub(super) application_wake: WakeFd,
    /// Wakes the supervisor, see [`Control::supervisor`].
    pub(super) supervisor_wake: WakeFd,
    /// The zero of the pool's clock, which the supervisor sets and the workers have from it.
    #[serde(skip, default = "Instant::now")]
    pub(super) opened: Instant,
    /// Where a worker asks the supervisor for the descriptors of its task.
    #[serde(skip)]
    pub(super) descriptor_requests: Option<OwnedFd>,
    /// How many descriptors a worker may have. The supervisor allows itself more, to keep those of
    /// tasks.
    #[serde(skip)]
    pub(super) descriptors_max: Option<u64>,
}

/// What each worker does first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Initializer {
    pub(super) function: Function,
    pub(super) argument: Vec<u8>,
    /// What goes with the argument, see [`fd_passing`](crate::fd_passing).
    pub(super) descriptors: Vec<Descriptor<OwnedFd>>,
}

impl Initializer {
    pub(super) fn run(self, result: &mut Vec<u8>) -> Result<()> {
        let descriptors = self.descriptors.into_iter().map(|Descriptor(fd)| fd);
        fd_passing::provide(descriptors.collect(), || {
            self.function.call(&self.argument, result)
        })
    }
}

impl PoolShared {
    /// Puts a message for the application, and wakes it.
    #[inline]
    pub(super) fn put_result(&self, message: &[u8], block: Option<LentBlock<'_>>) -> Result<()> {
        match block {
            None => self.results.put(message, Wait::Forever)?,
            Some((mut lent, used)) => lent.put(message, used, Wait::Forever)?,
        };
        self.application_wake.wake(&self.control.application);
        Ok(())
    }

    /// Nanoseconds on the pool's clock; `None` if nobody needs it.
    #[inline]
    pub(super) fn now(&self) -> Option<u64> {
        let is_needed = self.task_timeout.is_some() || self.measures_usage;
        is_needed.then(|| self.nanos())
    }

    /// Nanoseconds on the pool's clock.
    pub(super) fn nanos(&self) -> u64 {
        self.opened.elapsed().as_nanos() as u64
    }

    /// Whether the supervisor may kill a worker for what its task or item does.
    pub(super) fn has_limits(&self) -> bool {
        self.task_timeout.is_some() || self.max_memory_per_task.is_some()
    }

    pub(super) fn instant(&self, nanos: u64) -> Instant {
        self.opened + Duration::from_nanos(nanos)
    }

    /// Names this process for `ps` and `top`, which show 15 bytes.
    pub(super) fn name_process(&self, suffix: &str) {
        if let Ok(name) = CString::new(format!("{}-{suffix}", self.name)) {
            let _ = prctl::set_name(&name);
        }
    }
}
