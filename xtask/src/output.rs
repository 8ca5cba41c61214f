//! Standard output: all that a command prints for its reader goes through here.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use common::command_line;

use crate::record::write_whole;

/// Whether standard output is for JSON or a page alone, by `--json -` or `--output -`.
static ONLY_DOCUMENT: AtomicBool = AtomicBool::new(false);

/// Prints a line for the reader: on standard error where standard output is for a document.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($words)*)))
    };
}
pub(crate) use say;

/// Says on standard error what is wrong. Where that is gone too, the exit code has to say it.
macro_rules! complain {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!(
                "{}{}\n",
                $crate::output::mark_of_errors(),
                format_args!($($words)*)
            ),
        );
    }};
}
pub(crate) use complain;

/// What stands before an error.
pub(crate) fn mark_of_errors() -> &'static str {
    match command_line::is_chinese() {
        true => "错误：",
        false => "error: ",
    }
}

/// Prints a text for the reader. A reader who has gone away, as `head` does, is no reason to fail.
///
/// # Errors
///
/// When it cannot be written, as on a full disk.
pub(crate) fn write(text: fmt::Arguments) -> anyhow::Result<()> {
    // In one piece, so that the lines of two programs on one terminal do not mix.
    let text = text.to_string();
    match is_only_document() {
        true => written(io::stderr().write_all(text.as_bytes()), "error"),
        false => document(&text),
    }
}

/// Writes a document to standard output, by the same rules.
pub(crate) fn document(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written_out = out.write_all(text.as_bytes());
    // What std holds back would be lost at the end without a word.
    written(written_out.and_then(|()| out.flush()), "output")
}

fn written(result: io::Result<()>, stream: &str) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.with_context(|| format!("write to standard {stream}")),
    }
}

/// Whether standard output is for JSON or a page alone.
pub(crate) fn is_only_document() -> bool {
    ONLY_DOCUMENT.load(Ordering::Relaxed)
}

/// Leaves standard output to this document, if that is where it goes.
pub(crate) fn leave_to(document: &Option<OutputFile>) {
    ONLY_DOCUMENT.store(
        matches!(document, Some(OutputFile::Stdout)),
        Ordering::Relaxed,
    );
}

/// Where `--json` and `--output` write.
#[derive(Clone, Debug)]
pub(crate) enum OutputFile {
    /// `-`: standard output. What is for the reader goes to standard error then.
    Stdout,
    File(PathBuf),
}

impl OutputFile {
    /// The value of the option, if a file can be made there: who has replayed for a minute should not
    /// hear only then that there is no such folder.
    pub(crate) fn parse(text: &str) -> Result<OutputFile, String> {
        if text == "-" {
            return Ok(OutputFile::Stdout);
        }
        let file = PathBuf::from(text);
        if file.is_dir() {
            return Err("it is a folder: name a file in it".to_string());
        }
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(format!("there is no folder {}", folder.display()));
        }
        Ok(OutputFile::File(file))
    }

    /// The file; none for standard output.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            OutputFile::Stdout => None,
            OutputFile::File(file) => Some(file),
        }
    }

    pub(crate) fn write(&self, text: &str) -> anyhow::Result<()> {
        match self {
            OutputFile::Stdout => document(text),
            OutputFile::File(file) => write_whole(file, text),
        }
    }
}
