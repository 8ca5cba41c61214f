//! The promises of the zygote: processes of programs with threads.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    panic,
    path::Path,
    process::{self, Command},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use multiprocess::{Connection, Error, Pool, Process, Queue, init, pipe, subprocess};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, close, getppid},
};

#[macro_use]
mod support;

use support::{Child, SOON, all_end, eventually};

tests![
    a_program_with_threads_starts_processes_and_pools,
    a_closure_with_captures_needs_a_program_with_one_thread,
    init_may_be_called_in_any_thread_and_a_second_call_does_nothing,
    panic_exit_and_death_come_back,
    a_running_process_is_waited_for_asked_and_ended,
    queues_and_connections_are_handed_over,
    an_argument_with_too_many_queues_is_an_error,
    arguments_and_values_of_any_size_arrive,
    a_process_starts_as_the_program_did_and_not_as_it_is,
    a_process_has_no_input_and_the_environment_of_its_program,
    a_process_of_a_program_that_closed_its_standard_error_has_an_empty_one,
    a_process_hears_of_a_broken_pipe_by_an_error,
    a_program_that_a_process_executes_has_none_of_its_queues,
    the_variable_alone_makes_no_zygote_of_a_program,
    threads_start_processes_at_once,
    a_zygote_keeps_no_descriptor_that_a_thread_opens_while_it_starts,
    nothing_is_left_of_many_processes,
    a_fork_of_the_program_has_a_zygote_of_its_own,
    workers_are_given_a_queue_by_their_initializer,
    a_worker_of_a_program_with_threads_is_killed_and_no_other_task_notices,
    a_killed_zygote_is_replaced_and_no_result_is_lost,
    the_zygote_ends_with_its_program,
    a_program_that_ends_well_has_waited_for_its_zygote,
    a_fork_that_ends_well_does_not_end_the_zygote,
    a_killed_program_takes_daemons_and_busy_workers_along,
];

fn main() {
    support::main(TESTS)
}

/// Runs `work` in a program that has a second thread.
fn threaded(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(work);
    });
}

fn square(n: u64) -> u64 {
    n * n
}

fn sleep_long(_: ()) {
    thread::sleep(Duration::from_secs(600));
}

fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let lists = threads.map(|thread| thread.unwrap().path().join("children"));
    // A thread may end meanwhile.
    let lists = lists.filter_map(|list| fs::read_to_string(list).ok());
    let numbers = |list: String| -> Vec<u32> {
        let numbers = list.split_whitespace();
        numbers.map(|pid| pid.parse().unwrap()).collect()
    };
    lists.flat_map(numbers).collect()
}

fn a_program_with_threads_starts_processes_and_pools() {
    threaded(|| {
        let process = Process::spawn_with(|n: u64| (square(n), process::id()), 9).unwrap();
        let pid = process.pid();
        assert_eq!(process.join().unwrap(), (81, pid));
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
        pool.join().unwrap();
    });
}

fn a_closure_with_captures_needs_a_program_with_one_thread() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let refused = Process::spawn(|| ()).unwrap_err();
            assert!(
                matches!(refused, Error::Threaded { threads: 2 }),
                "{refused}"
            );
            assert!(refused.to_string().contains("spawn_with"), "{refused}");
        });
    });
}

fn init_may_be_called_in_any_thread_and_a_second_call_does_nothing() {
    thread::scope(|scope| {
        scope.spawn(|| init().unwrap());
    });
    // When its thread has ended, it is the child of another.
    eventually("there is a zygote", || children().len() == 1);
    let before = children();
    init().unwrap();
    assert_eq!(children(), before);
}

fn panic_exit_and_death_come_back() {
    panic::set_hook(Box::new(|_| {}));
    threaded(|| {
        let panicked = Process::<()>::spawn_with(|n: u32| panic!("no {n}"), 7)
            .unwrap()
            .join();
        let Err(Error::Panicked { message, location }) = panicked else {
            panic!("{panicked:?}");
        };
        assert_eq!(message, "no 7");
        assert!(location.contains("zygote.rs"), "{location}");
        let exited = Process::<()>::spawn_with(|code: i32| process::exit(code), 3)
            .unwrap()
            .join();
        assert!(
            matches!(exited, Err(Error::Exited { code: 3, .. })),
            "{exited:?}"
        );
        let mut process = Process::spawn_with(sleep_long, ()).unwrap();
        process.kill().unwrap();
        let killed = process.join_timeout(SOON);
        let pid = process.pid();
        assert!(
            matches!(killed, Err(Error::Killed { signal: 9, pid: p }) if p == pid),
            "{killed:?}"
        );
        assert_eq!(process.exitcode(), Some(-9));
    });
}

fn a_running_process_is_waited_for_asked_and_ended() {
    threaded(|| {
        let go = Queue::<u32>::new().unwrap();
        let mut process =
            Process::spawn_with(|go: Queue<u32>| go.get().unwrap(), go.clone()).unwrap();
        let early = process.join_timeout(Duration::from_millis(1));
        assert!(matches!(early, Err(Error::TimedOut)), "{early:?}");
        assert!(process.is_alive());
        assert_eq!(process.exitcode(), None);
        go.put(&5).unwrap();
        assert_eq!(process.join_timeout(SOON).unwrap(), 5);
        assert_eq!(process.exitcode(), Some(0));
        assert!(!process.is_alive());
        // Signals to a process that is gone hit nobody.
        process.kill().unwrap();
        assert_eq!(process.join().unwrap(), 5);
        let mut process = Process::spawn_with(sleep_long, ()).unwrap();
        process.terminate().unwrap();
        assert!(matches!(
            process.join_timeout(SOON),
            Err(Error::Killed { signal: 15, .. })
        ));
    });
}

fn queues_and_connections_are_handed_over() {
    threaded(|| {
        let queue = Queue::<String>::bounded(3).unwrap();
        let (ours, theirs) = pipe::<u32, String>().unwrap();
        type Argument = (Queue<String>, Connection<String, u32>);
        let echo = |(queue, connection): Argument| {
            queue.put(&"from the queue".to_string()).unwrap();
            let number = connection.recv().unwrap();
            connection.send(&format!("<{number}>")).unwrap();
        };
        let process = Process::spawn_with(echo, (queue.clone(), theirs)).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), "from the queue");
        ours.send(&8).unwrap();
        assert_eq!(ours.recv_timeout(SOON).unwrap(), "<8>");
        process.join().unwrap();
        // Only the process had the other end.
        assert!(matches!(ours.recv_timeout(SOON), Err(Error::Closed)));
    });
}

fn an_argument_with_too_many_queues_is_an_error() {
    threaded(|| {
        let queue = Queue::<u32>::new().unwrap();
        let many = |count: usize| {
            let queues = vec![queue.clone(); count];
            Process::spawn_with(|queues: Vec<Queue<u32>>| queues.len(), queues)
        };
        assert_eq!(many(200).unwrap().join().unwrap(), 200);
        let error = many(300).unwrap_err().to_string();
        assert!(error.contains("more than 251 queues"), "{error}");
    });
}

fn arguments_and_values_of_any_size_arrive() {
    threaded(|| {
        for len in [0, 1, 300, 70_000, 32 << 20] {
            let text = "x".repeat(len);
            let process = Process::spawn_with(|text: String| text + "!", text.clone()).unwrap();
            assert!(process.join().unwrap() == text + "!", "{len} bytes");
        }
    });
}

fn a_process_starts_as_the_program_did_and_not_as_it_is() {
    static STATE: AtomicU32 = AtomicU32::new(0);
    STATE.store(1, SeqCst);
    let state = |()| (STATE.load(SeqCst), std::env::args().collect::<Vec<_>>());
    let args: Vec<String> = std::env::args().collect();
    let seen = Process::spawn_with(state, ()).unwrap();
    assert_eq!(seen.join().unwrap(), (0, args));
}

fn a_process_has_no_input_and_the_environment_of_its_program() {
    let seen = |()| {
        let input = io::read_to_string(io::stdin()).ok();
        (input, std::env::vars().collect::<BTreeMap<_, _>>())
    };
    let mut process = Process::spawn_with(seen, ()).unwrap();
    let (input, environment) = process.join_timeout(SOON).unwrap();
    assert_eq!(input.as_deref(), Some(""));
    assert_eq!(environment, std::env::vars().collect());
}

fn a_process_of_a_program_that_closed_its_standard_error_has_an_empty_one() {
    close(2).unwrap();
    let file = |()| fs::read_link("/proc/self/fd/2").ok();
    let file = Process::spawn_with(file, ()).unwrap().join().unwrap();
    assert_eq!(file.as_deref(), Some(Path::new("/dev/null")));
}

fn a_process_hears_of_a_broken_pipe_by_an_error() {
    let write = |()| {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        writer
            .write(b"x")
            .map_err(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    let process = Process::spawn_with(write, ()).unwrap();
    assert_eq!(process.join().unwrap(), Err(true));
}

fn a_program_that_a_process_executes_has_none_of_its_queues() {
    let list = |queue: Queue<u32>| {
        let mut list = Command::new("ls");
        let output = subprocess::communicate(list.args(["-l", "/proc/self/fd"]), b"").unwrap();
        queue.put(&1).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let queue = Queue::new().unwrap();
    let listed = Process::spawn_with(list, queue.clone())
        .unwrap()
        .join()
        .unwrap();
    assert!(
        listed.contains("/proc/") && !listed.contains("multiprocess"),
        "{listed}"
    );
    assert_eq!(queue.get().unwrap(), 1);
}

fn the_variable_alone_makes_no_zygote_of_a_program() {
    let mut program = Command::new("/proc/self/exe");
    program.arg("--list").env("MULTIPROCESS_ZYGOTE", "");
    let output = subprocess::communicate(&mut program, b"").unwrap();
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.code == 0 && listed.contains("the_variable_alone"),
        "{listed}"
    );
}

fn threads_start_processes_at_once() {
    init().unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for n in 0..25 {
                    let number = thread * 100 + n;
                    let process = Process::spawn_with(square, number).unwrap();
                    assert_eq!(process.join().unwrap(), number * number);
                }
            });
        }
    });
}

fn a_zygote_keeps_no_descriptor_that_a_thread_opens_while_it_starts() {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // As C libraries open them: they are not closed at an execution.
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let opened: Vec<_> = (0..200).map(|_| nix::unistd::pipe().unwrap()).collect();
                drop(opened);
            }
        });
        let pipes = (0..20).map(|_| {
            init().unwrap();
            let zygote = children()[0];
            let files = fs::read_dir(format!("/proc/{zygote}/fd")).unwrap();
            let files = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
            let pipes = files.filter(|file| file.to_str().unwrap().starts_with("pipe:"));
            let pipes = pipes.count();
            kill(Pid::from_raw(zygote.cast_signed()), Signal::SIGKILL).unwrap();
            all_end(&[zygote]);
            // The request finds it gone, and another in its place.
            let nine = Process::spawn_with(square, 3).and_then(Process::join);
            (nine, pipes)
        });
        let pipes: Vec<_> = pipes.collect();
        stop.store(true, SeqCst);
        assert!(pipes.iter().all(|it| *it == (Ok(9), 0)), "{pipes:?}");
    });
}

fn nothing_is_left_of_many_processes() {
    init().unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let zygote = children()[0];
    let theirs = || fs::read_dir(format!("/proc/{zygote}/fd")).unwrap().count();
    let before = (descriptors(), theirs());
    let processes: Vec<_> = (0..100)
        .map(|n| Process::spawn_with(square, n).unwrap())
        .collect();
    for (n, process) in (0..).zip(processes) {
        let pid = process.pid();
        assert_eq!(process.join().unwrap(), n * n);
        // Whose end is told is buried already.
        assert!(
            fs::metadata(format!("/proc/{pid}")).is_err(),
            "{pid} is a zombie"
        );
    }
    assert_eq!(children(), [zygote]);
    let of_zygote = format!("/proc/{zygote}/task/{zygote}/children");
    eventually("the zygote has buried all", || {
        fs::read_to_string(&of_zygote).unwrap().is_empty() && (descriptors(), theirs()) == before
    });
}

fn a_fork_of_the_program_has_a_zygote_of_its_own() {
    let parent_of = |()| getppid().as_raw();
    let ours = Process::spawn_with(parent_of, ()).unwrap().join().unwrap();
    let grandchild = Process::spawn(|| {
        let theirs = Process::spawn_with(parent_of, ()).unwrap().join().unwrap();
        (theirs, children() == [theirs.cast_unsigned()])
    });
    let (theirs, is_its_child) = grandchild.unwrap().join().unwrap();
    assert!(theirs != ours && is_its_child);
    assert_eq!(Process::spawn_with(square, 3).unwrap().join().unwrap(), 9);
}

fn workers_are_given_a_queue_by_their_initializer() {
    static LOG: OnceLock<Queue<u64>> = OnceLock::new();
    threaded(|| {
        let log = Queue::new().unwrap();
        let pool = Pool::builder()
            .workers(2)
            .max_tasks_per_child(1)
            .initializer_with(|log: Queue<u64>| LOG.set(log).unwrap(), log.clone())
            .build()
            .unwrap();
        // Each of the workers, one after the other, is given it.
        pool.map_chunked(|n: u64| LOG.get().unwrap().put(&n).unwrap(), 0..6, 1)
            .unwrap();
        let mut logged: Vec<u64> = (0..6).map(|_| log.get_timeout(SOON).unwrap()).collect();
        logged.sort();
        assert_eq!(logged, [0, 1, 2, 3, 4, 5]);
    });
}

fn a_worker_of_a_program_with_threads_is_killed_and_no_other_task_notices() {
    threaded(|| {
        let pool = Pool::new(2).unwrap();
        let die = |n: u64| {
            if n == 3 {
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            n
        };
        let results: Vec<_> = (0..8).map(|n| pool.apply_async(die, n).unwrap()).collect();
        for (n, result) in (0..).zip(results) {
            match result.get() {
                Ok(value) => assert_eq!((value, n != 3), (n, true)),
                Err(error) => assert!(matches!(error, Error::Killed { signal: 9, .. }) && n == 3),
            }
        }
        assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
        let processes = [pool.worker_pids(), vec![pool.supervisor_pid()]].concat();
        pool.terminate();
        all_end(&processes);
    });
}

fn a_killed_zygote_is_replaced_and_no_result_is_lost() {
    init().unwrap();
    let zygote = children()[0];
    let queue = Queue::<u32>::new().unwrap();
    let pool = Pool::new(2).unwrap();
    let add = |queue: Queue<u32>| queue.get().unwrap() + 1;
    let process = Process::spawn_with(add, queue.clone()).unwrap();
    let unlucky = Process::spawn_with(sleep_long, ()).unwrap();
    kill(Pid::from_raw(zygote.cast_signed()), Signal::SIGKILL).unwrap();
    all_end(&[zygote]);
    queue.put(&1).unwrap();
    assert_eq!(process.join().unwrap(), 2);
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    assert_eq!(Process::spawn_with(square, 3).unwrap().join().unwrap(), 9);
    // How it ended only the zygote saw.
    unlucky.kill().unwrap();
    let error = unlucky.join().unwrap_err().to_string();
    assert!(error.contains("the zygote was killed"), "{error}");
    // The killed one was reaped.
    assert_eq!(children().len(), 1);
}

fn a_program_that_ends_well_has_waited_for_its_zygote() {
    // Whom the program leaves behind becomes a child of this process, ended or not.
    prctl::set_child_subreaper(true).unwrap();
    Child::fork(|| {
        init().unwrap();
        assert_eq!(Process::spawn_with(square, 3).unwrap().join().unwrap(), 9);
        process::exit(0);
    })
    .succeed();
    assert_eq!(children(), []);
}

fn a_fork_that_ends_well_does_not_end_the_zygote() {
    init().unwrap();
    Child::fork(|| process::exit(0)).succeed();
    assert_eq!(Process::spawn_with(square, 3).unwrap().join().unwrap(), 9);
}

fn the_zygote_ends_with_its_program() {
    let numbers = Queue::<u32>::new().unwrap();
    Child::fork(|| {
        init().unwrap();
        numbers.put(&children()[0]).unwrap();
    })
    .succeed();
    all_end(&[numbers.get_timeout(SOON).unwrap()]);
}

#[expect(
    clippy::zombie_processes,
    reason = "it is to be killed with the worker"
)]
fn a_killed_program_takes_daemons_and_busy_workers_along() {
    let numbers = Queue::<u32>::new().unwrap();
    static NUMBERS: OnceLock<Queue<u32>> = OnceLock::new();
    let program = Child::fork(|| {
        threaded(|| {
            let tell = |numbers: Queue<u32>| {
                numbers.put(&std::process::id()).unwrap();
                sleep_long(());
            };
            let _daemon = Process::builder()
                .daemon(true)
                .spawn_with(tell, numbers.clone())
                .unwrap();
            let pool = Pool::builder()
                .workers(2)
                .initializer_with(
                    |numbers: Queue<u32>| NUMBERS.set(numbers).unwrap(),
                    numbers.clone(),
                )
                .build()
                .unwrap();
            let busy = |()| {
                let child = Command::new("sleep")
                    .arg("600")
                    .process_group(0)
                    .spawn()
                    .unwrap();
                let numbers = NUMBERS.get().unwrap();
                numbers.put(&child.id()).unwrap();
                numbers.put(&std::process::id()).unwrap();
                sleep_long(());
            };
            let _tasks = [
                pool.apply_async(busy, ()).unwrap(),
                pool.apply_async(busy, ()).unwrap(),
            ];
            thread::sleep(SOON);
        });
    });
    let told: Vec<u32> = (0..5).map(|_| numbers.get_timeout(SOON).unwrap()).collect();
    program.kill();
    all_end(&told);
}
