//! The cells of chapters 2 and 4, replayed.

use assert_cmd::cargo::cargo_bin;
use common::environment;
use common::replay::assert_holds;

#[test]
fn thread() {
    assert_holds(&cargo_bin("thread"));
}

#[test]
fn race() {
    assert_holds(&cargo_bin("race"));
}

#[test]
fn lock() {
    assert_holds(&cargo_bin("lock"));
}

#[test]
fn process_vs_thread() {
    assert_holds(&cargo_bin("process_vs_thread"));
}

#[test]
fn a_pace_or_seed_that_is_none_is_refused() {
    environment::assert_checks(&cargo_bin("thread"));
    environment::assert_checks(&cargo_bin("process_vs_thread"));
}
