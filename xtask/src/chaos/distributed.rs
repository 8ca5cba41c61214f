//! The pair of `In [16]`, whose workers, server or nodes are killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::program::Program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::Round;
use crate::engine::{self, Node, NodeSite};

pub(super) const TASKS: u64 = 2_000;
pub(super) const WORKERS: usize = 4;
/// A task takes 20 ms, so that all together take about as long as 20 kills.
const PACE: &str = "0.2";
/// A task takes 40 ms, so that there is work left when a node has returned and the next one is killed.
const PACE_OF_NODES: &str = "0.4";
/// A task takes 100 s, for a worker that shall be at it.
const SLOW: &str = "1000";
const LEASE_SECONDS: u64 = 2;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a node is down, and how long the cluster has to find itself before the next one is.
const AWAY: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(120);
/// How long the master may say nothing before it hangs: longer than any call tries, and than a cluster
/// takes to find itself on a machine that has other things to do.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) fn judge_manager(seed: u64) -> anyhow::Result<Round> {
    let stage = Stage::new(Vec::new())?;
    stage.run(seed, &Kill::Workers)
}

pub(super) fn judge_engine(seed: u64) -> anyhow::Result<Round> {
    let folder = tempfile::tempdir().context("a folder for the server")?;
    let node = Node::single(folder.path())?;
    Stage::new(vec![node])?.run(seed, &Kill::Workers)
}

/// How long it takes until the task of a worker that is killed, or frozen, is another's.
pub(super) fn judge_lease(_seed: u64) -> anyhow::Result<Round> {
    let mut round = Round::default();
    for (signal, what) in [(Signal::SIGKILL, "killed"), (Signal::SIGSTOP, "frozen")] {
        let folder = tempfile::tempdir().context("a folder for the server")?;
        let stage = Stage::new(vec![Node::single(folder.path())?])?;
        let url = engine::url(&stage.nodes);
        let lease = LEASE_SECONDS.to_string();
        let master = ["--queues", &url, "--count", "1", "--lease", &lease];
        let master = stage.program("task_master", &master, PACE)?;
        let worker = ["--queues", &url, "--idle", "100"];
        let victim = stage.program("task_worker", &worker, SLOW)?;
        until(&victim, "run task ")?;
        let other = stage.program("task_worker", &worker, PACE)?;
        until(&other, "Connect to server ")?;
        kill(Pid::from_raw(victim.pid()), signal).context("stop a worker")?;
        let start = Instant::now();
        until(&other, "run task ")?;
        let took = start.elapsed();
        until(&master, "Result: ")?;
        until(&master, "master exit.")?;
        round.count(
            &format!("ms longest until the task of one {what} is another's"),
            took.as_millis() as u64,
        );
        round.claim(took <= Duration::from_secs(LEASE_SECONDS + 1), || {
            format!("the task of one {what} is another's after {took:?}")
        });
    }
    Ok(round)
}

pub(super) fn judge_server(seed: u64) -> anyhow::Result<Round> {
    let folder = tempfile::tempdir().context("a folder for the server")?;
    let node = Node::single(folder.path())?;
    Stage::new(vec![node])?.run(seed, &Kill::Nodes)
}

pub(super) fn judge_cluster(seed: u64) -> anyhow::Result<Round> {
    let folder = tempfile::tempdir().context("a folder for the cluster")?;
    let (ports, routes) = (engine::free_ports(3)?, engine::free_ports(3)?);
    let nodes = Node::cluster(folder.path(), NodeSite::local(&ports, &routes))?;
    Stage::new(nodes)?.run(seed, &Kill::Nodes)
}

enum Kill {
    /// A worker every so often.
    Workers,
    /// The only node three times, or each of several once, one after the other.
    Nodes,
}

/// The programs, and the nodes that they meet at; a manager, if there are none.
pub(super) struct Stage {
    programs: TempDir,
    pub(super) nodes: Vec<Node>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = node.end(Signal::SIGKILL);
        }
    }
}

impl Stage {
    pub(super) fn new(nodes: Vec<Node>) -> anyhow::Result<Stage> {
        let stage = Stage {
            programs: build()?,
            nodes,
        };
        for node in &stage.nodes {
            node.start()?;
        }
        if stage.nodes.len() > 1 {
            engine::wait_for_leader(&stage.nodes)?;
        }
        Ok(stage)
    }

    pub(super) fn program(
        &self,
        name: &str,
        arguments: &[&str],
        pace: &str,
    ) -> io::Result<Program> {
        let mut command = Command::new(self.programs.path().join(name));
        command.args(arguments).env("PACE", pace);
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.said())?;
        Program::start(command.stdin(Stdio::null()).stderr(said))
    }

    /// What the programs have said on standard error.
    fn said(&self) -> PathBuf {
        self.programs.path().join("said")
    }

    /// Claims that no program failed, and says of those that did why.
    pub(super) fn judge_programs(&self, round: &mut Round) {
        let said = fs::read_to_string(self.said()).unwrap_or_default();
        // What the master says of the engine at its start is no failure.
        let failures = said.lines().filter(|line| !line.starts_with("queues: "));
        round.broken.extend(failures.map(str::to_string));
    }

    fn run(&self, seed: u64, what: &Kill) -> anyhow::Result<Round> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut round = Round::default();
        let address = format!("127.0.0.1:{}", engine::free_ports(1)?[0]);
        let url = engine::url(&self.nodes);
        let pace = match what {
            Kill::Workers => PACE,
            Kill::Nodes => PACE_OF_NODES,
        };
        let (count, lease) = (TASKS.to_string(), LEASE_SECONDS.to_string());
        let mut master = vec!["--count", &count, "--timeout", "100"];
        let mut worker = vec!["--idle", "100"];
        if self.nodes.is_empty() {
            master.extend(["--bind", &address]);
            worker.push(&address);
        } else {
            let replicas = if self.nodes.len() > 1 { "3" } else { "1" };
            master.extend(["--queues", &url, "--lease", &lease, "--replicas", replicas]);
            worker.extend(["--queues", &url]);
        }
        let master = self.program("task_master", &master, pace)?;
        let mut workers = (0..WORKERS)
            .map(|_| self.program("task_worker", &worker, pace))
            .collect::<io::Result<Vec<_>>>()?;
        let mut heard = MasterOutput::default();
        let begun = Instant::now();
        let mut kills = 0;
        while heard.goes_on(begun) {
            heard.listen(&master, PAUSE.mul_f64(dice.random_range(0.5..1.5)));
            if heard.all || heard.results == 0 {
                continue;
            }
            match what {
                Kill::Workers => {
                    let victim = dice.random_range(0..WORKERS);
                    workers[victim] = self.program("task_worker", &worker, pace)?;
                    kills += 1;
                }
                Kill::Nodes if kills < 3 => {
                    let node = &self.nodes[kills as usize % self.nodes.len()];
                    node.end(Signal::SIGKILL)?;
                    heard.listen(&master, AWAY);
                    node.start()?;
                    kills += 1;
                    // The next may go when this one is of use again.
                    let before = heard.results;
                    while heard.results < before + 100 && heard.goes_on(begun) {
                        heard.listen(&master, PAUSE);
                    }
                }
                Kill::Nodes => {}
            }
        }
        round.count("kills", kills);
        let all_killed = matches!(what, Kill::Workers) || kills == 3;
        round.claim(all_killed, || format!("there were {kills} kills and not 3"));
        heard.judge(&mut round);
        self.judge_programs(&mut round);
        if !heard.all {
            // Whoever asks why it hangs finds nobody later.
            round.broken.extend(engine::said_of_streams(&self.nodes));
        }
        Ok(round)
    }
}

/// What the master has printed.
#[derive(Default)]
pub(super) struct MasterOutput {
    /// For each task, how often it was put less how often its result came.
    open: BTreeMap<i64, i64>,
    put: u64,
    pub(super) results: u64,
    wrong: u64,
    last: Option<Instant>,
    pub(super) longest: Duration,
    pub(super) all: bool,
}

impl MasterOutput {
    pub(super) fn listen(&mut self, master: &Program, time: Duration) {
        let until = Instant::now() + time;
        while !self.all {
            match master.line(until) {
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.all = true,
            }
        }
    }

    fn hear(&mut self, line: &str) {
        if let Some(task) = line.strip_prefix("Put task ") {
            let task = task.trim_end_matches("...").parse().unwrap_or(-1);
            *self.open.entry(task).or_default() += 1;
            self.put += 1;
        } else if let Some(result) = line.strip_prefix("Result: ") {
            let task: i64 = result
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(-1);
            *self.open.entry(task).or_default() -= 1;
            self.wrong += u64::from(result != format!("{task} * {task} = {}", task * task));
            self.results += 1;
        } else {
            return;
        }
        let now = Instant::now();
        if let Some(last) = self.last {
            self.longest = self.longest.max(now - last);
        }
        self.last = Some(now);
    }

    /// Whether there is more to hear, of a master that has said something just now.
    fn goes_on(&self, begun: Instant) -> bool {
        !self.all && self.last.unwrap_or(begun).elapsed() < SILENCE
    }

    pub(super) fn judge(&self, round: &mut Round) {
        round.count("tasks", self.put);
        round.count("results", self.results);
        round.count(
            "ms longest without progress",
            self.longest.as_millis() as u64,
        );
        let lost: i64 = self.open.values().filter(|open| **open > 0).sum();
        let doubled: i64 = self.open.values().filter(|open| **open < 0).sum();
        round.claim(self.put == TASKS, || {
            format!("{} of {TASKS} tasks were put", self.put)
        });
        round.claim(lost == 0, || format!("{lost} tasks have no result"));
        round.claim(doubled == 0, || format!("{} results too many", -doubled));
        round.claim(self.wrong == 0, || {
            format!("{} results are wrong", self.wrong)
        });
        round.claim(self.all, || "it hangs: no end in time".to_string());
    }
}

/// Waits for a line that begins so.
fn until(program: &Program, start: &str) -> anyhow::Result<()> {
    program.until(start, Instant::now() + DEADLINE)?;
    Ok(())
}

/// Builds the programs with the engine, and keeps them where no other build replaces them.
fn build() -> anyhow::Result<TempDir> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--package",
            "distributed",
            "--features",
            "nats",
            "--bins",
        ])
        .status()
        .context("run cargo build")?;
    ensure!(built.success(), "the programs do not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = tempfile::tempdir().context("a folder for the programs")?;
    for name in ["task_master", "task_worker"] {
        let built = target.join("debug").join(name);
        fs::copy(&built, folder.path().join(name))
            .with_context(|| format!("copy {}", built.display()))?;
    }
    Ok(folder)
}
