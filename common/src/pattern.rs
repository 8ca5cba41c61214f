//! A line that a cell may print, with typed fields for what changes from run to run.

/// What may stand in a field of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A process's number: a positive integer without a leading zero.
    Pid,
    /// An integer, negative ones included.
    Int,
    /// A decimal number with two digits behind the point, as `%0.2f` prints it.
    Secs,
    /// One word: no white space in it, and not empty.
    Word,
    /// The rest of the line, whatever it is.
    Line,
}

/// A pattern, written as the line itself with fields `{name:kind}`.
#[derive(Clone, Debug)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(&'static str),
    Field(&'static str, FieldKind),
}

/// What stood in the fields, by name, in the order of the pattern.
pub type Captures = Vec<(&'static str, String)>;

impl Pattern {
    /// Reads a pattern such as `Run task {i:int} ({w:pid})...`.
    ///
    /// # Panics
    ///
    /// Panics on a field without an end, without a kind or of an unknown one: the patterns are
    /// part of the program.
    pub fn new(text: &'static str) -> Pattern {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, field)) = rest.split_once('{') {
            let (field, after) = field.split_once('}').expect("a field ends with }");
            let (name, kind) = field.split_once(':').expect("a field is {name:kind}");
            let kind = match kind {
                "pid" => FieldKind::Pid,
                "int" => FieldKind::Int,
                "secs" => FieldKind::Secs,
                "word" => FieldKind::Word,
                "line" => FieldKind::Line,
                _ => panic!("a field's kind is pid, int, secs, word or line, not {kind}"),
            };
            pieces.extend((!literal.is_empty()).then_some(Piece::Literal(literal)));
            pieces.push(Piece::Field(name, kind));
            rest = after;
        }
        pieces.extend((!rest.is_empty()).then_some(Piece::Literal(rest)));
        Pattern { pieces }
    }

    /// What the fields hold if the whole line fits the pattern.
    ///
    /// # Examples
    ///
    /// ```
    /// use common::pattern::Pattern;
    ///
    /// let pattern = Pattern::new("Run task {i:int} ({w:pid})...");
    /// let captures = pattern.captures("Run task 2 (28593)...").unwrap();
    /// assert_eq!(captures, [("i", "2".to_string()), ("w", "28593".to_string())]);
    /// assert!(pattern.captures("Run task 2 (28593)...Run").is_none());
    /// ```
    pub fn captures(&self, line: &str) -> Option<Captures> {
        let mut captures = Captures::new();
        let mut rest = line;
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal)?,
                Piece::Field(name, kind) => {
                    let end = match self.pieces.get(at + 1) {
                        Some(Piece::Literal(next)) => rest.find(next)?,
                        _ => rest.len(),
                    };
                    let (value, after) = rest.split_at(end);
                    kind.accepts(value).then_some(())?;
                    captures.push((name, value.to_string()));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(captures)
    }

    /// The line that these captures are from, cut at its fields: each piece with its field's name.
    ///
    /// # Examples
    ///
    /// ```
    /// use common::pattern::Pattern;
    ///
    /// let pattern = Pattern::new("Parent process {p:pid}.");
    /// let captures = pattern.captures("Parent process 28361.").unwrap();
    /// let pieces = pattern.pieces(&captures);
    /// assert_eq!(pieces, [(None, "Parent process "), (Some("p"), "28361"), (None, ".")]);
    /// ```
    pub fn pieces<'a>(&'a self, captures: &'a Captures) -> Vec<(Option<&'static str>, &'a str)> {
        let mut values = captures.iter();
        let piece = |piece: &'a Piece| match piece {
            Piece::Literal(literal) => (None, *literal),
            Piece::Field(name, _) => (
                Some(*name),
                values.next().map_or("", |(_, value)| value.as_str()),
            ),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The pattern for a reader: the line with the names of the fields, without their kinds.
    pub fn sketch(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(literal) => (*literal).to_string(),
            Piece::Field(name, _) => format!("{{{name}}}"),
        };
        self.pieces.iter().map(piece).collect()
    }
}

impl FieldKind {
    fn accepts(self, value: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match self {
            FieldKind::Pid => digits(value) && !value.starts_with('0') && value.len() <= 7,
            FieldKind::Int => {
                let number = value.strip_prefix('-').unwrap_or(value);
                digits(number) && (number == "0" || !number.starts_with('0'))
            }
            FieldKind::Secs => value
                .split_once('.')
                .is_some_and(|(whole, part)| digits(whole) && digits(part) && part.len() == 2),
            FieldKind::Word => !value.is_empty() && !value.contains(char::is_whitespace),
            FieldKind::Line => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fits(pattern: &'static str, line: &str, fits: bool) {
        let captures = Pattern::new(pattern).captures(line);
        assert_eq!(
            captures.is_some(),
            fits,
            "{pattern} on {line:?}: {captures:?}"
        );
    }

    #[test]
    fn a_field_takes_only_what_its_kind_allows() {
        fits("p {p:pid}.", "p 28361.", true);
        fits("p {p:pid}.", "p 028361.", false);
        fits("p {p:pid}.", "p -1.", false);
        fits("{n:int}", "-26437", true);
        fits("{n:int}", "", false);
        fits("{n:int}", "00", false);
        fits("runs {s:secs} seconds.", "runs 0.91 seconds.", true);
        fits("runs {s:secs} seconds.", "runs 0.9 seconds.", false);
        fits(
            "Hello, {s:word} (in {t:word})",
            "Hello, Bob (in Thread-B)",
            true,
        );
        fits(
            "Hello, {s:word} (in {t:word})",
            "Hello, B b (in Thread-B)",
            false,
        );
        fits("Empty: {why:line}", "Empty: ", true);
    }

    #[test]
    fn a_line_fits_only_as_a_whole() {
        fits("Child process end.", "Child process end", false);
        fits(
            "Child process end.",
            "Child process end.Child process end.",
            false,
        );
        fits("Put {v:word} to queue...", "Put A to queue...Get", false);
        fits("", "", true);
        fits("", " ", false);
    }
}
