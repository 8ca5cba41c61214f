//! Every gate of the project, each a command that a reader can type.

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

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

const GATES: [Gate; 28] = [
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
    // Built to be killed between two stores of its choice, which no other build can.
    gate(
        "test --package multiprocess --features kill-points --test queue --test pool --test sync --locked",
    ),
    gate(
        "test --package distributed --features nats,top,traces --bin manager --test nats --test top --test traces --locked",
    ),
    // The same on a newer engine. Tests run in the folder of their package.
    with(
        ENGINE,
        "../target/nats-venv/bin/nats-server",
        "test --package distributed --features nats,top,traces --test nats --locked",
    ),
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
    gate("run --quiet --package xtask -- all --fast"),
    gate(
        "run --quiet --package xtask -- chaos pool supervisor queue application growth manager --rounds 2",
    ),
    // A cluster of Debian's server, once its nodes were killed or cut off, is slower to find itself than
    // we promise, and its nodes may disagree for ever on what is done.
    with(
        ENGINE,
        "target/nats-venv/bin/nats-server",
        "run --quiet --package xtask -- chaos distributed --rounds 1",
    ),
    with(ENGINE, "target/nats-venv/bin/nats-server", PARTITIONS),
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

pub(crate) fn ci(lang: Lang) -> anyhow::Result<Exit> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for Gate {
        variable,
        arguments,
    } in &GATES
    {
        if *arguments == PARTITIONS && !chaos::may_make_networks() {
            match lang {
                Lang::En => say!("not run, for nobody may make networks here: cargo {arguments}")?,
                Lang::Zh => say!("没有运行，因为这里谁也不能建网络：cargo {arguments}")?,
            }
            continue;
        }
        let mut command = Command::new(&cargo);
        command.args(arguments.split(' ')).envs(*variable);
        let typed = match variable {
            Some((name, value)) => format!("{name}='{value}' cargo {arguments}"),
            None => format!("cargo {arguments}"),
        };
        say!("$ {typed}")?;
        let begun = Instant::now();
        let status = command.status().with_context(|| format!("run {typed}"))?;
        if !status.success() {
            match lang {
                Lang::En => complain!("{typed} failed: {status}"),
                Lang::Zh => complain!("{typed} 失败：{status}"),
            }
            return Ok(Exit::Failed);
        }
        let seconds = begun.elapsed().as_secs();
        match lang {
            Lang::En => say!("it took {seconds} s")?,
            Lang::Zh => say!("用了 {seconds} 秒")?,
        }
    }
    Ok(Exit::Held)
}
