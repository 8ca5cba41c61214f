//! Large arguments and results: where their memory goes, whoever is killed.

use std::{thread, time::Duration};

use multiprocess::{Error, Pool, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{
    healthy, kill_myself, notes,
    resources::{MIB, queue_memory},
    sleep_long,
    support::{SOON, eventually, kills},
    with_notes, workers,
};

tests![
    what_is_large_comes_there_and_back_by_every_call,
    a_result_is_there_for_as_long_as_its_handle,
    more_large_tasks_than_can_be_lent_memory_go_through,
    a_map_over_large_items_takes_the_memory_of_some,
    a_task_whose_worker_was_killed_has_its_large_argument_again,
    a_chunk_whose_worker_was_killed_has_the_large_items_that_are_left,
    tasks_that_are_cancelled_give_the_memory_of_their_arguments_back,
    what_killed_workers_had_comes_back_at_once,
    workers_killed_at_random_lose_their_large_tasks_and_nothing_else,
    a_broken_pool_keeps_what_was_heard_and_gives_the_rest_back,
];

/// More than this is not kept of the two queues of a pool: of each the hot and the warm ring, some MiB to
/// be lent again, and what is worth no call to give back.
const KEPT_MAX: u64 = 36 << 20;

/// All memory that is lent comes back: else a task that takes so much would leave it there.
#[track_caller]
pub(crate) fn all_memory_comes_back(pool: &Pool, after: &str) {
    let large = vec![7_u64; 40 * MIB / 8];
    assert_eq!(
        pool.apply(|it: Vec<u64>| it, large.clone()).as_ref(),
        Ok(&large)
    );
    let is_back = || queue_memory() < KEPT_MAX;
    eventually(&format!("the memory, after {after}"), is_back);
}

/// Some parts of it are large, and some are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sheet {
    name: String,
    rows: Vec<f64>,
    texts: Vec<String>,
    bytes: Option<Vec<u8>>,
}

fn sheet(n: usize) -> Sheet {
    Sheet {
        name: format!("sheet {n}"),
        rows: (0..n).map(|row| row as f64).collect(),
        texts: vec!["a".repeat(n), "b".into(), "ü".repeat(n)],
        bytes: (!n.is_multiple_of(3)).then(|| vec![n as u8; 2 * n]),
    }
}

fn what_is_large_comes_there_and_back_by_every_call() {
    let sheets: Vec<_> = [0, 10_000, 70_000, 9, 140_001, 30_000]
        .into_iter()
        .map(sheet)
        .collect();
    let all = || sheets.clone();
    let same = |it: Sheet| it;
    for retries in [0, 1] {
        let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
        for it in all() {
            assert!(pool.apply(same, it.clone()).unwrap() == it);
        }
        assert!(pool.map(same, all()).unwrap() == sheets);
        assert!(pool.map_chunked(same, all(), 3).unwrap() == sheets);
        let pairs = all().into_iter().zip(all());
        assert!(pool.starmap(|_: Sheet, it: Sheet| it, pairs).unwrap() == sheets);
        assert!(
            pool.map_async_chunked(same, all(), 4)
                .unwrap()
                .get()
                .unwrap()
                == sheets
        );
        let imap: Result<Vec<_>> = pool.imap(same, all()).collect();
        assert!(imap.unwrap() == sheets);
        for size in [1, 4, 100] {
            let imap: Result<Vec<_>> = pool.imap_chunked(same, all(), size).collect();
            assert!(imap.unwrap() == sheets);
        }
        let parts = |n: u32| {
            (
                vec![n; 50_000],
                vec![f64::from(n); 9000],
                vec![n as u8; 70_001],
            )
        };
        let items = || (0..5).map(parts);
        let several = pool
            .map_chunked(|it: (Vec<u32>, Vec<f64>, Vec<u8>)| it, items(), 2)
            .unwrap();
        assert!(several.into_iter().eq(items()));
        all_memory_comes_back(&pool, "all calls");
    }
}

fn a_result_is_there_for_as_long_as_its_handle() {
    let pool = Pool::new(2).unwrap();
    let filled = |n: u8| vec![n; MIB];
    let results = [1, 2, 3].map(|n| pool.apply_async(filled, n).unwrap());
    for _ in 0..2 {
        for (result, n) in results.iter().zip(1..) {
            assert!(result.get_timeout(SOON).unwrap() == vec![n; MIB]);
        }
        assert!(pool.map(filled, 10..40).unwrap().len() == 30);
    }
    pool.join().unwrap();
    assert!(results[0].get().unwrap() == vec![1; MIB]);
}

/// A queue lends at most 1024 times at once.
fn more_large_tasks_than_can_be_lent_memory_go_through() {
    let pool = Pool::new(2).unwrap();
    let task = |it: Vec<u8>| it;
    let argument = |n: usize| vec![n as u8; 64 << 10];
    let results: Vec<_> = (0..1100)
        .map(|n| pool.apply_async(task, argument(n)).unwrap())
        .collect();
    for (n, result) in results.iter().enumerate() {
        assert!(result.get_timeout(SOON).unwrap() == argument(n), "task {n}");
    }
    drop(results);
    all_memory_comes_back(&pool, "many tasks");
}

fn a_map_over_large_items_takes_the_memory_of_some() {
    let pool = Pool::new(2).unwrap();
    let mut most = 0;
    let items = (0..200).map(|n| {
        most = most.max(queue_memory());
        vec![n; MIB]
    });
    let results = pool.map(|it: Vec<u8>| it, items).unwrap();
    assert!(results.iter().zip(0..).all(|(it, n)| *it == vec![n; MIB]));
    assert!(most < 40 << 20, "{} MiB", most >> 20);
    all_memory_comes_back(&pool, "a map");
}

/// Kills the worker the first time.
fn once(it: Vec<u8>) -> Vec<u8> {
    if notes().try_get().is_ok() {
        kill_myself();
    }
    it
}

fn a_task_whose_worker_was_killed_has_its_large_argument_again() {
    let pool = with_notes(2).retries(2).build().unwrap();
    let argument = |n: u8| vec![n; 2 * MIB];
    (0..2).for_each(|n| notes().put(&n).unwrap());
    assert!(pool.apply(once, argument(1)).unwrap() == argument(1));
    assert!(notes().is_empty());
    notes().put(&1).unwrap();
    let results: Result<Vec<_>> = pool.imap(once, (0..9).map(argument)).collect();
    assert!(results.unwrap().into_iter().eq((0..9).map(argument)));
    assert!(notes().is_empty());
    all_memory_comes_back(&pool, "two deaths");
}

fn a_chunk_whose_worker_was_killed_has_the_large_items_that_are_left() {
    let argument = |n: u8| vec![n; 70_000 + usize::from(n)];
    // In a chunk of seven, the fifth.
    let kills = |it: Vec<u8>| if it[0] == 4 { once(it) } else { it };
    for retries in [0, 1] {
        let pool = with_notes(1).retries(retries).build().unwrap();
        notes().put(&1).unwrap();
        let items = || (0..9).map(argument);
        for (result, n) in pool.imap_chunked(kills, items(), 7).zip(0..) {
            match result {
                Err(Error::Killed { signal: 9, .. }) => assert!(n == 4 && retries == 0),
                result => assert!(result.unwrap() == argument(n), "item {n}"),
            }
        }
        if retries > 0 {
            notes().put(&1).unwrap();
            let results = pool.map_chunked(kills, items(), 7).unwrap();
            assert!(results.into_iter().eq(items()));
        }
        assert!(notes().is_empty());
        all_memory_comes_back(&pool, "a death in a chunk");
    }
}

fn tasks_that_are_cancelled_give_the_memory_of_their_arguments_back() {
    let pool = with_notes(1).build().unwrap();
    let endless = |it: Vec<u8>| {
        notes().put(&u32::from(it[0])).unwrap();
        sleep_long();
    };
    let tasks = [1, 2, 3, 4].map(|n| pool.apply_async(endless, vec![n; 8 * MIB]).unwrap());
    notes().get_timeout(SOON).unwrap();
    assert!(queue_memory() > 24 << 20);
    assert!(tasks[1].cancel() && tasks[2].cancel() && tasks[3].cancel() && tasks[0].cancel());
    drop(tasks);
    healthy(&pool);
    all_memory_comes_back(&pool, "cancellations");
}

/// Nobody need ask for memory.
fn what_killed_workers_had_comes_back_at_once() {
    let pool = with_notes(1).build().unwrap();
    let pid = workers(&pool)[0];
    // A worker has the arguments of a chunk in hand until all are read, and here one is.
    let endless = |_: Vec<u8>| {
        notes().put(&1).unwrap();
        sleep_long();
    };
    let task = pool.map_async(endless, [vec![1; 50 * MIB]]).unwrap();
    notes().get_timeout(SOON).unwrap();
    assert!(queue_memory() > 50 << 20);
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    let error = task.get_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::MapFailed { item: 0, .. }), "{error}");
    eventually("the memory", || queue_memory() < KEPT_MAX);
    all_memory_comes_back(&pool, "a death");
}

fn workers_killed_at_random_lose_their_large_tasks_and_nothing_else() {
    let pool = Pool::new(3).unwrap();
    let mut random = rand::rng();
    let task = |it: Vec<u64>| it.into_iter().map(|n| n + 1).collect::<Vec<_>>();
    let (mut lost, killed) = (0, kills(40));
    for round in 0..killed {
        let lens = [(); 6].map(|()| random.random_range(1..60_000_usize));
        let results = lens.map(|len| pool.apply_async(task, vec![round; len]).unwrap());
        thread::sleep(Duration::from_micros(random.random_range(0..1500)));
        let pids = pool.worker_pids();
        if let Some(pid) = pids.get(random.random_range(0..pids.len().max(1))) {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        for (result, len) in results.iter().zip(lens) {
            match result.get_timeout(SOON) {
                Err(Error::Killed { signal: 9, .. }) => lost += 1,
                result => assert!(result.unwrap() == vec![round + 1; len]),
            }
        }
    }
    assert!(lost <= killed, "{lost} lost by {killed} kills");
    all_memory_comes_back(&pool, "many deaths");
}

fn a_broken_pool_keeps_what_was_heard_and_gives_the_rest_back() {
    let pool = with_notes(2).build().unwrap();
    let heard = pool
        .apply_async(|it: Vec<u8>| it, vec![1; 9 * MIB])
        .unwrap();
    assert_eq!(heard.get_timeout(SOON).unwrap().len(), 9 * MIB);
    let endless = |_: Vec<u8>| {
        notes().put(&1).unwrap();
        sleep_long();
    };
    let tasks = [2, 3, 4].map(|n| pool.apply_async(endless, vec![n; 9 * MIB]).unwrap());
    notes().get_timeout(SOON).unwrap();
    kill(
        Pid::from_raw(pool.supervisor_pid().cast_signed()),
        Signal::SIGKILL,
    )
    .unwrap();
    for task in &tasks {
        assert_eq!(task.get_timeout(SOON), Err(Error::PoolBroken));
    }
    assert!(heard.get().unwrap() == vec![1; 9 * MIB]);
    drop(pool);
    drop(tasks);
    assert!(heard.get().unwrap() == vec![1; 9 * MIB]);
    drop(heard);
    // What is left are the notes.
    assert!(queue_memory() < 1 << 20, "{} bytes", queue_memory());
}
