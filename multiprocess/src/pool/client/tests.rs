//! What the application sees of a pool at moments that a test chooses.

use std::{sync::Arc, thread};

use crate::{
    Error, Pool, codec,
    pool::message,
    queue::step::{no_step, on_step},
};

use super::*;

const SOON: Duration = Duration::from_secs(30);

fn endless(_: ()) {
    thread::sleep(Duration::from_secs(600));
}

/// The message that the first task has given `()`.
fn unit_result() -> Vec<u8> {
    let mut result = Vec::new();
    message::begin_result(0, &mut result);
    codec::append(&(), &mut result).expect("it has a binary form");
    result
}

/// Waits until so many results are there that nobody has taken.
fn wait_for_results(pool: &Pool, count: usize) {
    let end = Instant::now() + SOON;
    while pool.client.shared.results.len() < count {
        assert!(Instant::now() < end, "no results came");
        thread::yield_now();
    }
}

/// What a pool says of its tasks whose first result another process has written over.
fn errors_after(word: u64) -> [Error; 2] {
    let pool = Pool::new(1).expect("there are processes");
    let tasks = [1, 2].map(|n| pool.apply_async(|n: u64| n, n).expect("it is submitted"));
    wait_for_results(&pool, 2);
    pool.client.shared.results.damage_first(word);
    thread::scope(|scope| {
        let waiting =
            tasks.map(|task| scope.spawn(move || task.get_timeout(SOON).expect_err("damaged")));
        waiting.map(|thread| thread.join().expect("no panic"))
    })
}

#[test]
fn a_result_that_cannot_be_read_ends_the_pool_for_all_who_wait() {
    // An item longer than the queue, a link to an item that is no message, and such an item.
    for word in [!(1 << 31), u64::MAX, 0] {
        for error in errors_after(word) {
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }
}

#[test]
fn the_supervisor_of_a_terminated_pool_ends_by_itself() {
    let pool = Pool::new(1).expect("there are processes");
    pool.client.terminate();
    assert_eq!(pool.client.supervisor.exitcode().ok(), Some(Some(0)));
}

#[test]
fn a_supervisor_that_does_not_end_in_time_is_killed() {
    let pool = Pool::new(1).expect("there are processes");
    pool.client.wait_for_supervisor(Some(Instant::now()));
    assert_eq!(pool.client.supervisor.exitcode().ok(), Some(Some(-9)));
}

#[test]
fn who_sees_the_end_of_a_terminated_pool_first_calls_its_task_cancelled() {
    let pool = Pool::new(1).expect("there are processes");
    let task = pool.apply_async(endless, ()).expect("it is submitted");
    // As another thread does that terminates it, which is not woken yet.
    pool.client.shared.control.stop.store(1, SeqCst);
    pool.client.wake_supervisor();
    assert_eq!(task.get_timeout(SOON), Err(Error::Cancelled));
}

#[test]
fn a_result_that_comes_just_before_the_end_of_the_supervisor_is_read() {
    let pool = Pool::new(1).expect("there are processes");
    let task = pool.apply_async(endless, ()).expect("it is submitted");
    pool.client
        .supervisor
        .signal(libc::SIGKILL)
        .expect("it is ours");
    let client = Arc::clone(&pool.client);
    on_step(move |step| {
        if step == "results: looked for" {
            // As the worker does in this moment.
            client
                .shared
                .put_result(&unit_result(), None)
                .expect("there is room");
        }
    });
    let outcome = task.get_timeout(SOON);
    no_step();
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_result_that_comes_between_the_look_and_the_sleep_is_seen() {
    let pool = Pool::new(1).expect("there are processes");
    let task = pool.apply_async(endless, ()).expect("it is submitted");
    let client = Arc::clone(&pool.client);
    on_step(move |step| {
        if step == "results: nothing was there" {
            // As a worker does that has seen nobody sleep.
            let result = unit_result();
            client
                .shared
                .results
                .put(&result, Wait::No)
                .expect("there is room");
        }
    });
    let begin = Instant::now();
    let outcome = task.get_timeout(SOON);
    no_step();
    assert_eq!(outcome, Ok(()));
    assert!(begin.elapsed() < SOON);
}

#[test]
fn progress_counts_what_has_come_and_nobody_has_taken() {
    let pool = Pool::new(1).expect("there are processes");
    let _task = pool.apply_async(|n: u64| n, 1).expect("it is submitted");
    wait_for_results(&pool, 1);
    assert_eq!(pool.progress(), Progress { done: 1, total: 1 });
}
