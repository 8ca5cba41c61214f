//! A fork for the crate's own tests, which run in processes with one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Forks; the child runs `work` and exits with 0, or with 101 if it panicked. Returns the child's
/// number, or the system's error.
///
/// For tests: it does not look whether the program has threads.
#[doc(hidden)]
pub fn fork_for_tests(work: impl FnOnce()) -> std::io::Result<i32> {
    // SAFETY: the tests that call this have one thread, so that the child finds no lock held.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            let code = if catch_unwind(AssertUnwindSafe(work)).is_ok() {
                0
            } else {
                101
            };
            // SAFETY: ends the process here; what the parent has registered to run at exit is not
            // the child's.
            unsafe { libc::_exit(code) }
        }
        child => Ok(child),
    }
}
