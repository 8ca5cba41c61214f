//! One variant of one cell as it ran, with what the table says of it: what every view shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use common::notebook::{self, CELLS, Cell, ExpectedEnd, Statistic, Trials, Variant};
use common::printout::Printout;
use common::verdict::Verdict;
use serde::Serialize;

use crate::cli::Lang;
use crate::record::{CellRecord, NoRun, ReplayRecord, RunRecord};

/// One variant of one cell, as it ran and as the notebook has it.
pub(crate) struct CellRun<'a> {
    pub(crate) cell: &'static Cell,
    pub(crate) variant: &'static Variant,
    pub(crate) record: &'a CellRecord,
    /// The replay that ran it.
    pub(crate) replay: &'a ReplayRecord,
    /// What was printed, in the run that a view shows.
    pub(crate) now: Printout,
    /// Which of the runs that is, from 1.
    pub(crate) shown: usize,
    /// What its trials came to: each with the program that ran.
    outcomes: Vec<(&'a str, i64)>,
    /// What the notebook printed, where it did.
    pub(crate) recorded: Option<Printout>,
}

impl<'a> CellRun<'a> {
    /// The last run of each cell, in the notebook's order. The latest replay comes first.
    pub(crate) fn all(replays: &'a [ReplayRecord]) -> anyhow::Result<Vec<CellRun<'a>>> {
        let mut keys = BTreeSet::new();
        let mut cell_runs = Vec::new();
        for replay in replays {
            for record in &replay.cells {
                if keys.insert(record.key()) {
                    cell_runs.push(CellRun::new(replay, record)?);
                }
            }
        }
        let variants = || CELLS.iter().flat_map(|cell| cell.variants);
        cell_runs.sort_by_key(|cell_run| {
            variants().position(|variant| std::ptr::eq(variant, cell_run.variant))
        });
        Ok(cell_runs)
    }

    /// When its replay began, if another of these cell runs is of a later one.
    pub(crate) fn earlier(&self, all: &[CellRun]) -> Option<&'a str> {
        let started = self.replay.started.as_str();
        let mut replays = all.iter().map(|other| other.replay.started.as_str());
        replays.any(|other| other > started).then_some(started)
    }

    fn new(replay: &'a ReplayRecord, known: &'a CellRecord) -> anyhow::Result<CellRun<'a>> {
        let cell = notebook::cell(&known.bin);
        let variant = cell.and_then(|cell| {
            let named = |variant: &&Variant| variant.name == known.variant;
            cell.variants.iter().find(named)
        });
        let (cell, variant) = cell.zip(variant).with_context(|| {
            let name = [known.bin.as_str(), &known.variant].join(" ");
            let name = name.trim_end();
            NoRun(format!(
                "the run has a cell `{name}` that the notebook's table does not have: replay again \
                 with cargo xtask all"
            ))
        })?;
        let mut printouts: Vec<Printout> = known
            .runs
            .iter()
            .map(|run| Printout::read(variant, run.printed()))
            .collect();
        let outcomes = outcomes(variant, known, &printouts);
        let shown = shown(variant, known, &printouts);
        let now = match printouts.len() {
            0 => Printout::read(variant, Vec::new()),
            _ => printouts.swap_remove(shown),
        };
        Ok(CellRun {
            cell,
            variant,
            record: known,
            replay,
            now,
            shown: shown + 1,
            outcomes,
            recorded: Printout::recorded(variant),
        })
    }

    /// Whether it is the first variant of its cell, where what is common to all is shown.
    pub(crate) fn is_first_variant(&self) -> bool {
        std::ptr::eq(self.variant, &self.cell.variants[0])
    }

    /// What makes this run again.
    pub(crate) fn again(&self) -> String {
        let (before, after) = match self.replay.pace {
            1.0 => (String::new(), ""),
            0.1 => (String::new(), " --fast"),
            pace => (format!("PACE={pace} "), ""),
        };
        let (bin, seed) = (self.cell.bin, self.replay.seed);
        format!("{before}cargo xtask run {bin} --seed {seed}{after}")
    }

    /// `In [16] repaired`, as a heading.
    pub(crate) fn label(&self, lang: Lang) -> String {
        format!("{} {}", lang.label(self.cell), lang.variant(self.variant))
            .trim_end()
            .to_string()
    }

    /// `In [16] task_master repaired`, in a text.
    pub(crate) fn name(&self, lang: Lang) -> String {
        let Cell { bin, .. } = self.cell;
        let (label, variant) = (lang.label(self.cell), lang.variant(self.variant));
        format!("{label} {bin} {variant}").trim_end().to_string()
    }

    /// A word that no other cell run has, for links and files: `task_master-repaired`.
    pub(crate) fn slug(&self) -> String {
        format!("{}-{}", self.cell.bin, self.variant.name)
            .trim_end_matches('-')
            .to_string()
    }

    /// The run that a view shows; none if nothing ran.
    pub(crate) fn run(&self) -> Option<&'a RunRecord> {
        self.record.runs.get(self.shown - 1)
    }

    /// When that run ended, in seconds after its start.
    pub(crate) fn end(&self) -> f64 {
        self.run().map_or(0.0, |run| run.seconds)
    }

    /// How that run ended, if not as it should: by the replay, or with another exit code.
    pub(crate) fn cut_off(&self, lang: Lang) -> Option<String> {
        let RunRecord { exit, seconds, .. } = self.run()?;
        let right = match self.variant.end {
            ExpectedEnd::Code(want) => *exit == Some(want),
            ExpectedEnd::Failure => exit.is_some_and(|code| code > 0),
            ExpectedEnd::Signal(want) => *exit == Some(-want),
        };
        let how = match (exit, lang) {
            _ if right => return None,
            (None, Lang::En) => format!("ended by the replay after {seconds:.1} s"),
            (None, Lang::Zh) => format!("{seconds:.1} 秒后被重放终止"),
            (Some(code @ 0..), Lang::En) => {
                format!("ended with exit code {code} after {seconds:.1} s")
            }
            (Some(code @ 0..), Lang::Zh) => format!("{seconds:.1} 秒后以退出码 {code} 结束"),
            (Some(signal), Lang::En) => format!("ended by signal {} after {seconds:.1} s", -signal),
            (Some(signal), Lang::Zh) => format!("{seconds:.1} 秒后被信号 {} 终止", -signal),
        };
        Some(how)
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

/// What came out of all cells that a view shows.
#[derive(Debug, Serialize)]
pub(crate) struct Total {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) checks: usize,
    pub(crate) seconds: f64,
    /// How many replays the cells are from.
    pub(crate) replays: usize,
}

impl Total {
    pub(crate) fn new(replays: &[ReplayRecord], cell_runs: &[CellRun]) -> Total {
        let passed = cell_runs.iter().filter(|cell_run| cell_run.record.held);
        let passed = passed.count();
        let seconds = cell_runs.iter().map(|cell_run| cell_run.record.seconds);
        let (skipped, seconds) = match replays {
            [only] => (only.skipped, only.seconds),
            // What one replay left out, another may have.
            _ => (0, seconds.sum()),
        };
        Total {
            passed,
            failed: cell_runs.len() - passed,
            skipped,
            checks: cell_runs
                .iter()
                .map(|cell_run| cell_run.record.verdicts.len())
                .sum(),
            seconds,
            replays: replays.len(),
        }
    }
}

/// Which run a view shows, from 0: one that failed, or of a race one that lost something, or the first.
fn shown(variant: &Variant, record: &CellRecord, printouts: &[Printout]) -> usize {
    let failed = record.verdicts.iter().find(|verdict| !verdict.held);
    let failed = failed.map(|verdict| verdict.run.saturating_sub(1));
    let races = |trials: &&Trials| trials.statistic == Statistic::AnyNonZero;
    let lost = || {
        let trials = variant.trials.as_ref().filter(races)?;
        let is_lost = |printout: &Printout| {
            let mut values = printout.lines.values(trials.outcome);
            values.next().is_some_and(|value| value != "0")
        };
        printouts.iter().position(is_lost)
    };
    let shown = failed.or_else(lost).unwrap_or(0);
    if shown < printouts.len() { shown } else { 0 }
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

pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("xtask is in the workspace")
}
