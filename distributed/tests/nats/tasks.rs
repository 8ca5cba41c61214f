//! Tasks that are submitted by name, on an engine.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::message::PublishMessage;
use distributed::{
    Client, Error, Priority, QueueOptions, Result, Status, TaskHandle, TaskOptions, Worked, Worker,
};
use serde::{Deserialize, Deserializer};

use crate::many::tasks_or;
use crate::server::{DEADLINE, Server};
use crate::support::tasks::{assert_waits_longer_each_time, failure, quick};

/// The oldest server that delays messages.
pub(crate) const DELAYS: [u32; 2] = [2, 12];
const URL: &str = "TEST_TASKS_URL";

pub(crate) fn client(server: &Server) -> Client {
    server.client_with(QueueOptions::new("tasks"))
}

/// A worker that leaves soon after the last task.
fn worker() -> Worker {
    Worker::new().idle(Duration::from_millis(700))
}

/// A worker on a thread of its own, until it is stopped.
pub(crate) struct Serving {
    stop: Arc<AtomicBool>,
    ended: mpsc::Receiver<Result<Worked>>,
}

impl Serving {
    pub(crate) fn start(client: &Client, worker: Worker) -> Serving {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = worker.stop(Arc::clone(&stop));
        let (ends, ended) = mpsc::channel();
        let client = client.clone();
        thread::spawn(move || ends.send(worker.serve(&client, "tasks")));
        Serving { stop, ended }
    }

    pub(crate) fn stop(self) -> Result<Worked> {
        self.stop.store(true, SeqCst);
        self.ended.recv_timeout(DEADLINE).expect("it ends")
    }
}

#[test]
fn results_come_by_their_handles_and_failures_with_text_task_and_worker() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u64> = (0..300).chain([u64::MAX]).collect();
    let same = tasks.submit_many::<u64>("same", &numbers, TaskOptions::new())?;
    let fails = tasks.submit_with::<u32>("fail", &7, quick().retries(3))?;
    let panics = tasks.submit_with::<u32>("panic", &7, quick().retries(0))?;
    let unknown = tasks.submit_with::<u32>("resize", &7, quick().retries(0))?;
    let long = tasks.submit_with::<String>("long", &(2 << 20), quick().retries(0))?;
    assert!(matches!(
        fails.result(Some(Duration::ZERO)),
        Err(Error::TaskPending)
    ));
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = attempts.clone();
    let worker = worker()
        .concurrency(2)
        .task("same", |n: u64| Ok::<_, Error>(n))
        .task_with("fail", move |task, n: u32| {
            noted.lock().unwrap().push(task.attempt());
            Err::<u32, _>(format!("{n} is odd"))
        })
        .task("panic", |_: u32| -> Result<u32> { panic!("no memory") })
        .task("long", |len: usize| Ok::<_, Error>("a".repeat(len)));
    let worked = worker.serve(&client, "tasks")?;
    assert_eq!((worked.done, worked.failed), (301, 7));
    for (handle, n) in same.iter().zip(&numbers).rev() {
        assert_eq!(handle.result(Some(DEADLINE))?, *n);
        assert_eq!(handle.result(None)?, *n);
    }
    let failed = failure(fails.result(Some(DEADLINE)));
    assert_eq!((failed.tries, failed.reason.as_str()), (4, "7 is odd"));
    assert_eq!(failed.task.as_deref(), Some("fail"));
    let here = format!("/{}/", std::process::id());
    assert!(failed.worker.is_some_and(|worker| worker.contains(&here)));
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3, 4]);
    let reason = |handle: &TaskHandle<u32>| failure(handle.result(Some(DEADLINE))).reason;
    assert_eq!(reason(&panics), "the worker panicked: no memory");
    assert!(reason(&unknown).starts_with("no task `resize` is registered here"));
    let long = failure(long.result(Some(DEADLINE))).reason;
    assert!(
        long.starts_with("its result: the item is too long"),
        "{long}"
    );
    Ok(())
}

#[test]
fn a_failed_task_waits_longer_each_time_and_is_done_in_the_end() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    assert_waits_longer_each_time(&client(&server))
}

#[test]
fn an_urgent_task_overtakes_a_thousand_others() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let low = TaskOptions::new().priority(Priority::Low);
    tasks.submit_with::<()>("note", &2_000, low)?;
    let numbers: Vec<u32> = (0..1_000).collect();
    tasks.submit_many::<()>("note", &numbers, TaskOptions::new())?;
    let high = TaskOptions::new().priority(Priority::High);
    tasks.submit_with::<()>("note", &3_000, high)?;
    let status = |status: Status| {
        let queue = status
            .queues
            .into_iter()
            .find(|queue| queue.name == "tasks");
        let queue = queue.expect("it is there");
        (queue.len, queue.unfinished, queue.put)
    };
    assert_eq!(status(client.status()?), (1002, 1002, 1002));
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let worker = worker().task("note", move |n: u32| {
        noted.lock().unwrap().push(n);
        Ok::<_, Error>(())
    });
    worker.serve(&client, "tasks")?;
    assert_eq!(status(client.status()?), (0, 0, 1002));
    let order = order.lock().unwrap();
    assert_eq!(order[..3], [3_000, 0, 1]);
    assert_eq!(order[1_000..], [999, 2_000]);
    Ok(())
}

#[test]
fn a_task_that_comes_beside_another_goes_to_the_next_as_its_first_try() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    // Threads that wait for tasks of all priorities when those come together.
    let worker = Worker::new().concurrency(2);
    let worker = worker.task_with("try", |task, (): ()| Ok::<_, Error>(task.attempt()));
    let serving = Serving::start(&client, worker);
    for _ in 0..100 {
        let handles: Vec<_> = [Priority::Low, Priority::Normal, Priority::High]
            .map(|priority| {
                let once = quick().retries(0).priority(priority);
                tasks.submit_with::<u32>("try", &(), once)
            })
            .into_iter()
            .collect::<Result<_>>()?;
        for handle in &handles {
            assert_eq!(handle.result(Some(DEADLINE))?, 1);
        }
    }
    assert_eq!(serving.stop()?.done, 300);
    Ok(())
}

#[test]
fn a_delayed_task_runs_at_its_time_or_an_error_names_the_version_that_delays_need() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let delay = Duration::from_millis(1500);
    let later = TaskOptions::new().delay(delay).retries(0);
    let submitted = tasks.submit_many::<bool>("is_due", &[due(delay); 50], later);
    if server.version() < DELAYS {
        let error = submitted.expect_err("it delays nothing").to_string();
        let [major, minor] = server.version();
        assert!(
            error.starts_with("delay a task of the queue `tasks` at nats://")
                && error.contains(&format!(": the server is version {major}.{minor}."))
                && error.ends_with(", delays need 2.12 or newer"),
            "{error}"
        );
        return Ok(());
    }
    let first = tasks.submit::<bool>("is_due", &due(Duration::ZERO))?;
    let worker = Worker::new().task("is_due", |due: u128| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok::<_, Error>(now.is_ok_and(|now| now.as_millis() >= due))
    });
    let serving = Serving::start(&client, worker);
    assert!(first.result(Some(DEADLINE))?);
    let pending = submitted
        .as_ref()
        .map(|handles| handles[0].result(Some(Duration::ZERO)));
    assert!(matches!(pending, Ok(Err(Error::TaskPending))));
    for handle in submitted? {
        assert!(handle.result(Some(DEADLINE))?, "it ran before its time");
    }
    assert_eq!(serving.stop()?.done, 51);
    Ok(())
}

/// So much later than it is, in milliseconds since 1970.
fn due(delay: Duration) -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    (now.expect("it is later than 1970") + delay).as_millis()
}

#[test]
fn cancelled_tasks_never_run_also_when_their_submitter_has_left() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let kept_by = client.task_queue("tasks")?;
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u64> = (0..tasks_or(200)).collect();
    let mut cancelled = tasks.submit_many::<u64>("note", &numbers, TaskOptions::new())?;
    if server.version() >= DELAYS {
        let soon = TaskOptions::new().delay(Duration::from_millis(1000));
        cancelled.extend(tasks.submit_many::<u64>("note", &numbers, soon)?);
    }
    let kept = kept_by.submit::<u64>("note", &u64::MAX)?;
    for handle in &cancelled {
        assert!(handle.cancel()?);
        assert!(!handle.cancel()?, "it is cancelled already");
    }
    for handle in &cancelled {
        let outcome = handle.result(Some(DEADLINE));
        assert!(matches!(outcome, Err(Error::TaskCancelled)));
    }
    for none in ["", "*-*", "a-b", ">", "a.b-c"] {
        assert!(!kept_by.cancel(none)?, "{none} is no task");
    }
    drop((cancelled, tasks));
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noted = ran.clone();
    let worker = worker().idle(Duration::from_millis(2500));
    let worker = worker.task("note", move |n: u64| {
        noted.lock().unwrap().push(n);
        Ok::<_, Error>(n)
    });
    worker.serve(&client, "tasks")?;
    assert_eq!(*ran.lock().unwrap(), [u64::MAX]);
    assert_eq!(kept.result(Some(DEADLINE))?, u64::MAX);
    assert!(!kept.cancel()?, "it has its result");
    Ok(())
}

/// Submits a delayed task, cancels it, and leaves. Then comes what the server was making of it just as
/// it was taken out: it is told so late here because that takes the server a moment. False for a server
/// that delays nothing.
pub(crate) fn a_cancelled_task_comes_late(server: &Server, client: &Client) -> Result<bool> {
    if server.version() < DELAYS {
        return Ok(false);
    }
    let tasks = client.task_queue("tasks")?;
    let later = TaskOptions::new().delay(Duration::from_secs(3600));
    let cancelled = tasks.submit_with::<u64>("note", &[3], later)?;
    let id = cancelled.id().to_string();
    assert!(cancelled.cancel()?);
    drop((cancelled, tasks));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let other = async_nats::connect(server.url()).await;
        let engine = async_nats::jetstream::new(other.expect("it is there"));
        let message = PublishMessage::build()
            .payload(r#"{"task": "note", "args": [3]}"#.into())
            .header("Retries", "0")
            .header("Backoff", "100")
            .header("Due", "1");
        let sent = engine.send_publish(format!("tm.tasks.tasks.normal.{id}"), message);
        let stored = sent.await.expect("it is sent").await;
        stored.expect("it is stored");
    });
    Ok(true)
}

#[test]
fn a_task_that_is_cancelled_as_its_time_comes_does_not_run() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    a_cancelled_task_comes_late(&server, &client)?;
    let last = tasks.submit::<u64>("note", &[4])?;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noted = ran.clone();
    let worker = worker().task("note", move |[n]: [u64; 1]| {
        noted.lock().unwrap().push(n);
        Ok::<_, Error>(n)
    });
    worker.serve(&client, "tasks")?;
    assert_eq!(*ran.lock().unwrap(), [4]);
    assert_eq!(last.result(Some(DEADLINE))?, 4);
    Ok(())
}

/// A number that is parsed by code which is sure of its text.
#[derive(Deserialize)]
struct Parsed(#[serde(deserialize_with = "parse")] u32);

fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.parse().expect("a number"))
}

#[test]
fn an_argument_whose_own_code_panics_fails_its_task_alone() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let bad = tasks.submit_with::<u32>("parse", &"seven", quick().retries(0))?;
    let good = tasks.submit::<u32>("parse", &"7")?;
    let worker = worker().task("parse", |parsed: Parsed| Ok::<_, Error>(parsed.0));
    worker.serve(&client, "tasks")?;
    let reason = failure(bad.result(Some(DEADLINE))).reason;
    assert!(
        reason.contains("its own code panicked: a number"),
        "{reason}"
    );
    assert_eq!(good.result(Some(DEADLINE))?, 7);
    Ok(())
}

#[test]
fn a_running_task_that_is_cancelled_or_late_is_told_and_its_result_counts_no_more() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    let tasks = client.task_queue("tasks")?;
    let limit = Duration::from_millis(300);
    let limited = quick().retries(0).time_limit(limit);
    let late = tasks.submit_with::<u32>("run", &(), limited)?;
    let cancelled = tasks.submit::<u32>("run", &())?;
    let (began, begins) = mpsc::channel();
    let (told, hears) = mpsc::channel();
    let worker = Worker::new().concurrency(2);
    let worker = worker.task_with("run", move |task, (): ()| {
        began.send(()).expect("the test waits");
        let deadline = Instant::now() + DEADLINE / 2;
        while !task.is_cancelled() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        told.send(task.is_cancelled()).expect("the test waits");
        Ok::<u32, Error>(34)
    });
    let serving = Serving::start(&client, worker);
    for _ in 0..2 {
        begins.recv_timeout(DEADLINE).expect("both begin");
    }
    assert!(cancelled.cancel()?);
    let outcome = cancelled.result(Some(DEADLINE));
    assert!(matches!(outcome, Err(Error::TaskCancelled)));
    let failed = failure(late.result(Some(DEADLINE)));
    assert_eq!(failed.reason, "it took longer than its time limit of 300ms");
    assert!(failed.worker.is_some());
    for _ in 0..2 {
        assert!(hears.recv_timeout(DEADLINE).expect("both end"));
    }
    let worked = serving.stop()?;
    assert_eq!((worked.done, worked.failed), (0, 2));
    Ok(())
}

/// The worker that another test starts as a program of its own; otherwise it does nothing.
fn works_elsewhere(work: impl Fn(u64) + Send + Sync + 'static) -> bool {
    let Ok(url) = std::env::var(URL) else {
        return false;
    };
    let client = distributed::connect(&url).expect("the test has an engine");
    let worker = Worker::new().concurrency(2).task("square", move |n: u64| {
        work(n);
        Ok::<_, Error>(n * n)
    });
    worker.serve(&client, "tasks").expect("it is killed");
    true
}

#[test]
fn a_worker_that_is_killed_in_the_middle_leaves_every_task_with_one_result() -> Result<()> {
    if works_elsewhere(|_| thread::sleep(Duration::from_millis(5))) {
        return Ok(());
    }
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let lease = QueueOptions::new("tasks").lease(Duration::from_secs(2));
    let client = server.client_with(lease);
    let tasks = client.task_queue("tasks")?;
    let numbers: Vec<u64> = (0..600).collect();
    let handles = tasks.submit_many::<u64>("square", &numbers, TaskOptions::new())?;
    let mut workers: Vec<_> = (0..2).map(|_| Some(server.again(URL))).collect();
    for (at, handle) in handles.iter().enumerate() {
        assert_eq!(handle.result(Some(DEADLINE))?, numbers[at] * numbers[at]);
        if at % 200 == 100 {
            // Dropped, it is killed.
            workers[at / 200 % 2] = None;
            workers[at / 200 % 2] = Some(server.again(URL));
        }
    }
    drop(workers);
    // Nothing is left to do.
    let none = worker().task("square", |_: u64| -> Result<u64> {
        panic!("a second time")
    });
    let none = none.idle(Duration::from_secs(3)).serve(&client, "tasks")?;
    assert_eq!((none.done, none.failed), (0, 0));
    Ok(())
}

#[test]
fn a_task_that_kills_its_workers_fails_after_its_tries_and_others_are_done() -> Result<()> {
    if works_elsewhere(|n| {
        if n == 0 {
            std::process::abort()
        }
    }) {
        return Ok(());
    }
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let lease = QueueOptions::new("tasks").lease(Duration::from_secs(1));
    let client = server.client_with(lease);
    let tasks = client.task_queue("tasks")?;
    let killer = tasks.submit_with::<u64>("square", &0, quick().retries(1))?;
    let numbers: Vec<u64> = (1..20).collect();
    let others = tasks.submit_many::<u64>("square", &numbers, TaskOptions::new())?;
    for _ in 0..2 {
        let mut worker = server.again(URL);
        let deadline = Instant::now() + DEADLINE;
        while !worker.is_over() {
            assert!(Instant::now() < deadline, "it is not killed by its task");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let _third = server.again(URL);
    let failed = failure(killer.result(Some(DEADLINE)));
    assert_eq!((failed.tries, failed.worker), (2, None));
    assert!(failed.reason.contains("not finished"), "{}", failed.reason);
    for (handle, n) in others.iter().zip(&numbers) {
        assert_eq!(handle.result(Some(DEADLINE))?, n * n);
    }
    Ok(())
}

#[test]
fn a_task_that_takes_longer_than_a_lease_is_run_once() -> Result<()> {
    let Some(server) = Server::start() else {
        return Ok(());
    };
    let lease = Duration::from_secs(1);
    let client = server.client_with(QueueOptions::new("tasks").lease(lease));
    let tasks = client.task_queue("tasks")?;
    let long = tasks.submit_with::<u32>("wait", &(), quick().retries(0))?;
    let worker = Worker::new().concurrency(2);
    let worker = worker.task_with("wait", move |task, (): ()| {
        thread::sleep(5 * lease / 2);
        Ok::<_, Error>(task.attempt())
    });
    let serving = Serving::start(&client, worker);
    assert_eq!(long.result(Some(DEADLINE))?, 1);
    let worked = serving.stop()?;
    assert_eq!((worked.done, worked.failed), (1, 0));
    Ok(())
}

#[test]
fn submitter_and_worker_go_on_when_the_engine_was_away() -> Result<()> {
    let Some(mut server) = Server::start() else {
        return Ok(());
    };
    let client = client(&server);
    // It comes before whoever submits.
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let worker = Worker::new().concurrency(2).task("square", move |n: u64| {
        count.fetch_add(1, SeqCst);
        Ok::<_, Error>(n * n)
    });
    let serving = Serving::start(&client, worker);
    let tasks = client.task_queue("tasks")?;
    let before = tasks.submit::<u64>("square", &3)?;
    assert_eq!(before.result(Some(DEADLINE))?, 9);
    server.kill();
    // Longer than a worker waits for one task.
    thread::sleep(Duration::from_millis(2500));
    server.start_again();
    let after = tasks.submit::<u64>("square", &4)?;
    assert_eq!(after.result(Some(DEADLINE))?, 16);
    let worked = serving.stop()?;
    assert_eq!((worked.done, ran.load(SeqCst)), (2, 2));
    Ok(())
}
