//! Ends what a replay, `bench` or `chaos` has started when `xtask` itself is killed, and could not.
//!
//! A signal that can be caught ends a replay in order. SIGKILL cannot, and a cell that waits for ten
//! seconds, or for ever, would go on.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use anyhow::Context;
use common::program::{self, marked};
use common::replay;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Exit;

/// Between two looks at what runs.
const TICK: Duration = Duration::from_millis(5);

/// The other process, for as long as this is held.
pub(crate) struct ProcessGuard(Child);

impl ProcessGuard {
    /// Starts it: this program again, by a hidden command. Its standard input ends with this process,
    /// which alone holds the other end.
    pub(crate) fn start() -> anyhow::Result<ProcessGuard> {
        let exe = env::current_exe().context("find this program's own folder")?;
        let mut command = Command::new(exe);
        command.args(["guard", &process::id().to_string()]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // What a terminal sends to us is not meant for it.
        let child = command.process_group(0).spawn();
        Ok(ProcessGuard(child.context("start the guard of what runs")?))
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        // Whoever ends in order has ended what it started. A program that a build leaves for the next
        // one, as a cache of compilers, may go on.
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b".");
        }
        let _ = self.0.wait();
    }
}

/// Waits for the end of the process that started it, and ends what that has left running.
pub(crate) fn guard(pid: u32) -> anyhow::Result<Exit> {
    let mut said = Vec::new();
    let read = io::stdin().read_to_end(&mut said);
    read.context("wait for the end of what runs")?;
    if !said.is_empty() {
        return Ok(Exit::Held);
    }
    let marks = [replay::mark_of(pid), program::mark_of(pid)];
    loop {
        let left: Vec<i32> = marks.iter().flat_map(|mark| marked(mark)).collect();
        if left.is_empty() {
            return Ok(Exit::Held);
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(TICK);
    }
}
