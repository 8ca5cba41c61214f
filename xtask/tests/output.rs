//! Where output goes: to readers who leave, full disks, terminals of every kind, and files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Program, write_program};
use nix::pty::{OpenptyResult, openpty};
use serde_json::Value;
use tempfile::TempDir;

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("xtask"));
    command.env("LC_ALL", "C");
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("xtask starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

/// The `run.json` of one cell.
static RUN: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = folder();
    let file = folder.path().join("run.json");
    let (code, out, err) = run(xtask(&["run", "fork", "--fast", "--json"]).arg(&file));
    assert_eq!(code, Some(0), "{out}{err}");
    (folder, file)
});

/// Every command that prints and starts no long work.
fn printing() -> Vec<Vec<&'static str>> {
    let file = RUN.1.to_str().expect("text");
    vec![
        vec!["list"],
        vec!["doctor"],
        vec!["show"],
        vec!["show", "fork", "--run", file],
        vec!["diff", "fork", "--run", file],
        vec!["export", "md", "-o", "-", "--run", file],
        vec!["report", "-o", "/dev/null", "--run", file],
        vec!["run", "fork", "--fast"],
        vec!["race", "--fast", "-n", "2"],
        vec!["explore", "race", "-o", "/dev/null"],
        vec!["explore", "race", "--schedule", "AAAABBBB"],
    ]
}

#[test]
fn a_reader_who_goes_away_gets_no_panic_and_changes_no_exit_code() {
    for arguments in printing() {
        let (reader, writer) = io::pipe().expect("the system has pipes");
        drop(reader);
        let (code, _, err) = run(xtask(&arguments).stdout(writer));
        // A race may be lost twice or not at all.
        let may_fail = arguments[0] == "race" && code == Some(1);
        assert!(code == Some(0) || may_fail, "{arguments:?}: {code:?} {err}");
        assert_eq!(err, "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_with_exit_code_1() {
    for arguments in printing() {
        let full = File::create("/dev/full").expect("the system has it");
        let (code, _, err) = run(xtask(&arguments).stdout(full));
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        let sentence = "error: write to standard output: No space left on device (os error 28)\n";
        assert_eq!(err, sentence, "{arguments:?}");
    }
}

#[test]
fn an_error_that_cannot_be_printed_keeps_its_exit_code() {
    let full = File::create("/dev/full").expect("the system has it");
    let status = xtask(&["run", "lokc"]).stderr(full).status();
    assert_eq!(status.expect("xtask starts").code(), Some(4));
}

#[test]
fn json_for_standard_output_is_alone_there() {
    let (code, out, err) = run(&mut xtask(&["run", "fork", "--fast", "--json", "-"]));
    assert_eq!(code, Some(0), "{err}");
    let record: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(record["cells"][0]["bin"], "fork");
    assert!(err.contains("1 passed, 0 failed"), "{err}");
}

#[test]
fn a_json_file_that_cannot_be_is_refused_before_the_replay() {
    let folder = folder();
    let missing = folder.path().join("no/run.json");
    for file in [missing.as_path(), folder.path()] {
        for command in ["all", "bench", "chaos"] {
            // The build, which is the first thing that takes time, would fail with another code.
            let mut command = xtask(&[command, "--json"]);
            let (code, out, err) = run(command.arg(file).env("CARGO", "false"));
            assert_eq!((code, &*out), (Some(2), ""), "{err}");
            assert!(err.contains("folder"), "{err}");
        }
    }
}

#[test]
fn a_pipe_that_json_is_written_to_stays_a_pipe() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("there is mkfifo").success());
    let reader = Program::start(Command::new("cat").arg(&pipe)).expect("there is cat");
    let (code, out, err) = run(xtask(&["run", "fork", "--fast", "--json"]).arg(&pipe));
    assert_eq!(code, Some(0), "{out}{err}");
    let kind = fs::metadata(&pipe).expect("it is there").file_type();
    assert!(kind.is_fifo());
    let read = reader.finish(Instant::now() + Duration::from_secs(60));
    let record: Value = serde_json::from_str(&read.expect("cat ends").out).expect("it is JSON");
    assert_eq!(record["passed"], 1);
}

#[test]
fn what_was_found_is_said_before_it_cannot_be_written_down() {
    let target = folder();
    let bins = target.path().join("debug");
    fs::create_dir(&bins).expect("a folder for the programs");
    assert!(RUN.1.exists(), "this has built the cell");
    for bin in ["xtask", "fork"] {
        let built = cargo_bin("xtask").with_file_name(bin);
        let built = fs::read(built).expect("it was built");
        write_program(&bins.join(bin), &built).expect("there is room");
    }
    // A file where the folder of the replays would be.
    fs::write(target.path().join("replay"), "").expect("it can be written");
    let mut command = Command::new(bins.join("xtask"));
    command.env("LC_ALL", "C");
    let (code, out, err) = run(command.args(["run", "fork", "--fast"]).env("CARGO", "true"));
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("1 passed, 0 failed"), "{out}{err}");
    assert!(err.starts_with("error: make "), "{err}");
}

#[test]
fn again_can_be_pasted() {
    let words = [
        "run", "In [1]", "15", "--seed", "5", "--fast", "--json", "-",
    ];
    let (_, out, err) = run(xtask(&words).env("PACE", "0.5"));
    let record: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("JSON: {out}{err}"));
    assert_eq!(
        record["again"],
        "cargo xtask run fork local --seed 5 --fast"
    );
    let words = ["all", "--until", "In [1]", "--timeout", "50", "--json", "-"];
    let (_, out, _) = run(xtask(&words).env("PACE", "0.5").env("SEED", "7"));
    let record: Value = serde_json::from_str(&out).expect("it is JSON");
    let again = "PACE=0.5 cargo xtask run fork --seed 7 --timeout 50";
    assert_eq!(record["again"], again);
}

#[test]
fn a_pace_or_seed_that_is_none_is_wrong_usage() {
    for (name, value) in [("PACE", "abc"), ("SEED", "xyz")] {
        let (code, _, err) = run(xtask(&["run", "fork"]).env(name, value));
        assert_eq!(code, Some(2), "{err}");
        assert!(
            err.starts_with(&format!("error: {name}={value} is no ")),
            "{err}"
        );
    }
}

#[test]
fn a_run_that_is_not_there_or_no_run_exits_with_6() {
    let folder = folder();
    let corrupt = folder.path().join("corrupt.json");
    fs::write(&corrupt, "{\"version\": 3, ").expect("it can be written");
    let old = folder.path().join("old.json");
    fs::write(&old, "{\"version\": 1}").expect("it can be written");
    let half = folder.path().join("half.json");
    fs::write(&half, "{\"version\": 3}").expect("it can be written");
    for file in [Path::new("/no/such/run.json"), &corrupt, &old, &half] {
        for words in [&["show"][..], &["diff"], &["report"], &["export", "md"]] {
            let (code, _, err) = run(xtask(words).arg("--run").arg(file));
            assert_eq!(code, Some(6), "{words:?} {}: {err}", file.display());
            assert!(err.contains(&file.display().to_string()), "{err}");
        }
    }
}

#[test]
fn the_source_of_a_failed_variant_is_its_own() {
    let (code, out, _) = run(&mut xtask(&["run", "lock", "--timeout", "0.001"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("source  multithread/src/bin/lock.rs"), "{out}");
    assert!(
        out.contains("source  multithread/src/bin/atomic_add.rs"),
        "{out}"
    );
}

#[test]
fn doctor_says_what_is_so() {
    let (code, out, _) = run(xtask(&["doctor"]).env("PATH", "/nowhere"));
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("nslookup is not installed: In [7] and In [9]"),
        "{out}"
    );
}

/// What a replay of a cell with short lines shows on a terminal of this kind.
fn on_a_terminal(variables: &[(&str, &str)]) -> String {
    let OpenptyResult { master, slave } = openpty(None, None).expect("the system has terminals");
    let mut command = xtask(&["run", "fork", "--fast"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    command.envs(variables.iter().copied()).stdout(slave);
    let mut child = command.stderr(Stdio::null()).spawn().expect("xtask starts");
    // It has the only other end of the terminal, whose end is an error on Linux.
    drop(command);
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    let mut master = File::from(master);
    while let Ok(length @ 1..) = master.read(&mut piece) {
        shown.extend_from_slice(&piece[..length]);
    }
    assert!(child.wait().expect("it is ours").success());
    String::from_utf8(shown).expect("it prints text")
}

#[test]
fn a_terminal_without_escapes_gets_none() {
    for variable in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let shown = on_a_terminal(&[variable]);
        assert!(shown.contains("1 passed"), "{shown}");
        assert!(!shown.contains('\x1b'), "{variable:?}: {shown:?}");
    }
}

#[test]
fn a_line_that_is_overwritten_takes_one_line_of_the_terminal_however_narrow() {
    let shown = on_a_terminal(&[]);
    let mut pieces = shown.split("\r\x1b[2K");
    pieces.next();
    let mut overwritten = 0;
    for piece in pieces {
        // While it is shown, the terminal does not wrap.
        let (line, rest) = piece.split_once("\x1b[?7h").expect("wrapping is on again");
        assert!(line.starts_with("\x1b[?7l"), "{line:?}");
        assert!(
            !line.contains('\n') && !rest.contains("\x1b[?7l"),
            "{piece:?}"
        );
        overwritten += 1;
    }
    assert!(overwritten > 3, "{shown:?}");
}
