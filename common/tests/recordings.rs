//! The table of the cells against what the notebook printed, and against itself.

use std::collections::BTreeSet;

use common::notebook::{CELLS, Cell, Line, Variant};
use common::pattern::Pattern;
use common::transcript::line_and_field;
use common::verdict::judge_recording;

fn variants() -> impl Iterator<Item = (&'static Cell, &'static Variant)> {
    let each = |cell: &'static Cell| cell.variants.iter().map(move |variant| (cell, variant));
    CELLS.into_iter().flat_map(each)
}

/// The lines of a variant, one list for each place they may come from.
fn sources(variant: &'static Variant) -> impl Iterator<Item = &'static [Line]> {
    let companion = variant.companion.iter().map(|companion| companion.prints);
    [variant.prints, variant.errors]
        .into_iter()
        .chain(companion)
}

#[test]
fn every_recording_passes() {
    let mut passed = 0;
    for (cell, variant) in variants().filter(|(_, variant)| !variant.recorded.is_empty()) {
        for verdict in judge_recording(variant, variant.recorded, variant.recorded_error) {
            let (bin, sentence) = (cell.bin, &verdict.sentence);
            assert!(verdict.held, "{bin}: {sentence}: {}", verdict.evidence);
        }
        passed += 1;
    }
    // All but chapter 4, which is a heading, have one.
    assert_eq!(passed, CELLS.len() - 1);
}

/// The line with each of its fields filled: with the plainest value of its kind, or the oddest.
fn filled(text: &str, odd: bool) -> String {
    let mut pieces = text.split('{');
    let mut line = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (field, literal) = piece.split_once('}').expect("a field ends with }");
        line += match (field.split_once(':').expect("a field has a kind").1, odd) {
            ("pid", false) => "28361",
            ("pid", true) => "1",
            ("int", false) => "5",
            ("int", true) => "-26437",
            ("secs", false) => "0.91",
            ("secs", true) => "120.00",
            ("word", false) => "test",
            ("word", true) => "0.91",
            (_, false) => "the rest",
            (_, true) => "",
        };
        line += literal;
    }
    line
}

#[test]
fn every_line_of_a_variant_is_told_from_all_others() {
    for (cell, variant) in variants() {
        for lines in sources(variant) {
            for (line, odd) in lines.iter().flat_map(|line| [(line, false), (line, true)]) {
                let text = filled(line.text, odd);
                let fits = |line: &&Line| Pattern::new(line.text).captures(&text).is_some();
                let fitting: Vec<&str> = lines.iter().filter(fits).map(|line| line.event).collect();
                assert_eq!(fitting, [line.event], "{}: {text:?}", cell.bin);
            }
        }
    }
}

#[test]
fn every_name_in_a_variant_is_the_name_of_one_line() {
    for (cell, variant) in variants() {
        let lines: Vec<&Line> = sources(variant).flatten().collect();
        let names: BTreeSet<&str> = lines.iter().map(|line| line.event).collect();
        assert_eq!(names.len(), lines.len(), "{}: a name twice", cell.bin);

        let mut used: Vec<&str> = variant
            .free
            .iter()
            .flat_map(|(a, b)| [*a, *b])
            .chain(variant.companion.iter().map(|companion| companion.after))
            .collect();
        used.extend(
            variant
                .spans
                .iter()
                .flat_map(|span| [span.open, span.close]),
        );
        let outcome = variant.trials.iter().map(|trials| trials.outcome);
        let arrows = variant.arrows.iter().flat_map(|(from, to)| [*from, *to]);
        for (line, field) in outcome.chain(arrows).map(line_and_field) {
            let known = lines.iter().find(|known| known.event == line);
            let has_field = |line: &&Line| line.text.contains(&format!("{{{field}:"));
            assert!(known.is_some_and(has_field), "{}: {line}.{field}", cell.bin);
        }
        for name in used {
            assert!(names.contains(name), "{}: no line {name}", cell.bin);
        }
    }
}
