//! The end of a process with all its descendants.
//!
//! Whoever is to be killed is stopped first, from the top down: a process that stands still starts no
//! other, and does not react to what happens to its children. So the list of descendants comes to an
//! end, and only then all are killed.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    handle::Handle,
    sys::{
        children,
        identity::{parent, proc_is_ours, stands_still},
        pidfd,
        poll::poll,
    },
};

/// How long a process may take to stop. One that is traced may never do.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// How long to leave a process the processor that it may need to stop.
const STOP_LOOK: Duration = Duration::from_micros(50);

/// A process that is to be killed.
struct Doomed {
    pid: i32,
    pidfd: OwnedFd,
}

/// Kills a process and its descendants. In an error is whom the system refused to kill; all others
/// are killed even then.
pub(super) fn kill(root: &Handle) -> Result<(), (i32, io::Error)> {
    let pid = root.pid().cast_signed();
    let open = || {
        let me = std::process::id().cast_signed();
        if !proc_is_ours() || children::of(me).is_err() {
            let reason =
                "there is no /proc of this system that lists children; `kill` ends it alone";
            return Err(io::Error::other(reason));
        }
        root.pidfd()?.try_clone_to_owned()
    };
    let pidfd = open().map_err(|error| (pid, error))?;
    let mut tree = vec![Doomed { pid, pidfd }];
    let (mut known, mut visited) = (HashSet::from([pid]), 0);
    loop {
        while let Some(process) = tree.get(visited) {
            process.stop();
            let children = process.children();
            tree.extend(children.into_iter().filter(|it| known.insert(it.pid)));
            visited += 1;
        }
        // One that ended before it was stopped may have left its children to a process above it.
        let again: Vec<_> = tree.iter().flat_map(Doomed::children).collect();
        tree.extend(again.into_iter().filter(|it| known.insert(it.pid)));
        if visited == tree.len() {
            break;
        }
    }
    root.note_kill();
    let mut refused = None;
    for process in &tree {
        if let Err(error) = pidfd::signal(process.pidfd.as_fd(), libc::SIGKILL) {
            refused.get_or_insert((process.pid, error));
        }
    }
    refused.map_or(Ok(()), Err)
}

impl Doomed {
    /// Stops the process, and waits until it has. One of another user is not stopped.
    fn stop(&self) {
        if pidfd::signal(self.pidfd.as_fd(), libc::SIGSTOP).is_err() {
            return;
        }
        let deadline = Instant::now() + STOP_WITHIN;
        // It is no child of ours, mostly, and nobody else is told of a stop.
        while !stands_still(self.pid.cast_unsigned()) && Instant::now() < deadline {
            thread::sleep(STOP_LOOK);
        }
    }

    /// Its children that run.
    fn children(&self) -> Vec<Doomed> {
        let numbers = children::of(self.pid).unwrap_or_default();
        let found: Vec<_> = numbers
            .into_iter()
            .filter_map(|pid| self.child(pid))
            .collect();
        // Had it ended meanwhile, its number could be another's, and so the children.
        match runs(self.pidfd.as_fd()) {
            true => found,
            false => Vec::new(),
        }
    }

    /// The process of this number, if it is a child.
    fn child(&self, pid: i32) -> Option<Doomed> {
        let pidfd = pidfd::open(pid).ok()?;
        let is_child = parent(pid.cast_unsigned()) == Some(self.pid.cast_unsigned());
        // If it runs even now, it was the one that was looked at.
        (is_child && runs(pidfd.as_fd())).then_some(Doomed { pid, pidfd })
    }
}

fn runs(pidfd: BorrowedFd<'_>) -> bool {
    let mut ended = [PollFd::new(pidfd, PollFlags::POLLIN)];
    matches!(poll(&mut ended, Some(Instant::now())), Ok(false))
}
