//! A child process, as its parent sees it, and the two ways to start one: by a fork of this
//! process, which brings all of its memory along, or from the zygote.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process,
    time::Instant,
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use serde::Serialize;

use crate::{
    Error, Result, codec, fd_passing,
    sys::{
        call::Function,
        fork::{self, Forked, die_with, exit_now},
        fork_private::ForkPrivate,
        pidfd,
        poll::poll,
    },
    zygote,
};

/// A child: of this process, or one that the zygote has started for it.
pub(crate) struct Handle {
    pid: i32,
    pidfd: ForkPrivate<OwnedFd>,
    /// Where the zygote tells the exit code of its child; the system tells that of our own.
    zygote: Option<ForkPrivate<OwnedFd>>,
}

impl Handle {
    /// Forks this process; `None` in the child.
    pub(crate) fn fork(what: &str) -> Result<Option<Self>> {
        flush();
        let pid = match fork::fork(what)? {
            Forked::Child => return Ok(None),
            Forked::Parent(pid) => pid,
        };
        let pidfd = pidfd::open(pid).map_err(|error| {
            // A child without a handle would be nobody's.
            let child = Pid::from_raw(pid);
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            Error::os(format!("open a pidfd of {what}"), error)
        })?;
        Ok(Some(Self::new(pid, pidfd, None)))
    }

    /// Has a process carry out a request: one of the zygote's, if this process has a zygote, else a
    /// fork of this one.
    pub(crate) fn start(what: &str, request: SpawnRequest) -> Result<Self> {
        flush();
        if let Some(started) = zygote::start(what, &request) {
            return started;
        }
        let me = process::id().cast_signed();
        match Self::fork(what)? {
            Some(handle) => Ok(handle),
            None => request.run(me),
        }
    }

    pub(crate) fn new(pid: i32, pidfd: OwnedFd, zygote: Option<OwnedFd>) -> Self {
        Self {
            pid,
            pidfd: ForkPrivate::new(pidfd),
            zygote: zygote.map(ForkPrivate::new),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable once the process has ended. An error in a fork of the process that started it.
    pub(crate) fn pidfd(&self) -> io::Result<BorrowedFd<'_>> {
        self.pidfd.get().map(AsFd::as_fd)
    }

    /// Sends a signal, if the process has not ended.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd::signal(self.pidfd()?, signal)
    }

    /// The exit code as Python counts, if the process has ended. It can be asked for again.
    pub(crate) fn exitcode(&self) -> io::Result<Option<i32>> {
        let Some(zygote) = &self.zygote else {
            return pidfd::peek(self.pidfd()?);
        };
        let mut ended = [PollFd::new(self.pidfd()?, PollFlags::POLLIN)];
        match poll(&mut ended, Some(Instant::now()))? {
            true => zygote::exitcode(zygote.get()?.as_fd()).map(Some),
            false => Ok(None),
        }
    }

    /// Waits for the end, and removes the process from the process table; the exit code as Python
    /// counts. An error if that was done before.
    pub(crate) fn reap(&self) -> io::Result<i32> {
        match &self.zygote {
            None => pidfd::reap(self.pidfd()?),
            Some(zygote) => zygote::exitcode(zygote.get()?.as_fd()),
        }
    }
}

/// What a process is to do that may not have the memory of this one.
pub(crate) struct SpawnRequest {
    pub(crate) function: Function,
    pub(crate) argument: Vec<u8>,
    /// What goes with the argument, see [`fd_passing`].
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether it ends with the process that it was forked from.
    pub(crate) daemon: bool,
}

impl SpawnRequest {
    pub(crate) fn new<A: Serialize>(
        function: Function,
        argument: &A,
        daemon: bool,
    ) -> Result<Self> {
        let (argument, descriptors) = fd_passing::collect(|| codec::to_vec(argument));
        Ok(Self {
            function,
            argument: argument?,
            descriptors,
            daemon,
        })
    }

    /// Does what is to be done, in the child that `parent` has just forked.
    pub(crate) fn run(self, parent: i32) -> ! {
        if self.daemon {
            die_with(parent);
        }
        let done = fd_passing::provide(self.descriptors, || {
            self.function.call(&self.argument, &mut Vec::new())
        });
        exit_now(i32::from(done.is_err()))
    }
}

/// Else a child has a copy of what is still in the buffer, and prints it again.
fn flush() {
    let _ = io::stdout().flush();
}
