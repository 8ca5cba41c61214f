//! The forms that a run is exported in, as the tools read them that they are for; and the views of
//! the terminal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::notebook::CELLS;
use serde_json::Value;
use support::xtask;

mod support;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A whole replay with the notebook's draws, done once for all tests of this file.
fn run() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| {
        let file = folder().join("as-recorded.json");
        let file = file.to_str().expect("our paths are text").to_string();
        let (code, out, err) = xtask(&["all", "--as-recorded", "-q", "--json", &file]);
        assert_eq!(code, 0, "{out}{err}");
        file
    })
}

fn export(form: &str) -> String {
    let (code, out, err) = xtask(&["export", form, "--run", run(), "-o", "-"]);
    assert_eq!((code, err.as_str()), (0, ""), "{form}");
    out
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// Runs a Python program on a file; only a machine without what it imports may skip it.
fn python(imports: &str, program: &str, file: &Path) {
    let here = Command::new("python3")
        .args(["-c", imports])
        .stderr(Stdio::null())
        .status();
    if !here.is_ok_and(|status| status.success()) {
        let ci = std::env::var_os("CI").is_some();
        assert!(
            !ci,
            "python3 cannot do: {imports} (pip install nbformat nbconvert)"
        );
        eprintln!("skipped: python3 cannot do: {imports} (pip install nbformat nbconvert)");
        return;
    }
    let program = format!("{imports}\nimport sys\n{program}");
    let output = Command::new("python3")
        .args(["-c", &program])
        .arg(file)
        .output();
    let output = output.expect("python3 starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn parts() -> usize {
    CELLS.iter().map(|cell| cell.variants.len()).sum()
}

#[test]
fn with_the_notebooks_draws_no_line_has_changed_and_what_moved_is_free() {
    // The pool prints how long it slept, to the hundredth, which a busy machine may stretch.
    let steady = CELLS
        .iter()
        .map(|cell| cell.bin)
        .filter(|bin| *bin != "pool");
    let arguments: Vec<&str> = ["diff", "--run", run()].into_iter().chain(steady).collect();
    let (code, out, err) = xtask(&arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.matches("0 changed, ").count(), CELLS.len() - 2, "{out}");
    assert!(!out.contains("not free"), "{out}");
    assert!(out.contains("Put task 2062..."), "{out}");
}

#[test]
fn list_and_show_tell_of_the_checks_that_a_replay_makes() {
    let record = json(&fs::read_to_string(run()).expect("it was written"));
    let (_, list, _) = xtask(&["list"]);
    for cell in CELLS {
        let variants = record["cells"].as_array().expect("it has cells");
        let mut said = Vec::new();
        for variant in variants.iter().filter(|ran| ran["bin"] == cell.bin) {
            let verdicts = variant["verdicts"].as_array().expect("it was judged");
            let name = variant["variant"].as_str().expect("it is text");
            said.push(format!("{name} {}", verdicts.len()).trim().to_string());
        }
        let mut lines = list.lines();
        let line = lines.find(|line| line.contains(&format!(" {:18} ", cell.bin)));
        let line = line.unwrap_or_else(|| panic!("{}: {list}", cell.bin));
        let said = format!("  {} checks", said.join(", "));
        assert!(line.ends_with(&said), "{said}: {line}");
    }
    for (cell, sentence) in [
        ("race", "of 100 runs, at least one is not 0"),
        ("lock", "of 20 runs, all are 0"),
    ] {
        assert!(record.to_string().contains(sentence), "{sentence}");
        let (_, shown, _) = xtask(&["show", cell, "--run", run()]);
        assert!(shown.contains(&format!("    {sentence}\n")), "{shown}");
    }
}

#[test]
fn other_draws_are_told_as_changed_lines() {
    let file = folder().join("drawn.json");
    let file = file.to_str().expect("our paths are text");
    let replay = [
        "run",
        "task_master",
        "--fast",
        "--seed",
        "3",
        "-q",
        "--json",
        file,
    ];
    assert_eq!(xtask(&replay).0, 0);
    let (code, out, _) = xtask(&["diff", "in16", "--run", file]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("10 changed, "), "{out}");
}

#[test]
fn the_notebook_is_valid_and_has_every_cell_with_its_number_and_its_pictures() {
    let text = export("ipynb");
    let book = json(&text);
    assert_eq!(
        (&book["nbformat"], &book["nbformat_minor"]),
        (&4.into(), &5.into())
    );
    let cells = book["cells"].as_array().expect("it has cells");
    let code: Vec<&Value> = cells
        .iter()
        .filter(|cell| cell["cell_type"] == "code")
        .collect();
    assert_eq!(code.len(), parts());
    let numbers = CELLS
        .iter()
        .flat_map(|cell| cell.variants.iter().map(|_| cell.number));
    for (cell, number) in code.iter().zip(numbers) {
        assert_eq!(cell["execution_count"].as_u64(), number.map(u64::from));
        assert!(
            !cell["outputs"].as_array().expect("it is a list").is_empty(),
            "{}",
            cell["id"]
        );
    }
    let errors = code.iter().filter(|cell| {
        let outputs = cell["outputs"].as_array().expect("it is a list");
        outputs
            .iter()
            .any(|output| output["output_type"] == "error")
    });
    let failed: Vec<&Value> = errors.map(|cell| &cell["id"]).collect();
    assert_eq!(failed, ["task_master-recorded"]);
    let drawn = cells.iter().filter(|cell| {
        cell["source"]
            .as_str()
            .is_some_and(|text| text.contains("data:image/svg+xml;base64,"))
    });
    assert_eq!(drawn.count(), 13);

    let file = folder().join("notebook.ipynb");
    fs::write(&file, text).expect("it can be written");
    python(
        "import nbformat, nbconvert",
        "book = nbformat.read(sys.argv[1], as_version=nbformat.NO_CONVERT)\n\
         nbformat.validate(book)\n\
         html, _ = nbconvert.HTMLExporter(embed_images=False).from_notebook_node(book)\n\
         assert 'Run task' in html and 'hl-rust' in html\n",
        &file,
    );
}

#[test]
fn the_trace_has_names_and_every_arrow_has_both_ends() {
    let trace = json(&export("trace"));
    let events = trace["traceEvents"].as_array().expect("it is a list");
    let mut arrows: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event["ph"] == "s" || event["ph"] == "f")
    {
        arrows
            .entry(event["id"].as_u64().expect("an arrow has a number"))
            .or_default()
            .push(event);
    }
    // Three items of the queue, ten tasks to the worker and ten results back.
    assert_eq!(arrows.len(), 23);
    for (id, ends) in &arrows {
        assert_eq!(ends.len(), 2, "arrow {id}");
        assert_eq!(
            (&ends[0]["ph"], &ends[1]["ph"]),
            (&"s".into(), &"f".into()),
            "arrow {id}"
        );
        assert!(
            ends[0]["ts"].as_u64() <= ends[1]["ts"].as_u64(),
            "arrow {id}"
        );
        for end in ends {
            let holds = |event: &&Value| {
                let slice = event["ph"] == "X";
                slice
                    && ["pid", "tid", "ts"]
                        .iter()
                        .all(|field| event[field] == end[field])
            };
            assert!(
                events.iter().any(|event| holds(&event)),
                "arrow {id} hangs in the air"
            );
        }
    }
    let name = |kind: &str| {
        let named = events.iter().filter(|event| event["name"] == kind);
        named
            .map(|event| event["args"]["name"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(name("process_name").len(), parts());
    assert!(
        name("thread_name")
            .iter()
            .any(|name| name.contains("W4 worker"))
    );
}

#[test]
fn junit_has_a_case_for_every_cell_and_parses() {
    let text = export("junit");
    assert_eq!(text.matches("<testcase ").count(), parts());
    assert!(!text.contains("<failure"), "{text}");
    let file = folder().join("junit.xml");
    fs::write(&file, text).expect("it can be written");
    python(
        "import xml.etree.ElementTree",
        "suite = xml.etree.ElementTree.parse(sys.argv[1]).getroot()[0]\n\
         assert len(suite.findall('testcase')) == int(suite.get('tests'))\n\
         lines = suite.find(\"testcase[@name='In [10] queue']/system-out\").text\n\
         assert 'Put A to queue...' in lines, lines\n",
        &file,
    );
}

#[test]
fn a_failure_reaches_junit_with_its_check_and_its_place() {
    let mut record = json(&fs::read_to_string(run()).expect("it was written"));
    record["cells"][2]["held"] = false.into();
    let verdict = &mut record["cells"][2]["verdicts"][3];
    (verdict["held"], verdict["evidence"]) = (false.into(), "4 <times> \u{1b}[31m".into());
    let file = folder().join("failing.json");
    fs::write(&file, record.to_string()).expect("it can be written");
    let run = file.to_str().expect("our paths are text");
    let (_, text, _) = xtask(&["export", "junit", "--run", run, "-o", "-"]);
    assert!(text.contains("<failure"), "{text}");
    assert!(text.contains("4 &lt;times&gt; [31m"), "{text}");
    assert!(
        text.contains("multiprocess&#x2f;src&#x2f;bin&#x2f;pool.rs"),
        "{text}"
    );
}

#[test]
fn markdown_and_pictures_are_written() {
    let text = export("md");
    assert_eq!(text.matches("```rust").count(), parts());
    let pictures = folder().join("pictures");
    let output = pictures.to_str().expect("our paths are text");
    let (code, out, err) = xtask(&["export", "svg", "--run", run(), "-o", output]);
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 13, ""));
    let gantt = fs::read_to_string(pictures.join("pool-gantt.svg")).expect("it was written");
    for said in [
        "role=\"img\"",
        "<title",
        "<desc",
        "task 3, 2.11 s",
        "prefers-color-scheme",
    ] {
        assert!(gantt.contains(said), "{said}: {gantt}");
    }
    for (name, words) in [
        (
            "race-steps",
            &["overwritten in step 6", "load 5", "balance 5"][..],
        ),
        ("lock-cost", &["no lock", "Mutex", "fetch_add", " ns ×"]),
        (
            "local-slots",
            &["STUDENT = Alice", "STUDENT in Thread-B is Bob"],
        ),
    ] {
        let svg = fs::read_to_string(pictures.join(format!("{name}.svg")));
        let svg = svg.expect("it was written");
        for word in words {
            assert!(svg.contains(word), "{name} has no {word}: {svg}");
        }
    }
}

#[test]
fn show_tells_all_of_a_cell_in_either_language() {
    let (code, out, err) = xtask(&["show", "pool", "--run", run()]);
    assert_eq!((code, err.as_str()), (0, ""));
    for said in [
        "Pool::new(4)?",
        "Task 1 runs 0.00 seconds.",
        "at most 4 of `Run task {i} ({w})...` at once",
        "W2",
        "█",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let (_, out, _) = xtask(&["show", "race", "--run", run(), "--lang", "zh"]);
    assert!(
        out.contains("没有锁") && out.contains("笔记打印了 5"),
        "{out}"
    );
}

#[test]
fn race_runs_as_often_as_it_is_told_and_says_which_rung_showed_the_race() {
    let (code, out, err) = xtask(&["race", "-n", "12"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("of 12 are not 0, widened race"), "{out}");
    for row in [
        "no lock: ",
        "Mutex: 0 of 12 not 0",
        "fetch_add: 0 of 12 not 0",
    ] {
        assert!(out.contains(row), "{row}: {out}");
    }
}

#[test]
fn a_run_of_another_version_and_a_file_that_is_none_get_a_clear_error() {
    let file = folder().join("old.json");
    let run = file.to_str().expect("our paths are text");
    for (text, error) in [
        (
            "{\"version\": 1, \"cells\": []}",
            "has version 1 of run.json",
        ),
        ("{}", "is not the run of a replay"),
        ("nonsense", "is not the run of a replay"),
    ] {
        fs::write(&file, text).expect("it can be written");
        for view in [&["report"][..], &["diff"], &["show"], &["export", "md"]] {
            let mut arguments = view.to_vec();
            arguments.extend(["--run", run]);
            let (code, _, err) = xtask(&arguments);
            assert_eq!(code, 6, "{view:?}: {err}");
            assert!(err.contains(error), "{view:?}: {err}");
        }
    }
    let (code, _, err) = xtask(&["report", "--run", "/nowhere/run.json"]);
    assert_eq!(code, 6);
    assert!(err.contains("--json /nowhere/run.json writes one"), "{err}");
}

/// A copy of the notebook as a user may have it, with other words in it.
const COPY: &str = "\
In [1]:
import os

pid = os.fork()  # a `<child>`

Process (7) start...

prose of the notebook

In [16]:
text = '```'
";

/// A file with this text, named for a test.
fn copy(name: &str, text: &str) -> String {
    let file = folder().join(name);
    fs::write(&file, text).expect("it can be written");
    file.to_str().expect("our paths are text").to_string()
}

#[test]
fn the_python_of_the_users_notebook_is_shown_with_the_cell_and_only_then() {
    let file = copy("shown.txt", COPY);
    let (code, out, err) = xtask(&["show", "fork", "process", "--notebook", &file]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let place = "shown.txt, In [1]\n    import os\n\n    pid = os.fork()  # a `<child>`\n\n";
    assert!(out.contains(place), "{out}");
    assert!(!out.contains("prose of the notebook"), "{out}");
    let lacks = "shown.txt has no In [2], but In [1], In [16]";
    assert!(out.contains(lacks), "{out}");
    let of_no_cell = ["show", "process_vs_thread", "--notebook", &file];
    let (code, out, err) = xtask(&of_no_cell);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("shown.txt"), "the notebook has none: {out}");
    let (_, out, _) = xtask(&["show", "fork"]);
    assert!(!out.contains("import os"), "{out}");
}

#[test]
fn an_exported_notebook_has_the_python_in_a_fence_above_each_cell() {
    let file = copy("exported.txt", COPY);
    let form = |form: &str| {
        let arguments = ["export", form, "--run", run(), "-o", "-", "--notebook"];
        let (code, out, err) = xtask(&[&arguments[..], &[&file]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{form}");
        out
    };
    let fork = "exported.txt, In [1]:\n\n```python\nimport os\n\n\
                pid = os.fork()  # a `<child>`\n```";
    let master = "exported.txt, In [16]:\n\n````python\ntext = '```'\n````";
    let book = json(&form("ipynb"));
    let cells = book["cells"].as_array().expect("it has cells");
    let text = |id: &str| {
        cells
            .iter()
            .find(|cell| cell["id"] == id)
            .map(|cell| &cell["source"])
    };
    assert_eq!(text("fork-python"), Some(&fork.into()));
    assert_eq!(text("task_master-recorded-python"), Some(&master.into()));
    assert_eq!(text("task_master-repaired-python"), None, "once is enough");
    assert_eq!(text("process_vs_thread-python"), None);
    let valid = "nbformat.validate(nbformat.read(sys.argv[1], as_version=4))";
    let whole = copy("exported.ipynb", &book.to_string());
    python("import nbformat", valid, Path::new(&whole));
    let page = form("md");
    assert!(page.contains(fork) && page.contains(master), "{page}");
    assert!(page.contains("exported.txt has no In [7], but In [1], In [16]"));
    assert!(!export("md").contains("import os"));
}

#[test]
fn a_file_that_has_no_python_to_show_is_wrong_usage() {
    let text = copy("wrong.txt", COPY);
    let prose = copy("prose.txt", "no cell here\n");
    let broken = copy("broken.ipynb", "{\"cells\": [");
    // What we export ourselves is in Rust.
    let ours = copy("ours.ipynb", &export("ipynb"));
    let missing = folder().join("missing.ipynb").display().to_string();
    let shown = folder().display().to_string();
    for (cell, file, said) in [
        (
            "call",
            &text,
            "wrong.txt has no In [7], but In [1], In [16]",
        ),
        ("fork", &prose, "prose.txt is no notebook in Python"),
        ("fork", &broken, "EOF while parsing"),
        ("fork", &ours, "its language is rust"),
        ("fork", &missing, "missing.ipynb: No such file or directory"),
        ("fork", &shown, "Is a directory"),
    ] {
        let (code, out, err) = xtask(&["show", cell, "--notebook", file]);
        assert_eq!((code, out.as_str()), (2, ""), "{file}: {err}");
        assert!(err.contains(said), "{said}: {err}");
    }
    let junit = ["export", "junit", "--run", run(), "--notebook", &text];
    let (code, _, err) = xtask(&junit);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the others show no source"), "{err}");
}
