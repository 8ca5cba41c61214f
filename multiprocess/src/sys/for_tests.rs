//! What the crate's own tests ask of the system, in processes with one thread.

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

/// Ignores a signal, as a program that was started so does.
///
/// # Panics
///
/// If there is no such signal, or it cannot be ignored.
#[doc(hidden)]
pub fn ignore_for_tests(signal: i32) {
    // SAFETY: no code of this process is run for the signal.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR, "signal {signal} cannot be ignored");
}

/// Has the kernel answer these system calls with ENOSYS from now on, as one that does not have them:
/// seccomp(2), for this process and those that it starts.
///
/// # Errors
///
/// [`Error::Os`] if the system has no such filters.
#[doc(hidden)]
pub fn deny_for_tests(calls: &[i64]) -> Result<()> {
    let word = |code: u32, jump: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump,
        k: value,
    };
    // The call's number is the first word that the filter sees.
    let mut program = vec![word(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &call in calls {
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        // The next instruction if it is this call, else the one after.
        program.push(word(equal, 1, call as u32));
        let answer = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        program.push(word(libc::BPF_RET | libc::BPF_K, 0, answer));
    }
    program.push(word(
        libc::BPF_RET | libc::BPF_K,
        0,
        libc::SECCOMP_RET_ALLOW,
    ));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the call takes integers.
    let mut answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if answer == 0 {
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the filter and the program that it points to outlive the call, which copies them.
        answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
    }
    match answer {
        0 => Ok(()),
        _ => Err(Error::os("filter system calls", io::Error::last_os_error())),
    }
}
