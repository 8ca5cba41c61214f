//! Where the views look for a run, where they write, and what they say if neither is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

mod support;

use support::xtask;

/// A target folder of its own, in which no other test replays.
struct Target(TempDir);

impl Target {
    fn new() -> Target {
        let target = Target(tempfile::tempdir().expect("a folder for the test"));
        for folder in ["debug", "replay"] {
            fs::create_dir(target.0.path().join(folder)).expect("it can be made");
        }
        fs::copy(cargo_bin("xtask"), target.path("debug/xtask")).expect("it was built");
        target
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the command from this folder, in English where nothing else is said.
    fn xtask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(self.path("debug/xtask"));
        command.args(arguments).env("LC_ALL", "C");
        printed(command.current_dir(self.0.path()))
    }
}

fn printed(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("xtask starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

/// The record of a run of one cell.
fn run(file: &Path) {
    let file = file.to_str().expect("it is text");
    let (code, out, err) = xtask(&["run", "fork", "--fast", "--json", file]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn a_damaged_last_run_is_told_with_the_mend_by_every_view() {
    let target = Target::new();
    let (last, earlier) = ("replay/run.json", "replay/earlier-2026-11-28T000000Z.json");
    run(&target.path(earlier));
    let whole = fs::read_to_string(target.path(earlier)).expect("it was written");
    let future = whole.replacen("\"version\": 4", "\"version\": 400", 1);
    assert_ne!(whole, future);
    let name = target.path(earlier).display().to_string();
    for damaged in [&whole[..whole.len() / 2], &future, "", "{\"version\": 4}"] {
        fs::write(target.path(last), damaged).expect("it can be written");
        let mend = format!("cargo xtask all writes a new one; --run {name} shows an earlier one\n");
        for view in [&["report"][..], &["diff"], &["export", "md"]] {
            let (code, _, err) = target.xtask(view);
            assert_eq!(code, Some(6), "{err}");
            assert!(err.ends_with(&mend), "{view:?}: {err}");
        }
        let (code, out, err) = target.xtask(&["show", "fork", "lock"]);
        assert_eq!(code, Some(0), "{err}");
        assert!(
            out.contains("In [14] lock") && !out.contains("the last run"),
            "{out}"
        );
        assert!(err.ends_with(&mend) && err.lines().count() == 1, "{err}");
        let (_, _, err) = target.xtask(&["show", "fork", "--lang", "zh"]);
        assert!(err.contains("`cargo xtask all` 会写一个新的"), "{err}");
    }
    fs::remove_file(target.path(earlier)).expect("it is there");
    let (_, _, err) = target.xtask(&["diff"]);
    assert!(
        err.ends_with(": cargo xtask all writes a new one\n"),
        "{err}"
    );
    // A cell can be shown before anything was replayed.
    fs::remove_file(target.path(last)).expect("it is there");
    let (code, _, err) = target.xtask(&["show", "fork"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (_, _, err) = target.xtask(&["diff"]);
    assert!(
        err.contains("cargo xtask all replays the notebook"),
        "{err}"
    );
}

#[test]
fn a_named_run_is_not_said_to_be_left_by_a_replay() {
    let target = Target::new();
    let file = target.path("mine.json").display().to_string();
    let (code, _, err) = target.xtask(&["diff", "--run", &file]);
    assert_eq!(code, Some(6), "{err}");
    assert!(!err.contains("cargo xtask all"), "{err}");
    fs::write(&file, "{").expect("it can be written");
    let (code, _, err) = target.xtask(&["diff", "--run", &file]);
    assert_eq!(code, Some(6), "{err}");
    let mend = format!(": cargo xtask all --json {file} writes one\n");
    assert!(err.ends_with(&mend), "{err}");
}
