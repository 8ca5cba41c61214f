//! `all` and `run`: replay cells, one after the other.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use common::notebook::{CELLS, Cell, Need};
use common::program::marked;
use common::replay::{MARK, Replay, mark_of};
use common::verdict::CellOutcome;
use common::{draw, pace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::Exit;
use crate::cell_run::root;
use crate::cli::{Lang, Options, TIMEOUT};
use crate::doctor::{has, processors};
use crate::guard::ProcessGuard;
use crate::output::{self, complain};
use crate::record::{Machine, ReplayRecord, VERSION};
use crate::report;
use crate::select::select;
use crate::terminal::Terminal;

/// Between two looks at whether a build has ended.
const TICK: Duration = Duration::from_millis(5);

/// Replays the named cells, or all, and says what it found.
pub(crate) fn replay(names: &[String], options: &Options, lang: Lang) -> anyhow::Result<Exit> {
    recorded(names, options, lang).map(|(exit, _)| exit)
}

/// Does the same, and gives the record too, if there was anything to replay.
pub(crate) fn recorded(
    names: &[String],
    options: &Options,
    lang: Lang,
) -> anyhow::Result<(Exit, Option<ReplayRecord>)> {
    output::leave_to(&options.json);
    let stop = Arc::new(AtomicBool::new(false));
    let _guard = ProcessGuard::start()?;
    let plan = match plan(names, options, lang, &stop)? {
        Ok(plan) => plan,
        Err(exit) => return Ok((exit, None)),
    };
    let mut terminal = Terminal::new(options.quiet, lang);
    let begun = Instant::now();
    let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let outcomes = run(&plan, options, &stop, &mut terminal)?;
    let passed = outcomes.iter().filter(|outcome| outcome.held()).count();
    let cut = outcomes.iter().filter(|outcome| outcome.interrupted());
    let cut = cut.count();
    let variants: usize = plan.cells.iter().map(|cell| cell.variants.len()).sum();
    let record = ReplayRecord {
        version: VERSION,
        started,
        seed: plan.seed,
        pace: plan.pace,
        online: plan.real,
        as_recorded: options.as_recorded,
        interrupted: stop.load(Ordering::Relaxed),
        again: again(&plan.named, options, &plan),
        machine: Machine {
            processors: processors(),
            os: env::consts::OS.to_string(),
            arch: env::consts::ARCH.to_string(),
            rustc: answer("rustc", &["--version"]),
            commit: answer("git", &["describe", "--always", "--dirty"]),
        },
        needs: plan.needs.clone(),
        passed,
        failed: outcomes.len() - passed - cut,
        skipped: variants - outcomes.len() + cut,
        seconds: begun.elapsed().as_secs_f64(),
        cells: outcomes
            .iter()
            .filter(|outcome| !outcome.interrupted())
            .map(Into::into)
            .collect(),
    };
    // What was found comes before any trouble with writing it down.
    summarise(&record, options, &plan, &terminal);
    terminal.written()?;
    record.keep()?;
    if let Some(file) = &options.json {
        file.write(&record.text()?)?;
    }
    if options.report {
        let file = report::write(&ReplayRecord::read(None)?, lang, None, None)?;
        let report = lang.pick("report: ", "报告：");
        terminal.say(&format!("{report}{}", file.display()));
    }
    terminal.written()?;
    let exit = match (record.interrupted, record.failed) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Held,
        (false, _) => Exit::Failed,
    };
    Ok((exit, Some(record)))
}

/// What is to be replayed, and how.
struct Plan {
    cells: Vec<&'static Cell>,
    /// The programs of these cells; none for all cells.
    named: Vec<&'static str>,
    needs: BTreeMap<String, bool>,
    /// The folder with the programs.
    bins: PathBuf,
    seed: u64,
    pace: f64,
    /// The real `nslookup` runs, and not its stand-in.
    real: bool,
}

/// Looks at what is wanted and what the machine has, and builds the programs. Gives the exit code
/// where nothing can be replayed: the reason is printed by then.
fn plan(
    names: &[String],
    options: &Options,
    lang: Lang,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Result<Plan, Exit>> {
    let cells = match select(names, options, lang) {
        Ok(cells) => cells,
        Err(sentence) => {
            complain!("{sentence}");
            return Ok(Err(Exit::NoCell));
        }
    };
    let (seed, pace) = match (draw::seed(), pace::read()) {
        (Ok(seed), Ok(pace)) => (seed, pace),
        (Err(sentence), _) | (_, Err(sentence)) => {
            complain!("{}", lang.text(&sentence));
            return Ok(Err(Exit::Usage));
        }
    };
    let needs = match needs(&cells, options, lang) {
        Ok(needs) => needs,
        Err(exit) => return Ok(Err(exit)),
    };
    // Of a terminal: Ctrl-C, Ctrl-\ and its end. What is ignored stays so: by nohup, or by a shell
    // whose script runs this in the background.
    let signals = [SIGINT, SIGQUIT, SIGHUP, SIGTERM];
    for signal in signals.into_iter().filter(|signal| !is_ignored(*signal)) {
        signal_hook::flag::register(signal, Arc::clone(stop)).context("listen for Ctrl-C")?;
    }
    let bins = match build(&cells, stop, lang)? {
        Ok(bins) => bins,
        Err(exit) => return Ok(Err(exit)),
    };
    let is_there = |need: &Need| needs.get(need.name()) == Some(&true);
    Ok(Ok(Plan {
        named: match cells.len() == CELLS.len() {
            true => Vec::new(),
            false => cells.iter().map(|cell| cell.bin).collect(),
        },
        real: options.online && [Need::Nslookup, Need::Dns].iter().all(is_there),
        cells,
        needs,
        bins,
        seed: options.seed.or(seed).unwrap_or_else(draw_seed),
        pace: if options.fast { 0.1 } else { pace },
    }))
}

/// Replays the cells of the plan one after the other, and shows each as it ends.
fn run(
    plan: &Plan,
    options: &Options,
    stop: &AtomicBool,
    terminal: &mut Terminal,
) -> anyhow::Result<Vec<CellOutcome>> {
    let lang = terminal.lang;
    if !options.quiet {
        let cells = lang.cells(plan.cells.len());
        let processors = lang.processors(processors());
        let Plan { seed, pace, .. } = plan;
        terminal.say(&match lang {
            Lang::En => format!("notebook replay: {cells}, seed {seed}, pace {pace}, {processors}"),
            Lang::Zh => format!("重放笔记：{cells}，种子 {seed}，停顿倍数 {pace}，{processors}"),
        });
    }
    if options.online && !plan.real {
        terminal.say(lang.pick(
            "nslookup or a name server is missing: a stand-in answers (see cargo xtask doctor)",
            "缺少 nslookup 或域名服务器：由替身回答（见 cargo xtask doctor）",
        ));
    }
    let each = |cell: &&'static Cell| {
        let cell = *cell;
        cell.variants.iter().map(move |variant| (cell, variant))
    };
    let variants: Vec<_> = plan.cells.iter().flat_map(each).collect();
    let mut outcomes = Vec::new();
    for (at, (cell, variant)) in variants.iter().enumerate() {
        terminal.begin(cell, variant, (at + 1, variants.len()));
        let live = terminal.is_live();
        let mut replay = Replay {
            bins: plan.bins.clone(),
            pace: plan.pace,
            seed: Some(plan.seed),
            as_recorded: options.as_recorded,
            trials: options.trials,
            timeout: Duration::from_secs_f64(options.timeout),
            online: plan.real,
            stop,
            on_line: &mut |printed| Terminal::line(live, printed),
        };
        let outcome = replay
            .variant(cell, variant)
            .with_context(|| format!("replay {}", cell.bin))?;
        terminal.end(&outcome);
        let failed = !outcome.held();
        outcomes.push(outcome);
        if stop.load(Ordering::Relaxed) || (failed && options.fail_fast) {
            break;
        }
    }
    Ok(outcomes)
}

/// Says what came out, and how to repeat what failed.
fn summarise(record: &ReplayRecord, options: &Options, plan: &Plan, terminal: &Terminal) {
    let lang = terminal.lang;
    let checks = record.cells.iter().map(|cell| cell.verdicts.len());
    let checks = lang.checks(checks.sum());
    let ReplayRecord {
        passed,
        failed,
        skipped,
        seconds,
        ..
    } = record;
    terminal.say(&match lang {
        Lang::En => {
            format!("{passed} passed, {failed} failed, {skipped} skipped; {checks}, {seconds:.1} s")
        }
        Lang::Zh => {
            format!("通过 {passed}，未通过 {failed}，跳过 {skipped}；{checks}，{seconds:.1} 秒")
        }
    });
    if record.failed > 0 {
        let failed = record.cells.iter().filter(|cell| !cell.held);
        let mut bins: Vec<&str> = failed.map(|cell| cell.bin.as_str()).collect();
        bins.dedup();
        let label = lang.pick("again: ", "再运行一次：");
        terminal.say(&format!("{label}{}", again(&bins, options, plan)));
    }
}

/// What makes this run again, for a shell: these programs at the same pace, with the same draws.
fn again(bins: &[&str], options: &Options, plan: &Plan) -> String {
    let mut words = Vec::new();
    if !options.fast && plan.pace != 1.0 {
        words.push(format!("PACE={}", plan.pace));
    }
    words.push(match bins {
        [] => "cargo xtask all".to_string(),
        _ => format!("cargo xtask run {}", bins.join(" ")),
    });
    words.push(format!("--seed {}", plan.seed));
    words.extend(options.trials.map(|trials| format!("--trials {trials}")));
    if options.timeout != TIMEOUT {
        words.push(format!("--timeout {}", options.timeout));
    }
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
fn needs(cells: &[&Cell], options: &Options, lang: Lang) -> Result<BTreeMap<String, bool>, Exit> {
    for name in &options.require {
        if !Need::ALL.iter().any(|need| need.name() == name) {
            let names: Vec<&str> = Need::ALL.iter().map(|need| need.name()).collect();
            match lang {
                Lang::En => complain!("no need is called {name:?}: there are {}", names.join(", ")),
                Lang::Zh => complain!("没有叫 {name:?} 的需要：有 {}", names.join("、")),
            }
            return Err(Exit::Usage);
        }
    }
    let mut found = BTreeMap::new();
    for need in Need::ALL {
        let required = options.require.iter().any(|name| name == need.name());
        let used = cells.iter().any(|cell| cell.needs.contains(&need));
        if required || (used && (need != Need::Dns || options.online)) {
            found.insert(need.name().to_string(), has(need));
        }
        if required && found.get(need.name()) == Some(&false) {
            let missing = lang.missing(need);
            match lang {
                Lang::En => complain!("required, and missing: {missing}"),
                Lang::Zh => complain!("缺少要求的 {missing}"),
            }
            return Err(Exit::NeedMissing);
        }
    }
    Ok(found)
}

/// Builds the programs of the cells, and gives the folder that they are in; or the exit code, if it
/// fails or is told to stop.
fn build(cells: &[&Cell], stop: &AtomicBool, lang: Lang) -> anyhow::Result<Result<PathBuf, Exit>> {
    let exe = env::current_exe().context("find this program's own folder")?;
    let bins = exe
        .parent()
        .context("find this program's own folder")?
        .to_path_buf();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--package", "xtask"]);
    // It is ended with the replay too.
    command.env(MARK, format!("{}.build.", process::id()));
    command.stdin(Stdio::null());
    if !io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    command.current_dir(root());
    if let Some(profile) = bins.file_name().filter(|profile| *profile != "debug") {
        command.arg("--profile").arg(profile);
    }
    let mut packages: Vec<&str> = cells.iter().map(|cell| cell.package).collect();
    packages.dedup();
    for package in packages {
        command.args(["--package", package]);
    }
    // With this program, so that what both need is compiled once, with the same features.
    let bins_of_cells = cells.iter().flat_map(|cell| cell.bins());
    for bin in bins_of_cells.chain(["xtask"]) {
        command.args(["--bin", bin]);
    }
    let cargo = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let none = lang.pick(
                "cargo was not found: put it on PATH, or install it from https://rustup.rs",
                "找不到 cargo：把它放到 `PATH` 里，或从 https://rustup.rs 安装",
            );
            complain!("{none}");
            return Ok(Err(Exit::BuildFailed));
        }
        cargo => cargo.context("run cargo build")?,
    };
    let status = ended(cargo, stop)?;
    Ok(match (stop.load(Ordering::Relaxed), status.success()) {
        (true, _) => Err(Exit::Interrupted),
        (false, true) => Ok(bins),
        (false, false) => Err(Exit::BuildFailed),
    })
}

/// Waits for the end of a build, and ends it with all that it has started if told to stop.
fn ended(mut cargo: Child, stop: &AtomicBool) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = cargo.try_wait().context("run cargo build")? {
            return Ok(status);
        }
        if stop.load(Ordering::Relaxed) {
            // A signal that only this process got: cargo's children have the same mark as it.
            for pid in marked(&build_mark()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        thread::sleep(TICK);
    }
}

/// What the environment of a build is marked with, and so of all that it starts.
fn build_mark() -> String {
    format!("{}build.", mark_of(process::id()))
}

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The first line that a program prints in the folder of the sources, if it runs there.
fn answer(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(root()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.to_string();
    output.status.success().then_some(line)
}

/// A seed that is short enough to be typed again.
fn draw_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()) % 100_000)
}
