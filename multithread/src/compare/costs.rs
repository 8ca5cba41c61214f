//! What one costs: to start, in memory, and how much work all processors do.

use std::hint::black_box;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use multiprocess::{Error, Process, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use super::{Figure, Row, Way, await_joined_threads, repeat, start_thread};
use crate::workers;

/// The sizes that the program has grown to when it starts another, in MiB.
const SIZES: [usize; 4] = [0, 64, 256, 1024];

/// Starts one and joins it.
type Start = fn() -> Result<()>;

/// A size that was left out, and how much memory was free, both in MiB.
pub type LeftOut = (usize, usize);

/// The ways to start one that does nothing, and to join it: each more way is a line here, a
/// [`Way`], and a line of the cell's in the table of the notebook.
const WAYS: [(Way, Start); 4] = [
    (Way::Thread, || {
        start_thread(|| ())?.join().expect("it does nothing");
        Ok(())
    }),
    (Way::Fork, || Process::spawn(|| ())?.join()),
    (Way::Zygote, || Process::spawn_with(|()| (), ())?.join()),
    (Way::Spawn, || {
        let ended = Command::new("true").status();
        ended
            .map(drop)
            .map_err(|error| Error::os("run true", error))
    }),
];

/// How long it takes to start one that does nothing and to join it, in microseconds, while the
/// program that starts it holds nothing, 64, 256 and 1,024 MiB.
///
/// A fork grows dearer with that memory, whose page tables are copied; a thread does not, nor does
/// another program, for which no page is copied, nor a process of the zygote, which stays small:
/// that is started here, if the program has none. The program is kept on one processor meanwhile:
/// elsewhere, a busy machine would add the wait for a second one, which is no cost of any and can
/// be longer than all. A size for which the machine has not twice the memory free is left out, and
/// said in the second list.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn start_and_join(rounds: usize) -> Result<(Vec<Row>, Vec<LeftOut>)> {
    multiprocess::init()?;
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread).map_err(|errno| Error::os(PIN, errno))?;
    let mut one = CpuSet::new();
    sched_getcpu()
        .and_then(|cpu| one.set(cpu))
        .and_then(|()| sched_setaffinity(this_thread, &one))
        .map_err(|errno| Error::os(PIN, errno))?;
    let took = start_and_join_here(rounds);
    sched_setaffinity(this_thread, &all).map_err(|errno| Error::os(PIN, errno))?;
    took
}

const PIN: &str = "keep the measurement on one processor";

fn start_and_join_here(rounds: usize) -> Result<(Vec<Row>, Vec<LeftOut>)> {
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for mib in SIZES {
        let free = available_mib();
        if free < 2 * mib {
            left_out.push((mib, free));
            continue;
        }
        // Written to, so that it is there and not just promised.
        let held = black_box(vec![1_u8; mib << 20]);
        let mut took = WAYS.map(|_| Vec::new());
        // Turn by turn, so that all meet the same company on the processor.
        repeat(rounds, || {
            for ((_, start), took) in WAYS.iter().zip(&mut took) {
                await_joined_threads();
                let begun = Instant::now();
                start()?;
                took.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            Ok(())
        })?;
        drop(held);
        rows.extend(WAYS.iter().zip(took).map(|((way, _), took)| Row {
            size: mib,
            way: *way,
            figure: Figure::of(took),
        }));
    }
    rows.sort_by_key(|row| row.way);
    Ok((rows, left_out))
}

/// How much memory the machine can give without taking it from others, in MiB.
fn available_mib() -> usize {
    let known = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = known
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) / 1024
}

/// How much memory one more takes that does nothing, in kB.
///
/// For a process it is `Private_Dirty` of its `smaps_rollup`: the pages that it does not share with
/// the program it was forked from; for another program, that of `cat`, waiting. For a thread it is
/// how much the same figure grows with 32 idle threads, divided by 32, in a fresh process each
/// round, since memory of threads that ended is kept for those to come. The kernel's own memory,
/// such as page tables and kernel stacks, is in none.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn memory_of_one_more(rounds: usize) -> Result<Vec<Row>> {
    await_joined_threads();
    let in_a_process = |program: fn() -> io::Result<u64>| -> Result<u64> {
        // An io::Error cannot leave its process, ours can.
        let one = Process::spawn(move || program().map_err(|error| Error::os(MEMORY, error)))?;
        one.join().flatten()
    };
    let of_cat = || memory_of_cat().map_err(|error| Error::os(MEMORY, error));
    let measure = |way, measure: &dyn Fn() -> Result<u64>| {
        let mut found = Vec::new();
        repeat(rounds, || {
            found.push(measure()? as f64);
            Ok(())
        })?;
        let figure = Figure::of(found);
        Ok::<_, Error>(Row {
            size: 1,
            way,
            figure,
        })
    };
    Ok(vec![
        measure(Way::Thread, &|| in_a_process(memory_of_one_more_thread))?,
        measure(Way::Fork, &|| in_a_process(|| private_dirty_kb("self")))?,
        measure(Way::Spawn, &of_cat)?,
    ])
}

const MEMORY: &str = "measure the memory of a process";

/// The memory of a program that has started and waits: `cat`, after it has given back a byte.
fn memory_of_cat() -> io::Result<u64> {
    let mut cat = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut given = cat.stdin.take().expect("it is piped");
    let mut back = cat.stdout.take().expect("it is piped");
    let waits = given
        .write_all(b"a")
        .and_then(|()| back.read_exact(&mut [0]));
    let found = waits.and_then(|()| private_dirty_kb(&cat.id().to_string()));
    drop(given);
    cat.wait()?;
    found
}

fn memory_of_one_more_thread() -> io::Result<u64> {
    const THREADS: u64 = 32;
    let (started, done) = (AtomicU64::new(0), RwLock::new(()));
    // The first look allocates what the second will use again.
    private_dirty_kb("self")?;
    let before = private_dirty_kb("self")?;
    let after = thread::scope(|scope| {
        // They end when it is dropped, also if one of them cannot be started.
        let _not_yet = done.write();
        let idle = || {
            started.fetch_add(1, Relaxed);
            drop(done.read());
        };
        for _ in 0..THREADS {
            thread::Builder::new().spawn_scoped(scope, idle)?;
        }
        while started.load(Relaxed) < THREADS {
            thread::yield_now();
        }
        private_dirty_kb("self")
    })?;
    Ok(after.saturating_sub(before) / THREADS)
}

/// The memory that a process alone has written to, in kB.
fn private_dirty_kb(pid: &str) -> io::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path)?;
    let mut words = rollup.split_whitespace();
    words
        .find(|word| *word == "Private_Dirty:")
        .and_then(|_| words.next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{path} does not say Private_Dirty")))
}

/// How much more work gets done by as many threads or processes as there are processors than by
/// one thread alone, in the same time; the size of each row is how many that are.
///
/// 2.00 is twice the work. The threads are [`workers`], the processes are forked; starting and
/// joining them is part of the time. In Python threads stay near 1, for the interpreter's lock.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn cpu_work(rounds: usize) -> Result<Vec<Row>> {
    let at_once = thread::available_parallelism()
        .map_err(|error| Error::os("count the processors to work on", error))?;
    let (mut by_threads, mut by_processes) = (Vec::new(), Vec::new());
    repeat(rounds, || {
        let begun = Instant::now();
        crunch();
        let alone = begun.elapsed();
        let times =
            |took: Duration| alone.as_secs_f64() * at_once.get() as f64 / took.as_secs_f64();

        await_joined_threads();
        let begun = Instant::now();
        let started: Result<Vec<_>> = (0..at_once.get()).map(|_| Process::spawn(crunch)).collect();
        for process in started? {
            process.join()?;
        }
        by_processes.push(times(begun.elapsed()));

        let begun = Instant::now();
        workers::map(at_once, 0..at_once.get(), |_| crunch())
            .map_err(|error| Error::os("start a thread", error))?;
        by_threads.push(times(begun.elapsed()));
        Ok(())
    })?;
    let row = |way, found| Row {
        size: NonZero::get(at_once),
        way,
        figure: Figure::of(found),
    };
    Ok(vec![
        row(Way::Thread, by_threads),
        row(Way::Fork, by_processes),
    ])
}

/// Some milliseconds of work that needs nothing but a processor (a xorshift generator).
fn crunch() {
    let mut x = black_box(1_u64);
    for _ in 0..10_000_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_to_is_counted_as_private() {
        let before = private_dirty_kb("self").expect("/proc is mounted");
        let written = black_box(vec![1_u8; 64 << 20]);
        let after = private_dirty_kb("self").expect("/proc is mounted");
        // Other tests may free some of theirs meanwhile.
        assert!(after - before > 60_000, "{before} kB, then {after} kB");
        drop(written);
    }
}
