//! Who may do what: the configuration in the page on growing, and what one is told who may less.

use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, Error, Queue, QueueOptions, Result, TaskOptions, Worker};

use crate::server::{DEADLINE, Server};

/// The configuration that the page on growing shows.
const CONFIGURATION: &str = include_str!("../../docs/permissions.conf");

fn client(server: &Server, user: &str) -> Client {
    let port = server.port();
    let url = format!("nats://{user}@127.0.0.1:{port}");
    distributed::connect(&url).expect("the user is known")
}

/// Makes both queues, and puts one task.
fn master(server: &Server) -> Client {
    let master = client(server, "master:choose%20one");
    let tasks = QueueOptions::new("get_task_queue").max_deliveries(1);
    master.create(tasks).expect("a master makes queues");
    master
        .create("get_result_queue")
        .expect("a master makes queues");
    let tasks: Queue<u32> = master.queue("get_task_queue").expect("it is there");
    tasks.put(&34).expect("a master puts tasks");
    master
}

/// A worker that does not wait longer than it must for what it may not have.
fn worker(server: &Server) -> Client {
    client(server, "worker:choose%20another").reconnect_within(Duration::from_millis(1))
}

/// What a worker does with one task.
fn work(worker: &Client) -> Result<()> {
    let tasks = worker.queue::<u32>("get_task_queue")?;
    let results = worker.queue::<u32>("get_result_queue")?;
    let lease = tasks.lease()?;
    let result = lease.item * 34;
    tasks.finish(&results, vec![(lease, result)])?;
    Ok(())
}

fn is_forbidden(error: &Error) {
    let text = error.to_string();
    assert!(
        text.contains("the server says: Permissions Violation for "),
        "{text}"
    );
}

#[test]
fn a_worker_of_the_least_rights_serves_tasks_by_name_and_submits_none() -> Result<()> {
    let Some(server) = Server::configured(CONFIGURATION) else {
        return Ok(());
    };
    let tasks = master(&server).task_queue("get_task_queue")?;
    let soon = Duration::from_millis(1);
    let options = TaskOptions::new().retries(1).backoff(soon, soon);
    let half = tasks.submit_many::<u32>("half", &[34, 35], options)?;
    let serving = worker(&server);
    let worker = Worker::new().idle(Duration::from_secs(1));
    let worker = worker.task("half", |n: u32| match n % 2 {
        0 => Ok(n / 2),
        _ => Err("it is odd"),
    });
    let worked = worker.serve(&serving, "get_task_queue")?;
    assert_eq!((worked.done, worked.failed), (1, 2));
    assert_eq!(half[0].result(Some(DEADLINE))?, 17);
    let failed = half[1].result(Some(DEADLINE)).expect_err("it is odd");
    assert!(failed.to_string().ends_with(": it is odd"), "{failed}");
    is_forbidden(
        &serving
            .task_queue("get_task_queue")
            .expect_err("a submitter"),
    );
    Ok(())
}

#[test]
fn a_worker_of_the_least_rights_does_its_job_and_no_other() {
    let Some(server) = Server::configured(CONFIGURATION) else {
        return;
    };
    let master = master(&server);
    let worker = worker(&server);
    work(&worker).expect("it may");
    let results: Queue<u32> = master.queue("get_result_queue").expect("it is there");
    assert_eq!(
        results.get_timeout(DEADLINE).expect("there is one"),
        34 * 34
    );
    let tasks: Queue<u32> = master.queue("get_task_queue").expect("it is there");
    tasks.join().expect("the task is done");
    tasks.put(&1).expect("another");
    let given: Queue<u32> = worker.queue("get_task_queue").expect("it is there");
    let lease = given.lease().expect("it may take it");
    lease.fail("too hard").expect("it may give up");
    let letters: Queue<u32> = master.queue("get_task_queue.dead").expect("it is there");
    assert_eq!(letters.get_timeout(DEADLINE).expect("there is one"), 1);
    // Who answers late is counted the next time.
    let start = Instant::now();
    while master.status().expect("a master may ask").connections != 2 {
        assert!(start.elapsed() < DEADLINE, "both are counted");
    }
    thread::scope(|scope| {
        scope.spawn(|| is_forbidden(&worker.create("more").expect_err("a queue")));
        scope.spawn(|| is_forbidden(&given.put(&1).expect_err("a task")));
        scope.spawn(|| is_forbidden(&worker.purge("get_task_queue").expect_err("empty")));
        scope.spawn(|| is_forbidden(&worker.status().expect_err("all queues")));
        let results = worker
            .queue::<u32>("get_result_queue")
            .expect("it is there");
        scope.spawn(move || is_forbidden(&results.get().expect_err("a result")));
    });
}

/// Starts a server whose worker lacks a right.
fn serve_without(right: &str) -> Option<Server> {
    let (before, worker) = CONFIGURATION
        .split_once("user: worker")
        .expect("there is one");
    let right = format!("\"{right}\"");
    assert_eq!(worker.matches(&right).count(), 1, "{right}");
    // Another, so that no list is empty.
    let worker = worker.replace(&right, "\"nothing\"");
    // It allows one acknowledgement of each item, though no renewal of its lease.
    let worker = worker.replace("allow_responses: true", "");
    Server::configured(&format!("{before}user: worker{worker}"))
}

#[test]
fn a_worker_without_a_right_that_it_needs_is_told_which() {
    let rights = [
        "$JS.API.STREAM.INFO.tm-queue-get_task_queue",
        "$JS.API.CONSUMER.INFO.tm-queue-get_task_queue.workers",
        "$JS.API.CONSUMER.MSG.NEXT.tm-queue-get_task_queue.workers",
        "$JS.API.STREAM.INFO.tm-queue-get_result_queue",
        "$JS.API.CONSUMER.INFO.tm-queue-get_result_queue.workers",
        "tm.queue.get_result_queue",
        "_INBOX.>",
    ];
    thread::scope(|scope| {
        for right in rights {
            scope.spawn(move || {
                let Some(server) = serve_without(right) else {
                    return;
                };
                let _master = master(&server);
                let error = work(&worker(&server)).expect_err("it may not");
                is_forbidden(&error);
                let text = error.to_string();
                assert!(
                    text.contains(right.trim_end_matches('>')),
                    "{right}: {text}"
                );
            });
        }
    });
}

#[test]
fn a_worker_that_may_not_bury_a_task_is_told_and_the_task_stays() {
    let Some(server) = serve_without("tm.dead.get_task_queue") else {
        return;
    };
    let master = master(&server);
    let worker = worker(&server);
    let tasks: Queue<u32> = worker.queue("get_task_queue").expect("it is there");
    let lease = tasks.lease().expect("it may take it");
    is_forbidden(&lease.fail("too hard").expect_err("it may not"));
    let status = master.status().expect("a master may ask");
    let tasks = status
        .queues
        .iter()
        .find(|queue| queue.name == "get_task_queue");
    assert_eq!(tasks.expect("it is there").unfinished, 1);
}

#[test]
fn a_worker_that_may_not_count_what_it_begins_is_told() {
    let rights = [
        "tm.starts.get_task_queue.*",
        "$JS.API.STREAM.INFO.tm-starts-get_task_queue",
    ];
    for right in rights {
        let Some(server) = serve_without(right) else {
            return;
        };
        let master = master(&server);
        master
            .create(QueueOptions::new("get_task_queue").max_deliveries(2))
            .expect("a master changes queues");
        let worker = worker(&server);
        let tasks: Queue<u32> = worker.queue("get_task_queue").expect("it is there");
        drop(tasks.lease().expect("it may take it once"));
        let again = tasks.lease().and_then(|lease| lease.fail("no"));
        let error = again.expect_err("and not twice");
        is_forbidden(&error);
        let text = error.to_string();
        assert!(text.contains("starts"), "{text}");
    }
}

#[test]
fn a_call_that_is_forbidden_is_not_tried_again_and_again() {
    let Some(server) = Server::configured(CONFIGURATION) else {
        return;
    };
    let _master = master(&server);
    let worker = client(&server, "worker:choose%20another").reconnect_within(2 * DEADLINE);
    let tasks: Queue<u32> = worker.queue("get_task_queue").expect("it may look");
    let results: Queue<u32> = worker.queue("get_result_queue").expect("it may look");
    let start = Instant::now();
    is_forbidden(&tasks.put(&1).expect_err("it may not put"));
    is_forbidden(
        &results
            .get_timeout(Duration::from_secs(1))
            .expect_err("nor get"),
    );
    is_forbidden(&worker.create("more").expect_err("nor make queues"));
    is_forbidden(&worker.purge("get_task_queue").expect_err("nor empty them"));
    is_forbidden(&worker.queue::<u32>("none").expect_err("nor look at others"));
    assert!(start.elapsed() < DEADLINE, "it tried on");
}

#[test]
fn a_worker_that_may_not_acknowledge_is_told_and_takes_no_more() {
    let Some(server) = serve_without("$JS.ACK.tm-queue-get_task_queue.workers.>") else {
        return;
    };
    let master = master(&server);
    let worker = worker(&server);
    let tasks: Queue<u32> = worker.queue("get_task_queue").expect("it may look");
    let lease = tasks.lease_timeout(DEADLINE).expect("it may take it");
    lease.done().expect("it does not wait for an answer");
    is_forbidden(&tasks.get_timeout(DEADLINE).expect_err("it is told"));
    drop(master);
}

#[test]
fn a_client_that_may_not_be_counted_works_all_the_same() {
    let Some(server) = serve_without("tm.clients") else {
        return;
    };
    let master = master(&server);
    let worker = worker(&server);
    work(&worker).expect("it may");
    assert_eq!(master.status().expect("a master may ask").connections, 1);
    let error = worker.queue::<u32>("a.b").expect_err("it is no name");
    assert!(!error.to_string().contains("the server says"), "{error}");
}
