//! The cells of chapter 5, replayed.

use assert_cmd::cargo::cargo_bin;
use common::environment;
use common::replay::assert_holds;

#[test]
fn task_master() {
    assert_holds(&cargo_bin("task_master"));
}

#[test]
fn a_pace_or_seed_that_is_none_is_refused() {
    environment::assert_checks(&cargo_bin("task_master"));
    environment::assert_checks(&cargo_bin("task_worker"));
}
