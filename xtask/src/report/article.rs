//! What the page says of one part of a run.

use common::notebook::Cell;
use common::replay::Verdict;
use common::transcript::Source;
use serde::Serialize;

use crate::cli::Lang;
use crate::highlight;
use crate::part::{Part, Side, source, source_path};
use crate::picture::{NARROW, WIDE, pictures};

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
    runs: usize,
    programs: Vec<Program>,
    recorded: Option<Vec<Line>>,
    now: Vec<Line>,
    pictures: Vec<Drawn>,
    verdicts: Vec<Checked>,
    failed: usize,
    free: Vec<Free>,
    again: String,
}

/// A program's source.
#[derive(Serialize)]
struct Program {
    path: String,
    html: String,
    companion: bool,
}

/// A printed line.
#[derive(Serialize)]
struct Line {
    number: usize,
    at: Option<f64>,
    mark: Option<String>,
    role: Option<String>,
    class: String,
    error: bool,
    pieces: Vec<Piece>,
}

/// A piece of a line: plain, or the number of a process, in the colour of that process.
#[derive(Serialize)]
struct Piece {
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
struct Checked {
    held: bool,
    sentence: String,
    evidence: String,
    line: Option<usize>,
    /// Where a check did not hold: the lines around the one that is wrong.
    around: Vec<Line>,
    place: String,
}

/// A freedom: declared, or used otherwise than in the notebook.
#[derive(Serialize)]
struct Free {
    used: bool,
    sentence: String,
}

pub(super) fn articles(parts: &[Part], lang: Lang) -> anyhow::Result<Vec<Article>> {
    let mut shown = Vec::new();
    parts
        .iter()
        .map(|part| article(part, parts, &mut shown, lang))
        .collect()
}

/// `shown` are the programs whose source the page has already.
fn article(
    part: &Part,
    all: &[Part],
    shown: &mut Vec<String>,
    lang: Lang,
) -> anyhow::Result<Article> {
    let cell = part.cell;
    let draw = |width| pictures(part, all, width, lang);
    let drawn = draw(WIDE).into_iter().zip(draw(NARROW));
    let mut verdicts: Vec<Checked> = part
        .record
        .verdicts
        .iter()
        .map(|verdict| checked(part, verdict, lang))
        .collect();
    verdicts.sort_by_key(|verdict| verdict.held);
    Ok(Article {
        chapter: cell.chapter,
        id: part.slug(),
        label: part.label(),
        bin: cell.program(part.variant),
        held: part.record.held,
        idea: lang.idea(cell),
        teaches: lang.teaches(cell),
        hint: lang.hint(cell),
        python: cell.python,
        stand_in: part.record.stand_in,
        seconds: part.record.seconds,
        runs: part.record.runs.len(),
        programs: programs(part, shown)?,
        recorded: part.recorded.as_ref().map(|side| lines(side, lang)),
        now: lines(&part.now, lang),
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
        free: free(part, lang),
        again: format!("cargo xtask run {}", cell.bin),
    })
}

fn programs(part: &Part, shown: &mut Vec<String>) -> anyhow::Result<Vec<Program>> {
    let cell: &'static Cell = part.cell;
    let own = cell.program(part.variant);
    let mut bins = vec![(own, false)];
    bins.extend(
        part.variant
            .companion
            .iter()
            .map(|companion| (companion.bin, true)),
    );
    let widened = part.record.runs.iter().any(|run| run.bin != own);
    let trials = part
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
            let html = highlight::html(source(cell, bin)?.trim_end());
            programs.push(Program {
                path,
                html,
                companion,
            });
        }
    }
    Ok(programs)
}

fn lines(side: &Side, lang: Lang) -> Vec<Line> {
    (1..=side.printed.len())
        .map(|number| line(side, number, lang))
        .collect()
}

fn line(side: &Side, number: usize, lang: Lang) -> Line {
    let printed = &side.printed[number - 1];
    let who = side.speaker(number);
    let member = who.map(|who| &side.cast.members[who]);
    let piece = |(who, text): (Option<usize>, String)| Piece {
        text,
        class: who.map(class),
    };
    Line {
        number,
        at: printed.at.map(|at| at.as_secs_f64()),
        mark: member.map(|member| member.mark.clone()),
        role: member.map(|member| lang.pick(member.role.name, member.role.name_zh).to_string()),
        class: who.map_or("stray".to_string(), class),
        error: printed.source == Source::Err,
        pieces: side.pieces(number).into_iter().map(piece).collect(),
    }
}

/// The class of a member's colour, the same in texts and pictures.
fn class(who: usize) -> String {
    format!("c{}", who % 6)
}

fn checked(part: &Part, verdict: &Verdict, lang: Lang) -> Checked {
    let around = verdict
        .line
        .filter(|_| !verdict.held)
        .map_or(Vec::new(), |wrong| {
            let near = |number: &usize| number.abs_diff(wrong) <= 2;
            let all = (1..=part.now.printed.len()).filter(near);
            all.map(|number| line(&part.now, number, lang)).collect()
        });
    Checked {
        held: verdict.held,
        sentence: lang.sentence(verdict).to_string(),
        evidence: verdict.evidence.clone(),
        line: verdict.line,
        around,
        place: part.place(verdict),
    }
}

fn free(part: &Part, lang: Lang) -> Vec<Free> {
    let used = part.record.freedoms.iter().map(|freedom| Free {
        used: true,
        sentence: lang.freedom(freedom),
    });
    let taken = |one: &str, other: &str| {
        let pair = |first: &str, then: &str| {
            (first == one && then == other) || (first == other && then == one)
        };
        part.record
            .freedoms
            .iter()
            .any(|freedom| pair(&freedom.first, &freedom.then))
    };
    let left = part
        .variant
        .free
        .iter()
        .filter(|(one, other)| !taken(one, other));
    let left = left.map(|(one, other)| Free {
        used: false,
        sentence: lang.declared(one, other),
    });
    used.chain(left).collect()
}
