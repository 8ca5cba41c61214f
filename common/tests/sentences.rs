//! What is said of a cell: it quotes lines as the reader sees them, in English and in Chinese.

use std::collections::BTreeSet;
use std::time::Duration;

use common::chinese::misset;
use common::notebook::{CELLS, Check, Line, Variant};
use common::observed::{Ended, Observed};
use common::transcript::{Printed, Transcript, recorded_lines};
use common::verdict::judge_recording;

fn variants() -> impl Iterator<Item = (&'static str, &'static Variant)> {
    let each = |cell: &'static common::notebook::Cell| {
        let named = |variant| (cell.bin, variant);
        cell.variants.iter().map(named)
    };
    CELLS.into_iter().flat_map(each)
}

fn lines(variant: &'static Variant) -> Vec<&'static Line> {
    let companion = variant
        .companion
        .iter()
        .flat_map(|companion| companion.prints);
    let all = variant.prints.iter().chain(variant.errors).chain(companion);
    all.collect()
}

/// The recording as it is, and with each of its lines left out, doubled, torn, or put to the end.
fn recordings(variant: &Variant) -> Vec<String> {
    let lines: Vec<&str> = variant.recorded.split_inclusive('\n').collect();
    let mut texts = vec![variant.recorded.to_string()];
    for at in 0..lines.len() {
        let (before, after) = (lines[..at].concat(), lines[at + 1..].concat());
        let line = lines[at];
        texts.push(format!("{before}{after}"));
        texts.push(format!("{before}{line}{line}{after}"));
        texts.push(format!("{before}{after}{line}"));
        texts.push(format!("{line}{before}{after}"));
        texts.push(format!("{before}stray {line}{after}"));
        texts.push(format!("{before}{after}{}", line.trim_end()));
    }
    texts
}

/// What the system may have shown of a run, at its worst.
fn observed() -> Observed {
    Observed {
        pid: 1,
        ended: Ended::Hung,
        companion: None,
        left: Vec::new(),
        port_free: Some(false),
        port: None,
        pace: 1.0,
        took: Duration::from_secs(9),
        stall: Duration::ZERO,
    }
}

/// All that can be said of a variant, in English and in Chinese: its checks, and what they find in
/// the recording and in spoilt ones.
fn said(variant: &Variant) -> BTreeSet<[String; 2]> {
    let mut said = BTreeSet::new();
    for check in variant.checks {
        said.insert([check.sentence(variant), check.sentence_zh(variant)]);
    }
    for text in recordings(variant) {
        for verdict in judge_recording(variant, &text, variant.recorded_error) {
            said.insert([verdict.sentence, verdict.sentence_zh]);
            said.insert([verdict.evidence, verdict.evidence_zh]);
        }
        let arrived = |(at, printed): (usize, Printed)| Printed {
            at: Some(Duration::from_millis(at as u64)),
            ..printed
        };
        let printed = recorded_lines(&text, variant.recorded_error).into_iter();
        let printed: Vec<Printed> = printed.enumerate().map(arrived).collect();
        let transcript = Transcript::read(variant, &printed);
        let judged = |check: &Check| check.judge(&transcript, Some(&observed()));
        for found in variant.checks.iter().filter_map(judged) {
            let evidence = found.unwrap_or_else(|(_, why)| why);
            said.insert([evidence.sentence(), evidence.sentence_zh()]);
        }
    }
    said
}

/// The pieces of a text outside its quotes, and those within.
fn quotes(text: &str) -> [Vec<&str>; 2] {
    let pieces = || text.split('`').enumerate();
    [0, 1].map(|odd| {
        let wanted = pieces().filter(|(at, _)| at % 2 == odd);
        wanted.map(|(_, piece)| piece).collect()
    })
}

#[test]
fn no_sentence_has_a_name_that_only_the_table_knows() {
    for (bin, variant) in variants() {
        let names: Vec<&str> = lines(variant).iter().map(|line| line.event).collect();
        for text in said(variant).iter().flatten() {
            let [plain, quoted] = quotes(text);
            let letters = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let words = plain.iter().flat_map(|piece| piece.split(letters));
            for word in words.chain(quoted) {
                let word = word.split('.').next().unwrap_or_default();
                assert!(!names.contains(&word), "{bin}: {word:?} in: {text}");
            }
        }
    }
}

#[test]
fn a_check_quotes_every_line_that_it_is_about() {
    for (bin, variant) in variants() {
        for check in variant.checks {
            // The table's names, as they stand in the check.
            let written = format!("{check:?}");
            let names: Vec<&str> = written.split('"').skip(1).step_by(2).collect();
            let about = |line: &&Line| {
                let event = |name: &&str| name.split('.').next() == Some(line.event);
                names.iter().any(event)
            };
            for text in [check.sentence(variant), check.sentence_zh(variant)] {
                let [_, quoted] = quotes(&text);
                for line in lines(variant).into_iter().filter(about) {
                    let quote = line.quote();
                    assert!(
                        quoted.contains(&quote.as_str()),
                        "{bin}: no {quote:?} in: {text}"
                    );
                }
                let is_value = |quote: &&&str| quote.starts_with('{') && quote.ends_with('}');
                for value in quoted.iter().filter(is_value) {
                    let holds = |line: &Line| line.quote().contains(value);
                    assert!(
                        lines(variant).into_iter().any(holds),
                        "{bin}: {value} in: {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn chinese_sentences_have_chinese_punctuation_and_single_blanks() {
    for (bin, variant) in variants() {
        for [english, chinese] in said(variant) {
            let wrong = misset(&chinese);
            assert_eq!(wrong, None, "{bin}: {chinese}");
            let [plain, _] = quotes(&chinese);
            let has_words = |text: &str| text.chars().any(|c| c.is_ascii_alphabetic());
            assert!(!has_words(&plain.concat()), "{bin}: {english}: {chinese}");
        }
    }
    for cell in CELLS {
        for text in [cell.idea_zh, cell.teaches_zh, cell.hint_zh, cell.python_zh] {
            assert_eq!(misset(text), None, "{}: {text}", cell.bin);
        }
    }
    for (bin, variant) in variants() {
        for (name, text) in variant.in_chinese {
            assert_eq!(misset(text), None, "{bin}: {text}");
            let line = lines(variant).into_iter().find(|line| line.event == *name);
            let quote = line.map(Line::quote).unwrap_or_default();
            let fields = text.split(['{', '}']).skip(1).step_by(2);
            for field in fields.map(|field| format!("{{{field}}}")) {
                assert!(quote.contains(&field), "{bin}: {field} in: {text}");
            }
        }
    }
}
