//! What a cell printed, read against the lines that it may print.

use std::time::Duration;

use crate::evidence::Evidence;
use crate::notebook::{Line, Variant};
use crate::pattern::{Captures, Pattern};

/// Where a line came from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The cell's standard output.
    Out,
    /// The cell's standard error.
    Err,
    /// Standard output of the cell's companion.
    Companion,
}

/// One line as it arrived.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Where it came from.
    pub source: Source,
    /// When it arrived, after the start of the cell. A recorded line has no time.
    pub at: Option<Duration>,
    /// The line, without its end.
    pub text: String,
    /// It ended with a line break. A line that did not is torn.
    pub whole: bool,
}

/// A line that fitted one of the lines that the cell may print.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place among all lines, from 1.
    pub line: usize,
    /// Where it came from. Between two sources the order of arrival is only nearly that of print.
    pub source: Source,
    /// When it arrived.
    pub at: Option<Duration>,
    /// The name of the line in the table.
    pub name: &'static str,
    /// What stood in the fields.
    pub captures: Captures,
}

impl Event {
    /// What stood in the field of this name; empty for a field that the line does not have.
    pub fn value(&self, field: &str) -> &str {
        let found = self.captures.iter().find(|(name, _)| *name == field);
        found.map_or("", |(_, value)| value)
    }

    /// When it arrived, in seconds; 0 for a recorded line, which has no time.
    pub fn seconds(&self) -> f64 {
        self.at.unwrap_or_default().as_secs_f64()
    }
}

/// A line that the cell may not print.
#[derive(Clone, Debug)]
pub struct Misfit {
    /// Its place among all lines, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: Evidence,
}

/// The lines of one run, named.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The lines that fitted, in order of arrival.
    pub events: Vec<Event>,
    /// The lines that did not.
    pub misfits: Vec<Misfit>,
    /// The lines that the variant may print, with their sources and their patterns.
    lines: Vec<(Source, &'static Line, Pattern)>,
}

impl Transcript {
    /// Names each printed line by the one line of the variant that it fits.
    pub fn read(variant: &Variant, printed: &[Printed]) -> Transcript {
        let companion = variant.companion.as_ref();
        let sources = [
            (Source::Out, variant.prints),
            (Source::Err, variant.errors),
            (Source::Companion, companion.map_or(&[][..], |it| it.prints)),
        ];
        let known = |(source, lines): (Source, &'static [Line])| {
            let line = move |line: &'static Line| (source, line, Pattern::new(line.text));
            lines.iter().map(line)
        };
        let mut transcript = Transcript {
            events: Vec::new(),
            misfits: Vec::new(),
            lines: sources.into_iter().flat_map(known).collect(),
        };
        for (at, printed) in printed.iter().enumerate() {
            transcript.name(at + 1, printed);
        }
        transcript
    }

    fn name(&mut self, number: usize, printed: &Printed) {
        let mut fits = Vec::new();
        for (source, line, pattern) in &self.lines {
            if *source == printed.source
                && let Some(captures) = pattern.captures(&printed.text)
            {
                fits.push((*line, captures));
            }
        }
        let text = printed.text.clone();
        let why = match fits.len() {
            _ if !printed.whole => Evidence::Torn(text),
            0 if printed.source == Source::Err => Evidence::OnStandardError(text),
            0 => Evidence::Stray(text),
            1 => {
                let (line, captures) = fits.remove(0);
                self.events.push(Event {
                    line: number,
                    source: printed.source,
                    at: printed.at,
                    name: line.event,
                    captures,
                });
                return;
            }
            _ => {
                let lines = fits.iter().map(|(line, _)| line.quote());
                Evidence::Ambiguous(text, lines.collect())
            }
        };
        self.misfits.push(Misfit { line: number, why });
    }

    /// The lines of this name, in order of arrival; `*` names all lines.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events
            .iter()
            .filter(move |event| name == "*" || event.name == name)
    }

    /// The first line `then` with the same value in the field `on` as this one.
    pub fn partner(&self, event: &Event, then: &str, on: &str) -> Option<&Event> {
        let alike = |other: &&Event| other.name == then && other.value(on) == event.value(on);
        self.events.iter().find(alike)
    }

    /// What stood in a field, written `line.field`, line by line.
    ///
    /// # Panics
    ///
    /// Panics when the name has no dot: the names are part of the program.
    pub fn values<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        let (line, field) = line_and_field(field);
        self.named(line).map(move |event| event.value(field))
    }

    /// The lines that the variant may print.
    pub fn lines(&self) -> impl Iterator<Item = &'static Line> {
        self.lines.iter().map(|(_, line, _)| *line)
    }

    /// The line of this name as a sentence quotes it; `…` for `*`, which is every line.
    pub fn quote(&self, name: &str) -> String {
        let line = self.lines().find(|line| line.event == name);
        line.map_or("…".to_string(), Line::quote)
    }

    /// The line as it was printed.
    pub fn text(&self, event: &Event) -> String {
        self.pieces(event)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    /// The line cut at its fields, each piece with the name of its field.
    pub fn pieces<'a>(&'a self, event: &'a Event) -> Vec<(Option<&'static str>, &'a str)> {
        let mut known = self.lines.iter();
        let (.., pattern) = known
            .find(|(_, line, _)| line.event == event.name)
            .expect("the event was named by one of these lines");
        pattern.pieces(&event.captures)
    }
}

/// The two halves of a field's full name, `line.field`.
///
/// # Panics
///
/// Panics when the name has no dot: the names are part of the program.
pub fn line_and_field(name: &str) -> (&str, &str) {
    name.split_once('.').expect("a field is named line.field")
}

/// The lines of a recording: the text that was printed, then the text of the error.
pub fn recorded_lines(out: &str, error: &str) -> Vec<Printed> {
    let lines = |source, text: &str| -> Vec<Printed> {
        let line = |line: &str| Printed {
            source,
            at: None,
            whole: line.ends_with('\n'),
            text: line.trim_end_matches('\n').to_string(),
        };
        text.split_inclusive('\n').map(line).collect()
    };
    [lines(Source::Out, out), lines(Source::Err, error)].concat()
}
