//! What the views show of a run that the replay has ended, or that ended otherwise than it should.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;
use support::xtask;

mod support;

const CELLS: [&str; 8] = [
    "process",
    "pool",
    "queue",
    "thread",
    "race",
    "lock",
    "local",
    "task_master",
];

/// The record of a run of these cells that held.
static HELD: LazyLock<Value> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("run.json");
    let file = file.to_str().expect("it is text");
    let replay = [&["run"], &CELLS[..], &["--fast", "-n", "5", "--json", file]].concat();
    let (code, out, err) = xtask(&replay);
    // A race may be lost in none of so few runs.
    assert!(code == 0 || code == 1, "{out}{err}");
    let text = fs::read_to_string(file).expect("it was written");
    serde_json::from_str(&text).expect("it is JSON")
});

/// The views of a run that was cut off.
struct Views {
    folder: PathBuf,
}

impl Views {
    /// Cuts off the first run of a variant after half a second, when it had printed these lines of it
    /// only, and draws it.
    fn of(name: &str, bin: &str, variant: &str, printed: &dyn Fn(&str) -> bool) -> Views {
        Views::ended(name, bin, variant, printed, Value::Null)
    }

    /// The same with this exit code; none is that of a run which the replay has ended.
    fn ended(
        name: &str,
        bin: &str,
        variant: &str,
        printed: &dyn Fn(&str) -> bool,
        exit: Value,
    ) -> Views {
        let mut record = HELD.clone();
        let cells = record["cells"].as_array_mut().expect("it has cells");
        let mut cells = cells.iter_mut();
        let cell = cells.find(|cell| cell["bin"] == bin && cell["variant"] == variant);
        let run = &mut cell.expect("it ran")["runs"][0];
        (run["exit"], run["seconds"]) = (exit, 0.5.into());
        let lines = run["lines"].as_array_mut().expect("it printed");
        lines.retain(|line| printed(line["text"].as_str().expect("it is text")));
        for (at, line) in lines.iter_mut().enumerate() {
            line["at"] = (0.01 * at as f64).into();
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cut-{name}"));
        fs::create_dir_all(&folder).expect("it can be made");
        fs::write(folder.join("run.json"), record.to_string()).expect("it can be written");
        for lang in ["en", "zh"] {
            let pictures = folder.join(lang);
            let words = ["export", "svg", "--lang", lang, "-o"];
            let views = Views {
                folder: folder.clone(),
            };
            views.say(&[&words[..], &[pictures.to_str().expect("it is text")]].concat());
        }
        Views { folder }
    }

    /// What a view of the run says.
    fn say(&self, words: &[&str]) -> String {
        let file = self.folder.join("run.json");
        let run = ["--run", file.to_str().expect("it is text")];
        let (code, out, err) = xtask(&[words, &run].concat());
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        out
    }

    fn picture(&self, lang: &str, name: &str) -> String {
        let file = self.folder.join(lang).join(format!("{name}.svg"));
        fs::read_to_string(file).expect("it was written")
    }

    /// Both languages say in the picture and in its description that the replay ended the run.
    fn assert_ended(&self, name: &str) {
        for (lang, words) in [
            ("en", "ended by the replay after 0.5 s"),
            ("zh", "0.5 秒后被重放终止"),
        ] {
            let picture = self.picture(lang, name);
            let (desc, shown) = picture.split_once("</desc>").expect("it has one");
            assert!(desc.contains(words), "{desc}");
            assert!(shown.contains(&format!("{words}</text>")), "{shown}");
        }
    }
}

/// The numbers that these elements of a picture have as these attributes.
fn numbers(svg: &str, element: &str, attributes: &[&str]) -> Vec<Vec<f64>> {
    let value = |part: &str, name: &&str| {
        let (_, rest) = part.split_once(&format!(" {name}=\"")).expect("it has it");
        let (value, _) = rest.split_once('"').expect("it ends");
        value.parse().expect("it is a number")
    };
    let begin = format!("<{element}");
    let parts = svg.split(&begin).skip(1);
    let numbers = |part| attributes.iter().map(|name| value(part, name)).collect();
    parts.map(numbers).collect()
}

#[test]
fn a_master_that_was_ended_while_it_waited_shows_no_empty() {
    let views = Views::of("master", "task_master", "recorded", &|line| {
        !line.starts_with("Empty")
    });
    let picture = views.picture("en", "task_master-recorded-lanes");
    assert!(!picture.contains("Empty"), "{picture}");
    assert!(picture.contains("waits for a result: 0.4 s"), "{picture}");
    views.assert_ended("task_master-recorded-lanes");
    let views = Views::of("puts", "task_master", "recorded", &|line| {
        line.starts_with("Put task 1")
    });
    let picture = views.picture("en", "task_master-recorded-lanes");
    assert!(!picture.contains("waits for a result"), "{picture}");
}

#[test]
fn tasks_that_did_not_come_back_are_not_said_to_have() {
    let views = Views::of("results", "task_master", "repaired", &|line| {
        line.starts_with("Put") || line.starts_with("Try")
    });
    let picture = views.picture("en", "task_master-repaired-lanes");
    assert!(!picture.contains("every task comes back"), "{picture}");
    assert!(!picture.contains("As recorded"), "{picture}");
    views.assert_ended("task_master-repaired-lanes");
}

#[test]
fn a_reader_that_the_replay_ended_was_not_terminated() {
    let views = Views::of("queue", "queue", "", &|line| !line.contains('C'));
    let picture = views.picture("en", "queue-lanes");
    assert!(!picture.contains("terminate()"), "{picture}");
    views.assert_ended("queue-lanes");
}

#[test]
fn a_program_that_failed_shows_how_it_ended() {
    let printed = |line: &str| !line.contains('C');
    for (exit, words) in [(101, "ended with exit code 101"), (-9, "ended by signal 9")] {
        let views = Views::ended("failed", "queue", "", &printed, exit.into());
        let picture = views.picture("en", "queue-lanes");
        assert!(!picture.contains("terminate()"), "{picture}");
        assert!(
            picture.contains(&format!(">{words} after 0.5 s<")),
            "{picture}"
        );
    }
}

#[test]
fn a_loop_that_did_not_end_is_not_joined() {
    let views = Views::of("thread", "thread", "", &|line| !line.contains("ended"));
    let picture = views.picture("en", "thread-ticks");
    assert_eq!(picture.matches("class=\"head ").count(), 1, "{picture}");
    views.assert_ended("thread-ticks");
    // The wait goes on to the end of the run, and is written in its middle.
    let texts: Vec<&str> = picture.split("<text ").collect();
    let wait = texts.iter().find(|text| text.contains(">waits in join<"));
    let wait = numbers(
        &format!("<text {}", wait.expect("it waits")),
        "text",
        &["x"],
    );
    assert!(wait[0][0] > 300.0, "{wait:?}: {picture}");
}

#[test]
fn a_task_that_was_never_done_ends_with_the_run() {
    let views = Views::of("pool", "pool", "", &|line| {
        !line.starts_with("Task") && !line.starts_with("All")
    });
    let picture = views.picture("en", "pool-gantt");
    // At this pace the half second stands for 5; the bars end where it ends.
    let (_, own) = picture.split_once(">this run").expect("it is shown");
    let edges = numbers(own, "rect", &["x", "width"]);
    let ends: Vec<f64> = edges.iter().map(|edge| edge[0] + edge[1]).collect();
    let ended = own
        .split("<line ")
        .find(|line| line.contains("\"bad dash\""));
    let ended = ended.unwrap_or_else(|| panic!("it says so: {picture}"));
    let dash = numbers(&format!("<line {ended}"), "line", &["x1"])[0][0];
    assert!(!ends.is_empty(), "{picture}");
    for end in ends {
        assert!((end - dash).abs() < 1.0, "{end} {dash}: {picture}");
    }
    views.assert_ended("pool-gantt");
    let shown = views.say(&["show", "pool"]);
    assert!(shown.contains("ended by the replay after 0.5 s"), "{shown}");
}

#[test]
fn a_bar_in_characters_ends_with_the_run_too() {
    // The tasks of the notebook go on to 2.13 s; these end at 0.5 s of a run at its pace.
    let views = Views::of("bars", "pool", "", &|line| {
        !line.starts_with("Task") && !line.starts_with("All")
    });
    let file = views.folder.join("run.json");
    let text = fs::read_to_string(&file).expect("it was written");
    let mut record: Value = serde_json::from_str(&text).expect("it is JSON");
    record["pace"] = 1.0.into();
    fs::write(&file, record.to_string()).expect("it can be written");
    let shown = views.say(&["show", "pool"]);
    let (_, picture) = shown.split_once("as a picture").expect("it has one");
    let (_, own) = picture.split_once("this run").expect("it is shown");
    let bars = own.lines().filter_map(|line| line.split_once('│'));
    let lengths: Vec<usize> = bars.map(|(_, bar)| bar.chars().count()).collect();
    assert!(!lengths.is_empty(), "{picture}");
    assert!(
        lengths.iter().all(|length| (5..30).contains(length)),
        "{picture}"
    );
}

#[test]
fn a_picture_without_an_axis_of_time_says_that_the_run_was_ended() {
    for (bin, name) in [("local", "local-slots"), ("process", "process-tree")] {
        Views::of(bin, bin, "", &|line| !line.contains("end.")).assert_ended(name);
    }
}

#[test]
fn a_run_that_was_cut_off_has_no_part_in_the_time_for_a_change() {
    let cost = |views: &Views| {
        let picture = views.picture("en", "lock-cost");
        let (_, desc) = picture.split_once("<desc").expect("it has one");
        let (desc, _) = desc.split_once("</desc>").expect("it ends");
        let (_, said) = desc.split_once('>').expect("it begins");
        said.to_string()
    };
    // With five runs, the 95th percentile is the slowest: as wide as the whole scale, if it counts.
    let mut all = HELD.clone();
    let cells = all["cells"].as_array_mut().expect("it has cells");
    for cell in cells.iter_mut().filter(|cell| cell["bin"] == "lock") {
        for run in cell["runs"].as_array_mut().expect("it ran") {
            run["seconds"] = 0.4.into();
        }
        let runs = cell["runs"].as_array_mut().expect("it ran");
        let cut = runs.len() - 2;
        for run in &mut runs[..cut] {
            (run["exit"], run["seconds"]) = (Value::Null, 0.001.into());
            run["lines"] = Value::Array(Vec::new());
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cut-cost");
    fs::create_dir_all(&folder).expect("it can be made");
    fs::write(folder.join("run.json"), all.to_string()).expect("it can be written");
    let views = Views { folder };
    let pictures = views.folder.join("en");
    views.say(&[
        "export",
        "svg",
        "-o",
        pictures.to_str().expect("it is text"),
    ]);
    // 0.4 s for the changes of two threads, and not the millisecond after which the others were ended.
    let said = cost(&views);
    assert!(!said.contains("0.5 ns"), "{said}");
    let histogram = views.picture("en", "race-histogram");
    assert!(
        histogram.contains("3 of 5 runs ended without an outcome"),
        "{histogram}"
    );
}
