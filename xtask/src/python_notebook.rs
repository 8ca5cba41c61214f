//! The Python of the notebook, from a file that the user has: `--notebook FILE`.
//!
//! No word of it is in this repository. It is read when a view is to show it, beside the program that
//! was made of it.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use common::notebook::{CELLS, Cell};
use common::pattern::Pattern;
use serde::Deserialize;

use crate::cli::Lang;

/// The code cells of a notebook in Python.
pub(crate) struct PythonNotebook {
    /// The name of the file, without its folder.
    name: String,
    cells: Vec<PythonCell>,
}

/// One code cell that is not empty.
#[derive(Debug, PartialEq)]
struct PythonCell {
    /// Its execution number; none if it was not run.
    number: Option<u64>,
    text: String,
}

/// Why there is no Python to show: wrong usage, with a sentence.
#[derive(Debug)]
pub(crate) struct NoPython(pub(crate) String);

impl fmt::Display for NoPython {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PythonNotebook {
    /// Reads the file, if one was named: an `.ipynb`, or a text in which `In [7]:` stands before a cell.
    ///
    /// # Errors
    ///
    /// `NoPython`, when it cannot be read, is no notebook in Python, or has none of the cells that
    /// are to be shown.
    pub(crate) fn open(
        file: Option<&Path>,
        shown: &[&'static Cell],
        lang: Lang,
    ) -> anyhow::Result<Option<PythonNotebook>> {
        let Some(file) = file else { return Ok(None) };
        let name = file.display();
        let attempt = || NoPython(format!("read the notebook {name}"));
        let bytes = fs::read(file).with_context(attempt)?;
        let none = || match lang {
            Lang::En => NoPython(format!(
                "{name} is no notebook in Python (an .ipynb file, or a text in which In [1]: and the \
                 like stand before the cells)"
            )),
            Lang::Zh => NoPython(format!(
                "{name} 不是 Python 笔记（.ipynb 文件，或各单元格前标有 In [1]: 的文本）"
            )),
        };
        let text = String::from_utf8(bytes).with_context(none)?;
        let text = text.trim_start_matches('\u{feff}');
        let mut cells = match text.trim_start().starts_with('{') {
            true => cells_of_ipynb(text).with_context(none)?,
            false => cells_of_text(text),
        };
        cells.retain(|cell| !cell.text.is_empty());
        if cells.is_empty() {
            return Err(anyhow!(none()));
        }
        let notebook = PythonNotebook {
            name: file.file_name().map_or_else(
                || name.to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            cells,
        };
        let mut numbered = shown.iter().filter(|cell| cell.number.is_some()).peekable();
        if let Some(first) = numbered.peek().copied()
            && !numbered.any(|cell| notebook.source(cell).is_some())
        {
            return Err(anyhow!(NoPython(notebook.lacks(first, lang))));
        }
        Ok(Some(notebook))
    }

    /// The Python of a cell; none if the file lacks it, or the cell is not from the notebook.
    ///
    /// A cell goes by its number. A notebook that was run again, or whose numbers were cleared, has
    /// others: then the cells go by their order, if there are as many.
    pub(crate) fn source(&self, cell: &Cell) -> Option<&str> {
        let numbers = || CELLS.iter().filter_map(|cell| cell.number.map(u64::from));
        let wanted = cell.number.map(u64::from)?;
        let with = |wanted: u64| self.cells.iter().find(|cell| cell.number == Some(wanted));
        let by_order =
            self.cells.len() == numbers().count() && numbers().any(|number| with(number).is_none());
        let found = match by_order {
            true => self
                .cells
                .get(numbers().position(|number| number == wanted)?),
            false => with(wanted),
        };
        found.map(|cell| cell.text.as_str())
    }

    /// Where the Python of a cell is: `notebook.ipynb, In [7]`.
    pub(crate) fn place(&self, cell: &Cell, lang: Lang) -> String {
        format!("{}{}{}", self.name, lang.comma(), cell.label())
    }

    /// The Python of a cell with its place, or that the file lacks it; none where the notebook has no
    /// cell.
    pub(crate) fn in_markdown(&self, cell: &Cell, lang: Lang) -> Option<String> {
        cell.number?;
        let Some(source) = self.source(cell) else {
            return Some(self.lacks(cell, lang));
        };
        // A fence is longer than all that the source has of its kind.
        let mut fence = "```".to_string();
        while source.contains(&fence) {
            fence.push('`');
        }
        let place = self.place(cell, lang);
        let colon = lang.colon().trim_end();
        Some(format!(
            "{place}{colon}\n\n{fence}python\n{source}\n{fence}"
        ))
    }

    /// That the file lacks a cell.
    pub(crate) fn lacks(&self, cell: &Cell, lang: Lang) -> String {
        let numbers = self.cells.iter().filter_map(|cell| cell.number);
        let numbers: Vec<String> = numbers.map(|number| format!("In [{number}]")).collect();
        let (name, label) = (&self.name, cell.label());
        match (lang, numbers.is_empty()) {
            (Lang::En, true) => format!("{name} has no {label}: its cells have no numbers"),
            (Lang::En, false) => format!("{name} has no {label}, but {}", numbers.join(", ")),
            (Lang::Zh, true) => format!("{name} 里没有 {label}：各单元格没有编号"),
            (Lang::Zh, false) => format!("{name} 里没有 {label}，只有 {}", numbers.join("、")),
        }
    }
}

/// What of an `.ipynb` of nbformat 4 is of interest.
#[derive(Deserialize)]
struct Ipynb {
    cells: Vec<IpynbCell>,
    #[serde(default)]
    metadata: IpynbMetadata,
}

#[derive(Deserialize, Default)]
struct IpynbMetadata {
    language_info: Option<IpynbLanguage>,
}

#[derive(Deserialize)]
struct IpynbLanguage {
    name: String,
}

#[derive(Deserialize)]
struct IpynbCell {
    cell_type: String,
    execution_count: Option<u64>,
    source: IpynbText,
}

/// A text is one string, or one for each line.
#[derive(Deserialize)]
#[serde(untagged)]
enum IpynbText {
    Whole(String),
    Lines(Vec<String>),
}

fn cells_of_ipynb(text: &str) -> anyhow::Result<Vec<PythonCell>> {
    let notebook: Ipynb = serde_json::from_str(text)?;
    if let Some(IpynbLanguage { name }) = notebook.metadata.language_info
        && name != "python"
    {
        return Err(anyhow!("its language is {name}"));
    }
    let code = notebook.cells.into_iter();
    let code = code.filter(|cell| cell.cell_type == "code");
    let cell = |cell: IpynbCell| PythonCell {
        number: cell.execution_count,
        text: tidied(&match cell.source {
            IpynbText::Whole(text) => text,
            IpynbText::Lines(lines) => lines.concat(),
        }),
    };
    Ok(code.map(cell).collect())
}

/// The cells of a text. A cell ends where its output begins: at `Out [7]:`, or at the first line
/// that the table lets the cell print.
fn cells_of_text(text: &str) -> Vec<PythonCell> {
    let mut cells: Vec<PythonCell> = Vec::new();
    let mut is_code = false;
    // A script as nbconvert writes it has the marks, and the notebook's prose, in comments.
    let mut is_script = false;
    for line in text.lines() {
        if let Some((number, code)) = marked(line, "In") {
            (is_code, is_script) = (true, line.starts_with('#'));
            let text = code.to_string();
            cells.push(PythonCell { number, text });
        } else if marked(line, "Out").is_some() {
            is_code = false;
        } else if let Some(cell) = cells.last_mut().filter(|_| is_code) {
            is_code = !is_printed(line);
            if is_code {
                cell.text = format!("{}\n{line}", cell.text);
            }
        }
    }
    for cell in &mut cells {
        cell.text = tidied(&cell.text);
        while is_script && let Some((code, last)) = cell.text.rsplit_once("\n\n") {
            if last.lines().any(|line| !line.starts_with('#')) {
                break;
            }
            cell.text = code.trim_end().to_string();
        }
    }
    cells
}

/// The number in a mark such as `In [7]:`, and what follows the mark.
fn marked<'a>(line: &'a str, word: &str) -> Option<(Option<u64>, &'a str)> {
    let line = line.trim_start_matches('#').trim_start();
    let bracket = line.strip_prefix(word)?.trim_start().strip_prefix('[')?;
    let (number, rest) = bracket.split_once("]:")?;
    match number.trim_matches([' ', '*']) {
        "" => Some((None, rest.trim())),
        number => Some((Some(number.parse().ok()?), rest.trim())),
    }
}

/// Whether the table lets some cell print the line. Which, is not asked: after another run the cells
/// have other numbers.
fn is_printed(line: &str) -> bool {
    let variants = CELLS.iter().flat_map(|cell| cell.variants);
    let mut prints = variants.flat_map(|variant| variant.prints);
    prints.any(|print| !print.text.is_empty() && Pattern::new(print.text).captures(line).is_some())
}

/// The text without blank lines around it, and without what a terminal would obey.
fn tidied(text: &str) -> String {
    let is_text = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    let text: String = text.chars().filter(is_text).collect();
    text.trim_end().trim_start_matches('\n').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notebook(cells: Vec<PythonCell>) -> PythonNotebook {
        let name = "mine.ipynb".to_string();
        PythonNotebook { name, cells }
    }

    fn cell(number: impl Into<Option<u64>>, text: &str) -> PythonCell {
        let (number, text) = (number.into(), text.to_string());
        PythonCell { number, text }
    }

    fn named(bin: &str) -> &'static Cell {
        common::notebook::cell(bin).expect("the table has it")
    }

    #[test]
    fn a_cell_of_a_text_ends_where_its_output_begins() {
        let text = "# Heading\nprose\n\nIn [2]:\nimport os\n\n\ndef f():\n    pass\n\nParent process 7.\n\
                    Child process end.\n\nmore prose\n\nIn [13]:\nn = 5\n\nprint(n)\n\n5\n\nprose\n\
                    In [ ]: f()\nOut[3]: 8\nprose\n";
        let expected = [
            cell(2, "import os\n\n\ndef f():\n    pass"),
            cell(13, "n = 5\n\nprint(n)"),
            cell(None, "f()"),
        ];
        assert_eq!(cells_of_text(text), expected);
    }

    #[test]
    fn a_cell_of_a_script_ends_before_the_prose_that_follows_it() {
        let text = "#!/usr/bin/env python\n# coding: utf-8\n\n# # Heading\n\n# In[1]:\n\n\n# first\nf()\n\n\n\
                    # prose\n\n# ## Heading\n# prose\n\n# In[2]:\n\n\ng()\n";
        let expected = [cell(1, "# first\nf()"), cell(2, "g()")];
        assert_eq!(cells_of_text(text), expected);
    }

    #[test]
    fn a_notebook_has_its_code_cells_and_nothing_for_a_terminal_to_obey() {
        let text = r#"{"metadata": {"language_info": {"name": "python"}}, "cells": [
            {"cell_type": "markdown", "source": "prose"},
            {"cell_type": "code", "execution_count": 1, "source": ["f(\n", "\u001b[31m)\r\n"]},
            {"cell_type": "code", "execution_count": null, "source": "g()"}]}"#;
        let expected = [cell(1, "f(\n[31m)"), cell(None, "g()")];
        assert_eq!(cells_of_ipynb(text).expect("it is one"), expected);
    }

    #[test]
    fn a_notebook_in_another_language_is_refused() {
        let text = r#"{"metadata": {"language_info": {"name": "rust"}}, "cells": []}"#;
        let error = cells_of_ipynb(text).expect_err("it is in Rust");
        assert_eq!(error.to_string(), "its language is rust");
    }

    #[test]
    fn a_cell_goes_by_its_number() {
        let book = notebook(vec![cell(1, "one"), cell(16, "sixteen")]);
        assert_eq!(book.source(named("task_master")), Some("sixteen"));
        assert_eq!(book.source(named("process")), None);
        assert_eq!(book.source(named("process_vs_thread")), None);
        let lacks = book.lacks(named("process"), Lang::En);
        assert_eq!(lacks, "mine.ipynb has no In [2], but In [1], In [16]");
    }

    #[test]
    fn the_cells_of_a_notebook_that_was_run_again_go_by_their_order() {
        let again = notebook((1..=11).map(|at| cell(at, &at.to_string())).collect());
        assert_eq!(again.source(named("call")), Some("4"));
        assert_eq!(again.source(named("task_master")), Some("11"));
        let cleared = notebook((1..=11).map(|at| cell(None, &at.to_string())).collect());
        assert_eq!(cleared.source(named("call")), Some("4"));
        let other = notebook((1..=10).map(|at| cell(at, &at.to_string())).collect());
        assert_eq!(other.source(named("call")), Some("7"));
        assert_eq!(other.source(named("task_master")), None);
    }
}
