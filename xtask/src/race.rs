//! `race`: the cells that have trials, many times over, and how often which outcome came.

use common::notebook::{CELLS, Cell};

use crate::Exit;
use crate::cell_run::CellRun;
use crate::cli::{Lang, Options};
use crate::output;
use crate::picture::{bins, rows};
use crate::replay;

/// How often, if nobody says.
const TRIALS: usize = 200;

/// The longest bar, in characters.
const BAR: usize = 50;

/// The most lines of a program.
const BINS: usize = 40;

pub(crate) fn race(mut options: Options, lang: Lang) -> anyhow::Result<Exit> {
    options.trials.get_or_insert(TRIALS);
    let has_trials = |cell: &&&Cell| cell.variants.iter().any(|variant| variant.trials.is_some());
    let cells = CELLS.iter().filter(has_trials);
    let names: Vec<String> = cells.map(|cell| cell.bin.to_string()).collect();
    let (exit, record) = replay::recorded(&names, &options, lang)?;
    if let Some(record) = record {
        let cell_runs = CellRun::all(std::slice::from_ref(&record))?;
        output::write(format_args!("{}", histogram(&cell_runs, lang)))?;
    }
    Ok(exit)
}

/// The histogram for a terminal: a line for each value that came out.
pub(crate) fn histogram(cell_runs: &[CellRun], lang: Lang) -> String {
    let rows = rows(cell_runs, lang);
    let bins = bins(&rows, BINS);
    let mut text = String::new();
    for row in &rows {
        let all = row.outcomes.len();
        text += &format!("\n{}{}{}\n", row.name, lang.colon(), row.said(lang));
        for bin in &bins {
            let count = bin.count(&row.outcomes);
            let recorded = row.recorded.filter(|value| bin.holds(*value));
            if count == 0 && !bin.holds(0) && recorded.is_none() {
                continue;
            }
            // One scale for all programs: a full bar is all of the runs.
            let bar = "█".repeat((count * BAR).div_ceil(all));
            let note = recorded.map_or(String::new(), |value| match lang {
                Lang::En => format!("  the notebook printed {value}"),
                Lang::Zh => format!("  笔记打印了 {value}"),
            });
            text += format!("{:>18} │{bar} {count}{note}", bin.label()).trim_end();
            text.push('\n');
        }
    }
    text
}
