//! A pool that grows and shrinks.

use std::{
    collections::HashSet,
    process, thread,
    time::{Duration, Instant},
};

use multiprocess::{
    Error, Pool, Queue,
    pool::worker_index,
    sync::{Semaphore, Value},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::RngExt;

use crate::{
    healthy, keep_busy, notes, set_notes,
    support::{Child, SOON, all_end, eventually, kills, wait_until_asleep},
    with_notes, workers,
};

tests![
    a_pool_that_grows_runs_more_tasks_at_once,
    a_pool_that_shrinks_ends_its_idle_workers_at_once,
    workers_with_a_task_in_hand_leave_after_it_and_no_task_is_lost,
    a_worker_that_leaves_runs_its_finalizer,
    a_killed_worker_that_is_one_too_many_has_no_successor,
    resizes_under_fire_lose_and_double_no_task,
    a_supervisor_killed_amid_resizes_breaks_every_handle,
    an_application_killed_amid_resizes_leaves_no_process,
    a_resize_to_no_worker_or_too_many_is_refused_with_the_most,
    a_pool_with_a_budget_gets_no_more_workers_than_fit,
    a_pool_that_is_closed_still_grows,
];

fn index(_: u64) -> usize {
    worker_index().expect("in a task")
}

/// Notes the worker, and waits for a permit.
fn pass(gate: Semaphore) -> usize {
    let index = index(0);
    notes().put(&(index as u32)).unwrap();
    let permit = gate.acquire_timeout(SOON).unwrap();
    std::mem::forget(permit);
    index
}

fn noted(count: usize) -> HashSet<u32> {
    (0..count)
        .map(|_| notes().get_timeout(SOON).unwrap())
        .collect()
}

fn a_pool_that_grows_runs_more_tasks_at_once() {
    let gate = Semaphore::new(0).unwrap();
    let pool = with_notes(1).build().unwrap();
    let tasks = [(); 4].map(|()| pool.apply_async(pass, gate.clone()).unwrap());
    assert_eq!(noted(1), [0].into());
    pool.resize(4).unwrap();
    assert_eq!(pool.workers(), 4);
    // All at once, since none of them has its permit.
    assert_eq!(noted(3), [1, 2, 3].into());
    (0..4).for_each(|_| gate.release().unwrap());
    let indexes = tasks.map(|task| task.get_timeout(SOON).unwrap());
    assert_eq!(HashSet::from(indexes), [0, 1, 2, 3].into());
    assert_eq!(workers(&pool).len(), 4);
    healthy(&pool);
}

fn a_pool_that_shrinks_ends_its_idle_workers_at_once() {
    let pool = Pool::new(4).unwrap();
    let before = workers(&pool);
    healthy(&pool);
    pool.resize(1).unwrap();
    assert_eq!(pool.workers(), 1);
    all_end(&before[1..]);
    eventually("those that are left", || pool.worker_pids() == before[..1]);
    assert_eq!(pool.map_chunked(index, 0..20, 1).unwrap(), [0; 20]);
    pool.resize(3).unwrap();
    assert_eq!(workers(&pool).len(), 3);
    healthy(&pool);
    pool.join().unwrap();
}

fn workers_with_a_task_in_hand_leave_after_it_and_no_task_is_lost() {
    let gate = Semaphore::new(0).unwrap();
    let pool = with_notes(3).build().unwrap();
    let in_hand = [(); 3].map(|()| pool.apply_async(pass, gate.clone()).unwrap());
    let waiting = [(); 20].map(|()| pool.apply_async(index, 0).unwrap());
    let before = workers(&pool);
    assert_eq!(noted(3), [0, 1, 2].into());
    pool.resize(1).unwrap();
    // The supervisor has looked at it and has nothing more to do.
    wait_until_asleep(pool.supervisor_pid());
    (0..3).for_each(|_| gate.release().unwrap());
    let indexes = in_hand.map(|task| task.get_timeout(SOON).unwrap());
    assert_eq!(HashSet::from(indexes), [0, 1, 2].into());
    for task in waiting {
        assert_eq!(task.get_timeout(SOON).unwrap(), 0);
    }
    all_end(&before[1..]);
    pool.join().unwrap();
}

fn a_worker_that_leaves_runs_its_finalizer() {
    let last = || notes().put(&(index(0) as u32)).unwrap();
    let builder = Pool::builder().workers(3).finalizer(last);
    let pool = builder
        .initializer_with(set_notes, notes().clone())
        .build()
        .unwrap();
    healthy(&pool);
    pool.resize(1).unwrap();
    assert_eq!(noted(2), [1, 2].into());
    pool.join().unwrap();
    assert_eq!(noted(1), [0].into());
}

fn a_killed_worker_that_is_one_too_many_has_no_successor() {
    let started = Value::new(0_u64).unwrap();
    let set = |(notes, started): (Queue<u32>, Value<u64>)| {
        set_notes(notes);
        started.fetch_add(1);
    };
    let builder = Pool::builder().workers(2);
    let builder = builder.initializer_with(set, (notes().clone(), started.clone()));
    let pool = builder.build().unwrap();
    let gate = Semaphore::new(0).unwrap();
    let tasks = [(); 2].map(|()| pool.apply_async(pass, gate.clone()).unwrap());
    assert_eq!(noted(2), [0, 1].into());
    let before = workers(&pool);
    pool.resize(1).unwrap();
    kill(Pid::from_raw(before[1].cast_signed()), Signal::SIGKILL).unwrap();
    let outcomes = tasks.map(|task| {
        gate.release().unwrap();
        task.get_timeout(SOON)
    });
    let killed = |outcome: &Result<usize, Error>| matches!(outcome, Err(Error::Killed { pid, .. }) if *pid == before[1]);
    assert_eq!(outcomes.iter().filter(|it| killed(it)).count(), 1);
    assert_eq!(outcomes.iter().filter(|it| **it == Ok(0)).count(), 1);
    healthy(&pool);
    assert_eq!(pool.worker_pids(), before[..1]);
    pool.join().unwrap();
    assert_eq!(started.get(), 2);
}

fn resizes_under_fire_lose_and_double_no_task() {
    // Without an initializer, which must not die three times in a row.
    let pool = Pool::builder().workers(2).retries(1000).build().unwrap();
    let mut random = rand::rng();
    for round in 0..kills(100) {
        pool.resize(random.random_range(1..=6)).unwrap();
        let items = round * 10..(round + 1) * 10;
        let square = |n: u64| {
            thread::sleep(Duration::from_micros(300));
            n * n
        };
        let squares = pool.map_async_chunked(square, items.clone(), 1);
        // Those that are to leave are killed, too.
        let pids = pool.worker_pids();
        pool.resize(random.random_range(1..=6)).unwrap();
        if !pids.is_empty() {
            let pid = pids[random.random_range(0..pids.len())];
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        let squares = squares.unwrap().get_timeout(SOON).unwrap();
        assert!(squares.into_iter().eq(items.map(|n| n * n)));
    }
    pool.resize(2).unwrap();
    eventually("the workers", || pool.worker_pids().len() == 2);
    healthy(&pool);
    pool.join().unwrap();
}

fn a_supervisor_killed_amid_resizes_breaks_every_handle() {
    let pool = with_notes(2).build().unwrap();
    let (tasks, pids) = keep_busy(&pool);
    thread::scope(|scope| {
        let resizing = scope.spawn(|| {
            let until = Instant::now() + SOON;
            while let Ok(()) = pool.resize(rand::rng().random_range(1..=4)) {
                assert!(Instant::now() < until, "the end is not told");
                let _ = pool.progress();
            }
        });
        let supervisor = pool.supervisor_pid().cast_signed();
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
        for task in &tasks {
            assert_eq!(task.get_timeout(SOON), Err(Error::PoolBroken));
        }
        resizing.join().unwrap();
    });
    assert_eq!(pool.resize(2), Err(Error::PoolBroken));
    all_end(&pids);
}

fn an_application_killed_amid_resizes_leaves_no_process() {
    notes();
    let application = Child::fork(|| {
        let pool = with_notes(2).build().unwrap();
        for workers in (1..=4).cycle() {
            pool.resize(workers).unwrap();
            let tell = |_: u64| notes().put(&process::id()).unwrap();
            pool.map_chunked(tell, 0..8, 1).unwrap();
        }
    });
    let pids: Vec<_> = noted(200).into_iter().collect();
    application.kill();
    all_end(&pids);
}

fn a_resize_to_no_worker_or_too_many_is_refused_with_the_most() {
    let pool = Pool::new(2).unwrap();
    for workers in [0, 1025, usize::MAX] {
        let refused = pool.resize(workers);
        let max = 1024;
        assert_eq!(refused, Err(Error::WorkerCount { workers, max }));
    }
    assert_eq!(pool.workers(), 2);
    healthy(&pool);
}

fn a_pool_with_a_budget_gets_no_more_workers_than_fit() {
    let mib = 1 << 20;
    let each = Pool::builder().max_memory_per_task(64 * mib);
    let pool = each.workers(2).memory_budget(200 * mib).build().unwrap();
    pool.resize(8).unwrap();
    assert_eq!(pool.workers(), 3);
    // Each of the two may take its half.
    let shared = Pool::builder().workers(2).memory_budget(200 * mib);
    let pool = shared.build().unwrap();
    pool.resize(8).unwrap();
    assert_eq!(pool.workers(), 2);
}

fn a_pool_that_is_closed_still_grows() {
    let gate = Queue::<()>::new().unwrap();
    let pool = Pool::new(1).unwrap();
    let waits = |gate: Queue<()>| gate.get_timeout(SOON).unwrap();
    let first = pool.apply_async(waits, gate.clone()).unwrap();
    let pid = workers(&pool)[0];
    wait_until_asleep(pid);
    wait_until_asleep(pool.supervisor_pid());
    let second = pool.apply_async(|gate: Queue<()>| gate.put(&()).unwrap(), gate);
    pool.close();
    pool.resize(2).unwrap();
    second.unwrap().get_timeout(SOON).unwrap();
    first.get_timeout(SOON).unwrap();
    pool.join().unwrap();
}
