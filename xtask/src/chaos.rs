//! What a SIGKILL at any moment leaves behind: each case runs a program, kills, and counts.
//!
//! The program of a round is this one again, by a hidden subcommand: it has one thread, as a
//! program that forks must, while the judge outside may hang on nothing that the program does.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use common::nats_server;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::Exit;
use crate::cli::{ChaosOptions, Lang};
use crate::guard::ProcessGuard;
use crate::output::{self, complain, say};
use crate::select::beginning_with;

mod application;
mod distributed;
mod growth;
mod hostile;
mod partitions;
mod pool;
mod queue;
mod watch;

pub(crate) use partitions::may_make_networks;

/// What a round counted, and which claims did not hold.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Round {
    figures: BTreeMap<String, u64>,
    broken: Vec<String>,
}

impl Round {
    fn count(&mut self, what: &str, number: u64) {
        *self.figures.entry(what.to_string()).or_default() += number;
    }

    fn claim(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(otherwise());
        }
    }
}

/// What a case may need.
enum Requirement {
    /// Nodes of NATS.
    Engine,
    /// Networks apart from this machine's.
    Networks,
}

impl Requirement {
    fn missing(&self) -> Option<&'static str> {
        match self {
            Requirement::Engine if !has_engine() => {
                Some("nats-server (apt-get install nats-server)")
            }
            Requirement::Engine => None,
            Requirement::Networks => partitions::missing(),
        }
    }
}

fn has_engine() -> bool {
    let mut asked = Command::new(nats_server::binary());
    asked.arg("--version").output().is_ok()
}

struct Case {
    name: &'static str,
    claim: &'static str,
    judge: fn(u64) -> anyhow::Result<Round>,
    /// What runs by the hidden subcommand, where that is not another program.
    program: Option<fn(u64) -> anyhow::Result<()>>,
    /// What of this machine it needs, beyond what the project does.
    needs: &'static [Requirement],
}

const CASES: [Case; 16] = [
    Case {
        name: "pool",
        claim: "200 tasks, a worker killed every 100 ms: each accounted for once, the pool healthy",
        judge: pool::judge_workers_killed,
        program: Some(pool::program),
        needs: &[],
    },
    Case {
        name: "pool-retries",
        claim: "200 tasks with retries, a worker killed every 100 ms: all succeed",
        judge: pool::judge_workers_killed_and_tasks_retried,
        program: Some(pool::program_with_retries),
        needs: &[],
    },
    Case {
        name: "supervisor",
        claim: "the supervisor killed: every handle resolves, no process is left",
        judge: pool::judge_supervisor_killed,
        program: Some(pool::program),
        needs: &[],
    },
    Case {
        name: "queue",
        claim: "4 writers, 4 readers, killed and replaced: none torn, doubled or out of order",
        judge: queue::judge,
        program: Some(queue::program),
        needs: &[],
    },
    Case {
        name: "application",
        claim: "the application killed: nothing of it runs 200 ms later, nothing is in /dev/shm",
        judge: application::judge,
        program: Some(application::program),
        needs: &[],
    },
    Case {
        name: "growth",
        claim: "a day of a server, with 3000 workers replaced: it takes no more than in the morning",
        judge: growth::judge,
        program: Some(growth::program),
        needs: &[],
    },
    Case {
        name: "manager-hostile",
        claim: "20 clients that fill, never read, vanish or send calls by the thousand, for 5 s, at a \
                manager that may store 256 MiB: under 400 MiB in memory, 99 of 100 honest calls under \
                50 ms, nothing lost",
        judge: hostile::judge_short,
        program: Some(hostile::program),
        needs: &[],
    },
    Case {
        name: "long-manager-hostile",
        claim: "manager-hostile for 60 s",
        judge: hostile::judge_long,
        program: None,
        needs: &[],
    },
    Case {
        name: "distributed-manager",
        claim: "2000 tasks, 4 workers, one killed every 500 ms: one result each",
        judge: distributed::judge_manager,
        program: None,
        needs: &[],
    },
    Case {
        name: "distributed-engine",
        claim: "2000 tasks at a server of NATS, 4 workers, one killed every 500 ms: one result each",
        judge: distributed::judge_engine,
        program: None,
        needs: &[Requirement::Engine],
    },
    Case {
        name: "distributed-lease",
        claim: "a worker killed or frozen: another has its task within the lease of 2 s and a second",
        judge: distributed::judge_lease,
        program: None,
        needs: &[Requirement::Engine],
    },
    Case {
        name: "distributed-server",
        claim: "the only server killed and started again three times: one result each",
        judge: distributed::judge_server,
        program: None,
        needs: &[Requirement::Engine],
    },
    Case {
        name: "distributed-cluster",
        claim: "each of three nodes killed and returned, one after the other: one result each",
        judge: distributed::judge_cluster,
        program: None,
        needs: &[Requirement::Engine],
    },
    Case {
        name: "partitions",
        claim: "each of three nodes cut off for 20 s: one result each, and 15 s at most without one",
        judge: partitions::judge_short,
        program: None,
        needs: &[Requirement::Engine, Requirement::Networks],
    },
    Case {
        name: "partitions-far",
        claim: "a worker at a round trip of 200 ms: 1000 tasks within 10 s",
        judge: partitions::judge_far,
        program: None,
        needs: &[Requirement::Engine],
    },
    Case {
        name: "long-partitions",
        claim: "partitions, each node cut off for 60 s",
        judge: partitions::judge_long,
        program: None,
        needs: &[Requirement::Engine, Requirement::Networks],
    },
];

/// What `--json` writes.
#[derive(Serialize)]
struct ChaosReport {
    seed: u64,
    cases: Vec<CaseReport>,
}

#[derive(Serialize)]
struct CaseReport {
    name: &'static str,
    claim: &'static str,
    rounds: u32,
    held: u32,
    /// Sums over all rounds; of times in ms and of memory in MiB, the most.
    figures: BTreeMap<String, u64>,
    broken: Vec<String>,
}

pub(crate) fn chaos(options: &ChaosOptions, lang: Lang) -> anyhow::Result<Exit> {
    output::leave_to(&options.json);
    let cases = match beginning_with(&options.names, &CASES, |case| case.name) {
        Ok(cases) => cases,
        Err(unknown) => {
            let names = CASES.map(|case| case.name).join(lang.comma());
            match lang {
                Lang::En => complain!("no case starts with {unknown}: there are {names}"),
                Lang::Zh => complain!("没有一项以 {unknown} 开头：有 {names}"),
            }
            return Ok(Exit::NoCell);
        }
    };
    let _guard = ProcessGuard::start()?;
    let seed = options
        .seed
        .unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let (mut found, mut missing) = (Vec::new(), false);
    for case in cases {
        if let Some(need) = case.needs.iter().find_map(Requirement::missing) {
            print_claim(case, lang)?;
            let need = lang.text(need);
            match lang {
                Lang::En => say!("  - not run: it needs {need}")?,
                Lang::Zh => say!("  - 没有运行：它需要{need}")?,
            }
            missing = true;
            continue;
        }
        found.push(run(case, options.rounds, seed, lang)?);
    }
    let held = found.iter().all(|found| found.held == found.rounds);
    if !held {
        let again = lang.pick("again: ", "再运行一次：");
        let names: String = options
            .names
            .iter()
            .map(|name| format!("{name} "))
            .collect();
        let rounds = options.rounds;
        say!("{again}cargo xtask chaos {names}--rounds {rounds} --seed {seed}")?;
    }
    if let Some(file) = &options.json {
        let record = ChaosReport { seed, cases: found };
        let text = serde_json::to_string_pretty(&record).context("write the findings as JSON")?;
        file.write(&(text + "\n"))?;
    }
    Ok(match (held, missing) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::NeedMissing,
        (true, false) => Exit::Held,
    })
}

fn print_claim(case: &Case, lang: Lang) -> anyhow::Result<()> {
    say!("{}{}{}", case.name, lang.colon(), lang.text(case.claim))
}

fn run(case: &'static Case, rounds: u32, seed: u64, lang: Lang) -> anyhow::Result<CaseReport> {
    print_claim(case, lang)?;
    let start = Instant::now();
    let mut seeds = StdRng::seed_from_u64(seed);
    let mut found = CaseReport {
        name: case.name,
        claim: case.claim,
        rounds,
        held: 0,
        figures: BTreeMap::new(),
        broken: Vec::new(),
    };
    for number in 1..=rounds {
        let round = (case.judge)(seeds.next_u64())
            .with_context(|| format!("round {number} of {}", case.name))?;
        for (what, count) in round.figures {
            let is_peak = what.starts_with("ms ") || what.starts_with("MiB ");
            let figure = found.figures.entry(what).or_default();
            *figure = if is_peak {
                count.max(*figure)
            } else {
                *figure + count
            };
        }
        found.held += u32::from(round.broken.is_empty());
        for broken in round.broken {
            let said = lang.text(&broken);
            match lang {
                Lang::En => say!("  ✗ round {number}: {said}")?,
                Lang::Zh => say!("  ✗ 第 {number} 轮：{said}")?,
            }
            found.broken.push(format!("round {number}: {broken}"));
        }
    }
    print_found(&found, start.elapsed().as_secs_f64(), lang)?;
    Ok(found)
}

fn print_found(found: &CaseReport, seconds: f64, lang: Lang) -> anyhow::Result<()> {
    let CaseReport { rounds, held, .. } = found;
    let mark = if held == rounds { "✓" } else { "✗" };
    let figures = found.figures.iter().map(|(what, count)| match lang {
        Lang::En => format!("{count} {what}"),
        Lang::Zh => format!("{} {count}", lang.text(what)),
    });
    let figures: Vec<String> = figures.collect();
    let figures = figures.join(lang.comma());
    match lang {
        Lang::En => say!("  {mark} {held} of {rounds} rounds held, {seconds:.1} s: {figures}"),
        Lang::Zh => say!("  {mark} {rounds} 轮中 {held} 轮成立，{seconds:.1} 秒：{figures}"),
    }
}

/// Runs as the program that a round works on.
pub(crate) fn program(case: &str, seed: u64) -> anyhow::Result<Exit> {
    let Some(case) = CASES.iter().find(|known| known.name == case) else {
        bail!("there is no case {case}");
    };
    let program = case.program.context("its programs are others")?;
    program(seed)?;
    Ok(Exit::Held)
}
