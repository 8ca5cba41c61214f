//! The environment, which std lets nobody change in a program with threads.

use std::env;

use super::fork::require_one_thread;
use crate::Result;

/// Removes a variable.
///
/// # Errors
///
/// [`Error::Threaded`](crate::Error::Threaded) if the program has threads.
pub(crate) fn remove(name: &str) -> Result<()> {
    require_one_thread()?;
    // SAFETY: there is no other thread that could read the environment meanwhile.
    unsafe { env::remove_var(name) };
    Ok(())
}
