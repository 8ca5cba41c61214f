//! `show`: all that there is to know of a cell, and what the last run made of it.

use common::notebook::{Cell, PictureKind, TimeSpan, Variant};
use common::printout::Printout;
use common::verdict;

use crate::Exit;
use crate::cell_run::{self, CellRun};
use crate::cli::{Lang, ShowOptions};
use crate::output::{self, complain};
use crate::picture::gantt;
use crate::python_notebook::PythonNotebook;
use crate::race;
use crate::record::{self, ReplayRecord};
use crate::select;

pub(crate) fn show(
    ShowOptions {
        view: options,
        python,
    }: &ShowOptions,
    lang: Lang,
) -> anyhow::Result<Exit> {
    let cells = match select::named(&options.cells, lang) {
        Ok(cells) => cells,
        Err(sentence) => {
            complain!("{sentence}");
            return Ok(Exit::NoCell);
        }
    };
    let python = PythonNotebook::open(python.notebook.as_deref(), &cells, lang)?;
    // A cell can be shown before anything was replayed; a run that was asked for must be there.
    let replays = match (&options.run, ReplayRecord::read(options.run.as_deref())) {
        (Some(_), replays) => replays?,
        (None, Ok(replays)) => replays,
        (None, Err(error)) => {
            if !record::is_missing(&error) {
                complain!("{}", lang.error(&error));
            }
            Vec::new()
        }
    };
    let cell_runs = CellRun::all(&replays)?;
    for cell in cells {
        let text = text(cell, &cell_runs, python.as_ref(), lang)?;
        output::write(format_args!("{text}"))?;
    }
    Ok(Exit::Held)
}

fn text(
    cell: &'static Cell,
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<String> {
    let mut text = format!(
        "{} {}{}{}\n",
        lang.label(cell),
        cell.bin,
        lang.colon(),
        lang.idea(cell)
    );
    text += &format!(
        "{}{}{}\n\n",
        lang.pick("Python's word", "Python 的说法"),
        lang.colon(),
        lang.python(cell)
    );
    text += &format!("{}\n", lang.teaches(cell));
    if let Some(python) = python.filter(|_| cell.number.is_some()) {
        let source = python.source(cell).map(str::to_string);
        let source = source.unwrap_or_else(|| python.lacks(cell, lang));
        text += &section(&python.place(cell, lang), &source);
    }
    for variant in cell.variants {
        let bin = cell.program(variant);
        if !variant.name.is_empty() {
            text += &format!("\n== {} ==\n", lang.variant(variant));
        }
        if Some(bin) != cell.variants.first().map(|first| cell.program(first))
            || variant.name == cell.variants[0].name
        {
            text += &section(
                &cell_run::source_path(cell, bin),
                &cell_run::source(cell, bin)?,
            );
        }
        let printout = Printout::recorded(variant);
        if let Some(printout) = &printout {
            let lines = printout.printed.iter().map(|line| line.text.as_str());
            let heading = lang.pick("the notebook printed", "笔记的输出");
            text += &section(heading, &lines.collect::<Vec<_>>().join("\n"));
        }
        text += &section(lang.pick("checks", "检查"), &checks(variant, lang));
        if !variant.free.is_empty() {
            let free = variant
                .free
                .iter()
                .map(|pair| lang.declared(variant, *pair));
            let free = free.collect::<Vec<_>>().join("\n");
            text += &section(lang.pick("free", "不作规定"), &free);
        }
        let cell_run = cell_runs
            .iter()
            .find(|cell_run| std::ptr::eq(cell_run.variant, variant));
        if let Some(cell_run) = cell_run {
            text += &last_run(cell_run, cell_runs, lang);
        }
    }
    text += &section(lang.pick("try", "试一试"), lang.hint(cell));
    Ok(text)
}

fn section(heading: &str, body: &str) -> String {
    let lines = body
        .trim_end()
        .lines()
        .map(|line| format!("    {line}").trim_end().to_string());
    format!("\n{heading}\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn checks(variant: &Variant, lang: Lang) -> String {
    let sentences = variant.checks.iter().map(|check| match lang {
        Lang::En => check.sentence(variant),
        Lang::Zh => check.sentence_zh(variant),
    });
    let trials = variant.trials.as_ref().map(|trials| {
        let [english, chinese] = verdict::on_all_runs(trials, trials.runs);
        lang.pick(&english, &chinese).to_string()
    });
    sentences.chain(trials).collect::<Vec<_>>().join("\n")
}

/// What the last run printed, and its picture where a terminal can show it.
fn last_run(cell_run: &CellRun, cell_runs: &[CellRun], lang: Lang) -> String {
    let heading = lang.pick("the last run printed", "上一次运行的输出");
    let lines = (1..=cell_run.now.printed.len()).map(|number| {
        let printed = &cell_run.now.printed[number - 1];
        let at = printed.at.unwrap_or_default().as_secs_f64();
        let who = cell_run.now.speaker(number);
        let mark = who.map_or("?", |who| cell_run.now.speakers.all[who].mark.as_str());
        format!(
            "{at:8.3} {}  {mark:10} {}",
            lang.pick("s", "秒"),
            printed.text
        )
    });
    let mut text = section(heading, &lines.collect::<Vec<_>>().join("\n"));
    let picture = match (cell_run.cell.picture, cell_run.variant.spans) {
        (PictureKind::Gantt, [span, ..]) => bars(cell_run, span, lang),
        (PictureKind::Histogram, _) => race::histogram(cell_runs, lang),
        _ => return text,
    };
    text += &section(lang.pick("as a picture", "画出来"), &picture);
    text
}

/// A Gantt chart in characters: a row for each worker, the notebook's above.
fn bars(cell_run: &CellRun, span: &TimeSpan, lang: Lang) -> String {
    let runs = gantt::runs(cell_run, span, lang);
    let longest = gantt::longest(&runs).max(1e-9);
    const COLUMNS: f64 = 60.0;
    let column = |seconds: f64| (seconds / longest * COLUMNS).round() as usize;
    let mut text = String::new();
    for run in &runs {
        text += &format!("{}\n", run.name);
        for (who, speaker) in run.printout.speakers.all.iter().enumerate() {
            let mut row = String::new();
            for task in run.tasks.iter().filter(|task| task.who == who) {
                let (from, to) = (column(task.from), column(task.last));
                let length = row.chars().count();
                row += &" ".repeat(from.saturating_sub(length));
                row += &task.number;
                let length = row.chars().count();
                row += &"█".repeat(to.saturating_sub(length));
            }
            if !row.is_empty() {
                let id = speaker.id.as_deref().unwrap_or_default();
                text += &format!("  {:3} {id:>7} │{row}\n", speaker.mark);
            }
        }
        if let Some((_, how)) = &run.cut_off {
            text += &format!("{:13}{how}\n", "");
        }
    }
    let unit = lang.pick("s", "秒");
    text += &format!("{:>13} 0 {unit}{:>56.2} {unit}\n", "", longest);
    text
}
