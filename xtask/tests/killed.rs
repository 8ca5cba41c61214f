//! A replay that is killed at any moment leaves nothing behind.

use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{self, Program, marked};
use common::replay::mark_of;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::xtask;

mod support;

/// Cells that run on for seconds if nobody ends them: processes, threads, a queue, and a master that
/// waits for its worker.
const CELLS: [&str; 4] = ["pool", "queue", "thread", "task_master"];

/// When it is killed, in seconds: before it has started anything, and until none has ended.
const MOMENTS: Range<f64> = 0.0..1.5;

/// A second, and what a machine with other work to do takes for it.
const GONE: Duration = Duration::from_secs(3);

/// Sends a signal, and sees that neither it nor what has the mark goes on.
fn end(program: &mut Program, signal: Signal, mark: &str, at: &str) {
    kill(Pid::from_raw(program.pid()), signal).expect("it still runs");
    let deadline = Instant::now() + GONE;
    let ended = program.wait(deadline).expect("it can be waited for");
    assert!(ended.is_some(), "{at}: it goes on");
    while !marked(mark).is_empty() {
        assert!(Instant::now() < deadline, "{at}: {:?} go on", marked(mark));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Kills a replay at ten moments of it, and sees each time that nothing of it is left.
fn killed_by(signal: Signal) {
    // This builds the cells, so that the moments are those of the replay.
    let (code, out, err) = xtask(&[&["run"][..], &CELLS, &["--fast", "-q"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let seed = rand::rng().random();
    let mut dice = StdRng::seed_from_u64(seed);
    let mut caught = 0;
    for round in 0..10 {
        let cell = CELLS[round % CELLS.len()];
        let moment = Duration::from_secs_f64(dice.random_range(MOMENTS));
        let at = format!("{signal}, seed {seed}, {cell} after {moment:?}");
        let mut command = program::by_hand(cargo_bin("xtask"));
        // The programs are there: cargo has nothing to do.
        command
            .args(["run", cell, "-q"])
            .envs([("CARGO", "true"), ("PACE", "1")]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut replay = Program::start(&mut command).expect("xtask starts");
        thread::sleep(moment);
        // All that a replay starts has this mark, whoever its parent is by now.
        let mark = mark_of(replay.child.id());
        caught += usize::from(!marked(&mark).is_empty());
        end(&mut replay, signal, &mark, &at);
    }
    assert!(
        caught > 4,
        "{signal}, seed {seed}: {caught} of 10 had programs that ran"
    );
}

#[test]
fn chaos_that_is_killed_leaves_nothing_running() {
    for (signal, case) in [(Signal::SIGKILL, "application"), (Signal::SIGHUP, "growth")] {
        let mut command = program::by_hand(cargo_bin("xtask"));
        command
            .args(["chaos", case])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut chaos = Program::start(&mut command).expect("xtask starts");
        let mark = program::mark_of(chaos.child.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        while marked(&mark).len() < 4 {
            assert!(
                Instant::now() < deadline,
                "{case}: its program never came up"
            );
            thread::sleep(Duration::from_millis(5));
        }
        end(&mut chaos, signal, &mark, case);
    }
}

#[test]
fn a_replay_whose_terminal_is_closed_leaves_nothing_running() {
    killed_by(Signal::SIGHUP);
}

#[test]
fn a_replay_that_nohup_has_started_goes_on_when_its_terminal_is_closed() {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let mut command = Command::new("sh");
        // nohup ignores the first; a shell, for what its script runs in the background, the others.
        let ignoring = "trap '' HUP INT QUIT; exec \"$0\" run thread -q";
        command.args(["-c", ignoring]).arg(cargo_bin("xtask"));
        let command = command.env("PACE", "0.2").stdin(Stdio::null());
        let replay = Program::start(command).expect("a shell starts");
        let mark = mark_of(replay.child.id());
        let deadline = Instant::now() + Duration::from_secs(300);
        while marked(&mark).is_empty() {
            assert!(Instant::now() < deadline, "the cell never came up");
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(replay.pid()), signal).expect("it runs");
        let finished = replay.finish(deadline).expect("it ends");
        assert!(finished.status.success(), "{signal}: {}", finished.out);
        assert!(finished.out.contains("1 passed"), "{}", finished.out);
    }
}

#[test]
fn a_replay_that_is_quit_leaves_nothing_running() {
    killed_by(Signal::SIGQUIT);
}

#[test]
fn a_replay_that_is_killed_leaves_nothing_running() {
    killed_by(Signal::SIGKILL);
}
