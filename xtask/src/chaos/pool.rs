//! A pool whose workers, or whose supervisor, are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::program::Program;
use multiprocess::Pool;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Round;
use super::watch::{self, parent};

const TASKS: usize = 200;
const WORKERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(30);

/// Prints a line for each task that starts, and one for each result; then it waits until it is
/// told that the killing is over, and shows whether the pool still works.
pub(super) fn program(_seed: u64) -> anyhow::Result<()> {
    work_through(Pool::new(WORKERS)?)
}

/// More retries than one task can need: a worker is killed every 100 ms, a task takes 20 ms.
pub(super) fn program_with_retries(_seed: u64) -> anyhow::Result<()> {
    work_through(Pool::builder().workers(WORKERS).retries(20).build()?)
}

fn work_through(pool: Pool) -> anyhow::Result<()> {
    let handles: Vec<_> = (0..TASKS)
        .map(|task| pool.apply_async(work, task))
        .collect::<Result<_, _>>()?;
    for (task, handle) in handles.into_iter().enumerate() {
        match handle.get() {
            Ok(answer) if answer == task => println!("result {task} ok"),
            Ok(answer) => println!("result {task} of-task-{answer}"),
            Err(error) => println!("result {task} {}", kind(&error)),
        }
    }
    println!("all");
    io::stdin().read_line(&mut String::new())?;
    let squares = pool.map(|n: u64| n * n, 0..100);
    let right = squares.is_ok_and(|squares| squares.into_iter().eq((0..100).map(|n| n * n)));
    let ended = pool.join();
    println!(
        "afterwards {}",
        if right && ended.is_ok() {
            "healthy"
        } else {
            "broken"
        }
    );
    Ok(())
}

fn work(task: usize) -> usize {
    println!("task {task} {}", std::process::id());
    thread::sleep(Duration::from_millis(20));
    task
}

/// One word for how a task failed.
fn kind(error: &multiprocess::Error) -> &'static str {
    match error {
        multiprocess::Error::Killed { .. } => "killed",
        multiprocess::Error::PoolBroken => "pool-broken",
        _ => "otherwise",
    }
}

/// What the program has printed so far.
#[derive(Default)]
struct PoolOutput {
    /// How often each task was started.
    starts: BTreeMap<usize, u64>,
    workers: BTreeSet<i32>,
    /// All results of each task.
    results: BTreeMap<usize, Vec<String>>,
    all: bool,
    afterwards: Option<String>,
}

impl PoolOutput {
    /// Listens until that moment, or until the program has asked to go on or has nothing to say.
    fn listen(&mut self, program: &Program, until: Instant) {
        while let Ok(line) = program.line(until) {
            let mut words = line.split(' ');
            let word = words.next().unwrap_or_default();
            let number = words.next().unwrap_or_default();
            let last = words.next().unwrap_or_default();
            match (word, number.parse()) {
                ("task", Ok(task)) => {
                    *self.starts.entry(task).or_default() += 1;
                    self.workers.extend(last.parse::<i32>());
                }
                ("result", Ok(task)) => self.results.entry(task).or_default().push(last.into()),
                ("afterwards", _) => self.afterwards = Some(number.to_string()),
                ("all", _) => self.all = true,
                _ => {}
            }
            if self.all && self.afterwards.is_none() || self.afterwards.is_some() {
                return;
            }
        }
    }

    fn results_of(&self, kind: &str) -> u64 {
        let all = self.results.values().flatten();
        all.filter(|result| *result == kind).count() as u64
    }

    /// Each task has one result.
    fn judge(&self, round: &mut Round) {
        let results: usize = self.results.values().map(Vec::len).sum();
        round.count("tasks", TASKS as u64);
        round.count("ok", self.results_of("ok"));
        round.claim(self.results.len() == TASKS, || {
            format!("{} of {TASKS} tasks accounted for", self.results.len())
        });
        round.claim(results == self.results.len(), || {
            format!("{results} results of {} tasks", self.results.len())
        });
    }

    fn claim_one_start(&self, round: &mut Round) {
        let twice = self.starts.values().filter(|count| **count > 1).count();
        round.claim(twice == 0, || {
            format!("{twice} tasks were started more than once")
        });
    }

    /// The parent of the workers, where that is not the application.
    fn supervisor(&self, application: i32) -> Option<i32> {
        let mut parents = self.workers.iter().filter_map(|worker| parent(*worker));
        // An orphan's parent is the system's first process.
        parents.find(|pid| *pid != application && *pid != 1)
    }
}

pub(super) fn judge_workers_killed(seed: u64) -> anyhow::Result<Round> {
    let (mut round, heard) = kill_workers("pool", seed)?;
    heard.claim_one_start(&mut round);
    Ok(round)
}

pub(super) fn judge_workers_killed_and_tasks_retried(seed: u64) -> anyhow::Result<Round> {
    let (mut round, heard) = kill_workers("pool-retries", seed)?;
    let failed = TASKS as u64 - heard.results_of("ok").min(TASKS as u64);
    round.claim(failed == 0, || {
        format!("{failed} tasks failed in spite of retries")
    });
    Ok(round)
}

fn kill_workers(case: &str, seed: u64) -> anyhow::Result<(Round, PoolOutput)> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut round = Round::default();
    let mut program = watch::start(case, seed)?;
    let deadline = Instant::now() + DEADLINE;
    let mut heard = PoolOutput::default();
    let mut kills = 0;
    while !heard.all && Instant::now() < deadline {
        heard.listen(&program, Instant::now() + PAUSE);
        if heard.all || heard.workers.is_empty() {
            continue;
        }
        let head = heard.supervisor(program.pid()).unwrap_or(program.pid());
        let workers: Vec<i32> = program
            .running()
            .into_iter()
            .filter(|pid| {
                parent(*pid) == Some(head) && Some(*pid) != (head != program.pid()).then_some(head)
            })
            .collect();
        if let Some(worker) = workers.choose(&mut dice) {
            kills += u64::from(program.kill_process(*worker));
        }
    }
    round.count("kills", kills);
    round.claim(heard.all, || {
        format!("it hangs: no end after {} s", DEADLINE.as_secs())
    });
    if heard.all {
        watch::go_on(&mut program).context("end the killing")?;
        while heard.afterwards.is_none() && Instant::now() < deadline {
            heard.listen(&program, deadline);
        }
        let healthy = heard.afterwards.as_deref() == Some("healthy");
        round.claim(healthy, || {
            "the pool was not healthy afterwards".to_string()
        });
    }
    heard.judge(&mut round);
    let reported = heard.results_of("killed");
    round.count("reported", reported);
    let other = TASKS as u64 - (heard.results_of("ok") + reported).min(TASKS as u64);
    round.claim(other == 0, || {
        format!("{other} tasks were neither done nor reported as killed")
    });
    round.claim(reported <= kills, || {
        format!("{reported} tasks failed by {kills} kills: innocent ones were touched")
    });
    Ok((round, heard))
}

pub(super) fn judge_supervisor_killed(seed: u64) -> anyhow::Result<Round> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut round = Round::default();
    let mut program = watch::start("supervisor", seed)?;
    let deadline = Instant::now() + DEADLINE;
    let mut heard = PoolOutput::default();
    while heard.workers.is_empty() && Instant::now() < deadline {
        heard.listen(&program, Instant::now() + Duration::from_millis(1));
    }
    let moment = Duration::from_micros(dice.random_range(0..500_000));
    heard.listen(&program, Instant::now() + moment);
    let Some(supervisor) = heard.supervisor(program.pid()) else {
        round.claim(false, || "the pool has no supervisor".to_string());
        return Ok(round);
    };
    round.count("kills", u64::from(program.kill_process(supervisor)));
    while !heard.all && Instant::now() < deadline {
        heard.listen(&program, deadline);
    }
    round.claim(heard.all, || {
        format!("it hangs: no end after {} s", DEADLINE.as_secs())
    });
    heard.judge(&mut round);
    heard.claim_one_start(&mut round);
    let broken = heard.results_of("pool-broken");
    round.count("PoolBroken", broken);
    let known = heard.results_of("ok") + broken + heard.results_of("killed");
    round.claim(known == TASKS as u64, || {
        format!(
            "{} handles resolved otherwise",
            TASKS as u64 - known.min(TASKS as u64)
        )
    });
    round.claim(broken > 0, || "no handle said PoolBroken".to_string());
    if heard.all {
        watch::go_on(&mut program)?;
        let ended = watch::ends_well(&mut program, deadline)?;
        round.claim(ended, || "the application did not end well".to_string());
    }
    let gone = watch::gone_after(&program, Duration::from_secs(2));
    round.claim(gone.is_some(), || {
        format!("{} processes are left", program.running().len())
    });
    Ok(round)
}
