//! The pages of the crate's documentation are complete, and tell the same story as the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder can be read");
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Whether a name starts with `r` and the two digits of a failure.
fn is_of_failure(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next() == Some('r')
        && letters.next().is_some_and(|c| c.is_ascii_digit())
        && letters.next().is_some_and(|c| c.is_ascii_digit())
        && letters.next() == Some('_')
}

fn table() -> String {
    fs::read_to_string(root().join("src/failures.md")).expect("the table is there")
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = table.lines().filter(|line| line.starts_with("| r"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_test_of_the_table_exists_and_every_such_test_is_in_the_table() {
    let files = rust_files(&root().join("tests"));
    let sources = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("a file can be read"));
    let tests: BTreeSet<String> = sources
        .flat_map(|source| {
            let functions = source
                .lines()
                .filter_map(|line| line.trim().strip_prefix("fn "));
            let names = functions.filter_map(|rest| rest.split('(').next());
            names.map(str::to_string).collect::<Vec<_>>()
        })
        .filter(|name| is_of_failure(name))
        .collect();
    let table = table();
    let named: BTreeSet<String> = rows(&table)
        .flat_map(|row| row[4].split(", ").collect::<Vec<_>>())
        .map(|name| name.trim_matches('`').to_string())
        .collect();
    assert_eq!(named, tests);
}

#[test]
fn every_row_of_the_page_on_programs_names_tests_that_exist() {
    let page =
        fs::read_to_string(root().join("src/in_your_program.md")).expect("the page is there");
    let folders = ["tests", "other-program/tests"].map(|folder| rust_files(&root().join(folder)));
    let sources = folders.concat().into_iter().map(fs::read_to_string);
    let sources: String = sources
        .map(|source| source.expect("a file can be read"))
        .collect();
    let (_, tables) = page.split_once("# Places").expect("the tables follow");
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    let tests: Vec<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "))
        .flat_map(|(_, tests)| tests.split(", "))
        .filter_map(|test| test.strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(tests.len() > 30, "{tests:?}");
    for test in tests {
        assert!(sources.contains(&format!("fn {test}()")), "{test}");
    }
}

/// The numbers of a text, in their order.
fn numbers(text: &str) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_page_of_pythons_tests_counts_them_and_names_tests_that_exist() {
    let read = |file| fs::read_to_string(root().join(file)).expect("the page is there");
    let page = read("src/tests_of_python.md");
    let folders = ["tests", "src"].map(|folder| rust_files(&root().join(folder)));
    let sources = folders.concat().into_iter().map(fs::read_to_string);
    let sources: String = sources
        .map(|source| source.expect("a file can be read"))
        .collect();
    let (mut classes, mut rows, mut with, mut without) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [class, test, here] = cells[..] else {
            panic!("{row}");
        };
        classes.insert(class);
        assert!(rows.insert((class, test)), "{class} {test} has two rows");
        if let Some(reason) = here.strip_prefix('–') {
            assert!(reason.len() > 10, "{row}");
            without += 1;
            continue;
        }
        with += 1;
        for name in here.split(", ").map(|name| name.trim_matches('`')) {
            assert!(sources.contains(&format!("fn {name}()")), "{name}");
        }
    }
    let (intro, lists) = page.split_once("* ").expect("the others are listed");
    let (lists, _) = lists.split_once("\n\n").expect("a table follows");
    let names = lists.split('`').skip(1).step_by(2);
    let other_classes = names.filter(|name| name.contains("Test")).count();
    let counts = numbers(&intro.replace("3.13.0", ""));
    let all_classes = classes.len() + other_classes;
    let [total, .., others, _] = counts[..] else {
        panic!("{counts:?}");
    };
    let here = [rows.len(), classes.len(), with, without];
    let said = [&[total, all_classes], &here[..], &[others, other_classes]].concat();
    assert_eq!(counts, said);
    assert_eq!(total, with + without + others);
}

#[test]
fn every_failure_has_a_row_with_its_tests_or_is_none_of_this_crate() {
    let table = table();
    let mut seen = BTreeSet::new();
    for row in rows(&table) {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        assert!(seen.insert(row[0].to_string()), "{} has two rows", row[0]);
        let tests = row[4].split(", ");
        tests.for_each(|test| assert!(test.starts_with(&format!("`{}_", row[0])), "{test}"));
    }
    let elsewhere = ["r10", "r26"];
    for failure in elsewhere {
        assert!(table.contains(&format!("({failure})")), "{failure}");
    }
    seen.extend(elsewhere.map(str::to_string));
    let all = (1..=33).map(|number| format!("r{number:02}"));
    assert_eq!(seen, all.collect());
}

/// The public names of Python 3.11's classes and module, as `dir` lists them.
const PYTHON: [&[&str]; 7] = [
    // Process
    &[
        "authkey",
        "close",
        "daemon",
        "exitcode",
        "ident",
        "is_alive",
        "join",
        "kill",
        "name",
        "pid",
        "run",
        "sentinel",
        "start",
        "terminate",
    ],
    // Pool
    &[
        "apply",
        "apply_async",
        "close",
        "imap",
        "imap_unordered",
        "join",
        "map",
        "map_async",
        "starmap",
        "starmap_async",
        "terminate",
    ],
    // AsyncResult
    &["get", "ready", "successful", "wait"],
    // Queue, SimpleQueue and JoinableQueue
    &[
        "cancel_join_thread",
        "close",
        "empty",
        "full",
        "get",
        "get_nowait",
        "join",
        "join_thread",
        "put",
        "put_nowait",
        "qsize",
        "task_done",
    ],
    // Connection
    &[
        "close",
        "closed",
        "fileno",
        "poll",
        "readable",
        "recv",
        "recv_bytes",
        "recv_bytes_into",
        "send",
        "send_bytes",
        "writable",
    ],
    // multiprocessing
    &[
        "Array",
        "AuthenticationError",
        "Barrier",
        "BoundedSemaphore",
        "BufferTooShort",
        "Condition",
        "Event",
        "JoinableQueue",
        "Lock",
        "Manager",
        "Pipe",
        "Pool",
        "Process",
        "ProcessError",
        "Queue",
        "RLock",
        "RawArray",
        "RawValue",
        "Semaphore",
        "SimpleQueue",
        "TimeoutError",
        "Value",
        "active_children",
        "allow_connection_pickling",
        "cpu_count",
        "current_process",
        "freeze_support",
        "get_all_start_methods",
        "get_context",
        "get_logger",
        "get_start_method",
        "log_to_stderr",
        "parent_process",
        "set_executable",
        "set_forkserver_preload",
        "set_start_method",
    ],
    // subprocess
    &[
        "Popen",
        "PIPE",
        "STDOUT",
        "call",
        "check_call",
        "getstatusoutput",
        "getoutput",
        "check_output",
        "run",
        "CalledProcessError",
        "DEVNULL",
        "TimeoutExpired",
        "communicate",
        "kill",
        "poll",
        "send_signal",
        "terminate",
        "wait",
    ],
];

const SECTIONS: [&str; 7] = [
    "Process",
    "Pool",
    "AsyncResult",
    "Queue, JoinableQueue, SimpleQueue",
    "Pipe",
    "Functions of the module",
    "subprocess",
];

#[test]
fn every_name_of_python_s_has_its_place_on_the_page() {
    let page = fs::read_to_string(root().join("src/coming_from_python.md"));
    let page = page.expect("the page is there");
    for (title, names) in SECTIONS.iter().zip(PYTHON) {
        let section = page
            .split("\n# ")
            .find_map(|text| text.strip_prefix(&format!("{title}\n")));
        let section = section.unwrap_or_else(|| panic!("no section {title}"));
        let rows = section.lines().filter(|line| line.starts_with('|'));
        let python = rows.filter_map(|row| row.split('|').nth(1));
        let is_no_letter = |c: char| !c.is_alphanumeric() && c != '_';
        let mut words: BTreeSet<&str> = python.flat_map(|cell| cell.split(is_no_letter)).collect();
        // The module's classes have sections of their own.
        words.extend(SECTIONS.iter().flat_map(|title| title.split(", ")));
        for name in names {
            assert!(words.contains(name), "{title}: {name}");
        }
    }
}
