//! Tasks that are submitted by name, on a manager.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{mem, thread};

use distributed::{Client, Error, Priority, Result, Server, TaskOptions, Worker};

use support::tasks::{assert_waits_longer_each_time, failure, quick};
use support::{LONG, eventually, task_server};

mod support;

/// Long enough that a test would fail that waited for it.
const FAR: Duration = Duration::from_secs(3600);
/// For what is there already, as its worker has left.
const SHORT: Duration = Duration::from_secs(10);

/// A worker that leaves soon after the last task.
fn worker() -> Worker {
    Worker::new().idle(Duration::from_millis(200))
}

#[test]
fn results_are_got_by_their_handles_in_any_order_and_more_than_once() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let squares = tasks.submit_many::<u32>("square", &[3, 4, 5], TaskOptions::new())?;
    let sum = tasks.submit::<u32>("add", &(3, 4))?;
    let pending = sum.result(Some(Duration::ZERO));
    assert!(matches!(pending, Err(Error::TaskPending)));
    let worker = worker()
        .concurrency(2)
        .task("square", |n: u32| Ok::<_, Error>(n * n))
        .task("add", |(a, b): (u32, u32)| Ok::<_, Error>(a + b));
    assert_eq!(worker.serve(&client, "tasks")?.done, 4);
    assert_eq!(sum.result(Some(LONG))?, 7);
    for (square, want) in squares.iter().rev().zip([25, 16, 9]) {
        assert_eq!(square.result(Some(LONG))?, want);
        assert_eq!(square.result(None)?, want);
    }
    Ok(())
}

#[test]
fn threads_that_wait_for_different_tasks_each_get_their_own() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u32> = (0..40).collect();
    let handles = tasks.submit_many::<u32>("square", &numbers, TaskOptions::new())?;
    let waiting = Barrier::new(handles.len() + 1);
    thread::scope(|scope| {
        for (handle, n) in handles.iter().zip(&numbers) {
            let waiting = &waiting;
            scope.spawn(move || {
                waiting.wait();
                assert_eq!(handle.result(Some(LONG)).expect("it is done"), n * n);
            });
        }
        waiting.wait();
        let worker = worker().task("square", |n: u32| Ok::<_, Error>(n * n));
        worker.serve(&client, "tasks").map(|_| ())
    })
}

#[test]
fn a_failure_is_told_after_its_retries_with_its_text_its_task_and_its_worker() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let fails = tasks.submit_with::<u32>("fail", &7, quick().retries(3))?;
    let panics = tasks.submit_with::<u32>("panic", &7, quick().retries(0))?;
    let unknown = tasks.submit_with::<u32>("resize", &7, quick().retries(0))?;
    let mistaken = tasks.submit_with::<u32>("fail", &"seven", quick().retries(0))?;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = attempts.clone();
    let worker = worker()
        .task_with("fail", move |task, n: u32| {
            noted.lock().unwrap().push(task.attempt());
            Err::<u32, _>(format!("{n} is odd"))
        })
        .task("panic", |_: u32| -> Result<u32> {
            panic!("no more memory")
        });
    worker.serve(&client, "tasks")?;
    let failed = failure(fails.result(Some(LONG)));
    assert_eq!((failed.tries, failed.reason.as_str()), (4, "7 is odd"));
    assert_eq!(failed.task.as_deref(), Some("fail"));
    let here = format!("/{}/", std::process::id());
    let worker = failed.worker.clone().expect("it says where");
    assert!(
        worker.contains(&here) && !worker.starts_with('/'),
        "{worker}"
    );
    let text = failed.to_string();
    assert_eq!(
        text,
        format!("the task `fail` failed in 4 tries, the last on {worker}: 7 is odd")
    );
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3, 4]);
    let failed = failure(panics.result(Some(LONG)));
    assert_eq!(failed.reason, "the worker panicked: no more memory");
    let failed = failure(unknown.result(Some(LONG)));
    assert_eq!(
        failed.reason,
        "no task `resize` is registered here, but fail, panic"
    );
    let failed = failure(mistaken.result(Some(LONG)));
    let wrong = "the arguments of `fail`: an item does not go through as u32: invalid type: string";
    assert!(failed.reason.starts_with(wrong), "{failed}");
    let unwritable = tasks.submit::<u32>("fail", &nested(200));
    let text = unwritable.expect_err("it is too deep").to_string();
    assert!(
        text.ends_with("serde_json::value::Value: it is nested more than 128 deep"),
        "{text}"
    );
    assert!(!text.contains("TaskPayload"), "{text}");
    assert!(client.dead_letters("tasks")?.is_empty());
    Ok(())
}

#[test]
fn a_task_that_fails_waits_longer_each_time_and_is_done_in_the_end() -> Result<()> {
    let (_server, client) = task_server()?;
    assert_waits_longer_each_time(&client)
}

#[test]
fn a_task_whose_holder_gives_it_back_is_run_and_each_result_comes_once() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u32> = (0..200).collect();
    let handles = tasks.submit_many::<u32>("square", &numbers, TaskOptions::new())?;
    let begun = Arc::new(AtomicUsize::new(0));
    // Two that take a call for something else, so that it goes back.
    for _ in 0..2 {
        let raw = client.queue::<()>("tasks")?;
        assert!(raw.lease().is_err(), "a call is no ()");
    }
    let count = begun.clone();
    let worker = worker().concurrency(2).task("square", move |n: u32| {
        count.fetch_add(1, SeqCst);
        Ok::<_, Error>(n * n)
    });
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, begun.load(SeqCst)), (200, 200));
    for (handle, n) in handles.iter().zip(&numbers) {
        assert_eq!(handle.result(Some(LONG))?, n * n);
    }
    Ok(())
}

#[test]
fn a_task_is_tried_once_without_retries_and_its_submitter_is_told_of_a_dead_worker() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let once = tasks.submit_with::<u32>("square", &3, quick().retries(0))?;
    // As a worker that is killed: it takes the task, and its connection ends without a word.
    let dying = client.queue::<serde_json::Value>("tasks")?;
    mem::forget(dying.lease()?);
    drop(dying);
    let failed = failure(once.result(Some(LONG)));
    assert_eq!(failed.tries, 1);
    assert!(failed.reason.contains("not finished"), "{failed}");
    Ok(())
}

#[test]
fn a_task_over_its_time_limit_fails_and_its_function_is_told() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let limit = Duration::from_millis(50);
    let late = tasks.submit_with::<u32>("late", &(), quick().retries(0).time_limit(limit))?;
    let (told, hears) = mpsc::channel();
    let worker = worker().task_with("late", move |task, (): ()| {
        let is_told = eventually(|| task.is_cancelled());
        told.send(is_told).expect("the test waits");
        Ok::<u32, Error>(34)
    });
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, worked.failed), (0, 1));
    assert!(hears.recv().expect("it ran"));
    let failed = failure(late.result(Some(LONG)));
    assert_eq!(failed.reason, "it took longer than its time limit of 50ms");
    assert!(failed.worker.is_some());
    Ok(())
}

#[test]
fn an_urgent_task_overtakes_ten_thousand_others() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u32> = (0..10_000).collect();
    let others = tasks.submit_many::<()>("note", &numbers, TaskOptions::new())?;
    let low = TaskOptions::new().priority(Priority::Low);
    let last = tasks.submit_with::<()>("note", &20_000, low)?;
    let next = tasks.submit::<()>("note", &10_000)?;
    let high = TaskOptions::new().priority(Priority::High);
    let urgent = tasks.submit_with::<()>("note", &30_000, high)?;
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let worker = worker().task("note", move |n: u32| {
        noted.lock().unwrap().push(n);
        Ok::<_, Error>(())
    });
    worker.serve(&client, "tasks")?;
    let order = order.lock().unwrap();
    assert_eq!(order[..3], [30_000, 0, 1]);
    assert_eq!(order[10_000..], [9_999, 10_000, 20_000]);
    for handle in others.iter().chain([&last, &next, &urgent]) {
        handle.result(Some(LONG))?;
    }
    Ok(())
}

#[test]
fn a_thousand_cancelled_tasks_never_run_whether_they_wait_or_are_delayed() -> Result<()> {
    let (server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u32> = (0..500).collect();
    let soon = TaskOptions::new().delay(Duration::from_millis(1500));
    let mut cancelled = tasks.submit_many::<u32>("square", &numbers, TaskOptions::new())?;
    cancelled.extend(tasks.submit_many::<u32>("square", &numbers, soon)?);
    cancelled.extend(tasks.submit_many::<u32>("square", &[1, 2], TaskOptions::new().delay(FAR))?);
    let kept = tasks.submit_with::<u32>("square", &1000, soon)?;
    for handle in &cancelled {
        assert!(handle.cancel()?);
        assert!(!handle.cancel()?, "it is cancelled already");
    }
    let status = server.status();
    assert_eq!(status.queues[0].len, 0);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noted = ran.clone();
    let worker = worker()
        .idle(Duration::from_secs(3))
        .task("square", move |n: u32| {
            noted.lock().unwrap().push(n);
            Ok::<_, Error>(n * n)
        });
    worker.serve(&client, "tasks")?;
    assert_eq!(*ran.lock().unwrap(), [1000]);
    assert_eq!(kept.result(Some(LONG))?, 1_000_000);
    for handle in &cancelled {
        assert!(matches!(
            handle.result(Some(LONG)),
            Err(Error::TaskCancelled)
        ));
    }
    assert!(!kept.cancel()?, "it has its result");
    // Nothing of theirs is left to wait for.
    client.queue::<u32>("tasks")?.join()
}

#[test]
fn a_running_task_that_is_cancelled_is_told_and_its_result_counts_no_more() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let running = tasks.submit::<u32>("run", &())?;
    let (began, begins) = mpsc::channel();
    let (told, hears) = mpsc::channel();
    let worker = worker().task_with("run", move |task, (): ()| {
        began.send(()).expect("the test waits");
        told.send(eventually(|| task.is_cancelled()))
            .expect("the test waits");
        Ok::<u32, Error>(34)
    });
    let serving = client.clone();
    let worker = thread::spawn(move || worker.serve(&serving, "tasks"));
    begins.recv_timeout(LONG).expect("it begins");
    assert!(running.cancel()?);
    assert!(matches!(
        running.result(Some(LONG)),
        Err(Error::TaskCancelled)
    ));
    assert!(hears.recv().expect("it ran"), "nobody told it");
    let worked = worker.join().expect("it ends")?;
    assert_eq!((worked.done, worked.failed), (0, 1));
    Ok(())
}

#[test]
fn a_thousand_running_tasks_that_are_cancelled_are_told_and_their_threads_go_on() -> Result<()> {
    let (server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<usize> = (0..1000).collect();
    let running = tasks.submit_many::<usize>("run", &numbers, TaskOptions::new())?;
    let next = tasks.submit_many::<usize>("next", &[1; 100], TaskOptions::new())?;
    let (began, begins) = mpsc::channel();
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let worker = worker().concurrency(100);
    let worker = worker
        .task_with("run", move |task, n: usize| {
            began.send(n).expect("the test waits");
            if eventually(|| task.is_cancelled()) {
                count.fetch_add(1, SeqCst);
            }
            Ok::<_, Error>(n)
        })
        .task("next", |n: usize| Ok::<_, Error>(n));
    let serving = client.clone();
    let worker = thread::spawn(move || worker.serve(&serving, "tasks"));
    let mut begun = BTreeSet::new();
    while begun.len() < 1000 {
        let n = begins.recv_timeout(LONG).expect("the next one begins");
        assert!(begun.insert(n), "{n} begins again");
        assert!(running[n].cancel()?);
    }
    for handle in &running {
        let outcome = handle.result(Some(LONG));
        assert!(matches!(outcome, Err(Error::TaskCancelled)));
    }
    for handle in &next {
        assert_eq!(handle.result(Some(LONG))?, 1);
    }
    let worked = worker.join().expect("it ends")?;
    assert_eq!((worked.done, worked.failed), (100, 1000));
    assert_eq!(told.load(SeqCst), 1000, "nobody told the others");
    let status = server.status();
    assert_eq!((status.queues[0].len, status.queues[0].leases), (0, 0));
    Ok(())
}

#[test]
fn a_try_is_told_that_it_is_cancelled_also_when_the_one_before_it_ended_late() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let limited = quick().retries(1).time_limit(Duration::from_secs(2));
    let tried = tasks.submit_with::<u32>("try", &(), limited)?;
    let (began, begins) = mpsc::channel();
    let (told, hears) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let ends = Mutex::new(ends);
    let stop = Arc::default();
    let worker = Worker::new()
        .stop(Arc::clone(&stop))
        .concurrency(2)
        .task_with("try", move |task, (): ()| {
            began.send(task.attempt()).expect("the test waits");
            if task.attempt() == 1 {
                ends.lock().unwrap().recv().expect("it may end");
            } else {
                told.send(eventually(|| task.is_cancelled()))
                    .expect("the test waits");
            }
            Ok::<u32, Error>(34)
        })
        .task("next", |n: u32| Ok::<_, Error>(n));
    let serving = client.clone();
    let worker = thread::spawn(move || worker.serve(&serving, "tasks"));
    for attempt in [1, 2] {
        assert_eq!(begins.recv_timeout(LONG).expect("it begins"), attempt);
    }
    end.send(()).expect("the first still runs");
    // Done by the thread that had the first try.
    assert_eq!(tasks.submit::<u32>("next", &1)?.result(Some(LONG))?, 1);
    assert!(tried.cancel()?);
    assert!(hears.recv_timeout(2 * LONG).expect("it ends"), "not told");
    stop.store(true, SeqCst);
    let worked = worker.join().expect("it ends")?;
    assert_eq!((worked.done, worked.failed), (1, 2));
    Ok(())
}

#[test]
fn ten_thousand_delayed_tasks_run_at_their_times_and_none_before() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let lateness = Arc::new(Mutex::new(Vec::new()));
    let noted = lateness.clone();
    let start = Instant::now();
    let worker = worker()
        .idle(LONG)
        .concurrency(4)
        .task("note", move |due_ms: u64| {
            let due = start + Duration::from_millis(due_ms);
            let now = Instant::now();
            noted
                .lock()
                .unwrap()
                .push((now.saturating_duration_since(due), now < due));
            Ok::<_, Error>(())
        });
    let stop = Arc::default();
    let worker = worker.stop(Arc::clone(&stop));
    let serving = client.clone();
    let worker = thread::spawn(move || worker.serve(&serving, "tasks"));
    let mut handles = Vec::new();
    for n in 0..10_000 {
        // From when all are likely to be submitted, 1,000 a second.
        let due = Duration::from_millis(5000 + n);
        let delay = due.saturating_sub(start.elapsed());
        let options = TaskOptions::new().delay(delay);
        handles.push(tasks.submit_with::<()>("note", &(5000 + n), options)?);
    }
    for handle in &handles {
        handle.result(Some(LONG))?;
    }
    stop.store(true, SeqCst);
    worker.join().expect("it ends")?;
    let mut lateness = lateness.lock().unwrap();
    lateness.sort_unstable();
    assert_eq!(lateness.len(), 10_000);
    assert!(
        lateness.iter().all(|(_, is_early)| !is_early),
        "one ran before its time"
    );
    let [median, most, last] = [5000, 9_990, 9_999].map(|at| lateness[at].0);
    println!("late by {median:?} at the median, {most:?} at 99.9 %, {last:?} at most");
    // Wide, since the machine may have better things to do.
    assert!(median < Duration::from_millis(100), "{median:?}");
    Ok(())
}

#[test]
fn what_is_purged_is_cancelled_and_a_failure_that_nobody_waits_for_is_a_dead_letter() -> Result<()>
{
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let purged = tasks.submit::<u32>("square", &3)?;
    client.purge("tasks")?;
    assert!(matches!(
        purged.result(Some(LONG)),
        Err(Error::TaskCancelled)
    ));
    drop(tasks.submit_with::<u32>("fail", &3, quick().retries(0))?);
    drop((purged, tasks));
    // Nobody waits for its result, and nothing is kept of it.
    let names = || client.status().map(|status| status.queues.len());
    assert_eq!(names()?, 1);
    let worker = worker().task("fail", |_: u32| Err::<u32, _>("no database"));
    worker.serve(&client, "tasks")?;
    assert_eq!(client.dead_letters("tasks")?[0].reason, "no database");
    Ok(())
}

/// So many lists in each other.
fn nested(depth: usize) -> serde_json::Value {
    (0..depth).fold(serde_json::Value::Null, |inner, _| vec![inner].into())
}

/// A result that no server takes: Python has no dict with such a key.
fn unhashable() -> HashMap<Vec<u8>, u8> {
    HashMap::from([(vec![1], 2)])
}

#[test]
fn a_task_whose_result_the_server_refuses_fails_with_the_text_of_the_server() -> Result<()> {
    let builder = Server::builder().queue("tasks").max_message(4 << 10);
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.task_queue("tasks")?;
    let long = tasks.submit_with::<String>("long", &(), quick().retries(1))?;
    let keys = tasks.submit_with::<u32>("keys", &(), quick().retries(0))?;
    let wordy = tasks.submit_with::<u32>("wordy", &(), quick().retries(0))?;
    let worker = worker()
        .task("long", |(): ()| Ok::<_, Error>("x".repeat(8 << 10)))
        .task("keys", |(): ()| Ok::<_, Error>(unhashable()))
        .task("wordy", |(): ()| Err::<u32, _>("é".repeat(8 << 10)));
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, worked.failed), (0, 4));
    let failed = failure(long.result(Some(SHORT)));
    assert_eq!(failed.tries, 2);
    assert!(failed.reason.contains("limit"), "{failed}");
    let failed = failure(keys.result(Some(SHORT)));
    assert!(failed.reason.contains("key"), "{failed}");
    // So does one that fails with more words than a message holds.
    let failed = failure(wordy.result(Some(SHORT)));
    assert!(failed.reason.starts_with("éé"), "{failed}");
    assert_eq!(server.status().queues[0].leases, 0);
    Ok(())
}
