//! A fork for the crate's own tests, which run in processes with one thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fork::{exit_now, require_one_thread};
use crate::{Error, Result};

/// Forks; the child runs `work` and exits with 0, or with 101 if it panicked. Returns the child's
/// number.
///
/// Unlike [`Process::spawn`](crate::Process::spawn), it leaves to the child all that its parent has:
/// signal handlers and private descriptors.
///
/// # Errors
///
/// [`Error::Threaded`] if the program has threads, [`Error::Os`] if it cannot be forked.
#[doc(hidden)]
pub fn fork_for_tests(work: impl FnOnce()) -> Result<i32> {
    require_one_thread()?;
    // SAFETY: the program has one thread, so that the child finds no lock held.
    match unsafe { libc::fork() } {
        -1 => Err(Error::os("fork a test", io::Error::last_os_error())),
        0 => {
            let panicked = catch_unwind(AssertUnwindSafe(work)).is_err();
            // What the parent has registered to run at exit is not the child's.
            exit_now(if panicked { 101 } else { 0 })
        }
        child => Ok(child),
    }
}
