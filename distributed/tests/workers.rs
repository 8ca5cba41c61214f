//! Workers of a manager, who hand in a result and take the next task in one call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use distributed::{Client, Error, QueueOptions, Result, Server, Worker};
use support::raw::{Raw, request};
use support::{LONG, eventually, python, pythons, run};

mod support;

/// A server with tasks from 1 on, and its client.
fn server(tasks: QueueOptions, results: QueueOptions, count: u32) -> Result<(Server, Client)> {
    let builder = Server::builder().queue(tasks).queue(results);
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put_many(&(1..=count).collect::<Vec<_>>())?;
    Ok((server, client))
}

/// One that has taken the first task.
fn holder(server: &Server) -> Raw {
    let mut holder = Raw::accepted(&server.address().to_string());
    let task = holder.call(&request("tasks", "take", b""));
    assert!(task.ends_with(b"K\x01t."), "{task:?}");
    holder
}

/// `put_and_take(90, results)`
fn put_and_take(results: &str) -> Vec<u8> {
    let mut arguments = b"K\x5aX".to_vec();
    arguments.extend((results.len() as u32).to_le_bytes());
    arguments.extend(results.bytes());
    request("tasks", "put_and_take", &arguments)
}

fn contains(reply: &[u8], word: &str) -> bool {
    reply
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

/// One that does not redeliver: what a worker has taken comes back to it all the same.
fn usual(name: &str) -> QueueOptions {
    QueueOptions::new(name)
}

#[test]
fn a_result_and_the_next_task_take_one_call() -> Result<()> {
    const TASKS: u32 = 200;
    let (server, client) = server(usual("tasks"), usual("results"), TASKS)?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<_, Error>(n + 1))?;
    assert_eq!(worked.done, u64::from(TASKS));
    let results = client.queue::<u32>("results")?;
    let all = results.get_many(TASKS as usize, Some(LONG))?;
    assert_eq!(all, (2..=TASKS + 1).collect::<Vec<_>>());
    let calls = server.status().calls;
    let calls = calls.buckets.iter().map(|(_, count)| count).sum::<u64>() + calls.over;
    // Those beside them make the queues known, wait for the first and the last, and end.
    assert!(calls < u64::from(TASKS) + 20, "{calls} calls");
    Ok(())
}

#[test]
fn the_next_task_of_a_worker_that_is_gone_comes_back_and_its_result_stays() -> Result<()> {
    let (server, client) = server(usual("tasks"), usual("results"), 2)?;
    let mut holder = holder(&server);
    let next = holder.call(&put_and_take("results"));
    assert!(next.ends_with(b"K\x02t."), "{next:?}");
    let tasks = client.queue::<u32>("tasks")?;
    assert!(tasks.is_empty()?);
    drop(holder);
    assert_eq!(tasks.get_timeout(LONG)?, 2);
    assert_eq!(client.queue::<u32>("results")?.try_get()?, 90);
    Ok(())
}

#[test]
fn a_result_is_put_also_when_there_is_no_next_task() -> Result<()> {
    let (server, client) = server(usual("tasks"), usual("results"), 1)?;
    let mut holder = holder(&server);
    let none = holder.call(&put_and_take("results"));
    assert!(contains(&none, "Empty"), "{none:?}");
    drop(holder);
    assert_eq!(client.queue::<u32>("results")?.try_get()?, 90);
    let is_over = || server.status().queues.iter().all(|queue| queue.leases == 0);
    assert!(eventually(is_over));
    assert!(client.queue::<u32>("tasks")?.is_empty()?);
    Ok(())
}

#[test]
fn who_is_late_with_a_result_puts_none_and_takes_no_next_task() -> Result<()> {
    let tasks = usual("tasks").visibility_timeout(Duration::from_millis(50));
    let (server, client) = server(tasks, usual("results"), 1)?;
    let mut late = holder(&server);
    let tasks = client.queue::<u32>("tasks")?;
    assert_eq!(tasks.get_timeout(LONG)?, 1);
    tasks.put(&2)?;
    let refused = late.call(&put_and_take("results"));
    assert!(contains(&refused, "RuntimeError"), "{refused:?}");
    assert_eq!(tasks.len()?, 1);
    assert!(client.queue::<u32>("results")?.is_empty()?);
    Ok(())
}

#[test]
fn a_result_for_no_queue_ends_no_task_and_takes_none() -> Result<()> {
    let (server, client) = server(usual("tasks"), usual("results"), 2)?;
    let mut holder = holder(&server);
    let refused = holder.call(&put_and_take("nothing"));
    assert!(contains(&refused, "KeyError"), "{refused:?}");
    let tasks = client.queue::<u32>("tasks")?;
    assert_eq!(tasks.len()?, 1);
    drop(holder);
    assert!(eventually(|| matches!(tasks.len(), Ok(2))));
    Ok(())
}

#[test]
fn while_there_is_no_room_for_a_result_the_next_task_is_another_workers() -> Result<()> {
    let (server, client) = server(usual("tasks"), usual("results").maxsize(1), 2)?;
    let results = client.queue::<u32>("results")?;
    results.put(&7)?;
    let mut holder = holder(&server);
    holder.send(&put_and_take("results"));
    let waits = || {
        server
            .status()
            .queues
            .iter()
            .any(|queue| queue.putters == 1)
    };
    assert!(eventually(waits));
    let other = client.queue::<u32>("tasks")?;
    assert_eq!(other.try_get()?, 2);
    assert_eq!((results.get()?, results.get_timeout(LONG)?), (7, 90));
    let none = holder.receive().expect("it is answered");
    assert!(contains(&none, "Empty"), "{none:?}");
    Ok(())
}

#[test]
fn a_next_task_that_cannot_be_read_fails_and_the_worker_goes_on() -> Result<()> {
    let (server, client) = server(usual("tasks").max_deliveries(1), usual("results"), 1)?;
    client.queue::<String>("tasks")?.put(&"two".to_string())?;
    client.queue::<u32>("tasks")?.put(&3)?;
    let worker = Worker::new().idle(Duration::from_millis(100));
    let worked = worker.run(&client, "tasks", "results", |n: &u32| Ok::<_, Error>(*n))?;
    assert_eq!((worked.done, worked.failed), (2, 1));
    assert_eq!(
        client.queue::<u32>("results")?.get_many(9, Some(LONG))?,
        [1, 3]
    );
    assert_eq!(client.dead_letters("tasks")?.len(), 1);
    drop(server);
    Ok(())
}

#[test]
fn a_worker_of_every_python_may_do_so_too() -> Result<()> {
    for (version, path) in pythons() {
        let (server, client) = server(usual("tasks"), usual("results"), 3)?;
        let address = server.address().to_string();
        let said = run(python(&path, "put_and_take.py").arg(&address));
        assert_eq!(said.trim(), "worker exit.", "{version}");
        let results = client.queue::<u32>("results")?;
        assert_eq!(results.get_many(9, Some(LONG))?, [1, 4, 9], "{version}");
    }
    Ok(())
}

#[test]
fn a_worker_that_is_stopped_gives_its_next_task_back() -> Result<()> {
    let (server, client) = server(usual("tasks"), usual("results"), 1000)?;
    let stop = Arc::new(AtomicBool::new(false));
    let worker = Worker::new().stop(stop.clone());
    let results = client.queue::<u32>("results")?;
    let working = thread::spawn(move || {
        worker.run(&client, "tasks", "results", |n: &u32| {
            thread::sleep(Duration::from_millis(1));
            Ok::<_, Error>(*n)
        })
    });
    assert_eq!(results.get_timeout(LONG)?, 1);
    stop.store(true, SeqCst);
    let worked = working.join().expect("no panic")?;
    let len = |name| {
        let queues = server.status().queues;
        let queue = queues.into_iter().find(|queue| queue.name == name);
        queue.map(|queue| queue.len)
    };
    assert!(eventually(|| len("tasks") == Some(1000 - worked.done)));
    assert_eq!(len("results"), Some(worked.done - 1));
    Ok(())
}

#[test]
fn a_worker_for_whose_threads_there_is_no_room_says_so() -> Result<()> {
    let (_server, address) =
        support::manager(&["--queue=get_task_queue", "--queue=get_result_queue"]);
    let mut worker = Command::new(cargo_bin("task_worker"));
    let worker = worker
        .args([&address, "--concurrency", "2"])
        .env("LC_ALL", "C");
    // No system has room for such a stack.
    let worker = worker.env("RUST_MIN_STACK", (1_u64 << 46).to_string());
    let output = worker
        .env("MANAGER_AUTHKEY", "abc")
        .timeout(LONG)
        .assert()
        .code(1);
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(said.starts_with("start a thread of a worker: "), "{said}");
    Ok(())
}
