//! Descriptors, queues and locks as arguments of tasks.

use std::{
    fs::{self, File},
    io::{PipeWriter, Read, Write},
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    thread,
    time::Duration,
};

use multiprocess::{
    Connection, Descriptor, Error, Pool, Queue, pipe,
    sync::{Array, Barrier, Condvar, Event, Mutex, RwLock, Semaphore, Value},
};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::{
    endless, held, is_dropped,
    support::{SOON, eventually},
};

tests![
    a_socket_closes_when_its_task_is_done_and_it_is_dropped_here,
    a_new_worker_has_no_descriptor_of_a_task_that_another_runs,
    a_task_that_is_tried_again_has_its_descriptors_again,
    the_queue_and_each_lock_are_arguments_of_tasks,
    descriptors_go_with_the_items_of_every_map,
    a_descriptor_that_waits_for_the_next_chunk_goes_with_that,
    a_pool_keeps_more_descriptors_than_a_worker_may_have,
    nothing_is_kept_of_tasks_that_are_done_cancelled_or_refused,
    descriptors_of_tasks_arrive_and_close_in_a_storm_of_kills,
];

fn drained(queue: &Queue<u64>) -> Vec<u64> {
    queue.drain().unwrap().map(Result::unwrap).collect()
}

fn a_socket_closes_when_its_task_is_done_and_it_is_dropped_here() {
    let pool = Pool::new(2).unwrap();
    let (reader, writer) = held();
    let task = pool
        .apply_async(|_: Descriptor<PipeWriter>| 7, writer)
        .unwrap();
    assert_eq!(task.get_timeout(SOON).unwrap(), 7);
    eventually("the end of the pipe", || is_dropped(&reader));
}

fn a_new_worker_has_no_descriptor_of_a_task_that_another_runs() {
    let pool = Pool::new(2).unwrap();
    let (reader, writer) = held();
    let task = pool.apply_async(endless, writer).unwrap();
    // It is taken, else the other worker could take it.
    let runs = |()| thread::sleep(Duration::from_millis(1));
    pool.apply(runs, ()).unwrap();
    let killed = pool.apply(|()| -> u32 { process::abort() }, ());
    assert!(matches!(killed, Err(Error::Killed { signal: 6, .. })));
    let pid = pool.apply(|()| process::id(), ()).unwrap();
    assert!(!is_dropped(&reader));
    assert!(task.cancel());
    eventually("the end of the pipe", || is_dropped(&reader));
    assert!(pool.worker_pids().contains(&pid), "the new worker lives");
}

fn a_task_that_is_tried_again_has_its_descriptors_again() {
    let pool = Pool::builder().workers(1).retries(2).build().unwrap();
    let dies_twice = |(tries, held): (Queue<u32>, Descriptor<PipeWriter>)| {
        tries.put(&process::id()).unwrap();
        if tries.len() < 3 {
            process::abort();
        }
        (&held.0).write_all(b"at last").unwrap();
    };
    for _ in 0..2 {
        let tries = Queue::new().unwrap();
        let (mut reader, writer) = held();
        pool.apply(dies_twice, (tries.clone(), writer)).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), tries.len()), ("at last", 3));
        // As an item of a chunk, of which the others are not done again.
        let tries = Queue::new().unwrap();
        let (mut reader, writer) = held();
        let second = writer.0.try_clone().unwrap();
        let items = [writer, Descriptor(second)].map(|writer| (tries.clone(), writer));
        pool.map_chunked(dies_twice, items, 2).unwrap();
        text.clear();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), tries.len()), ("at lastat last", 4));
    }
}

type Locks = (
    (Mutex<u64>, RwLock<u64>, Value<u64>, Array<u64>),
    (Semaphore, Event, Condvar, Barrier),
    (Queue<u64>, Connection<u64, u64>),
);

fn the_queue_and_each_lock_are_arguments_of_tasks() {
    let use_all = |(shared, signals, messages): Locks| {
        *shared.0.lock().unwrap() += 1;
        *shared.1.write().unwrap() += 1;
        shared.2.fetch_add(1);
        shared.3.fetch_add(0, 1);
        signals.0.release().unwrap();
        signals.1.set();
        signals.2.notify_all();
        signals.3.wait().unwrap();
        messages.0.put(&1).unwrap();
        messages.1.send(&1).unwrap();
        messages.1.recv().unwrap()
    };
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    let locks: Locks = (
        (
            Mutex::new(0).unwrap(),
            RwLock::new(0).unwrap(),
            Value::new(0).unwrap(),
            Array::new(&[0]).unwrap(),
        ),
        (
            Semaphore::new(0).unwrap(),
            Event::new().unwrap(),
            Condvar::new().unwrap(),
            Barrier::new(2).unwrap(),
        ),
        (Queue::new().unwrap(), theirs),
    );
    let (shared, signals) = (
        (
            locks.0.0.clone(),
            locks.0.1.clone(),
            locks.0.2.clone(),
            locks.0.3.clone(),
        ),
        (locks.1.0.clone(), locks.1.1.clone(), locks.1.3.clone()),
    );
    let queue = locks.2.0.clone();
    // The pool is there before all of them could be handed to its workers.
    let pool = Pool::new(1).unwrap();
    let task = pool.apply_async(use_all, locks).unwrap();
    signals.2.wait_timeout(SOON).unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 1);
    ours.send(&7).unwrap();
    assert_eq!(task.get_timeout(SOON).unwrap(), 7);
    assert_eq!(queue.get_timeout(SOON).unwrap(), 1);
    let values = (*shared.0.lock().unwrap(), *shared.1.read().unwrap());
    assert_eq!((values, shared.2.get(), shared.3.load(0)), ((1, 1), 1, 1));
    assert!(signals.0.try_acquire().is_ok() && signals.1.is_set());
}

fn descriptors_go_with_the_items_of_every_map() {
    let pool = Pool::new(2).unwrap();
    let queue = Queue::<u64>::new().unwrap();
    let items = |range: std::ops::Range<u64>| range.map(|n| (queue.clone(), n));
    let put = |(queue, n): (Queue<u64>, u64)| queue.put(&n).unwrap();
    pool.map(put, items(0..100)).unwrap();
    pool.map_chunked(put, items(100..400), 150).unwrap();
    pool.map_async(put, items(400..500)).unwrap().get().unwrap();
    pool.starmap(
        |queue: Queue<u64>, n: u64| queue.put(&n).unwrap(),
        items(500..600),
    )
    .unwrap();
    assert!(pool.imap(put, items(600..700)).all(|it| it.is_ok()));
    assert!(
        pool.imap_unordered(put, items(700..800))
            .all(|it| it.is_ok())
    );
    assert!(
        pool.imap_chunked(put, items(800..900), 7)
            .all(|it| it.is_ok())
    );
    assert!(
        pool.imap_unordered_chunked(put, items(900..1000), 7)
            .all(|it| it.is_ok())
    );
    let mut all = drained(&queue);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1000));
}

/// A chunk is cut before an item that makes it longer than 1 MiB.
fn a_descriptor_that_waits_for_the_next_chunk_goes_with_that() {
    let pool = Pool::new(1).unwrap();
    let queue = Queue::<u64>::new().unwrap();
    let put = |(text, queue, n): (String, Queue<u64>, u64)| {
        assert_eq!(text.len(), 600 << 10);
        queue.put(&n).unwrap();
        n
    };
    let items = (0..6).map(|n| ("x".repeat(600 << 10), queue.clone(), n));
    let results = pool.map_chunked(put, items, 6).unwrap();
    assert!(results.into_iter().eq(0..6));
    assert_eq!(drained(&queue), [0, 1, 2, 3, 4, 5]);
}

fn a_pool_keeps_more_descriptors_than_a_worker_may_have() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
    let pool = Pool::new(1).unwrap();
    let gate = Queue::<()>::new().unwrap();
    let busy = pool
        .apply_async(|gate: Queue<()>| gate.get().unwrap(), gate.clone())
        .unwrap();
    let length = |Descriptor(file): Descriptor<File>| file.metadata().unwrap().len();
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(n).unwrap();
            pool.apply_async(length, Descriptor(file)).unwrap()
        })
        .collect();
    gate.put(&()).unwrap();
    busy.get_timeout(SOON).unwrap();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get_timeout(SOON).unwrap(), n);
    }
    let limits = |()| getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(pool.apply(limits, ()).unwrap(), (128, hard));
}

/// How many descriptors the supervisor of a pool has.
fn descriptors_of(pool: &Pool) -> usize {
    let folder = format!("/proc/{}/fd", pool.supervisor_pid());
    fs::read_dir(folder).unwrap().count()
}

/// The same after a task with a descriptor, when it stays so.
fn descriptors_when_idle(pool: &Pool) -> usize {
    pool.apply(|_: Descriptor<PipeWriter>| (), held().1)
        .unwrap();
    let mut before = 0;
    eventually("an idle supervisor", || {
        std::mem::replace(&mut before, descriptors_of(pool)) == before
    });
    before
}

fn nothing_is_kept_of_tasks_that_are_done_cancelled_or_refused() {
    let pool = Pool::new(1).unwrap();
    let before = descriptors_when_idle(&pool);
    for _ in 0..20 {
        let busy = pool.apply_async(endless, held().1).unwrap();
        let waiting = pool.apply_async(endless, held().1).unwrap();
        let forgotten = pool
            .apply_async(|_: Descriptor<PipeWriter>| (), held().1)
            .unwrap();
        drop(forgotten);
        assert!(waiting.cancel() && busy.cancel());
        let items = (0..3).map(|_| (held().1, 7));
        let fails = |(_, n): (Descriptor<PipeWriter>, u64)| assert_ne!(n, 7);
        assert!(pool.map_chunked(fails, items, 2).is_err());
    }
    pool.apply(|_: Descriptor<PipeWriter>| (), held().1)
        .unwrap();
    eventually("as many descriptors as before", || {
        descriptors_of(&pool) == before
    });
    let (reader, writer) = held();
    pool.close();
    let refused = pool.apply_async(endless, writer).unwrap_err();
    assert_eq!(refused, Error::Closed);
    eventually("the end of the pipe", || is_dropped(&reader));
}

fn descriptors_of_tasks_arrive_and_close_in_a_storm_of_kills() {
    const TASKS: usize = 100;
    const KILLS: u32 = 100;
    let pool = Pool::builder().workers(3).retries(1000).build().unwrap();
    let before = descriptors_when_idle(&pool);
    let write = |(first, second): (Descriptor<PipeWriter>, Descriptor<PipeWriter>)| {
        (&first.0).write_all(b"1").unwrap();
        (&second.0).write_all(b"2").unwrap();
    };
    let (kills, is_done) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(SeqCst) {
                for pid in pool.worker_pids() {
                    // A worker's number is its own until the supervisor reaps it.
                    let killed = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
                    kills.fetch_add(u32::from(killed.is_ok()), SeqCst);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        while kills.load(SeqCst) < KILLS {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let ((one, first), (two, second)) = (held(), held());
                    let task = pool.apply_async(write, (first, second)).unwrap();
                    (task, [one, two])
                })
                .collect();
            for (task, readers) in tasks {
                task.get_timeout(SOON).unwrap();
                for (mut reader, digit) in readers.into_iter().zip(["1", "2"]) {
                    let mut text = String::new();
                    // To the end: nobody has kept it.
                    reader.read_to_string(&mut text).unwrap();
                    assert!(
                        !text.is_empty() && text.replace(digit, "").is_empty(),
                        "{text}"
                    );
                }
            }
        }
        is_done.store(true, SeqCst);
    });
    eventually("as many descriptors as before", || {
        descriptors_of(&pool) == before
    });
}
