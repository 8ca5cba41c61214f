//! What a user meets on the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{self, Program, marked, write_program};
use common::replay::mark_of;
use serde_json::Value;
use support::xtask;

mod support;

#[test]
fn a_cell_that_holds_exits_with_0_and_says_how_many_passed() {
    let (code, out, err) = xtask(&["run", "fork", "in15", "--fast"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("2 passed, 0 failed, 0 skipped"), "{out}");
    assert!(!out.contains('\x1b'), "a pipe gets plain lines: {out}");
}

#[test]
fn quiet_prints_the_summary_alone() {
    let (code, out, _) = xtask(&["run", "fork", "--fast", "-q"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
}

#[test]
fn an_unknown_cell_exits_with_4_and_gets_the_nearest_name() {
    let (code, _, err) = xtask(&["run", "lokc"]);
    assert_eq!(code, 4);
    assert!(err.contains("did you mean `lock`?"), "{err}");
}

#[test]
fn nothing_left_to_replay_exits_with_4() {
    let (code, _, err) = xtask(&["all", "--from", "lock", "--until", "fork"]);
    assert_eq!(code, 4, "{err}");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["all", "--timeout", "0"][..],
        &["all", "--nonsense"],
        &["run"],
        &["all", "--require", "moon"],
    ] {
        let (code, _, err) = xtask(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
    }
}

#[test]
fn a_required_need_that_is_missing_exits_with_3() {
    let mut command = Command::new(cargo_bin("xtask"));
    command.env("LC_ALL", "C");
    let output = command
        .args(["run", "call", "--require", "nslookup"])
        .env("PATH", "/nowhere")
        .output();
    let output = output.expect("xtask starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(
        err.contains("apt install dnsutils"),
        "it says how to mend it: {err}"
    );
}

#[test]
fn a_build_that_fails_exits_with_5() {
    let mut command = Command::new(cargo_bin("xtask"));
    command.env("LC_ALL", "C");
    let output = command
        .args(["run", "fork"])
        .env("CARGO", "false")
        .output()
        .expect("xtask starts");
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn a_cell_that_is_cut_off_fails_with_1_and_says_how_to_repeat_it() {
    let (code, out, _) = xtask(&["run", "thread", "--timeout", "0.2", "--seed", "3"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("still running after"), "{out}");
    assert!(
        out.contains("again: cargo xtask run thread --seed 3"),
        "{out}"
    );
}

#[test]
fn list_and_doctor_name_every_cell_and_need() {
    let (code, out, _) = xtask(&["list"]);
    assert_eq!(code, 0);
    for cell in common::notebook::CELLS {
        assert!(out.contains(cell.bin), "{}: {out}", cell.bin);
    }
    let (code, out, _) = xtask(&["doctor"]);
    assert_eq!(code, 0);
    for need in common::notebook::Need::ALL {
        let [there, missing] = [
            format!("✓ {}\n", need.name()),
            format!("! {}: ", need.name()),
        ];
        assert!(out.contains(&there) || out.contains(&missing), "{out}");
    }
}

#[test]
fn run_json_holds_the_lines_the_verdicts_and_the_stand_in() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("run.json");
    let (code, out, _) = xtask(&[
        "run",
        "call",
        "--fast",
        "--seed",
        "5",
        "--json",
        file.to_str().expect("text"),
    ]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("stand-in for nslookup"), "{out}");
    let record: Value =
        serde_json::from_slice(&fs::read(&file).expect("it was written")).expect("it is JSON");
    assert_eq!(
        (&record["version"], &record["seed"]),
        (&Value::from(4), &Value::from(5))
    );
    let cell = &record["cells"][0];
    assert_eq!(
        (&cell["bin"], &cell["stand_in"], &cell["held"]),
        (&"call".into(), &true.into(), &true.into())
    );
    assert_eq!(
        cell["runs"][0]["lines"][0]["text"],
        "$ nslookup www.baidu.org"
    );
    assert!(
        cell["verdicts"]
            .as_array()
            .is_some_and(|verdicts| verdicts.len() > 5)
    );
}

#[test]
fn a_seed_makes_the_same_draws_again() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let drawn = |name: &str| {
        let file = folder.path().join(name);
        xtask(&[
            "run",
            "task_master",
            "--fast",
            "--seed",
            "11",
            "--json",
            file.to_str().expect("text"),
        ]);
        let record: Value =
            serde_json::from_slice(&fs::read(&file).expect("it was written")).expect("it is JSON");
        let lines = record["cells"][0]["runs"][0]["lines"]
            .as_array()
            .expect("it has lines")
            .clone();
        lines
            .into_iter()
            .map(|line| line["text"].to_string())
            .take(10)
            .collect::<Vec<_>>()
    };
    let first = drawn("first.json");
    assert_eq!(first.len(), 10);
    assert_eq!(first, drawn("second.json"));
}

#[test]
fn replays_beside_each_other_do_not_meet_and_none_is_where_the_notebooks_workers_look() {
    let serves = |folder: &Path| {
        let file = folder.join("run.json");
        let json = ["--json", file.to_str().expect("text")];
        let (code, out, _) = xtask(&[&["run", "task_master", "--fast"][..], &json].concat());
        assert_eq!(code, 0, "{out}");
        let record: Value =
            serde_json::from_slice(&fs::read(&file).expect("it was written")).expect("it is JSON");
        let variants = record["cells"].as_array().expect("a list");
        let ports = variants
            .iter()
            .map(|variant| variant["runs"][0]["port"].clone());
        ports.collect::<Vec<_>>()
    };
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder for the test"));
    thread::scope(|scope| {
        let replays = folders
            .each_ref()
            .map(|folder| scope.spawn(|| serves(folder.path())));
        for replay in replays {
            let ports = replay.join().expect("it holds");
            assert_eq!(ports.len(), 2);
            assert!(!ports.contains(&5000.into()), "{ports:?}");
        }
    });
}

/// How many processes are part of a replay by this process.
fn cells_of(pid: u32) -> usize {
    marked(&mark_of(pid)).len()
}

#[test]
fn an_interrupt_leaves_no_process_and_still_writes_what_was_found() {
    // Ctrl-C, kill, the end of the terminal, and Ctrl-\.
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        interrupt(signal);
    }
}

fn interrupt(signal: &str) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("run.json");
    let mut command = program::by_hand(cargo_bin("xtask"));
    command.env("LC_ALL", "C");
    command
        .args(["run", "fork", "pool", "thread", "--seed", "1", "--json"])
        .arg(&file);
    let replay = Program::start(command.stdin(Stdio::null())).expect("xtask starts");
    let pid = replay.child.id();
    let deadline = Instant::now() + Duration::from_secs(300);
    // The pool is the second run, and has a process of its own, one for each worker, and more.
    let pool = format!("{}1.", mark_of(pid));
    while marked(&pool).len() < 5 {
        assert!(Instant::now() < deadline, "the pool never came up");
        thread::sleep(Duration::from_millis(5));
    }
    let interrupted = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(interrupted.expect("kill runs").success());
    let finished = replay.finish(deadline).expect("it ends");
    let out = finished.out;
    assert_eq!(finished.status.code(), Some(130), "{signal}: {out}");
    assert_eq!(cells_of(pid), 0, "{out}");
    assert!(out.contains("In [3]   pool: interrupted"), "{out}");
    assert!(out.contains("1 passed, 0 failed, 2 skipped"), "{out}");
    let record: Value =
        serde_json::from_slice(&fs::read(&file).expect("it was written")).expect("it is JSON");
    assert_eq!(record["interrupted"], true);
    assert_eq!(
        record["cells"][0]["held"], true,
        "the cell before the interrupt is in it"
    );
}

/// The packages that a build of these compiles, each with its features.
fn compiled(packages: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--edges", "normal,build", "--prefix", "none"]);
    command.args(["--format", "{p} {f}", "--no-dedupe", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command.output().expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("cargo prints text");
    text.lines().map(str::to_string).collect()
}

#[test]
fn a_fresh_clone_compiles_every_package_once_for_the_replay() {
    let xtask = compiled(&["xtask"]);
    let chapters = ["multiprocess", "multithread", "threadlocal", "distributed"];
    let replay = compiled(&[&["xtask"], &chapters[..]].concat());
    let twice: Vec<&String> = xtask.difference(&replay).collect();
    assert!(!xtask.is_empty() && twice.is_empty(), "{twice:?}");
}

#[test]
fn a_replay_of_one_cell_leaves_the_last_run_of_the_others_to_the_views() {
    let (code, out, err) = xtask(&["run", "fork", "local", "--fast"]);
    assert_eq!(code, 0, "{out}{err}");
    // In a target folder of its own, where no other test replays.
    let target = tempfile::tempdir().expect("a folder for the test");
    let bins = target.path().join("debug");
    fs::create_dir(&bins).expect("a folder for the programs");
    let built = cargo_bin("xtask");
    let built = built.parent().expect("it is in a folder");
    for bin in ["xtask", "fork", "local"] {
        let built = fs::read(built.join(bin)).expect("it was built");
        write_program(&bins.join(bin), &built).expect("there is room");
    }
    let own = |arguments: &[&str]| {
        let mut command = Command::new(bins.join("xtask"));
        command.env("LC_ALL", "C");
        // The programs are there: nothing is to be built.
        let output = command.args(arguments).env("CARGO", "true").output();
        let output = output.expect("xtask starts");
        let out = String::from_utf8(output.stdout).expect("it prints text");
        assert!(output.status.success(), "{arguments:?}: {out}");
        out
    };
    own(&["run", "fork", "--seed", "1", "-q"]);
    own(&["run", "local", "--seed", "2", "-q"]);
    own(&["run", "local", "--seed", "3", "-q"]);
    let page = own(&["export", "md", "-o", "-"]);
    assert!(
        page.contains("2 passed") && page.contains("`fork`"),
        "{page}"
    );
    assert!(own(&["diff", "fork"]).contains("fork"));
    assert!(own(&["show", "fork"]).contains("the last run printed"));
    let report = own(&["report"]);
    let report = fs::read_to_string(report.trim()).expect("it was written");
    assert!(report.contains("from several replays"), "{report}");
    // A replay of which nothing is shown any more is gone.
    let folder = fs::read_dir(target.path().join("replay")).expect("it was made");
    let names = folder.map(|entry| entry.expect("it can be read").file_name());
    let runs = names.filter(|name| name.to_string_lossy().ends_with(".json"));
    assert_eq!(runs.count(), 2);
}
