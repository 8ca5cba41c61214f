//! Other people's programs: what they hold, which rights they have, and from where they are run.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    net::TcpListener,
    process::{self, Command},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use multiprocess::{Error, Pool, Process, Queue, active_children, init, subprocess};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::openpty,
    sys::signal::{Signal, killpg},
    sys::wait::waitpid,
    unistd::{Gid, Pid, Uid, getgroups, getresgid, getresuid, setpgid, setsid, tcsetpgrp, ttyname},
};

#[macro_use]
mod support;

use support::{Child, NOBODY, SOON, become_nobody, eventually, is_root};

tests![
    children_draw_different_random_numbers,
    a_worker_has_no_descriptor_of_the_program,
    a_process_has_the_rights_that_the_program_has_when_it_is_made,
    a_program_that_gave_up_its_rights_ends,
    a_pool_makes_no_worker_with_more_rights_than_the_program_has,
    an_ignored_sigchld_is_named_where_it_matters,
    a_pool_works_although_sigchld_is_ignored,
    a_process_that_another_part_of_the_program_has_reaped_is_known_to_have_ended,
    nothing_waits_for_a_locked_output,
    a_program_that_became_a_daemon_starts_processes,
    a_worker_that_asks_the_terminal_is_not_stopped,
    a_pool_stops_and_goes_on_with_its_program,
    a_program_that_does_not_stop_keeps_its_workers,
];

fn main() {
    support::main(TESTS)
}

fn square(n: u64) -> u64 {
    n * n
}

fn die(_: ()) {
    process::abort();
}

fn children_draw_different_random_numbers() {
    let mut drawn = vec![rand::random::<u64>()];
    for _ in 0..4 {
        let forked = Process::spawn(rand::random::<u64>).unwrap();
        let fresh = Process::spawn_with(|()| rand::random::<u64>(), ()).unwrap();
        drawn.extend([forked.join().unwrap(), fresh.join().unwrap()]);
    }
    let pool = Pool::builder().workers(2).max_tasks_per_child(2).build();
    let numbers = pool
        .unwrap()
        .map_chunked(|()| rand::random::<u64>(), [(); 8], 1);
    drawn.extend(numbers.unwrap());
    let different: HashSet<_> = drawn.iter().collect();
    assert_eq!(different.len(), drawn.len(), "{drawn:?}");
}

fn a_worker_has_no_descriptor_of_the_program() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As a C library leaves its own.
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let pool = Pool::new(2).unwrap();
    let process = Process::spawn_with(|()| thread::sleep(SOON), ()).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    drop(listener);
    TcpListener::bind(address).expect("nobody has the port");
    process.kill().unwrap();
}

fn rights(_: ()) -> Vec<u32> {
    let (user, group) = (getresuid().unwrap(), getresgid().unwrap());
    let users = [user.real, user.effective, user.saved].map(Uid::as_raw);
    let groups = [group.real, group.effective, group.saved].map(Gid::as_raw);
    let more = getgroups().unwrap().into_iter().map(Gid::as_raw);
    users.into_iter().chain(groups).chain(more).collect()
}

fn a_process_has_the_rights_that_the_program_has_when_it_is_made() {
    init().unwrap();
    let before = Process::spawn_with(rights, ()).unwrap().join().unwrap();
    assert_eq!(before, rights(()));
    if is_root() {
        let go = Queue::<u32>::new().unwrap();
        let exit = |go: Queue<u32>| process::exit(go.get().unwrap().cast_signed());
        let older = Process::<()>::spawn_with(exit, go.clone()).unwrap();
        become_nobody();
        let nobody = vec![NOBODY; 6];
        let process = Process::spawn_with(rights, ()).unwrap();
        process.terminate().unwrap();
        drop(process);
        let process = Process::spawn_with(rights, ()).unwrap();
        assert_eq!(process.join().unwrap(), nobody);
        // The end of one that was made before is told as well.
        go.put(&7).unwrap();
        let ended = older.join();
        assert!(
            matches!(ended, Err(Error::Exited { code: 7, .. })),
            "{ended:?}"
        );
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(rights, ()).unwrap(), nobody);
    }
}

fn a_program_that_gave_up_its_rights_ends() {
    Child::fork(|| {
        init().unwrap();
        let pool = Pool::new(1).unwrap();
        pool.apply(square, 3).unwrap();
        become_nobody();
        drop(pool);
        process::exit(0);
    })
    .succeed();
}

fn a_pool_makes_no_worker_with_more_rights_than_the_program_has() {
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(rights, ()).unwrap(), rights(()));
    if is_root() {
        become_nobody();
        let killed = pool.apply(die, ());
        assert!(matches!(killed, Err(Error::Killed { .. })), "{killed:?}");
        let refused: Result<u64, _> = pool.apply(square, 3);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("has changed its user"), "{refused}");
    }
}

fn ignore(signal: Signal) {
    multiprocess::ignore_for_tests(signal as i32);
}

fn an_ignored_sigchld_is_named_where_it_matters() {
    ignore(Signal::SIGCHLD);
    let refused = [
        Process::spawn(|| ()).err(),
        subprocess::call(&mut Command::new("true")).err(),
        subprocess::communicate(&mut Command::new("true"), b"").err(),
    ];
    for error in refused {
        let error = error.expect("no exit code could be had").to_string();
        assert!(error.contains("SIGCHLD is ignored"), "{error}");
    }
}

fn a_pool_works_although_sigchld_is_ignored() {
    ignore(Signal::SIGCHLD);
    let pool = Pool::new(1).unwrap();
    let killed = pool.apply(die, ());
    assert!(matches!(killed, Err(Error::Killed { .. })), "{killed:?}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    let exited = Process::<()>::spawn_with(|()| process::exit(3), ()).unwrap();
    assert!(matches!(exited.join(), Err(Error::Exited { code: 3, .. })));
}

/// As a handler of SIGCHLD does that waits for any child.
fn a_process_that_another_part_of_the_program_has_reaped_is_known_to_have_ended() {
    let reap = || waitpid(None, None);
    let mut process = Process::<()>::spawn(|| process::exit(3)).unwrap();
    let number = process.pid().cast_signed();
    assert_eq!(reap().unwrap().pid(), Some(Pid::from_raw(number)));
    assert!(!process.is_alive());
    assert!(active_children().is_empty());
    assert_eq!(process.exitcode(), None);
    let named = |error: Error| {
        let error = error.to_string();
        assert!(error.contains("a handler of SIGCHLD"), "{error}");
    };
    named(process.join_timeout(SOON).unwrap_err());
    named(process.join().unwrap_err());
    // The value tells it if the function has come to its end.
    let process = Process::spawn(|| 7).unwrap();
    reap().unwrap();
    assert_eq!(process.join(), Ok(7));
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    // Which of the two is first is as it happens.
    thread::spawn(move || {
        loop {
            let _ = reap();
        }
    });
    let call = || subprocess::call(&mut Command::new("true")).err();
    let until = Instant::now() + SOON;
    let failed = std::iter::repeat_with(call).take_while(|_| Instant::now() < until);
    named(failed.flatten().next().expect("it is reaped before"));
}

fn nothing_waits_for_a_locked_output() {
    let (locked, is_locked) = mpsc::channel();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut output = io::stdout().lock();
            output.write_all(b"held back").unwrap();
            locked.send(()).unwrap();
            let _ = is_done.recv_timeout(SOON);
        });
        is_locked.recv().unwrap();
        let begin = Instant::now();
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        let process = Process::spawn_with(square, 4).unwrap();
        assert_eq!(process.join().unwrap(), 16);
        assert_eq!(subprocess::call(&mut Command::new("true")).unwrap(), 0);
        assert!(begin.elapsed() < SOON);
        drop(done);
    });
}

fn a_program_that_became_a_daemon_starts_processes() {
    init().unwrap();
    let results = Queue::<u64>::new().unwrap();
    let (gone, is_gone) = multiprocess::pipe::<(), ()>().unwrap();
    let parent = Child::fork(|| {
        multiprocess::fork_for_tests(|| {
            setsid().unwrap();
            // Until the parent is gone.
            while is_gone.recv().is_ok() {}
            let pool = Pool::new(1).unwrap();
            results.put(&pool.apply(square, 3).unwrap()).unwrap();
            let process = Process::spawn_with(square, 4).unwrap();
            results.put(&process.join().unwrap()).unwrap();
        })
        .unwrap();
    });
    parent.succeed();
    drop(gone);
    assert_eq!(results.get_timeout(SOON).unwrap(), 9);
    assert_eq!(results.get_timeout(SOON).unwrap(), 16);
}

/// A terminal with a program in its foreground, as a shell has it.
struct Terminal {
    keyboard: File,
    program: Pid,
    /// The shell: it leads the terminal's session.
    _shell: Child,
}

impl Terminal {
    fn run(program: impl FnOnce()) -> Self {
        let pty = openpty(None, None).unwrap();
        let path = ttyname(&pty.slave).unwrap();
        let pids = Queue::<u32>::new().unwrap();
        let shell = Child::fork(|| {
            setsid().unwrap();
            // The terminal that a session leader opens first is its own.
            let terminal = File::options().read(true).write(true).open(path).unwrap();
            let gate = Queue::<()>::new().unwrap();
            let program = Child::fork(|| {
                setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
                gate.get().unwrap();
                program();
            });
            let _ = setpgid(program.pid, program.pid);
            tcsetpgrp(&terminal, program.pid).unwrap();
            gate.put(&()).unwrap();
            pids.put(&program.pid.as_raw().cast_unsigned()).unwrap();
            let _ = program.wait();
        });
        let program = pids.get_timeout(SOON).unwrap();
        Self {
            keyboard: pty.master.into(),
            program: Pid::from_raw(program.cast_signed()),
            _shell: shell,
        }
    }

    fn ctrl_z(&self) {
        (&self.keyboard).write_all(&[0x1a]).unwrap();
    }

    fn fg(&self) {
        killpg(self.program, Signal::SIGCONT).unwrap();
    }
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.trim_start().chars().next().unwrap()
}

fn a_worker_that_asks_the_terminal_is_not_stopped() {
    let answers = Queue::<bool>::new().unwrap();
    let _terminal = Terminal::run(|| {
        let pool = Pool::new(1).unwrap();
        let ask = |script: String| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).status().unwrap().success()
        };
        let tell = |script: &str| {
            let answer = pool.apply(ask, script.to_string()).unwrap();
            answers.put(&answer).unwrap();
        };
        tell("read line");
        tell("read line < /dev/tty");
        tell("stty -echo < /dev/tty");
        tell("stty echo < /dev/tty");
    });
    let answers = [(); 4].map(|()| answers.get_timeout(SOON).unwrap());
    // Nobody can read who is not in the foreground; who is may set it.
    assert_eq!(answers, [false, false, true, true]);
}

fn a_pool_stops_and_goes_on_with_its_program() {
    let told = Queue::<u32>::new().unwrap();
    let timeout = Duration::from_secs(2);
    let terminal = Terminal::run(|| {
        let builder = Pool::builder().workers(1).task_timeout(timeout);
        let pool = builder.build().unwrap();
        let task = pool.apply_async(|()| thread::sleep(Duration::from_secs(1)), ());
        let task = task.unwrap();
        eventually("there is a worker", || !pool.worker_pids().is_empty());
        told.put(&pool.worker_pids()[0]).unwrap();
        let outcome = task.get();
        told.put(&u32::from(outcome.is_ok())).unwrap();
    });
    let worker = told.get_timeout(SOON).unwrap();
    let program = terminal.program.as_raw().cast_unsigned();
    terminal.ctrl_z();
    eventually("the program is stopped", || state(program) == 'T');
    eventually("its worker is stopped", || state(worker) == 'T');
    // Longer than the task may take.
    thread::sleep(timeout + Duration::from_millis(500));
    assert_eq!(state(worker), 'T');
    terminal.fg();
    // The worker may be gone by now: only the outcome of its task says that it went on.
    assert_eq!(told.get_timeout(SOON).unwrap(), 1);
}

fn a_program_that_does_not_stop_keeps_its_workers() {
    let told = Queue::<u32>::new().unwrap();
    let go = Queue::<()>::new().unwrap();
    let terminal = Terminal::run(|| {
        ignore(Signal::SIGTSTP);
        let pool = Pool::new(1).unwrap();
        pool.apply(square, 1).unwrap();
        told.put(&pool.worker_pids()[0]).unwrap();
        go.get().unwrap();
        told.put(&pool.apply(|n: u32| n, 7).unwrap()).unwrap();
    });
    let worker = told.get_timeout(SOON).unwrap();
    terminal.ctrl_z();
    thread::sleep(Duration::from_millis(100));
    assert_ne!(state(worker), 'T');
    go.put(&()).unwrap();
    assert_eq!(told.get_timeout(SOON).unwrap(), 7);
}
