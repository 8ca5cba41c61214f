//! What `Pool::join` says of tasks whose handles were dropped.

use std::{thread, time::Duration};

use multiprocess::{Error, Pool, Result};

use crate::{kill_myself, sleep_long, square, support::eventually, with_notes};

tests![
    join_tells_of_a_task_that_died_and_nobody_asked_for,
    join_counts_failures_and_names_the_first_by_its_place,
    join_tells_of_a_failure_that_came_before_its_handle_was_dropped,
    join_tells_of_an_item_that_nobody_asked_for,
    join_does_not_repeat_what_a_handle_has_told_or_will,
    join_does_not_repeat_what_a_map_has_told,
    join_counts_no_task_that_was_cancelled,
];

fn fail(n: u64) {
    assert!(n.is_multiple_of(2), "{n} is odd");
}

/// The count, the place and the text of the error that `join` gives.
#[track_caller]
fn told(pool: Pool) -> (u64, u64, String) {
    match pool.join() {
        Err(Error::TasksFailed { count, task, error }) => (count, task, error.to_string()),
        joined => panic!("{joined:?}"),
    }
}

fn join_tells_of_a_task_that_died_and_nobody_asked_for() {
    let pool = Pool::new(2).unwrap();
    pool.apply_async(square, 2).unwrap();
    pool.apply_async(|()| kill_myself(), ()).unwrap();
    pool.apply_async(square, 3).unwrap();
    let error = pool.join().unwrap_err();
    let Error::TasksFailed { error: cause, .. } = &error else {
        panic!("{error}")
    };
    let Error::Killed { signal: 9, pid } = **cause else {
        panic!("{error}")
    };
    assert_eq!(
        error.to_string(),
        format!(
            "task 1, whose result nobody asked for, failed: process {pid} was killed by signal 9 (SIGKILL)"
        )
    );
}

fn join_counts_failures_and_names_the_first_by_its_place() {
    // The tries of the task that dies have numbers too.
    let pool = with_notes(2).retries(2).build().unwrap();
    pool.apply_async(|()| kill_myself(), ())
        .unwrap()
        .get()
        .unwrap_err();
    for n in 0..7 {
        pool.apply_async(fail, n).unwrap();
    }
    let (count, task, error) = told(pool);
    assert_eq!((count, task), (3, 2));
    assert!(error.contains("1 is odd"), "{error}");
}

fn join_tells_of_a_failure_that_came_before_its_handle_was_dropped() {
    let pool = Pool::new(1).unwrap();
    let handle = pool.apply_async(fail, 1).unwrap();
    eventually("it is done", || handle.ready());
    drop(handle);
    assert_eq!(told(pool).0, 1);
}

fn join_tells_of_an_item_that_nobody_asked_for() {
    let pool = Pool::new(1).unwrap();
    let seen = pool.imap(fail, 0..6).take(1).collect::<Result<Vec<()>>>();
    assert_eq!(seen.unwrap().len(), 1);
    // It had handed in a few more than it gave.
    let handed_in = pool.progress().total;
    let (count, _, error) = told(pool);
    assert_eq!(count, handed_in / 2);
    assert!(error.contains("1 is odd"), "{error}");
}

fn join_does_not_repeat_what_a_handle_has_told_or_will() {
    let pool = Pool::new(1).unwrap();
    assert!(pool.apply(fail, 1).is_err());
    assert!(pool.map(fail, 0..9).is_err());
    let read: Vec<Result<()>> = pool.imap(fail, 0..9).collect();
    assert_eq!(read.iter().filter(|item| item.is_err()).count(), 4);
    let held = pool.apply_async(fail, 3).unwrap();
    pool.join().unwrap();
    assert!(matches!(held.get(), Err(Error::Panicked { .. })));
}

fn join_does_not_repeat_what_a_map_has_told() {
    let pool = Pool::new(2).unwrap();
    // Two items fail, each in a chunk of its own, and the map says so of the first.
    let fail_late = |n: u64| {
        thread::sleep(Duration::from_millis(50));
        fail(2 * n + 1);
    };
    let failed = pool.map_chunked(fail_late, 0..2, 1);
    assert!(matches!(failed, Err(Error::MapFailed { item: 0, .. })));
    pool.join().unwrap();
}

fn join_counts_no_task_that_was_cancelled() {
    let pool = Pool::new(1).unwrap();
    let handles = [(); 2].map(|()| pool.apply_async(|()| sleep_long(), ()).unwrap());
    for handle in handles {
        assert!(handle.cancel());
    }
    pool.join().unwrap();
}
