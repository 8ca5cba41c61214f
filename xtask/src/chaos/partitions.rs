//! The pair of `In [16]` where all run, but the network fails or is slow.
//!
//! Each node is in a network of its own, on a bridge in a fourth one, where the master and the
//! workers are. All of them end with the processes in them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::far_away::far_away;
use common::program::Program;
use nix::sched::{CloneFlags, unshare};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::Round;
use super::distributed::{MasterOutput, Stage, TASKS, WORKERS};
use crate::engine::{self, Node, NodeSite};

const NODES: usize = 3;
/// The longest that there may be no result while two of three nodes can work.
const STALL_MAX: Duration = Duration::from_secs(15);
/// How long a node that is back may take to catch up.
const RETURN_MAX: Duration = Duration::from_secs(120);
const FAR_TASKS: u64 = 1_000;
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// As long as 50 round trips, where one by one they would take 2,000.
const FAR_MAX: Duration = Duration::from_secs(10);
const SLICE: Duration = Duration::from_millis(500);
/// In how many spells of what length there must be results before the next cut. Nodes elect once more
/// for one that is back, which takes up to 9 s; a cut in the midst of that would be a second fault.
const CALM: (u32, Duration) = (5, Duration::from_secs(2));

/// How long each node is cut off, and how long a task takes, in tenths of a second: all of them
/// take longer than the cuts, so that there is work left at the last one.
struct Cuts {
    length: Duration,
    pace: &'static str,
    deadline: Duration,
}

pub(super) fn judge_short(seed: u64) -> anyhow::Result<Round> {
    judge(
        seed,
        &Cuts {
            length: Duration::from_secs(20),
            pace: "3",
            deadline: Duration::from_secs(400),
        },
    )
}

pub(super) fn judge_long(seed: u64) -> anyhow::Result<Round> {
    judge(
        seed,
        &Cuts {
            length: Duration::from_secs(60),
            pace: "9",
            deadline: Duration::from_secs(900),
        },
    )
}

/// A worker that is far from its tasks. The master is near: it gets its results one by one.
pub(super) fn judge_far(_seed: u64) -> anyhow::Result<Round> {
    let folder = tempfile::tempdir().context("a folder for the server")?;
    let stage = Stage::new(vec![Node::single(folder.path())?])?;
    let near = engine::url(&stage.nodes);
    let port = far_away(stage.nodes[0].port, ROUND_TRIP / 2).context("a port far away")?;
    let far = format!("nats://127.0.0.1:{port}");
    let count = FAR_TASKS.to_string();
    let master = ["--queues", &near, "--count", &count, "--timeout", "100"];
    let master = stage.program("task_master", &master, "0")?;
    let deadline = Instant::now() + RETURN_MAX;
    master.until("Try get results", deadline)?;
    let _worker = stage.program("task_worker", &["--queues", &far, "--idle", "20"], "0")?;
    master.until("Result: ", deadline)?;
    let start = Instant::now();
    let results = master.until("master exit.", deadline)?;
    let took = start.elapsed();
    let mut round = Round::default();
    let others = results.lines().filter(|line| line.starts_with("Result: "));
    round.count("results", 1 + others.count() as u64);
    round.count("ms from the first to the last", took.as_millis() as u64);
    round.claim(took <= FAR_MAX, || {
        format!("it took {:.1} s", took.as_secs_f64())
    });
    Ok(round)
}

fn judge(seed: u64, cuts: &Cuts) -> anyhow::Result<Round> {
    // A network belongs to a thread: all that this one starts is in its own.
    thread::scope(|scope| {
        let trial = scope.spawn(|| {
            let network = Network::new()?;
            let folder = tempfile::tempdir().context("a folder for the cluster")?;
            let stage = Stage::new(network.nodes(folder.path())?)?;
            run(&network, &stage, seed, cuts)
        });
        trial.join().expect("its errors are values")
    })
}

fn run(network: &Network, stage: &Stage, seed: u64, cuts: &Cuts) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let (url, count) = (engine::url(&stage.nodes), TASKS.to_string());
    let master = [
        "--queues",
        &url,
        "--replicas",
        "3",
        "--count",
        &count,
        "--timeout",
        "100",
    ];
    let master = stage.program("task_master", &master, cuts.pace)?;
    // Whoever is patient for no longer than is usual.
    let worker = ["--queues", &url, "--idle", "20"];
    let mut workers = (0..WORKERS)
        .map(|_| stage.program("task_worker", &worker, cuts.pace))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut heard = MasterOutput::default();
    let deadline = Instant::now() + cuts.deadline;
    while heard.results == 0 && !heard.all && Instant::now() < deadline {
        heard.listen(&master, SLICE);
    }
    let mut order: Vec<usize> = (0..NODES).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut done = 0;
    for node in order {
        network.set_link(node, "down")?;
        heard.listen(&master, cuts.length);
        network.set_link(node, "up")?;
        done += u64::from(!heard.all);
        let took = listen_until_whole(&mut heard, &master, &stage.nodes[node]);
        let took = took.as_millis() as u64;
        let most = round
            .figures
            .entry("ms longest until a node is current again".into());
        let most = most.or_default();
        *most = took.max(*most);
    }
    round.count("cuts", done);
    let dead = workers.iter_mut().map(|worker| worker.child.try_wait());
    let dead = dead.filter(|ended| !matches!(ended, Ok(None))).count();
    round.claim(dead == 0, || {
        format!("{dead} of {WORKERS} workers have ended")
    });
    while !heard.all && Instant::now() < deadline {
        heard.listen(&master, SLICE);
    }
    round.claim(done == NODES as u64, || {
        format!("there were {done} cuts and not {NODES}")
    });
    round.claim(heard.longest <= STALL_MAX, || {
        format!(
            "there was no result for {:.1} s",
            heard.longest.as_secs_f64()
        )
    });
    heard.judge(&mut round);
    stage.judge_programs(&mut round);
    Ok(round)
}

/// Listens until the next node may go: this one has all that the others have, and the work goes on.
/// Returns how long the first took.
fn listen_until_whole(heard: &mut MasterOutput, master: &Program, node: &Node) -> Duration {
    let back = Instant::now();
    while !heard.all && !node.is_current() && back.elapsed() < RETURN_MAX {
        heard.listen(master, SLICE);
    }
    let took = back.elapsed();
    let (spells, length) = CALM;
    let mut calm = 0;
    while !heard.all && calm < spells && back.elapsed() < RETURN_MAX {
        let before = heard.results;
        heard.listen(master, length);
        calm = if heard.results > before { calm + 1 } else { 0 };
    }
    took
}

/// A bridge in the network of this thread, with a link to each node.
struct Network {
    /// What keeps the network of a node.
    holders: Vec<Program>,
}

impl Network {
    /// Puts this thread in a network of its own, and makes the others.
    fn new() -> anyhow::Result<Network> {
        unshare(CloneFlags::CLONE_NEWNET).context("a network of its own, which takes root")?;
        ip("link set lo up")?;
        ip("link add bridge type bridge")?;
        ip("addr add 10.99.0.254/24 dev bridge")?;
        ip("link set bridge up")?;
        let mut holders = Vec::new();
        for node in 0..NODES {
            // It says when it is there, and ends with its input.
            let mut holder = Command::new("unshare");
            holder.args(["--net", "sh", "-c", "echo there && read end"]);
            let holder = Program::start(holder.stdin(Stdio::piped()))?;
            holder.until("there", Instant::now() + RETURN_MAX)?;
            let process = holder.pid();
            ip(&format!(
                "link add node{node} type veth peer name eth0 netns {process}"
            ))?;
            ip(&format!("link set node{node} master bridge up"))?;
            for words in [
                "link set lo up".to_string(),
                format!("addr add {}/24 dev eth0", host(node)),
                "link set eth0 up".to_string(),
            ] {
                done(engine::within(process, "ip"), &words)?;
            }
            holders.push(holder);
        }
        Ok(Network { holders })
    }

    /// A node in each of its networks.
    fn nodes(&self, folder: &Path) -> anyhow::Result<Vec<Node>> {
        let places = self
            .holders
            .iter()
            .enumerate()
            .map(|(node, holder)| NodeSite {
                host: host(node),
                port: 4222,
                route: 6222,
                network: Some(holder.pid()),
            });
        Node::cluster(folder, places.collect())
    }

    /// Pulls or plugs the cable of a node, of which nobody is told.
    fn set_link(&self, node: usize, state: &str) -> anyhow::Result<()> {
        ip(&format!("link set node{node} {state}"))
    }
}

fn host(node: usize) -> String {
    format!("10.99.0.{}", node + 1)
}

fn ip(words: &str) -> anyhow::Result<()> {
    done(Command::new("ip"), words)
}

fn done(mut command: Command, words: &str) -> anyhow::Result<()> {
    let output = command.args(words.split(' ')).output();
    let output = output.with_context(|| format!("ip {words}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {words}: {}", said.trim());
    Ok(())
}

/// Whether this process may make networks of its own.
pub(crate) fn may_make_networks() -> bool {
    let mut trial = Command::new("unshare");
    trial.args(["--net", "ip", "link", "add", "trial", "type", "bridge"]);
    trial.output().is_ok_and(|output| output.status.success())
}

/// What this machine lacks for networks of its own.
pub(super) fn missing() -> Option<&'static str> {
    if common::stand_in::find("ip").is_none() {
        return Some("ip (apt-get install iproute2)");
    }
    (!may_make_networks()).then_some("networks of its own, which root may make on most machines")
}
