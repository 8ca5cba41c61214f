//! JUnit for CI servers and Markdown for their summaries, from templates.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::cli::Lang;
use crate::part::{Part, source};
use crate::record::Record;

/// What both templates say of a part of the run.
#[derive(Serialize)]
struct Case {
    label: String,
    slug: String,
    package: &'static str,
    bin: &'static str,
    idea: &'static str,
    teaches: &'static str,
    source: String,
    seconds: f64,
    held: bool,
    stand_in: bool,
    lines: Vec<String>,
    recorded: Vec<String>,
    verdicts: Vec<Found>,
    free: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    held: bool,
    sentence: String,
    evidence: String,
    place: String,
}

fn cases(parts: &[Part], lang: Lang) -> anyhow::Result<Vec<Case>> {
    let case = |part: &Part| {
        let bin = part.cell.program(part.variant);
        let verdicts = part.record.verdicts.iter().map(|verdict| Found {
            held: verdict.held,
            sentence: lang.sentence(verdict).to_string(),
            evidence: printable(&verdict.evidence),
            place: part.place(verdict),
        });
        let recorded = part.recorded.iter().flat_map(|side| &side.printed);
        Ok(Case {
            label: part.label(),
            slug: part.slug(),
            package: part.cell.package,
            bin,
            idea: lang.idea(part.cell),
            teaches: lang.teaches(part.cell),
            source: source(part.cell, bin)?.trim_end().to_string(),
            seconds: part.record.seconds,
            held: part.record.held,
            stand_in: part.record.stand_in,
            lines: part
                .now
                .printed
                .iter()
                .map(|line| printable(&line.text))
                .collect(),
            recorded: recorded.map(|line| line.text.clone()).collect(),
            verdicts: verdicts.collect(),
            free: part
                .record
                .freedoms
                .iter()
                .map(|freedom| lang.freedom(freedom))
                .collect(),
        })
    };
    parts.iter().map(case).collect()
}

/// The text without what XML cannot hold at all, not even escaped.
fn printable(text: &str) -> String {
    let allowed = |c: &char| !c.is_control() || *c == '\t';
    text.chars()
        .filter(allowed)
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect()
}

fn render(
    name: &'static str,
    text: &'static str,
    run: &Record,
    parts: &[Part],
    lang: Lang,
) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| match name.ends_with(".xml") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    environment.add_template(name, text)?;
    let template = environment.get_template(name)?;
    let cases = Serde(cases(parts, lang)?);
    let text = template.render(context! { run => Serde(run), cases, w => lang.words() })?;
    Ok(text + "\n")
}

/// One suite, with a case for each part of the run.
pub(super) fn junit(run: &Record, parts: &[Part], lang: Lang) -> anyhow::Result<String> {
    render("junit.xml", include_str!("junit.xml"), run, parts, lang)
}

/// A page for wherever Markdown is shown.
pub(super) fn markdown(run: &Record, parts: &[Part], lang: Lang) -> anyhow::Result<String> {
    render("page.md", include_str!("page.md"), run, parts, lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_left_out() {
        assert_eq!(printable("a\u{1b}[31mb\u{0}\tc\u{ffff}"), "a[31mb\tc");
    }
}
