//! What a child starts with, and what becomes of what it prints.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::{fs, io::Write, panic, process, thread};

use multiprocess::{Error, Process, Queue};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGTERM, SIGUSR1};

use crate::support::{SOON, printed};

tests![
    r06_a_program_with_threads_is_refused_with_their_number,
    a_program_whose_threads_have_ended_is_not_refused,
    r13_what_a_child_prints_is_neither_lost_nor_doubled,
    what_a_child_prints_before_a_panic_is_not_lost,
    what_a_grandchild_prints_is_neither_lost_nor_doubled,
    a_child_starts_with_default_signal_handlers_and_none_blocked,
    a_handler_of_the_parent_is_not_called_in_a_child,
    r24_a_child_keeps_no_descriptor_of_its_siblings,
    nothing_of_the_parent_s_runs_at_the_end_of_a_child,
    a_panic_of_a_child_is_printed_by_the_program_s_hook_once,
];

/// Python: the child blocks for ever on a lock that another thread held at the fork.
fn r06_a_program_with_threads_is_refused_with_their_number() {
    static LOCK: Mutex<()> = Mutex::new(());
    let gate = Queue::<()>::new().unwrap();
    let held = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..3 {
            let (gate, held) = (gate.clone(), Arc::clone(&held));
            scope.spawn(move || {
                let lock = LOCK.lock().unwrap();
                held.store(true, SeqCst);
                let _ = gate.get();
                drop(lock);
            });
        }
        while !held.load(SeqCst) {
            thread::yield_now();
        }
        // Opened whatever comes of it, since the scope waits for its threads.
        let outcome = Process::spawn(|| drop(LOCK.lock()));
        gate.close();
        let Err(error) = outcome else {
            panic!("forked with a locked lock");
        };
        assert!(matches!(error, Error::Threaded { threads: 4 }), "{error}");
        assert!(error.to_string().contains("spawn_with"), "{error}");
    });
    Process::spawn(|| drop(LOCK.lock()))
        .unwrap()
        .join()
        .unwrap();
}

/// The kernel counts a thread for a moment after it was joined.
fn a_program_whose_threads_have_ended_is_not_refused() {
    for n in 0..300 {
        let threads = [(); 4].map(|()| thread::spawn(|| ()));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(Process::spawn(|| n).unwrap().join().unwrap(), n);
    }
}

/// Python: lost at `os._exit`, printed twice when a buffer was not empty at the fork.
fn r13_what_a_child_prints_is_neither_lost_nor_doubled() {
    let text = printed(|| {
        print!("parent,");
        let child = Process::spawn(|| print!("child without an end of line,")).unwrap();
        child.join().unwrap();
        print!("parent again");
    });
    assert_eq!(text, "parent,child without an end of line,parent again");
}

fn what_a_child_prints_before_a_panic_is_not_lost() {
    let text = printed(|| {
        let child = Process::<()>::spawn(|| {
            print!("the last words");
            panic!("expected")
        });
        assert!(matches!(child.unwrap().join(), Err(Error::Panicked { .. })));
    });
    assert_eq!(text, "the last words");
}

fn what_a_grandchild_prints_is_neither_lost_nor_doubled() {
    let text = printed(|| {
        print!("1");
        let child = Process::spawn(|| {
            print!("2");
            Process::spawn(|| print!("3")).unwrap().join().unwrap();
            print!("4");
        });
        child.unwrap().join().unwrap();
        println!("5");
    });
    assert_eq!(text, "12345\n");
}

/// A mask of signals in `/proc/self/status`.
fn mask(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.expect("it is there").trim(), 16).unwrap()
}

fn a_child_starts_with_default_signal_handlers_and_none_blocked() {
    let handled = |signals: &[i32]| {
        signals
            .iter()
            .fold(0, |mask, signal| mask | 1 << (signal - 1))
    };
    for signal in [SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::default()).unwrap();
    }
    let blocked = SigSet::from_iter([Signal::SIGTERM, Signal::SIGUSR2]);
    blocked.thread_block().unwrap();
    let of_child = Process::spawn(|| (mask("SigBlk:"), mask("SigCgt:"), mask("SigIgn:")));
    let (blocked, caught, ignored) = of_child.unwrap().join().unwrap();
    assert_eq!(blocked, 0);
    // The standard library's own report an overflowing stack.
    assert_eq!(caught & !handled(&[7, 11]), 0);
    assert_eq!(
        ignored,
        mask("SigIgn:"),
        "what is ignored stays so, as over exec"
    );
    // Nothing has changed here.
    assert_eq!(mask("SigBlk:"), handled(&[12, 15]));
    assert_eq!(
        mask("SigCgt:") & handled(&[SIGTERM, SIGUSR1]),
        handled(&[SIGTERM, SIGUSR1])
    );
}

fn a_handler_of_the_parent_is_not_called_in_a_child() {
    let asked_to_end = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&asked_to_end)).unwrap();
    SigSet::from_iter([Signal::SIGTERM]).thread_block().unwrap();
    for _ in 0..50 {
        let process = Process::spawn(|| thread::sleep(SOON)).unwrap();
        process.terminate().unwrap();
        assert!(matches!(
            process.join(),
            Err(Error::Killed { signal: 15, .. })
        ));
    }
    assert!(!asked_to_end.load(SeqCst));
}

fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let mut all: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

/// Python: a child keeps its siblings' pipes open, and whoever reads from them never sees the end.
fn r24_a_child_keeps_no_descriptor_of_its_siblings() {
    let gate = Queue::<()>::new().unwrap();
    let count = || descriptors().len();
    let alone = Process::spawn(count).unwrap().join().unwrap();
    let siblings = [(); 20].map(|()| Process::spawn(|| drop(gate.get())).unwrap());
    let last = Process::spawn(count).unwrap().join().unwrap();
    assert_eq!(alone, last);
    gate.close();
    for sibling in siblings {
        sibling.join().unwrap();
    }
}

struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        println!("farewell of {}", process::id());
    }
}

fn nothing_of_the_parent_s_runs_at_the_end_of_a_child() {
    let parent = Queue::new().unwrap();
    let text = printed(|| {
        parent.put(&process::id()).unwrap();
        let _farewell = Farewell;
        Process::spawn(|| ()).unwrap().join().unwrap();
    });
    assert_eq!(text, format!("farewell of {}\n", parent.get().unwrap()));
}

fn a_panic_of_a_child_is_printed_by_the_program_s_hook_once() {
    let text = printed(|| {
        panic::set_hook(Box::new(|info| {
            let _ = writeln!(
                std::io::stdout(),
                "hook: {}",
                info.payload_as_str().unwrap()
            );
        }));
        let child = Process::<()>::spawn(|| panic!("expected")).unwrap();
        assert!(child.join().is_err());
    });
    assert_eq!(text, "hook: expected\n");
}
