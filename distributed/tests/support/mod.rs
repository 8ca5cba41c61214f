//! What the tests share: the Pythons of the machine, programs that end with the test, a server.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses its part of it"
)]

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Finished, Program};
use distributed::{Client, Result, Server};

pub(crate) mod raw;
pub(crate) mod tasks;

/// Long enough for a machine with better things to do; nothing waits for it to pass.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A server with one queue, `tasks`, and a client of it.
pub(crate) fn task_server() -> Result<(Server, Client)> {
    let builder = Server::builder().queue("tasks");
    let server = builder.serve("127.0.0.1:0", b"abc")?;
    let client = Client::connect(server.address(), b"abc")?;
    Ok((server, client))
}

/// Every CPython here, by version: `python3`, and what pyenv has. None is an error in CI.
pub(crate) fn pythons() -> BTreeMap<String, PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| root.join("versions").read_dir().ok());
    let versions = versions.into_iter().flatten().flatten();
    let mut candidates = vec![PathBuf::from("python3")];
    candidates.extend(versions.map(|version| version.path().join("bin/python")));
    let version = "import platform as p; print(p.python_implementation() + p.python_version())";
    let known = |python: PathBuf| {
        let output = Command::new(&python).args(["-c", version]).output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?;
        Some((version.trim().strip_prefix("CPython")?.to_string(), python))
    };
    let found: BTreeMap<_, _> = candidates.into_iter().filter_map(known).collect();
    if found.is_empty() {
        assert!(env::var_os("CI").is_none(), "CI needs a python3");
        println!("skipped: there is no python3 here");
    }
    found
}

/// The oldest and the newest Python 3, for what need not be tried with all.
pub(crate) fn some_pythons() -> Vec<(String, PathBuf)> {
    let key = |version: &str| -> Vec<u32> { version.split('.').flat_map(str::parse).collect() };
    let mut all: Vec<_> = pythons()
        .into_iter()
        .filter(|(version, _)| version.starts_with('3'))
        .collect();
    all.sort_by_key(|(version, _)| key(version));
    match all.len() {
        0..=2 => all,
        len => vec![all.swap_remove(len - 1), all.swap_remove(0)],
    }
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/python")
        .join(name)
}

pub(crate) fn python(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg("-B").arg(script(name)).stdin(Stdio::null());
    // Its output is not to be held back when it goes into a pipe.
    command.env("PYTHONUNBUFFERED", "1");
    command
}

/// Starts a program that is killed with the test.
pub(crate) fn start(command: &mut Command) -> Program {
    Program::start(command).unwrap_or_else(|error| panic!("{error}"))
}

/// The next line that it prints.
pub(crate) fn line(program: &Program) -> String {
    program.line(Instant::now() + LONG).expect("a line")
}

/// Waits until it ends, and ends well. Returns the lines that were not read before.
pub(crate) fn finish(program: Program) -> String {
    let finished = program.finish(Instant::now() + LONG);
    let Finished { out, err, status } = finished.unwrap_or_else(|why| panic!("{why}"));
    assert!(status.success(), "{out}\n{err}");
    out
}

/// Runs a program to its end; what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    finish(start(command.stderr(Stdio::piped())))
}

/// The program `manager`, with its key in the environment and these arguments, and its address.
pub(crate) fn manager(arguments: &[&str]) -> (Program, String) {
    let mut command = Command::new(cargo_bin("manager"));
    command.env("MANAGER_AUTHKEY", "abc").env("RUST_LOG", "off");
    command.env("LC_ALL", "C");
    if !arguments.contains(&"--bind") {
        command.args(["--bind", "127.0.0.1:0"]);
    }
    let manager = start(command.args(arguments));
    let address = line(&manager);
    (manager, address)
}

/// Tries again until it holds, for as long as a test may take.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

/// A figure of a process's memory, as `/proc/PID/status` names it, in bytes: `VmRSS` is what it has
/// in memory now, `VmHWM` the most that it ever had.
pub(crate) fn memory(pid: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| {
        let rest = line.strip_prefix(figure)?;
        rest.strip_prefix(':')
    });
    let kib = line.expect("it has memory").trim().trim_end_matches(" kB");
    kib.parse::<u64>().expect("a number") << 10
}
