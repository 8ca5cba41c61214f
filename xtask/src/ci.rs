//! Every gate of the project, each a command that a reader can type.

use std::ffi::OsString;
use std::io::{Read, Seek};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Instant;
use std::{env, thread};

use anyhow::{Context, bail};

use crate::cli::Lang;
use crate::output::{complain, say};
use crate::{Exit, chaos};

/// What cargo does, and with which variable in its environment.
struct Gate {
    variable: Option<(&'static str, &'static str)>,
    arguments: &'static str,
}

const fn gate(arguments: &'static str) -> Gate {
    Gate {
        variable: None,
        arguments,
    }
}

const fn with(name: &'static str, value: &'static str, arguments: &'static str) -> Gate {
    Gate {
        variable: Some((name, value)),
        arguments,
    }
}

const DOCS: &str = "RUSTDOCFLAGS";
const ENGINE: &str = "NATS_SERVER_BIN";
/// It makes networks, which not every machine lets root do.
const PARTITIONS: &str = "run --quiet --package xtask -- chaos partitions --rounds 1";

const GATES: [Gate; 20] = [
    gate("fmt --all --check"),
    gate("clippy --workspace --all-targets --locked -- -D warnings"),
    gate(
        "clippy --package distributed --features nats,top,traces --all-targets --locked -- -D warnings",
    ),
    // The libraries alone, and with each feature alone.
    gate("clippy --package multiprocess --no-default-features --locked -- -D warnings"),
    gate(
        "clippy --package multiprocess --no-default-features --features rand --locked -- -D warnings",
    ),
    gate(
        "clippy --package multiprocess --no-default-features --features stream --locked -- -D warnings",
    ),
    gate(
        "clippy --package multiprocess --no-default-features --features testing --locked -- -D warnings",
    ),
    gate(
        "clippy --package multiprocess --no-default-features --features kill-points --locked -- -D warnings",
    ),
    gate("clippy --package distributed --no-default-features --locked -- -D warnings"),
    gate(
        "clippy --package distributed --no-default-features --features nats --locked -- -D warnings",
    ),
    gate(
        "clippy --package distributed --no-default-features --features metrics --locked -- -D warnings",
    ),
    gate(
        "clippy --package distributed --no-default-features --features programs --locked -- -D warnings",
    ),
    gate(
        "clippy --package distributed --no-default-features --features processes --locked -- -D warnings",
    ),
    with(DOCS, "-D warnings", "doc --workspace --no-deps --locked"),
    with(
        DOCS,
        "-D warnings",
        "doc --package distributed --features nats,processes,top,traces --no-deps --locked",
    ),
    gate("test --workspace --locked"),
    // Its tests wait for servers.
    gate(
        "test --package distributed --features nats,top,traces --bin manager --test nats --test top --test traces --locked -- --test-threads 6",
    ),
    // The same on a newer engine. Tests run in the folder of their package.
    with(
        ENGINE,
        "../target/nats-venv/bin/nats-server",
        "test --package distributed --features nats,top,traces --test nats --locked -- --test-threads 6",
    ),
    gate("run --quiet --package xtask -- all --fast"),
    gate(
        "run --quiet --package xtask -- chaos pool supervisor queue application growth manager --rounds 2",
    ),
];

/// What is built in folders of its own, and so waits for none of the others.
const BUILT_APART: [Gate; 5] = [
    // A program of somebody else's, apart from the workspace.
    gate(
        "test --manifest-path multiprocess/other-program/Cargo.toml --target-dir target/other-program --locked",
    ),
    gate(
        "nextest run --manifest-path multiprocess/other-program/Cargo.toml --target-dir target/other-program --locked",
    ),
    // Optimised across crates and stripped, so that nothing is kept but what is used.
    gate(
        "run --quiet --release --manifest-path multiprocess/other-program/Cargo.toml --target-dir target/other-program --locked",
    ),
    // That each kind of row runs, not how fast it is: without optimisation it is built sooner.
    with(
        "CARGO_PROFILE_RELEASE_OPT_LEVEL",
        "0",
        "run --quiet --package xtask -- bench queue/roundtrip sync/lock manager/first-call distributed/engine-4w --rounds 1",
    ),
    gate(
        "build --quiet --manifest-path distributed/fuzz/Cargo.toml --target-dir target/fuzz --locked",
    ),
];

/// What is killed.
const KILLS: [Gate; 2] = [
    // Built to be killed between two stores of its choice, which no other build can.
    gate(
        "test --package multiprocess --features kill-points --test queue --test pool --test sync --locked",
    ),
    // A cluster of Debian's server, once its nodes were killed or cut off, is slower to find itself than
    // we promise, and its nodes may disagree for ever on what is done.
    with(
        ENGINE,
        "target/nats-venv/bin/nats-server",
        "run --quiet --package xtask -- chaos distributed --rounds 1",
    ),
];

/// A cluster has a minute without a node, three times.
const CUTS: [Gate; 1] = [with(ENGINE, "target/nats-venv/bin/nats-server", PARTITIONS)];

/// One stage after the other. The two lanes of a stage run at the same time, and in a lane one gate runs
/// after the other: most tests wait more than they compute.
const STAGES: [[&[Gate]; 2]; 2] = [[&GATES, &BUILT_APART], [&KILLS, &CUTS]];

pub(crate) fn ci(lang: Lang) -> anyhow::Result<Exit> {
    let failed = Mutex::new(Vec::new());
    for [gates, beside] in STAGES {
        thread::scope(|scope| {
            scope.spawn(|| hold(beside, Gate::run_beside, &failed, lang));
            hold(gates, Gate::run, &failed, lang);
        });
    }
    // Once more, so that they are the last of what is read.
    let failed = failed.into_inner().expect("nobody panics with it");
    for reason in &failed {
        complain!("{reason}");
    }
    Ok(match failed.is_empty() {
        true => Exit::Held,
        false => Exit::Failed,
    })
}

/// Runs the gates of a lane. Once one has failed, in either lane, none begins.
fn hold(
    gates: &[Gate],
    run: fn(&Gate) -> anyhow::Result<ExitStatus>,
    failed: &Mutex<Vec<String>>,
    lang: Lang,
) {
    for gate in gates {
        if !failed.lock().unwrap().is_empty() {
            break;
        }
        if let Err(error) = gate.hold(run, lang) {
            let reason = lang.error(&error);
            complain!("{reason}");
            failed.lock().unwrap().push(reason);
        }
    }
}

impl Gate {
    /// # Errors
    ///
    /// When it does not hold.
    fn hold(&self, run: fn(&Gate) -> anyhow::Result<ExitStatus>, lang: Lang) -> anyhow::Result<()> {
        let arguments = self.arguments;
        if arguments == PARTITIONS && !chaos::may_make_networks() {
            match lang {
                Lang::En => say!("not run, for nobody may make networks here: cargo {arguments}")?,
                Lang::Zh => say!("没有运行，因为这里谁也不能建网络：cargo {arguments}")?,
            }
            return Ok(());
        }
        let typed = self.typed();
        let begun = Instant::now();
        let status = run(self)?;
        if !status.success() {
            bail!("{typed} failed: {status}");
        }
        let seconds = begun.elapsed().as_secs();
        match lang {
            Lang::En => say!("{typed} took {seconds} s"),
            Lang::Zh => say!("{typed} 用了 {seconds} 秒"),
        }
    }

    fn run(&self) -> anyhow::Result<ExitStatus> {
        let typed = self.typed();
        say!("$ {typed}")?;
        let status = self.completed(Command::new(cargo())).status();
        status.with_context(|| format!("run {typed}"))
    }

    /// Runs it after whatever else wants the processor, and says what it has printed once it has ended.
    fn run_beside(&self) -> anyhow::Result<ExitStatus> {
        let typed = self.typed();
        let attempt = || format!("run {typed}");
        // A file, which ends with the gate, whatever it leaves running.
        let mut file = tempfile::tempfile().with_context(attempt)?;
        let mut command = Command::new("nice");
        command.args(["-n", "5"]).arg(cargo());
        command.stdout(file.try_clone().with_context(attempt)?);
        command.stderr(file.try_clone().with_context(attempt)?);
        let status = self.completed(command).status().with_context(attempt)?;
        let mut printed = Vec::new();
        file.rewind().with_context(attempt)?;
        file.read_to_end(&mut printed).with_context(attempt)?;
        say!("$ {typed}\n{}", String::from_utf8_lossy(&printed))?;
        Ok(status)
    }

    fn completed(&self, mut cargo: Command) -> Command {
        cargo.args(self.arguments.split(' ')).envs(self.variable);
        cargo
    }

    /// As a reader types it.
    fn typed(&self) -> String {
        match self.variable {
            Some((name, value)) => format!("{name}='{value}' cargo {}", self.arguments),
            None => format!("cargo {}", self.arguments),
        }
    }
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
