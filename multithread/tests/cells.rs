//! The cells of chapters 2 and 4, replayed.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use assert_cmd::Command;
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

/// With so little room for stacks, the first thread may start and the second not.
#[test]
fn a_race_ends_although_there_is_no_room_for_its_second_thread() {
    for cell in ["race", "race_widened", "atomic_add"] {
        let mut ends = Vec::new();
        for mebibytes in 2..16 {
            let line = format!("ulimit -v {}; exec \"$0\"", mebibytes << 10);
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(line).arg(cargo_bin(cell));
            let output = shell.timeout(Duration::from_secs(60)).output();
            let output = output.expect("there is a shell");
            // What runs for longer than that is killed.
            let (killed, said) = (output.status.signal() == Some(9), output.stderr);
            assert!(!killed, "{cell} with {mebibytes} MiB hangs");
            ends.push(String::from_utf8_lossy(&said).contains("failed to spawn thread"));
        }
        assert!(ends.contains(&true) && ends.ends_with(&[false]), "{ends:?}");
    }
}

#[test]
fn a_pace_or_seed_that_is_none_is_refused() {
    environment::assert_checks(&cargo_bin("thread"));
    environment::assert_checks(&cargo_bin("process_vs_thread"));
}
