//! A process that leads a group, which dies with another process.

use std::{mem, ptr};

use nix::unistd::{self, Pid};

use super::fork::exit_now;

/// The signal that says that the other process is dead: one that no program has another use for.
const DEATH: i32 = 64;

/// Makes this process the leader of a group of its own, and has the kernel kill the group when
/// `parent` dies; ends it at once if that has happened already.
///
/// The kernel's signal for a parent's death reaches one process. Here it runs a handler that kills
/// the group, so that the children of this process end with it.
pub(crate) fn lead_and_die_with(parent: i32) {
    // It fails for the leader of a session only, which a process just forked is not.
    let _ = unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
    on_death(kill_group);
    // SAFETY: the call takes integers.
    let armed = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, DEATH) };
    // The signal is sent for a death after the call only.
    if armed != 0 || unistd::getppid().as_raw() != parent {
        exit_now(128 + libc::SIGKILL);
    }
}

extern "C" fn kill_group(_signal: i32) {
    // SAFETY: the call takes integers, and a signal handler may make it.
    unsafe { libc::kill(0, libc::SIGKILL) };
}

fn on_death(handler: extern "C" fn(i32)) {
    // SAFETY: all zeros are a valid sigaction: no flag, an empty mask, the default action.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // SAFETY: the action is initialised, and its handler makes one system call that signal
    // handlers may make.
    let answer = unsafe { libc::sigaction(DEATH, &raw const action, ptr::null_mut()) };
    debug_assert_eq!(answer, 0, "the signal exists and can be handled");
}
