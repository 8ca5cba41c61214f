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

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A child, which is killed and reaped when it goes out of scope.
    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            let child = Command::new("sleep").arg("600").spawn();
            Self(child.expect("there is a sleep"))
        }

        fn pid(&self) -> i32 {
            self.0.id().cast_signed()
        }

        fn pidfd(&self) -> OwnedFd {
            pidfd::open(self.pid()).expect("it is not reaped")
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn me() -> i32 {
        std::process::id().cast_signed()
    }

    fn doomed(pid: i32, pidfd: OwnedFd) -> Doomed {
        Doomed { pid, pidfd }
    }

    fn this_process() -> Doomed {
        doomed(me(), pidfd::open(me()).expect("it runs"))
    }

    /// As when the system gives the number of a child that has ended to another process.
    #[test]
    fn a_number_that_is_another_processes_by_now_is_nobodys_child() {
        let (root, other) = (Sleeper::new(), Sleeper::new());
        let found = doomed(root.pid(), root.pidfd()).child(other.pid());
        assert!(found.is_none(), "it is a child of this process");
    }

    /// As when the system gives the number of the process itself to another one.
    #[test]
    fn the_children_of_another_process_of_the_same_number_are_spared() {
        let (ended, child) = (Sleeper::new(), Sleeper::new());
        let is_listed = || {
            this_process()
                .children()
                .iter()
                .any(|it| it.pid == child.pid())
        };
        // While a child of another test ends, the kernel's list may lack some: proc_pid_children(5).
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_listed() {
            assert!(Instant::now() < deadline, "it is no child of this process");
            thread::yield_now();
        }
        let doomed = doomed(me(), ended.pidfd());
        drop(ended);
        assert!(doomed.children().is_empty());
    }

    /// It may be another process already that had the number before.
    #[test]
    fn a_child_that_has_ended_is_nobody_to_kill() {
        let mut ended = Sleeper::new();
        ended.0.kill().expect("it runs");
        // Not reaped: it still has its number and its parent.
        while runs(ended.pidfd().as_fd()) {
            thread::yield_now();
        }
        assert!(this_process().child(ended.pid()).is_none());
    }
}
