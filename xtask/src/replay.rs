//! `all` and `run`: replay cells, one after the other.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use common::notebook::{Cell, DNS, NEEDS, NSLOOKUP};
use common::replay::{Outcome, Replay};

use crate::Exit;
use crate::cli::Options;
use crate::doctor::{has, processors};
use crate::record::{Machine, Record, VERSION};
use crate::report;
use crate::select::select;
use crate::terminal::Terminal;

/// Replays the named cells, or all, and says what it found.
pub(crate) fn replay(names: &[String], options: &Options) -> anyhow::Result<Exit> {
    recorded(names, options).map(|(exit, _)| exit)
}

/// Does the same, and gives the run itself, if it came to one.
pub(crate) fn recorded(
    names: &[String],
    options: &Options,
) -> anyhow::Result<(Exit, Option<Record>)> {
    let cells = match select(names, options) {
        Ok(cells) => cells,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Ok((Exit::NoCell, None));
        }
    };
    let needs = match needs(&cells, options) {
        Ok(needs) => needs,
        Err(exit) => return Ok((exit, None)),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listen for Ctrl-C")?;
    }
    let Some(bins) = build(&cells)? else {
        let interrupted = stop.load(Ordering::Relaxed);
        let exit = if interrupted {
            Exit::Interrupted
        } else {
            Exit::BuildFailed
        };
        return Ok((exit, None));
    };
    let mut terminal = Terminal::new(options.quiet);
    let seed = options.seed.unwrap_or_else(draw_seed);
    let pace = if options.fast { 0.1 } else { 1.0 };
    if !options.quiet {
        let cpus = processors();
        terminal.say(&format!(
            "notebook replay: {} cells, seed {seed}, pace {pace}, {cpus} processors",
            cells.len()
        ));
    }
    let begun = Instant::now();
    let real = options.online
        && [NSLOOKUP, DNS]
            .iter()
            .all(|need| needs.get(need.name) == Some(&true));
    if options.online && !real {
        terminal.say(
            "nslookup or a name server is missing: a stand-in answers (see cargo xtask doctor)",
        );
    }
    let mut show = Show {
        options,
        bins,
        seed,
        pace,
        real,
        stop: &stop,
        terminal: &mut terminal,
    };
    let (outcomes, planned) = show.all(&cells)?;
    let passed = outcomes.iter().filter(|outcome| outcome.held()).count();
    let interrupted = stop.load(Ordering::Relaxed);
    let record = Record {
        version: VERSION,
        seed,
        pace,
        online: real,
        as_recorded: options.as_recorded,
        interrupted,
        again: again(names, options, seed),
        machine: Machine {
            processors: processors(),
            os: env::consts::OS.to_string(),
            arch: env::consts::ARCH.to_string(),
        },
        needs,
        passed,
        failed: outcomes.len() - passed,
        skipped: planned - outcomes.len(),
        seconds: begun.elapsed().as_secs_f64(),
        cells: outcomes.iter().map(Into::into).collect(),
    };
    record.keep()?;
    if let Some(file) = &options.json {
        record.write(file)?;
    }
    let checks: usize = outcomes.iter().map(|outcome| outcome.verdicts.len()).sum();
    terminal.say(&format!(
        "{passed} passed, {} failed, {} skipped; {checks} checks, {:.1} s",
        record.failed, record.skipped, record.seconds
    ));
    if record.failed > 0 {
        let failed = outcomes.iter().filter(|outcome| !outcome.held());
        let mut bins: Vec<&str> = failed.map(|outcome| outcome.cell.bin).collect();
        bins.dedup();
        let bins: Vec<String> = bins.into_iter().map(str::to_string).collect();
        terminal.say(&format!("again: {}", again(&bins, options, seed)));
    }
    if options.report {
        let file = report::write(&record, options.lang, None)?;
        terminal.say(&format!("report: {}", file.display()));
    }
    let exit = match (interrupted, record.failed) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Held,
        (false, _) => Exit::Failed,
    };
    Ok((exit, Some(record)))
}

/// What makes this run again: the same cells at the same pace, with the same draws.
fn again(names: &[String], options: &Options, seed: u64) -> String {
    let mut words = match names {
        [] => vec!["cargo xtask all".to_string()],
        _ => vec!["cargo xtask run".to_string(), names.join(" ")],
    };
    for (option, cell) in [("--from", &options.from), ("--until", &options.until)] {
        words.extend(cell.iter().map(|cell| format!("{option} {cell}")));
    }
    words.extend(options.skip.iter().map(|cell| format!("--skip {cell}")));
    words.push(format!("--seed {seed}"));
    words.extend(options.trials.map(|trials| format!("--trials {trials}")));
    for (option, given) in [
        ("--fast", options.fast),
        ("--as-recorded", options.as_recorded),
        ("--online", options.online),
    ] {
        words.extend(given.then(|| option.to_string()));
    }
    words.join(" ")
}

/// Which needs are there. The network is asked only where somebody wants to know.
fn needs(cells: &[&Cell], options: &Options) -> Result<BTreeMap<String, bool>, Exit> {
    for name in &options.require {
        if !NEEDS.iter().any(|need| need.name == name) {
            let names: Vec<&str> = NEEDS.iter().map(|need| need.name).collect();
            eprintln!(
                "error: no need is called {name:?}: there are {}",
                names.join(", ")
            );
            return Err(Exit::Usage);
        }
    }
    let mut found = BTreeMap::new();
    for need in NEEDS {
        let required = options.require.iter().any(|name| name == need.name);
        let used = cells.iter().any(|cell| cell.needs.contains(&need));
        if required || (used && (need != DNS || options.online)) {
            found.insert(need.name.to_string(), has(need));
        }
        if required && found.get(need.name) == Some(&false) {
            eprintln!(
                "error: {} is required and missing: {}",
                need.name, need.without
            );
            return Err(Exit::NeedMissing);
        }
    }
    Ok(found)
}

/// Builds the programs of the cells, and gives the folder that they are in; none if it fails.
fn build(cells: &[&Cell]) -> anyhow::Result<Option<PathBuf>> {
    let exe = env::current_exe().context("find this program's own folder")?;
    let bins = exe
        .parent()
        .context("find this program's own folder")?
        .to_path_buf();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet"]).stdin(Stdio::null());
    command.current_dir(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is in the workspace"),
    );
    if let Some(profile) = bins.file_name().filter(|profile| *profile != "debug") {
        command.arg("--profile").arg(profile);
    }
    let mut packages: Vec<&str> = cells.iter().map(|cell| cell.package).collect();
    packages.dedup();
    for package in packages {
        command.args(["--package", package]);
    }
    for bin in cells.iter().flat_map(|cell| cell.bins()) {
        command.args(["--bin", bin]);
    }
    let status = command.status().context("run cargo build")?;
    Ok(status.success().then_some(bins))
}

struct Show<'a> {
    options: &'a Options,
    bins: PathBuf,
    seed: u64,
    pace: f64,
    real: bool,
    stop: &'a AtomicBool,
    terminal: &'a mut Terminal,
}

impl Show<'_> {
    /// Replays the cells, and says how many variants there were to replay.
    fn all(&mut self, cells: &[&'static Cell]) -> anyhow::Result<(Vec<Outcome>, usize)> {
        let each = |cell: &&'static Cell| {
            let cell = *cell;
            cell.variants.iter().map(move |variant| (cell, variant))
        };
        let parts: Vec<_> = cells.iter().flat_map(each).collect();
        let mut outcomes = Vec::new();
        for (at, (cell, variant)) in parts.iter().enumerate() {
            self.terminal.begin(cell, variant, (at + 1, parts.len()));
            let live = self.terminal.is_live();
            let mut replay = Replay {
                bins: self.bins.clone(),
                pace: self.pace,
                seed: Some(self.seed),
                as_recorded: self.options.as_recorded,
                trials: self.options.trials,
                timeout: Duration::from_secs_f64(self.options.timeout),
                online: self.real,
                stop: self.stop,
                on_line: &mut |printed| Terminal::line(live, printed),
            };
            let outcome = replay
                .variant(cell, variant)
                .with_context(|| format!("replay {}", cell.bin))?;
            self.terminal.end(&outcome);
            let failed = !outcome.held();
            outcomes.push(outcome);
            if self.stop.load(Ordering::Relaxed) || (failed && self.options.fail_fast) {
                break;
            }
        }
        Ok((outcomes, parts.len()))
    }
}

/// A seed that is short enough to be typed again.
fn draw_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()) % 100_000)
}
