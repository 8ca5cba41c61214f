//! What the tests of the command line have in common.

use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

/// Runs it in English where nothing else is said, and gives its exit code and what it printed.
pub(crate) fn xtask(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(cargo_bin("xtask"))
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let output = output.expect("xtask starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}
