//! What becomes of tasks: results, errors, limits of time, cancellation.

use std::{
    fs, process,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use multiprocess::{Error, Pool, Queue, Result, pool::worker_index};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::WaitStatus,
    },
    unistd::Pid,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    have_a_child, healthy, keep_busy, kill_myself, notes, sleep_long, square,
    support::{Child, NOW, SOON, all_end, wait_until_asleep},
    tokens, with_notes, workers,
};

tests![
    r14_a_result_that_does_not_deserialise_fails_alone,
    r18_a_task_over_its_time_is_killed_with_its_children,
    r19_an_initializer_that_fails_fails_the_pool_with_its_reason,
    initializers_that_fail_now_and_then_fail_no_pool,
    r21_an_endless_iterator_is_taken_only_as_far_as_needed,
    r22_a_task_may_have_a_pool_of_its_own,
    r30_a_timeout_ends_the_wait_although_the_task_runs_on,
    a_pool_of_no_worker_or_of_too_many_is_refused,
    a_queue_is_no_result,
    a_task_may_return_the_crates_result,
    a_static_pool_in_its_own_task_is_another_pool_and_no_hang,
    a_task_that_makes_pools_without_end_is_told_so,
    a_panic_beside_a_busy_pool_ends_the_program,
    a_finalizer_runs_after_the_last_task_of_each_worker,
    a_worker_with_too_much_memory_is_replaced_after_its_task,
    each_worker_has_an_index_of_its_own_which_its_successor_inherits,
    a_panic_comes_back_with_its_message_and_place,
    what_a_task_prints_is_written_before_its_result,
    a_cancelled_task_that_waits_is_not_begun,
    a_cancelled_task_that_runs_is_killed,
    a_worker_marked_for_the_kill_takes_no_other_task,
    a_worker_is_replaced_after_its_number_of_tasks,
    threads_share_a_pool,
    a_thread_that_has_its_result_lets_another_one_receive,
    who_waits_while_the_pool_is_terminated_is_told_that_the_task_was_cancelled,
    join_waits_for_every_task_and_leaves_no_process,
    terminate_cancels_what_is_not_done_and_leaves_no_process,
    a_forked_copy_of_the_handle_does_nothing,
    every_outcome_is_counted_once,
];

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

fn initializers_that_fail_now_and_then_fail_no_pool() {
    let scripted = |script: Queue<bool>| assert!(script.get().unwrap(), "no database");
    let script = Queue::new().unwrap();
    let builder = Pool::builder().workers(1);
    let builder = builder.initializer_with(scripted, script.clone());
    let pool = builder.build().unwrap();
    // Two failures in a row, again and again.
    for _ in 0..3 {
        for comes_through in [false, false, true] {
            script.put(&comes_through).unwrap();
        }
        let sixteen = pool.apply_async(square, 4).unwrap();
        assert_eq!(sixteen.get_timeout(SOON).unwrap(), 16);
        let killed = pool.apply_async(|()| kill_myself(), ()).unwrap();
        let killed = killed.get_timeout(SOON);
        assert!(matches!(killed, Err(Error::Killed { .. })), "{killed:?}");
    }
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
    assert!(
        location.contains(&format!("tasks.rs:{line}:")),
        "{location}"
    );
    healthy(&pool);
}

fn what_a_task_prints_is_written_before_its_result() {
    let pool = Pool::new(1).unwrap();
    pool.apply(|()| print!("half a line"), ()).unwrap();
    let printed = fs::read_to_string("/proc/self/fd/1").unwrap();
    assert!(printed.contains("half a line"), "{printed}");
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

fn a_worker_marked_for_the_kill_takes_no_other_task() {
    let pool = with_notes(1).build().unwrap();
    let me = |()| {
        notes().put(&process::id()).unwrap();
        tokens().get().unwrap();
        process::id()
    };
    let cancelled = pool.apply_async(me, ()).unwrap();
    let marked = notes().get_timeout(SOON).unwrap();
    // Else it kills the worker at once.
    let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
    kill(supervisor, Signal::SIGSTOP).unwrap();
    assert!(cancelled.cancel());
    let next = pool.apply_async(|()| process::id(), ()).unwrap();
    tokens().put(&0).unwrap();
    // It has its result by then, and has looked for its mark.
    wait_until_asleep(marked);
    kill(supervisor, Signal::SIGCONT).unwrap();
    assert_ne!(next.get_timeout(SOON), Ok(marked));
}

fn a_worker_is_replaced_after_its_number_of_tasks() {
    let pool = Pool::builder().workers(1).max_tasks_per_child(2).build();
    let pids = pool.unwrap().map_chunked(|_: u8| process::id(), 0..6, 1);
    let pids = pids.unwrap();
    assert!(pids.chunks(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
    assert!(pids[0] != pids[2] && pids[2] != pids[4], "{pids:?}");
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

fn a_thread_that_has_its_result_lets_another_one_receive() {
    let pool = with_notes(2).build().unwrap();
    let task = |n: u32| {
        notes().put(&n).unwrap();
        tokens().get_timeout(SOON).unwrap();
        n
    };
    let results = [1, 2].map(|n| pool.apply_async(task, n).unwrap());
    let _begun = [(); 2].map(|()| notes().get_timeout(SOON).unwrap());
    thread::scope(|scope| {
        let waiting = [&results[0], &results[1]].map(|result| scope.spawn(|| result.get()));
        thread::sleep(5 * NOW);
        // Whichever of the tasks takes it, and whichever of the threads receives the result.
        tokens().put(&0).unwrap();
        while !waiting.iter().any(|thread| thread.is_finished()) {
            thread::yield_now();
        }
        tokens().put(&0).unwrap();
        let values = waiting.map(|thread| thread.join().unwrap());
        assert_eq!(values, [Ok(1), Ok(2)]);
    });
}

fn who_waits_while_the_pool_is_terminated_is_told_that_the_task_was_cancelled() {
    let pool = Pool::new(1).unwrap();
    let endless = pool.apply_async(|()| sleep_long(), ()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| endless.get_timeout(SOON));
        thread::sleep(5 * NOW);
        drop(pool);
        assert_eq!(waiting.join().unwrap(), Err(Error::Cancelled));
    });
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
    let (results, pids) = keep_busy(&pool);
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

/// Python's `Pool(0)` raises a `ValueError`.
fn a_pool_of_no_worker_or_of_too_many_is_refused() {
    for workers in [0, 1025, usize::MAX] {
        let refused = Pool::new(workers).unwrap_err();
        assert_eq!(refused, Error::WorkerCount { workers, max: 1024 });
        let text = refused.to_string();
        assert!(
            text.contains("at least 1") && text.contains(&workers.to_string()),
            "{text}"
        );
    }
}

fn a_queue_is_no_result() {
    let pool = Pool::new(1).unwrap();
    let refused = pool.apply(|()| Queue::<u32>::new().unwrap(), ());
    assert_eq!(refused.unwrap_err(), Error::NotAtStart);
    healthy(&pool);
}

fn half(n: u32) -> Result<u32> {
    match n % 2 {
        0 => Ok(n / 2),
        _ => Err(Error::Empty),
    }
}

fn a_task_may_return_the_crates_result() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(half, 4).flatten(), Ok(2));
    assert_eq!(
        pool.apply_async(half, 3).unwrap().get().flatten(),
        Err(Error::Empty)
    );
    assert_eq!(pool.map(half, [2, 3]).unwrap(), [Ok(1), Err(Error::Empty)]);
}

/// In a worker, which is a fresh image, this is another one.
static SHARED: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

fn a_static_pool_in_its_own_task_is_another_pool_and_no_hang() {
    let task = |n: u64| {
        let results = SHARED.apply_async(square, n).unwrap();
        (SHARED.supervisor_pid(), results.get_timeout(SOON).unwrap())
    };
    for n in 0..4 {
        let (supervisor, result) = SHARED
            .apply_async(task, n)
            .unwrap()
            .get_timeout(SOON)
            .unwrap();
        assert_eq!(result, n * n);
        assert_ne!(supervisor, SHARED.supervisor_pid());
    }
}

fn a_task_that_makes_pools_without_end_is_told_so() {
    fn deeper(depth: u32) -> Result<u32> {
        Pool::new(1)?.apply(deeper, depth + 1).flatten()
    }
    let pool = Pool::new(1).unwrap();
    let result = pool.apply_async(deeper, 1).unwrap();
    let refused = result.get_timeout(SOON).flatten().unwrap_err();
    assert_eq!(refused, Error::NestedTooDeep { pools: 5 });
    let text = refused.to_string();
    assert!(text.contains("static pool"), "{text}");
}

fn a_panic_beside_a_busy_pool_ends_the_program() {
    notes();
    let program = Child::fork(|| {
        let pool = with_notes(2).build().unwrap();
        let busy = |()| {
            have_a_child();
            sleep_long();
        };
        let _first = pool.apply_async(busy, ()).unwrap();
        let mut results = pool.imap(|n: u64| n, 0..);
        results.next().unwrap().unwrap();
        let _second = pool.apply_async(busy, ()).unwrap();
        let _pids = [(); 4].map(|()| notes().get_timeout(SOON).unwrap());
        notes().put(&pool.supervisor_pid()).unwrap();
        panic!("a sibling of the pool");
    });
    let begin = Instant::now();
    let status = program.wait();
    assert!(
        matches!(status, Some(WaitStatus::Exited(_, 1..))),
        "{status:?}"
    );
    assert!(begin.elapsed() < SOON);
    all_end(&[notes().get_timeout(SOON).unwrap()]);
}

fn each_worker_has_an_index_of_its_own_which_its_successor_inherits() {
    assert_eq!(worker_index(), None);
    let pool = Pool::builder().workers(3).max_tasks_per_child(1).build();
    let pool = pool.unwrap();
    for _ in 0..10 {
        let both = pool
            .apply(|()| (worker_index(), process::id()), ())
            .unwrap();
        assert!(both.0.is_some_and(|index| index < 3), "{both:?}");
    }
    // Three at a time have three indices.
    let pool = with_notes(3).build().unwrap();
    let task = |_: u32| {
        notes().put(&(worker_index().unwrap() as u32)).unwrap();
        sleep_long();
    };
    let _running = [1, 2, 3].map(|n| pool.apply_async(task, n).unwrap());
    let mut indices = [(); 3].map(|()| notes().get_timeout(SOON).unwrap());
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
}

fn a_finalizer_runs_after_the_last_task_of_each_worker() {
    let note = || {
        notes()
            .put(&worker_index().map_or(9, |index| index as u32))
            .unwrap()
    };
    let pool = with_notes(2).finalizer(note).build().unwrap();
    healthy(&pool);
    assert!(notes().is_empty());
    pool.join().unwrap();
    let mut indices = [(); 2].map(|()| notes().get_timeout(SOON).unwrap());
    indices.sort_unstable();
    assert_eq!(indices, [0, 1]);
    // One that is replaced does it as well, and one that panics is no failure.
    let note = || {
        notes().put(&7).unwrap();
        panic!("a finalizer")
    };
    let builder = with_notes(1).max_tasks_per_child(1);
    let pool = builder.finalizer(note).build().unwrap();
    healthy(&pool);
    pool.join().unwrap();
    // A last one was there without a task.
    assert!((20..=21).contains(&notes().len()), "{}", notes().len());
}

fn a_worker_with_too_much_memory_is_replaced_after_its_task() {
    let limit = 64 << 20;
    let pool = Pool::builder()
        .workers(1)
        .max_memory_per_child(limit)
        .build();
    let pool = pool.unwrap();
    let leak = |len: usize| {
        std::mem::forget(vec![1_u8; len]);
        process::id()
    };
    let first = pool.apply(leak, 1).unwrap();
    assert_eq!(pool.apply(leak, 1).unwrap(), first);
    assert_eq!(pool.apply(leak, 80 << 20).unwrap(), first);
    assert_ne!(pool.apply(leak, 1).unwrap(), first);
}
