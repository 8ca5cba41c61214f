//! Numbers, in what a user types and in what is said.

use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use support::xtask;

mod support;

#[test]
fn a_negative_number_is_answered_with_the_number_that_is_wanted() {
    for (option, wanted) in [
        (&["all", "--timeout", "-5"][..], "a number of seconds"),
        (&["all", "--seed", "-1"], "a number from 0 to"),
        (&["all", "-n", "-1"], "a number of runs"),
        (&["explore", "race", "--seed", "-1"], "a number from 0 to"),
        (&["bench", "--rounds", "-1"], "a number of rounds"),
        (&["chaos", "--rounds", "-1"], "a number of rounds"),
        (&["chaos", "--seed", "-1"], "a number from 0 to"),
    ] {
        let (code, _, err) = xtask(option);
        assert_eq!(code, 2, "{option:?}: {err}");
        assert!(err.contains(wanted), "{option:?}: {err}");
    }
    let (_, _, err) = xtask(&["all", "--timeout", "--seed", "1"]);
    assert!(err.contains("a value is required for '--timeout"), "{err}");
}

#[test]
fn one_of_a_thing_is_said_in_the_singular() {
    // On one processor.
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(cargo_bin("xtask"));
    command.args(["run", "fork", "--fast", "--seed", "1"]);
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    let out = String::from_utf8(output.expect("there is taskset").stdout).expect("it is text");
    assert!(
        out.starts_with("notebook replay: 1 cell, seed 1, pace 0.1, 1 processor\n"),
        "{out}"
    );
}
