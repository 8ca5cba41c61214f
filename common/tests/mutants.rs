//! Recordings that were spoilt by rule: a check that notices nothing is no check. What may survive
//! is declared here, each with the reordering of the cell that allows it.

use std::collections::{BTreeMap, BTreeSet};

use common::notebook::CELLS;
use common::verdict::judge_recording;

/// What was done to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A line is missing.
    Drop,
    /// A line is there twice.
    Double,
    /// A line and the next have changed places.
    Swap,
    /// A line and the next are one.
    Join,
    /// A line is two.
    Cut,
    /// The last line has no end.
    Tear,
    /// One number in the line is another.
    Number,
    /// One word in the line is another.
    Word,
}

/// The mutants that may pass: the cell, what was done, the line of each mutant (a line with
/// several such mutants as often), and the reordering that allows it.
const SURVIVORS: &[(&str, Kind, &[usize], &str)] = &[
    (
        "fork",
        Kind::Swap,
        &[2],
        "parent and child print side by side",
    ),
    (
        "process",
        Kind::Number,
        &[1, 3],
        "only a live run knows its process numbers",
    ),
    (
        "pool",
        Kind::Swap,
        &[2, 3, 4, 5, 7, 8, 9, 10, 11],
        "workers print side by side",
    ),
    (
        "pool",
        Kind::Number,
        &[1, 5, 6, 6, 9, 9, 10, 10, 11, 11, 12],
        "only a live run knows its process numbers and the seconds that passed",
    ),
    (
        "communicate",
        Kind::Drop,
        &[5],
        "a name server of the domain itself is an authority",
    ),
    (
        "communicate",
        Kind::Double,
        &[4, 6, 7, 9],
        "so many mail hosts and blank lines as DNS says",
    ),
    (
        "communicate",
        Kind::Swap,
        &[3, 4, 6, 7, 8],
        "blank lines stand anywhere in the answer",
    ),
    (
        "communicate",
        Kind::Join,
        &[3, 6, 8],
        "to join a blank line is to have one fewer",
    ),
    (
        "communicate",
        Kind::Number,
        &[6],
        "the rank of a mail host is the domain's business",
    ),
    (
        "communicate",
        Kind::Word,
        &[6, 6, 6],
        "the name of a mail host is the domain's business",
    ),
    (
        "queue",
        Kind::Swap,
        &[2, 4, 6],
        "writer and reader print side by side",
    ),
    (
        "queue",
        Kind::Number,
        &[1, 3],
        "only a live run knows its process numbers",
    ),
    (
        "race",
        Kind::Number,
        &[1],
        "a race ends anywhere: many runs are judged together",
    ),
    (
        "lock",
        Kind::Number,
        &[1],
        "the outcomes of many runs are judged together",
    ),
    ("local", Kind::Swap, &[1], "either thread may be first"),
    (
        "task_master",
        Kind::Swap,
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        "the tasks are random numbers",
    ),
    (
        "task_master",
        Kind::Number,
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "the tasks are random numbers",
    ),
];

/// Each way to change one number or one word of a line, by rule: another number is one more, and
/// another word has a letter more.
fn changed(line: &str) -> Vec<(Kind, String)> {
    let same = |a: char, b: char| {
        (a.is_ascii_digit() && b.is_ascii_digit()) || (a.is_alphabetic() && b.is_alphabetic())
    };
    let chars: Vec<char> = line.chars().collect();
    let runs: Vec<String> = chars
        .chunk_by(|a, b| same(*a, *b))
        .map(String::from_iter)
        .collect();
    let mut mutants = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let change = if let Ok(number) = run.parse::<u64>() {
            let width = run.len();
            (Kind::Number, format!("{:0width$}", number + 1))
        } else if run.chars().all(char::is_alphabetic) {
            (Kind::Word, format!("{run}x"))
        } else {
            continue;
        };
        let mut runs = runs.clone();
        runs[at] = change.1;
        mutants.push((change.0, runs.concat()));
    }
    mutants
}

/// All mutants of a text, each with what was done to which line, from 1.
fn mutants(text: &str) -> Vec<(Kind, usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect();
    let mut mutants: Vec<(Kind, usize, String)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut add = |kind, width: usize, put: &[&str]| {
            let mut lines = lines.clone();
            lines.splice(at..at + width, put.iter().copied());
            mutants.push((kind, at + 1, joined(&lines)));
        };
        add(Kind::Drop, 1, &[]);
        add(Kind::Double, 1, &[line, line]);
        let (left, right) = line.split_at(line.len() / 2);
        add(Kind::Cut, 1, &[left, right]);
        for (kind, line) in changed(line) {
            add(kind, 1, &[&line]);
        }
        if let Some(next) = lines.get(at + 1) {
            add(Kind::Swap, 2, &[next, line]);
            add(Kind::Join, 2, &[&format!("{line}{next}")]);
        }
    }
    let torn = text.trim_end_matches('\n').to_string();
    mutants.push((Kind::Tear, lines.len(), torn));
    mutants
}

type Survivors = BTreeMap<(&'static str, Kind), Vec<usize>>;

/// How many distinct mutants there are, and which of them pass every check. The lines of the
/// recorded error are counted on from those of the output.
fn judged() -> (usize, Survivors) {
    let (mut total, mut survivors) = (0, Survivors::new());
    for cell in CELLS {
        for variant in cell.variants {
            let (out, error) = (variant.recorded, variant.recorded_error);
            let spoilt_out = mutants(out)
                .into_iter()
                .map(|(kind, line, out)| (kind, line, out, error.to_string()));
            let spoilt_error = mutants(error).into_iter().map(|(kind, line, error)| {
                (kind, line + out.lines().count(), out.to_string(), error)
            });
            let mut seen = BTreeSet::from([(out.to_string(), error.to_string())]);
            for (kind, line, out, error) in spoilt_out.chain(spoilt_error) {
                let held = judge_recording(variant, &out, &error)
                    .iter()
                    .all(|verdict| verdict.held);
                if !seen.insert((out, error)) {
                    continue;
                }
                total += 1;
                if held {
                    survivors.entry((cell.bin, kind)).or_default().push(line);
                }
            }
        }
    }
    (total, survivors)
}

#[test]
fn every_spoilt_recording_is_noticed_but_those_that_the_cells_allow() {
    let (total, survivors) = judged();
    let declared: Survivors = SURVIVORS
        .iter()
        .map(|(bin, kind, lines, _)| ((*bin, *kind), lines.to_vec()))
        .collect();
    assert_eq!(declared.len(), SURVIVORS.len(), "a pair is declared twice");
    let passed: usize = survivors.values().map(Vec::len).sum();
    let of = format!("{total} mutants, {passed} pass");
    assert!(total >= 300, "{of}: too few to tell anything");
    for (key, lines) in &survivors {
        assert_eq!(
            declared.get(key),
            Some(lines),
            "{of}: {key:?} is noticed less than declared"
        );
    }
    for key in declared.keys() {
        assert!(
            survivors.contains_key(key),
            "{of}: {key:?} is noticed, but declared to pass"
        );
    }
}
