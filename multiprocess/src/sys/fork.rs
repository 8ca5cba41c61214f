//! Fork, for a program that has one thread.

use std::{
    fs,
    io::{self, Write},
    os::{linux::fs::MetadataExt, unix::process::CommandExt},
    process::{self, Command},
    thread,
    time::Duration,
};

use nix::{
    sched::{self, CloneFlags},
    sys::{prctl, signal::Signal},
    unistd::{self, ForkResult},
};

use super::{fork_private, image, signals};
use crate::{Error, Result};

/// Which of the two processes a fork returned in.
pub(crate) enum Forked {
    /// The process that forked, with the child's process id.
    Parent(i32),
    /// The child: default signal handlers, no signal blocked, none of its parent's private
    /// descriptors.
    Child,
}

/// Forks the process if it has one thread; `what` names the child in an error.
pub(crate) fn fork(what: &str) -> Result<Forked> {
    require_one_thread()?;
    // Else the child has a copy of what is held back, and prints it again. No other thread is there
    // that could hold the output's lock.
    let _ = io::stdout().flush();
    // Between the fork and the reset of the handlers no handler of the application may run in the
    // child: it could write to a pipe that belongs to the parent.
    let mask = signals::block_all();
    // SAFETY: fork leaves a child only the calling thread, so a lock that another thread held
    // would stay locked in it for ever. There is no other thread, and none can start meanwhile,
    // since only this one could start it.
    let forked = unsafe { unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            fork_private::close_all();
            signals::reset();
            Ok(Forked::Child)
        }
        Ok(ForkResult::Parent { child }) => {
            signals::restore(&mask);
            Ok(Forked::Parent(child.as_raw()))
        }
        Err(error) => {
            signals::restore(&mask);
            Err(Error::no_process(format!("fork {what}"), error.into()))
        }
    }
}

/// Ends the process at once: no destructor, no `atexit` handler, no buffer flushed.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition; that nothing is cleaned up is what it is called for.
    unsafe { libc::_exit(code) }
}

/// Has the kernel kill this process when `parent` dies, and ends it if that has happened already.
pub(crate) fn die_with(parent: i32) {
    let armed = prctl::set_pdeathsig(Signal::SIGKILL);
    // The signal is sent for a death after the call only.
    if armed.is_err() || unistd::getppid().as_raw() != parent {
        exit_now(128 + libc::SIGKILL);
    }
}

/// Has the kernel kill the program that `command` starts when the thread that starts it ends.
pub(crate) fn die_with_this(command: &mut Command) {
    let parent = process::id() as i32;
    let arm = move || {
        die_with(parent);
        Ok(())
    };
    // SAFETY: the closure runs in a fork of a program that may have threads: it allocates nothing
    // and takes no lock, it makes system calls only.
    unsafe { command.pre_exec(arm) };
}

/// Whether the calling thread is the only one, as far as the system lets us see.
pub(crate) fn has_one_thread() -> bool {
    threads().is_ok_and(|threads| threads == 1)
}

/// Fails with [`Error::Threaded`] unless the calling thread is the only one.
pub(crate) fn require_one_thread() -> Result<()> {
    // A thread that was joined is counted for some microseconds more, until the kernel has buried
    // it, so a second thread gets this long to turn out to be a dead one.
    const BURIALS_MAX: u32 = 50;
    for burial in 0.. {
        let threads = threads()?;
        if threads == 1 {
            break;
        }
        if burial == BURIALS_MAX {
            return Err(Error::Threaded { threads });
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn threads() -> Result<usize> {
    // The kernel allows it to a program with one thread, for which it does nothing: unshare(2). It
    // costs a tenth of what it costs to look into /proc, which is for sandboxes that forbid it.
    if sched::unshare(CloneFlags::CLONE_THREAD).is_ok() {
        return Ok(1);
    }
    // The directory has a link for each thread beside its own two: one call instead of five.
    let count = || match fs::metadata("/proc/self/task")?.st_nlink() {
        3 => Ok(1),
        _ => io::Result::Ok(fs::read_dir("/proc/self/task")?.count()),
    };
    let attempt = "count the threads in /proc/self/task";
    count().map_err(|error| Error::os(attempt, image::explain_no_proc(error)))
}
