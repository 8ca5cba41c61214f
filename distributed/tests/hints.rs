//! What the hint of chapter 5 tells a reader to try, tried.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::Program;

/// No program here needs so long.
const LONG: Duration = Duration::from_secs(120);

fn start(cell: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new(cargo_bin(cell));
    // A task takes 20 ms, so that this takes seconds, and not half a minute.
    command.args(arguments).env("PACE", "0.2");
    Program::start(command.stdin(Stdio::null())).expect("a cell starts")
}

/// A port that is free.
fn address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one").to_string()
}

#[test]
fn task_master_has_its_tasks_shared_out_to_a_second_worker_that_comes_later() {
    let deadline = Instant::now() + LONG;
    let address = address();
    let count = ["--bind", &address, "--count", "300"];
    let master = start("task_master", &count);
    master
        .until("Try get results...", deadline)
        .expect("it serves");
    let first = start("task_worker", &[&address]);
    let began = first.until("run task", deadline).expect("it gets tasks");
    let second = start("task_worker", &[&address]);
    let run = |said: &str| {
        said.lines()
            .filter(|line| line.starts_with("run task"))
            .count()
    };
    let ends = |worker: Program| worker.finish(deadline).expect("it ends").out;
    let (first, second) = (run(&began) + run(&ends(first)), run(&ends(second)));
    let master = master.finish(deadline).expect("it ends");
    assert!(master.status.success(), "{}", master.out);
    let results = master
        .out
        .lines()
        .filter(|line| line.starts_with("Result: "));
    assert_eq!(results.count(), 300);
    assert_eq!(first + second, 300, "each task is done once");
    assert!(first > 0 && second > 0, "{first} and {second}");
}
