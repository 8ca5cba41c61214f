//! Replays the notebook in Rust, cell by cell, and checks each against what the notebook printed.
//!
//! `cargo xtask all` is the whole of it. `run` replays some cells, `race` runs the race many
//! times; `report`, `show`, `diff` and `export` are views of the last run. `explore` makes the
//! reader the scheduler of two threads. `list` shows what there is, `doctor` what this machine can
//! replay, `bench` how fast the libraries are, `chaos` what they survive, `cluster` starts nodes of
//! NATS, and `ci` runs every gate of the project.

use std::process::{self, ExitCode};

use common::command_line;

mod bench;
mod cell_run;
mod chaos;
mod ci;
mod cli;
mod diff;
mod doctor;
mod engine;
mod explore;
mod export;
mod guard;
mod highlight;
mod list;
mod output;
mod picture;
mod python_notebook;
mod race;
mod record;
mod replay;
mod report;
mod select;
mod show;
mod terminal;
mod texts;
mod translations;

use cli::{Cli, Command};
use output::complain;

/// What an exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Held = 0,
    Failed = 1,
    Usage = 2,
    NeedMissing = 3,
    NoCell = 4,
    BuildFailed = 5,
    NoRun = 6,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let Cli { lang, command } = command_line::parse(&texts::TEXTS)
        .unwrap_or_else(|error| process::exit(command_line::tell(&error)));
    let result = match command {
        Command::All(options) => replay::replay(&[], &options, lang),
        Command::Run { cells, options } => replay::replay(&cells, &options, lang),
        Command::Race(options) => race::race(options, lang),
        Command::Report(options) => report::report(&options, lang),
        Command::Show(options) => show::show(&options, lang),
        Command::Diff(options) => diff::diff(&options, lang),
        Command::Export(options) => export::export(&options, lang),
        Command::Explore(options) => explore::explore(&options, lang),
        Command::List => list::list(lang),
        Command::Doctor => doctor::doctor(lang),
        Command::Bench(options) => bench::bench(&options, lang),
        Command::Chaos(options) => chaos::chaos(&options, lang),
        Command::Cluster(action) => engine::cluster(action, lang),
        Command::ChaosProgram { case, seed } => chaos::program(&case, seed),
        Command::Guard { pid } => guard::guard(pid),
        Command::Ci => ci::ci(lang),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain!("{}", lang.error(&error));
            match () {
                () if error.is::<record::NoRun>() => Exit::NoRun.into(),
                () if error.is::<python_notebook::NoPython>() => Exit::Usage.into(),
                () => Exit::Failed.into(),
            }
        }
    }
}
