//! What a hint tells a reader to try with `cargo xtask`, tried.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use support::xtask;

mod support;

#[test]
fn race_pinned_to_one_processor_has_one_as_its_hint_says() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("run.json");
    let name = file.to_str().expect("our paths are text");
    // As taskset does it, for this thread and what it starts.
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("the mask can be read");
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.expect("there is a processor"))
        .expect("it is in range");
    sched_setaffinity(this, &one).expect("the mask can be narrowed");
    let (code, out, err) = xtask(&["race", "-n", "3", "--json", name]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let run = fs::read_to_string(file).expect("it was written");
    let run: Value = serde_json::from_str(&run).expect("it is JSON");
    assert_eq!(run["machine"]["processors"], 1);
}
