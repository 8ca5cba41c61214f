//! The cells of chapter 5, replayed.

use assert_cmd::cargo::cargo_bin;
use common::replay::assert_holds;

#[test]
fn task_master() {
    assert_holds(&cargo_bin("task_master"));
}
