//! Two threads to be the scheduler of: on the command line, with real threads, and on the page.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::xtask;

#[path = "../support/browser.rs"]
mod browser;
mod page;
#[path = "../support/mod.rs"]
mod support;

const NAMES: [&str; 4] = ["race", "lock", "deadlock", "queue"];

fn explore(arguments: &[&str]) -> (i32, String, String) {
    xtask(&[&["explore"], arguments].concat())
}

/// The page of an exploration, each in a file of its own.
fn page(name: &str, lang: &str, of: &str) -> PathBuf {
    let file = format!("explore-{name}-{lang}-{of}.html");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let output = file.to_str().expect("our paths are text");
    let (code, out, err) = explore(&[name, "--lang", lang, "-o", output]);
    assert_eq!((code, err.as_str()), (0, ""), "{name} {lang}");
    assert!(out.ends_with(&format!("{output}\n")), "{out}");
    file
}

/// What the program wrote into the page for its script.
fn data(page: &Path) -> Value {
    let html = fs::read_to_string(page).expect("it was written");
    let (_, data) = html.split_once("id=\"data\">").expect("it has data");
    let (data, _) = data.split_once("</script>").expect("the data ends");
    serde_json::from_str(data).expect("it is JSON")
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["rave"],
        &["race", "--seed", "x"],
        &["race", "--seed", "1", "--schedule", "AAAABBBB"],
        &["race", "--schedule", "AAAABBBB", "-o", "page.html"],
    ] {
        let (code, _, err) = explore(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
    }
}

#[test]
fn a_schedule_that_is_not_possible_exits_with_2_and_a_sentence() {
    for (name, lang, schedule, sentence) in [
        (
            "race",
            "en",
            "AXB",
            "step 2 is 'X': the threads are A and B",
        ),
        (
            "race",
            "en",
            "AAB",
            "the schedule ends after 3 steps: A has 2 left to take, and B has 3",
        ),
        (
            "race",
            "en",
            "",
            "the schedule ends after 0 steps: A has 4 left to take, and B has 4",
        ),
        (
            "race",
            "en",
            "AAAABBBBB",
            "step 9 cannot be B's: B is done after its 4 steps",
        ),
        (
            "lock",
            "en",
            "AB",
            "step 2 cannot be B's: B waits for `lock`, which A holds",
        ),
        (
            "deadlock",
            "en",
            "ABA",
            "step 3 cannot be A's: A waits for `lock2`, which B holds",
        ),
        (
            "lock",
            "zh",
            "AB",
            "第 2 步轮不到 B：B 在等 `lock`，它在 A 手里",
        ),
        (
            "race",
            "zh",
            "AAB",
            "次序在 3 步之后就断了：A 还有 2 步，B 还有 3 步",
        ),
    ] {
        let (code, out, err) = explore(&[name, "--lang", lang, "--schedule", schedule]);
        let mark = if lang == "en" { "error: " } else { "错误：" };
        let said = format!("{mark}{sentence}\n");
        assert_eq!((code, out.as_str(), err), (2, "", said), "{schedule}");
    }
}

#[test]
fn list_and_help_name_all_four() {
    let said = |arguments: &[&str]| xtask(arguments).1;
    let list = said(&["list"]);
    let names = NAMES.join("|");
    assert!(
        list.contains(&format!("`cargo xtask explore {names}`")),
        "{list}"
    );
    assert!(said(&["--help"]).contains("\n  explore "));
    let help = said(&["explore", "--help"]);
    for name in NAMES {
        assert!(help.contains(&format!("- {name}: ")), "{name}: {help}");
    }
}

#[test]
fn real_threads_lose_an_update_where_the_schedule_says_so() {
    let (code, out, err) = explore(&["race", "--schedule", "ababAABB"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        "two real threads took turns: ABABAABB",
        "  4  B  balance = x + 8    B writes: `balance` is 8, and overwrites what A wrote in step 3",
        "Both are done: `balance` is -5",
        "8 of 70 orders end so",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
}

#[test]
fn real_threads_that_are_deadlocked_are_told_apart_from_a_short_schedule() {
    let (code, out, err) = explore(&["deadlock", "--schedule", "BA"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        "     A waits for `lock2`, which B holds",
        "     B waits for `lock1`, which A holds",
        "Neither can step again: both wait for ever",
        "2 of 6 orders end so",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
}

#[test]
fn every_outcome_is_listed_with_a_schedule_that_ends_so() {
    for name in NAMES {
        let (code, out, _) = explore(&[name, "-o", "/dev/null"]);
        assert_eq!(code, 0);
        let mut outcomes = 0;
        for row in out.lines().filter(|line| line.ends_with('█')) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let [.., count, schedule, _] = words[..] else {
                panic!("{row}");
            };
            let (code, out, err) = explore(&[name, "--schedule", schedule]);
            assert_eq!(code, 0, "{err}");
            let share = out.lines().last().expect("it prints lines");
            assert!(share.starts_with(&format!("{count} of ")), "{row}: {out}");
            outcomes += 1;
        }
        let data = data(&page(name, "en", "outcomes"));
        let shares = data["orders"].as_u64().expect("orders are counted");
        assert!(outcomes > 0 && shares >= outcomes, "{name}: {out}");
    }
}

#[test]
fn the_page_is_small_and_names_no_address() {
    for (name, lang) in NAMES
        .into_iter()
        .flat_map(|name| [(name, "en"), (name, "zh")])
    {
        let html = fs::read_to_string(page(name, lang, "size")).expect("it was written");
        assert!(html.len() < 500_000, "{name}: {} bytes", html.len());
        assert!(!html.contains("://"), "{name} {lang}");
    }
}
