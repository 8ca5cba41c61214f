//! The pair of `In [16]` on the engine, as a user starts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Finished, Program};
use distributed::{Priority, QueueOptions, Result, TaskOptions};
use nix::sys::signal::Signal;

use crate::server::{DEADLINE, Server, signal};
use crate::support::tasks::{failure, quick};
use crate::tasks::{DELAYS, a_cancelled_task_comes_late};

fn start(name: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new(cargo_bin(name));
    command
        .args(arguments)
        .env("PACE", "0.02")
        .env("SEED", "16");
    run(&mut command)
}

fn run(command: &mut Command) -> Program {
    Program::start(command.stderr(Stdio::piped())).expect("it starts")
}

/// What it printed and was not read before, once it has ended, and its exit code.
fn end(program: Program) -> (String, String, Option<i32>) {
    let finished = program.finish(Instant::now() + DEADLINE);
    let Finished { out, err, status } = finished.unwrap_or_else(|why| panic!("{why}"));
    (out, err, status.code())
}

/// Waits for a line that it prints. Returns what it printed until then.
fn until(program: &Program, start: &str) -> String {
    let printed = program.until(start, Instant::now() + DEADLINE);
    printed.unwrap_or_else(|why| panic!("{why}"))
}

/// How often each line of a kind was printed.
fn lines<'t>(text: &'t str, start: &str) -> BTreeMap<&'t str, u32> {
    let mut count = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(start)) {
        *count.entry(line).or_default() += 1;
    }
    count
}

/// Each task that the master put has one result.
fn assert_complete(master: &str, count: u32) {
    let put = lines(master, "Put task ");
    let want: BTreeMap<String, u32> = put
        .iter()
        .map(|(task, times)| {
            let n: i64 = task.trim_end_matches("...").parse().expect("a number");
            (format!("{n} * {n} = {}", n * n), *times)
        })
        .collect();
    let results = lines(master, "Result: ");
    let got = results
        .into_iter()
        .map(|(text, times)| (text.to_string(), times));
    assert_eq!(got.collect::<BTreeMap<_, _>>(), want);
    assert_eq!(want.values().sum::<u32>(), count);
}

#[test]
fn the_pair_prints_on_the_engine_what_it_prints_on_a_manager() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let worker = start("task_worker", &["--queues", &url]);
    let master = start("task_master", &["--queues", &url]);
    let (out, err, code) = end(master);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("queues: warning: a power cut loses"), "{err}");
    assert_complete(&out, 10);
    assert!(out.ends_with("master exit.\n"), "{out}");
    let (out, err, code) = end(worker);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.starts_with("Connect to server 127.0.0.1...\nrun task "),
        "{out}"
    );
    assert!(out.ends_with("worker exit.\n"), "{out}");
    let asked = end(start("manager", &["status", &url])).0;
    assert!(asked.contains("get_task_queue.dead"), "{asked}");
    let row = asked
        .lines()
        .find(|line| line.starts_with("get_task_queue "));
    let row: Vec<&str> = row.expect("it has a row").split_whitespace().collect();
    assert_eq!((row[1], row[7], row[10]), ("0", "10", "0"), "{asked}");
}

#[test]
fn a_worker_that_is_killed_or_frozen_loses_no_task() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let master = [
        "--queues",
        &url,
        "--count",
        "60",
        "--lease",
        "1",
        "--timeout",
        "50",
    ];
    let master = start("task_master", &master);
    let killed = start("task_worker", &["--queues", &url]);
    until(&killed, "run task");
    signal(&killed, Signal::SIGKILL);
    let frozen = start("task_worker", &["--queues", &url]);
    until(&frozen, "run task");
    signal(&frozen, Signal::SIGSTOP);
    let _worker = start("task_worker", &["--queues", &url, "--idle", "50"]);
    let (out, err, code) = end(master);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_complete(&out, 60);
}

#[test]
fn a_worker_that_is_terminated_gives_back_what_it_has_and_exits_with_0() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    // The lease is longer than the test may take: what is not given back is missing.
    let master = [
        "--queues",
        &url,
        "--count",
        "100",
        "--lease",
        "600",
        "--timeout",
        "50",
    ];
    let master = start("task_master", &master);
    let first = start("task_worker", &["--queues", &url, "--concurrency", "2"]);
    until(&first, "run task");
    until(&first, "run task");
    signal(&first, Signal::SIGTERM);
    let (out, err, code) = end(first);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.ends_with("worker exit.\n"), "{out}");
    let _second = start("task_worker", &["--queues", &url, "--idle", "50"]);
    let (out, err, code) = end(master);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_complete(&out, 100);
}

#[test]
fn what_an_earlier_run_left_is_purged_on_request() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let left = end(start(
        "task_master",
        &["--queues", &url, "--timeout", "0.05"],
    ));
    assert_eq!(left.2, Some(1), "{left:?}");
    assert!(
        left.1.contains("Empty: no result within 0.05 s"),
        "{left:?}"
    );
    let master = start("task_master", &["--queues", &url, "--purge"]);
    // One that is there before the purge may take what is left.
    let before = until(&master, "Put task ");
    let _worker = start("task_worker", &["--queues", &url, "--idle", "50"]);
    let (out, err, code) = end(master);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_complete(&(before + &out), 10);
}

#[test]
fn an_engine_that_is_missing_is_told_of_without_the_password() {
    let (out, err, code) = end(start(
        "task_master",
        &["--queues", "nats://bob:secret@127.0.0.1:1"],
    ));
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(
        err.contains("nats://127.0.0.1:1") && err.contains("start it with nats-server"),
        "{err}"
    );
    assert!(!err.contains("secret"), "{err}");
}

#[test]
fn the_metrics_of_an_engine_have_the_names_that_those_of_a_manager_have() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let client = distributed::connect(&url).expect("it runs");
    let options = distributed::QueueOptions::new("tasks").max_deliveries(1);
    client.create(options).expect("it may be made");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put_many(&[1, 2, 3, 4]).expect("there is room");
    let lease = tasks.lease().expect("there are four");
    lease.fail("no database").expect("it is out");
    let _lease = tasks.lease().expect("there are three");
    let (out, err, code) = end(start("manager", &["metrics", &url]));
    assert_eq!(code, Some(0), "{out}{err}");
    for line in [
        "# TYPE distributed_queue_length gauge",
        "distributed_queue_length{queue=\"tasks\"} 2",
        "distributed_queue_leases{queue=\"tasks\"} 1",
        "distributed_queue_put_total{queue=\"tasks\"} 4",
        "distributed_queue_delivered_total{queue=\"tasks\"} 2",
        "distributed_queue_dead_letters{queue=\"tasks\"} 1",
        "distributed_queue_dead_lettered_total{queue=\"tasks\"} 1",
    ] {
        assert!(out.lines().any(|said| said == line), "no {line} in {out}");
    }
    // What an engine does not tell is not said to be none.
    for name in [
        "memory_bytes",
        "redelivered_total",
        "oldest_lease",
        "call_seconds",
    ] {
        assert!(!out.contains(name), "{out}");
    }
}

#[test]
fn a_url_that_is_none_is_a_usage_error() {
    for program in ["task_master", "task_worker"] {
        let (out, err, code) = end(start(program, &["--queues", "nats://secret@a/b.c"]));
        assert_eq!(code, Some(2), "{out}{err}");
        assert!(
            err.contains("a namespace") && !err.contains("secret"),
            "{err}"
        );
    }
}

/// A Python that has nats-py: one that is there, or one made for it in target/.
fn python() -> Option<PathBuf> {
    let has = |python: &Path| {
        let status = Command::new(python)
            .args(["-c", "import nats"])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nats-venv/bin/python");
    let found = [PathBuf::from("python3"), venv]
        .into_iter()
        .find(|python| has(python));
    if found.is_none() {
        let how = "python3 -m venv target/nats-venv && target/nats-venv/bin/pip install nats-py";
        assert!(
            std::env::var_os("CI").is_none(),
            "no Python has nats-py: {how}"
        );
        println!("skipped: no Python has nats-py: {how}");
    }
    found
}

/// The worker of tasks by name of the documentation, with its Python.
fn task_worker(python: &Path, server: &Server) -> Program {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/nats_task_worker.py");
    run(Command::new(python)
        .arg(file)
        .args([&server.url(), "tasks"]))
}

#[test]
fn a_worker_in_python_runs_tasks_by_name_and_tells_of_failures_with_their_text() -> Result<()> {
    let (Some(server), Some(python)) = (Server::start(), python()) else {
        return Ok(());
    };
    let client = server.client_with(QueueOptions::new("tasks"));
    let tasks = client.task_queue("tasks")?;
    let urgent = quick().priority(Priority::High);
    let sum = tasks.submit::<u32>("add", &(3, 4))?;
    let named = serde_json::json!({"text": "été", "times": 2});
    let shout = tasks.submit_with::<String>("shout", &named, urgent)?;
    let fails = tasks.submit_with::<u32>("add", &(3, "four"), quick().retries(1))?;
    let unknown = tasks.submit_with::<u32>("resize", &(3, 4), quick().retries(0))?;
    let infinite = tasks.submit_with::<f64>("add", &(1e308, 1e308), quick().retries(0))?;
    let (delay, submitted) = (Duration::from_secs(1), Instant::now());
    let delayed = (server.version() >= DELAYS).then(|| {
        let later = quick().retries(0).delay(delay);
        tasks.submit_with::<u32>("add", &(3, "four"), later)
    });
    let worker = task_worker(&python, &server);
    assert_eq!(sum.result(Some(DEADLINE))?, 7);
    assert_eq!(shout.result(Some(DEADLINE))?, "ÉTÉ!!");
    let failed = failure(fails.result(Some(DEADLINE)));
    assert_eq!(failed.tries, 2);
    let reason = &failed.reason;
    assert!(
        reason.contains("Traceback") && reason.contains("TypeError"),
        "{reason}"
    );
    let origin = failed.worker.expect("it says where");
    assert!(origin.ends_with(&format!("/{}", worker.pid())), "{origin}");
    let failed = failure(unknown.result(Some(DEADLINE)));
    assert!(failed.reason.contains("KeyError"), "{}", failed.reason);
    let failed = failure(infinite.result(Some(DEADLINE)));
    assert!(failed.reason.contains("ValueError"), "{}", failed.reason);
    if let Some(delayed) = delayed {
        let failed = failure(delayed?.result(Some(DEADLINE)));
        assert_eq!(failed.tries, 1, "it came early, which is no try");
        assert!(submitted.elapsed() >= delay, "it ran before its time");
    }
    Ok(())
}

#[test]
fn a_worker_in_python_runs_no_task_that_is_cancelled_as_its_time_comes() -> Result<()> {
    let (Some(server), Some(python)) = (Server::start(), python()) else {
        return Ok(());
    };
    let client = server.client_with(QueueOptions::new("tasks"));
    let tasks = client.task_queue("tasks")?;
    a_cancelled_task_comes_late(&server, &client)?;
    let last = tasks.submit::<()>("note", &[4])?;
    // With a function that can be seen to run.
    let functions = "functions = {";
    let text = include_str!("../../docs/nats_task_worker.py");
    assert!(text.contains(functions));
    let more = format!("{functions}\"note\": lambda n: print(n, flush=True), ");
    let text = text.replace(functions, &more);
    let mut worker = Command::new(python);
    let mut worker = run(worker.args(["-c", &text, &server.url(), "tasks"]));
    last.result(Some(DEADLINE))?;
    worker.kill().expect("it is ours");
    let (out, err, _) = end(worker);
    assert_eq!(out, "4\n", "{err}");
    Ok(())
}

#[test]
fn a_task_whose_worker_in_python_is_killed_goes_to_another_and_each_has_one_result() -> Result<()> {
    let (Some(server), Some(python)) = (Server::start(), python()) else {
        return Ok(());
    };
    let options = QueueOptions::new("tasks").lease(Duration::from_millis(500));
    let client = server.client_with(options);
    let tasks = client.task_queue("tasks")?;
    let calls: Vec<(u32, u32)> = (0..300).map(|n| (n, n)).collect();
    let sums = tasks.submit_many::<u32>("add", &calls, TaskOptions::new().retries(20))?;
    // Each is killed amid its tasks, with kill -9.
    for nth in 1..=3 {
        let mut dying = task_worker(&python, &server);
        assert_eq!(sums[nth * 50].result(Some(DEADLINE))?, nth as u32 * 100);
        dying.kill().expect("it is ours");
    }
    let _last = task_worker(&python, &server);
    for (n, sum) in sums.iter().enumerate() {
        assert_eq!(sum.result(Some(DEADLINE))?, 2 * n as u32);
    }
    Ok(())
}

#[test]
fn a_worker_in_python_is_as_good_as_one_in_rust_and_has_under_30_lines() {
    let Some(server) = Server::start() else {
        return;
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/nats_worker.py");
    let text = fs::read_to_string(&file).expect("it is in the documentation");
    assert!(
        text.lines().count() < 30,
        "it has {} lines",
        text.lines().count()
    );
    let Some(python) = python() else { return };
    let url = server.url();
    let master = start(
        "task_master",
        &["--queues", &url, "--count", "20", "--timeout", "50"],
    );
    until(&master, "Try get results");
    let mut worker = Command::new(python);
    let worker = run(worker.arg(file).args([&url, "3"]));
    let (out, err, code) = end(master);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(lines(&out, "Result: ").values().sum::<u32>(), 20, "{out}");
    let (out, err, code) = end(worker);
    assert_eq!(
        (code, lines(&out, "run task ").values().sum::<u32>()),
        (Some(0), 20),
        "{err}"
    );
}
