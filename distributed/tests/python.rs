//! CPython of every version here, on either side.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use common::program::Program;
use distributed::{Client, Error, QueueOptions, Result, Server};
use rand::RngExt;

use support::{LONG, python, pythons, run, some_pythons};

mod support;

fn server() -> Server {
    Server::builder()
        .queue("get_task_queue")
        .queue("get_result_queue")
        .factory("Queue")
        .factory("JoinableQueue")
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

#[test]
fn a_proxy_of_every_python_gets_the_answers_of_pythons_own_server() {
    for (version, path) in pythons() {
        let server = server();
        let said = run(python(&path, "protocol.py").arg(server.address().to_string()));
        assert_eq!(said, "ok\n", "{version}");
        let left = server.status().queues.len();
        assert_eq!(
            left, 2,
            "queues that {version} made are gone with their proxies"
        );
    }
}

/// The newest Python that has CPython's own tests: systems leave them out of their packages. None is
/// an error in CI.
fn python_with_tests() -> Option<PathBuf> {
    let has_tests = |path: &PathBuf| {
        let mut look = python(path, "cpython_tests.py");
        look.output().is_ok_and(|output| output.status.success())
    };
    let found = some_pythons().into_iter().map(|(_, path)| path);
    let found = found.chain(pythons().into_values()).find(has_tests);
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "CI needs CPython's own tests");
        println!("skipped: no python3 here has CPython's own tests");
    }
    found
}

#[test]
fn cpythons_own_tests_of_managers_pass_but_for_two_that_say_why() {
    let Some(path) = python_with_tests() else {
        return;
    };
    let server = Server::builder().sync_manager();
    let server = server.serve("127.0.0.1:0", b"abc").expect("a port is free");
    let said = run(python(&path, "cpython_tests.py").arg(server.address().to_string()));
    assert!(said.ends_with("ok\n"), "{said}");
}

#[test]
fn every_kind_of_value_comes_out_as_it_went_in_through_every_form() {
    for (_, path) in pythons() {
        let server = server();
        let mut client = python(&path, "values.py");
        let address = server.address().to_string();
        let said = run(client.args(["forms", &address, "get_task_queue"]));
        let count = said.split(' ').next().and_then(|count| count.parse().ok());
        assert!(count.is_some_and(|count: u32| count >= 40), "{said}");
    }
}

#[test]
fn what_one_python_puts_every_other_gets_if_it_can_read_it() {
    let pythons = pythons();
    let mut builder = Server::builder();
    let names: Vec<String> = (0..pythons.len()).map(|n| format!("queue_{n}")).collect();
    for name in &names {
        builder = builder.queue(name);
    }
    let server = builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free");
    let address = server.address().to_string();
    let times = names.len().to_string();
    for (name, path) in names.iter().zip(pythons.values()) {
        run(python(path, "values.py").args(["put", &address, name, &times]));
    }
    for path in pythons.values() {
        run(python(path, "values.py")
            .args(["get", &address])
            .args(&names));
    }
    assert!(server.status().queues.iter().all(|queue| queue.len == 0));
}

/// CPython's own server, which ends with its standard input.
fn python_server(path: &Path) -> (Program, String) {
    let mut command = python(path, "server.py");
    let server = support::start(command.stdin(Stdio::piped()));
    let address = support::line(&server);
    (server, address)
}

#[test]
fn the_rust_client_is_at_home_on_every_server_of_python_3() -> Result<()> {
    for (version, path) in pythons() {
        if version.starts_with('2') {
            continue;
        }
        let (server, address) = python_server(&path);
        let wrong = Client::connect(&address, b"abd").err();
        assert!(
            matches!(wrong, Some(Error::Auth { .. })),
            "{version}: {wrong:?}"
        );
        let manager = Client::connect(&address, b"abc")?;
        let unknown = manager.queue::<u32>("nothing").err();
        assert!(
            matches!(unknown, Some(Error::NoQueue { .. })),
            "{version}: {unknown:?}"
        );
        {
            let tasks =
                manager.queue::<(i64, f64, String, Vec<u8>, Option<bool>)>("get_task_queue")?;
            let item = (-(1 << 40), 1.5, "é好🦀".repeat(2000), vec![0, 255], None);
            tasks.put(&item)?;
            tasks.put_many(&[item.clone(), item.clone()])?;
            assert_eq!(tasks.len()?, 3, "{version}");
            assert_eq!(tasks.get()?, item, "{version}");
            assert_eq!(
                tasks.get_many(9, Some(LONG))?,
                [item.clone(), item],
                "{version}"
            );
            let empty = tasks.get_timeout(Duration::from_millis(10));
            assert!(matches!(empty, Err(Error::Empty)), "{version}: {empty:?}");
            assert!(matches!(tasks.try_get(), Err(Error::Empty)), "{version}");
            (0..3).try_for_each(|_| tasks.task_done())?;
            tasks.join()?;
            let once_more = tasks.task_done().expect_err("there were three").to_string();
            assert!(
                once_more.contains("ValueError: task_done()"),
                "{version}: {once_more}"
            );

            let bounded = manager.queue::<u128>("get_result_queue")?;
            (0..3).try_for_each(|n| bounded.put(&(u128::MAX - n)))?;
            assert!(bounded.is_full()?);
            let full = bounded.put_timeout(&0, Duration::from_millis(10));
            assert!(matches!(full, Err(Error::Full)), "{version}: {full:?}");
            assert!(matches!(bounded.try_put(&0), Err(Error::Full)), "{version}");
            assert_eq!(bounded.get()?, u128::MAX, "{version}");
        }
        // What the client referred to, it let go.
        let count = python(&path, "count.py")
            .arg(&address)
            .output()
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&count.stdout), "0\n", "{version}");
        drop(server);
    }
    Ok(())
}

/// Master and worker in two languages, or in one, and either side's server between them.
#[test]
fn master_and_worker_of_the_notebook_meet_in_every_mix() {
    for (_, path) in pythons() {
        let (mut manager, address) =
            support::manager(&["--queue", "get_task_queue", "--queue", "get_result_queue"]);
        for is_rust in [false, true] {
            let mut worker = match is_rust {
                true => Command::new(cargo_bin("task_worker")),
                false => python(&path, "task_worker.py"),
            };
            let mut worker = support::start(worker.arg(&address).env("PACE", "0"));
            let master = run(python(&path, "task_master.py").args([&address, "10"]));
            assert_eq!(master.matches("Result: ").count(), 10, "{master}");
            assert!(master.ends_with("master exit.\n"), "{master}");
            for line in master
                .lines()
                .filter_map(|line| line.strip_prefix("Result: "))
            {
                let numbers: Vec<u64> = line
                    .split([' ', '*', '='])
                    .filter_map(|n| n.parse().ok())
                    .collect();
                assert_eq!(numbers[0] * numbers[1], numbers[2], "{line}");
            }
            assert!(support::line(&worker).starts_with(if is_rust {
                "Connect"
            } else {
                "run task"
            }));
            worker.kill().expect("it is ours");
        }
        manager.kill().expect("it is ours");
    }
}

#[test]
fn a_python_worker_joins_the_master_of_the_notebook_in_rust() {
    for (version, path) in pythons() {
        let mut master = Command::new(cargo_bin("task_master"));
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let master = support::start(master.args(["--bind", &address, "--timeout", "60"]));
        while support::line(&master) != "Try get results..." {}
        let mut worker = support::start(python(&path, "task_worker.py").arg(&address));
        let said = support::finish(master);
        assert_eq!(said.lines().count(), 11, "{said}");
        assert!(said.ends_with("master exit.\n"), "{said}");
        if version.starts_with('2') {
            // At its end it tries for 20 s for each proxy to tell a server that is gone.
            worker.kill().expect("it is ours");
            continue;
        }
        let said = support::finish(worker);
        assert_eq!(said.lines().last(), Some("worker exit."));
    }
}

#[test]
fn a_rust_worker_joins_a_python_master_that_serves_itself() {
    for (_, path) in some_pythons() {
        let mut master = Command::new(path);
        let master = master.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/master.py"));
        let master = support::start(master);
        let address = support::line(&master);
        let worker = run(Command::new(cargo_bin("task_worker"))
            .arg(&address)
            .env("PACE", "0"));
        assert_eq!(worker.lines().count(), 12, "{worker}");
        assert_eq!(support::finish(master).lines().count(), 10);
    }
}

/// How often each shape of worker is killed: a few times, or as `KILLS` says.
fn kills() -> u64 {
    std::env::var("KILLS").map_or(10, |kills| kills.parse().expect("KILLS is a number"))
}

/// Workers of this shape are killed at random moments while they work: every task has one result that
/// counts.
fn no_task_is_lost(shape: &str, path: &Path) -> Result<()> {
    let tasks = QueueOptions::new("get_task_queue").redeliver(true);
    let server = Server::builder()
        .queue(tasks.max_deliveries(1000))
        .queue("get_result_queue")
        .serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    let tasks = client.queue::<u64>("get_task_queue")?;
    let results = client.queue::<u64>("get_result_queue")?;
    // More than are done until the last kill.
    let count = 30 * kills();
    tasks.put_many(&(0..count).collect::<Vec<_>>())?;
    let address = server.address().to_string();
    let worker = || support::start(python(path, "shapes.py").args([&address, shape]));
    let mut workers = [worker(), worker()];
    let mut dice = rand::rng();
    let (mut found, mut different, mut killed, mut next) = (0, BTreeSet::new(), 0, 1);
    while (different.len() as u64) < count {
        let more = results.get_many(8, Some(LONG))?;
        found += more.len();
        different.extend(more);
        if killed < kills() && different.len() >= next {
            let unlucky = &mut workers[dice.random_range(0..2)];
            unlucky.kill().expect("it is ours");
            *unlucky = worker();
            killed += 1;
            next = different.len() + dice.random_range(1..20);
        }
    }
    assert_eq!(killed, kills());
    assert!(different.into_iter().eq((0..count).map(|n| n * n)));
    // What was killed between its result and its `ack` is done twice.
    let is_over = || {
        let queues = server.status().queues;
        queues.iter().all(|queue| queue.leases == 0) && queues[1].len == 0
    };
    assert!(support::eventually(is_over), "{:?}", server.status());
    let found = found as u64 + results.len()? as u64;
    println!("{shape}: {found} results of {count} tasks, {killed} kills");
    match shape {
        // The result and the end of the task are one step.
        "loop" => assert_eq!(found, count),
        _ => assert!(found >= count),
    }
    Ok(())
}

#[test]
fn no_shape_of_worker_loses_a_task_when_it_is_killed() -> Result<()> {
    // `asyncio.to_thread` needs Python 3.9.
    let Some((_, path)) = some_pythons().into_iter().next() else {
        return Ok(());
    };
    for shape in ["loop", "helper_thread", "executor", "pool", "to_thread"] {
        no_task_is_lost(shape, &path)?;
    }
    Ok(())
}
