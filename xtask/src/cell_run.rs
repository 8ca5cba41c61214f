//! One variant of one cell as it ran, with what the table says of it: what every view shows.

use std::fs;
use std::path::Path;

use anyhow::Context;
use common::notebook::{self, Cell, Variant};
use common::printout::Printout;
use common::verdict::Verdict;

use crate::record::{CellRecord, ReplayRecord, RunRecord};

/// One variant of one cell, as it ran and as the notebook has it.
pub(crate) struct CellRun<'a> {
    pub(crate) cell: &'static Cell,
    pub(crate) variant: &'static Variant,
    pub(crate) record: &'a CellRecord,
    /// The factor on all pauses of the run.
    pub(crate) pace: f64,
    /// What was printed, in the run that a view shows: the first, or the one that failed.
    pub(crate) now: Printout,
    /// What its trials came to: each with the program that ran.
    outcomes: Vec<(&'a str, i64)>,
    /// What the notebook printed, where it did.
    pub(crate) recorded: Option<Printout>,
}

impl<'a> CellRun<'a> {
    /// The cell runs of a replay, in its order.
    pub(crate) fn all(record: &'a ReplayRecord) -> anyhow::Result<Vec<CellRun<'a>>> {
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
            let mut printouts: Vec<Printout> = known
                .runs
                .iter()
                .map(|run| Printout::read(variant, run.printed()))
                .collect();
            let outcomes = outcomes(variant, known, &printouts);
            let now = match printouts.len() {
                0 => Printout::read(variant, Vec::new()),
                runs => printouts.swap_remove(if shown < runs { shown } else { 0 }),
            };
            Ok(CellRun {
                cell,
                variant,
                record: known,
                pace: record.pace,
                now,
                outcomes,
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
        let of_bin = self.outcomes.iter().filter(|(known, _)| *known == bin);
        of_bin.map(|(_, outcome)| *outcome).collect()
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

/// What the trials came to, each with the program that ran.
fn outcomes<'a>(
    variant: &Variant,
    record: &'a CellRecord,
    printouts: &[Printout],
) -> Vec<(&'a str, i64)> {
    let Some(trials) = &variant.trials else {
        return Vec::new();
    };
    let outcome = |(run, printout): (&'a RunRecord, &Printout)| {
        let value = printout.lines.values(trials.outcome).next()?;
        Some((run.bin.as_str(), value.parse().ok()?))
    };
    record
        .runs
        .iter()
        .zip(printouts)
        .filter_map(outcome)
        .collect()
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
    cell.source(root(), bin)
}

/// The source of a program.
pub(crate) fn source(cell: &Cell, bin: &str) -> anyhow::Result<String> {
    let file = root().join(source_path(cell, bin));
    fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
}

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("xtask is in the workspace")
}
