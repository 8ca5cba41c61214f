//! `report`: the last run as one HTML page that needs nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use minijinja::value::Serde;
use minijinja::{Environment, HtmlEscape, context};
use serde::Serialize;

use crate::Exit;
use crate::cell_run::{CellRun, Total};
use crate::cli::{Lang, ReportOptions};
use crate::output::{self, OutputFile, complain, say};
use crate::picture::STYLE as PICTURE_STYLE;
use crate::python_notebook::PythonNotebook;
use crate::record::{self, ReplayRecord};

mod article;

use article::{Article, articles};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// A chapter of the page.
#[derive(Serialize)]
struct Chapter {
    number: u8,
    title: &'static str,
    articles: Vec<Article>,
}

pub(crate) fn report(options: &ReportOptions, lang: Lang) -> anyhow::Result<Exit> {
    output::leave_to(&options.output);
    let notebook = options.python.notebook.as_deref();
    if let Some(stdout @ OutputFile::Stdout) = &options.output {
        if options.open {
            return Ok(nothing_to_open(lang));
        }
        let replays = ReplayRecord::read(options.run.as_deref())?;
        stdout.write(&page(&replays, lang, notebook)?)?;
        return Ok(Exit::Held);
    }
    let replays = ReplayRecord::read(options.run.as_deref())?;
    let file = options.output.as_ref().and_then(OutputFile::path);
    let file = write(&replays, lang, notebook, file)?;
    say!("{}", file.display())?;
    if options.open {
        open_in_browser(&file)?;
    }
    Ok(Exit::Held)
}

/// Says that a page on standard output is no file that a browser could open.
pub(crate) fn nothing_to_open(lang: Lang) -> Exit {
    let sentence = lang.pick(
        "--open needs a file, and --output - writes none",
        "`--open` 要有文件，而 `--output -` 不写文件",
    );
    complain!("{sentence}");
    Exit::Usage
}

/// Opens a page in the user's browser, and does not wait for it.
pub(crate) fn open_in_browser(file: &Path) -> anyhow::Result<()> {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    Command::new(opener)
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("open the page with {opener}: it is {}", file.display()))?;
    Ok(())
}

/// Writes the page, to `target/replay` if no file is given, and says where it is. The Python is shown
/// beside the Rust if there is a file with it.
pub(crate) fn write(
    replays: &[ReplayRecord],
    lang: Lang,
    notebook: Option<&Path>,
    output: Option<&Path>,
) -> anyhow::Result<PathBuf> {
    let file = match output {
        Some(file) => file.to_path_buf(),
        None => {
            let folder = record::folder()?;
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            folder.join(lang.pick("report.html", "report.zh-CN.html"))
        }
    };
    record::write_whole(&file, &page(replays, lang, notebook)?)?;
    Ok(file)
}

/// The template of a page, as `page.html`, with what templates of ours may call.
pub(crate) fn templates(page: &'static str) -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment
        .add_template("page.html", page)
        .context("read the template of the page")?;
    environment.add_filter("quoted", quoted);
    Ok(environment)
}

/// A sentence with its quoted words as code.
fn quoted(text: &str) -> minijinja::Value {
    let mut html = String::new();
    for (at, piece) in text.split('`').enumerate() {
        let piece = HtmlEscape(piece);
        html += &match at % 2 {
            0 => format!("{piece}"),
            _ => format!("<code>{piece}</code>"),
        };
    }
    minijinja::Value::from_safe_string(html)
}

fn page(replays: &[ReplayRecord], lang: Lang, notebook: Option<&Path>) -> anyhow::Result<String> {
    let cell_runs = CellRun::all(replays)?;
    let cells: Vec<_> = cell_runs.iter().map(|cell_run| cell_run.cell).collect();
    let python = PythonNotebook::open(notebook, &cells, lang)?;
    let mut chapters: Vec<Chapter> = Vec::new();
    for article in articles(&cell_runs, python.as_ref(), lang)? {
        if chapters.last().map(|chapter| chapter.number) != Some(article.chapter) {
            chapters.push(Chapter {
                number: article.chapter,
                title: lang.chapter(article.chapter),
                articles: Vec::new(),
            });
        }
        chapters
            .last_mut()
            .expect("one was pushed")
            .articles
            .push(article);
    }
    let environment = templates(PAGE)?;
    let template = environment.get_template("page.html")?;
    template
        .render(context! {
            lang => lang.tag(),
            w => lang.translations(),
            style => STYLE,
            picture_style => PICTURE_STYLE,
            run => Serde(&replays[0]),
            total => Serde(Total::new(replays, &cell_runs)),
            chapters => Serde(chapters),
        })
        .context("write the page")
}
