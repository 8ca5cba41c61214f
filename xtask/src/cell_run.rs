//! One variant of one cell as it ran, with what the table says of it: what every view shows.

use std::fs;
use std::path::Path;

use anyhow::Context;
use common::notebook::{self, Cell, Variant};
use common::pattern::Pattern;
use common::replay::{Verdict, recorded_lines};
use common::speakers::{Speaker, Speakers};
use common::transcript::{Event, Printed, Source, Transcript};

use crate::record::{CellRecord, Record};

/// One variant of one cell, as it ran and as the notebook has it.
pub(crate) struct CellRun<'a> {
    pub(crate) cell: &'static Cell,
    pub(crate) variant: &'static Variant,
    pub(crate) record: &'a CellRecord,
    /// The factor on all pauses of the run.
    pub(crate) pace: f64,
    /// What was printed, in the run that a view shows: the first, or the one that failed.
    pub(crate) now: Printout,
    /// What the notebook printed, where it did.
    pub(crate) recorded: Option<Printout>,
}

/// What was printed, and by whom.
pub(crate) struct Printout {
    pub(crate) printed: Vec<Printed>,
    pub(crate) lines: Transcript,
    pub(crate) speakers: Speakers,
}

impl Printout {
    pub(crate) fn new(variant: &Variant, printed: Vec<Printed>) -> Printout {
        let lines = Transcript::read(variant, &printed);
        let speakers = Speakers::of(variant, &lines);
        Printout {
            printed,
            lines,
            speakers,
        }
    }

    /// What the notebook printed for this variant.
    pub(crate) fn recorded(variant: &Variant) -> Option<Printout> {
        let mut printed = recorded_lines(variant.recorded, Source::Out);
        printed.extend(recorded_lines(variant.recorded_error, Source::Err));
        (!printed.is_empty()).then(|| Printout::new(variant, printed))
    }

    /// The line that was named, from 1; none for one that the cell may not print.
    pub(crate) fn event(&self, line: usize) -> Option<&Event> {
        self.lines.events.iter().find(|event| event.line == line)
    }

    /// Who said the line.
    pub(crate) fn speaker(&self, line: usize) -> Option<usize> {
        self.speakers.speaker(&self.lines, self.event(line)?)
    }

    /// The line cut at its fields, each piece with the speaker whose number or name it is.
    pub(crate) fn pieces(&self, line: usize) -> Vec<(Option<usize>, String)> {
        let Some((event, pattern)) = self.event(line).and_then(|event| {
            let known = self.lines.lines().find(|known| known.event == event.name)?;
            Some((event, Pattern::new(known.text)))
        }) else {
            return vec![(None, self.printed[line - 1].text.clone())];
        };
        let piece = |(field, text): (Option<&'static str>, &str)| {
            let who = field.and_then(|field| self.speakers.named_in(event, field));
            (who, text.to_string())
        };
        pattern
            .pieces(&event.captures)
            .into_iter()
            .map(piece)
            .collect()
    }

    /// The line with what stands for each process where its number stood.
    pub(crate) fn masked(&self, line: usize, stands: impl Fn(&Speaker) -> String) -> String {
        let piece = |(who, text): (Option<usize>, String)| {
            who.map_or(text, |who| stands(&self.speakers.all[who]))
        };
        self.pieces(line).into_iter().map(piece).collect()
    }

    /// When the first line of this name arrived, in seconds.
    pub(crate) fn first(&self, name: &str) -> Option<f64> {
        self.lines.named(name).next().map(at)
    }
}

/// When the line arrived, in seconds.
pub(crate) fn at(event: &Event) -> f64 {
    event.at.unwrap_or_default().as_secs_f64()
}

impl<'a> CellRun<'a> {
    /// The cell runs of a replay, in its order.
    pub(crate) fn all(record: &'a Record) -> anyhow::Result<Vec<CellRun<'a>>> {
        let cell_run = |known: &'a CellRecord| {
            let cell = notebook::cell(&known.bin);
            let variant = cell.and_then(|cell| {
                let named = |variant: &&Variant| variant.name == known.variant;
                cell.variants.iter().find(named)
            });
            let (cell, variant) = cell.zip(variant).with_context(|| {
                format!(
                    "the run has a cell `{} {}` that the notebook's table does not have: replay \
                     again with cargo xtask all",
                    known.bin, known.variant
                )
            })?;
            let failed = known.verdicts.iter().find(|verdict| !verdict.held);
            let shown = failed.map_or(0, |verdict| verdict.run.saturating_sub(1));
            let run = known.runs.get(shown).or(known.runs.first());
            let printed = run.map_or(Vec::new(), |run| {
                run.lines.iter().map(|line| line.printed()).collect()
            });
            Ok(CellRun {
                cell,
                variant,
                record: known,
                pace: record.pace,
                now: Printout::new(variant, printed),
                recorded: Printout::recorded(variant),
            })
        };
        record.cells.iter().map(cell_run).collect()
    }

    /// `In [16] repaired`, as a heading.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.cell.label(), self.variant.name)
            .trim_end()
            .to_string()
    }

    /// `In [16] task_master repaired`, in a text.
    pub(crate) fn name(&self) -> String {
        let Cell { bin, .. } = self.cell;
        format!("{} {bin} {}", self.cell.label(), self.variant.name)
            .trim_end()
            .to_string()
    }

    /// A word that no other cell run has, for links and files: `task_master-repaired`.
    pub(crate) fn slug(&self) -> String {
        format!("{}-{}", self.cell.bin, self.variant.name)
            .trim_end_matches('-')
            .to_string()
    }

    /// What the trials of a program came to, each a number.
    pub(crate) fn outcomes(&self, bin: &str) -> Vec<i64> {
        let Some(trials) = &self.variant.trials else {
            return Vec::new();
        };
        let number = |printed: Vec<Printed>| {
            let lines = Transcript::read(self.variant, &printed);
            lines.values(trials.outcome).next()?.parse().ok()
        };
        let runs = self.record.runs.iter().filter(|run| run.bin == bin);
        runs.filter_map(|run| number(run.lines.iter().map(|line| line.printed()).collect()))
            .collect()
    }

    /// Where in the source the line is printed that a verdict is about, or where the source is.
    pub(crate) fn place(&self, verdict: &Verdict) -> String {
        let name = verdict.line.and_then(|line| self.now.event(line));
        place(
            self.cell,
            self.cell.program(self.variant),
            name.map(|event| event.name),
        )
    }
}

/// The source of a program; with the line that prints the event, where it can be told.
pub(crate) fn place(cell: &Cell, bin: &str, event: Option<&str>) -> String {
    let path = source_path(cell, bin);
    let find = || {
        let lines = cell.variants.iter().flat_map(|variant| variant.prints);
        let line = lines.into_iter().find(|line| Some(line.event) == event)?;
        let begins = line.text.split('{').next()?.split('\t').next()?;
        let source = source(cell, bin).ok()?;
        let said = format!("\"{begins}");
        let printed = |text: &str| begins.len() > 2 && text.contains(&said);
        source.lines().position(printed)
    };
    find().map_or(path.clone(), |at| format!("{path}:{}", at + 1))
}

/// The file of a program, from the root of the workspace.
pub(crate) fn source_path(cell: &Cell, bin: &str) -> String {
    format!("{}/src/bin/{bin}.rs", cell.package)
}

/// The source of a program.
pub(crate) fn source(cell: &Cell, bin: &str) -> anyhow::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let file = root
        .expect("xtask is in the workspace")
        .join(source_path(cell, bin));
    fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
}
