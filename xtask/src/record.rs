//! `run.json`: what a replay found, for every other view of it.

use std::collections::BTreeMap;

use common::replay::{Ended, Outcome, Verdict};
use common::transcript::Printed;
use serde::Serialize;

/// The version of the form. It grows when a field changes its meaning or goes.
pub(crate) const VERSION: u32 = 1;

/// One replay.
#[derive(Serialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) seed: u64,
    pub(crate) pace: f64,
    pub(crate) online: bool,
    pub(crate) interrupted: bool,
    pub(crate) machine: Machine,
    /// Which of the needs were there, as far as they were looked at.
    pub(crate) needs: BTreeMap<&'static str, bool>,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) seconds: f64,
    pub(crate) cells: Vec<CellRecord>,
}

/// Where it ran.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
}

/// One variant of one cell.
#[derive(Serialize)]
pub(crate) struct CellRecord {
    number: Option<u8>,
    chapter: u8,
    bin: &'static str,
    variant: &'static str,
    held: bool,
    stand_in: bool,
    seconds: f64,
    verdicts: Vec<Verdict>,
    freedoms: Vec<String>,
    runs: Vec<RunRecord>,
}

/// One run of a program.
#[derive(Serialize)]
struct RunRecord {
    bin: &'static str,
    pid: i32,
    /// The exit code; a signal's number, negated; nothing for a program that was killed here.
    exit: Option<i32>,
    port: Option<u16>,
    seconds: f64,
    lines: Vec<Printed>,
}

impl From<&Outcome> for CellRecord {
    fn from(outcome: &Outcome) -> CellRecord {
        let exit = |ended| match ended {
            Ended::Code(code) => Some(code),
            Ended::Signal(signal) => Some(-signal),
            Ended::Hung | Ended::Interrupted => None,
        };
        let runs = outcome.runs.iter().map(|run| RunRecord {
            bin: run.bin,
            pid: run.observed.pid,
            exit: exit(run.observed.ended),
            port: run.observed.port,
            seconds: run.observed.took.as_secs_f64(),
            lines: run.printed.clone(),
        });
        CellRecord {
            number: outcome.cell.number,
            chapter: outcome.cell.chapter,
            bin: outcome.cell.bin,
            variant: outcome.variant.name,
            held: outcome.held(),
            stand_in: outcome.stand_in,
            seconds: outcome.took.as_secs_f64(),
            verdicts: outcome.verdicts.clone(),
            freedoms: outcome.freedoms.clone(),
            runs: runs.collect(),
        }
    }
}
