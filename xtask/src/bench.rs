//! How fast it is, next to its peers and to the raw mechanism, all measured in one run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use common::replay::MARK;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;

use crate::Exit;
use crate::cli::{BenchOptions, Lang};
use crate::doctor::processors;
use crate::guard::ProcessGuard;
use crate::output::{self, complain, say};
use crate::select::beginning_with;
use crate::translations::right_aligned;

/// A peer that hangs is a finding too, but must not end the run.
const DEADLINE: Duration = Duration::from_secs(30);

const PEERS: [&str; 9] = [
    "multiprocessing",
    "zooparallel",
    "celery",
    "procspawn",
    "ipc-channel",
    "crossbeam",
    "cloudtoid",
    "iceoryx2",
    "limit",
];

/// Peers that are built only for rows that have them; each is a feature of the measuring program.
const APART: [&str; 2] = ["cloudtoid", "iceoryx2"];

struct Benchmark {
    name: &'static str,
    unit: &'static str,
    higher: bool,
    /// Who else can do it.
    peers: &'static [&'static str],
}

const fn case(
    name: &'static str,
    unit: &'static str,
    higher: bool,
    peers: &'static [&'static str],
) -> Benchmark {
    Benchmark {
        name,
        unit,
        higher,
        peers,
    }
}

const PY: &str = "multiprocessing";
const CELERY: &str = "celery";
/// Its locks outlive their owners too, and have names.
const ZOO: &str = "zooparallel";
const CASES: [Benchmark; 45] = [
    case(
        "queue/u64/1p1c",
        "items/s",
        true,
        &[PY, "ipc-channel", "crossbeam", "cloudtoid"],
    ),
    case("queue/u64/4p4c", "items/s", true, &[PY, "crossbeam"]),
    // The peers have no call for many items.
    case("queue/u64/batch64", "items/s", true, &[PY, "crossbeam"]),
    case(
        "queue/roundtrip",
        "us",
        false,
        &[PY, "ipc-channel", "crossbeam", "cloudtoid", "limit"],
    ),
    // Whoever waits sleeps: the other side needs the core.
    case(
        "queue/roundtrip/one-core",
        "us",
        false,
        &[PY, "ipc-channel", "crossbeam", "cloudtoid", "limit"],
    ),
    case(
        "queue/1MiB",
        "MiB/s",
        true,
        &[
            PY,
            "ipc-channel",
            "crossbeam",
            "cloudtoid",
            "iceoryx2",
            "limit",
        ],
    ),
    case("queue/4KiB", "MiB/s", true, &["cloudtoid", "iceoryx2"]),
    case("queue/64MiB", "MiB/s", true, &["cloudtoid", "iceoryx2"]),
    // Filled by the writer, and read by the reader. iceoryx2 lends in both rows: it has no other way.
    case(
        "queue/1MiB/filled",
        "MiB/s",
        true,
        &["cloudtoid", "iceoryx2"],
    ),
    case("queue/1MiB/by-reference", "MiB/s", true, &["iceoryx2"]),
    // A loan there and another back, which nobody fills.
    case("queue/hand-over/64B", "us", false, &[]),
    case("queue/hand-over/4MiB", "us", false, &[]),
    case("pool/single", "tasks/s", true, &[PY, "procspawn"]),
    case("pool/roundtrip", "us", false, &[PY, "procspawn"]),
    case("pool/map", "items/s", true, &[PY]),
    // In chunks of 1000.
    case("pool/imap", "items/s", true, &[PY]),
    // Items and results of 1 MiB. The limit is one copy in and one copy out of each.
    case("pool/map-1MiB", "MiB/s", true, &[PY, "limit"]),
    case("process/spawn", "us", false, &[PY, "procspawn", "limit"]),
    case(
        "process/spawn-1GiB",
        "us",
        false,
        &[PY, "procspawn", "limit"],
    ),
    // The limit is a robust mutex of pthreads, which also outlives its owner.
    case("sync/lock", "locks/s", true, &[PY, ZOO, "limit"]),
    case("sync/lock-4p", "locks/s", true, &[PY, ZOO]),
    case("sync/semaphore", "permits/s", true, &[PY]),
    case("sync/value", "increments/s", true, &[PY]),
    case("sync/array", "increments/s", true, &[PY]),
    case("sync/event", "us", false, &[PY]),
    case("sync/condvar", "us", false, &[PY]),
    // The clients are CPython's, of our server and of its own; but for the items, which ours moves
    // in batches and CPython one by one, as it has no other way.
    case("manager/calls", "calls/s", true, &[PY]),
    case("manager/4clients", "calls/s", true, &[PY]),
    case("manager/first-call", "us", false, &[PY]),
    case("manager/20KB", "us", false, &[PY]),
    case("manager/server-cpu", "us/call", false, &[PY]),
    case("manager/items", "items/s", true, &[PY]),
    // Four clients at one object.
    case("manager/dict", "calls/s", true, &[PY]),
    case("manager/dict-cpu", "us/call", false, &[PY]),
    case("manager/lock", "calls/s", true, &[PY]),
    case("manager/lock-cpu", "us/call", false, &[PY]),
    case("manager/value", "calls/s", true, &[PY]),
    case("manager/value-cpu", "us/call", false, &[PY]),
    // Tasks from end to end, with so many workers; the peer `multiprocessing` is its BaseManager.
    case("distributed/manager-1w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/manager-4w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/manager-16w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/engine-1w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/engine-4w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/engine-16w", "tasks/s", true, &[PY, CELERY]),
    case("distributed/engine-4w-single", "tasks/s", true, &[]),
];

/// What `--json` writes.
#[derive(Serialize)]
struct BenchReport {
    rows: Vec<BenchRow>,
}

/// A figure that could not be had is `null`, and the terminal says why.
#[derive(Serialize)]
struct BenchRow {
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    ours: Option<f64>,
    peers: BTreeMap<&'static str, Option<f64>>,
}

/// The row, whose figure is missing in it, and why.
type BenchFailure = (&'static str, &'static str, anyhow::Error);

pub(crate) fn bench(options: &BenchOptions, lang: Lang) -> anyhow::Result<Exit> {
    output::leave_to(&options.json);
    let cases = match beginning_with(&options.names, &CASES, |case| case.name) {
        Ok(cases) => cases,
        Err(unknown) => {
            let names = CASES.each_ref().map(|case| case.name).join(lang.comma());
            match lang {
                Lang::En => complain!("no row starts with {unknown}: there are {names}"),
                Lang::Zh => complain!("没有一行以 {unknown} 开头：有 {names}"),
            }
            return Ok(Exit::NoCell);
        }
    };
    let _guard = ProcessGuard::start()?;
    let mut failures = Vec::new();
    let Some((program, left_out)) = build_with_peers(&cases, &mut failures)? else {
        return Ok(Exit::BuildFailed);
    };
    let (rounds, processors) = (options.rounds, lang.processors(processors()));
    let python = lang.text(&python_version());
    match lang {
        Lang::En => say!("best of {rounds}, in turns; {python}; {processors}")?,
        Lang::Zh => say!("轮流测，{rounds} 次里取最好的；{python}；{processors}")?,
    }
    let mut rows = Vec::new();
    print_head(lang)?;
    for case in cases {
        let mut who = vec!["ours"];
        who.extend(case.peers.iter().filter(|peer| !left_out.contains(peer)));
        let row = measure(case, who, &program, options.rounds, &mut failures);
        print_row(case, &row, lang)?;
        rows.push(row);
    }
    for (row, who, error) in &failures {
        let reason = lang.error(error);
        match lang {
            Lang::En => say!("! {row} of {who}: {reason}")?,
            Lang::Zh => say!("! {row}，{who}：{reason}")?,
        }
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&BenchReport { rows })
            .context("write the rows as JSON")?;
        file.write(&(text + "\n"))?;
    }
    Ok(match failures.is_empty() {
        true => Exit::Held,
        false => Exit::Failed,
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench")
}

/// Builds the measuring program with the peers that these rows have. Returns it and the peers that
/// it had to be built without; `None` when it cannot be built at all, and cargo has said why.
fn build_with_peers(
    cases: &[&Benchmark],
    failures: &mut Vec<BenchFailure>,
) -> anyhow::Result<Option<(PathBuf, Vec<&'static str>)>> {
    let wanted = APART.into_iter();
    let wanted = wanted.filter(|peer| cases.iter().any(|case| case.peers.contains(peer)));
    let wanted: Vec<&str> = wanted.collect();
    if let Some(program) = build(&wanted)? {
        return Ok(Some((program, Vec::new())));
    }
    let (mut features, mut left_out) = (Vec::new(), Vec::new());
    for peer in wanted {
        match build(&[peer])? {
            Some(_) => features.push(peer),
            None => {
                left_out.push(peer);
                let error = anyhow!(
                    "it cannot be built, and cargo says why above (iceoryx2 needs libclang: apt-get \
                     install libclang-dev)"
                );
                failures.push(("build", peer, error));
            }
        }
    }
    Ok(build(&features)?.map(|program| (program, left_out)))
}

/// Builds the measuring program with these features; `None` when that fails, and cargo has said why.
fn build(features: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = folder().join("Cargo.toml");
    let target = folder().join("../../target/bench");
    let status = Command::new(&cargo)
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--features", &features.join(",")])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .status()
        .with_context(|| format!("run cargo build for {}", manifest.display()))?;
    Ok(status.success().then(|| target.join("release/bench")))
}

/// A Python that has a package: made once, in target/.
fn python_with(package: &str) -> anyhow::Result<PathBuf> {
    let folder_name = package.split('[').next().expect("a split has a first part");
    let venv = folder().join("../../target").join(folder_name);
    let python = venv.join("bin/python");
    if !python.exists() {
        let run = |command: &mut Command| -> anyhow::Result<()> {
            let status = command
                .status()
                .with_context(|| format!("run {command:?}"))?;
            anyhow::ensure!(status.success(), "{command:?} failed");
            Ok(())
        };
        let mut made = Command::new("python3");
        run(made.args(["-m", "venv"]).arg(&venv))?;
        let mut install = Command::new(&python);
        let got = run(install.args(["-m", "pip", "install", "--quiet", package]));
        if got.is_err() {
            // What is half made would be taken for whole the next time.
            let _ = fs::remove_dir_all(&venv);
        }
        got?;
    }
    Ok(python)
}

fn python_version() -> String {
    let output = Command::new("python3").arg("--version").output();
    match output {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            format!("C{}", version.trim())
        }
        Err(_) => "no python3, so nothing of multiprocessing".to_string(),
    }
}

/// Ours and each peer in turns, so that whatever else the machine does falls on all of them.
fn measure(
    case: &Benchmark,
    mut who: Vec<&'static str>,
    program: &Path,
    rounds: u32,
    failures: &mut Vec<BenchFailure>,
) -> BenchRow {
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for _ in 0..rounds {
        who.retain(|who| match once(who, case.name, program) {
            Ok(number) => {
                let least = best.entry(who).or_insert(number);
                *least = match case.higher {
                    true => least.max(number),
                    false => least.min(number),
                };
                true
            }
            // Once is enough to know, and the rest of the row goes on without it.
            Err(error) => {
                best.remove(who);
                failures.push((case.name, *who, error));
                false
            }
        });
    }
    BenchRow {
        name: case.name,
        unit: case.unit,
        better: if case.higher { "higher" } else { "lower" },
        ours: best.get("ours").copied(),
        peers: PEERS.map(|peer| (peer, best.get(peer).copied())).into(),
    }
}

fn once(who: &str, row: &str, program: &Path) -> anyhow::Result<f64> {
    let mut command = match who {
        PY => {
            let mut python = Command::new("python3");
            python.arg(folder().join("peer.py"));
            python
        }
        ZOO => {
            let mut python = Command::new(python_with("zooparallel")?);
            python.arg(folder().join("zooparallel_peer.py"));
            python
        }
        CELERY => {
            let mut python = Command::new(python_with("celery[redis]")?);
            python.arg(folder().join("celery_peer.py"));
            python
        }
        _ => {
            let mut bench = Command::new(program);
            bench.arg(who);
            bench
        }
    };
    command.arg(row).stdin(Stdio::null()).process_group(0);
    command.env(MARK, format!("{}.", process::id()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| match who {
        PY => "run python3 (install it to compare)".to_string(),
        _ => format!("run {}", program.display()),
    })?;
    let group = Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            bail!("it hangs: no figure after {} s", DEADLINE.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    };
    // Children that it left behind may hold the pipes: only what is there is read when it failed.
    let mut text = String::new();
    if !status.success() {
        // What it had started waits for it, and would for ever.
        let _ = killpg(group, Signal::SIGKILL);
        if let Some(stderr) = child.stderr {
            io::BufRead::read_line(&mut io::BufReader::new(stderr), &mut text)?;
        }
        bail!("{}", text.trim().trim_start_matches("error: "));
    }
    let stdout = child.stdout.context("its output is piped")?;
    stdout.take(64).read_to_string(&mut text)?;
    text.trim()
        .parse()
        .with_context(|| format!("read its figure {text:?}"))
}

fn print_head(lang: Lang) -> anyhow::Result<()> {
    let peers = PEERS.map(|peer| format!(" {peer:>17}")).concat();
    let ours = lang.pick("     ours", "     我们");
    say!("{:28} {:8} {ours}{peers}", "", "")
}

/// Each figure, and after it how many times better ours is.
fn print_row(case: &Benchmark, row: &BenchRow, lang: Lang) -> anyhow::Result<()> {
    let ours = row.ours.map_or("-".to_string(), short);
    let mut line = format!("{:28} {:8} {ours:>9}", row.name, row.unit);
    for peer in PEERS {
        let text = match (row.ours, row.peers[peer]) {
            (Some(ours), Some(peer)) => {
                let ratio = if case.higher {
                    ours / peer
                } else {
                    peer / ours
                };
                format!("{} {:>7}", short(peer), format!("{}x", digits(ratio)))
            }
            (None, Some(peer)) => short(peer),
            (_, None) if case.peers.contains(&peer) => lang.pick("failed", "失败").to_string(),
            (_, None) => String::new(),
        };
        line += &format!(" {}", right_aligned(&text, 17));
    }
    say!("{}", line.trim_end())
}

/// Three digits and a magnitude: 18.4M.
fn short(number: f64) -> String {
    match number {
        1e9.. => format!("{}G", digits(number / 1e9)),
        1e6.. => format!("{}M", digits(number / 1e6)),
        1e4.. => format!("{}k", digits(number / 1e3)),
        _ => digits(number),
    }
}

fn digits(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
