//! What is left when processes end, and what becomes of them when their parent ends first.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, mem, panic, process, thread};

use multiprocess::{Process, Queue};

use crate::support::{Child, SOON, all_end, has_program, is_gone, leaves_nothing};

tests![
    r12_a_daemon_dies_with_its_killed_parent_and_no_other_process_does,
    pythons_daemon_lives_on_when_its_parent_is_killed,
    a_daemon_dies_with_a_parent_that_exits,
    a_daemon_whose_parent_is_dead_already_does_nothing,
    ten_thousand_processes_one_after_another_leave_nothing,
    two_hundred_processes_at_once_leave_nothing,
    processes_that_ended_in_all_ways_leave_nothing,
    r20_a_process_that_exits_takes_no_shared_memory_along,
];

fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

fn r12_a_daemon_dies_with_its_killed_parent_and_no_other_process_does() {
    let (born, asked, answers) = (
        Queue::new().unwrap(),
        Queue::<u32>::new().unwrap(),
        Queue::new().unwrap(),
    );
    let parent = Child::fork(|| {
        let daemon = Process::builder().daemon(true).spawn(sleep_long).unwrap();
        let plain = Process::spawn(|| answers.put(&asked.get().unwrap()).unwrap()).unwrap();
        born.put(&(daemon.pid(), plain.pid())).unwrap();
        sleep_long();
    });
    let (daemon, plain) = born.get_timeout(SOON).unwrap();
    assert!(!is_gone(daemon) && !is_gone(plain));
    parent.kill();
    all_end(&[daemon]);
    asked.put(&7).unwrap();
    assert_eq!(answers.get_timeout(SOON).unwrap(), 7);
    all_end(&[plain]);
}

/// What the test above would see in Python, where it was seen with 3.11.
fn pythons_daemon_lives_on_when_its_parent_is_killed() {
    if !has_program("python3") {
        return;
    }
    let program = "
import multiprocessing, os, time
def daemon(parent):
    print('born', flush=True)
    while os.getppid() == parent:
        time.sleep(0.001)
    print('orphaned and alive', flush=True)
context = multiprocessing.get_context('fork')
context.Process(target=daemon, args=(os.getpid(),), daemon=True).start()
time.sleep(600)
";
    let mut parent = Command::new("python3")
        .args(["-c", program])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "born");
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "orphaned and alive");
}

fn a_daemon_dies_with_a_parent_that_exits() {
    let born = Queue::new().unwrap();
    let parent = Child::fork(|| {
        let daemon = Process::builder().daemon(true).spawn(sleep_long).unwrap();
        born.put(&daemon.pid()).unwrap();
        // Drops nothing.
        process::exit(0);
    });
    parent.succeed();
    all_end(&[born.get_timeout(SOON).unwrap()]);
}

/// The kernel's signal comes for a death after it was asked for only; the daemon looks itself.
fn a_daemon_whose_parent_is_dead_already_does_nothing() {
    // Each daemon holds the other end open while it lives.
    let (mut end, theirs) = io::pipe().unwrap();
    for _ in 0..100 {
        let parent = Child::fork(|| {
            let daemon = Process::builder().daemon(true).spawn(sleep_long);
            mem::forget(daemon.unwrap());
        });
        // It exits at once, before or after its daemon has come so far as to look.
        parent.succeed();
    }
    drop(theirs);
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
}

fn ten_thousand_processes_one_after_another_leave_nothing() {
    let mut count = 0;
    leaves_nothing(10_000, || {
        count = Process::spawn(|| count + 1).unwrap().join().unwrap();
    });
    assert_eq!(count, 10_001);
}

fn two_hundred_processes_at_once_leave_nothing() {
    leaves_nothing(2, || {
        let gate = Queue::new().unwrap();
        let wait = || gate.get().unwrap();
        let all: Vec<Process<u32>> = (0..200).map(|_| Process::spawn(wait).unwrap()).collect();
        assert!(all.iter().all(Process::is_alive));
        (0..200).for_each(|n| gate.put(&n).unwrap());
        let mut values: Vec<u32> = all.into_iter().map(|one| one.join().unwrap()).collect();
        values.sort_unstable();
        assert!(values.into_iter().eq(0..200));
    });
}

fn processes_that_ended_in_all_ways_leave_nothing() {
    // A backtrace for each panic would take most of the time.
    panic::set_hook(Box::new(|_| ()));
    leaves_nothing(20, || {
        let _ = Process::<()>::spawn(|| panic!("expected")).unwrap().join();
        let _ = Process::<()>::spawn(|| process::exit(3)).unwrap().join();
        let _ = Process::<()>::spawn(|| process::abort()).unwrap().join();
        let killed = Process::spawn(sleep_long).unwrap();
        killed.kill().unwrap();
        drop(killed);
        drop(Process::builder().daemon(true).spawn(sleep_long).unwrap());
        drop(Process::spawn(|| ()).unwrap());
    });
}

/// Python: a process that only read a named segment unlinks it when it exits, under its owner.
fn r20_a_process_that_exits_takes_no_shared_memory_along() {
    let names = || {
        let entries = fs::read_dir("/dev/shm").into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().contains("multiprocess"))
            .count()
    };
    let queue = Queue::new().unwrap();
    for n in 0..20 {
        queue.put(&n).unwrap();
        Child::fork(|| assert_eq!(queue.get().unwrap(), n)).succeed();
        let reader = Child::fork(|| drop(queue.get()));
        reader.wait_until_asleep();
        reader.kill();
    }
    queue.put(&100).unwrap();
    assert_eq!(queue.get().unwrap(), 100);
    assert_eq!(
        names(),
        0,
        "it has no name, so that nobody can leave or take it"
    );
}
