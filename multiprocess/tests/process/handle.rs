//! What a handle can do, and what becomes of a process whose handle is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use std::{fs, mem, process, thread};

use multiprocess::{Error, Process, Queue};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::support::{Child, NOW, SOON, is_gone, wait_until_asleep};

tests![
    a_join_with_a_timeout_gives_up_and_can_be_repeated,
    a_timeout_beyond_the_clock_is_none,
    an_outcome_can_be_asked_for_again,
    terminate_ends_a_process_by_sigterm,
    kill_ends_a_process_that_ignores_sigterm,
    a_signal_to_a_process_that_has_ended_is_no_error,
    a_signal_never_hits_another_process_of_the_same_number,
    a_signal_that_is_handled_ends_no_wait,
    a_look_at_a_process_does_not_change_it,
    processes_are_named_in_the_order_of_their_birth,
    a_dropped_handle_waits_for_its_process,
    a_dropped_handle_kills_a_daemon,
    a_handle_dropped_by_a_panic_does_not_wait,
    a_dropped_handle_does_not_want_the_value,
    a_grandchild_that_lives_on_is_not_waited_for,
    a_forked_copy_of_the_handle_does_nothing,
];

fn sleeper() -> Process<()> {
    Process::spawn(|| thread::sleep(Duration::from_secs(600))).unwrap()
}

fn a_join_with_a_timeout_gives_up_and_can_be_repeated() {
    let gate = Queue::new().unwrap();
    let mut process = Process::spawn(|| gate.get().unwrap()).unwrap();
    for timeout in [Duration::ZERO, NOW, Duration::from_nanos(1)] {
        assert!(matches!(
            process.join_timeout(timeout),
            Err(Error::TimedOut)
        ));
    }
    gate.put(&5).unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), 5);
}

fn a_timeout_beyond_the_clock_is_none() {
    let mut process = Process::spawn(|| 5).unwrap();
    assert_eq!(process.join_timeout(Duration::MAX).unwrap(), 5);
}

fn an_outcome_can_be_asked_for_again() {
    let mut good = Process::spawn(|| "good".to_string()).unwrap();
    let mut bad = Process::<()>::spawn(|| panic!("bad")).unwrap();
    for _ in 0..3 {
        assert_eq!(good.join_timeout(SOON).unwrap(), "good");
        assert!(matches!(
            bad.join_timeout(SOON),
            Err(Error::Panicked { .. })
        ));
    }
    assert_eq!(good.join().unwrap(), "good");
    assert_eq!(bad.exitcode(), Some(101));
}

fn terminate_ends_a_process_by_sigterm() {
    let process = sleeper();
    process.terminate().unwrap();
    assert!(matches!(
        process.join(),
        Err(Error::Killed { signal: 15, .. })
    ));
}

fn kill_ends_a_process_that_ignores_sigterm() {
    let ready = Queue::new().unwrap();
    let stubborn = || {
        let caught = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, caught).unwrap();
        ready.put(&()).unwrap();
        loop {
            thread::sleep(SOON);
        }
    };
    let mut process = Process::<()>::spawn(stubborn).unwrap();
    ready.get_timeout(SOON).unwrap();
    process.terminate().unwrap();
    assert!(matches!(process.join_timeout(NOW), Err(Error::TimedOut)));
    process.kill().unwrap();
    assert!(matches!(
        process.join(),
        Err(Error::Killed { signal: 9, .. })
    ));
}

fn a_signal_to_a_process_that_has_ended_is_no_error() {
    let mut process = Process::spawn(|| 1).unwrap();
    // It may still run, be a zombie, or be gone.
    process.join_timeout(SOON).unwrap();
    process.terminate().unwrap();
    process.kill().unwrap();
    assert_eq!(process.join().unwrap(), 1);
    let process = Process::spawn(|| 1).unwrap();
    while process.is_alive() {
        thread::yield_now();
    }
    process.kill().unwrap();
    assert_eq!(process.join().unwrap(), 1);
}

/// The number is given to another process while the handle still names the one that had it.
fn a_signal_that_is_handled_ends_no_wait() {
    let handled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&handled)).unwrap();
    let waiting = Pid::this();
    let mut process = Process::spawn(|| {
        wait_until_asleep(waiting.as_raw().cast_unsigned());
        kill(waiting, Signal::SIGUSR1).unwrap();
        wait_until_asleep(waiting.as_raw().cast_unsigned());
        7
    })
    .unwrap();
    assert_eq!(process.join_timeout(SOON).unwrap(), 7);
    assert!(handled.load(SeqCst));
}

fn a_signal_never_hits_another_process_of_the_same_number() {
    let process = Process::spawn(|| ()).unwrap();
    let pid = Pid::from_raw(process.pid().cast_signed());
    // Somebody reaps all children of the program, as some libraries do.
    waitpid(pid, None).unwrap();
    match process_with_number(pid.as_raw()) {
        Some(other) => {
            process.terminate().unwrap();
            process.kill().unwrap();
            drop(process);
            // Only its own word ends it.
            assert!(other.is_asleep());
            other.kill();
        }
        None => {
            eprintln!("skipped: no process with a used number can be had here");
            process.kill().unwrap();
            let outcome = process.join();
            assert!(matches!(outcome, Err(Error::Os { .. })));
        }
    }
}

/// A sleeping process with this number. Numbers are given in turn, and root may say where to go on.
fn process_with_number(number: i32) -> Option<Child> {
    let forks_max = match fs::read_to_string("/proc/sys/kernel/pid_max") {
        Ok(max) if max.trim().parse::<u32>().is_ok_and(|max| max <= 1 << 15) => 1 << 16,
        _ => 100,
    };
    for _ in 0..forks_max {
        let _ = fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string());
        let child = Child::fork(|| thread::sleep(SOON));
        if child.pid.as_raw() == number {
            child.wait_until_asleep();
            return Some(child);
        }
        child.kill();
    }
    None
}

fn a_look_at_a_process_does_not_change_it() {
    let gate = Queue::<()>::new().unwrap();
    let mut process = Process::builder()
        .name("looked at")
        .spawn(|| gate.get().unwrap())
        .unwrap();
    let text = format!("{process:?}");
    assert!(
        text.contains(r#"name: "looked at""#) && text.contains("exitcode: None"),
        "{text}"
    );
    assert!(process.is_alive());
    gate.put(&()).unwrap();
    while process.is_alive() {
        thread::yield_now();
    }
    assert_eq!(process.exitcode(), Some(0));
    assert!(format!("{process:?}").contains("exitcode: Some(0)"));
    // It is still in the process table, with its number, until it is joined.
    let pid = Pid::from_raw(process.pid().cast_signed());
    assert!(kill(pid, None).is_ok());
    process.join_timeout(SOON).unwrap();
    assert!(kill(pid, None).is_err());
}

fn processes_are_named_in_the_order_of_their_birth() {
    let processes = [(); 3].map(|()| Process::spawn(|| ()).unwrap());
    let names = processes.each_ref().map(Process::name);
    assert_eq!(names, ["Process-1", "Process-2", "Process-3"]);
}

fn a_dropped_handle_waits_for_its_process() {
    let done = Queue::new().unwrap();
    let process = Process::spawn(|| {
        thread::sleep(NOW);
        done.put(&process::id()).unwrap();
    });
    let pid = process.as_ref().unwrap().pid();
    drop(process);
    assert_eq!(done.try_get().unwrap(), pid);
    assert!(
        kill(Pid::from_raw(pid.cast_signed()), None).is_err(),
        "a zombie is left"
    );
}

fn a_dropped_handle_kills_a_daemon() {
    let daemon = Process::builder().daemon(true);
    let daemon = daemon.spawn(|| thread::sleep(Duration::from_secs(600)));
    let pid = daemon.as_ref().unwrap().pid();
    drop(daemon);
    assert!(
        kill(Pid::from_raw(pid.cast_signed()), None).is_err(),
        "a zombie is left"
    );
}

/// The child waits for its parent, which panics: each would wait for the other.
fn a_handle_dropped_by_a_panic_does_not_wait() {
    let gate = Queue::<()>::new().unwrap();
    let mut pid = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let process = Process::spawn(|| gate.get().unwrap()).unwrap();
        pid = process.pid();
        panic!("before the gate was opened");
    }));
    assert!(panicked.is_err());
    assert!(!is_gone(pid));
    gate.put(&()).unwrap();
    waitpid(Pid::from_raw(pid.cast_signed()), None).unwrap();
}

/// The child writes more than a socket holds, to nobody.
fn a_dropped_handle_does_not_want_the_value() {
    drop(Process::spawn(|| "x".repeat(64 << 20)).unwrap());
}

/// The grandchild has what the child had open, also the end of the pipe to the parent.
fn a_grandchild_that_lives_on_is_not_waited_for() {
    let process = Process::spawn(|| {
        let child = Child::fork(|| thread::sleep(Duration::from_secs(600)));
        let pid = child.pid.as_raw().cast_unsigned();
        mem::forget(child);
        pid
    });
    let grandchild = process.unwrap().join().unwrap();
    assert!(!is_gone(grandchild));
    kill(Pid::from_raw(grandchild.cast_signed()), Signal::SIGKILL).unwrap();
}

fn a_forked_copy_of_the_handle_does_nothing() {
    let mut process = Some(sleeper());
    let child = Process::spawn(|| {
        let copy = process.take().unwrap();
        assert!(!copy.is_alive());
        assert_eq!(copy.exitcode(), None);
        assert!(matches!(copy.kill(), Err(Error::Os { .. })));
        assert!(matches!(copy.join(), Err(Error::Os { .. })));
    });
    child.unwrap().join().unwrap();
    let process = process.unwrap();
    assert!(process.is_alive());
    process.kill().unwrap();
    assert!(matches!(process.join(), Err(Error::Killed { .. })));
}
