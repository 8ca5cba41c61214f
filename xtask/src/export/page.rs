//! JUnit for CI servers and Markdown for their summaries, from templates.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::cell_run::{CellRun, Total, source};
use crate::cli::Lang;
use crate::python_notebook::PythonNotebook;
use crate::record::ReplayRecord;

/// What both templates say of a cell run.
#[derive(Serialize)]
struct PageCase {
    label: String,
    slug: String,
    package: &'static str,
    bin: &'static str,
    idea: &'static str,
    teaches: &'static str,
    /// The notebook's own cell, in Markdown.
    original: Option<String>,
    source: String,
    seconds: f64,
    held: bool,
    stand_in: bool,
    /// When its replay began, if that is not the last one.
    from: Option<String>,
    lines: Vec<String>,
    recorded: Vec<String>,
    verdicts: Vec<PageVerdict>,
    free: Vec<String>,
}

#[derive(Serialize)]
struct PageVerdict {
    held: bool,
    sentence: String,
    evidence: String,
    place: String,
}

fn cases(
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<Vec<PageCase>> {
    let case = |cell_run: &CellRun| {
        let bin = cell_run.cell.program(cell_run.variant);
        let verdicts = cell_run.record.verdicts.iter().map(|verdict| PageVerdict {
            held: verdict.held,
            sentence: lang.sentence(verdict).to_string(),
            evidence: printable(lang.evidence(verdict)),
            place: cell_run.place(verdict),
        });
        let recorded = cell_run
            .recorded
            .iter()
            .flat_map(|printout| &printout.printed);
        Ok(PageCase {
            label: cell_run.label(lang),
            slug: cell_run.slug(),
            package: cell_run.cell.package,
            bin,
            idea: lang.idea(cell_run.cell),
            teaches: lang.teaches(cell_run.cell),
            original: python
                .filter(|_| cell_run.is_first_variant())
                .and_then(|python| python.in_markdown(cell_run.cell, lang)),
            source: source(cell_run.cell, bin)?.trim_end().to_string(),
            seconds: cell_run.record.seconds,
            held: cell_run.record.held,
            stand_in: cell_run.record.stand_in,
            from: cell_run.earlier(cell_runs).map(str::to_string),
            lines: cell_run
                .now
                .printed
                .iter()
                .map(|line| printable(&line.text))
                .collect(),
            recorded: recorded.map(|line| line.text.clone()).collect(),
            verdicts: verdicts.collect(),
            free: cell_run
                .record
                .reorderings
                .iter()
                .map(|reordering| lang.reordering(reordering))
                .collect(),
        })
    };
    cell_runs.iter().map(case).collect()
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
    replays: &[ReplayRecord],
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| match name.ends_with(".xml") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    environment.add_template(name, text)?;
    let template = environment.get_template(name)?;
    let cases = Serde(cases(cell_runs, python, lang)?);
    let text = template.render(context! { run => Serde(&replays[0]), total => Serde(Total::new(replays, cell_runs)), cases, w => lang.translations() })?;
    Ok(text + "\n")
}

/// One suite, with a case for each cell run.
pub(super) fn junit(
    replays: &[ReplayRecord],
    cell_runs: &[CellRun],
    lang: Lang,
) -> anyhow::Result<String> {
    render(
        "junit.xml",
        include_str!("junit.xml"),
        replays,
        cell_runs,
        None,
        lang,
    )
}

/// A page for wherever Markdown is shown.
pub(super) fn markdown(
    replays: &[ReplayRecord],
    cell_runs: &[CellRun],
    python: Option<&PythonNotebook>,
    lang: Lang,
) -> anyhow::Result<String> {
    let template = include_str!("page.md");
    render("page.md", template, replays, cell_runs, python, lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_left_out() {
        assert_eq!(printable("a\u{1b}[31mb\u{0}\tc\u{ffff}"), "a[31mb\tc");
    }
}
