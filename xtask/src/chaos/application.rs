//! The application is killed while its workers are busy and have children of their own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::Context;
use multiprocess::Pool;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Round;
use super::watch;

const WORKERS: usize = 4;
const PROMISED: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn program(_seed: u64) -> anyhow::Result<()> {
    let pool = Pool::new(WORKERS)?;
    for task in 0..WORKERS {
        pool.apply_async(busy, task)?;
    }
    pool.join().context("the tasks do not end")
}

/// A child that sleeps, and a worker that works.
fn busy(_task: usize) {
    // A task that has no child is not what the judge waits for, and it says so.
    if Command::new("sleep").arg("600").spawn().is_ok() {
        println!("busy");
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        std::hint::spin_loop();
    }
}

pub(super) fn judge(seed: u64) -> anyhow::Result<Round> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut round = Round::default();
    let before = shared_memory()?;
    let mut program = watch::start("application", seed)?;
    let deadline = Instant::now() + DEADLINE;
    for started in 0..WORKERS {
        if program.line(deadline).is_err() {
            round.claim(false, || {
                format!("only {started} of {WORKERS} tasks started")
            });
            return Ok(round);
        }
    }
    thread::sleep(Duration::from_micros(dice.random_range(0..20_000)));
    round.count("processes", program.running().len() as u64);
    program.kill().context("kill the program")?;
    let gone = watch::gone_after(&program, PROMISED);
    match gone {
        Some(took) => round.count("ms until all were gone", took.as_millis() as u64),
        None => {
            let left = program.running().len();
            round.count("processes left", left as u64);
            round.claim(false, || {
                format!("{left} processes run {} ms later", PROMISED.as_millis())
            });
        }
    }
    drop(program);
    let after = shared_memory()?;
    let left: Vec<_> = after.difference(&before).collect();
    round.claim(left.is_empty(), || format!("left in /dev/shm: {left:?}"));
    Ok(round)
}

fn shared_memory() -> anyhow::Result<BTreeSet<OsString>> {
    let names = fs::read_dir("/dev/shm").and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()
    });
    names.context("list /dev/shm")
}
