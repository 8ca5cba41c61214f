//! `export`: the last run in the forms that other tools read.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::Exit;
use crate::cell_run::CellRun;
use crate::cli::{ExportOptions, Form, Lang};
use crate::output::{self, say};
use crate::picture::{WIDE, pictures};
use crate::python_notebook::{NoPython, PythonNotebook};
use crate::record::{self, ReplayRecord};

mod ipynb;
mod page;
mod trace;

pub(crate) fn export(options: &ExportOptions, lang: Lang) -> anyhow::Result<Exit> {
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
    if options.output.as_deref() == Some(Path::new("-")) {
        output::document(&text)?;
        return Ok(Exit::Held);
    }
    let own = folder.join(name);
    let file = options.output.as_deref().unwrap_or(&own);
    record::write_whole(file, &text)?;
    say!("{}", file.display())?;
    Ok(Exit::Held)
}

/// Writes each picture to a file of its own.
fn svg(cell_runs: &[CellRun], folder: &Path, lang: Lang) -> anyhow::Result<Exit> {
    if folder == Path::new("-") {
        bail!("pictures are several files: name a folder with --output");
    }
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
