//! Finds the processes that a run left behind, wherever they hid.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::evidence::LeftBehind;
use crate::program::marked;

/// The environment variable that marks every process of a run. All descendants inherit it, also
/// those in process groups and sessions of their own.
pub const MARK: &str = "NOTEBOOK_RUN";

/// How the mark of all runs by a process begins, as [`marked`] takes it.
pub fn mark_of(process: u32) -> String {
    format!("{MARK}={process}.")
}

/// How long processes that the cell has already ended may take to be gone, and how long output
/// that is already written may take to arrive.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A mark that no other run has. It ends with a period, so that none is the beginning of another.
pub(super) fn next_mark() -> String {
    static RUN: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}.", process::id(), RUN.fetch_add(1, Ordering::Relaxed))
}

/// Makes this process the parent of orphans among its descendants. So a child that a cell did not
/// wait for comes to us, even if it ended at once.
pub(super) fn adopt_orphans() {
    // On a kernel that refuses this we find fewer of the children left behind, and no wrong ones.
    let _ = prctl::set_child_subreaper(true);
}

/// Ends every process that bears the mark or belongs to one of the groups, and names it. A process
/// that is about to end by itself has `grace` to do so.
pub(super) fn clear(mark: &str, groups: &[i32], grace: Duration) -> Vec<LeftBehind> {
    let mark = format!("{MARK}={mark}");
    let deadline = Instant::now() + grace;
    let mut left = Vec::new();
    loop {
        // The marks are read before the orphans are reaped: a process that ends between the two
        // steps is reaped as an orphan, and not missed.
        let running = marked(&mark);
        // A process that is just ending shows no mark, and is still alive.
        let alive: Vec<i32> = groups
            .iter()
            .copied()
            .filter(|group| reap(*group, &mut left))
            .collect();
        if running.is_empty() && alive.is_empty() {
            left.sort();
            left.dedup();
            return left;
        }
        if Instant::now() > deadline {
            for pid in running {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                left.push(LeftBehind::Running(name.trim().to_string(), pid));
                let pid = Pid::from_raw(pid);
                let _ = kill(pid, Signal::SIGKILL);
                // An orphan in a group of its own belongs to no group of the run, so it is reaped here.
                let _ = waitpid(pid, None);
            }
            // A process that cleared its environment has no mark, and is found by its group.
            for group in alive {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reaps the orphans of a process group that have ended: nobody else waited for them. Returns
/// whether others are still alive.
fn reap(group: i32, left: &mut Vec<LeftBehind>) -> bool {
    let group = Pid::from_raw(-group);
    loop {
        match waitpid(group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status) => {
                let pid = status.pid();
                left.extend(pid.map(|pid| LeftBehind::Unreaped(pid.as_raw())));
            }
            Err(_) => return false,
        }
    }
}
