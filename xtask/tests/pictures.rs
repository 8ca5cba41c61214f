//! What the pictures of a run show, against what was printed in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;
use support::xtask;

mod support;

/// A folder with the record of a run and its pictures.
static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    fs::create_dir_all(&folder).expect("it can be made");
    let file = folder.join("run.json");
    let [folder_name, file] = [&folder, &file].map(|path| path.to_str().expect("it is text"));
    for arguments in [
        &[
            "run",
            "pool",
            "task_master",
            "process_vs_thread",
            "--fast",
            "-q",
            "--json",
            file,
        ][..],
        &["export", "svg", "--run", file, "-o", folder_name],
    ] {
        let (code, out, err) = xtask(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    }
    folder
});

fn picture(name: &str) -> String {
    fs::read_to_string(RUN.join(format!("{name}.svg"))).expect("it was written")
}

/// The lines that a program printed.
fn lines(bin: &str) -> Vec<String> {
    let record = fs::read_to_string(RUN.join("run.json")).expect("it was written");
    let record: Value = serde_json::from_str(&record).expect("it is JSON");
    let cells = record["cells"].as_array().expect("it has cells");
    let cell = cells.iter().find(|cell| cell["bin"] == bin);
    let lines = &cell.expect("it ran")["runs"][0]["lines"];
    let lines = lines.as_array().expect("it printed").iter();
    lines
        .map(|line| line["text"].as_str().expect("it is text").to_string())
        .collect()
}

/// The upright lines of a picture but for its grid: where each is, and where it begins and ends.
fn upright_lines(svg: &str) -> Vec<[f64; 3]> {
    let ends = |line: &str| {
        let value = |name: &str| {
            let (_, rest) = line
                .split_once(&format!("{name}=\""))
                .expect("a line has it");
            let (value, _) = rest.split_once('"').expect("it ends");
            value.parse::<f64>().expect("it is a number")
        };
        let [x1, x2, y1, y2] = ["x1", "x2", "y1", "y2"].map(value);
        (x1 == x2).then(|| [x1, y1.min(y2), y1.max(y2)])
    };
    let lines = svg.split("<line ").skip(1);
    lines
        .filter(|line| !line.contains("\"grid\""))
        .filter_map(ends)
        .collect()
}

#[test]
fn no_arrow_of_the_repaired_master_goes_on_where_another_ends() {
    let upright = upright_lines(&picture("task_master-repaired-lanes"));
    assert!(upright.len() >= 20, "{upright:?}");
    for [x, _, end] in &upright {
        let goes_on =
            |[other, begin, _]: &&[f64; 3]| (other - x).abs() < 3.0 && (begin - end).abs() < 10.0;
        let found = upright.iter().find(goes_on);
        assert!(
            found.is_none(),
            "at {x} one ends at {end}, and goes on: {found:?}"
        );
    }
}

#[test]
fn the_picture_of_chapter_4_shows_the_ratios_that_the_program_says() {
    let picture = picture("compare-bars");
    let said = lines("process_vs_thread");
    let mut compared = 0;
    for (start, number) in [("So a thread started ", 2), ("So 64 B ", 2)] {
        let sentence = said.iter().find(|line| line.starts_with(start));
        let sentence = sentence.unwrap_or_else(|| panic!("{start}: {said:?}"));
        let words: Vec<&str> = sentence.split(' ').collect();
        let ratios = words.windows(2).filter(|pair| pair[1].starts_with("times"));
        for pair in ratios.take(number) {
            // Behind it may stand where the range ends.
            let said = ['<', ','].map(|end| format!(" ×{}{end}", pair[0]));
            assert!(
                said.iter().any(|said| picture.contains(said)),
                "{sentence}: {picture}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 4);
}

#[test]
fn items_got_at_the_very_end_leave_room_for_how_the_reader_ended() {
    let file = RUN.join("crowded.json");
    let run = file.to_str().expect("it is text");
    assert_eq!(xtask(&["run", "queue", "--fast", "-q", "--json", run]).0, 0);
    let text = fs::read_to_string(&file).expect("it was written");
    let mut record: Value = serde_json::from_str(&text).expect("it is JSON");
    let first = &mut record["cells"][0]["runs"][0];
    first["seconds"] = 0.1.into();
    for line in first["lines"].as_array_mut().expect("it printed") {
        let is_got = line["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Get "));
        line["at"] = if is_got { 0.099 } else { 0.01 }.into();
    }
    fs::write(&file, record.to_string()).expect("it can be written");
    let folder = RUN.join("crowded");
    let output = folder.to_str().expect("it is text");
    let (code, out, err) = xtask(&["export", "svg", "--run", run, "-o", output]);
    assert_eq!(code, 0, "{out}{err}");
    let svg = fs::read_to_string(folder.join("queue-lanes.svg")).expect("it was written");
    let height = |text: &str| -> Vec<f64> {
        let end = format!(">{text}</text>");
        let texts = svg.split("<text ").filter(|part| part.contains(&end));
        let y = texts.filter_map(|part| part.split_once(" y=\"")?.1.split_once('"'));
        y.map(|(y, _)| y.parse().expect("it is a number")).collect()
    };
    let ended = height("terminate()");
    assert_eq!(ended.len(), 1, "{svg}");
    let items: Vec<f64> = ["A", "B", "C"]
        .iter()
        .flat_map(|item| height(item))
        .collect();
    assert_eq!(items.len(), 6, "{svg}");
    for item in items {
        assert!(ended[0] - item > 14.0, "{ended:?} {item}: {svg}");
    }
}

/// A picture of a run of this cell whose record was changed so, and what `show` says of it.
fn changed(bin: &str, picture: &str, change: &dyn Fn(&mut Value)) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [file, pictures] = ["run.json", "pictures"].map(path);
    let text = fs::read_to_string(RUN.join("run.json")).expect("it was written");
    let mut record: Value = serde_json::from_str(&text).expect("it is JSON");
    let cells = record["cells"].as_array_mut().expect("it has cells");
    cells.retain(|cell| cell["bin"] == bin);
    change(&mut record);
    fs::write(&file, record.to_string()).expect("it can be written");
    let (code, out, err) = xtask(&["export", "svg", "--run", &file, "-o", &pictures]);
    assert_eq!(code, 0, "{out}{err}");
    let svg = Path::new(&pictures).join(format!("{picture}.svg"));
    let svg = fs::read_to_string(svg).expect("it was written");
    let (code, shown, err) = xtask(&["show", bin, "--run", &file]);
    assert_eq!(code, 0, "{err}");
    (svg, shown)
}

#[test]
fn the_factor_of_a_stretched_run_is_the_true_one() {
    for (pace, factor) in [
        (3.0, "0.33"),
        (0.7, "1.4"),
        (80.0, "0.013"),
        (0.1, "10"),
        (0.03, "33"),
    ] {
        let (svg, shown) = changed("pool", "pool-gantt", &|record| {
            record["pace"] = pace.into();
        });
        let label = format!("this run, its times × {factor}");
        assert!(svg.contains(&format!(">{label}<")), "{label}: {svg}");
        assert!(shown.contains(&format!("\n    {label}\n")), "{shown}");
    }
}

/// The picture of chapter 4 with these figures for a start: a way, its median, and its 95th percentile.
fn starts(figures: &[(&str, u32, u32)]) -> String {
    let (svg, _) = changed("process_vs_thread", "compare-bars", &|record| {
        let lines = &mut record["cells"][0]["runs"][0]["lines"];
        for line in lines.as_array_mut().expect("it printed") {
            let text = line["text"].as_str().expect("it is text").to_string();
            for (way, median, high) in figures {
                let begin = format!("start, 0 MiB\t{way}\t");
                if text.starts_with(&begin) {
                    line["text"] = format!("{begin}{median}\tus  (0 to {high}, N 7)").into();
                }
            }
        }
    });
    svg
}

/// How long the thin lines of the first rows are.
fn ranges(svg: &str, rows: usize) -> Vec<f64> {
    let is_range = |line: &&str| {
        let element = line.split('>').next();
        element.is_some_and(|element| element.contains("\"range\""))
    };
    let value = |line: &str, name: &str| -> f64 {
        let (_, rest) = line.split_once(name).expect("a line has it");
        let (value, _) = rest.split_once('"').expect("it ends");
        value.parse().expect("it is a number")
    };
    let length = |line| value(line, "x2=\"") - value(line, "x1=\"");
    let lines = svg.split("<line ").filter(is_range);
    lines.map(length).take(rows).collect()
}

#[test]
fn a_range_that_ends_beyond_the_bars_has_its_length() {
    let svg = starts(&[
        ("thread", 10, 20),
        ("fork", 1000, 1200),
        ("zygote", 1000, 1600),
        ("spawn", 1000, 1900),
    ]);
    let ranges = ranges(&svg, 4);
    for (range, times) in ranges[2..].iter().zip([1600.0 / 1200.0, 1900.0 / 1200.0]) {
        assert!((range / ranges[1] - times).abs() < 0.03, "{ranges:?}");
    }
}

#[test]
fn a_range_that_has_no_room_ends_in_an_arrow_with_its_figure() {
    let svg = starts(&[
        ("thread", 10, 20),
        ("fork", 1000, 1200),
        ("zygote", 1000, 900_000),
        ("spawn", 1000, 1900),
    ]);
    assert!(svg.contains("1000 µs ×100, to 900000</text>"), "{svg}");
    assert_eq!(svg.matches(", to 900000</text>").count(), 1, "{svg}");
    assert!(svg.contains("class=\"head range\""), "{svg}");
    let bars = ranges(&svg, 4);
    assert!(bars[1] > 50.0, "the others can be seen: {bars:?}");
}

#[test]
fn the_axes_of_a_chinese_picture_are_in_chinese() {
    let folder = RUN.join("zh");
    let [output, run] =
        [&folder, &RUN.join("run.json")].map(|path| path.to_str().expect("it is text").to_string());
    let words = [
        "export", "svg", "--lang", "zh", "--run", &run, "-o", &output,
    ];
    let (code, out, err) = xtask(&words);
    assert_eq!(code, 0, "{out}{err}");
    let mut units = 0;
    for file in out.lines() {
        let svg = fs::read_to_string(file).expect("it was written");
        units += svg.matches(" 秒</text>").count() + svg.matches(" 毫秒</text>").count();
        for unit in [" s</text>", " ms</text>"] {
            assert!(!svg.contains(unit), "{file}: {svg}");
        }
    }
    assert!(units > 0, "{out}");
}
