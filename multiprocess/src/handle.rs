//! A child process, as its parent sees it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::{
        signal::{Signal, kill},
        socket::{MsgFlags, recv},
        wait::waitpid,
    },
    unistd::Pid,
};

use crate::{
    Error, Result,
    sys::{
        fork::{self, Forked},
        fork_private::ForkPrivate,
        pidfd,
        poll::poll,
        signals,
    },
};

/// A child: of this process, or one that the zygote has started for it.
pub(crate) struct Handle {
    pid: i32,
    pidfd: ForkPrivate<OwnedFd>,
    /// Where the zygote tells the exit code of its child; the system tells that of our own.
    exitcode: Option<ForkPrivate<OwnedFd>>,
    /// Whether this program has killed it.
    is_killed: AtomicBool,
}

impl Handle {
    /// Forks this process; `None` in the child.
    pub(crate) fn fork(what: &str) -> Result<Option<Self>> {
        signals::require_exit_codes(&format!("fork {what}"))?;
        let pid = match fork::fork(what)? {
            Forked::Child => return Ok(None),
            Forked::Parent(pid) => pid,
        };
        let pidfd = pidfd::open(pid).map_err(|error| {
            // A child without a handle would be nobody's. One that is reaped has no number.
            if !signals::is_reaped_elsewhere(&error) {
                let child = Pid::from_raw(pid);
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
            }
            let error = signals::explain_reaped(error);
            Error::os(format!("open a pidfd of {what}"), error)
        })?;
        Ok(Some(Self::new(pid, pidfd, None)))
    }

    pub(crate) fn new(pid: i32, pidfd: OwnedFd, exitcode: Option<OwnedFd>) -> Self {
        Self {
            pid,
            pidfd: ForkPrivate::new(pidfd),
            exitcode: exitcode.map(ForkPrivate::new),
            is_killed: AtomicBool::new(false),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Readable once the process has ended. An error in a fork of the process that started it.
    pub(crate) fn pidfd(&self) -> io::Result<BorrowedFd<'_>> {
        self.pidfd.get().map(AsFd::as_fd)
    }

    /// Sends a signal, if the process has not ended.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        if signal == libc::SIGKILL {
            self.note_kill();
        }
        pidfd::signal(self.pidfd()?, signal)
    }

    /// Notes that this program kills the process. To be called before the signal.
    pub(crate) fn note_kill(&self) {
        // SeqCst: it happens once in a life.
        self.is_killed.store(true, SeqCst);
    }

    /// Whether this program has killed the process.
    pub(crate) fn is_killed(&self) -> bool {
        self.is_killed.load(SeqCst)
    }

    /// Whether the process has ended, which is known even if another part of the program has reaped it.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        let mut ended = [PollFd::new(self.pidfd()?, PollFlags::POLLIN)];
        poll(&mut ended, Some(Instant::now()))
    }

    /// The exit code as Python counts, if the process has ended. It can be asked for again.
    pub(crate) fn exitcode(&self) -> io::Result<Option<i32>> {
        let Some(exitcode) = &self.exitcode else {
            return pidfd::peek(self.pidfd()?);
        };
        match self.has_ended()? {
            true => read_exitcode(exitcode.get()?.as_fd()).map(Some),
            false => Ok(None),
        }
    }

    /// Waits for the end, and removes the process from the process table; the exit code as Python
    /// counts. An error if that was done before.
    pub(crate) fn reap(&self) -> io::Result<i32> {
        match &self.exitcode {
            None => pidfd::reap(self.pidfd()?),
            Some(exitcode) => read_exitcode(exitcode.get()?.as_fd()),
        }
    }
}

/// The exit code of a child of the zygote's, waiting for it. It can be asked for again.
fn read_exitcode(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let mut code = [0; size_of::<i32>()];
    loop {
        match recv(socket.as_raw_fd(), &mut code, MsgFlags::MSG_PEEK) {
            Ok(len) if len == code.len() => return Ok(i32::from_ne_bytes(code)),
            Err(Errno::EINTR) => {}
            Ok(_) => return Err(zygote_is_gone()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The zygote has closed its end of a socket.
pub(crate) fn zygote_is_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the zygote was killed")
}
