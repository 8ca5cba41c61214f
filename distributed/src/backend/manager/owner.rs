//! Whose connections, leases and locks are.

use std::process;

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
}
