//! Threads against processes, measured: chapter 4, a heading without a cell in the notebook.
//!
//! Each function measures one difference on this machine, now, with threads of std and with forked
//! processes of [`multiprocess`]. A figure is the median of several rounds, so that a round in which
//! something else had the processor does not decide.
//!
//! All of them fork, and so must be called while the program has one thread; threads that were
//! joined do not count.
//!
//! # Errors
//!
//! Every function fails with [`Error::Threaded`] when the program has other threads, with
//! [`Error::Os`] when the system refuses a thread, a process or a look into `/proc`, and with what
//! [`Process::join`] says of a process that something else ended.

use std::fmt;
use std::hint::black_box;
use std::num::NonZero;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, panic, process, thread};

use multiprocess::{Error, Process, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::workers;

/// What was found for a thread and for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Both<T> {
    /// For a thread.
    pub thread: T,
    /// For a forked process.
    pub process: T,
}

impl<T> Both<T> {
    /// Both, each put through `f`.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Both<U> {
        Both {
            thread: f(self.thread),
            process: f(self.process),
        }
    }
}

/// What a failure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Not even the thread or process that it happened in.
    Nothing,
    /// The thread or process that it happened in; whoever joined it was told, and went on.
    Itself,
    /// The whole program, with whoever would have joined.
    All,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ends::Nothing => "nothing",
            Ends::Itself => "itself",
            Ends::All => "all",
        })
    }
}

/// How long it takes to start one that does nothing, and to join it.
///
/// A process grows dearer with the memory of the program that forks, whose page tables are copied;
/// a thread does not. This measures the small program that it is called in, kept on one processor
/// meanwhile: elsewhere, a busy machine would add the wait for a second one, which is no cost of
/// either and can be longer than both.
///
/// # Errors
///
/// See the [module](self#errors).
pub fn start_and_join() -> Result<Both<Duration>> {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread).map_err(|errno| os(PIN, errno.into()))?;
    let mut one = CpuSet::new();
    sched_getcpu()
        .and_then(|cpu| one.set(cpu))
        .and_then(|()| sched_setaffinity(this_thread, &one))
        .map_err(|errno| os(PIN, errno.into()))?;
    let took = start_and_join_here();
    sched_setaffinity(this_thread, &all).map_err(|errno| os(PIN, errno.into()))?;
    took
}

const PIN: &str = "keep the measurement on one processor";

fn start_and_join_here() -> Result<Both<Duration>> {
    let mut took = Both {
        thread: Vec::new(),
        process: Vec::new(),
    };
    // Turn by turn, so that both meet the same company on the processors.
    for _ in 0..51 {
        await_joined_threads();
        let begun = Instant::now();
        Process::spawn(|| ())?.join()?;
        took.process.push(begun.elapsed());

        let begun = Instant::now();
        start_thread(|| ())?.join().expect("it does nothing");
        took.thread.push(begun.elapsed());
    }
    Ok(took.map(|rounds| median(rounds, Duration::cmp)))
}

/// How much memory one more takes that does nothing, in kB.
///
/// For a process it is `Private_Dirty` of its own `/proc/self/smaps_rollup`: the pages that it does
/// not share with the program it was forked from. For a thread it is how much the same figure grows
/// with 32 idle threads, divided by 32, in a fresh process each round, since memory of threads that
/// ended is kept for those to come. The kernel's own memory, such as page tables and kernel stacks,
/// is in neither.
///
/// # Errors
///
/// See the [module](self#errors).
pub fn memory_of_one_more() -> Result<Both<u64>> {
    await_joined_threads();
    let measure = |program: fn() -> io::Result<u64>| -> Result<u64> {
        let mut rounds = Vec::new();
        for _ in 0..7 {
            // An io::Error cannot leave its process, but what it says can.
            let one = Process::spawn(move || program().map_err(|error| error.to_string()))?;
            rounds.push(one.join()?.map_err(|said| Error::Os {
                attempt: "measure the memory of a process".to_owned(),
                source: io::Error::other(said),
            })?);
        }
        Ok(median(rounds, u64::cmp))
    };
    Ok(Both {
        thread: measure(memory_of_one_more_thread)?,
        process: measure(private_dirty_kb)?,
    })
}

fn memory_of_one_more_thread() -> io::Result<u64> {
    const THREADS: u64 = 32;
    let idle = Barrier::new(THREADS as usize + 1);
    // The first look allocates what the second will use again.
    private_dirty_kb()?;
    let before = private_dirty_kb()?;
    let after = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                idle.wait();
                idle.wait();
            });
        }
        idle.wait();
        let after = private_dirty_kb();
        idle.wait();
        after
    })?;
    Ok(after.saturating_sub(before) / THREADS)
}

/// The memory that this process alone has written to, in kB.
fn private_dirty_kb() -> io::Result<u64> {
    let path = "/proc/self/smaps_rollup";
    let rollup = fs::read_to_string(path)?;
    let mut words = rollup.split_whitespace();
    words
        .find(|word| *word == "Private_Dirty:")
        .and_then(|_| words.next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{path} does not say Private_Dirty")))
}

/// How much more work gets done by as many threads or processes as there are processors than by
/// one thread alone, in the same time; and how many that are.
///
/// 2.00 is twice the work. The threads are [`workers`], the processes are forked; starting and
/// joining them is part of the time. In Python threads stay near 1, for the interpreter's lock.
///
/// # Errors
///
/// See the [module](self#errors).
pub fn cpu_work() -> Result<(NonZero<usize>, Both<f64>)> {
    let at_once = thread::available_parallelism()
        .map_err(|error| os("count the processors to work on", error))?;
    let mut speed_up = Both {
        thread: Vec::new(),
        process: Vec::new(),
    };
    for _ in 0..7 {
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
        speed_up.process.push(times(begun.elapsed()));

        let begun = Instant::now();
        workers::map(at_once, 0..at_once.get(), |_| crunch())
            .map_err(|error| os("start a thread", error))?;
        speed_up.thread.push(times(begun.elapsed()));
    }
    Ok((
        at_once,
        speed_up.map(|rounds| median(rounds, f64::total_cmp)),
    ))
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

/// Whether the program sees what one writes to a `static`.
///
/// # Errors
///
/// See the [module](self#errors).
///
/// # Examples
///
/// ```standalone_crate
/// let seen = multithread::compare::a_write_is_seen()?;
/// assert!(seen.thread);
/// assert!(!seen.process, "a process writes to a copy");
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn a_write_is_seen() -> Result<Both<bool>> {
    static WRITTEN: AtomicBool = AtomicBool::new(false);
    let write = || WRITTEN.store(true, Ordering::Relaxed);

    await_joined_threads();
    WRITTEN.store(false, Ordering::Relaxed);
    Process::spawn(write)?.join()?;
    let process = WRITTEN.swap(false, Ordering::Relaxed);
    start_thread(write)?.join().expect("a store does not panic");
    let thread = WRITTEN.load(Ordering::Relaxed);
    Ok(Both { thread, process })
}

/// What a panic in one ends.
///
/// The panic happens in a program forked for it, whose panic hook is silent: nothing is printed,
/// and the caller's hook stays. In a build with `panic = "abort"` a panic in a thread ends all.
///
/// # Errors
///
/// See the [module](self#errors).
///
/// # Examples
///
/// ```standalone_crate
/// use multithread::compare::{self, Ends};
///
/// let panic = compare::a_panic_ends()?;
/// assert_eq!(panic.thread, Ends::Itself);
/// assert_eq!(panic.process, Ends::Itself);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn a_panic_ends() -> Result<Both<Ends>> {
    ends(|| panic!("wanted"))
}

/// What an abort in one ends, as a crash in C code would: [`std::process::abort`].
///
/// It happens in a program forked for it, which leaves no core dump.
///
/// # Errors
///
/// See the [module](self#errors).
///
/// # Examples
///
/// ```standalone_crate
/// use multithread::compare::{self, Ends};
///
/// let abort = compare::an_abort_ends()?;
/// assert_eq!(abort.thread, Ends::All);
/// assert_eq!(abort.process, Ends::Itself);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn an_abort_ends() -> Result<Both<Ends>> {
    ends(|| process::abort())
}

/// Lets `fail` happen in a thread and in a process of a program that joins them.
fn ends(fail: fn()) -> Result<Both<Ends>> {
    await_joined_threads();
    Ok(Both {
        thread: program_ends(move || start_thread(fail).map(|thread| thread.join().is_err()))?,
        process: program_ends(move || Process::spawn(fail).map(|process| process.join().is_err()))?,
    })
}

/// Runs a program that says whether its join failed, and sees whether it comes to say so.
fn program_ends(program: impl FnOnce() -> Result<bool>) -> Result<Ends> {
    let program = Process::spawn(|| {
        panic::set_hook(Box::new(|_| {}));
        // Where it cannot be had, a core dump is untidy and no more.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        program().map_err(|error| error.to_string())
    })?;
    match program.join() {
        Ok(Ok(true)) => Ok(Ends::Itself),
        Ok(Ok(false)) => Ok(Ends::Nothing),
        Ok(Err(said)) => Err(os(
            "start a thread or a process that fails",
            io::Error::other(said),
        )),
        Err(Error::Killed { signal, .. }) if signal == Signal::SIGABRT as i32 => Ok(Ends::All),
        Err(other) => Err(other),
    }
}

fn start_thread(f: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .spawn(f)
        .map_err(|error| os("start a thread", error))
}

/// Waits until the kernel has forgotten the threads that were joined: a join returns a moment
/// earlier, and a fork in that moment would be refused. Other threads it leaves to the refusal.
fn await_joined_threads() {
    let deadline = Instant::now() + Duration::from_secs(1);
    let threads = || fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    while threads() > 1 && Instant::now() < deadline {
        thread::yield_now();
    }
}

/// The middle one; the upper middle one of an even number.
fn median<T: Copy>(mut rounds: Vec<T>, order: fn(&T, &T) -> std::cmp::Ordering) -> T {
    let middle = rounds.len() / 2;
    *rounds.select_nth_unstable_by(middle, order).1
}

fn os(attempt: &str, source: io::Error) -> Error {
    Error::Os {
        attempt: attempt.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_one_wild_round() {
        assert_eq!(median(vec![3, 1, 1000, 2, 4], i32::cmp), 3);
        assert_eq!(median(vec![0.5], f64::total_cmp), 0.5);
    }

    #[test]
    fn memory_that_is_written_to_is_counted_as_private() {
        let before = private_dirty_kb().expect("/proc is mounted");
        let written = black_box(vec![1_u8; 64 << 20]);
        let after = private_dirty_kb().expect("/proc is mounted");
        // Other tests may free some of theirs meanwhile.
        assert!(after - before > 60_000, "{before} kB, then {after} kB");
        drop(written);
    }
}
