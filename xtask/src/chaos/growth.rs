//! A server's day in some seconds: what a pool takes in the evening is what it took in the morning.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::program::Program;
use multiprocess::{Error, Pool};

use super::Round;
use super::watch;

const WORKERS: usize = 4;
const HOURS: usize = 24;
const LARGE: usize = 64 << 20;
const SMALL_TASKS: u64 = 100_000;
const HANDLES_DROPPED: u64 = 2_000;
const WORKERS_REPLACED: u32 = 130;
const DEADLINE: Duration = Duration::from_secs(300);
/// After so many hours each process has what it keeps.
const WARM: usize = 4;
/// An allocator keeps some memory, one time more and one time less.
const SLACK: u64 = 4 << 20;
/// What a pool's two queues keep, whatever went through them: each 8 MiB and a little of its rings, and
/// 8 MiB that it lends.
const SHARED_MAX: u64 = 34 << 20;

/// Says when the pool is warm and when the day is over, and waits each time until it is looked at.
pub(super) fn program(_seed: u64) -> anyhow::Result<()> {
    let pool = Pool::new(WORKERS)?;
    for hour in 1..=HOURS {
        work_an_hour(&pool).with_context(|| format!("hour {hour}"))?;
        if hour == WARM || hour == HOURS {
            wait_for_workers(&pool)?;
            println!("measure");
            std::io::stdin().read_line(&mut String::new())?;
        }
    }
    println!("tasks {}", pool.progress().total);
    pool.join()?;
    Ok(())
}

fn work_an_hour(pool: &Pool) -> anyhow::Result<()> {
    let large = pool.apply(|text: String| text, "x".repeat(LARGE))?;
    ensure!(large.len() == LARGE, "a large item came back as another");
    let squares = pool.map(|n: u64| n * n, 0..SMALL_TASKS)?;
    ensure!(
        squares.into_iter().eq((0..SMALL_TASKS).map(|n| n * n)),
        "a map has wrong results"
    );
    for n in 0..HANDLES_DROPPED {
        drop(pool.apply_async(|n: u64| vec![n; 1000], n)?);
    }
    let ends = pool.imap_unordered(
        |code: i32| std::process::exit(code),
        vec![1; WORKERS_REPLACED as usize],
    );
    for end in ends {
        ensure!(
            matches!(end, Err::<(), _>(Error::Exited { code: 1, .. })),
            "a worker's exit was told as {end:?}"
        );
    }
    Ok(())
}

fn wait_for_workers(pool: &Pool) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while pool.worker_pids().len() < WORKERS {
        ensure!(Instant::now() < deadline, "workers are missing");
        thread::sleep(Duration::from_millis(1));
    }
    // Each has begun to work, so that none is still a copy of the supervisor.
    let task = |n: u64| {
        thread::sleep(Duration::from_millis(20));
        n
    };
    pool.map_chunked(task, 0..4 * WORKERS as u64, 1)?;
    Ok(())
}

/// What all processes of the program take.
#[derive(Debug)]
struct Taken {
    processes: u64,
    descriptors: u64,
    own_memory: u64,
    shared_memory: u64,
}

fn taken(program: &Program) -> Taken {
    let pids = program.running();
    let files = |pid: i32| {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
    };
    let shared = files(program.pid()).filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        let is_memory = target.to_string_lossy().starts_with("/memfd:");
        let blocks = fs::metadata(file.path())
            .ok()
            .filter(|_| is_memory)?
            .blocks();
        Some(blocks * 512)
    });
    Taken {
        processes: pids.len() as u64,
        descriptors: pids.iter().map(|&pid| files(pid).count() as u64).sum(),
        own_memory: pids.iter().map(|&pid| own_memory(pid)).sum(),
        shared_memory: shared.sum(),
    }
}

/// The memory of a process that is not shared with a file, in bytes.
fn own_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

pub(super) fn judge(seed: u64) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let mut program = watch::start("growth", seed)?;
    let deadline = Instant::now() + DEADLINE;
    let mut measured = Vec::new();
    let mut tasks = None;
    while let Ok(line) = program.line(deadline) {
        if line == "measure" {
            measured.push(taken(&program));
            watch::go_on(&mut program)?;
        } else if let Some(count) = line.strip_prefix("tasks ") {
            tasks = count.parse().ok();
        }
    }
    let ended = watch::ends_well(&mut program, deadline)?;
    round.claim(ended, || "the program did not end well".to_string());
    let ([before, after], Some(tasks)) = (measured.as_slice(), tasks) else {
        round.claim(false, || "the day did not come to its end".to_string());
        return Ok(round);
    };
    round.count("tasks", tasks);
    round.count(
        "workers replaced",
        u64::from(WORKERS_REPLACED) * HOURS as u64,
    );
    round.count("MiB of its own", after.own_memory >> 20);
    round.count("MiB shared", after.shared_memory >> 20);
    let mut compare = |what: &str, before: u64, after: u64, slack: u64| {
        round.claim(after <= before + before / 10 + slack, || {
            format!("{before} {what} became {after}")
        });
    };
    compare("processes", before.processes, after.processes, 0);
    compare("descriptors", before.descriptors, after.descriptors, 0);
    compare(
        "bytes of memory",
        before.own_memory,
        after.own_memory,
        SLACK,
    );
    round.claim(after.shared_memory <= SHARED_MAX, || {
        format!("the queues keep {} bytes", after.shared_memory)
    });
    Ok(round)
}
