//! Many tasks by name at once, on an engine: `TASKS=10000` says how many, and each test prints what it
//! measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Error, Priority, QueueOptions, Result, TaskOptions, Worker};

use crate::server::{DEADLINE, Server};
use crate::tasks::{DELAYS, Serving, client};

/// How many tasks there are.
pub(crate) fn tasks_or(usual: u64) -> u64 {
    let wanted = std::env::var("TASKS");
    wanted.map_or(usual, |tasks| tasks.parse().expect("a number"))
}

/// Prints the median, the 999th of 1,000 and the last.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else {
        return println!("{what}: none");
    };
    let [median, most, last] = [last / 2, last * 999 / 1000, last].map(|at| times[at]);
    println!("{what}: {median:?} at the median, {most:?} at 99.9 %, {last:?} at most");
}

#[test]
fn delayed_tasks_are_done_and_none_runs_before_its_time_although_the_server_is_killed() -> Result<()>
{
    let Some(mut server) = Server::start() else {
        return Ok(());
    };
    if server.version() < DELAYS {
        println!("skipped: delays need nats-server 2.12 or newer");
        return Ok(());
    }
    let count = tasks_or(400);
    // Ten every 10 ms, from when all are likely to be submitted; killed when a third are due.
    let first = Duration::from_millis(1000 + count);
    let due = |n: u64| first + Duration::from_millis(n / 10 * 10);
    // What is at work when the server is killed comes back with the end of its lease.
    let lease = QueueOptions::new("tasks").lease(Duration::from_secs(2));
    let client = server.client_with(lease);
    let tasks = client.task_queue("tasks")?;
    let (start, ran) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let noted = ran.clone();
    let worker = Worker::new().concurrency(8).task("note", move |n: u64| {
        noted.lock().unwrap().push((n, start.elapsed()));
        Ok::<_, Error>(n)
    });
    let serving = Serving::start(&client, worker);
    let numbers: Vec<u64> = (0..count).collect();
    let mut handles = Vec::new();
    for some in numbers.chunks(10) {
        let delay = due(some[0]).saturating_sub(start.elapsed());
        let later = TaskOptions::new().delay(delay);
        handles.extend(tasks.submit_many::<u64>("note", some, later)?);
    }
    println!(
        "submitted after {:?}, the first due after {first:?}",
        start.elapsed()
    );
    thread::sleep(due(count / 3).saturating_sub(start.elapsed()));
    server.kill();
    let away = start.elapsed();
    thread::sleep(Duration::from_secs(1));
    server.start_again();
    let back = start.elapsed();
    for (handle, n) in handles.iter().zip(&numbers) {
        assert_eq!(handle.result(Some(DEADLINE))?, *n);
    }
    serving.stop()?;
    let ran = ran.lock().unwrap();
    let (mut before, mut down, mut after) = (Vec::new(), Vec::new(), Vec::new());
    // The first run of each: what was at work when the server was killed may be run again.
    let first_runs: BTreeMap<_, _> = ran.iter().rev().copied().collect();
    println!("{} tasks in {} runs", first_runs.len(), ran.len());
    for (n, at) in &first_runs {
        let due = due(*n);
        assert!(*at >= due, "{n} is due after {due:?} and ran after {at:?}");
        if *at < away {
            before.push(*at - due);
        } else if due < back {
            down.push(at.saturating_sub(back));
        } else {
            after.push(*at - due);
        }
    }
    print("late, run before the kill", before);
    print("due while the server was away, after it was back", down);
    print("late, due when the server was back", after);
    Ok(())
}

#[test]
fn delayed_tasks_run_in_the_order_of_their_times_and_none_has_used_up_a_try() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    if server.version() < DELAYS {
        println!("skipped: delays need nats-server 2.12 or newer");
        return Ok(());
    }
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let (began, begins) = mpsc::channel();
    let worker = Worker::new().task_with("note", move |task, time: u64| {
        began.send((task.attempt(), time)).expect("the test waits");
        Ok::<_, Error>(())
    });
    let serving = Serving::start(&client, worker);
    // The server makes tasks of the first two in one go, as they were submitted. On a machine that is
    // busy for longer than the time between them, they are late together.
    let times = [1720, 1500, 1480];
    let is_in_order = || -> Result<bool> {
        let submit = |time| {
            let later = TaskOptions::new().delay(Duration::from_millis(time));
            tasks.submit_with::<()>("note", &time, later)
        };
        let handles = times.map(submit);
        let next = || begins.recv_timeout(DEADLINE).expect("it begins");
        let order = times.map(|_| next());
        for handle in handles {
            handle?.result(Some(DEADLINE))?;
        }
        assert_eq!(order.map(|(attempt, _)| attempt), [1, 1, 1]);
        Ok(order[2].1 == times[0])
    };
    for _ in 0..10 {
        if is_in_order()? {
            return serving.stop().map(drop);
        }
    }
    panic!("the one that is due last never runs last");
}

#[test]
fn an_urgent_task_overtakes_all_others_while_workers_are_at_them() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    // So many that a machine that is busy does not come to the half before the urgent one is submitted.
    let numbers: Vec<u64> = (0..tasks_or(1000)).collect();
    let others = tasks.submit_many::<()>("note", &numbers, TaskOptions::new())?;
    let (began, begins) = mpsc::channel();
    let worker = Worker::new().concurrency(2).task("note", move |n: u64| {
        began.send((n, Instant::now())).expect("the test waits");
        thread::sleep(Duration::from_millis(1));
        Ok::<_, Error>(())
    });
    let serving = Serving::start(&client, worker);
    for _ in 0..50 {
        begins.recv_timeout(DEADLINE).expect("the others begin");
    }
    let urgent = TaskOptions::new().priority(Priority::High);
    let submitted = Instant::now();
    let urgent = tasks.submit_with::<()>("note", &u64::MAX, urgent)?;
    urgent.result(Some(DEADLINE))?;
    let pending = others
        .iter()
        .rev()
        .take_while(|other| matches!(other.result(Some(Duration::ZERO)), Err(Error::TaskPending)));
    let pending = pending.count();
    assert!(pending > others.len() / 2, "{pending} wait still");
    let mut all = begins.iter();
    let (_, began) = all.find(|(n, _)| *n == u64::MAX).expect("it ran");
    println!(
        "begun {:?} after it was submitted, {pending} waiting",
        began - submitted
    );
    for other in &others {
        other.result(Some(DEADLINE))?;
    }
    serving.stop().map(drop)
}

#[test]
fn running_tasks_that_are_cancelled_are_told_and_end() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<usize> = (0..usize::try_from(tasks_or(60)).expect("it fits")).collect();
    let running = tasks.submit_many::<()>("run", &numbers, TaskOptions::new())?;
    let (began, begins) = mpsc::channel();
    let (told, hears) = mpsc::channel();
    let worker = Worker::new()
        .concurrency(20)
        .task_with("run", move |task, n: usize| {
            began.send(n).expect("the test waits");
            let deadline = Instant::now() + DEADLINE / 2;
            while !task.is_cancelled() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            told.send((n, task.is_cancelled(), Instant::now()))
                .expect("the test waits");
            Ok::<_, Error>(())
        });
    let serving = Serving::start(&client, worker);
    let mut cancelled = BTreeMap::new();
    for _ in &numbers {
        let n = begins.recv_timeout(DEADLINE).expect("the next one begins");
        assert!(
            cancelled.insert(n, Instant::now()).is_none(),
            "{n} begins again"
        );
        assert!(running[n].cancel()?);
    }
    let mut times = Vec::new();
    for _ in &numbers {
        let (n, is_told, at) = hears.recv_timeout(DEADLINE).expect("all end");
        assert!(is_told, "{n} was not told");
        times.push(at - cancelled[&n]);
    }
    for handle in &running {
        let outcome = handle.result(Some(DEADLINE));
        assert!(matches!(outcome, Err(Error::TaskCancelled)));
    }
    print("from the call of cancel to the end", times);
    assert_eq!(serving.stop()?.failed, numbers.len() as u64);
    Ok(())
}
