use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::far_away::far_away;
use distributed::{Client, Error, Queue, QueueOptions, Worker};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::{DEADLINE, Server};

fn pair(server: &Server, lease: Duration) -> Client {
    let tasks = QueueOptions::new("tasks");
    let client = server.client_with(tasks.redeliver(true).lease(lease).max_deliveries(2));
    client.create("results").expect("a queue");
    client
}

/// Puts the numbers below `end`.
fn put(client: &Client, end: u64) -> Queue<u64> {
    let tasks = client.queue("tasks").expect("it is there");
    let numbers: Vec<u64> = (0..end).collect();
    tasks.put_many(&numbers).expect("they are stored");
    tasks
}

fn square(n: &u64) -> Result<u64, Infallible> {
    Ok(n * n)
}

#[test]
fn every_task_has_one_result_whatever_the_number_of_threads() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    for concurrency in [1, 4] {
        let tasks = put(&client, 500);
        let worker = Worker::new()
            .concurrency(concurrency)
            .idle(Duration::from_millis(300));
        let worked = worker
            .run(&client, "tasks", "results", square)
            .expect("it works");
        assert_eq!((worked.done, worked.failed), (500, 0));
        tasks.join().expect("all are done");
        let results = client.queue::<u64>("results").expect("it is there");
        let mut got = BTreeSet::new();
        while got.len() < 500 {
            got.extend(
                results
                    .get_many(100, Some(DEADLINE))
                    .expect("there are more"),
            );
        }
        assert_eq!(got, (0..500).map(|n| n * n).collect());
        assert!(results.is_empty().expect("it answers"));
    }
}

#[test]
fn long_tasks_are_not_kept_from_a_worker_that_has_nothing_to_do() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    let tasks = client.queue::<u64>("tasks").expect("it is there");
    tasks.put_many(&[0; 4]).expect("they are stored");
    // Each holds its task until both have one: a worker that took two would wait for itself.
    let meeting = Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let worker = Worker::new().idle(Duration::from_millis(300));
                let worked = worker.run(&client, "tasks", "results", |_: &u64| {
                    meeting.wait();
                    thread::sleep(Duration::from_millis(150));
                    Ok::<u64, Infallible>(0)
                });
                assert_eq!(worked.expect("it works").done, 2);
            });
        }
    });
}

#[test]
fn nothing_waits_for_a_long_task_that_was_fetched_with_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    put(&client, 200);
    let results = client.queue::<u64>("results").expect("it is there");
    let worker = Worker::new().concurrency(2).idle(Duration::from_secs(2));
    let worked = worker.run(&client, "tasks", "results", |n: &u64| {
        let deadline = Instant::now() + DEADLINE / 2;
        // It lasts until the results of all others are there.
        while *n == 100 && results.len().expect("it answers") < 199 {
            assert!(Instant::now() < deadline, "some wait for it");
            thread::sleep(Duration::from_millis(10));
        }
        square(n)
    });
    let worked = worked.expect("it works");
    assert_eq!((worked.done, worked.failed), (200, 0));
}

#[test]
fn work_that_fails_or_panics_is_tried_again_and_then_a_dead_letter() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    let tasks = client.queue::<u64>("tasks").expect("it is there");
    tasks.put_many(&[1, 2, 3]).expect("they are stored");
    let tries = AtomicU32::new(0);
    let worker = Worker::new().idle(Duration::from_secs(3));
    let worked = worker.run(&client, "tasks", "results", |n: &u64| match n {
        1 => {
            tries.fetch_add(1, SeqCst);
            Err("it is one".to_string())
        }
        2 => panic!("it is two"),
        _ => Ok(*n),
    });
    let worked = worked.expect("it works");
    assert_eq!((worked.done, worked.failed, tries.load(SeqCst)), (1, 4, 2));
    let dead = client.queue::<u64>("tasks.dead").expect("it is there");
    let letters = Mutex::new(BTreeSet::new());
    for _ in 0..2 {
        let letter = dead.lease_timeout(DEADLINE).expect("there are two");
        let (deliveries, reason) = letter.death().expect("it is a dead letter");
        letters
            .lock()
            .unwrap()
            .insert((letter.item, deliveries, reason.to_string()));
        letter.done().expect("it is ours");
    }
    let want = [
        (1, 2, "it is one".to_string()),
        (2, 2, "the worker panicked: it is two".to_string()),
    ];
    assert_eq!(
        letters.into_inner().expect("no panic"),
        BTreeSet::from(want)
    );
}

#[test]
fn an_item_of_another_type_harms_no_worker() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    let texts = client.queue::<String>("tasks").expect("it is there");
    texts
        .put(&"not a number".to_string())
        .expect("it is stored");
    let tasks = client.queue::<u64>("tasks").expect("it is there");
    assert!(matches!(
        tasks.get_timeout(DEADLINE),
        Err(Error::Json { .. })
    ));
    tasks.put(&3).expect("it is stored");
    let worker = Worker::new().idle(Duration::from_secs(3));
    let worked = worker
        .run(&client, "tasks", "results", square)
        .expect("it works");
    assert_eq!((worked.done, worked.failed), (1, 1));
    let dead = client.queue::<String>("tasks.dead").expect("it is there");
    let letter = dead.lease_timeout(DEADLINE).expect("there is one");
    let (_, reason) = letter.death().expect("it is a dead letter");
    assert!(reason.contains("not a u64"), "{reason}");
}

#[test]
fn a_worker_that_is_stopped_finishes_what_it_is_at_and_gives_back_the_rest() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    let tasks = put(&client, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = Worker::new().stop(stop.clone());
    let worked = worker.run(&client, "tasks", "results", |n: &u64| {
        if *n == 100 {
            stop.store(true, SeqCst);
        }
        Ok::<u64, Infallible>(*n)
    });
    let worked = worked.expect("it works");
    assert_eq!(worked.done, 101);
    let results = client.queue::<u64>("results").expect("it is there");
    assert_eq!(results.len().expect("it answers"), 101);
    // What it gave back is there at once, though leases last longer than this test may.
    let mut left = BTreeSet::new();
    while left.len() < 99 {
        left.extend(
            tasks
                .get_many(99, Some(DEADLINE / 4))
                .expect("there are more"),
        );
    }
    assert_eq!(left, (101..200).collect());
}

#[test]
fn a_worker_that_is_stopped_while_the_server_is_away_does_not_wait_for_it() {
    let Some(mut server) = Server::start() else {
        return;
    };
    // It would wait longer than this test.
    let client = pair(&server, DEADLINE).reconnect_within(10 * DEADLINE);
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Barrier::new(2));
    let worker = Worker::new().stop(stop.clone());
    let tasks = client.queue::<u64>("tasks").expect("it is there");
    tasks.put(&3).expect("it is stored");
    let (say, said) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let worked = worker.run(&client, "tasks", "results", |n: &u64| {
                begun.wait();
                square(n)
            });
            say.send(worked.expect("it leaves in peace").done)
        });
        begun.wait();
        tasks.join().expect("it is done");
        server.kill();
        stop.store(true, SeqCst);
        assert_eq!(said.recv_timeout(DEADLINE), Ok(1));
    });
}

#[test]
fn a_worker_that_stood_still_for_too_long_leaves_alone_what_others_may_have() {
    let Some(server) = Server::start() else {
        return;
    };
    let limit = Duration::from_secs(1);
    let client = pair(&server, limit);
    let tasks = put(&client, 200);
    let begun = Mutex::new(BTreeMap::<u64, u32>::new());
    let worker = Worker::new().time_limit(limit).idle(3 * limit);
    let worked = worker.run(&client, "tasks", "results", |n: &u64| {
        let times = *begun
            .lock()
            .unwrap()
            .entry(*n)
            .and_modify(|n| *n += 1)
            .or_insert(1);
        if *n == 100 && times == 1 {
            thread::sleep(3 * limit);
        }
        square(n)
    });
    assert!(worked.expect("it works").done >= 200);
    let begun = begun.into_inner().expect("no panic");
    let twice: Vec<_> = begun.into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(
        twice,
        [(100, 2)],
        "what it had fetched with it, it began once"
    );
    tasks.join().expect("all are done");
}

/// What the worker below dies of, while it and others are at full speed.
const POISON: u64 = 1000;
const ALL: u64 = 20_000;

/// Also the program of the workers: this test, run again with the URL in its environment.
#[test]
fn a_task_that_kills_every_worker_is_a_dead_letter_and_all_others_are_done() {
    if let Ok(url) = std::env::var("WORK_AT") {
        let client = distributed::connect(&url).expect("the server is ready");
        let work = |n: &u64| {
            if *n == POISON {
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            square(n)
        };
        let worked = Worker::new().run(&client, "tasks", "results", work);
        panic!("it works until it is killed: {worked:?}");
    }
    let Some(server) = Server::start() else {
        return;
    };
    let tasks = QueueOptions::new("tasks").redeliver(true);
    let client = server.client_with(tasks.lease(Duration::from_millis(300)).max_deliveries(3));
    client.create("results").expect("a queue");
    put(&client, ALL);
    let mut workers = [(); 4].map(|()| server.again("WORK_AT"));
    let results = client.queue::<u64>("results").expect("it is there");
    let dead = client.queue::<u64>("tasks.dead").expect("it is there");
    let (mut got, mut deaths) = (BTreeSet::new(), 0);
    let deadline = Instant::now() + DEADLINE;
    while got.len() < ALL as usize - 1 || dead.is_empty().expect("it answers") {
        assert!(
            Instant::now() < deadline,
            "{} after {deaths} deaths",
            got.len()
        );
        match results.get_many(256, Some(Duration::from_millis(100))) {
            Ok(some) => got.extend(some),
            Err(error) => assert!(matches!(error, Error::Empty), "{error}"),
        }
        for worker in &mut workers {
            if worker.is_over() {
                *worker = server.again("WORK_AT");
                deaths += 1;
            }
        }
    }
    assert_eq!(
        got,
        (0..ALL).filter(|n| *n != POISON).map(|n| n * n).collect()
    );
    let letter = dead.lease_timeout(DEADLINE).expect("there is one");
    let (tries, reason) = letter.death().expect("it is a dead letter");
    assert_eq!((letter.item, tries, deaths), (POISON, 3, 3), "{reason}");
    assert_eq!(dead.len().expect("it answers"), 0, "and no other");
}

#[test]
fn a_worker_far_away_asks_for_tasks_while_it_works_and_not_for_each_alone() {
    let Some(server) = Server::start() else {
        return;
    };
    // A round trip of 200 ms: 600 of them, two for each task, are twice the deadline.
    let port = far_away(server.port(), Duration::from_millis(100)).expect("a free port");
    let near = pair(&server, DEADLINE);
    put(&near, 300);
    let far = distributed::connect(&format!("nats://127.0.0.1:{port}")).expect("it answers");
    let start = Instant::now();
    let worker = Worker::new().idle(Duration::from_secs(1));
    let worked = worker.run(&far, "tasks", "results", square);
    assert_eq!(worked.expect("it works").done, 300);
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
}

#[test]
fn a_result_that_is_too_long_is_a_dead_letter_and_takes_no_other_along() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = pair(&server, DEADLINE);
    put(&client, 40);
    let text = |n: &u64| {
        let length = [10, 2 << 20][usize::from(*n == 20)];
        Ok::<_, Infallible>("x".repeat(length))
    };
    // Long enough for the second try of the one that fails.
    let worker = Worker::new().idle(Duration::from_secs(4));
    let worked = worker.run(&client, "tasks", "results", text);
    let worked = worked.expect("it goes on");
    assert_eq!((worked.done, worked.failed), (39, 2));
    let results = client.queue::<String>("results").expect("it is there");
    assert_eq!(results.len().expect("it answers"), 39);
    let dead = client.queue::<u64>("tasks.dead").expect("it is there");
    let letter = dead.lease().expect("there is one");
    let (tries, reason) = letter.death().expect("it is dead");
    assert_eq!((letter.item, tries), (20, 2));
    assert!(
        reason.starts_with("its result: the item is too long"),
        "{reason}"
    );
}
