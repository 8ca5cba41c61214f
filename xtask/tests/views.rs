//! Where the views look for a run, where they write, and what they say if neither is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use common::program::write_program;
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
        let built = fs::read(cargo_bin("xtask")).expect("it was built");
        write_program(&target.path("debug/xtask"), &built).expect("there is room");
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
fn every_page_says_which_cells_are_of_an_earlier_replay() {
    let target = Target::new();
    let files = ["replay/earlier-2026-11-28T000000Z.json", "replay/run.json"];
    for (file, bin) in files.iter().zip(["fork", "call"]) {
        let file = target.path(file);
        let (code, out, err) = xtask(&[
            "run",
            bin,
            "--fast",
            "--json",
            file.to_str().expect("it is text"),
        ]);
        assert_eq!(code, 0, "{out}{err}");
    }
    let text = fs::read_to_string(target.path(files[0])).expect("it was written");
    let started = text.split("\"started\": \"").nth(1).expect("it has a time");
    let started = started.split('"').next().expect("it ends");
    for view in [
        &["export", "md", "-o", "-"][..],
        &["export", "ipynb", "-o", "-"],
        &["report", "-o", "-"],
    ] {
        let (code, page, err) = target.xtask(view);
        assert_eq!(code, Some(0), "{err}");
        assert!(
            page.contains("The cells are from several replays"),
            "{view:?}"
        );
        let marked = page.matches(started).count();
        assert_eq!(
            marked,
            usize::from(view[1] != "ipynb"),
            "{view:?}: {started}"
        );
    }
    // A run that another table of cells made.
    let other = text.replace("\"bin\": \"fork\"", "\"bin\": \"frok\"");
    fs::write(target.path(files[0]), other).expect("it can be written");
    let (code, _, err) = target.xtask(&["diff", "--run", files[0]]);
    assert_eq!(code, Some(6), "{err}");
    assert!(
        err.contains("the run has a cell `frok` that the notebook's table"),
        "{err}"
    );
}

#[test]
fn a_named_run_is_not_said_to_be_left_by_a_replay() {
    let target = Target::new();
    let file = target.path("mine.json").display().to_string();
    let mend = format!(": cargo xtask all --json {file} writes one\n");
    for text in [None, Some("{")] {
        if let Some(text) = text {
            fs::write(&file, text).expect("it can be written");
        }
        let (code, _, err) = target.xtask(&["diff", "--run", &file]);
        assert_eq!(code, Some(6), "{err}");
        assert!(err.ends_with(&mend), "{err}");
    }
}

#[test]
fn a_page_for_standard_output_is_alone_there() {
    let target = Target::new();
    run(&target.path("replay/run.json"));
    for view in [&["report"][..], &["explore", "race"], &["export", "md"]] {
        let (code, out, err) = target.xtask(&[view, &["-o", "-"]].concat());
        assert_eq!(code, Some(0), "{view:?}: {err}");
        let begin = out.trim_start().chars().next();
        assert!(begin == Some('<') || begin == Some('#'), "{view:?}: {out}");
        assert!(!target.path("-").exists(), "{view:?}");
        assert!(!out.ends_with("\n-\n"), "{view:?}");
    }
    for view in [&["report"][..], &["explore", "race"]] {
        let (code, out, err) = target.xtask(&[view, &["-o", "-", "--open"]].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{view:?}: {err}");
    }
}

#[test]
fn an_output_that_cannot_be_is_wrong_usage() {
    let target = Target::new();
    run(&target.path("replay/run.json"));
    let folder = target.0.path().to_str().expect("it is text");
    for view in [&["report"][..], &["explore", "race"], &["export", "md"]] {
        for (output, sentence) in [
            (folder, "it is a folder: name a file in it"),
            ("/nonexist/a.md", "there is no folder /nonexist"),
        ] {
            let (code, out, err) = target.xtask(&[view, &["-o", output]].concat());
            assert_eq!((code, out.as_str()), (Some(2), ""), "{view:?}: {err}");
            let said =
                format!("error: invalid value '{output}' for '--output <FILE>': {sentence}\n");
            assert!(err.starts_with(&said), "{view:?}: {err}");
        }
    }
    for (output, sentence) in [
        ("-", "pictures are several files"),
        ("replay/run.json", "it is a file"),
    ] {
        let (code, out, err) = target.xtask(&["export", "svg", "-o", output]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(sentence), "{err}");
    }
    let (code, _, err) = target.xtask(&["export", "md", "-o", folder, "--lang", "zh"]);
    assert_eq!(code, Some(2), "{err}");
    let said = format!("错误：`--output <FILE>` 的值不能是 `{folder}`：它是文件夹");
    assert!(err.starts_with(&said), "{err}");
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for arguments in [&["--help"][..], &["run", "-h"], &["--help", "--lang", "zh"]] {
        let full = File::create("/dev/full").expect("the system has it");
        let mut command = Command::new(cargo_bin("xtask"));
        let command = command.args(arguments).env("LC_ALL", "C").stdout(full);
        let output = command.stdin(Stdio::null()).output().expect("xtask starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains("No space left on device"), "{err}");
    }
}
