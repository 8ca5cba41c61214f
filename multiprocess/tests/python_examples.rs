//! What the examples in the documentation of Python's `multiprocessing` show, shown here: in plain
//! tests, which run beside each other in the threads of one program.

use std::process;
use std::thread;
use std::time::Duration;

use multiprocess::sync::{Array, Mutex, Value};
use multiprocess::{Connection, Error, Pool, Process, Queue, pipe};
use serde::{Deserialize, Serialize};

/// No answer takes so long.
const SOON: Duration = Duration::from_secs(30);

/// "Exchanging objects between processes", by a queue.
#[test]
fn a_queue_brings_objects_of_another_process() {
    type Objects = (u32, Option<u32>, String);
    let queue = Queue::<Objects>::new().unwrap();
    let put = |queue: Queue<Objects>| queue.put(&(42, None, "hello".to_string())).unwrap();
    let process = Process::spawn_with(put, queue.clone()).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), (42, None, "hello".into()));
    process.join().unwrap();
}

/// "Exchanging objects between processes", by a pipe.
#[test]
fn a_pipe_brings_objects_of_another_process() {
    let (parent, child) = pipe::<(), [u32; 2]>().unwrap();
    let send = |child: Connection<[u32; 2], ()>| child.send(&[42, 7]).unwrap();
    let process = Process::spawn_with(send, child).unwrap();
    assert_eq!(parent.recv_timeout(SOON).unwrap(), [42, 7]);
    process.join().unwrap();
    assert_eq!(parent.recv_timeout(SOON), Err(Error::Closed));
}

/// "Synchronization between processes": one line at a time, each in two pieces.
#[test]
fn with_a_lock_no_process_speaks_while_another_does() {
    let (lock, said) = (Mutex::new(()).unwrap(), Queue::new().unwrap());
    let speak = |(lock, said, number): (Mutex<()>, Queue<String>, u32)| {
        let held = lock.lock().unwrap();
        said.put(&"hello world".to_string()).unwrap();
        // The others would speak now, if they could.
        thread::sleep(Duration::from_millis(2));
        said.put(&number.to_string()).unwrap();
        drop(held);
    };
    let argument = |number| (lock.clone(), said.clone(), number);
    let processes = (0..10).map(|number| Process::spawn_with(speak, argument(number)).unwrap());
    for process in processes.collect::<Vec<_>>() {
        process.join().unwrap();
    }
    let pieces = said.drain().unwrap();
    let pieces: Vec<String> = pieces.into_iter().collect::<Result<_, _>>().unwrap();
    let mut numbers = Vec::new();
    for line in pieces.chunks(2) {
        assert_eq!(line[0], "hello world");
        numbers.push(line[1].parse::<u32>().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..10));
}

/// "Sharing state between processes".
#[test]
fn a_value_and_an_array_are_changed_by_another_process() {
    let (number, array) = (Value::new(0.0).unwrap(), Array::new(&[0, 1, 2, 3]).unwrap());
    let change = |(number, array): (Value<f64>, Array<i32>)| {
        number.set(2.5);
        let array = array.lock().unwrap();
        (0..4).for_each(|place| array.set(place, -array.get(place)));
    };
    let process = Process::spawn_with(change, (number.clone(), array.clone()));
    process.unwrap().join().unwrap();
    assert_eq!(number.get(), 2.5);
    assert_eq!(array.lock().unwrap().to_vec(), [0, -1, -2, -3]);
}

/// "Using a pool of workers", with all its calls and its time limit.
#[test]
fn a_pool_does_what_is_offloaded_to_it_and_a_wait_for_a_result_has_a_limit() {
    let pool = Pool::new(4).unwrap();
    let square = |x: u64| x * x;
    let squares: Vec<u64> = (0..10).map(square).collect();
    assert_eq!(pool.map(square, 0..10).unwrap(), squares);
    let unordered = pool.imap_unordered(square, 0..10);
    let mut unordered = unordered.collect::<Result<Vec<_>, _>>().unwrap();
    unordered.sort_unstable();
    assert_eq!(unordered, squares);
    let one = pool.apply_async(square, 20).unwrap();
    assert_eq!(one.get_timeout(SOON).unwrap(), 400);
    let pids = (0..4).map(|_| pool.apply_async(|()| process::id(), ()).unwrap());
    for pid in pids.collect::<Vec<_>>() {
        let pid = pid.get_timeout(SOON).unwrap();
        assert!(pool.worker_pids().contains(&pid));
    }
    let slow = pool
        .apply_async(thread::sleep, Duration::from_secs(600))
        .unwrap();
    let early = slow.get_timeout(Duration::from_millis(20));
    assert_eq!(early, Err(Error::TimedOut));
    // The end of the `with` block, which ends the tasks.
    drop(pool);
    assert!(slow.get_timeout(SOON).is_err());
}

/// "Using `Pool`": a division by zero among the tasks, in each of the calls.
#[test]
fn an_error_of_a_task_comes_out_of_the_call_that_waits_for_it() {
    let pool = Pool::new(4).unwrap();
    let divide = |x: u32| 100 / (x - 5);
    let is_told = |error: &Error| error.to_string().contains("attempt to");
    assert!(pool.apply(divide, 5).is_err_and(|error| is_told(&error)));
    assert!(pool.map(divide, 5..15).is_err_and(|error| is_told(&error)));
    let results: Vec<_> = pool.imap(divide, 5..15).collect();
    assert_eq!(results.len(), 10);
    let mut results = results.into_iter();
    let first = results.next().unwrap();
    assert!(first.is_err_and(|error| is_told(&error)));
    assert!(results.all(|result| result.is_ok()));
}

/// "Using `Pool`": the results of `imap`, each waited for a moment at a time.
#[test]
fn a_wait_for_the_next_result_that_was_too_short_loses_none() {
    let pool = Pool::new(2).unwrap();
    let nap = |x: u64| {
        thread::sleep(Duration::from_millis(5));
        x * 3
    };
    let mut results = pool.imap(nap, 0..10);
    let mut seen = Vec::new();
    while let Some(result) = results.next_timeout(Duration::from_millis(1)) {
        match result {
            Ok(number) => seen.push(number),
            Err(error) => assert_eq!(error, Error::TimedOut),
        }
    }
    assert!(seen.into_iter().eq((0..10).map(|x| x * 3)));
}

#[derive(Serialize, Deserialize)]
enum Calculation {
    Mul(u32, u32),
    Plus(u32, u32),
}

/// "An example showing how to use queues to feed tasks to a collection of worker processes".
#[test]
fn queues_feed_tasks_to_a_collection_of_workers() {
    let (tasks, done) = (Queue::new().unwrap(), Queue::new().unwrap());
    let work = |(tasks, done): (Queue<Calculation>, Queue<u32>)| {
        for task in &tasks {
            let result = match task.unwrap() {
                Calculation::Mul(a, b) => a * b,
                Calculation::Plus(a, b) => a + b,
            };
            done.put(&result).unwrap();
        }
    };
    (0..20).for_each(|i| tasks.put(&Calculation::Mul(i, 7)).unwrap());
    let start = |_| Process::spawn_with(work, (tasks.clone(), done.clone())).unwrap();
    let workers: Vec<_> = (0..4).map(start).collect();
    let mut results: Vec<u32> = (0..20).map(|_| done.get_timeout(SOON).unwrap()).collect();
    (0..10).for_each(|i| tasks.put(&Calculation::Plus(i, 8)).unwrap());
    results.extend((0..10).map(|_| done.get_timeout(SOON).unwrap()));
    results.sort_unstable();
    let mut expected: Vec<u32> = (0..20).map(|i| i * 7).chain(8..18).collect();
    expected.sort_unstable();
    assert_eq!(results, expected);
    // Python puts `STOP` once for each worker.
    tasks.close();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
}
