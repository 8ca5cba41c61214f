//! What the rest of the crate asks of the operating system, one thing per function.
//!
//! All `unsafe` of the workspace is in this folder, behind safe signatures: shared memory is handed
//! out as atomics, so that no caller can make a data race, whatever another process does; and as
//! bytes to the one holder of a block that a queue lends.

pub(crate) mod at_exit;
pub(crate) mod call;
pub(crate) mod children;
pub(crate) mod constructor;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod environment;
#[cfg(feature = "testing")]
pub(crate) mod for_tests;
pub(crate) mod fork;
pub(crate) mod fork_private;
pub(crate) mod futex;
pub(crate) mod group;
pub(crate) mod held_locks;
pub(crate) mod identity;
pub(crate) mod image;
mod kernel;
pub(crate) mod memfd;
pub(crate) mod mutex;
pub(crate) mod pidfd;
pub(crate) mod plain_slice;
pub(crate) mod poll;
pub(crate) mod same_type;
pub(crate) mod scm_rights;
pub(crate) mod shm;
pub(crate) mod signals;
#[cfg(test)]
pub(crate) mod simulated;
pub(crate) mod word;
