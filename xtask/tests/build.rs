//! The build before a replay: without cargo, and when it is told to stop.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Program, marked, write_program};
use common::replay::mark_of;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_machine_without_cargo_is_told_how_to_get_it() {
    for (lang, sentence) in [
        (
            "en",
            "error: cargo was not found: put it on PATH, or install it",
        ),
        ("zh", "错误：找不到 cargo：把它放到 `PATH` 里，或"),
    ] {
        let mut command = Command::new(cargo_bin("xtask"));
        command.args(["run", "fork", "--lang", lang]);
        command.env_remove("CARGO").env("PATH", "/nowhere");
        let output = command.stdin(Stdio::null()).output().expect("xtask starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        assert!(err.starts_with(sentence), "{err}");
    }
}

#[test]
fn a_build_that_is_told_to_stop_is_ended_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let cargo = folder.path().join("cargo");
    // It goes on for as long as a deadline of this test, and so does its compiler.
    let script = b"#!/bin/sh\nsleep 300 & sleep 300\n";
    write_program(&cargo, script).expect("it can be written");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = Command::new("env");
        // A shell that runs this in the background has it ignore what a terminal sends.
        command.arg("--default-signal=INT").arg(cargo_bin("xtask"));
        command.args(["run", "fork"]).env("CARGO", &cargo);
        let replay = Program::start(command.stdin(Stdio::null())).expect("xtask starts");
        let mark = mark_of(replay.child.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        // The shell, and both that it has started.
        while marked(&mark).len() < 3 {
            assert!(Instant::now() < deadline, "the build never began");
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(replay.pid()), signal).expect("it runs");
        let finished = replay.finish(deadline).expect("it ends");
        assert_eq!(finished.status.code(), Some(130), "{signal}");
        assert!(marked(&mark).is_empty(), "{signal}");
    }
}
