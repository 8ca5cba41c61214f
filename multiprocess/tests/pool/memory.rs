//! What becomes of tasks that take memory.

use std::{hint::black_box, process, thread, time::Duration};

use multiprocess::{
    Error, Pool, Queue,
    sync::{Semaphore, Value},
};

use super::{
    healthy,
    support::{SOON, eventually},
};

tests![
    a_task_over_its_memory_is_told_with_its_peak_and_no_other_is_touched,
    a_task_over_its_memory_is_not_tried_again,
    an_item_over_its_memory_is_told_by_its_index,
    each_item_of_a_chunk_has_its_own_memory,
    what_tasks_and_initializers_leave_is_not_counted_to_the_next,
    a_task_that_begins_after_a_pause_is_watched,
    the_tasks_that_run_at_once_fit_in_the_budget,
    a_budget_alone_is_shared_by_the_workers,
    a_worker_that_keeps_memory_of_the_budget_is_replaced,
    a_budget_without_room_for_a_task_is_refused,
];

const MIB: usize = 1 << 20;

/// So many bytes that are really there.
fn take(len: usize) -> Vec<u8> {
    black_box(vec![1; len])
}

fn take_and_sleep(len: usize) -> usize {
    let bytes = take(len);
    thread::sleep(Duration::from_secs(600));
    bytes.len()
}

fn limited(workers: usize, limit: usize) -> multiprocess::pool::Builder {
    Pool::builder()
        .workers(workers)
        .max_memory_per_task(limit as u64)
}

#[track_caller]
fn assert_out_of_memory(error: &Error, limit: usize, took: usize) {
    let Error::OutOfMemory { limit: said, peak } = *error else {
        panic!("{error}");
    };
    assert_eq!(said, limit as u64);
    assert!(peak > said && peak < (took + 16 * MIB) as u64, "{error}");
}

fn a_task_over_its_memory_is_told_with_its_peak_and_no_other_is_touched() {
    let pool = limited(4, 64 * MIB).build().unwrap();
    let gate = Queue::<()>::new().unwrap();
    let wait = |gate: Queue<()>| {
        let bytes = take(32 * MIB);
        gate.get().unwrap();
        (process::id(), bytes.len())
    };
    let others = [(); 3].map(|()| pool.apply_async(wait, gate.clone()).unwrap());
    eventually("the workers", || pool.worker_pids().len() == 4);
    let before = pool.worker_pids();
    let hungry = pool.apply_async(take_and_sleep, 100 * MIB).unwrap();
    let error = hungry.get_timeout(SOON).unwrap_err();
    assert_out_of_memory(&error, 64 * MIB, 100 * MIB);
    (0..3).for_each(|_| gate.put(&()).unwrap());
    for other in others {
        let (pid, len) = other.get_timeout(SOON).unwrap();
        assert!(before.contains(&pid));
        assert_eq!(len, 32 * MIB);
    }
    healthy(&pool);
}

fn a_task_over_its_memory_is_not_tried_again() {
    let pool = limited(1, 64 * MIB).retries(3).build().unwrap();
    let tries = Queue::<u32>::new().unwrap();
    let hungry = |tries: Queue<u32>| {
        tries.put(&process::id()).unwrap();
        take_and_sleep(100 * MIB)
    };
    let task = pool.apply_async(hungry, tries.clone()).unwrap();
    assert_out_of_memory(&task.get_timeout(SOON).unwrap_err(), 64 * MIB, 100 * MIB);
    healthy(&pool);
    assert_eq!(tries.len(), 1);
}

fn an_item_over_its_memory_is_told_by_its_index() {
    for retries in [0, 1] {
        let pool = limited(1, 64 * MIB).retries(retries).build().unwrap();
        let some = |len: usize| match len {
            0..MIB => len,
            _ => take_and_sleep(len),
        };
        let failed = pool.map_chunked(some, [1, 2, 100 * MIB, 4], 4);
        let Err(Error::MapFailed { item, ran, error }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!((item, ran.len(), &ran[0]), (2, 1, &(0..3)));
        assert_out_of_memory(&error, 64 * MIB, 100 * MIB);
        let each = pool
            .imap_chunked(some, [1, 100 * MIB, 3], 3)
            .collect::<Vec<_>>();
        assert_eq!((&each[0], &each[2]), (&Ok(1), &Ok(3)));
        assert_out_of_memory(each[1].as_ref().unwrap_err(), 64 * MIB, 100 * MIB);
    }
}

/// Together they take more than the limit.
fn each_item_of_a_chunk_has_its_own_memory() {
    let pool = limited(1, 64 * MIB).build().unwrap();
    let keep = |len: usize| {
        std::mem::forget(take(len));
        // For longer than the supervisor waits between two looks.
        thread::sleep(Duration::from_millis(50));
        len
    };
    let all = pool.map_chunked(keep, [40 * MIB; 4], 4).unwrap();
    assert_eq!(all, [40 * MIB; 4]);
}

fn what_tasks_and_initializers_leave_is_not_counted_to_the_next() {
    let leave = || std::mem::forget(take(100 * MIB));
    let pool = limited(1, 64 * MIB).initializer(leave).build().unwrap();
    let keep = |len: usize| {
        std::mem::forget(take(len));
        thread::sleep(Duration::from_millis(50));
        process::id()
    };
    let pids = [(); 4].map(|()| pool.apply(keep, 40 * MIB).unwrap());
    assert_eq!(pids, [pids[0]; 4]);
    let error = pool.apply(take_and_sleep, 100 * MIB).unwrap_err();
    assert_out_of_memory(&error, 64 * MIB, 100 * MIB);
}

/// The supervisor sleeps without a look when nothing runs.
fn a_task_that_begins_after_a_pause_is_watched() {
    let pool = limited(2, 64 * MIB).build().unwrap();
    for _ in 0..5 {
        healthy(&pool);
        thread::sleep(Duration::from_millis(60));
        let task = pool.apply_async(take_and_sleep, 80 * MIB).unwrap();
        let error = task.get_timeout(SOON).unwrap_err();
        assert_out_of_memory(&error, 64 * MIB, 80 * MIB);
    }
}

fn the_tasks_that_run_at_once_fit_in_the_budget() {
    let builder = limited(8, 64 * MIB).memory_budget(256 * MIB as u64);
    let pool = builder.build().unwrap();
    assert_eq!(pool.workers(), 4);
    let (running, most) = (Value::new(0_u64).unwrap(), Value::new(0_u64).unwrap());
    let free = Semaphore::new(0).unwrap();
    let work = |(running, most, free): (Value<u64>, Value<u64>, Semaphore)| {
        let now = running.fetch_add(1) + 1;
        most.with_lock(|most| *most = now.max(*most));
        let bytes = take(56 * MIB);
        drop(free.acquire_timeout(SOON).unwrap());
        running.with_lock(|running| *running -= 1);
        bytes.len()
    };
    let arguments = || (running.clone(), most.clone(), free.clone());
    let tasks = [(); 8].map(|()| pool.apply_async(work, arguments()).unwrap());
    free.release().unwrap();
    for task in tasks {
        assert_eq!(task.get_timeout(SOON).unwrap(), 56 * MIB);
    }
    assert!(most.get() <= 4, "{most:?}");
}

fn a_budget_alone_is_shared_by_the_workers() {
    let builder = Pool::builder().workers(4).memory_budget(256 * MIB as u64);
    let pool = builder.build().unwrap();
    assert_eq!(pool.workers(), 4);
    let error = pool.apply(take_and_sleep, 100 * MIB).unwrap_err();
    assert_out_of_memory(&error, 64 * MIB, 100 * MIB);
}

fn a_worker_that_keeps_memory_of_the_budget_is_replaced() {
    let builder = limited(1, 64 * MIB).memory_budget(64 * MIB as u64);
    let pool = builder.build().unwrap();
    let keep = |len: usize| {
        std::mem::forget(take(len));
        thread::sleep(Duration::from_millis(20));
        process::id()
    };
    let first = pool.apply(keep, MIB).unwrap();
    assert_eq!(pool.apply(keep, 30 * MIB).unwrap(), first);
    assert_ne!(pool.apply(keep, MIB).unwrap(), first);
}

fn a_budget_without_room_for_a_task_is_refused() {
    let refused = limited(1, 64 * MIB)
        .memory_budget(1000)
        .build()
        .unwrap_err();
    let (budget, task) = (1000, 64 * MIB as u64);
    assert_eq!(refused, Error::BudgetTooSmall { budget, task });
    let text = refused.to_string();
    assert!(
        text.contains("memory_budget") && text.contains("1000"),
        "{text}"
    );
    // No worker has a page.
    let none = Pool::builder().workers(1).memory_budget(0).build();
    assert!(matches!(none, Err(Error::BudgetTooSmall { budget: 0, .. })));
}
