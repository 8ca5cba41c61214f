//! Locks, events and values between processes, which outlive their owners: the synchronisation
//! types of Python's `multiprocessing` in the shapes of [`std::sync`].
//!
//! Each of them lies in shared memory without a name. A clone is another handle of the same one. A
//! forked child has its parent's handles; any other process gets one as it gets a
//! [`Queue`](crate::Queue): as an argument of [`Process::spawn_with`](crate::Process::spawn_with) or
//! of a pool's task, once for all tasks by
//! [`initializer_with`](crate::pool::Builder::initializer_with), or in a message of a
//! [`pipe`](crate::pipe()). Threads share one by reference. The memory goes back to the system with
//! the last process that has it, also when all are killed.
//!
//! # When a process is killed
//!
//! | type | Python | when its holder is killed |
//! |---|---|---|
//! | [`Mutex`] | `Lock` | who locks next is told which process died, and has the value as it was before |
//! | [`RwLock`] | | one that read is not counted; one that wrote is told of, as by `Mutex` |
//! | [`Value`] | `Value` | the value is as it was before the change |
//! | [`Array`] | `Array` | as for `Mutex`, but elements may have been written already |
//! | [`Semaphore`] | `Semaphore`, `BoundedSemaphore` | its permits come back |
//! | [`Event`] | `Event` | nobody notices: who waits is woken, or finds the event set |
//! | [`Condvar`] | `Condition` | nobody notices: its notification goes to another who waits |
//! | [`Barrier`] | `Barrier` | the others are told which process died |
//!
//! In Python all others wait for ever.
//!
//! The others hear of it soon. 10,000 processes were killed for each of these types, at random moments,
//! on two cores that were busy with other work (Linux 6.18). From the kill until the next had the lock
//! and knew that the owner had died it took, for most, some tenths of a millisecond, and for a few much
//! longer:
//!
//! | type | until | median | 99 % | longest |
//! |---|---|---|---|---|
//! | [`Mutex`] | the next has it | 0.11 ms | 9 ms | 128 ms |
//! | [`Array`] | the next has it | 0.11 ms | 5 ms | 91 ms |
//! | [`RwLock`] | the next writer has it | 0.25 ms | 58 ms | 187 ms |
//! | [`Semaphore`] | both permits are back | 0.26 ms | 54 ms | 256 ms |
//! | [`Barrier`] | another party knows the pid | 0.45 ms | 35 ms | 2.3 s |
//!
//! `KILLS=10000 cargo test -p multiprocess --test sync -- killed` measures it on your machine.
//!
//! A process that writes over the shared memory can take a lock or a value from the others, and can
//! keep them waiting; it cannot make them read or write elsewhere.
//!
//! # What it costs
//! To lock and unlock a `Mutex<()>` that nobody else wants takes 1.2 times as long as a robust mutex of
//! pthreads, which also outlives its owner, but neither tells which process died nor keeps the value.
//! `cargo xtask bench sync` measures both in turns.
//!
//! # No `RLock`
//! A guard is the only way to what it guards, as in [`std::sync::Mutex`]. Two guards of one lock, in
//! one thread, would be two exclusive references to one value. Pass the guard, or what it guards, to
//! the functions that need it. A thread that locks what it has locked waits for ever, as for
//! Python's `Lock`; [`Mutex::lock_timeout`] returns.
//!
//! # Values
//! What lies in shared memory is [`Plain`] data. Structs become plain by a derive of the crate
//! [`zerocopy`], which is re-exported; the feature `derive` of this crate turns the derives on.
//!
//! ```
//! use multiprocess::sync::Mutex;
//! use multiprocess::zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
//! #[zerocopy(crate = "multiprocess::zerocopy")]
//! #[repr(C)]
//! struct Account {
//!     balance: i64,
//!     transfers: u64,
//! }
//!
//! let account = Mutex::new(Account { balance: 0, transfers: 0 })?;
//! let mut guard = account.lock()?;
//! guard.balance += 5;
//! guard.transfers += 1;
//! # Ok::<(), multiprocess::Error>(())
//! ```

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event_count::AdaptiveSpin;
use crate::sys::held_locks::is_held_within;
use crate::sys::mutex as robust;
use crate::sys::shm::{Shareable, Shared};
use crate::{Error, Result};

pub use array::{Array, ArrayGuard};
pub use barrier::{Barrier, Party};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use event::Event;
pub use mutex::{Mutex, MutexGuard};
pub use owner_died::{LockResult, OwnerDied, TryLockError, TryLockResult};
pub use plain::{Integer, Plain};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use value::Value;

mod array;
mod barrier;
mod bytes;
mod condvar;
mod event;
#[cfg(test)]
mod model;
mod mutex;
mod owner_died;
mod ownership;
mod plain;
mod rwlock;
mod semaphore;
mod stored;
mod value;

/// What each of these types has in a process: the shared memory, mapped once for all clones.
struct Segment<H: Shareable> {
    shared: Arc<Shared<H>>,
    /// Whether who waits here finds what it waits for by looking.
    spin: AdaptiveSpin,
}

impl<H: Shareable> Segment<H> {
    /// New memory, all zeroes, with room for `words` words behind the header.
    fn create(what: &str, words: usize) -> Result<Arc<Self>> {
        let refused = |error| Error::os(format!("create the shared memory of {what}"), error);
        robust::is_supported().map_err(refused)?;
        let shared = Shared::create("multiprocess-sync", words).map_err(refused)?;
        Ok(Arc::new(Self::over(shared)))
    }

    fn over(shared: Shared<H>) -> Self {
        Self {
            shared: Arc::new(shared),
            spin: AdaptiveSpin::new(),
        }
    }

    /// The memory that was handed to this process, if it has room for so many words.
    fn received<'de, D: Deserializer<'de>>(
        deserializer: D,
        words: impl FnOnce(&H) -> usize,
    ) -> Result<Arc<Self>, D::Error> {
        robust::is_supported().map_err(D::Error::custom)?;
        let shared = Shared::<H>::deserialize(deserializer)?;
        if words(&shared) > shared.words().len() {
            return Err(D::Error::custom("its memory is shorter than its value"));
        }
        Ok(Arc::new(Self::over(shared)))
    }
}

impl<H: Shareable> Deref for Segment<H> {
    type Target = Shared<H>;

    #[inline]
    fn deref(&self) -> &Shared<H> {
        &self.shared
    }
}

impl<H: Shareable> Serialize for Segment<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<H: Shareable> Drop for Segment<H> {
    fn drop(&mut self) {
        // A guard was forgotten: its lock stays locked, and stands in the list of its thread, which goes on
        // through the memory.
        if is_held_within(&self.shared.addresses()) {
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

/// How long one sleeps who waits for what processes have, before it looks whether they live.
const LOOK: Duration = Duration::from_millis(20);

/// How a handle is serialised: as its memory, for a process that is being started.
mod handed_over {
    use super::{Arc, Deserializer, Segment, Serialize, Serializer, Shareable};

    pub(super) fn serialize<H: Shareable, S: Serializer>(
        segment: &Arc<Segment<H>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (**segment).serialize(serializer)
    }

    pub(super) fn deserialize<'de, H: Shareable, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Segment<H>>, D::Error> {
        Segment::received(deserializer, |_| 0)
    }
}

/// From now for so long; none if the clock does not reach so far.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
