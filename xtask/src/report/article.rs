//! What the page says of one cell run.

use common::notebook::Cell;
use common::printout::Printout;
use common::transcript::Source;
use common::verdict::{Reordering, Verdict};
use serde::Serialize;

use crate::cell_run::{CellRun, source, source_path};
use crate::cli::Lang;
use crate::highlight;
use crate::picture::{NARROW, WIDE, pictures};
use crate::python_notebook::PythonNotebook;

/// One variant of one cell.
#[derive(Serialize)]
pub(super) struct Article {
    pub(super) chapter: u8,
    id: String,
    label: String,
    bin: &'static str,
    held: bool,
    idea: &'static str,
    teaches: &'static str,
    hint: &'static str,
    python: &'static str,
    stand_in: bool,
    seconds: f64,
    /// Which of several runs is shown.
    shown: Option<String>,
    /// When its replay began, if that is not the last one.
    from: Option<String>,
    /// The notebook's own cell, beside the program that was made of it.
    original: Option<ShownPython>,
    programs: Vec<ShownProgram>,
    recorded: Option<Vec<ShownLine>>,
    now: Vec<ShownLine>,
    pictures: Vec<Drawn>,
    verdicts: Vec<ShownVerdict>,
    failed: usize,
    free: Vec<Free>,
    again: String,
}

/// A program's source.
#[derive(Serialize)]
struct ShownProgram {
    path: String,
    html: String,
    companion: bool,
}

/// A cell of the user's copy of the notebook.
#[derive(Serialize)]
struct ShownPython {
    place: String,
    /// None if the file lacks the cell.
    html: Option<String>,
    lacks: String,
}

/// A printed line.
#[derive(Serialize)]
struct ShownLine {
    number: usize,
    at: Option<f64>,
    mark: Option<String>,
    role: Option<String>,
    class: String,
    error: bool,
    pieces: Vec<ShownPiece>,
    /// What it says in the reader's language, if it is a line of prose in another one.
    meaning: Option<String>,
}

/// A piece of a line: plain, or the number of a process, in the colour of that process.
#[derive(Serialize)]
struct ShownPiece {
    text: String,
    class: Option<String>,
}

/// A picture, drawn for a page and for a phone.
#[derive(Serialize)]
struct Drawn {
    name: String,
    title: String,
    wide: String,
    narrow: String,
}

/// A check with its evidence.
#[derive(Serialize)]
struct ShownVerdict {
    held: bool,
    sentence: String,
    evidence: String,
    line: Option<usize>,
    /// The number of the line, in words.
    line_named: Option<String>,
    /// Where a check did not hold: the lines around the one that is wrong.
    around: Vec<ShownLine>,
    place: String,
}

/// A reordering: declared, or used otherwise than in the notebook.
#[derive(Serialize)]
struct Free {
    used: bool,
    sentence: String,
}

pub(super) fn articles(
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<Vec<Article>> {
    let mut shown = Vec::new();
    let mut articles = Vec::new();
    for cell_run in cell_runs {
        articles.push(Article {
            original: python.and_then(|python| original(cell_run, python, lang)),
            programs: programs(cell_run, &mut shown)?,
            ..article(cell_run, cell_runs, lang)
        });
    }
    Ok(articles)
}

/// All but the sources, which depend on what the page has already.
fn article(cell_run: &CellRun, all: &[CellRun], lang: Lang) -> Article {
    let cell = cell_run.cell;
    let draw = |width| pictures(cell_run, all, width, lang);
    let drawn = draw(WIDE).into_iter().zip(draw(NARROW));
    let mut verdicts: Vec<ShownVerdict> = cell_run
        .record
        .verdicts
        .iter()
        .map(|verdict| checked(cell_run, verdict, lang))
        .collect();
    verdicts.sort_by_key(|verdict| verdict.held);
    Article {
        chapter: cell.chapter,
        id: cell_run.slug(),
        label: cell_run.label(lang),
        bin: cell.program(cell_run.variant),
        held: cell_run.record.held,
        idea: lang.idea(cell),
        teaches: lang.teaches(cell),
        hint: lang.hint(cell),
        python: lang.python(cell),
        stand_in: cell_run.record.stand_in,
        seconds: cell_run.record.seconds,
        shown: shown_run(cell_run, lang),
        from: cell_run.earlier(all).map(str::to_string),
        original: None,
        programs: Vec::new(),
        recorded: cell_run
            .recorded
            .as_ref()
            .map(|printout| lines(cell_run, printout, lang)),
        now: lines(cell_run, &cell_run.now, lang),
        pictures: drawn
            .map(|(wide, narrow)| Drawn {
                name: wide.name.clone(),
                title: wide.title.clone(),
                wide: wide.inline(),
                narrow: narrow.inline(),
            })
            .collect(),
        failed: verdicts.iter().filter(|verdict| !verdict.held).count(),
        verdicts,
        free: free(cell_run, lang),
        again: cell_run.again(),
    }
}

/// Which of the runs is shown, if there are several.
fn shown_run(cell_run: &CellRun, lang: Lang) -> Option<String> {
    let (shown, runs) = (cell_run.shown, cell_run.record.runs.len());
    (runs > 1).then(|| match lang {
        Lang::En => format!("run {shown} of {runs}"),
        Lang::Zh => format!("第 {shown} 次，共 {runs} 次"),
    })
}

/// The notebook's cell, once on the page.
fn original(cell_run: &CellRun, python: &PythonNotebook, lang: Lang) -> Option<ShownPython> {
    let cell = cell_run.cell;
    (cell.number.is_some() && cell_run.is_first_variant()).then(|| ShownPython {
        place: python.place(cell, lang),
        html: python.source(cell).map(highlight::python),
        lacks: python.lacks(cell, lang),
    })
}

/// Its programs but those in `shown`, which the page has already.
fn programs(cell_run: &CellRun, shown: &mut Vec<String>) -> anyhow::Result<Vec<ShownProgram>> {
    let cell: &'static Cell = cell_run.cell;
    let own = cell.program(cell_run.variant);
    let mut bins = vec![(own, false)];
    bins.extend(
        cell_run
            .variant
            .companion
            .iter()
            .map(|companion| (companion.bin, true)),
    );
    let widened = cell_run.record.runs.iter().any(|run| run.bin != own);
    let trials = cell_run
        .variant
        .trials
        .as_ref()
        .and_then(|trials| trials.widened);
    bins.extend(trials.filter(|_| widened).map(|bin| (bin, true)));
    let mut programs = Vec::new();
    for (bin, companion) in bins {
        let path = source_path(cell, bin);
        if !shown.contains(&path) {
            shown.push(path.clone());
            let html = highlight::rust(source(cell, bin)?.trim_end());
            programs.push(ShownProgram {
                path,
                html,
                companion,
            });
        }
    }
    Ok(programs)
}

fn lines(cell_run: &CellRun, printout: &Printout, lang: Lang) -> Vec<ShownLine> {
    (1..=printout.printed.len())
        .map(|number| line(cell_run, printout, number, lang))
        .collect()
}

fn line(cell_run: &CellRun, printout: &Printout, number: usize, lang: Lang) -> ShownLine {
    let printed = &printout.printed[number - 1];
    let who = printout.speaker(number);
    let speaker = who.map(|who| &printout.speakers.all[who]);
    let piece = |(who, text): (Option<usize>, String)| ShownPiece {
        text,
        class: who.map(class),
    };
    ShownLine {
        number,
        at: printed.at.map(|at| at.as_secs_f64()),
        mark: speaker.map(|speaker| speaker.mark.clone()),
        role: speaker.map(|speaker| lang.role(speaker.role).to_string()),
        class: who.map_or("stray".to_string(), class),
        error: printed.source == Source::Err,
        pieces: printout.pieces(number).into_iter().map(piece).collect(),
        meaning: match lang {
            Lang::En => None,
            Lang::Zh => printout.in_chinese(cell_run.variant, number),
        },
    }
}

/// The class of a speaker's colour, the same in texts and pictures.
fn class(who: usize) -> String {
    format!("c{}", who % 6)
}

fn checked(cell_run: &CellRun, verdict: &Verdict, lang: Lang) -> ShownVerdict {
    let around = verdict
        .line
        .filter(|_| !verdict.held)
        .map_or(Vec::new(), |wrong| {
            let near = |number: &usize| number.abs_diff(wrong) <= 2;
            let all = (1..=cell_run.now.printed.len()).filter(near);
            all.map(|number| line(cell_run, &cell_run.now, number, lang))
                .collect()
        });
    ShownVerdict {
        held: verdict.held,
        sentence: lang.sentence(verdict).to_string(),
        evidence: lang.evidence(verdict).to_string(),
        line: verdict.line,
        line_named: verdict.line.map(|line| match lang {
            Lang::En => format!(" (line {line})"),
            Lang::Zh => format!("（第 {line} 行）"),
        }),
        around,
        place: cell_run.place(verdict),
    }
}

fn free(cell_run: &CellRun, lang: Lang) -> Vec<Free> {
    let used = cell_run.record.reorderings.iter().map(|reordering| Free {
        used: true,
        sentence: lang.reordering(reordering),
    });
    let variant = cell_run.variant;
    let taken = |pair: &&(&str, &str)| {
        let quotes = (variant.quote(pair.0), variant.quote(pair.1));
        let mut used = cell_run.record.reorderings.iter();
        used.any(|Reordering { first, then }| {
            (first, then) == (&quotes.0, &quotes.1) || (then, first) == (&quotes.0, &quotes.1)
        })
    };
    let left = variant.free.iter().filter(|pair| !taken(pair));
    let left = left.map(|pair| Free {
        used: false,
        sentence: lang.declared(variant, *pair),
    });
    used.chain(left).collect()
}
