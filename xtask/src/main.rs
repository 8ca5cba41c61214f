//! Replays the notebook in Rust, cell by cell, and checks each against what the notebook printed.
//!
//! `cargo xtask all` is the whole of it. `run` replays some cells, `list` shows what there is,
//! `doctor` what this machine can replay, `bench` how fast the libraries are, `chaos` what they
//! survive, and `ci` runs every gate of the project.

use std::process::ExitCode;

use clap::Parser;

mod bench;
mod chaos;
mod ci;
mod cli;
mod doctor;
mod list;
mod record;
mod replay;
mod select;
mod terminal;

use cli::{Cli, Task};

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
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::All(options) => replay::replay(&[], &options),
        Task::Run { cells, options } => replay::replay(&cells, &options),
        Task::List => list::list(),
        Task::Doctor => doctor::doctor(),
        Task::Bench(options) => bench::bench(&options),
        Task::Chaos(options) => chaos::chaos(&options),
        Task::ChaosProgram { case, seed } => chaos::program(&case, seed),
        Task::Ci => ci::ci(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Failed.into()
        }
    }
}
