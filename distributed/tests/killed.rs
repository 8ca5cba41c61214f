//! What survives the death of a worker, of a client and of the server.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::program::Program;
use distributed::{Client, Error, QueueOptions, Result, Server, pickle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::raw::{Raw, request};
use support::{LONG, eventually, python, pythons, run, some_pythons};

mod support;

fn server(redeliver: bool) -> Server {
    Server::builder()
        .queue(QueueOptions::new("get_task_queue").redeliver(redeliver))
        .queue("get_result_queue")
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

/// A Python worker that sleeps for so long between its `get` and its `put`.
fn worker(path: &Path, server: &Server, seconds: &str) -> Program {
    let address = server.address().to_string();
    support::start(python(path, "task_worker.py").args([&address, seconds]))
}

#[test]
fn a_task_whose_worker_is_killed_goes_to_another_worker() -> Result<()> {
    for (version, path) in pythons() {
        let server = server(true);
        let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("get_task_queue")?;
        let mut dying = worker(&path, &server, "600");
        tasks.put(&7)?;
        tasks.put(&8)?;
        assert_eq!(support::line(&dying), "run task 7 * 7...");
        assert_eq!(tasks.get_timeout(LONG)?, 8, "{version}");
        let other = thread::spawn(move || (tasks.get_timeout(LONG), tasks));
        dying.kill().expect("it is ours");
        let (task, tasks) = other.join().expect("no panic");
        assert_eq!(task?, 7, "{version}");
        // Its new worker asks for the next: so it is done, and does not come back.
        assert!(matches!(tasks.try_get(), Err(Error::Empty)));
        drop(tasks);
        let status = &server.status().queues[1];
        assert_eq!((status.leases, status.redelivered), (0, 1), "{status:?}");
    }
    Ok(())
}

#[test]
fn without_redelivery_a_task_is_gone_with_its_worker_as_in_python() -> Result<()> {
    for (_, path) in some_pythons() {
        let server = server(false);
        let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("get_task_queue")?;
        let mut dying = worker(&path, &server, "600");
        tasks.put(&7)?;
        assert_eq!(support::line(&dying), "run task 7 * 7...");
        dying.kill().expect("it is ours");
        assert!(eventually(|| server.status().connections <= 1));
        assert!(matches!(tasks.try_get(), Err(Error::Empty)));
    }
    Ok(())
}

#[test]
fn a_worker_killed_while_it_waits_takes_nothing_with_it() -> Result<()> {
    for (_, path) in some_pythons() {
        let server = server(false);
        let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("get_task_queue")?;
        for n in 0..10 {
            let mut dying = worker(&path, &server, "0");
            assert!(eventually(|| server.status().queues[1].waiting == 1));
            dying.kill().expect("it is ours");
            // At once, before the server has had the time to notice.
            tasks.put(&n)?;
            assert_eq!(tasks.get_timeout(LONG)?, n);
        }
    }
    Ok(())
}

#[test]
fn a_python_that_is_interrupted_in_get_loses_nothing_and_gets_its_own_answers() -> Result<()> {
    for (version, path) in pythons() {
        let server = Server::builder()
            .queue(QueueOptions::new("tasks").redeliver(true))
            .serve("127.0.0.1:0", b"abc")?;
        let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
        let mut command = python(&path, "interrupt.py");
        command.arg(server.address().to_string());
        let mut client = support::start(command.stdin(Stdio::piped()));
        let interrupt = || {
            assert!(eventually(|| server.status().queues[0].waiting == 1));
            kill(Pid::from_raw(client.child.id() as i32), Signal::SIGINT).expect("it is ours");
            assert_eq!(support::line(&client), "interrupted", "{version}");
        };
        interrupt();
        assert_eq!(support::line(&client), "0 True", "{version}");
        assert_eq!(support::line(&client), "7 0", "{version}");
        interrupt();
        // It goes to the call that was given up, of which the server cannot know, and comes back.
        tasks.put(&34)?;
        let input = client.child.stdin.take().expect("it is piped");
        drop(input);
        assert_eq!(support::finish(client), "34\n", "{version}");
    }
    Ok(())
}

#[test]
fn the_queues_that_a_killed_python_has_made_go_after_their_time_and_those_in_use_stay() -> Result<()>
{
    for (version, path) in some_pythons() {
        let builder = Server::builder().factory("Queue");
        let builder = builder.factory_timeout(Duration::from_secs(1));
        let server = builder.serve("127.0.0.1:0", b"abc")?;
        let client = || {
            let mut command = python(&path, "made.py");
            let command = command.arg(server.address().to_string());
            support::start(command.stdin(Stdio::piped()))
        };
        let mut clients = [client(), client()];
        for client in &clients {
            assert_eq!(support::line(client), "10 made", "{version}");
        }
        clients[0].kill().expect("it is ours");
        let count = || server.status().queues.len();
        assert!(eventually(|| count() == 10), "{version}");
        // Longer than the time: the other client is there, and leaves them alone.
        thread::sleep(Duration::from_millis(1500));
        let [_, mut used] = clients;
        drop(used.child.stdin.take());
        assert_eq!(support::finish(used), "10 in use\n", "{version}");
    }
    Ok(())
}

#[test]
fn every_task_has_one_result_while_workers_are_killed_at_random() -> Result<()> {
    const TASKS: u32 = 1000;
    let Some((_, path)) = some_pythons().pop() else {
        return Ok(());
    };
    let server = Server::builder()
        .queue(
            QueueOptions::new("get_task_queue")
                .redeliver(true)
                .max_deliveries(100),
        )
        .queue("get_result_queue")
        .serve("127.0.0.1:0", b"abc")?;
    let manager = Client::connect(server.address(), b"abc")?;
    let tasks = manager.queue::<u32>("get_task_queue")?;
    let results = manager.queue::<String>("get_result_queue")?;
    tasks.put_many(&(0..TASKS).collect::<Vec<_>>())?;
    let mut workers: Vec<Program> = (0..10).map(|_| worker(&path, &server, "0.01")).collect();
    let mut seed = 16_u64;
    let mut found = Vec::new();
    while found.len() < TASKS as usize {
        match results.get_many(TASKS as usize, Some(Duration::from_millis(200))) {
            Ok(more) => found.extend(more),
            Err(Error::Empty) => {}
            Err(error) => return Err(error),
        }
        // Not for the sake of time: the rhythm of the killing.
        thread::sleep(Duration::from_millis(150));
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unlucky = (seed >> 33) as usize % workers.len();
        workers[unlucky].kill().expect("it is ours");
        workers[unlucky] = worker(&path, &server, "0.01");
    }
    let different: BTreeSet<&String> = found.iter().collect();
    assert_eq!(
        (found.len(), different.len()),
        (TASKS as usize, TASKS as usize)
    );
    for mut worker in workers {
        worker.kill().expect("it is ours");
    }
    assert!(eventually(|| server
        .status()
        .queues
        .iter()
        .all(|queue| queue.leases == 0)));
    assert!(tasks.is_empty()? && results.is_empty()?);
    Ok(())
}

#[test]
fn what_kills_every_worker_ends_in_the_dead_queue() -> Result<()> {
    let server = Server::builder()
        .queue(QueueOptions::new("tasks").redeliver(true).max_deliveries(2))
        .serve("127.0.0.1:0", b"abc")?;
    let manager = Client::connect(server.address(), b"abc")?;
    manager.queue::<u32>("tasks")?.put_many(&[1, 2])?;
    for _ in 0..2 {
        let dying = manager.queue::<u32>("tasks")?;
        assert_eq!(dying.get_timeout(LONG)?, 1);
        drop(dying);
    }
    assert_eq!(manager.queue::<u32>("tasks")?.get_timeout(LONG)?, 2);
    let dead = manager.queue::<u32>("tasks.dead")?;
    assert_eq!(dead.get_timeout(LONG)?, 1);
    Ok(())
}

#[test]
fn a_lease_ends_with_its_time_its_client_or_its_word() -> Result<()> {
    let server = Server::builder()
        .queue("tasks")
        .serve("127.0.0.1:0", b"abc")?;
    let manager = Client::connect(server.address(), b"abc")?;
    let (mine, other) = (
        manager.queue::<u32>("tasks")?,
        manager.queue::<u32>("tasks")?,
    );
    mine.put(&7)?;
    let late = mine.lease_for(Duration::from_millis(20), None)?;
    assert_eq!(other.get_timeout(LONG)?, 7, "its time was over");
    assert!(late.done().is_err());

    mine.put(&8)?;
    let held = mine.lease()?;
    assert!(matches!(other.try_get(), Err(Error::Empty)));
    drop(held);
    assert_eq!(other.get_timeout(LONG)?, 8, "it was given back");

    mine.put(&9)?;
    let held = mine.lease()?;
    std::mem::forget(held);
    drop(mine);
    assert_eq!(other.get_timeout(LONG)?, 9, "its client is gone");
    Ok(())
}

/// `lease(True, None, seconds)`
fn lease_request(seconds: f64) -> Vec<u8> {
    request(
        "tasks",
        "lease",
        &[&b"\x88NG"[..], &seconds.to_be_bytes()].concat(),
    )
}

fn leased(reply: &[u8]) -> u64 {
    let (_, (lease, _)) =
        pickle::from_slice::<(String, (u64, u32))>(reply).expect("a lease and its item");
    lease
}

/// The reply to `ack(lease)`.
fn ack(raw: &mut Raw, lease: u64) -> Vec<u8> {
    let lease = [&b"\x8a\x08"[..], &lease.to_le_bytes()].concat();
    raw.call(&request("tasks", "ack", &lease))
}

#[test]
fn an_item_for_a_client_that_does_not_read_comes_back_once_its_time_is_over() -> Result<()> {
    let server = Server::builder()
        .queue("tasks")
        .serve("127.0.0.1:0", b"abc")?;
    let tasks = Client::connect(server.address(), b"abc")?.queue::<String>("tasks")?;
    // More than the buffers of the two sockets take.
    let long = "x".repeat(30 << 20);
    tasks.put(&long)?;
    let mut silent = Raw::accepted(&server.address().to_string());
    silent.send(&lease_request(0.05));
    assert!(eventually(|| server.status().queues[0].leases == 1));
    assert!(tasks.get_timeout(LONG)? == long, "its time is over");
    // Its end gives back nothing that was given back before.
    drop(silent);
    assert!(eventually(|| server.status().connections == 1));
    assert!(matches!(tasks.try_get(), Err(Error::Empty)));
    Ok(())
}

#[test]
fn a_lease_with_a_time_belongs_to_who_knows_its_id_and_that_cannot_be_guessed() -> Result<()> {
    let server = Server::builder()
        .queue("tasks")
        .serve("127.0.0.1:0", b"abc")?;
    let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    tasks.put_many(&[7, 8])?;
    let address = server.address().to_string();
    let (mut thread, mut other) = (Raw::accepted(&address), Raw::accepted(&address));
    let first = leased(&thread.call(&lease_request(3600.0)));
    let second = leased(&thread.call(&lease_request(3600.0)));
    let near = [first - 1, first + 1, second - 1, second + 1];
    for guess in near.into_iter().chain(0..100) {
        let refused = ack(&mut other, guess);
        let refused = String::from_utf8_lossy(&refused);
        assert!(refused.contains("is over, or is none"), "{refused}");
    }
    // The thread that fetched has ended, and its connection with it.
    drop(thread);
    assert!(eventually(|| server.status().connections == 2));
    assert_eq!(server.status().queues[0].leases, 2);
    for lease in [first, second] {
        assert!(ack(&mut other, lease).ends_with(b"Nt."));
    }
    assert_eq!(server.status().queues[0].leases, 0);
    assert!(tasks.is_empty()?);
    Ok(())
}

#[test]
fn the_task_of_a_frozen_worker_goes_to_another_and_its_late_result_is_refused() -> Result<()> {
    for (version, path) in pythons() {
        let tasks = QueueOptions::new("get_task_queue").redeliver(true);
        let server = Server::builder()
            .queue(tasks.visibility_timeout(Duration::from_millis(200)))
            .queue("get_result_queue")
            .serve("127.0.0.1:0", b"abc")?;
        let client = Client::connect(server.address(), b"abc")?;
        let tasks = client.queue::<u32>("get_task_queue")?;
        tasks.put(&7)?;
        let mut command = python(&path, "task_worker.py");
        command.args([&server.address().to_string(), "1"]);
        let frozen = support::start(command.stderr(std::process::Stdio::piped()));
        assert_eq!(support::line(&frozen), "run task 7 * 7...");
        let pid = Pid::from_raw(frozen.child.id().cast_signed());
        kill(pid, Signal::SIGSTOP).expect("it runs");
        assert_eq!(tasks.get_timeout(LONG)?, 7, "{version}");
        kill(pid, Signal::SIGCONT).expect("it is stopped");
        let deadline = std::time::Instant::now() + LONG;
        let ended = frozen.finish(deadline).expect("it ends");
        assert!(!ended.status.success(), "{version}");
        assert!(
            ended.err.contains("RuntimeError: what was taken before"),
            "{version}: {}",
            ended.err
        );
        assert!(client.queue::<String>("get_result_queue")?.is_empty()?);
    }
    Ok(())
}

#[test]
fn clients_go_on_when_the_server_was_killed_and_started_again() -> Result<()> {
    let queues = ["--queue", "get_task_queue", "--queue", "get_result_queue"];
    let (mut first, address) = support::manager(&queues);
    let manager = Client::connect(&address, b"abc")?.reconnect_within(LONG);
    let tasks = manager.queue::<u32>("get_task_queue")?;
    let results = manager.queue::<String>("get_result_queue")?;
    tasks.put(&1)?;
    let mut clients: Vec<Program> = pythons()
        .into_values()
        .map(|path| {
            support::start(
                python(&path, "restart.py")
                    .arg(&address)
                    .stdin(std::process::Stdio::piped()),
            )
        })
        .collect();
    for client in &mut clients {
        assert_eq!(support::line(client), "connected");
    }
    assert_eq!(tasks.get()?, 1);
    let waiting = thread::spawn(move || tasks.get_timeout(LONG));
    first.kill().expect("it is ours");
    let (_second, again) = support::manager(&[&["--bind", &address], &queues[..]].concat());
    assert_eq!(again, address);
    results.put(&"from Rust".to_string())?;
    assert_eq!(results.get()?, "from Rust");
    manager.queue::<u32>("get_task_queue")?.put(&2)?;
    assert_eq!(waiting.join().expect("no panic")?, 2);
    for mut client in clients {
        drop(client.child.stdin.take());
        assert_eq!(support::finish(client).lines().last(), Some("goes on"));
    }
    Ok(())
}

#[test]
fn the_program_manager_tells_how_it_stands_and_ends_at_a_signal() {
    let (manager, address) = support::manager(&[
        "--queue",
        "get_task_queue:5",
        "--factory",
        "Queue",
        "--redeliver",
        "get_task_queue",
    ]);
    let tasks = Client::connect(&address, b"abc")
        .and_then(|manager| manager.queue::<u32>("get_task_queue"));
    tasks.and_then(|tasks| tasks.put(&7)).expect("it serves");
    let mut status = std::process::Command::new(assert_cmd::cargo::cargo_bin("manager"));
    let said = run(status
        .args(["status", &address])
        .env("MANAGER_AUTHKEY", "abc"));
    let line = said.lines().last().expect("a line").split_whitespace();
    assert_eq!(
        line.collect::<Vec<_>>(),
        [
            "get_task_queue",
            "1",
            "5",
            "260",
            "-",
            "0",
            "0",
            "1",
            "0",
            "0",
            "1"
        ],
        "{said}"
    );
    let pid = Pid::from_raw(manager.child.id().cast_signed());
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert!(support::finish(manager).is_empty());
    assert!(
        std::net::TcpListener::bind(&address).is_ok(),
        "the port is free"
    );
}
