//! Whose connections, references and locks are.

use std::{io, process};

use crate::{Error, Result};

/// The process that has something. A child that is forked has the value too, and not the thing: its
/// parent goes on with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Owner(u32);

impl Owner {
    pub(super) fn me() -> Owner {
        Owner(process::id())
    }

    pub(super) fn is_me(self) -> bool {
        self == Owner::me()
    }

    /// Refuses to a forked child what its parent alone may do, and says what mends it.
    pub(super) fn require(self, attempt: &str, mends: &str) -> Result<()> {
        if self.is_me() {
            return Ok(());
        }
        let reason = format!("the process that has it has forked this one: {mends}");
        let refused = io::Error::new(io::ErrorKind::PermissionDenied, reason);
        Err(Error::io(attempt)(refused))
    }
}
