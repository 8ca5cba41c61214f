//! Descriptors by their numbers.

use std::{fs, io, os::fd::RawFd};

/// The descriptors that are not closed when this process executes a program, but for the standard
/// streams. They are those of C libraries: std closes its own.
pub(crate) fn inherited() -> io::Result<Vec<RawFd>> {
    let mut inherited = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().map(str::parse::<RawFd>);
        if let Some(Ok(number @ 3..)) = number
            && is_inherited(number)
        {
            inherited.push(number);
        }
    }
    Ok(inherited)
}

fn is_inherited(number: RawFd) -> bool {
    // SAFETY: the call takes integers and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Has a descriptor closed when this process executes a program.
pub(crate) fn close_on_exec(number: RawFd) {
    // SAFETY: the call takes integers, and closes nothing here.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Closes the descriptors from `first` to `last`, both included.
///
/// # Safety
///
/// Nobody uses one of them again.
pub(super) unsafe fn close_range(first: RawFd, last: RawFd) {
    let flags = 0;
    // SAFETY: the call takes integers, and the caller answers for what it closes.
    if unsafe { libc::close_range(first.cast_unsigned(), last.cast_unsigned(), flags) } == 0 {
        return;
    }
    // Linux before 5.9 does not have the call, and some sandboxes do not allow it.
    for number in first..=last {
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
}
