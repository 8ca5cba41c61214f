//! What a reader sees while the notebook replays: live lines on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal, Write};

use common::notebook::{CHAPTERS, Cell, Variant};
use common::replay::NOTEBOOK_PORT;
use common::transcript::Printed;
use common::verdict::{CellOutcome, Reordering, Verdict};

use crate::cell_run::source_path;
use crate::output::{self, say};

pub(crate) struct Terminal {
    /// Whether lines may be overwritten and coloured.
    live: bool,
    quiet: bool,
    chapter: u8,
    /// Why not all of it could be written.
    failed: RefCell<Option<anyhow::Error>>,
}

/// The most characters of a line that are shown while it may still be overwritten.
const WIDTH: usize = 76;

/// Begins a line anew. What is longer than the terminal is wide is cut off by it and not wrapped,
/// for nothing would take away a second line.
const OVER: &str = "\r\x1b[2K\x1b[?7l";

/// Ends such a line.
const WRAP: &str = "\x1b[?7h";

impl Terminal {
    pub(crate) fn new(quiet: bool) -> Terminal {
        let reads_escapes = env::var_os("TERM")
            .is_some_and(|term| term != "dumb" && !term.is_empty())
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let is_terminal = io::stdout().is_terminal() && !output::is_only_json();
        Terminal {
            live: is_terminal && reads_escapes && !quiet,
            quiet,
            chapter: 0,
            failed: RefCell::new(None),
        }
    }

    /// Says something as it is.
    pub(crate) fn say(&self, text: &str) {
        if let Err(error) = say!("{text}") {
            self.failed.borrow_mut().get_or_insert(error);
        }
    }

    /// Why not all could be written, if so. A replay goes on to its end all the same.
    pub(crate) fn written(&self) -> anyhow::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(crate) fn begin(&mut self, cell: &Cell, variant: &Variant, place: (usize, usize)) {
        if cell.chapter != self.chapter && !self.quiet {
            self.chapter = cell.chapter;
            let title = CHAPTERS.iter().find(|(number, ..)| *number == cell.chapter);
            let (number, english, chinese) = title.expect("every chapter has a title");
            self.say(&self.paint("1", &format!("{number}. {english}  {chinese}")));
        }
        if self.live {
            let (at, all) = place;
            self.overwrite(&format!(
                " ▶ {} {} {}  ({at} of {all})",
                cell.label(),
                cell.bin,
                variant.name
            ));
        }
    }

    /// Shows a line as it arrives, where the next one may overwrite it.
    pub(crate) fn line(live: bool, printed: &Printed) {
        if live {
            let at = printed.at.unwrap_or_default().as_secs_f64();
            let text: String = printed
                .text
                .chars()
                .filter(|c| !c.is_control())
                .take(WIDTH - 16)
                .collect();
            let _ = write!(io::stdout(), "{OVER}   {at:7.3} s  {text}{WRAP}");
            let _ = io::stdout().flush();
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    fn overwrite(&self, text: &str) {
        let _ = write!(io::stdout(), "{OVER}{text}{WRAP}");
        let _ = io::stdout().flush();
    }

    pub(crate) fn end(&self, outcome: &CellOutcome) {
        if self.live {
            self.overwrite("");
        }
        let held = outcome.held();
        if self.quiet && held {
            return;
        }
        if outcome.interrupted() {
            let (cell, variant) = (outcome.cell.label(), outcome.variant.name);
            let line = format!(" – {cell:8} {} {variant}", outcome.cell.bin);
            self.say(&format!("{}: interrupted", line.trim_end()));
            return;
        }
        let mark = if held {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        };
        let name = format!("{} {}", outcome.cell.bin, outcome.variant.name);
        let failed = outcome
            .verdicts
            .iter()
            .filter(|verdict| !verdict.held)
            .count();
        let checks = match failed {
            0 => format!("{:2} checks", outcome.verdicts.len()),
            _ => format!("{failed} of {} checks failed", outcome.verdicts.len()),
        };
        let seconds = outcome.took.as_secs_f64();
        let notes = self.notes(outcome).join("; ");
        let line = format!(
            " {mark} {:8} {name:21} {seconds:6.2} s  {checks}  {notes}",
            outcome.cell.label()
        );
        self.say(line.trim_end());
        if !held {
            self.explain(outcome);
        }
    }

    /// What is worth a word although every check held.
    fn notes(&self, outcome: &CellOutcome) -> Vec<String> {
        let mut notes = Vec::new();
        if outcome.stand_in {
            notes.push("stand-in for nslookup (--online runs the real one)".to_string());
        }
        let port = outcome.runs.first().and_then(|run| run.observed.port);
        if let Some(port) = port.filter(|port| *port != NOTEBOOK_PORT) {
            notes.push(format!("port {NOTEBOOK_PORT} is taken, so on {port}"));
        }
        if outcome.variant.trials.is_some() {
            notes.extend(
                outcome
                    .verdicts
                    .last()
                    .map(|verdict| verdict.evidence.clone()),
            );
        }
        notes.extend(outcome.reorderings.iter().map(Reordering::sentence));
        notes
    }

    /// Shows what failed, the lines around it, and how to see it again.
    fn explain(&self, outcome: &CellOutcome) {
        for verdict in outcome.verdicts.iter().filter(|verdict| !verdict.held) {
            self.say(&format!(
                "     {} {}",
                self.paint("31", "not so:"),
                verdict.sentence
            ));
            self.say(&format!("             {}", verdict.evidence));
            self.surroundings(outcome, verdict);
        }
        let bin = outcome.cell.program(outcome.variant);
        let source = source_path(outcome.cell, bin);
        self.say(&format!("     source  {source}"));
    }

    fn surroundings(&self, outcome: &CellOutcome, verdict: &Verdict) {
        let Some(run) = outcome.runs.get(verdict.run - 1) else {
            return;
        };
        let Some(line) = verdict.line else { return };
        for (at, printed) in run.printout.printed.iter().enumerate() {
            let number = at + 1;
            if number.abs_diff(line) <= 2 {
                let mark = if number == line { ">" } else { " " };
                let time = printed.at.unwrap_or_default().as_secs_f64();
                self.say(&format!(
                    "     {mark} {number:3}  +{time:.3}s  {}",
                    printed.text
                ));
            }
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.live {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}
