//! The results of an imap as a stream, and with a limit of time: none is lost by who waits no more.

use std::{thread, time::Duration};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use multiprocess::{Error, Pool, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    kill_myself, notes, sleep_long, square,
    support::{NOW, SOON, block_on},
    tokens, with_notes,
};

tests![
    a_stream_gives_the_results_in_their_order_and_ends,
    a_wait_for_a_result_that_is_dropped_loses_none,
    a_result_that_was_late_comes_next,
    each_item_of_a_stream_has_an_outcome_of_its_own,
    a_stream_ends_with_a_pool_that_is_broken,
    an_item_of_a_chunk_is_tried_again_and_has_its_own_time,
];

fn a_stream_gives_the_results_in_their_order_and_ends() {
    let pool = Pool::new(2).unwrap();
    block_on(async {
        let squares = pool.imap(square, 0..500).stream();
        let squares: Vec<u64> = squares.try_collect().await.unwrap();
        assert!(squares.into_iter().eq((0..500).map(square)));
        let chunked = pool.imap_chunked(square, 0..5000, 300).stream();
        let chunked: Vec<u64> = chunked.try_collect().await.unwrap();
        assert!(chunked.into_iter().eq((0..5000).map(square)));
        let any = pool.imap_unordered(square, 0..500).stream();
        let mut any: Vec<u64> = any.try_collect().await.unwrap();
        any.sort_unstable();
        assert!(any.into_iter().eq((0..500).map(square)));
        let mut none = pool.imap(square, 0..0).stream();
        assert_eq!((none.next().await, none.next().await), (None, None));
    });
}

fn wait_for_a_token(n: u32) -> u32 {
    tokens().get_timeout(SOON).unwrap();
    n
}

fn a_wait_for_a_result_that_is_dropped_loses_none() {
    let pool = with_notes(1).build().unwrap();
    for ordered in [true, false] {
        let numbers = match ordered {
            true => pool.imap(wait_for_a_token, 0..50),
            false => pool.imap_unordered(wait_for_a_token, 0..50),
        };
        let mut numbers = numbers.stream();
        block_on(async {
            for n in 0..50 {
                for _ in 0..3 {
                    assert!(numbers.next().now_or_never().is_none());
                }
                tokens().put(&1).unwrap();
                assert_eq!(numbers.next().await, Some(Ok(n)));
            }
            assert_eq!(numbers.next().await, None);
        });
    }
}

fn a_result_that_was_late_comes_next() {
    let pool = with_notes(1).build().unwrap();
    for ordered in [true, false] {
        let mut numbers = match ordered {
            true => pool.imap(wait_for_a_token, 0..3),
            false => pool.imap_unordered(wait_for_a_token, 0..3),
        };
        for n in 0..3 {
            assert_eq!(numbers.next_timeout(NOW), Some(Err(Error::TimedOut)));
            tokens().put(&1).unwrap();
            assert_eq!(numbers.next_timeout(SOON), Some(Ok(n)));
        }
        assert_eq!(numbers.next_timeout(NOW), None);
    }
}

fn each_item_of_a_stream_has_an_outcome_of_its_own() {
    let pool = Pool::new(2).unwrap();
    let task = |n: u64| match n {
        2 => panic!("two"),
        4 => {
            kill_myself();
            0
        }
        n => n,
    };
    let results: Vec<Result<u64>> = block_on(pool.imap_chunked(task, 0..6, 3).stream().collect());
    assert_eq!(results.len(), 6);
    for (n, result) in results.into_iter().enumerate() {
        match (n, result) {
            (2, Err(Error::Panicked { .. })) | (4, Err(Error::Killed { signal: 9, .. })) => {}
            (n, result) => assert_eq!(result, Ok(n as u64)),
        }
    }
}

fn a_stream_ends_with_a_pool_that_is_broken() {
    let task = |n: u32| {
        notes().put(&n).unwrap();
        sleep_long();
    };
    for ordered in [true, false] {
        let pool = with_notes(1).build().unwrap();
        let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
        let results = match ordered {
            true => pool.imap(task, 0..3),
            false => pool.imap_unordered(task, 0..3),
        };
        thread::scope(|scope| {
            let results = scope.spawn(|| block_on(results.stream().collect::<Vec<_>>()));
            notes().get_timeout(SOON).unwrap();
            kill(supervisor, Signal::SIGKILL).unwrap();
            assert_eq!(results.join().unwrap(), vec![Err(Error::PoolBroken); 3]);
        });
    }
}

fn an_item_of_a_chunk_is_tried_again_and_has_its_own_time() {
    // The retries are for a death, and not for a time that is over.
    let limit = Duration::from_secs(3);
    let builder = with_notes(1).retries(1).task_timeout(limit);
    let pool = builder.build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        match n {
            1 if tokens().try_get().is_ok() => kill_myself(),
            3 => sleep_long(),
            _ => {}
        }
        n
    };
    tokens().put(&1).unwrap();
    let results: Vec<Result<u32>> = pool.imap_chunked(task, 0..6, 6).collect();
    for (n, result) in (0..6).zip(results) {
        match n {
            3 => assert_eq!(result, Err(Error::TaskTimedOut { timeout: limit })),
            n => assert_eq!(result, Ok(n)),
        }
    }
    let noted: Vec<u32> = std::iter::from_fn(|| notes().try_get().ok()).collect();
    assert_eq!(noted, [0, 1, 1, 2, 3, 4, 5]);
}
