//! Which processes run, handles beside that which started one, and processes that are let go.

use std::{path::Path, process, thread, time::Duration};

use multiprocess::{Error, Process, Queue, active_children};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Child, SOON, all_end, eventually, is_gone, leaves_nothing};

tests![
    a_sentinel_is_readable_once_its_process_has_ended_and_not_before,
    a_process_with_a_large_value_ends_before_anybody_reads_it,
    active_children_are_those_that_run,
    dropping_the_handle_of_an_active_child_does_nothing,
    two_handles_wait_for_one_process_and_its_value_is_not_lost,
    a_child_is_told_of_no_processes_of_its_parent,
    processes_of_different_values_go_into_one_list_and_end_as_they_did,
    a_process_without_its_value_is_waited_for_when_it_is_dropped,
    a_detached_process_is_not_waited_for_and_is_still_an_active_child,
    a_detached_process_outlives_its_program,
    a_detached_daemon_dies_with_its_program,
    a_detached_process_does_not_want_a_reader_of_its_value,
    nothing_is_left_of_detached_processes,
];

fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

fn is_readable<T>(process: &Process<T>, timeout: PollTimeout) -> bool {
    let mut fds = [PollFd::new(process.sentinel().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).unwrap() == 1
}

/// Python: such a process ends when its value has been read, and who joins it first waits for ever.
fn a_process_with_a_large_value_ends_before_anybody_reads_it() {
    let mut process = Process::spawn(|| vec![1_u8; 8 << 20]).unwrap();
    assert!(is_readable(&process, PollTimeout::try_from(SOON).unwrap()));
    assert_eq!(process.exitcode(), Some(0));
    // And the value is there as often as it is asked for.
    for _ in 0..2 {
        let value = process.join_timeout(SOON).unwrap();
        assert_eq!(value.len(), 8 << 20);
    }
}

fn a_sentinel_is_readable_once_its_process_has_ended_and_not_before() {
    let [gate, other] = [(); 2].map(|()| Queue::<()>::new().unwrap());
    let forked = Process::spawn(|| gate.get().unwrap()).unwrap();
    let fresh = Process::spawn_with(|gate: Queue<()>| gate.get().unwrap(), other.clone()).unwrap();
    let within = PollTimeout::try_from(SOON).unwrap();
    for (mut process, gate) in [(forked, &gate), (fresh, &other)] {
        assert!(!is_readable(&process, PollTimeout::ZERO));
        gate.put(&()).unwrap();
        assert!(is_readable(&process, within));
        process.join_timeout(SOON).unwrap();
        assert!(is_readable(&process, PollTimeout::ZERO), "it stays so");
    }
}

fn active_children_are_those_that_run() {
    assert!(active_children().is_empty());
    let gate = Queue::<()>::new().unwrap();
    let named = |name| Process::builder().name(name);
    let first = named("first").spawn(|| gate.get().unwrap()).unwrap();
    let wait = |gate: Queue<()>| gate.get().is_ok();
    let second = named("second").spawn_with(wait, gate.clone()).unwrap();
    let ended = named("ended").spawn(|| ()).unwrap();
    // It has not been joined.
    eventually("its end", || !ended.is_alive());
    let children = active_children();
    let names: Vec<_> = children.iter().map(Process::name).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(children[1].pid(), second.pid());
    (0..2).for_each(|_| gate.put(&()).unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert!(active_children().is_empty());
    assert!(second.join().unwrap());
    first.join().unwrap();
    ended.join().unwrap();
}

fn dropping_the_handle_of_an_active_child_does_nothing() {
    let process = Process::spawn(sleep_long).unwrap();
    let daemon = Process::builder().daemon(true).spawn(sleep_long).unwrap();
    drop(active_children());
    assert!(process.is_alive() && daemon.is_alive());
    for child in active_children() {
        child.kill().unwrap();
        let killed = Err(Error::Killed {
            signal: 9,
            pid: child.pid(),
        });
        assert_eq!(child.join(), killed);
    }
    assert_eq!(
        (process.exitcode(), daemon.exitcode()),
        (Some(-9), Some(-9))
    );
}

/// The child ends when it has been told of, so that both wait for it.
fn two_handles_wait_for_one_process_and_its_value_is_not_lost() {
    let go = Queue::new().unwrap();
    let long = || {
        go.get().unwrap();
        "x".repeat(1 << 20)
    };
    for _ in 0..20 {
        let process = Process::spawn(long).unwrap();
        let [mut other] = active_children().try_into().unwrap();
        let joined = thread::spawn(move || other.join_timeout(SOON).map(|()| other.exitcode()));
        go.put(&()).unwrap();
        assert_eq!(process.join().unwrap().len(), 1 << 20);
        assert_eq!(joined.join().unwrap().unwrap(), Some(0));
    }
    let process = Process::spawn(long).unwrap();
    let [other] = active_children().try_into().unwrap();
    go.put(&()).unwrap();
    other.join().unwrap();
    assert_eq!(process.join().unwrap().len(), 1 << 20);
}

fn a_child_is_told_of_no_processes_of_its_parent() {
    let sleeper = Process::builder().daemon(true).spawn(sleep_long).unwrap();
    let count = || active_children().len();
    assert_eq!(Process::spawn(count).unwrap().join().unwrap(), 0);
    let with_one_of_its_own = || {
        let own = Process::builder().daemon(true).spawn(sleep_long).unwrap();
        active_children().len() == 1 && own.is_alive()
    };
    assert!(Process::spawn(with_one_of_its_own).unwrap().join().unwrap());
    assert!(sleeper.is_alive());
}

fn processes_of_different_values_go_into_one_list_and_end_as_they_did() {
    let list = [
        Process::spawn(|| 7).unwrap().without_value(),
        Process::spawn(|| "seven".to_string())
            .unwrap()
            .without_value(),
        Process::<u8>::spawn(|| panic!("expected"))
            .unwrap()
            .without_value(),
        Process::<u8>::spawn(|| process::exit(3))
            .unwrap()
            .without_value(),
    ];
    let ends = list.map(Process::join);
    assert_eq!((&ends[0], &ends[1]), (&Ok(()), &Ok(())));
    assert!(matches!(&ends[2], Err(Error::Panicked { message, .. }) if message == "expected"));
    assert!(matches!(ends[3], Err(Error::Exited { code: 3, .. })));
}

fn a_process_without_its_value_is_waited_for_when_it_is_dropped() {
    let process = Process::spawn(|| "x".repeat(1 << 20)).unwrap();
    let pid = process.pid();
    drop(process.without_value());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

fn a_detached_process_is_not_waited_for_and_is_still_an_active_child() {
    let process = Process::builder().name("let go").spawn(sleep_long).unwrap();
    let pid = process.pid();
    process.detach();
    let [child] = active_children().try_into().unwrap();
    assert_eq!((child.pid(), child.name()), (pid, "let go"));
    child.kill().unwrap();
    assert!(matches!(child.join(), Err(Error::Killed { .. })));
}

fn a_detached_process_outlives_its_program() {
    let (asked, answers) = (Queue::<u32>::new().unwrap(), Queue::new().unwrap());
    let program = Child::fork(|| {
        let answer = || answers.put(&asked.get().unwrap()).unwrap();
        Process::spawn(answer).unwrap().detach();
        let answer = |(asked, answers): (Queue<u32>, Queue<u32>)| {
            answers.put(&asked.get().unwrap()).unwrap();
        };
        let queues = (asked.clone(), answers.clone());
        Process::spawn_with(answer, queues).unwrap().detach();
        process::exit(0);
    });
    program.succeed();
    for number in [1, 2] {
        asked.put(&number).unwrap();
        assert_eq!(answers.get_timeout(SOON).unwrap(), number);
    }
}

fn a_detached_daemon_dies_with_its_program() {
    let born = Queue::new().unwrap();
    let program = Child::fork(|| {
        let daemon = Process::builder().daemon(true).spawn(sleep_long).unwrap();
        born.put(&daemon.pid()).unwrap();
        daemon.detach();
    });
    program.succeed();
    all_end(&[born.get_timeout(SOON).unwrap()]);
}

fn a_detached_process_does_not_want_a_reader_of_its_value() {
    let process = Process::spawn(|| "x".repeat(64 << 20)).unwrap();
    let pid = process.pid();
    process.detach();
    all_end(&[pid]);
}

fn nothing_is_left_of_detached_processes() {
    // A zygote stays.
    let mut pids = Vec::new();
    leaves_nothing(5, || {
        let process = Process::spawn(|| ()).unwrap();
        pids.push(process.pid());
        process.detach();
        eventually("its end", || is_gone(*pids.last().unwrap()));
        assert!(active_children().is_empty());
    });
    let fresh = Process::spawn_with(|()| (), ()).unwrap();
    pids.push(fresh.pid());
    fresh.detach();
    let is_there = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    eventually("the end of all", || !pids.iter().any(is_there));
}
