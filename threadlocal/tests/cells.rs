//! The cells of chapter 3, replayed.

use assert_cmd::cargo::cargo_bin;
use common::replay::assert_holds;

#[test]
fn local() {
    assert_holds(&cargo_bin("local"));
}
