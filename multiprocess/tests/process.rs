//! `Process` by direct fork: what comes back, what is left, and what happens when it dies.

use std::{panic, process};

use libtest_mimic::{Arguments, Failed, Trial};
use multiprocess::Process;
use nix::unistd::alarm;

fn main() {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    libtest_mimic::run(&args, trials()).exit();
}

macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        fn trials() -> Vec<Trial> {
            vec![$(Trial::test(stringify!($name), || guarded($name))),*]
        }
    };
}

trials![a_value_comes_back_through_join,];

/// Runs a test with a deadline: a hang ends the whole run by SIGALRM, below the test's name.
fn guarded(test: fn()) -> Result<(), Failed> {
    alarm::set(120);
    let done = panic::catch_unwind(test);
    alarm::cancel();
    done.map_err(|_| Failed::from("see the panic above"))
}

fn a_value_comes_back_through_join() {
    let words = ["a".to_string(), "b".to_string()];
    let process = Process::spawn(|| (words.concat(), process::id())).unwrap();
    let pid = process.pid() as u32;
    assert_eq!(process.join().unwrap(), ("ab".to_string(), pid));
}
