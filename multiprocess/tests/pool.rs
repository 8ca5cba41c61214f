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

use multiprocess::{Error, Pool, Queue, Result, pool::Builder};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::RngExt;
use serde::{Deserialize, Deserializer, Serialize};

#[macro_use]
mod support;

use support::{Child, NOW, SOON, all_end, is_gone};

tests![
    r01_a_worker_killed_with_a_task_is_reported_and_no_other_task_notices,
    r02_a_killed_idle_worker_is_noticed_by_nobody,
    r14_a_result_that_does_not_deserialise_fails_alone,
    r15_a_task_that_exits_is_reported_with_its_code,
    r17_of_ten_tasks_one_of_which_kills_its_worker_nine_succeed,
    r18_a_task_over_its_time_is_killed_with_its_children,
    r19_an_initializer_that_fails_fails_the_pool_with_its_reason,
    r21_an_endless_iterator_is_taken_only_as_far_as_needed,
    r22_a_task_may_have_a_pool_of_its_own,
    r27_a_worker_killed_while_sending_a_large_result_is_no_obstacle,
    r29_a_killed_application_takes_busy_workers_and_their_children_along,
    r30_a_timeout_ends_the_wait_although_the_task_runs_on,
    a_panic_comes_back_with_its_message_and_place,
    a_cancelled_task_that_waits_is_not_begun,
    a_cancelled_task_that_runs_is_killed,
    a_worker_is_replaced_after_its_number_of_tasks,
    a_task_that_kills_its_worker_once_is_tried_again,
    retries_have_an_end,
    threads_share_a_pool,
    join_waits_for_every_task_and_leaves_no_process,
    terminate_cancels_what_is_not_done_and_leaves_no_process,
    a_forked_copy_of_the_handle_does_nothing,
    every_outcome_is_counted_once,
    of_200_tasks_under_fire_each_has_one_outcome,
    with_retries_200_of_200_tasks_under_fire_succeed,
    a_storm_of_kills_between_small_tasks_loses_and_doubles_none,
    a_killed_supervisor_breaks_every_handle_and_leaves_no_process,
];

fn main() {
    support::main(TESTS)
}

/// What tasks tell, since they capture nothing. The workers of a pool [`with_notes`] have it as well.
static NOTES: OnceLock<Queue<u32>> = OnceLock::new();

fn notes() -> &'static Queue<u32> {
    NOTES.get_or_init(|| Queue::new().expect("there is memory"))
}

fn with_notes(workers: usize) -> Builder {
    let set = |queue| NOTES.set(queue).expect("a worker is given it once");
    Pool::builder()
        .workers(workers)
        .initializer_with(set, notes().clone())
}

fn square(n: u64) -> u64 {
    n * n
}

fn healthy(pool: &Pool) {
    let numbers = pool.map_chunked(square, 0..20, 1).expect("the pool works");
    assert_eq!(numbers, (0..20).map(|n| n * n).collect::<Vec<_>>());
}

fn kill_myself() {
    let _ = kill(Pid::this(), Signal::SIGKILL);
    sleep_long();
}

fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

/// Notes itself and a child of its own, and goes on.
fn have_a_child() {
    have(process::Command::new("sleep").arg("600"));
}

/// As [`have_a_child`], with a child that has left its parent's process group.
fn have_a_stray_child() {
    have(process::Command::new("sleep").arg("600").process_group(0));
}

fn have(child: &mut process::Command) {
    let child = child.spawn().expect("there is a sleep").id();
    notes().put(&process::id()).expect("open");
    notes().put(&child).expect("open");
}

/// The workers, all of them forked.
fn workers(pool: &Pool) -> Vec<u32> {
    let deadline = Instant::now() + SOON;
    while pool.worker_pids().len() < pool.workers() {
        assert!(Instant::now() < deadline, "the workers do not start");
        thread::sleep(Duration::from_millis(1));
    }
    pool.worker_pids()
}

/// Runs `work` while a random worker is killed again and again; returns how many were.
fn under_fire(pool: &Pool, every: Duration, work: impl FnOnce()) -> u32 {
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

fn r01_a_worker_killed_with_a_task_is_reported_and_no_other_task_notices() {
    let pool = Pool::new(2).unwrap();
    let task = |n: u64| {
        if n == 3 {
            kill_myself();
        }
        n
    };
    let outcomes: Vec<Result<u64>> = pool.imap(task, 0..10).collect();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, n as u64),
            Err(error) => assert!(n == 3 && matches!(error, Error::Killed { signal: 9, .. })),
        }
    }
    assert!(matches!(
        pool.map(task, 0..10),
        Err(Error::Killed { signal: 9, .. })
    ));
    healthy(&pool);
}

fn r02_a_killed_idle_worker_is_noticed_by_nobody() {
    let pool = Pool::new(1).unwrap();
    for n in 0..50 {
        let pid = workers(&pool)[0];
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        let next = pool.apply_async(square, n).unwrap();
        match next.get_timeout(SOON) {
            Ok(value) => assert_eq!(value, n * n),
            // It was quicker than the signal.
            Err(Error::Killed { pid: dead, .. }) => assert_eq!(dead, pid),
            Err(error) => panic!("{error}"),
        }
        all_end(&[pid]);
    }
    healthy(&pool);
}

#[derive(Debug, Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

fn r14_a_result_that_does_not_deserialise_fails_alone() {
    let pool = Pool::new(2).unwrap();
    let good = pool.apply_async(square, 4).unwrap();
    let bad = pool.apply_async(OneWay, 1).unwrap();
    assert!(matches!(bad.get(), Err(Error::Serial { .. })));
    assert_eq!(good.get().unwrap(), 16);
    healthy(&pool);
}

fn r15_a_task_that_exits_is_reported_with_its_code() {
    let pool = Pool::new(2).unwrap();
    let good = pool.apply_async(square, 4).unwrap();
    let bad = pool
        .apply_async(|code: i32| process::exit(code), 3)
        .unwrap();
    assert!(matches!(bad.get(), Err::<(), _>(Error::Exited { code: 3 })));
    assert_eq!(good.get().unwrap(), 16);
    healthy(&pool);
}

/// Python's `ProcessPoolExecutor`: eight of ten are lost, and it takes no more.
fn r17_of_ten_tasks_one_of_which_kills_its_worker_nine_succeed() {
    let pool = Pool::new(2).unwrap();
    let task = |n: u64| {
        if n == 1 {
            kill_myself();
        }
        n
    };
    let results: Vec<_> = (0..10)
        .map(|n| pool.apply_async(task, n).unwrap())
        .collect();
    for (n, result) in results.iter().enumerate() {
        match result.get_timeout(SOON) {
            Ok(value) => assert_eq!(value, n as u64),
            Err(error) => assert!(n == 1 && matches!(error, Error::Killed { signal: 9, .. })),
        }
    }
    assert_eq!(pool.apply(task, 11).unwrap(), 11);
    healthy(&pool);
}

fn r18_a_task_over_its_time_is_killed_with_its_children() {
    let timeout = Duration::from_millis(300);
    let pool = with_notes(1).task_timeout(timeout).build();
    let pool = pool.unwrap();
    let endless = |()| {
        have_a_child();
        sleep_long();
    };
    let late = pool.apply_async(endless, ()).unwrap();
    let next = pool.apply_async(square, 4).unwrap();
    assert!(matches!(late.get_timeout(NOW), Err(Error::TimedOut)));
    assert!(matches!(
        late.get_timeout(SOON),
        Err(Error::TaskTimedOut { .. })
    ));
    assert_eq!(next.get_timeout(SOON).unwrap(), 16);
    let pids = [(); 2].map(|()| notes().get_timeout(SOON).unwrap());
    all_end(&pids);
    healthy(&pool);
}

fn r19_an_initializer_that_fails_fails_the_pool_with_its_reason() {
    let failing = |notes: Queue<u32>| {
        notes.put(&1).unwrap();
        panic!("no database")
    };
    let builder = Pool::builder().workers(2);
    let pool = builder.initializer_with(failing, notes().clone()).build();
    let pool = pool.unwrap();
    let result = pool.apply_async(square, 4).unwrap();
    let Err(Error::InitializerFailed { tries: 3, reason }) = result.get_timeout(SOON) else {
        panic!("another outcome");
    };
    assert!(reason.contains("no database"), "{reason}");
    assert!(matches!(
        pool.apply(square, 4),
        Err(Error::InitializerFailed { .. })
    ));
    // Two that fail, the two in their places, and none after the third failure.
    let started = notes().len();
    assert!((3..=4).contains(&started), "{started} were started");
    let good = Pool::builder().workers(2).initializer(|| ()).build();
    healthy(&good.unwrap());
}

fn r21_an_endless_iterator_is_taken_only_as_far_as_needed() {
    let pool = Pool::new(2).unwrap();
    for ordered in [true, false] {
        let mut taken = 0;
        let endless = (0..).inspect(|_| taken += 1);
        if ordered {
            assert!(pool.imap(square, endless).take(100).all(|r| r.is_ok()));
        } else {
            let mut squares = pool.imap_unordered(square, endless).take(100);
            assert!(squares.all(|r| r.is_ok()));
        }
        assert!((100..=110).contains(&taken), "{taken} for 100");
    }
    healthy(&pool);
}

fn r22_a_task_may_have_a_pool_of_its_own() {
    let pool = Pool::new(2).unwrap();
    let sum = |n: u64| {
        let inner = Pool::new(2).unwrap();
        inner.map(square, 0..n).unwrap().into_iter().sum::<u64>()
    };
    assert_eq!(pool.map_chunked(sum, [3, 4, 5], 1).unwrap(), [5, 14, 30]);
}

fn r27_a_worker_killed_while_sending_a_large_result_is_no_obstacle() {
    let pool = Pool::new(2).unwrap();
    let large = |n: u8| vec![n; 8 << 20];
    under_fire(&pool, Duration::from_millis(15), || {
        let mut outcomes = 0;
        for (n, outcome) in pool.imap(large, 0..60).enumerate() {
            match outcome {
                Ok(bytes) => assert_eq!(bytes, vec![n as u8; 8 << 20]),
                Err(Error::Killed { signal: 9, .. }) => {}
                Err(error) => panic!("{error}"),
            }
            outcomes += 1;
        }
        assert_eq!(outcomes, 60);
    });
    healthy(&pool);
}

fn r29_a_killed_application_takes_busy_workers_and_their_children_along() {
    // Made here, so that the application has the same.
    notes();
    let application = Child::fork(|| {
        let pool = with_notes(2).build().unwrap();
        let busy = |_: u64| {
            have_a_stray_child();
            sleep_long();
        };
        notes().put(&pool.supervisor_pid()).unwrap();
        pool.map_chunked(busy, 0..2, 1).unwrap();
    });
    let pids = [(); 5].map(|()| notes().get_timeout(SOON).unwrap());
    assert!(!pids.iter().any(|&pid| is_gone(pid)));
    application.kill();
    all_end(&pids);
}

/// Python's `ProcessPoolExecutor`: at the end of the block it waits for the task.
fn r30_a_timeout_ends_the_wait_although_the_task_runs_on() {
    fn in_a_block() -> Result<()> {
        let pool = with_notes(1).build()?;
        let endless = |()| {
            have_a_child();
            sleep_long();
        };
        let result = pool.apply_async(endless, ())?;
        result.get_timeout(NOW)
    }
    let begin = Instant::now();
    assert!(matches!(in_a_block(), Err(Error::TimedOut)));
    // The task sleeps for ten minutes.
    assert!(begin.elapsed() < SOON);
    // It may have been ended before it began.
    let pids: Vec<u32> = std::iter::from_fn(|| notes().try_get().ok()).collect();
    all_end(&pids);
}

fn a_panic_comes_back_with_its_message_and_place() {
    let pool = Pool::new(1).unwrap();
    let line = line!() + 1;
    let outcome = pool.apply(|n: u64| -> u64 { panic!("{n} is too many") }, 9);
    let Err(Error::Panicked { message, location }) = outcome else {
        panic!("another outcome");
    };
    assert_eq!(message, "9 is too many");
    assert!(location.contains(&format!("pool.rs:{line}:")), "{location}");
    healthy(&pool);
}

fn a_cancelled_task_that_waits_is_not_begun() {
    let pool = with_notes(1).build().unwrap();
    let pause = |()| {
        notes().put(&0).unwrap();
        thread::sleep(Duration::from_millis(100));
    };
    let first = pool.apply_async(pause, ()).unwrap();
    notes().get_timeout(SOON).unwrap();
    let second = pool
        .apply_async(|n: u32| notes().put(&n).unwrap(), 7)
        .unwrap();
    assert!(second.cancel());
    assert!(!second.cancel());
    assert!(matches!(second.get(), Err(Error::Cancelled)));
    first.get().unwrap();
    healthy(&pool);
    assert!(notes().is_empty());
}

fn a_cancelled_task_that_runs_is_killed() {
    let pool = with_notes(1).build().unwrap();
    let endless = |()| {
        have_a_child();
        sleep_long();
    };
    let running = pool.apply_async(endless, ()).unwrap();
    let pids = [(); 2].map(|()| notes().get_timeout(SOON).unwrap());
    assert!(running.cancel());
    assert!(matches!(running.get(), Err(Error::Cancelled)));
    all_end(&pids);
    healthy(&pool);
}

fn a_worker_is_replaced_after_its_number_of_tasks() {
    let pool = Pool::builder().workers(1).max_tasks_per_child(2).build();
    let pids = pool.unwrap().map_chunked(|_: u8| process::id(), 0..6, 1);
    let pids = pids.unwrap();
    assert!(pids.chunks(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
    assert!(pids[0] != pids[2] && pids[2] != pids[4], "{pids:?}");
}

fn a_task_that_kills_its_worker_once_is_tried_again() {
    notes().put(&1).unwrap();
    let pool = with_notes(2).retries(1).build().unwrap();
    let once = |n: u64| {
        if n == 2 && notes().try_get().is_ok() {
            kill_myself();
        }
        n
    };
    let expected: Vec<u64> = (0..5).collect();
    assert_eq!(pool.map_chunked(once, 0..5, 1).unwrap(), expected);
    assert!(notes().is_empty());
}

fn retries_have_an_end() {
    let pool = with_notes(2).retries(2).build().unwrap();
    let poison = |()| {
        notes().put(&1).unwrap();
        kill_myself();
    };
    let outcome = pool.apply(poison, ());
    assert!(matches!(outcome, Err(Error::Killed { signal: 9, .. })));
    assert_eq!(notes().len(), 3);
    healthy(&pool);
}

fn threads_share_a_pool() {
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..300 {
                    let n = thread * 1000 + n;
                    assert_eq!(pool.apply(square, n).unwrap(), n * n);
                }
            });
        }
    });
    assert_eq!(pool.progress().done, 1200);
}

fn join_waits_for_every_task_and_leaves_no_process() {
    let pool = with_notes(3).build().unwrap();
    let mut pids = workers(&pool);
    pids.push(pool.supervisor_pid());
    for n in 0..50 {
        drop(
            pool.apply_async(|n: u32| notes().put(&n).unwrap(), n)
                .unwrap(),
        );
    }
    let last = pool.apply_async(square, 7).unwrap();
    pool.join().unwrap();
    assert_eq!(notes().len(), 50);
    assert_eq!(last.get().unwrap(), 49);
    all_end(&pids);
}

fn terminate_cancels_what_is_not_done_and_leaves_no_process() {
    let pool = with_notes(2).build().unwrap();
    let busy = |_: u64| {
        have_a_child();
        sleep_long();
    };
    let results = [0, 1, 2, 3].map(|n| pool.apply_async(busy, n).unwrap());
    let mut pids = [(); 4]
        .map(|()| notes().get_timeout(SOON).unwrap())
        .to_vec();
    pids.push(pool.supervisor_pid());
    pool.terminate();
    for result in results {
        assert!(matches!(result.get(), Err(Error::Cancelled)));
    }
    all_end(&pids);
}

fn a_forked_copy_of_the_handle_does_nothing() {
    let pool = Pool::new(2).unwrap();
    let mut copy = Some(pool);
    let child = Child::fork(|| {
        let pool = copy.take().unwrap();
        assert!(matches!(pool.apply(square, 1), Err(Error::Os { .. })));
        pool.terminate();
    });
    child.succeed();
    healthy(copy.as_ref().unwrap());
}

fn every_outcome_is_counted_once() {
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..100).unwrap();
    drop(pool.apply(|()| kill_myself(), ()));
    let cancelled = pool.apply_async(|()| sleep_long(), ()).unwrap();
    cancelled.cancel();
    let progress = pool.progress();
    assert_eq!((progress.done, progress.total), (102, 102));
}

fn short_task(n: u64) -> u64 {
    thread::sleep(Duration::from_millis(20));
    n
}

fn of_200_tasks_under_fire_each_has_one_outcome() {
    let pool = Pool::new(4).unwrap();
    under_fire(&pool, Duration::from_millis(100), || {
        let results: Vec<_> = (0..200)
            .map(|n| pool.apply_async(short_task, n).unwrap())
            .collect();
        let mut reported = 0;
        for (n, result) in results.iter().enumerate() {
            match result.get_timeout(SOON) {
                Ok(value) => assert_eq!(value, n as u64),
                Err(Error::Killed { signal: 9, .. }) => reported += 1,
                Err(error) => panic!("task {n}: {error}"),
            }
        }
        assert!(reported > 0);
    });
    let progress = pool.progress();
    assert_eq!((progress.done, progress.total), (200, 200));
    healthy(&pool);
    pool.join().unwrap();
}

fn with_retries_200_of_200_tasks_under_fire_succeed() {
    let pool = Pool::builder().workers(4).retries(20).build().unwrap();
    under_fire(&pool, Duration::from_millis(100), || {
        let all: Vec<u64> = (0..200).collect();
        assert_eq!(pool.map_chunked(short_task, 0..200, 1).unwrap(), all);
    });
    healthy(&pool);
    pool.join().unwrap();
}

fn a_storm_of_kills_between_small_tasks_loses_and_doubles_none() {
    let pool = Pool::new(4).unwrap();
    let reported = AtomicU32::new(0);
    let kills = under_fire(&pool, Duration::from_millis(1), || {
        let begin = Instant::now();
        for round in 0.. {
            let results: Vec<_> = (0..1000)
                .map(|n| pool.apply_async(square, n).unwrap())
                .collect();
            for (n, result) in results.iter().enumerate() {
                match result.get_timeout(SOON) {
                    Ok(value) => assert_eq!(value, (n * n) as u64),
                    Err(Error::Killed { signal: 9, .. }) => {
                        reported.fetch_add(1, SeqCst);
                    }
                    Err(error) => panic!("round {round}, task {n}: {error}"),
                }
            }
            if begin.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
    });
    let reported = reported.into_inner();
    assert!(reported <= kills, "{reported} reported, {kills} killed");
    let progress = pool.progress();
    assert_eq!(progress.done, progress.total);
    healthy(&pool);
    pool.join().unwrap();
}

fn a_killed_supervisor_breaks_every_handle_and_leaves_no_process() {
    let pool = with_notes(2).build().unwrap();
    let busy = |_: u64| {
        have_a_child();
        sleep_long();
    };
    let results = [0, 1, 2, 3].map(|n| pool.apply_async(busy, n).unwrap());
    let mut pids = [(); 4]
        .map(|()| notes().get_timeout(SOON).unwrap())
        .to_vec();
    pids.push(pool.supervisor_pid());
    kill(
        Pid::from_raw(pool.supervisor_pid().cast_signed()),
        Signal::SIGKILL,
    )
    .unwrap();
    for result in &results {
        assert!(matches!(result.get_timeout(SOON), Err(Error::PoolBroken)));
    }
    assert!(matches!(pool.apply(square, 1), Err(Error::PoolBroken)));
    assert!(matches!(pool.join(), Err(Error::PoolBroken)));
    all_end(&pids);
}
