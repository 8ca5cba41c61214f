//! Maps that nobody has to wait for: what their handles say, and what becomes of dropped ones.

use std::{
    iter,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    thread,
    time::Duration,
};

use multiprocess::{Error, Pool};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::timeout;

use crate::{
    futures::wait,
    healthy, kill_myself, notes, sleep_long, square,
    support::{NOW, SOON, block_on, eventually},
    tokens, under_fire, with_notes,
};

tests![
    two_maps_run_beside_each_other_and_may_be_asked_again,
    a_map_is_not_ready_before_its_last_item,
    a_failed_map_that_is_waited_for_begins_no_more_items,
    an_item_that_cannot_be_handed_in_is_told_by_its_handle,
    an_iterator_that_panics_hands_in_no_more,
    a_cancelled_map_begins_no_more_and_its_worker_is_killed,
    a_dropped_handle_lets_its_items_run_on,
    a_dropped_handle_leaves_its_failures_to_join,
    a_map_that_was_asked_is_no_failure_that_nobody_heard_of,
    threads_that_wait_for_one_map_all_get_it,
    a_thread_that_waits_hears_of_a_failure_that_another_one_found,
    a_map_is_awaited_again_after_a_limit_of_time,
    a_pool_that_is_terminated_wakes_who_awaits_a_map,
    a_supervisor_that_is_killed_ends_a_map,
    a_map_under_fire_loses_no_item,
    a_closed_pool_takes_no_map,
];

fn wait_for_a_token(n: u32) -> u32 {
    notes().put(&n).unwrap();
    tokens().get_timeout(SOON).unwrap() + n
}

fn noted() -> Vec<u32> {
    iter::from_fn(|| notes().try_get().ok()).collect()
}

fn two_maps_run_beside_each_other_and_may_be_asked_again() {
    let pool = Pool::new(2).unwrap();
    let squares = pool.map_async(square, 0..1000).unwrap();
    // Of these nothing says how many there are.
    let texts = pool.map_async(|n: u64| n.to_string(), (0..1000).filter(|n| n % 2 == 0));
    let texts = texts.unwrap();
    for _ in 0..2 {
        assert!(squares.get().unwrap().into_iter().eq((0..1000).map(square)));
        assert_eq!(texts.get().unwrap()[499], "998");
    }
    drop(pool);
    assert_eq!(texts.get().unwrap().len(), 500);
    assert!(squares.ready() && !squares.cancel());
}

fn a_map_is_not_ready_before_its_last_item() {
    let pool = with_notes(2).build().unwrap();
    let map = pool.map_async_chunked(wait_for_a_token, 0..3, 1).unwrap();
    for _ in 0..2 {
        tokens().put(&10).unwrap();
    }
    for _ in 0..3 {
        notes().get_timeout(SOON).unwrap();
    }
    assert!(!map.ready());
    assert_eq!(map.get_timeout(NOW), Err(Error::TimedOut));
    assert_eq!(map.wait_timeout(NOW), Err(Error::TimedOut));
    tokens().put(&10).unwrap();
    map.wait().unwrap();
    assert!(map.ready());
    assert_eq!(map.get(), Ok(vec![10, 11, 12]));
    let none = pool.map_async(square, iter::empty()).unwrap();
    assert_eq!(none.get(), Ok(vec![]));
}

fn fail_at_3(n: u32) -> u32 {
    notes().put(&n).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(n != 3, "three");
    n
}

fn a_failed_map_that_is_waited_for_begins_no_more_items() {
    let pool = with_notes(2).build().unwrap();
    let map = pool.map_async_chunked(fail_at_3, 0..1000, 1).unwrap();
    let error = map.get().unwrap_err();
    let at_return = notes().len();
    healthy(&pool);
    assert_eq!(map.get(), Err(error.clone()));
    pool.join().unwrap();
    assert_eq!(notes().len(), at_return, "items began after the map's end");
    let Error::MapFailed { item: 3, ran, .. } = error else {
        panic!("{error}");
    };
    let mut noted = noted();
    noted.sort_unstable();
    assert!(
        ran.into_iter()
            .flatten()
            .eq(noted.into_iter().map(u64::from))
    );
}

/// A value that is nested so deep, which has a limit.
fn deep(depth: u32) -> serde_json::Value {
    (0..depth).fold(serde_json::Value::Null, |inner, _| vec![inner].into())
}

fn an_item_that_cannot_be_handed_in_is_told_by_its_handle() {
    let pool = Pool::new(2).unwrap();
    let items = [1, 2, 1000, 3].map(deep);
    let map = pool.map_async_chunked(|_: serde_json::Value| (), items, 1);
    let Err(Error::MapFailed { item: 2, error, .. }) = map.unwrap().get() else {
        panic!("another outcome");
    };
    assert!(matches!(*error, Error::Serial { .. }), "{error}");
    healthy(&pool);
}

fn an_iterator_that_panics_hands_in_no_more() {
    let pool = with_notes(1).build().unwrap();
    let items = (10..200).inspect(|&n| assert!(n < 100, "no more"));
    let map = || pool.map_async_chunked(fail_at_3, items, 1).map(|_| ());
    assert!(panic::catch_unwind(AssertUnwindSafe(map)).is_err());
    pool.join().unwrap();
    assert!(notes().len() < 50, "{} ran", notes().len());
}

fn a_cancelled_map_begins_no_more_and_its_worker_is_killed() {
    let pool = with_notes(1).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        sleep_long();
    };
    let map = pool.map_async_chunked(task, 0..100, 1).unwrap();
    notes().get_timeout(SOON).unwrap();
    assert!(map.cancel());
    assert!(map.ready() && !map.cancel());
    assert_eq!(map.get(), Err(Error::Cancelled));
    // The worker's successor takes what comes behind.
    healthy(&pool);
    pool.join().unwrap();
    assert!(notes().is_empty());
}

fn a_dropped_handle_lets_its_items_run_on() {
    let pool = with_notes(2).build().unwrap();
    let note = |n: u32| notes().put(&n).unwrap();
    drop(pool.map_async_chunked(note, 0..500, 7).unwrap());
    pool.join().unwrap();
    let mut noted = noted();
    noted.sort_unstable();
    assert!(noted.into_iter().eq(0..500));
}

fn a_dropped_handle_leaves_its_failures_to_join() {
    let pool = with_notes(2).build().unwrap();
    drop(pool.map_async_chunked(fail_at_3, 0..8, 1).unwrap());
    let Err(Error::TasksFailed { count: 1, .. }) = pool.join() else {
        panic!("another outcome");
    };
    assert_eq!(noted().len(), 8);
}

fn a_map_that_was_asked_is_no_failure_that_nobody_heard_of() {
    let pool = with_notes(1).build().unwrap();
    let map = pool.map_async(fail_at_3, [3]).unwrap();
    assert!(map.get().is_err());
    drop(map);
    let unasked = pool.map_async(fail_at_3, [3]).unwrap();
    unasked.wait().unwrap();
    drop(unasked);
    let Err(Error::TasksFailed { count: 1, .. }) = pool.join() else {
        panic!("another outcome");
    };
}

fn threads_that_wait_for_one_map_all_get_it() {
    let pool = Pool::new(2).unwrap();
    for _ in 0..50 {
        let map = pool.map_async_chunked(square, 0..20, 1).unwrap();
        thread::scope(|scope| {
            let waits = [0; 4].map(|_| scope.spawn(|| map.get_timeout(SOON)));
            for waits in waits {
                let squares = waits.join().unwrap().unwrap();
                assert!(squares.into_iter().eq((0..20).map(square)));
            }
        });
    }
}

fn a_thread_that_waits_hears_of_a_failure_that_another_one_found() {
    let pool = Pool::new(2).unwrap();
    for _ in 0..50 {
        let fail = |n: u64| assert!(n != 1, "one");
        let map = pool.map_async_chunked(fail, 0..40, 1).unwrap();
        thread::scope(|scope| {
            let waits = [0; 4].map(|_| scope.spawn(|| map.get_timeout(SOON)));
            for waits in waits {
                let error = waits.join().unwrap().unwrap_err();
                assert!(matches!(error, Error::MapFailed { item: 1, .. }), "{error}");
            }
        });
    }
}

fn a_map_is_awaited_again_after_a_limit_of_time() {
    let pool = with_notes(2).build().unwrap();
    block_on(async {
        let mut map = pool.map_async_chunked(wait_for_a_token, 0..4, 1).unwrap();
        assert!(timeout(NOW, &mut map).await.is_err());
        for _ in 0..4 {
            tokens().put(&10).unwrap();
        }
        assert_eq!((&mut map).await, Ok(vec![10, 11, 12, 13]));
        assert_eq!(map.await, Ok(vec![10, 11, 12, 13]));
        let failed = pool.map_async_chunked(fail_at_3, 0..1000, 1).unwrap().await;
        assert!(matches!(failed, Err(Error::MapFailed { item: 3, .. })));
        let killed = pool.map_async(|_: u32| kill_myself(), [1]).unwrap().await;
        assert!(matches!(killed, Err(Error::MapFailed { item: 0, .. })));
    });
}

fn a_pool_that_is_terminated_wakes_who_awaits_a_map() {
    let pool = Pool::new(1).unwrap();
    let mut map = pool.map_async(|_: u32| sleep_long(), 0..4).unwrap();
    let woken = wait(Pin::new(&mut map));
    pool.terminate();
    woken.recv_timeout(SOON).unwrap();
    assert_eq!(block_on(map), Err(Error::Cancelled));
}

fn a_supervisor_that_is_killed_ends_a_map() {
    let pool = Pool::new(1).unwrap();
    let map = pool.map_async(|_: u32| sleep_long(), 0..4).unwrap();
    let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
    kill(supervisor, Signal::SIGKILL).unwrap();
    assert_eq!(map.get_timeout(SOON), Err(Error::PoolBroken));
    eventually("the pool refuses more", || {
        matches!(pool.map_async(square, 0..4), Err(Error::PoolBroken))
    });
}

fn a_map_under_fire_loses_no_item() {
    let pool = Pool::builder().workers(3).retries(50).build().unwrap();
    let task = |n: u64| {
        thread::sleep(Duration::from_millis(1));
        n * n
    };
    let kills = under_fire(&pool, Duration::from_millis(10), || {
        let maps = [10, 1].map(|chunk| pool.map_async_chunked(task, 0..1000, chunk).unwrap());
        for map in maps {
            let squares = map.get_timeout(SOON).unwrap();
            assert!(squares.into_iter().eq((0..1000).map(square)));
        }
    });
    assert!(kills > 0);
}

fn a_closed_pool_takes_no_map() {
    let pool = Pool::new(1).unwrap();
    let before = pool.map_async(square, 0..4).unwrap();
    pool.close();
    assert!(matches!(pool.map_async(square, 0..4), Err(Error::Closed)));
    assert_eq!(before.get().unwrap(), [0, 1, 4, 9]);
}
