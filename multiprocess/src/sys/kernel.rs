//! What the kernel may be too old for.

use std::io;

/// Names the system call and the oldest Linux that has it, if the kernel does not. A sandbox may also
/// answer so.
pub(crate) fn explain(error: io::Error, call: &str, since: &str) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the system call {call} is not there: it takes Linux {since} or newer, and a sandbox that allows it"
            ),
        ),
        _ => error,
    }
}
