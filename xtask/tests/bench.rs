//! What `bench` and `chaos` print, write and answer.

use std::fs;

use serde_json::Value;
use support::xtask;

mod support;

/// Runs with `--json`, and reads what that wrote.
fn recorded(arguments: &[&str]) -> (i32, String, Value) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("found.json");
    let mut arguments = arguments.to_vec();
    arguments.extend(["--json", file.to_str().expect("text")]);
    let (code, out, err) = xtask(&arguments);
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}"));
    (
        code,
        out,
        serde_json::from_slice(&text).expect("it is JSON"),
    )
}

#[test]
fn an_unknown_row_or_case_exits_with_4_and_names_those_there_are() {
    let (code, _, err) = xtask(&["bench", "queue", "socket"]);
    assert_eq!(code, 4);
    assert!(err.contains("queue/u64/1p1c, "), "{err}");
    // One that is mistyped beside one that is not is told before anything runs.
    for names in [&["socket"][..], &["queue", "socket"]] {
        let (code, out, err) = xtask(&[&["chaos"], names].concat());
        assert_eq!((code, out.as_str()), (4, ""));
        assert!(err.contains("no case starts with socket: "), "{err}");
        assert!(err.contains("queue, "), "{err}");
    }
}

#[test]
fn a_queue_holds_while_its_writers_and_readers_are_killed() {
    let (code, out, record) = recorded(&["chaos", "queue", "--rounds", "1", "--seed", "7"]);
    assert_eq!(code, 0, "{out}");
    let case = &record["cases"][0];
    assert_eq!((&record["seed"], &case["held"]), (&7.into(), &1.into()));
    let figure = |name: &str| case["figures"][name].as_u64().expect("it is counted");
    assert!(figure("kills") >= 100, "{out}");
    assert_eq!(figure("put"), figure("got") + figure("missing"), "{out}");
    assert!(
        figure("got") > 1_000,
        "the killing left it time to work: {out}"
    );
}
