//! A Jupyter notebook, nbformat 4.5: the record of a run, with the notebook's execution numbers.
//!
//! It is there to be read: a kernel that ran these cells inside itself would not survive its fork.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::notebook::CHAPTERS;
use common::transcript::{Printed, Source};
use serde_json::{Value, json};

use crate::cell_run::{CellRun, Total, source};
use crate::cli::Lang;
use crate::picture::{Picture, WIDE, pictures};
use crate::python_notebook::PythonNotebook;
use crate::record::ReplayRecord;

pub(super) fn notebook(
    replays: &[ReplayRecord],
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<String> {
    let (run, total) = (&replays[0], Total::new(replays, cell_runs));
    let mut cells = vec![markdown("replay", &top(run, &total, lang))];
    let mut chapter = 0;
    for cell_run in cell_runs {
        if cell_run.cell.chapter != chapter {
            chapter = cell_run.cell.chapter;
            let title = lang.chapter(chapter);
            let known = CHAPTERS.iter().any(|(number, ..)| *number == chapter);
            cells.extend(known.then(|| {
                markdown(
                    &format!("chapter-{chapter}"),
                    &format!("## {chapter}. {title}"),
                )
            }));
        }
        let id = cell_run.slug();
        let text = format!(
            "### {} {}\n\n**{}**\n\n{}",
            cell_run.label(lang),
            cell_run.cell.program(cell_run.variant),
            lang.idea(cell_run.cell),
            lang.teaches(cell_run.cell)
        );
        cells.push(markdown(&format!("{id}-text"), &text));
        // What runs in another language than the notebook's is no code cell of it.
        let python = python.filter(|_| cell_run.is_first_variant());
        let original = python.and_then(|python| python.in_markdown(cell_run.cell, lang));
        cells.extend(original.map(|text| markdown(&format!("{id}-python"), &text)));
        cells.push(code(cell_run, lang)?);
        let pictures = pictures(cell_run, cell_runs, WIDE, lang);
        cells.extend(pictures.iter().map(drawn));
    }
    let book = json!({
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": { "name": "rust", "display_name": "Rust", "language": "rust" },
            "language_info": { "name": "rust", "file_extension": ".rs", "mimetype": "text/rust" },
            "replay": {
                "seed": run.seed,
                "pace": run.pace,
                "as_recorded": run.as_recorded,
                "passed": total.passed,
                "failed": total.failed,
                "again": run.again,
            },
        },
        "cells": cells,
    });
    Ok(serde_json::to_string_pretty(&book)? + "\n")
}

/// What stands above the cells.
fn top(run: &ReplayRecord, total: &Total, lang: Lang) -> String {
    let words = lang.translations();
    let several = match total.replays {
        0 | 1 => String::new(),
        _ => format!("{}\n\n", words["several_replays"]),
    };
    format!(
        "# {}\n\n{}{}{} · {} {} · {} {}\n\n{several}`{}`",
        words["title"],
        words["seed"],
        words["colon"],
        run.seed,
        total.passed,
        words["passed_count"],
        total.failed,
        words["failed_count"],
        run.again
    )
}

fn markdown(id: &str, text: &str) -> Value {
    json!({ "id": id, "cell_type": "markdown", "metadata": {}, "source": text })
}

/// A picture in a Markdown cell, by value: GitHub does not show SVG among the outputs.
fn drawn(picture: &Picture) -> Value {
    let svg = BASE64_STANDARD.encode(picture.standalone());
    let text = format!(
        "![{}](data:image/svg+xml;base64,{svg})\n\n{}",
        picture.title.replace(['[', ']'], ""),
        picture.desc
    );
    markdown(&picture.name, &text)
}

fn code(cell_run: &CellRun, lang: Lang) -> anyhow::Result<Value> {
    let checks = cell_run.record.verdicts.iter().map(|verdict| {
        json!({
            "sentence": lang.sentence(verdict),
            "held": verdict.held,
            "evidence": lang.evidence(verdict),
        })
    });
    Ok(json!({
        "id": cell_run.slug(),
        "cell_type": "code",
        "execution_count": cell_run.cell.number,
        "metadata": {
            "replay": {
                "held": cell_run.record.held,
                "seconds": cell_run.record.seconds,
                "seed": cell_run.replay.seed,
                "checks": checks.collect::<Vec<_>>(),
            },
        },
        "source": source(cell_run.cell, cell_run.cell.program(cell_run.variant))?.trim_end(),
        "outputs": outputs(cell_run),
    }))
}

/// The lines as streams, in the order of arrival, and how the program failed, if it did.
fn outputs(cell_run: &CellRun) -> Vec<Value> {
    let mut outputs: Vec<Value> = Vec::new();
    let mut last = None;
    let mut text = String::new();
    let stream =
        |name: &str, text: &str| json!({ "output_type": "stream", "name": name, "text": text });
    let name = |printed: &Printed| match printed.source {
        Source::Out | Source::Companion => "stdout",
        Source::Err => "stderr",
    };
    for printed in &cell_run.now.printed {
        if last.is_some_and(|last| last != name(printed)) {
            outputs.extend(last.map(|last| stream(last, &text)));
            text.clear();
        }
        last = Some(name(printed));
        text += &printed.text;
        text.push('\n');
    }
    outputs.extend(last.map(|last| stream(last, &text)));
    let exit = cell_run.record.runs.first().and_then(|run| run.exit);
    if exit != Some(0) {
        let said = cell_run
            .now
            .printed
            .iter()
            .rfind(|line| line.source == Source::Err);
        let said = said.map_or("", |line| line.text.as_str());
        let (name, value) = said.split_once(':').unwrap_or(("Failed", said));
        outputs.push(json!({
            "output_type": "error",
            "ename": name,
            "evalue": value.trim(),
            "traceback": [said],
        }));
    }
    outputs
}
