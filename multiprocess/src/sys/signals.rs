//! What a forked child does with signals.

use std::{io, mem::MaybeUninit, ptr};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::{Error, Result};

/// The highest signal number, of the real-time ones.
const SIGNAL_MAX: i32 = 64;

/// Blocks every signal for this thread and returns what was blocked before.
pub(crate) fn block_all() -> SigSet {
    SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .expect("the call fails for an unknown `how` only")
}

/// Blocks what `mask` holds, nothing else.
pub(crate) fn restore(mask: &SigSet) {
    mask.thread_set_mask()
        .expect("the call fails for an unknown `how` only");
}

/// Puts a forked child's signals into the state that a program starts with: what had a handler
/// gets the default action, what was ignored stays so, nothing is blocked.
///
/// A handler of the application would wake a thread that the child does not have, so SIGTERM
/// would do nothing. The handlers for SIGSEGV and SIGBUS stay: std's report a stack overflow.
pub(crate) fn reset() {
    for signal in (1..=SIGNAL_MAX).filter(|&s| s != libc::SIGSEGV && s != libc::SIGBUS) {
        if has_handler(signal) {
            set_default(signal);
        }
    }
    restore(&SigSet::empty());
}

/// Fails if the system keeps no exit code of a child, since SIGCHLD is ignored: waitpid(2).
/// `attempt` says what needs it.
pub(crate) fn require_exit_codes(attempt: &str) -> Result<()> {
    if action(libc::SIGCHLD) != Some(libc::SIG_IGN) {
        return Ok(());
    }
    let reason = "SIGCHLD is ignored, so the system keeps no exit code: give the signal its default \
                  action, SIG_DFL";
    Err(Error::os(attempt, io::Error::other(reason)))
}

/// Whether the system does not know a child any more that this process has not reaped here.
pub(crate) fn is_reaped_elsewhere(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECHILD | libc::ESRCH))
}

/// What that means.
pub(crate) fn explain_reaped(error: io::Error) -> io::Error {
    if !is_reaped_elsewhere(&error) {
        return error;
    }
    let reason = "another part of this program has taken its exit code, as a handler of SIGCHLD does \
                  that waits for any child: have it wait for its own; the processes of `spawn_with` \
                  and of pools are none of its children";
    io::Error::other(reason)
}

/// Gives a signal that is ignored its default action.
pub(crate) fn stop_ignoring(signal: Signal) {
    if action(signal as i32) == Some(libc::SIG_IGN) {
        set_default(signal as i32);
    }
}

/// Ignores a signal.
pub(crate) fn ignore(signal: Signal) {
    // SAFETY: no code of this process is run for the signal.
    unsafe { libc::signal(signal as i32, libc::SIG_IGN) };
}

fn has_handler(signal: i32) -> bool {
    action(signal).is_some_and(|action| ![libc::SIG_DFL, libc::SIG_IGN].contains(&action))
}

/// The handler of a signal, or what stands for none; `None` for the signals that the C library keeps
/// for itself.
fn action(signal: i32) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is to memory of the right type, written before the call returns; with
    // no new action given, the call changes nothing.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a valid sigaction, so it is initialised even if the call refused.
    let action = unsafe { action.assume_init() };
    (answer == 0).then_some(action.sa_sigaction)
}

fn set_default(signal: i32) {
    // SAFETY: the default action runs no code of this process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
