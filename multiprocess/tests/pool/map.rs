//! What becomes of the items of a map: outcome, time, retries and progress are those of an item.

use std::{
    collections::BTreeMap,
    iter,
    panic::{self, AssertUnwindSafe},
    thread,
    time::{Duration, Instant},
};

use multiprocess::{Error, Pool};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{healthy, kill_myself, notes, sleep_long, support::SOON, tokens, with_notes};

tests![
    a_failed_map_begins_no_more_items_and_waits_for_those_that_run,
    a_failed_map_ends_the_chunk_of_the_item_that_failed_and_tells_which_items_ran,
    a_failed_map_ends_other_chunks_between_two_items,
    a_failed_map_does_not_wait_for_what_is_before_it_in_the_queue,
    an_iterator_that_panics_begins_no_more_items,
    the_first_of_several_items_that_fail_is_told,
    an_item_that_cannot_be_serialised_is_told_by_its_index,
    a_result_that_cannot_be_read_is_told_by_its_index,
    a_pool_that_breaks_during_a_map_is_no_failure_of_an_item,
    a_time_limit_is_for_each_item_and_not_for_their_chunk,
    an_item_over_its_time_is_told_by_its_index,
    a_retry_repeats_no_item_that_was_done,
    each_item_of_a_chunk_has_retries_of_its_own,
    a_large_result_before_the_death_of_its_worker_is_not_lost,
    progress_counts_the_items_of_a_chunk_that_runs,
    each_item_of_a_chunk_of_imap_has_an_outcome_of_its_own,
    each_item_of_a_chunk_of_imap_tells_that_the_pool_broke,
];

/// How often each number was noted.
fn noted() -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for n in iter::from_fn(|| notes().try_get().ok()) {
        *counts.entry(n).or_default() += 1;
    }
    counts
}

fn noted_once() -> Vec<u32> {
    let noted = noted();
    assert!(noted.values().all(|&count| count == 1), "{noted:?}");
    noted.into_keys().collect()
}

fn note_and_sleep(n: u32) -> u32 {
    notes().put(&n).unwrap();
    thread::sleep(Duration::from_millis(20));
    n
}

fn fail_at_3(n: u32) -> u32 {
    assert!(note_and_sleep(n) != 3, "three");
    n
}

fn a_failed_map_begins_no_more_items_and_waits_for_those_that_run() {
    let pool = with_notes(2).build().unwrap();
    let error = pool.map_chunked(fail_at_3, 0..1000, 1).unwrap_err();
    let at_return = notes().len();
    healthy(&pool);
    pool.join().unwrap();
    assert_eq!(notes().len(), at_return, "items began after the map's end");
    let Error::MapFailed {
        item: 3,
        ran,
        error,
    } = error
    else {
        panic!("{error}");
    };
    assert!(matches!(*error, Error::Panicked { .. }));
    let ran: Vec<u32> = ran.into_iter().flatten().map(|n| n as u32).collect();
    assert_eq!(noted_once(), ran);
    // All would take ten seconds, more than any backtrace of the panic.
    assert!(ran.len() < 1000);
}

fn a_failed_map_ends_the_chunk_of_the_item_that_failed_and_tells_which_items_ran() {
    let pool = with_notes(1).build().unwrap();
    let error = pool.map_chunked(fail_at_3, 2..12, 10).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("item 1 of the map failed: "), "{text}");
    assert!(text.ends_with("of the items ran 0 to 1"), "{text}");
    assert!(text.contains("three"), "{text}");
    pool.join().unwrap();
    assert_eq!(noted_once(), [2, 3]);
}

fn a_failed_map_ends_other_chunks_between_two_items() {
    let pool = with_notes(2).build().unwrap();
    let task = |n: u32| {
        assert!(n != 100, "a hundred");
        note_and_sleep(n)
    };
    // The first chunk would take two seconds.
    let error = pool.map_chunked(task, 0..200, 100).unwrap_err();
    let Error::MapFailed { item: 100, ran, .. } = error else {
        panic!("{error}");
    };
    let noted = noted_once();
    assert!(noted.len() < 100, "{} ran", noted.len());
    let ran: Vec<u32> = ran.into_iter().flatten().map(|n| n as u32).collect();
    assert_eq!(ran.len(), noted.len() + 1, "{ran:?}");
    assert!(noted.iter().all(|n| ran.contains(n)));
}

fn a_failed_map_does_not_wait_for_what_is_before_it_in_the_queue() {
    let pool = with_notes(1).build().unwrap();
    let endless = |()| {
        notes().put(&7).unwrap();
        sleep_long();
    };
    let before = pool.apply_async(endless, ()).unwrap();
    notes().get_timeout(SOON).unwrap();
    let items = [0, 1, 1000].map(deep);
    let begin = Instant::now();
    let error = pool.map_chunked(|_| notes().put(&8).unwrap(), items, 1);
    assert!(matches!(error, Err(Error::MapFailed { item: 2, .. })));
    assert!(begin.elapsed() < SOON);
    before.cancel();
    healthy(&pool);
    assert!(notes().is_empty());
}

/// A value that is nested so deep, which has a limit.
fn deep(depth: u32) -> serde_json::Value {
    (0..depth).fold(serde_json::Value::Null, |inner, _| vec![inner].into())
}

fn an_iterator_that_panics_begins_no_more_items() {
    let pool = with_notes(1).build().unwrap();
    let items = (0..200).inspect(|&n| assert!(n < 100, "no more"));
    let map = || pool.map_chunked(note_and_sleep, items, 1);
    assert!(panic::catch_unwind(AssertUnwindSafe(map)).is_err());
    pool.join().unwrap();
    assert!(notes().len() < 50, "{} ran", notes().len());
}

fn the_first_of_several_items_that_fail_is_told() {
    let pool = with_notes(2).build().unwrap();
    // The later item has failed when the earlier one does.
    let task = |n: u32| match n {
        0 => {
            notes().get_timeout(SOON).unwrap();
            panic!("the first")
        }
        _ => {
            notes().put(&n).unwrap();
            panic!("the second")
        }
    };
    let error = pool.map_chunked::<u32, ()>(task, 0..2, 1).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("item 0") && text.contains("the first"),
        "{text}"
    );
}

fn an_item_that_cannot_be_serialised_is_told_by_its_index() {
    let pool = Pool::new(2).unwrap();
    let items = [1, 2, 1000].map(deep);
    let error = pool.map_chunked(|_: serde_json::Value| (), items, 1);
    let Err(Error::MapFailed { item: 2, error, .. }) = error else {
        panic!("another outcome");
    };
    assert!(matches!(*error, Error::Serial { .. }), "{error}");
    healthy(&pool);
}

fn a_result_that_cannot_be_read_is_told_by_its_index() {
    let pool = Pool::new(1).unwrap();
    let task = |n: u8| OneWay(n);
    let error = pool.map_chunked(task, [7, 8, 9], 3).unwrap_err();
    let Error::MapFailed { item: 0, error, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(*error, Error::Serial { .. }), "{error}");
    healthy(&pool);
}

#[derive(Debug, Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

fn a_pool_that_breaks_during_a_map_is_no_failure_of_an_item() {
    let pool = with_notes(1).build().unwrap();
    let supervisor = pool.supervisor_pid().cast_signed();
    thread::scope(|scope| {
        let map = scope.spawn(|| {
            pool.map_chunked(
                |n: u32| {
                    notes().put(&n).unwrap();
                    sleep_long();
                },
                0..4,
                1,
            )
        });
        notes().get_timeout(SOON).unwrap();
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
        assert!(matches!(map.join().unwrap(), Err(Error::PoolBroken)));
    });
}

fn a_time_limit_is_for_each_item_and_not_for_their_chunk() {
    let limit = Duration::from_secs(2);
    let pool = Pool::builder()
        .workers(1)
        .task_timeout(limit)
        .build()
        .unwrap();
    let task = |n: u64| {
        thread::sleep(Duration::from_millis(200));
        n
    };
    // Together they take twice the limit.
    let numbers = pool.map_chunked(task, 0..20, 20).unwrap();
    assert!(numbers.into_iter().eq(0..20));
}

fn an_item_over_its_time_is_told_by_its_index() {
    let limit = Duration::from_millis(300);
    let pool = with_notes(1).task_timeout(limit).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        if n == 5 {
            sleep_long();
        }
    };
    let error = pool.map_chunked(task, 0..20, 20).unwrap_err();
    let Error::MapFailed {
        item: 5,
        ran,
        error,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(*error, Error::TaskTimedOut { timeout: limit });
    assert!(ran.into_iter().flatten().eq(0..6));
    healthy(&pool);
    pool.join().unwrap();
    assert_eq!(noted_once(), [0, 1, 2, 3, 4, 5]);
}

/// Notes the item, and kills the worker if there is a token for that.
fn die_for_a_token_at_20(n: u32) -> u32 {
    notes().put(&n).unwrap();
    if n == 20 && tokens().try_get().is_ok() {
        kill_myself();
    }
    n * n
}

fn a_retry_repeats_no_item_that_was_done() {
    let pool = with_notes(2).retries(1).build().unwrap();
    tokens().put(&1).unwrap();
    let squares = pool.map_chunked(die_for_a_token_at_20, 0..50, 50).unwrap();
    assert!(squares.into_iter().eq((0..50).map(|n| n * n)));
    let mut noted = noted();
    assert_eq!(noted.remove(&20), Some(2));
    let once = noted.values().all(|&count| count == 1);
    assert!(noted.len() == 49 && once, "{noted:?}");
    healthy(&pool);
}

fn each_item_of_a_chunk_has_retries_of_its_own() {
    let pool = with_notes(1).retries(2).build().unwrap();
    // Each of these items kills two workers.
    let task = |n: u32| {
        notes().put(&n).unwrap();
        if n % 3 == 1 && tokens().get_timeout(SOON) == Ok(n) {
            kill_myself();
        }
        n
    };
    for n in [1, 1, 0, 4, 4, 0] {
        tokens().put(&n).unwrap();
    }
    let numbers = pool.map_chunked(task, 0..6, 6).unwrap();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    let counts: Vec<usize> = noted().into_values().collect();
    assert_eq!(counts, [1, 3, 1, 1, 3, 1]);
    // A third death is one too many.
    for _ in 0..3 {
        tokens().put(&1).unwrap();
    }
    let error = pool.map_chunked(task, 0..6, 6).unwrap_err();
    let Error::MapFailed {
        item: 1,
        ran,
        error,
    } = error
    else {
        panic!("{error}");
    };
    assert!(matches!(*error, Error::Killed { signal: 9, .. }), "{error}");
    assert!(ran.into_iter().flatten().eq(0..2));
}

fn a_large_result_before_the_death_of_its_worker_is_not_lost() {
    let pool = with_notes(1).retries(1).build().unwrap();
    let task = |n: u32| vec![die_for_a_token_at_20(n); if n == 19 { 50_000 } else { 2 }];
    tokens().put(&1).unwrap();
    let numbers = pool.map_chunked(task, 0..30, 30).unwrap();
    assert_eq!(numbers[19], vec![19 * 19; 50_000]);
    assert!(numbers.iter().zip(0..).all(|(of, n)| of[0] == n * n));
    assert_eq!(noted().get(&19), Some(&1));
}

fn progress_counts_the_items_of_a_chunk_that_runs() {
    let pool = with_notes(1).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        if n == 9 {
            tokens().get_timeout(SOON).unwrap();
        }
    };
    thread::scope(|scope| {
        let map = scope.spawn(|| pool.map_chunked(task, 0..20, 20));
        while notes().get_timeout(SOON).unwrap() < 9 {}
        let progress = pool.progress();
        assert_eq!((progress.done, progress.total), (9, 20));
        tokens().put(&1).unwrap();
        map.join().unwrap().unwrap();
    });
    let progress = pool.progress();
    assert_eq!((progress.done, progress.total), (20, 20));
}

fn each_item_of_a_chunk_of_imap_has_an_outcome_of_its_own() {
    // The backtrace of a panic is part of its item's time.
    let limit = Duration::from_secs(3);
    let pool = with_notes(1).task_timeout(limit).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        match n {
            2 => panic!("two"),
            4 => kill_myself(),
            6 => sleep_long(),
            7 => return "x".repeat(200_000),
            9 => std::process::exit(9),
            _ => {}
        }
        n.to_string()
    };
    for ordered in [true, false] {
        let results: Vec<_> = match ordered {
            true => pool.imap_chunked(task, 0..10, 10).collect(),
            false => pool.imap_unordered_chunked(task, 0..10, 10).collect(),
        };
        assert_eq!(results.len(), 10);
        for (n, result) in results.into_iter().enumerate() {
            match (n, result) {
                (2, Err(Error::Panicked { message, .. })) => assert_eq!(message, "two"),
                (4, Err(Error::Killed { signal: 9, .. }))
                | (6, Err(Error::TaskTimedOut { .. }))
                | (9, Err(Error::Exited { code: 9, .. })) => {}
                (7, Ok(text)) => assert_eq!(text.len(), 200_000),
                (n, Ok(text)) => assert_eq!(text, n.to_string()),
                (n, Err(error)) => panic!("item {n}: {error}"),
            }
        }
        assert_eq!(noted_once(), Vec::from_iter(0..10));
    }
    healthy(&pool);
}

fn each_item_of_a_chunk_of_imap_tells_that_the_pool_broke() {
    let pool = with_notes(1).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        sleep_long();
    };
    let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
    thread::scope(|scope| {
        let results = scope.spawn(|| pool.imap_chunked(task, 0..7, 3).collect::<Vec<_>>());
        notes().get_timeout(SOON).unwrap();
        kill(supervisor, Signal::SIGKILL).unwrap();
        assert_eq!(results.join().unwrap(), vec![Err(Error::PoolBroken); 7]);
    });
}
