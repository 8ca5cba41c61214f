//! The pool's promises. Each test is a program of its own that may be killed.

use std::{
    os::unix::process::CommandExt,
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use multiprocess::{AsyncResult, Pool, Queue, pool::Builder};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::RngExt;

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// Results as futures.
mod futures;
// What holds when somebody is killed.
mod killed;
// What is large.
mod large;
// What becomes of the items of a map.
mod map;
// Maps that nobody has to wait for.
mod map_async;
// What becomes of tasks that take memory.
mod memory;
// What is told of those whom the system has killed for want of memory.
mod oom;
// A pool that grows and shrinks.
mod resize;
// What a pool takes.
mod resources;
// Results as a stream.
mod stream;
// What tasks take.
mod usage;
// What becomes of tasks.
mod tasks;
// What is said of tasks that nobody asks for.
mod unheard;
// What holds when a worker is killed between two stores, at each.
#[cfg(feature = "kill-points")]
mod steps;

use support::SOON;

fn main() {
    let tests = [
        futures::TESTS,
        killed::TESTS,
        large::TESTS,
        map::TESTS,
        map_async::TESTS,
        memory::TESTS,
        oom::TESTS,
        resize::TESTS,
        resources::TESTS,
        stream::TESTS,
        tasks::TESTS,
        unheard::TESTS,
        usage::TESTS,
    ];
    let at_kill_points: &[&[_]] = &[
        #[cfg(feature = "kill-points")]
        steps::TESTS,
    ];
    // With the feature, those that need it. The others are run as users have the crate.
    match at_kill_points {
        [] => support::main(&tests.concat()),
        _ => support::main(&at_kill_points.concat()),
    }
}

/// What tasks tell, since they capture nothing. The workers of a pool [`with_notes`] have it as well.
static NOTES: OnceLock<Queue<u32>> = OnceLock::new();

/// What tasks take, one each, likewise.
static TOKENS: OnceLock<Queue<u32>> = OnceLock::new();

pub(crate) fn notes() -> &'static Queue<u32> {
    NOTES.get_or_init(|| Queue::new().expect("there is memory"))
}

/// In a worker whose initializer was given them.
pub(crate) fn set_notes(notes: Queue<u32>) {
    NOTES.set(notes).expect("a worker is given it once");
}

pub(crate) fn tokens() -> &'static Queue<u32> {
    TOKENS.get_or_init(|| Queue::new().expect("there is memory"))
}

pub(crate) fn with_notes(workers: usize) -> Builder {
    let set = |(notes, tokens)| {
        set_notes(notes);
        TOKENS.set(tokens).expect("a worker is given it once");
    };
    Pool::builder()
        .workers(workers)
        .initializer_with(set, (notes().clone(), tokens().clone()))
}

pub(crate) fn square(n: u64) -> u64 {
    n * n
}

pub(crate) fn healthy(pool: &Pool) {
    let numbers = pool.map_chunked(square, 0..20, 1).expect("the pool works");
    assert_eq!(numbers, (0..20).map(|n| n * n).collect::<Vec<_>>());
}

pub(crate) fn kill_myself() {
    let _ = kill(Pid::this(), Signal::SIGKILL);
    sleep_long();
}

pub(crate) fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

/// Notes itself and a child of its own, and goes on.
pub(crate) fn have_a_child() {
    have(process::Command::new("sleep").arg("600"));
}

/// As [`have_a_child`], with a child that has left its parent's process group.
pub(crate) fn have_a_stray_child() {
    have(process::Command::new("sleep").arg("600").process_group(0));
}

pub(crate) fn have(child: &mut process::Command) {
    let child = child.spawn().expect("there is a sleep").id();
    notes().put(&process::id()).expect("open");
    notes().put(&child).expect("open");
}

/// Keeps two workers busy with four tasks that do not end. Returns the processes of the pool, with
/// the children of the tasks.
pub(crate) fn keep_busy(pool: &Pool) -> ([AsyncResult<()>; 4], Vec<u32>) {
    let busy = |_: u64| {
        have_a_child();
        sleep_long();
    };
    let results = [0, 1, 2, 3].map(|n| pool.apply_async(busy, n).unwrap());
    let noted = [(); 4].map(|()| notes().get_timeout(SOON).unwrap());
    let mut pids = noted.to_vec();
    pids.push(pool.supervisor_pid());
    (results, pids)
}

/// The workers, all of them forked.
pub(crate) fn workers(pool: &Pool) -> Vec<u32> {
    let deadline = Instant::now() + SOON;
    while pool.worker_pids().len() < pool.workers() {
        assert!(Instant::now() < deadline, "the workers do not start");
        thread::sleep(Duration::from_millis(1));
    }
    pool.worker_pids()
}

/// Runs `work` while a random worker is killed again and again; returns how many were.
pub(crate) fn under_fire(pool: &Pool, every: Duration, work: impl FnOnce()) -> u32 {
    let (over, kills) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = rand::rng();
            while !over.load(SeqCst) {
                thread::sleep(every);
                let pids = pool.worker_pids();
                if let Some(&pid) = pids.get(random.random_range(0..pids.len().max(1)))
                    && kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_ok()
                {
                    kills.fetch_add(1, SeqCst);
                }
            }
        });
        // Else a failed claim would wait for this thread for ever.
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        over.store(true, SeqCst);
        done.unwrap_or_else(|failed| panic::resume_unwind(failed));
    });
    kills.into_inner()
}
