//! How a process ended, and what `join` says of it.

use std::panic::{panic_any, resume_unwind};
use std::time::Duration;
use std::{process, thread};

use multiprocess::{Error, Process, Queue};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::SOON;

tests![
    a_value_comes_back_through_join,
    r28_a_closure_takes_along_what_it_captures,
    what_the_child_changes_is_not_changed_here,
    a_value_of_64_mib_comes_back_whole,
    a_large_value_or_argument_over_the_limit_of_file_sizes_is_an_error,
    a_value_without_a_binary_form_is_an_error,
    a_value_that_does_not_read_back_is_an_error,
    a_panic_comes_back_with_its_message_and_place,
    a_panic_with_something_else_than_text_is_told_as_well,
    a_panic_that_was_caught_is_none,
    a_panic_within_the_value_s_serialisation_is_told,
    every_signal_that_ends_a_process_is_told,
    an_overflowing_stack_is_a_death_by_signal,
    an_exit_before_the_function_returned_is_told_with_its_code,
    a_process_killed_while_it_hands_over_its_value_is_told_as_killed_or_has_done_so,
    a_process_may_have_processes_of_its_own,
];

fn a_value_comes_back_through_join() {
    let words = ["a".to_string(), "b".to_string()];
    let process = Process::spawn(|| (words.concat(), process::id())).unwrap();
    let pid = process.pid();
    assert_eq!(process.join().unwrap(), ("ab".to_string(), pid));
    Process::spawn(|| ()).unwrap().join().unwrap();
}

/// Python, where children are not forked: PicklingError.
fn r28_a_closure_takes_along_what_it_captures() {
    let borrowed = "of the parent".to_string();
    let moved = Box::new(|n: u32| n + 1);
    let process = Process::spawn(move || (borrowed.len(), moved(1))).unwrap();
    assert_eq!(process.join().unwrap(), (13, 2));
}

fn what_the_child_changes_is_not_changed_here() {
    let mut numbers = vec![1];
    let process = Process::spawn(|| {
        numbers.push(2);
        numbers.len()
    });
    assert_eq!(process.unwrap().join().unwrap(), 2);
    assert_eq!(numbers, [1]);
}

fn a_value_of_64_mib_comes_back_whole() {
    let large = || (0..64 << 20).map(|n| n as u8).collect::<Vec<u8>>();
    let value = Process::spawn(large).unwrap().join().unwrap();
    assert!(value == large());
}

/// SIGXFSZ would end the process without a word, and this one.
fn a_large_value_or_argument_over_the_limit_of_file_sizes_is_an_error() {
    setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
    let process = Process::spawn(|| vec![1_u8; 2 << 20]).unwrap();
    let value = process.join().unwrap_err().to_string();
    assert!(value.contains("RLIMIT_FSIZE"), "{value}");
    let argument = Process::spawn_with(|bytes: Vec<u8>| bytes.len(), vec![1; 2 << 20]);
    let argument = argument.unwrap_err().to_string();
    assert!(argument.contains("RLIMIT_FSIZE"), "{argument}");
    let small = Process::spawn_with(|bytes: Vec<u8>| bytes.len(), vec![1; 1000]);
    assert_eq!(small.unwrap().join(), Ok(1000));
}

struct NoWayOut;

impl Serialize for NoWayOut {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no way out"))
    }
}

impl<'de> Deserialize<'de> for NoWayOut {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

fn a_value_without_a_binary_form_is_an_error() {
    let Err(error) = Process::spawn(|| NoWayOut).unwrap().join() else {
        panic!("it has no binary form");
    };
    assert!(matches!(error, Error::Serial { .. }), "{error}");
    assert!(error.to_string().contains("NoWayOut"), "{error}");
}

#[derive(Debug, Serialize)]
struct NoWayBack(u8);

impl<'de> Deserialize<'de> for NoWayBack {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("no way back"))
    }
}

fn a_value_that_does_not_read_back_is_an_error() {
    let outcome = Process::spawn(|| NoWayBack(1)).unwrap().join();
    assert!(matches!(outcome, Err(Error::Serial { .. })));
}

#[track_caller]
fn panics_with(expected: &str, function: fn()) -> String {
    match Process::spawn(function).unwrap().join() {
        Err(Error::Panicked { message, location }) => {
            assert_eq!(message, expected);
            location
        }
        other => panic!("another outcome: {other:?}"),
    }
}

fn a_panic_comes_back_with_its_message_and_place() {
    let line = line!() + 1;
    let location = panics_with("plain", || panic!("plain"));
    assert!(
        location.contains(&format!("outcome.rs:{line}:")),
        "{location}"
    );
    panics_with("3 of 4", || panic!("{} of {}", 3, 4));
}

fn a_panic_with_something_else_than_text_is_told_as_well() {
    panics_with("a value that is not text", || panic_any(7));
    panics_with("a value that is not text", || panic_any(Bomb));
}

/// What a panic threw is dropped nowhere, since that could panic as well.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn a_panic_that_was_caught_is_none() {
    let process = Process::spawn(|| {
        let caught = std::panic::catch_unwind(|| panic!("the first"));
        assert!(caught.is_err());
        7
    });
    assert_eq!(process.unwrap().join().unwrap(), 7);
    // One that is resumed is told with its message.
    panics_with("the first", || {
        let caught = std::panic::catch_unwind(|| panic!("the first"));
        resume_unwind(caught.unwrap_err());
    });
}

#[derive(Deserialize)]
struct Trap;

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a trap")
    }
}

fn a_panic_within_the_value_s_serialisation_is_told() {
    let outcome = Process::spawn(|| Trap).unwrap().join();
    assert!(matches!(outcome, Err(Error::Panicked { message, .. }) if message == "a trap"));
}

fn every_signal_that_ends_a_process_is_told() {
    // One of each kind: by another process, by abort(3), by the system, and a real-time one. What is
    // run in the background of a script ignores SIGINT, and so would its children.
    let number = |signal: Signal| signal as i32;
    let named = [Signal::SIGTERM, Signal::SIGABRT, Signal::SIGKILL].map(number);
    for number in named.into_iter().chain([40]) {
        let process = Process::spawn(|| {
            let me = process::id().to_string();
            let sent = process::Command::new("kill")
                .args([format!("-{number}"), me])
                .status();
            assert!(sent.unwrap().success());
            thread::sleep(SOON);
        });
        let process = process.unwrap();
        let expected = process.pid();
        let Err(Error::Killed { signal, pid }) = process.join() else {
            panic!("signal {number}");
        };
        assert_eq!((signal, pid), (number, expected));
    }
}

/// The standard library's handler, which prints what happened, is still there in a child.
fn an_overflowing_stack_is_a_death_by_signal() {
    fn deeper(n: u64) -> u64 {
        let frame = std::hint::black_box([n; 1000]);
        match n {
            u64::MAX => 0,
            _ => deeper(n + 1) + frame[(n % 1000) as usize],
        }
    }
    let outcome = Process::spawn(|| deeper(0)).unwrap().join();
    let Err(Error::Killed { signal, .. }) = outcome else {
        panic!("another outcome: {outcome:?}");
    };
    assert!([Signal::SIGABRT as i32, Signal::SIGSEGV as i32].contains(&signal));
}

fn an_exit_before_the_function_returned_is_told_with_its_code() {
    for expected in [0, 1, 3, 101, 255] {
        let mut process = Process::<()>::spawn(|| process::exit(expected)).unwrap();
        let outcome = process.join_timeout(SOON);
        assert!(matches!(outcome, Err(Error::Exited { code, .. }) if code == expected));
        assert_eq!(process.exitcode(), Some(expected));
    }
}

fn a_process_killed_while_it_hands_over_its_value_is_told_as_killed_or_has_done_so() {
    let started = Queue::new().unwrap();
    let whole = "x".repeat(8 << 20);
    for round in 0..50 {
        let process = Process::spawn(|| {
            started.put(&()).unwrap();
            whole.clone()
        });
        let process = process.unwrap();
        started.get_timeout(SOON).unwrap();
        // Each round somewhat later, from before the value is made to when it has been written.
        thread::sleep(Duration::from_micros(200) * round);
        kill(Pid::from_raw(process.pid().cast_signed()), Signal::SIGKILL).unwrap();
        match process.join() {
            Ok(value) => assert!(value == whole),
            Err(error) => assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error}"),
        }
    }
}

fn a_process_may_have_processes_of_its_own() {
    fn generations(left: u32) -> u32 {
        match left {
            0 => 1,
            _ => {
                1 + Process::spawn(|| generations(left - 1))
                    .unwrap()
                    .join()
                    .unwrap()
            }
        }
    }
    assert_eq!(generations(5), 6);
}
