//! What the hints of chapters 2 and 4 tell a reader to try, tried. That of In [13] is about
//! `cargo xtask race`, and is tried there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use assert_cmd::cargo::cargo_bin;
use common::program::edited;

fn changed(cell: &str, edits: &[(&str, &str)]) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/bin/{cell}.rs"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hints");
    fs::create_dir_all(&folder).expect("a folder for the test");
    edited(&source, edits, &folder).unwrap_or_else(|said| panic!("{said}"))
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// What the cell takes from `common`, in a program that is compiled by itself. The pause ends with the
/// program, whenever that is.
const OF_COMMON: &str = "\
mod environment { pub fn check() {} }
mod pace { pub fn pause(_: f64) { std::thread::sleep(std::time::Duration::MAX); } }";

#[test]
fn thread_without_its_join_ends_with_its_main_thread_and_without_its_ticks() {
    let out = printed(&mut changed(
        "thread",
        &[
            ("use common::{environment, pace};", OF_COMMON),
            (
                "looping.join().expect(\"the loop does not panic\");",
                "drop(looping);",
            ),
        ],
    ));
    assert!(out.contains("thread MainThread ended.\n"), "{out}");
    assert!(!out.contains("thread LoopThread >>> 2"), "{out}");
    assert!(!out.contains("thread LoopThread ended."), "{out}");
}

#[test]
fn lock_taken_once_around_the_whole_loop_is_as_right() {
    let change = "\
    let mut balance = BALANCE.lock().unwrap();
    for _ in 0..1_000_000 {
        *balance += n;
        *balance -= n;
    }";
    let mut lock = changed(
        "lock",
        &[
            (
                "    for _ in 0..1_000_000 {\n        change(n);\n    }",
                change,
            ),
            (
                "fn change(n: i64)",
                "#[expect(dead_code)]\nfn change(n: i64)",
            ),
        ],
    );
    for _ in 0..20 {
        assert_eq!(printed(&mut lock), "0\n");
    }
}

/// The lines that compare in words, and those that have figures.
fn words_and_figures() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut cell = Command::new(cargo_bin("process_vs_thread"));
    let out = printed(cell.env("PACE", "0"));
    let rows = out.lines().filter(|line| !line.starts_with("So "));
    let rows = rows.map(str::to_string);
    rows.partition(|line| line.contains(" thread ") && line.contains(" process "))
}

#[test]
fn process_vs_thread_has_other_figures_under_load_and_the_same_words() {
    let (words, figures) = words_and_figures();
    assert_eq!(words.len(), 5, "{words:?}");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let loaded = std::panic::catch_unwind(words_and_figures);
        done.store(true, Ordering::Relaxed);
        let (still, moved) = loaded.expect("the cell runs under load");
        assert_eq!(still, words);
        assert_ne!(moved, figures);
    });
}
