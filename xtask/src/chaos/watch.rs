//! The program of a round, and what descends from it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::program::Program;

const TICK: Duration = Duration::from_millis(1);

/// Starts the program of a round.
pub(super) fn start(case: &str, seed: u64) -> anyhow::Result<Program> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(["chaos-program", case, &seed.to_string()]);
    Program::start(command.stdin(Stdio::piped()))
        .with_context(|| format!("start the program of {case}"))
}

/// Tells the program to go on.
pub(super) fn go_on(program: &mut Program) -> anyhow::Result<()> {
    let stdin = program.child.stdin.as_mut().context("its input is piped")?;
    stdin.write_all(b"\n").context("tell the program to go on")
}

/// Whether the program ends with exit code 0 in time.
pub(super) fn ends_well(program: &mut Program, deadline: Instant) -> anyhow::Result<bool> {
    let status = program.wait(deadline).context("wait for the program")?;
    Ok(status.is_some_and(|status| status.success()))
}

/// How long until nothing of the program runs; `None` when that takes longer than `limit`.
pub(super) fn gone_after(program: &Program, limit: Duration) -> Option<Duration> {
    let start = Instant::now();
    loop {
        // Read before the look: what is seen running did so after this moment.
        let elapsed = start.elapsed();
        if program.running().is_empty() {
            return Some(elapsed);
        }
        if elapsed > limit {
            return None;
        }
        thread::sleep(TICK);
    }
}

/// The process that started it, as far as that still runs.
pub(super) fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces and parentheses; the state and the parent follow.
    let after = stat.rsplit_once(')')?.1;
    after.split_whitespace().nth(1)?.parse().ok()
}
