//! Finds the processes that a run left behind, wherever they hid.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The environment variable that marks every process of a run: all children inherit it, those in
/// process groups and sessions of their own as well.
pub(super) const MARK: &str = "NOTEBOOK_RUN";

/// How long processes that the cell has already ended may take to be gone, and how long output
/// that is already written may take to arrive.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A mark that no other run has.
pub(super) fn next_mark() -> String {
    static RUN: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}", process::id(), RUN.fetch_add(1, Ordering::Relaxed))
}

/// Makes this process the parent of orphans among its descendants. A child that a cell did not
/// wait for comes to us, even if it ended at once, and cannot be missed.
pub(super) fn adopt_orphans() {
    // A kernel without it shows fewer of the children left behind, and no wrong ones.
    let _ = prctl::set_child_subreaper(true);
}

/// Ends what bears the mark or belongs to one of the groups, and names it. What is about to end
/// by itself has `grace` to do so.
pub(super) fn clear(mark: &str, groups: &[i32], grace: Duration) -> Vec<String> {
    let deadline = Instant::now() + grace;
    let mut left = Vec::new();
    loop {
        // Looked for first: what ends between the two steps is an orphan to take, not one missed.
        let running = marked(mark);
        // One that is just ending shows no mark any more, and is still alive.
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
            for (pid, name) in running {
                left.push(format!("{name} ({pid}) was still running"));
                let pid = Pid::from_raw(pid);
                let _ = kill(pid, Signal::SIGKILL);
                // An orphan in a group of its own is ours to take, and no group of the run's.
                let _ = waitpid(pid, None);
            }
            // One that cleared its environment has no mark at all.
            for group in alive {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Takes the orphans of a process group that have ended: nobody else waited for them. Says whether
/// others are still alive.
fn reap(group: i32, left: &mut Vec<String>) -> bool {
    let group = Pid::from_raw(-group);
    loop {
        match waitpid(group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status) => left.extend(
                status
                    .pid()
                    .map(|pid| format!("nobody waited for process {pid}")),
            ),
            Err(_) => return false,
        }
    }
}

/// The running processes that bear the mark.
fn marked(mark: &str) -> Vec<(i32, String)> {
    let mark = format!("{MARK}={mark}").into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Another user's process, or one that ended just now, cannot be read and is not ours.
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark)
        {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_string()));
        }
    }
    found
}
