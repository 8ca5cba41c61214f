//! `export`: the last run in the forms that other tools read.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::Exit;
use crate::cell_run::CellRun;
use crate::cli::{ExportOptions, Form, Lang};
use crate::output::{OutputFile, complain, say};
use crate::picture::{WIDE, pictures};
use crate::python_notebook::{NoPython, PythonNotebook};
use crate::record::{self, ReplayRecord};

mod ipynb;
mod page;
mod trace;

pub(crate) fn export(options: &ExportOptions, lang: Lang) -> anyhow::Result<Exit> {
    let output = match output_of(options) {
        Ok(output) => output,
        Err(sentence) => {
            let sentence = lang.text(&sentence);
            let given = options.output.as_deref().unwrap_or(Path::new(""));
            let given = given.display();
            match lang {
                Lang::En => complain!("invalid value '{given}' for '--output <FILE>': {sentence}"),
                Lang::Zh => complain!("`--output <FILE>` 的值不能是 `{given}`：{sentence}"),
            }
            return Ok(Exit::Usage);
        }
    };
    let replays = ReplayRecord::read(options.run.as_deref())?;
    let cell_runs = CellRun::all(&replays)?;
    let folder = record::folder()?;
    let notebook = options.python.notebook.as_deref();
    if notebook.is_some() && !matches!(options.form, Form::Ipynb | Form::Md) {
        return Err(anyhow!(NoPython(
            "--notebook goes with the forms ipynb and md: the others show no source".to_string()
        )));
    }
    let cells: Vec<_> = cell_runs.iter().map(|cell_run| cell_run.cell).collect();
    let python = PythonNotebook::open(notebook, &cells, lang)?;
    let python = python.as_ref();
    let (name, text) = match options.form {
        Form::Ipynb => (
            "notebook.ipynb",
            ipynb::notebook(&replays, &cell_runs, python, lang)?,
        ),
        Form::Junit => ("junit.xml", page::junit(&replays, &cell_runs, lang)?),
        Form::Md => (
            "report.md",
            page::markdown(&replays, &cell_runs, python, lang)?,
        ),
        Form::Trace => ("trace.json", trace::trace(&cell_runs, lang)?),
        Form::Svg => {
            let own = folder.join("pictures");
            return svg(&cell_runs, options.output.as_deref().unwrap_or(&own), lang);
        }
    };
    let output = output.unwrap_or_else(|| OutputFile::File(folder.join(name)));
    output.write(&text)?;
    if let Some(file) = output.path() {
        say!("{}", file.display())?;
    }
    Ok(Exit::Held)
}

/// Where a form is to be written, if somebody says; or why it cannot be written there.
fn output_of(options: &ExportOptions) -> Result<Option<OutputFile>, String> {
    let Some(output) = options.output.as_deref() else {
        return Ok(None);
    };
    if options.form != Form::Svg {
        return OutputFile::parse(output.to_string_lossy().as_ref()).map(Some);
    }
    match output {
        _ if output == Path::new("-") => {
            Err("pictures are several files: name a folder with --output".to_string())
        }
        _ if output.is_file() => Err("it is a file: name a folder for the pictures".to_string()),
        _ => Ok(None),
    }
}

/// Writes each picture to a file of its own.
fn svg(cell_runs: &[CellRun], folder: &Path, lang: Lang) -> anyhow::Result<Exit> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    for cell_run in cell_runs {
        for picture in pictures(cell_run, cell_runs, WIDE, lang) {
            let file = folder.join(format!("{}.svg", picture.name));
            record::write_whole(&file, &picture.standalone())?;
            say!("{}", file.display())?;
        }
    }
    Ok(Exit::Held)
}
