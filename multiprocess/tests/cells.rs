//! The cells of chapter 1, replayed.

use assert_cmd::cargo::cargo_bin;
use common::environment;
use common::replay::assert_holds;

#[test]
fn fork() {
    assert_holds(&cargo_bin("fork"));
}

#[test]
fn process() {
    assert_holds(&cargo_bin("process"));
}

#[test]
fn pool() {
    assert_holds(&cargo_bin("pool"));
}

#[test]
fn call() {
    assert_holds(&cargo_bin("call"));
}

#[test]
fn communicate() {
    assert_holds(&cargo_bin("communicate"));
}

#[test]
fn queue() {
    assert_holds(&cargo_bin("queue"));
}

#[test]
fn a_pace_or_seed_that_is_none_is_refused() {
    environment::assert_checks(&cargo_bin("pool"));
    environment::assert_checks(&cargo_bin("queue"));
}
