//! The page of a run, in a browser: what is on it, that it fits, and that it needs nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use browser::{Browser, LOOK, SETTINGS};
use common::chinese::{english, misset};
use common::notebook::CELLS;
use serde_json::{Value, json};
use support::xtask;

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/mod.rs"]
mod support;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs it, which has to go well.
fn well(arguments: &[&str]) {
    let (code, out, err) = xtask(arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
}

/// A whole replay, done once for all tests of this file.
fn run() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| {
        let file = folder().join("run.json");
        let file = file.to_str().expect("our paths are text").to_string();
        well(&["all", "--fast", "--seed", "7", "-q", "--json", &file]);
        file
    })
}

/// The page of a run, in a language.
fn page(run: &str, lang: &str, name: &str) -> PathBuf {
    let file = folder().join(name);
    let output = file.to_str().expect("our paths are text");
    well(&["report", "--run", run, "--lang", lang, "-o", output]);
    file
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().expect("it is a list");
    list.iter()
        .map(|text| text.as_str().expect("it is a text"))
        .collect()
}

#[test]
fn the_page_shows_every_cell_and_every_picture_in_both_languages_themes_and_sizes() {
    let Some(browser) = Browser::here() else {
        return;
    };
    for (lang, theme, width) in SETTINGS {
        let file = page(run(), lang, &format!("report.{lang}.html"));
        let at = format!("{lang} {theme} {width}");
        browser.device(width, theme);
        browser.open(&file);
        let look = browser.run(LOOK);
        browser.screenshot(&folder().join(format!("report-{lang}-{theme}-{width}.png")));
        is_whole(&look, &at, lang == "zh");
        reads_well(&look, &at);
        let language = if lang == "en" { "en" } else { "zh-CN" };
        assert_eq!(look["lang"], language, "{at}");
        let chinese = look["chinese"].as_u64().expect("letters are counted");
        let is_chinese = chinese > 500;
        assert_eq!(is_chinese, lang == "zh", "{at}: {chinese} Chinese letters");
    }
    browser.stayed_at_home();
}

/// Every cell of the table is there, with its lines, its checks, its source and its pictures.
fn is_whole(look: &Value, at: &str, chinese: bool) {
    let parts: usize = CELLS.iter().map(|cell| cell.variants.len()).sum();
    let articles = look["articles"].as_array().expect("there are articles");
    assert_eq!(articles.len(), parts, "{at}");
    let mut expected = CELLS.iter().flat_map(|cell| {
        cell.variants.iter().map(move |variant| match chinese {
            true if cell.number.is_none() => format!("第 {} 章", cell.chapter),
            true => format!("{} {}", cell.label(), variant.name_zh),
            false => format!("{} {}", cell.label(), variant.name),
        })
    });
    for article in articles {
        let heading = article["heading"].as_str().expect("it has a heading");
        let label = expected.next().expect("one for each variant");
        assert!(
            heading.contains(label.trim_end()),
            "{at}: {heading} for {label}"
        );
        for part in ["lines", "checks", "teaches"] {
            assert!(
                article[part].as_u64() > Some(0),
                "{at}: {heading} has no {part}"
            );
        }
        let unlabelled = article["unlabelled"].as_u64();
        assert_eq!(
            unlabelled,
            Some(0),
            "{at}: {heading} has lines that nobody said"
        );
    }
    assert!(look["sources"].as_u64() >= Some(CELLS.len() as u64), "{at}");
    assert_eq!(
        texts(&look["pictures"]),
        [
            "fork-tree",
            "process-tree",
            "pool-gantt",
            "queue-lanes",
            "thread-ticks",
            "race-steps",
            "race-histogram",
            "lock-cost",
            "local-slots",
            "compare-bars",
            "fork-cost",
            "task_master-recorded-lanes",
            "task_master-repaired-lanes",
        ],
        "{at}"
    );
    assert!(
        texts(&look["mute"]).is_empty(),
        "{at}: pictures without words: {}",
        look["mute"]
    );
    let verdict = look["verdict"].as_str().expect("it is a text");
    assert!(verdict.starts_with('✓'), "{at}: {verdict}");
    let again = look["again"].as_str().expect("it is a text");
    assert_eq!(again, "cargo xtask all --seed 7 --fast", "{at}");
}

/// Nothing is cut off, nothing overlaps, and all letters stand out from what is behind them.
fn reads_well(look: &Value, at: &str) {
    for fault in ["wider", "overlapping", "pale", "nameless", "outside"] {
        assert!(
            texts(&look[fault]).is_empty(),
            "{at}: {fault}: {:#}",
            look[fault]
        );
    }
    assert!(
        look["compared"].as_u64() > Some(500),
        "{at}: contrast was computed"
    );
}

#[test]
fn axe_core_finds_no_barrier_on_the_page_in_any_language_theme_or_size() {
    let (Some(browser), Some(axe)) = (Browser::here(), browser::axe()) else {
        return;
    };
    for (lang, theme, width) in SETTINGS {
        let file = page(run(), lang, &format!("report.axe.{lang}.html"));
        browser.device(width, theme);
        browser.open(&file);
        let barriers = browser.barriers(&axe);
        assert!(barriers.is_empty(), "{lang} {theme} {width}: {barriers:#?}");
    }
}

#[test]
fn the_same_process_has_the_same_colour_on_both_sides_and_in_the_picture() {
    let Some(browser) = Browser::here() else {
        return;
    };
    browser.device(1280, "light");
    browser.open(&page(run(), "en", "report.colours.html"));
    let look = browser.run(LOOK);
    let colours = look["colours"].as_object().expect("there are colours");
    assert!(colours.len() >= 5, "parent and four workers: {colours:?}");
    for (mark, colours) in colours {
        assert_eq!(texts(colours).len(), 1, "{mark} has {colours}");
    }
}

#[test]
fn a_cell_that_failed_says_what_where_and_how_to_see_it_again() {
    // The record of a run in which the reader lost an item, as a queue that is broken would lose it.
    let mut record: Value =
        serde_json::from_slice(&fs::read(run()).expect("it was written")).expect("it is JSON");
    let cells = record["cells"].as_array_mut().expect("it has cells");
    let queue = cells
        .iter_mut()
        .find(|cell| cell["bin"] == "queue")
        .expect("it is there");
    queue["held"] = json!(false);
    let verdicts = queue["verdicts"].as_array_mut().expect("it has verdicts");
    let wrong = verdicts
        .iter_mut()
        .find(|verdict| {
            verdict["sentence"]
                .as_str()
                .is_some_and(|text| text.starts_with("`{v}` in `Get {v} from queue.` is"))
        })
        .expect("the order is checked");
    wrong["held"] = json!(false);
    wrong["evidence"] = json!("expected A, B, C, got A, C");
    wrong["line"] = json!(6);
    (record["failed"], record["passed"]) = (json!(1), json!(13));
    let file = folder().join("failed.json");
    fs::write(&file, record.to_string()).expect("it can be written");
    let file = page(file.to_str().expect("text"), "en", "report.failed.html");

    let html = fs::read_to_string(&file).expect("it was written");
    let article = html
        .split("<article")
        .find(|part| part.contains("id=\"queue\""))
        .expect("there");
    for said in [
        "<code>Get {v} from queue.</code> is <code>A</code>, <code>B</code>, <code>C</code>",
        "expected A, B, C, got A, C",
        "(line 6)",
        "multiprocess&#x2f;src&#x2f;bin&#x2f;queue.rs:",
        "cargo xtask run queue --seed 7 --fast",
    ] {
        assert!(article.contains(said), "{said}: {article}");
    }
    let Some(browser) = Browser::here() else {
        return;
    };
    for width in [1280, 390] {
        browser.device(width, "light");
        browser.open(&file);
        let look = browser.run(LOOK);
        browser.screenshot(&folder().join(format!("report-failed-{width}.png")));
        reads_well(&look, "failed");
        assert!(
            look["verdict"]
                .as_str()
                .is_some_and(|verdict| verdict.starts_with('✗'))
        );
    }
}

/// A notebook with a Python of our own for every cell, and lines that are too long for a page.
fn copy_of_the_notebook() -> PathBuf {
    let cell = |number: u8| {
        let long = format!("print('{}', {number})", "long ".repeat(40));
        let source = format!("import os\n# 读一读 <b>\ndef f():\n    {long}\n\nf()");
        json!({ "cell_type": "code", "execution_count": number, "source": source })
    };
    let numbers = CELLS.iter().filter_map(|cell| cell.number);
    let book = json!({ "cells": numbers.map(cell).collect::<Vec<_>>() });
    let file = folder().join("copy.ipynb");
    fs::write(&file, book.to_string()).expect("it can be written");
    file
}

#[test]
fn the_python_of_the_users_notebook_stands_beside_the_rust_and_above_it_on_a_phone() {
    let Some(browser) = Browser::here() else {
        return;
    };
    let places = "const boxes = [...document.querySelectorAll('.originals')].map((pair) => \
                  [...pair.children].map((side) => side.getBoundingClientRect()));\
                  return boxes.map(([one, other]) => [other.left - one.right, other.top - one.bottom]);";
    for lang in ["en", "zh"] {
        let file = folder().join(format!("report.python.{lang}.html"));
        let (output, copy) = (file.display().to_string(), copy_of_the_notebook());
        let copy = copy.display().to_string();
        let arguments = ["report", "--run", run(), "--lang", lang, "-o", &output];
        well(&[&arguments[..], &["--notebook", &copy]].concat());
        for (theme, width) in [("light", 1280), ("dark", 1280), ("light", 390)] {
            let at = format!("{lang} {theme} {width}");
            browser.device(width, theme);
            browser.open(&file);
            let look = browser.run(LOOK);
            browser.screenshot(&folder().join(format!("report-python-{lang}-{theme}-{width}.png")));
            reads_well(&look, &at);
            let pairs = browser.run(places);
            let pairs = pairs.as_array().expect("it is a list");
            let cells = CELLS.iter().filter(|cell| cell.number.is_some());
            assert_eq!(pairs.len(), cells.count(), "{at}");
            for pair in pairs {
                // How far the Rust is to the right of the Python, and how far below it.
                let beside = pair[0].as_f64() >= Some(0.0);
                let below = pair[1].as_f64() >= Some(0.0);
                assert_eq!((beside, below), (width > 390, width == 390), "{at}: {pair}");
            }
        }
    }
}

/// The texts of a page between its tags. Code and times, which are as they were printed, are quoted.
fn texts_of(html: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        texts.last_mut().expect("there is one").push_str(text);
        let (tag, after) = after.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap_or_default();
        rest = after;
        match name {
            "style" | "pre" | "code" | "time" => {
                let (_, after) = rest.split_once(&format!("</{name}>")).expect("it ends");
                rest = after;
                texts.last_mut().expect("there is one").push_str("`code`");
            }
            _ => texts.push(String::new()),
        }
    }
    for (escaped, plain) in [
        ("&#x2f;", "/"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        for text in &mut texts {
            *text = text.replace(escaped, plain);
        }
    }
    texts.retain(|text| !text.trim().is_empty());
    texts
}

#[test]
fn the_chinese_page_says_nothing_in_english_and_is_set_as_chinese_is() {
    let html = fs::read_to_string(page(run(), "zh", "report.chinese.html"));
    let texts = texts_of(&html.expect("it was written"));
    assert!(texts.len() > 500, "{} texts", texts.len());
    let mut wrong = Vec::new();
    for text in &texts {
        let text = text.trim();
        let found = english(text).or_else(|| misset(text));
        wrong.extend(found.map(|found| format!("{found:?} in: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_of_a_whole_run_is_small() {
    let size = fs::metadata(page(run(), "zh", "report.size.html"))
        .expect("it was written")
        .len();
    assert!(size < 500_000, "{size} bytes");
}
