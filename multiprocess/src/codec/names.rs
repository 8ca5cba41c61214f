//! Names of fields and variants, which a message spells once and then numbers.

use super::tag;

/// The names that a message has spelled so far.
///
/// Names are told apart by their addresses: a name that lies at two addresses is spelled twice.
#[derive(Default)]
pub(super) struct Names {
    known: Vec<&'static str>,
    /// Fields come in the same order each time, so the next one is guessed.
    next: usize,
}

pub(super) enum Name {
    Known(u8),
    First,
    Unnumbered,
}

impl Names {
    pub(super) fn number(&mut self, name: &'static str) -> Name {
        let same = |known: &&'static str| std::ptr::eq(*known, name);
        let found = match self.known.get(self.next) {
            Some(next) if same(next) => Some(self.next),
            _ => self.known.iter().position(same),
        };
        if let Some(number) = found {
            self.next = number + 1;
            return Name::Known(number as u8);
        }
        if self.known.len() == tag::NAMES_MAX || u8::try_from(name.len()).is_err() {
            return Name::Unnumbered;
        }
        self.known.push(name);
        self.next = self.known.len();
        Name::First
    }
}
