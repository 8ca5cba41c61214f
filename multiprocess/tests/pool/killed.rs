//! What holds when workers, the supervisor or the application are killed.

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use multiprocess::{Error, Pool, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    have_a_child, have_a_stray_child, healthy, keep_busy, kill_myself, notes, sleep_long, square,
    support::{Child, SOON, all_end, is_gone},
    under_fire, with_notes, workers,
};

tests![
    r01_a_worker_killed_with_a_task_is_reported_and_no_other_task_notices,
    r02_a_killed_idle_worker_is_noticed_by_nobody,
    r15_a_task_that_exits_is_reported_with_its_code,
    r17_of_ten_tasks_one_of_which_kills_its_worker_nine_succeed,
    r27_a_worker_killed_while_sending_a_large_result_is_no_obstacle,
    r29_a_killed_application_takes_busy_workers_and_their_children_along,
    a_task_that_kills_its_worker_once_is_tried_again,
    retries_have_an_end,
    a_killed_worker_takes_its_children_along,
    of_200_tasks_under_fire_each_has_one_outcome,
    with_retries_200_of_200_tasks_under_fire_succeed,
    a_storm_of_kills_between_small_tasks_loses_and_doubles_none,
    a_killed_supervisor_breaks_every_handle_and_leaves_no_process,
];

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
    let Err(Error::MapFailed { item: 3, error, .. }) = pool.map(task, 0..10) else {
        panic!("another outcome");
    };
    assert!(matches!(*error, Error::Killed { signal: 9, .. }));
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

fn r15_a_task_that_exits_is_reported_with_its_code() {
    let pool = Pool::new(2).unwrap();
    let good = pool.apply_async(square, 4).unwrap();
    let bad = pool
        .apply_async(|code: i32| process::exit(code), 3)
        .unwrap();
    assert!(matches!(
        bad.get(),
        Err::<(), _>(Error::Exited { code: 3, .. })
    ));
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

/// Notes in a file which worker has run a task.
fn noted_square((n, file): (u32, PathBuf)) -> u32 {
    static FILE: OnceLock<File> = OnceLock::new();
    let open = || File::options().append(true).open(file).unwrap();
    let note = u64::from(n) << 32 | u64::from(process::id());
    let mut file = FILE.get_or_init(open);
    file.write_all(&note.to_le_bytes()).unwrap();
    n * n
}

/// Which workers have run each task of a round, whose notes are read to their end.
fn runs(notes: &mut File, tasks: usize) -> Vec<Vec<u32>> {
    let mut bytes = Vec::new();
    notes.read_to_end(&mut bytes).unwrap();
    let mut runs = vec![Vec::new(); tasks];
    for note in bytes.as_chunks().0 {
        let note = u64::from_le_bytes(*note);
        runs[(note >> 32) as usize].push(note as u32);
    }
    runs
}

fn a_storm_of_kills_between_small_tasks_loses_and_doubles_none() {
    let pool = Pool::new(4).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut notes = file.reopen().unwrap();
    let reported = AtomicU32::new(0);
    let kills = under_fire(&pool, Duration::from_millis(1), || {
        let begin = Instant::now();
        for round in 0.. {
            let results: Vec<_> = (0..1000)
                .map(|n| (n, file.path().to_path_buf()))
                .map(|task| pool.apply_async(noted_square, task).unwrap())
                .collect();
            let outcomes: Vec<_> = results.iter().map(|it| it.get_timeout(SOON)).collect();
            let runs = runs(&mut notes, 1000);
            for (n, (outcome, runs)) in outcomes.into_iter().zip(runs).enumerate() {
                match outcome {
                    Ok(value) => {
                        assert_eq!(value as usize, n * n);
                        assert_eq!(runs.len(), 1, "round {round}, task {n}: {runs:?}");
                    }
                    Err(Error::Killed { signal: 9, pid }) => {
                        reported.fetch_add(1, SeqCst);
                        let is_its = runs.is_empty() || runs == [pid];
                        assert!(is_its, "round {round}, task {n}, killed {pid}: {runs:?}");
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
    let (results, pids) = keep_busy(&pool);
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

fn a_killed_worker_takes_its_children_along() {
    let pool = with_notes(2).build().unwrap();
    let busy = |()| {
        have_a_child();
        sleep_long();
    };
    let task = pool.apply_async(busy, ()).unwrap();
    let [worker, child] = [(); 2].map(|()| notes().get_timeout(SOON).unwrap());
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).unwrap();
    let outcome = task.get_timeout(SOON);
    assert!(matches!(outcome, Err(Error::Killed { signal: 9, pid }) if pid == worker));
    all_end(&[child]);
    healthy(&pool);
}
