use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::OutputFile;

/// Replays a Python notebook on concurrency, rebuilt in Rust, and checks it against the original.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXITS)]
pub(crate) struct Cli {
    /// The language of what is said, and of pages; the default is the locale's
    #[arg(long, global = true, value_enum, value_name = "LANG", default_value_t = Lang::of_locale(), hide_default_value = true)]
    pub(crate) lang: Lang,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How many seconds one run of a cell may take, if nobody says.
pub(crate) const TIMEOUT: f64 = 60.0;

pub(crate) const EXITS: &str = "\
Exit codes: 0 all checks held; 1 a check failed, diff found a difference, or what was found
could not be written, or what was asked for failed; 2 usage; 3 a required need is missing; 4 no cell,
case or row matched; 5 the build failed;
6 there is no run to show, or it cannot be read; 130 interrupted.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay the whole notebook, in order
    All(Options),
    /// Replay some cells, in the notebook's order
    Run {
        /// A program (lock), a number (14, in14) or a chapter (ch2)
        #[arg(required = true, value_name = "CELL")]
        cells: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Run the race of In 13 and the locks of In 14 many times, and draw what came out
    Race(Options),
    /// Write the last run as one HTML page, with pictures
    Report(ReportOptions),
    /// Show a cell: source, recorded output, checks, free orders, and the last run as a picture
    Show(ShowOptions),
    /// Put what the notebook printed beside what the last run printed
    Diff(ViewOptions),
    /// Write the last run in another form
    Export(ExportOptions),
    /// Be the scheduler of two threads: a page to step them, or real threads that follow a schedule
    Explore(ExploreOptions),
    /// List the cells, what they need and how much is checked
    List,
    /// Say what this machine can replay, and how to mend the rest
    Doctor,
    /// Measure speed next to multiprocessing, procspawn, ipc-channel, crossbeam and the raw limits
    Bench(BenchOptions),
    /// Kill workers, readers, writers, supervisors, servers and nodes, and see that nothing is lost
    Chaos(ChaosOptions),
    /// Three nodes of NATS on loopback, ports 4222 to 4224, data in target/cluster
    #[command(subcommand)]
    Cluster(ClusterTask),
    /// The program that a round of chaos works on
    #[command(hide = true)]
    ChaosProgram { case: String, seed: u64 },
    /// Ends what a process leaves running that is killed
    #[command(hide = true)]
    Guard { pid: u32 },
    /// Run every gate: formatting, lints, documents, tests and the replay
    Ci,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ClusterTask {
    /// Start the nodes that are down, and print the URL for --queues
    Up,
    /// End them; their data stays
    Down,
    /// Say which run; exits with 1 if one does not
    Status,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Make all pauses ten times shorter
    #[arg(long)]
    pub(crate) fast: bool,
    /// Repeat the draws of the run that printed this seed
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Draw what the notebook drew, as far as its output tells
    #[arg(long)]
    pub(crate) as_recorded: bool,
    /// How often to run a cell that is judged over many runs
    #[arg(short = 'n', long, value_name = "N", value_parser = trials)]
    pub(crate) trials: Option<usize>,
    /// Write the run as an HTML page too
    #[arg(long)]
    pub(crate) report: bool,
    /// Stop at the first cell that fails
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Start with this cell
    #[arg(long, value_name = "CELL")]
    pub(crate) from: Option<String>,
    /// End with this cell
    #[arg(long, value_name = "CELL")]
    pub(crate) until: Option<String>,
    /// Leave this cell out (may be given again)
    #[arg(long, value_name = "CELL")]
    pub(crate) skip: Vec<String>,
    /// How many seconds one run of a cell may take
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = seconds)]
    pub(crate) timeout: f64,
    /// Run the real nslookup, over the network, where it is there
    #[arg(long)]
    pub(crate) online: bool,
    /// Fail with 3 if this need is missing: nslookup, dns, two-cpus
    #[arg(long, value_name = "NEED")]
    pub(crate) require: Vec<String>,
    /// Write what was found to this file; - is standard output
    #[arg(long, value_name = "FILE", value_parser = OutputFile::parse)]
    pub(crate) json: Option<OutputFile>,
    /// Print only what failed, and the summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A language that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    En,
    Zh,
}

#[derive(Args, Debug)]
pub(crate) struct NotebookOption {
    /// Your copy of the notebook, whose Python is then shown beside the Rust: an .ipynb file, or a text
    /// in which `In [1]:` and the like stand before the cells
    #[arg(long, value_name = "FILE")]
    pub(crate) notebook: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ReportOptions {
    #[command(flatten)]
    pub(crate) python: NotebookOption,
    /// Open it in a browser
    #[arg(long)]
    pub(crate) open: bool,
    /// Write it to this file, not to target/replay; - is standard output
    #[arg(short, long, value_name = "FILE", value_parser = OutputFile::parse)]
    pub(crate) output: Option<OutputFile>,
    /// Show this run.json, not the last run
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ViewOptions {
    /// A program (lock), a number (14, in14) or a chapter (ch2); all cells, if none is named
    #[arg(value_name = "CELL")]
    pub(crate) cells: Vec<String>,
    /// Show this run.json, not the last run
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    #[command(flatten)]
    pub(crate) view: ViewOptions,
    #[command(flatten)]
    pub(crate) python: NotebookOption,
}

#[derive(Args, Debug)]
pub(crate) struct ExportOptions {
    /// The form
    #[arg(value_enum)]
    pub(crate) form: Form,
    /// Write it to this file, for svg a folder, not to target/replay; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) python: NotebookOption,
    /// Show this run.json, not the last run
    #[arg(long, value_name = "FILE")]
    pub(crate) run: Option<PathBuf>,
}

/// A form that a run can be exported in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A Jupyter notebook, the record of this run
    Ipynb,
    /// A test report, one case per cell, as CI servers read it
    Junit,
    /// A Markdown page
    Md,
    /// A trace of who did what when, for Perfetto and chrome://tracing
    Trace,
    /// The pictures, one SVG file each, in a folder
    Svg,
}

#[derive(Args, Debug)]
pub(crate) struct ExploreOptions {
    /// Which threads
    #[arg(value_enum)]
    pub(crate) threads: Explored,
    /// Have two real threads take their steps in this order: ABBA is a step of A, two of B, one of A
    #[arg(long, value_name = "ORDER", conflicts_with = "seed")]
    pub(crate) schedule: Option<String>,
    /// Have two real threads take their steps in an order drawn by this seed
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Open the page in a browser
    #[arg(long, conflicts_with_all = ["schedule", "seed"])]
    pub(crate) open: bool,
    /// Write the page to this file, not to target/replay; - is standard output
    #[arg(short, long, value_name = "FILE", value_parser = OutputFile::parse, conflicts_with_all = ["schedule", "seed"])]
    pub(crate) output: Option<OutputFile>,
}

/// Two threads that can be explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Explored {
    /// The balance of In 13, without a lock
    Race,
    /// The balance of In 14, behind a lock
    Lock,
    /// Two locks, taken in opposite orders
    Deadlock,
    /// The queue of In 10, without its lock
    Queue,
}

#[derive(Args, Debug)]
pub(crate) struct BenchOptions {
    /// How a row's name starts (queue, pool/map); without one, all are measured
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Write the rows to this file; - is standard output
    #[arg(long, value_name = "FILE", value_parser = OutputFile::parse)]
    pub(crate) json: Option<OutputFile>,
    /// How often to measure each; the best counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = rounds)]
    pub(crate) rounds: u32,
}

#[derive(Args, Debug)]
pub(crate) struct ChaosOptions {
    /// How a case's name starts (queue, pool); without one, all are run
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How often to run each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = rounds)]
    pub(crate) rounds: u32,
    /// Write what was found to this file; - is standard output
    #[arg(long, value_name = "FILE", value_parser = OutputFile::parse)]
    pub(crate) json: Option<OutputFile>,
    /// Repeat the moments of the run that printed this seed, as far as the system lets them repeat
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, String> {
    let wanted = || format!("a number from 0 to {} is wanted", u64::MAX);
    text.parse().map_err(|_| wanted())
}

fn rounds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rounds @ 1..=100_000) => Ok(rounds),
        _ => Err("a number of rounds, from 1 to 100000, is wanted".to_string()),
    }
}

fn trials(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(trials @ 1..=100_000) => Ok(trials),
        _ => Err("a number of runs, from 1 to 100000, is wanted".to_string()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86400.0 => Ok(seconds),
        _ => Err("a number of seconds, above 0 and at most 86400, is wanted".to_string()),
    }
}
