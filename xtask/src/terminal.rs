//! What a reader sees while the notebook replays: live lines on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal, Write};

use common::notebook::{Cell, Variant};
use common::transcript::Printed;
use common::verdict::{CellOutcome, Verdict};

use crate::cell_run::source_path;
use crate::cli::Lang;
use crate::output::{self, say};
use crate::translations::padded;

pub(crate) struct Terminal {
    /// Whether lines may be overwritten and coloured.
    live: bool,
    quiet: bool,
    pub(crate) lang: Lang,
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
    pub(crate) fn new(quiet: bool, lang: Lang) -> Terminal {
        let reads_escapes = env::var_os("TERM")
            .is_some_and(|term| term != "dumb" && !term.is_empty())
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let is_terminal = io::stdout().is_terminal() && !output::is_only_document();
        Terminal {
            live: is_terminal && reads_escapes && !quiet,
            quiet,
            lang,
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

    pub(crate) fn begin(
        &mut self,
        cell: &'static Cell,
        variant: &'static Variant,
        place: (usize, usize),
    ) {
        if cell.chapter != self.chapter && !self.quiet {
            self.chapter = cell.chapter;
            let heading = self.lang.chapter_heading(cell.chapter);
            self.say(&self.paint("1", &format!("{}. {heading}", cell.chapter)));
        }
        if self.live {
            let (at, all) = place;
            let place = match self.lang {
                Lang::En => format!("({at} of {all})"),
                Lang::Zh => format!("（第 {at} 个，共 {all} 个）"),
            };
            let (label, variant) = (self.lang.label(cell), self.lang.variant(variant));
            self.overwrite(&format!(" ▶ {label} {} {variant}  {place}", cell.bin));
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
        let (held, lang) = (outcome.held(), self.lang);
        if self.quiet && held {
            return;
        }
        if outcome.interrupted() {
            let label = padded(&lang.label(outcome.cell), 8);
            let variant = lang.variant(outcome.variant);
            let line = format!(" – {label} {} {variant}", outcome.cell.bin);
            let interrupted = lang.pick(": interrupted", "：被打断");
            self.say(&format!("{}{interrupted}", line.trim_end()));
            return;
        }
        let mark = if held {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        };
        let name = format!("{} {}", outcome.cell.bin, lang.variant(outcome.variant));
        let failed = outcome
            .verdicts
            .iter()
            .filter(|verdict| !verdict.held)
            .count();
        let all = outcome.verdicts.len();
        let checks = match (failed, lang) {
            (0, Lang::En) => format!("{all:2} checks"),
            (0, Lang::Zh) => format!("{all:2} 项检查"),
            (_, Lang::En) => format!("{failed} of {all} checks failed"),
            (_, Lang::Zh) => format!("{all} 项检查中 {failed} 项未通过"),
        };
        let seconds = outcome.took.as_secs_f64();
        let notes = self.notes(outcome).join(lang.semicolon());
        let line = format!(
            " {mark} {} {} {seconds:6.2} {}  {checks}  {notes}",
            padded(&lang.label(outcome.cell), 8),
            padded(&name, 21),
            lang.pick("s", "秒")
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
            let stand_in = self.lang.pick(
                "stand-in for nslookup (--online runs the real one)",
                "nslookup 由替身代演（--online 会运行真的）",
            );
            notes.push(stand_in.to_string());
        }
        if outcome.variant.trials.is_some() {
            let last = outcome.verdicts.last();
            notes.extend(last.map(|verdict| self.lang.evidence(verdict).to_string()));
        }
        let reorderings = outcome.reorderings.iter();
        notes.extend(reorderings.map(|reordering| self.lang.reordering(reordering)));
        notes
    }

    /// Shows what failed, the lines around it, and how to see it again.
    fn explain(&self, outcome: &CellOutcome) {
        for verdict in outcome.verdicts.iter().filter(|verdict| !verdict.held) {
            self.say(&format!(
                "     {} {}",
                self.paint("31", self.lang.pick("not so:", "不成立：")),
                self.lang.sentence(verdict)
            ));
            self.say(&format!("             {}", self.lang.evidence(verdict)));
            self.surroundings(outcome, verdict);
        }
        let bin = outcome.cell.program(outcome.variant);
        let source = source_path(outcome.cell, bin);
        self.say(&format!(
            "     {}  {source}",
            self.lang.pick("source", "源代码")
        ));
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
