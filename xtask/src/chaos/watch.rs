//! A program under observation, and all that descends from it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::program::{is_marked, marked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// In the environment of the program, and so of every process that descends from it.
const MARK: &str = "CHAOS_ROUND";
const TICK: Duration = Duration::from_millis(1);

/// The program of a round. When it is dropped, all that descends from it is killed.
pub(super) struct Program {
    child: Child,
    mark: String,
    lines: Receiver<String>,
}

impl Program {
    pub(super) fn start(case: &str, seed: u64) -> anyhow::Result<Program> {
        static ROUNDS: AtomicU32 = AtomicU32::new(0);
        let round = ROUNDS.fetch_add(1, Relaxed);
        let value = format!("{}.{round}.", std::process::id());
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .args(["chaos-program", case, &seed.to_string()])
            .env(MARK, &value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start the program of {case}"))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let (line, lines) = mpsc::channel();
        // It ends with the last process that holds the pipe, and those are killed on drop.
        thread::spawn(move || {
            let mut texts = BufReader::new(stdout).lines().map_while(Result::ok);
            texts.all(|text| line.send(text).is_ok());
        });
        let mark = format!("{MARK}={value}");
        Ok(Program { child, mark, lines })
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line that it or a process of its prints; `None` when there is none in time, or no
    /// process left that could print one.
    pub(super) fn line(&self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).ok()
    }

    /// Tells it to go on.
    pub(super) fn go_on(&mut self) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("its input is piped")?;
        stdin.write_all(b"\n").context("tell the program to go on")
    }

    /// Whether it ends with exit code 0 in time.
    pub(super) fn ends_well(&mut self, deadline: Instant) -> anyhow::Result<bool> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            thread::sleep(TICK);
        }
    }

    /// All that descends from the program and runs, itself included.
    pub(super) fn running(&self) -> Vec<i32> {
        marked(&self.mark)
    }

    /// How long until nothing of it runs; `None` when that takes longer than `limit`.
    pub(super) fn gone_after(&self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        loop {
            // Read before the look: what is seen running did so after this moment.
            let elapsed = start.elapsed();
            if self.running().is_empty() {
                return Some(elapsed);
            }
            if elapsed > limit {
                return None;
            }
            thread::sleep(TICK);
        }
    }

    /// Kills a process of the program. It may be gone already.
    pub(super) fn kill(&self, pid: i32) -> bool {
        is_marked(pid, &self.mark) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
    }

    /// Kills the program itself, and takes its end, so that it is no zombie either.
    pub(super) fn kill_itself(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the program")?;
        self.child.wait().context("wait for the killed program")?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Again, since one may fork while the others are killed. The program itself goes first:
        // nothing is to be replaced any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let running = self.running();
            if running.is_empty() {
                return;
            }
            for pid in running {
                self.kill(pid);
            }
            thread::sleep(TICK);
        }
    }
}

/// The process that started it, as far as that still runs.
pub(super) fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces and parentheses; the state and the parent follow.
    let after = stat.rsplit_once(')')?.1;
    after.split_whitespace().nth(1)?.parse().ok()
}
