//! Descriptors of processes: they can be waited for with a deadline, and a signal sent to one
//! never reaches another process that got the same number later. See pidfd_open(2).

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::kernel;

/// A descriptor of the child `pid`, closed on exec.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        // 5.3 has it, and 5.4 the wait for one.
        return Err(kernel::explain(error, "pidfd_open", "5.4"));
    }
    // SAFETY: the kernel has just opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal. A process that has ended is no error, as in Python.
pub(crate) fn signal(pidfd: BorrowedFd, signal: i32) -> io::Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the one that kill(2) would send.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            0,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).or_else(|error| {
            (error.raw_os_error() == Some(libc::ESRCH))
                .then_some(())
                .ok_or(error)
        }),
    }
}

/// The child's exit code, waiting for it, and removes the child from the process table.
pub(crate) fn reap(pidfd: BorrowedFd) -> io::Result<i32> {
    Ok(wait(pidfd, 0)?.expect("a wait without WNOHANG has an answer"))
}

/// The child's exit code if it has ended, and leaves it in the process table.
pub(crate) fn peek(pidfd: BorrowedFd) -> io::Result<Option<i32>> {
    wait(pidfd, libc::WNOHANG | libc::WNOWAIT)
}

/// waitid(2), as Python counts: -9 for a process that was ended by signal 9.
///
/// nix's `waitid` fails for the real-time signals, after it has reaped the child.
fn wait(pidfd: BorrowedFd, options: i32) -> io::Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        let (id, options) = (pidfd.as_raw_fd() as libc::id_t, options | libc::WEXITED);
        // SAFETY: the pointer is to memory of the right type that outlives the call.
        let answer = unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), options) };
        match (answer, io::Error::last_os_error()) {
            (0, _) => break,
            (_, error) if error.kind() == io::ErrorKind::Interrupted => {}
            (_, error) => return Err(error),
        }
    }
    // SAFETY: all zeros are a valid siginfo, and the kernel wrote over them if a child had ended.
    let info = unsafe { info.assume_init() };
    // SAFETY: si_status is a plain integer, zero or filled in by waitid.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        0 => None,
        libc::CLD_EXITED => Some(status),
        _ => Some(-status),
    })
}
