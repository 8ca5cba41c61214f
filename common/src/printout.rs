//! What was printed, read once: every verdict and every view takes it from here.

use crate::notebook::Variant;
use crate::speakers::{Speaker, Speakers};
use crate::transcript::{Event, Printed, Transcript, recorded_lines};

/// The lines of a run or of a recording, with their names, their values and their speakers.
#[derive(Clone, Debug)]
pub struct Printout {
    /// The lines as they arrived.
    pub printed: Vec<Printed>,
    /// The lines as the table names them.
    pub lines: Transcript,
    /// Who takes part.
    pub speakers: Speakers,
    /// For each line, the place of the one who said it among the speakers.
    said_by: Vec<Option<usize>>,
}

impl Printout {
    /// Reads what was printed against the lines that the variant may print.
    pub fn read(variant: &Variant, printed: Vec<Printed>) -> Printout {
        let lines = Transcript::read(variant, &printed);
        let speakers = Speakers::of(variant, &lines);
        let mut said_by = vec![None; printed.len()];
        for event in &lines.events {
            said_by[event.line - 1] = speakers.speaker(&lines, event);
        }
        Printout {
            printed,
            lines,
            speakers,
            said_by,
        }
    }

    /// What the notebook printed for this variant; none where it printed nothing.
    pub fn recorded(variant: &Variant) -> Option<Printout> {
        let printed = recorded_lines(variant.recorded, variant.recorded_error);
        (!printed.is_empty()).then(|| Printout::read(variant, printed))
    }

    /// The line of this number, from 1; none for one that the cell may not print.
    pub fn event(&self, line: usize) -> Option<&Event> {
        self.lines.events.iter().find(|event| event.line == line)
    }

    /// The place among the speakers of the one who said the line of this number, from 1.
    pub fn speaker(&self, line: usize) -> Option<usize> {
        *self.said_by.get(line.checked_sub(1)?)?
    }

    /// The line cut at its fields, each piece with the speaker whose number or name it is.
    pub fn pieces(&self, line: usize) -> Vec<(Option<usize>, String)> {
        let Some(event) = self.event(line) else {
            return vec![(None, self.printed[line - 1].text.clone())];
        };
        let piece = |(field, text): (Option<&'static str>, &str)| {
            let who = field.and_then(|field| self.speakers.named_in(event, field));
            (who, text.to_string())
        };
        self.lines.pieces(event).into_iter().map(piece).collect()
    }

    /// What the line of this number, from 1, says in Chinese, if it is one of prose.
    pub fn in_chinese(&self, variant: &Variant, line: usize) -> Option<String> {
        let event = self.event(line)?;
        let mut lines = variant.in_chinese.iter();
        let (_, text) = lines.find(|(name, _)| *name == event.name)?;
        let fill = |text: String, (field, value): &(&str, String)| {
            text.replace(&format!("{{{field}}}"), value)
        };
        let values = event.captures.iter();
        Some(values.fold((*text).to_string(), fill))
    }

    /// The line with what `stands` for each process where its number stood.
    pub fn masked(&self, line: usize, stands: impl Fn(&Speaker) -> String) -> String {
        let piece = |(who, text): (Option<usize>, String)| {
            who.map_or(text, |who| stands(&self.speakers.all[who]))
        };
        self.pieces(line).into_iter().map(piece).collect()
    }

    /// When the first line of this name arrived, in seconds.
    pub fn first(&self, name: &str) -> Option<f64> {
        self.lines.named(name).next().map(Event::seconds)
    }
}
