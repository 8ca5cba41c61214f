//! The programs in `examples/` do what they say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use common::program::{self, Program};
use support::{LONG, pythons, run, start};

mod support;

fn example(name: &str) -> Command {
    let mut command = program::example(Path::new(env!("CARGO_MANIFEST_DIR")), name);
    command.env("MANAGER_AUTHKEY", "abc");
    command
}

#[test]
fn an_example_without_its_arguments_says_what_it_wants() {
    for name in [
        "named_tasks",
        "python_workers",
        "task_processes",
        "task_service",
    ] {
        let output = example(name).output().expect("it starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.starts_with(&format!("usage: {name} ")), "{err}");
    }
}

#[test]
fn workers_of_every_python_square_the_numbers() {
    let worker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/worker.py");
    for (version, python) in pythons() {
        let said = run(example("python_workers").arg(python).arg(&worker));
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        let mut squares = (1..=10)
            .map(|n| format!("{n} * {n} = {}", n * n))
            .collect::<Vec<_>>();
        squares.sort_unstable();
        assert_eq!(lines, squares, "{version}");
    }
}

#[test]
fn a_worker_that_cannot_be_started_is_named() {
    let output = example("python_workers")
        .args(["/no/such/python", "worker.py"])
        .output();
    let output = output.expect("it starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.contains("start /no/such/python") && err.contains("No such file"),
        "{err}"
    );
}

/// An example that serves, and where it does.
fn serving(name: &str) -> (Program, String) {
    let server = start(example(name).args(["serve", "127.0.0.1:0"]));
    let said = server.until("serving on ", Instant::now() + LONG);
    let said = said.expect("it serves");
    let address = said.trim_end().trim_start_matches("serving on ");
    (server, format!("tcp://{address}"))
}

#[test]
fn a_service_gives_each_text_its_result_also_after_a_worker_was_killed() {
    let (_server, url) = serving("task_service");
    let mut killed = start(example("task_service").args(["work", &url]));
    let ask = || run(example("task_service").args(["ask", &url, "été", "", "four"]));
    let lengths = "été: 3 letters\n: 0 letters\nfour: 4 letters\n";
    assert_eq!(ask(), lengths);
    killed.kill().expect("it is ours");
    let _worker = start(example("task_service").args(["work", &url]));
    assert_eq!(ask(), lengths);
}

#[test]
fn tasks_by_name_tell_their_results_and_why_and_where_one_failed() {
    let (_server, url) = serving("named_tasks");
    let worker = start(example("named_tasks").args(["work", &url]));
    let said = run(example("named_tasks").args(["ask", &url, "été", "", "four"]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!([lines[0], lines[2]], ["été: 3 letters", "four: 4 letters"]);
    assert!(
        lines[1].starts_with(": the task `count` failed in 1 try, the last on "),
        "{said}"
    );
    assert!(lines[1].contains(&format!("/{}/", worker.pid())), "{said}");
    assert!(lines[1].ends_with(": there is nothing to count"), "{said}");
}

#[test]
fn a_task_that_crashes_costs_its_try_and_the_worker_with_processes_goes_on() {
    let (_server, url) = serving("named_tasks");
    let _worker = start(example("task_processes").args([&url, "--processes", "1"]));
    let said = run(example("named_tasks").args(["ask", &url, "été", "crash", "four"]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!([lines[0], lines[2]], ["été: 3 letters", "four: 4 letters"]);
    assert!(
        lines[1].starts_with("crash: the task `count` failed in 1 try, the last on "),
        "{said}"
    );
    assert!(
        lines[1].ends_with(" was killed by signal 11 (SIGSEGV)"),
        "{said}"
    );
}
