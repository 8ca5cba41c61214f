//! What tasks tell of the time and the memory that they took.

use std::{hint::black_box, process::Command, time::Duration};

use multiprocess::{Error, Pool, pool::Builder};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::{
    kill_myself, notes, set_notes, sleep_long,
    support::{SOON, has_program},
};

tests![
    a_task_tells_its_time_its_processor_time_and_its_peak_of_memory,
    what_a_task_took_is_not_counted_to_the_next,
    a_task_that_dies_with_its_worker_tells_what_it_took,
    what_an_initializer_took_is_not_counted_to_a_task_that_is_killed,
    a_task_that_is_tried_again_tells_what_the_last_try_took,
    each_item_of_a_map_tells_what_it_took,
    an_item_that_fails_tells_what_it_took,
    the_time_of_children_counts_and_their_memory_does_not,
    a_pool_that_does_not_measure_tells_nothing,
];

const MIB: usize = 1 << 20;

/// How long a task computes.
const BUSY: Duration = Duration::from_millis(30);

fn measured(workers: usize) -> Builder {
    Pool::builder().workers(workers).measure_usage()
}

fn cpu_time(who: UsageWho) -> Duration {
    let usage = getrusage(who).unwrap();
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros as u64)
}

/// Has so many bytes for a moment.
fn take(len: usize) -> usize {
    black_box(vec![1_u8; len]).len()
}

/// Computes for [`BUSY`], and has so many bytes for a moment.
fn work(len: usize) -> usize {
    let begin = cpu_time(UsageWho::RUSAGE_SELF);
    while cpu_time(UsageWho::RUSAGE_SELF) - begin < BUSY {}
    take(len)
}

/// What an initializer takes.
fn keep_and_work() {
    std::mem::forget(black_box(vec![1_u8; 100 * MIB]));
    work(200 * MIB);
}

/// The system counts pages in lots, and some of the memory may have been there.
#[track_caller]
fn assert_peak(peak: Option<u64>, len: usize) {
    let peak = peak.expect("this system tells it") as usize;
    let about = len.saturating_sub(2 * MIB)..len + 16 * MIB;
    assert!(about.contains(&peak), "{peak} of {len}");
}

fn a_task_tells_its_time_its_processor_time_and_its_peak_of_memory() {
    let pool = measured(1).build().unwrap();
    let task = pool.apply_async(work, 64 * MIB).unwrap();
    assert_eq!(task.get_timeout(SOON), Ok(64 * MIB));
    let usage = task.usage().expect("it is measured");
    assert!(usage.cpu >= BUSY && usage.elapsed >= BUSY, "{usage:?}");
    assert_peak(usage.peak_memory, 64 * MIB);
}

fn what_a_task_took_is_not_counted_to_the_next() {
    let pool = measured(1).initializer(keep_and_work).build().unwrap();
    let run = |function: fn(usize) -> usize, len| {
        let task = pool.apply_async(function, len).unwrap();
        task.get_timeout(SOON).unwrap();
        task.usage().expect("it is measured")
    };
    let (first, second) = (run(work, 64 * MIB), run(take, 32 * MIB));
    assert!(second.cpu < first.cpu && second.elapsed < first.elapsed);
    assert_peak(second.peak_memory, 32 * MIB);
}

fn a_task_that_dies_with_its_worker_tells_what_it_took() {
    let limit = Duration::from_millis(500);
    let deaths: [(fn(), Builder); 4] = [
        (kill_myself, measured(1)),
        (|| std::process::exit(3), measured(1)),
        (sleep_long, measured(1).task_timeout(limit)),
        (sleep_long, measured(1).max_memory_per_task(32 * MIB as u64)),
    ];
    for (number, (_, builder)) in deaths.into_iter().enumerate() {
        // What the initializer took does not count, nor what the task before took.
        let pool = builder.initializer(keep_and_work).build().unwrap();
        pool.apply(|()| take(100 * MIB), ()).ok();
        let task = |number: usize| {
            let deaths: [fn(); 3] = [kill_myself, || std::process::exit(3), sleep_long];
            work(0);
            let bytes = black_box(vec![1_u8; 64 * MIB]);
            deaths[number.min(2)]();
            bytes.len()
        };
        let task = pool.apply_async(task, number).unwrap();
        let error = task.get_timeout(SOON).expect_err("its worker dies");
        let usage = task.usage().unwrap_or_else(|| panic!("{error}"));
        assert!(
            usage.cpu >= BUSY && usage.elapsed >= BUSY,
            "{error} {usage:?}"
        );
        match error {
            // These may have been killed before they had all.
            Error::OutOfMemory { limit, .. } => assert!(usage.peak_memory >= Some(limit)),
            Error::TaskTimedOut { timeout } => assert!(usage.elapsed >= timeout),
            _ => assert_peak(usage.peak_memory, 64 * MIB),
        }
    }
}

fn what_an_initializer_took_is_not_counted_to_a_task_that_is_killed() {
    let works = || (0..20).for_each(|_| _ = work(0));
    let pool = measured(1).initializer(works).build().unwrap();
    let task = pool.apply_async(|()| kill_myself(), ()).unwrap();
    task.get_timeout(SOON).expect_err("its worker dies");
    let usage = task.usage().expect("it is measured");
    assert!(usage.cpu < 10 * BUSY, "{usage:?}");
}

fn a_task_that_is_tried_again_tells_what_the_last_try_took() {
    notes().put(&1).unwrap();
    let builder = measured(1).retries(1);
    let pool = builder
        .initializer_with(set_notes, notes().clone())
        .build()
        .unwrap();
    let dies_once = |()| match notes().try_get() {
        Ok(_) => {
            take(64 * MIB);
            kill_myself();
        }
        Err(_) => _ = take(MIB),
    };
    let task = pool.apply_async(dies_once, ()).unwrap();
    assert_eq!(task.get_timeout(SOON), Ok(()));
    assert_peak(task.usage().expect("it is measured").peak_memory, MIB);
}

fn each_item_of_a_map_tells_what_it_took() {
    let sizes = [1, 64 * MIB, 1, 32 * MIB, 1];
    // Their results lie in one message, or each in one of its own.
    let small: fn(usize) -> Vec<u8> = |len| vec![0; take(len).min(1)];
    let large: fn(usize) -> Vec<u8> = |len| vec![0; take(len).clamp(100_000, 100_001)];
    for retries in [0, 1] {
        for function in [small, large] {
            let pool = measured(1).retries(retries).build().unwrap();
            let map = pool.map_async_chunked(function, sizes, 3).unwrap();
            let results = map.get_timeout(SOON).unwrap();
            assert_eq!(results.len(), sizes.len());
            let usage = map.usage();
            assert_eq!(usage.len(), sizes.len());
            for (usage, size) in usage.into_iter().zip(sizes) {
                assert_peak(usage.expect("it is measured").peak_memory, size);
            }
        }
    }
}

fn an_item_that_fails_tells_what_it_took() {
    let pool = measured(1).build().unwrap();
    let fails = |len: usize| assert!(take(len) != 64 * MIB, "too much");
    let map = pool.map_async_chunked(fails, [1, 64 * MIB, 1], 3).unwrap();
    let failed = map.get_timeout(SOON);
    assert!(matches!(failed, Err(Error::MapFailed { item: 1, .. })));
    let usage = map.usage();
    assert_peak(usage[1].expect("it ran").peak_memory, 64 * MIB);
    assert_eq!((usage[0].is_some(), usage[2]), (true, None));
    let task = pool.apply_async(fails, 64 * MIB).unwrap();
    assert!(matches!(task.get(), Err(Error::Panicked { .. })));
    assert_peak(task.usage().expect("it ran").peak_memory, 64 * MIB);
}

fn the_time_of_children_counts_and_their_memory_does_not() {
    if !has_program("sort") {
        return;
    }
    let pool = measured(1).build().unwrap();
    // A line without an end, which is kept as a whole.
    let shell = |()| {
        let line = "head -c 64000000 /dev/zero | sort > /dev/null";
        let status = Command::new("sh").args(["-c", line]).status().unwrap();
        assert!(status.success());
        cpu_time(UsageWho::RUSAGE_CHILDREN)
    };
    let task = pool.apply_async(shell, ()).unwrap();
    let children = task.get_timeout(SOON).unwrap();
    let usage = task.usage().expect("it is measured");
    assert!(usage.cpu >= children && !children.is_zero(), "{usage:?}");
    assert_peak(usage.peak_memory, 0);
}

fn a_pool_that_does_not_measure_tells_nothing() {
    let pool = Pool::new(1).unwrap();
    let task = pool.apply_async(take, 1).unwrap();
    let map = pool.map_async(take, [1; 3]).unwrap();
    assert_eq!((task.get(), map.get()), (Ok(1), Ok(vec![1; 3])));
    assert_eq!((task.usage(), map.usage()), (None, Vec::new()));
}
