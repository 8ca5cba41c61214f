//! Every gate of the project, each a command that a reader can type.

use std::env;
use std::process::Command;

use anyhow::Context;

use crate::Exit;

const GATES: [&str; 15] = [
    "fmt --all --check",
    "clippy --workspace --all-targets --locked -- -D warnings",
    "clippy --package distributed --features nats --all-targets --locked -- -D warnings",
    "doc --workspace --no-deps --locked",
    "doc --package distributed --features nats --no-deps --locked",
    "test --workspace --locked",
    // Built to be killed between two stores of its choice, which no other build can.
    "test --package multiprocess --features kill-points --test queue --locked",
    "test --package distributed --features nats --test nats --locked",
    "run --quiet --package xtask -- all --fast",
    "run --quiet --package xtask -- chaos pool supervisor queue application --rounds 2",
    "run --quiet --package xtask -- chaos distributed --rounds 1",
    "run --quiet --package xtask -- bench queue/roundtrip --rounds 1",
    "run --quiet --package xtask -- bench manager/first-call --rounds 1",
    "run --quiet --package xtask -- bench distributed/engine-4w --rounds 1",
    "build --quiet --manifest-path distributed/fuzz/Cargo.toml --target-dir target/fuzz --locked",
];

pub(crate) fn ci() -> anyhow::Result<Exit> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for gate in GATES {
        println!("$ cargo {gate}");
        let mut command = Command::new(&cargo);
        command.args(gate.split(' '));
        if gate.starts_with("doc") {
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        let status = command
            .status()
            .with_context(|| format!("run cargo {gate}"))?;
        if !status.success() {
            eprintln!("error: cargo {gate} failed: {status}");
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Held)
}
