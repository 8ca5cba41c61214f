//! Files in memory, without a name: memfd_create(2).

use std::{io, os::fd::OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::kernel;

/// An empty file, closed on exec, that can be sealed. The kernel frees it with the last process that
/// has it; `name` is for people who look into `/proc`.
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    memfd_create(name, flags).map_err(|errno| kernel::explain(errno.into(), "memfd_create", "3.17"))
}
