//! What a forked child does with signals.

use std::{mem::MaybeUninit, ptr};

use nix::sys::signal::{SigSet, SigmaskHow};

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

fn has_handler(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is to memory of the right type, written before the call returns; with
    // no new action given, the call changes nothing.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a valid sigaction, so it is initialised even if the call refused, as
    // the C library does for the signals that it keeps for itself.
    let action = unsafe { action.assume_init() };
    answer == 0 && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
}

fn set_default(signal: i32) {
    // SAFETY: the default action runs no code of this process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
