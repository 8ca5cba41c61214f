//! A replay that is killed at any moment leaves nothing behind.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Program, marked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::xtask;

mod support;

/// Cells with processes, threads, a queue and a companion program; a replay of them takes some seconds.
const CELLS: [&str; 6] = ["fork", "pool", "queue", "thread", "race", "task_master"];

/// A second on a machine that has nothing else to do.
const GONE: Duration = Duration::from_secs(10);

/// Kills a replay at ten moments of it, and sees each time that nothing of it is left.
fn killed_by(signal: Signal) {
    let seed = rand::rng().random();
    let mut moments = StdRng::seed_from_u64(seed);
    let cells = [&["run"][..], &CELLS, &["--fast", "-q"]].concat();
    // This builds the cells, so that the moments are those of the replay.
    let begun = Instant::now();
    let (code, out, err) = xtask(&cells);
    assert!(code == 0 || code == 1, "{out}{err}");
    let whole = begun.elapsed().min(Duration::from_secs(4));
    for round in 0..10 {
        let moment = whole.mul_f64(moments.random());
        let at = format!("{signal}, seed {seed}, round {round}, after {moment:?}");
        let mut command = Command::new(cargo_bin("xtask"));
        // The programs are there: cargo has nothing to do.
        command
            .args(&cells)
            .env("CARGO", "true")
            .stdin(Stdio::null());
        let mut replay = Program::start(command.stderr(Stdio::null())).expect("xtask starts");
        let pid = replay.pid();
        thread::sleep(moment);
        // It may have come to its end by then, which is a moment too.
        let _ = kill(Pid::from_raw(pid), signal);
        let killed = Instant::now();
        let ended = replay.wait(killed + GONE).expect("it can be waited for");
        assert!(ended.is_some(), "{at}: it goes on");
        // All that a replay starts has this mark, whoever its parent is by now.
        let mark = format!("NOTEBOOK_RUN={pid}.");
        let mut left = marked(&mark);
        while !left.is_empty() && killed.elapsed() < GONE {
            thread::sleep(Duration::from_millis(5));
            left = marked(&mark);
        }
        assert!(left.is_empty(), "{at}: these run on: {left:?}");
    }
}

#[test]
fn a_replay_whose_terminal_is_closed_leaves_nothing_running() {
    killed_by(Signal::SIGHUP);
}

#[test]
fn a_replay_that_is_quit_leaves_nothing_running() {
    killed_by(Signal::SIGQUIT);
}

#[test]
fn a_replay_that_is_killed_leaves_nothing_running() {
    killed_by(Signal::SIGKILL);
}
