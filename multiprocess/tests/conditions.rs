//! The conditions under which programs are run: users, limits, signals, missing descriptors, older
//! kernels. Under each, everything works, or an error says what is missing.
//!
//! The program that is run is this one: with [`PROGRAM`] as its argument it is no test.

use std::{
    env,
    error::Error as StdError,
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::parent_id},
    path::PathBuf,
    process::{self, Command, Output},
    sync::OnceLock,
    thread,
    time::Duration,
};

use multiprocess::{Error, Pool, Process, Queue, pipe, subprocess, sync};
use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
};
use tempfile::TempDir;

#[macro_use]
mod support;

use support::{Child, NOW, SOON, become_nobody, has_program, is_root};

tests![
    as_it_is,
    as_an_ordinary_user,
    as_the_first_process_of_a_container,
    with_little_address_space,
    with_small_files_only,
    with_few_descriptors,
    with_no_more_processes,
    with_ignored_signals,
    without_standard_streams,
    in_a_session_without_a_terminal,
    on_a_kernel_without_close_range,
    on_a_kernel_without_clone3,
    on_a_kernel_without_pidfd_open,
    on_a_kernel_without_memfd_create,
    on_a_kernel_that_wipes_no_memory_at_a_fork,
    with_its_file_removed,
    without_proc,
    in_a_sandbox_that_denies_unshare,
    in_a_sandbox_that_hides_what_a_socket_is,
    with_a_thread_before_main,
    started_by_way_of_the_dynamic_loader,
    with_the_set_user_id_bit,
];

const PROGRAM: &str = "--program";

/// As [`PROGRAM`], with a second thread all the time.
const THREADED: &str = "--threaded";

/// As [`PROGRAM`], to tell whether a process comes from a zygote.
const PARENT: &str = "--parent";

/// To tell whether there can be a zygote.
const INIT: &str = "--init";

/// As [`INIT`], for an argument that ends so: the name of a program.
const MARK: &str = "/mark";

const WORKS: &str = "everything works\n";

fn main() {
    let program = env::args().nth(1);
    if program.as_deref() == Some("--removed") {
        fs::remove_file(env::args().next().expect("a program has a name")).expect("it is there");
    }
    if program.as_deref() == Some(PARENT) {
        let parent = Process::spawn_with(|()| parent_id(), ()).and_then(Process::join);
        let is_ours = parent.expect("a process starts") == process::id();
        return print!("{}", if is_ours { "no zygote" } else { "a zygote" });
    }
    if program
        .as_deref()
        .is_some_and(|it| it == INIT || it.ends_with(MARK))
    {
        return end(multiprocess::init().map_err(Into::into));
    }
    if program.as_deref() == Some(THREADED) {
        thread::spawn(thread::park);
    }
    if program.is_some_and(|argument| [PROGRAM, "--removed", THREADED].contains(&&*argument)) {
        return end(everything());
    }
    support::main(TESTS)
}

fn end(outcome: Result<(), Box<dyn StdError>>) {
    match outcome {
        Ok(()) => print!("{WORKS}"),
        Err(error) => {
            eprintln!("{error}");
            process::exit(1);
        }
    }
}

fn die(_: ()) {
    process::abort();
}

/// Each kind of thing once.
fn everything() -> Result<(), Box<dyn StdError>> {
    let expect = |what: &str, holds: bool| if holds { Ok(()) } else { Err(what.to_string()) };
    let queue = Queue::<u32>::new()?;
    let process = Process::spawn(|| queue.put(&7))?;
    process.join()??;
    expect("a queue", queue.get()? == 7)?;
    let (ours, theirs) = pipe::<u32, u32>()?;
    let echo = |theirs: multiprocess::Connection<u32, u32>| theirs.send(&theirs.recv()?);
    let process = Process::spawn_with(echo, theirs)?;
    ours.send(&8)?;
    expect("a pipe", ours.recv()? == 8)?;
    process.join()??;
    let pool = Pool::new(2)?;
    let squares = pool.map(|n: u64| n * n, 0..100)?;
    expect(
        "a pool",
        squares == (0..100).map(|n| n * n).collect::<Vec<u64>>(),
    )?;
    let killed = pool.apply(die, ());
    expect(
        "a killed worker",
        matches!(killed, Err(Error::Killed { .. })),
    )?;
    expect("its successor", pool.apply(|n: u64| n, 9)? == 9)?;
    let nested = |n: u64| {
        let pool = Pool::new(1).map_err(|error| error.to_string())?;
        let sums = pool.map(|n: u64| n + 1, 0..n);
        sums.map_err(|error| error.to_string())
    };
    expect("a pool of a task", pool.apply(nested, 3)?? == [1, 2, 3])?;
    pool.join()?;
    let late = Process::spawn_with(|()| thread::sleep(Duration::from_secs(600)), ())?;
    late.kill()?;
    let killed = late.join();
    expect(
        "a killed process",
        matches!(killed, Err(Error::Killed { signal: 9, .. })),
    )?;
    let code = subprocess::call(Command::new("sh").args(["-c", "exit 3"]))?;
    expect("a program", code == 3)?;
    let output = subprocess::communicate(&mut Command::new("cat"), b"text")?;
    expect("a program's output", output.stdout == b"text")?;
    let wait = Duration::from_secs(20);
    let code = subprocess::call_timeout(&mut Command::new("true"), wait)?;
    expect("a program with a deadline", code == 0)?;
    // Only a zygote may be left.
    let any = waitpid(None, Some(WaitPidFlag::WNOHANG));
    let is_buried = matches!(any, Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD));
    Ok(expect("no zombie", is_buried)?)
}

/// This program at a place where every user can execute it.
fn program() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::copy("/proc/self/exe", folder.path().join("program")).expect("there is room");
        folder
    });
    folder.path().join("program")
}

/// Runs the program, by way of another one if there are words for it.
#[track_caller]
fn run(by: &[&str]) -> Output {
    run_as(PROGRAM, by)
}

/// As [`run`], in this way.
#[track_caller]
fn run_as(way: &str, by: &[&str]) -> Output {
    let program = program();
    let mut words: Vec<&OsStr> = by.iter().map(OsStr::new).collect();
    words.extend([program.as_os_str(), OsStr::new(way)]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).output().expect("it can be run")
}

/// Runs the program after a line of shell.
#[track_caller]
fn run_after(line: &str) -> Output {
    run(&["sh", "-c", &format!("{line}; exec \"$0\" \"$@\"")])
}

#[track_caller]
fn works(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), WORKS);
}

/// It ended with an error that has these words.
#[track_caller]
fn says(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {text}", output.status);
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

fn as_it_is() {
    works(&run(&[]));
}

fn as_an_ordinary_user() {
    program();
    become_nobody();
    works(&run(&[]));
}

fn as_the_first_process_of_a_container() {
    if is_root() && has_program("unshare") && may_unshare() {
        works(&run(&["unshare", "--pid", "--fork", "--mount-proc"]));
        // Here `/proc` is that of the processes outside.
        works(&run(&["unshare", "--pid", "--fork"]));
    }
}

/// Whether the system lets root have other process numbers, which a container may not.
fn may_unshare() -> bool {
    let mut unshare = Command::new("unshare");
    let outcome = unshare
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status();
    let may = outcome.expect("it is there").success();
    if !may {
        eprintln!("skipped: the system allows no process numbers of one's own");
    }
    may
}

fn with_little_address_space() {
    works(&run_after("ulimit -v 8000000"));
    works(&run_after("ulimit -v 100000000"));
}

fn with_small_files_only() {
    works(&run_after("ulimit -f 1000"));
    says(&run_after("ulimit -f 10"), &["RLIMIT_FSIZE", "ulimit -f"]);
}

fn with_few_descriptors() {
    works(&run_after("ulimit -n 64"));
    for few in 4..24 {
        let output = run_after(&format!("ulimit -n {few}"));
        let said = String::from_utf8_lossy(&output.stderr);
        let is_told = said.contains("ulimit -n") && said.contains(&format!(" {few} "));
        assert!(output.status.success() || is_told, "{few}: {said}");
        assert!(!said.contains("PoolShared"), "{few}: {said}");
    }
}

fn with_no_more_processes() {
    program();
    become_nobody();
    if has_program("bash") {
        let line = "ulimit -u 1; exec \"$0\" \"$@\"";
        let refused = [
            "fork process Process-1",
            "limit of processes is 1 (RLIMIT_NPROC, `ulimit -u`",
        ];
        says(&run(&["bash", "-c", line]), &refused);
        // This process is one of them: enough for a pool's supervisor, and for no worker.
        let line = "ulimit -u 4; exec \"$0\" \"$@\"";
        let refused = [
            "a worker of the pool",
            "limit of processes is 4 (RLIMIT_NPROC, `ulimit -u`",
        ];
        says(&run(&["bash", "-c", line]), &refused);
    }
}

fn with_ignored_signals() {
    works(&run(&["env", "--ignore-signal=CHLD,PIPE,TERM"]));
}

fn without_standard_streams() {
    let output = run_after("exec <&- >&- 2>&-");
    assert!(output.status.success(), "{}", output.status);
}

fn in_a_session_without_a_terminal() {
    works(&run(&["setsid", "--wait"]));
}

fn with_its_file_removed() {
    let line = "cp \"$0\" \"$0-2\"; exec \"$0-2\" --removed";
    works(&run_after(line));
}

fn without_proc() {
    if is_root() && has_program("unshare") && may_unshare() {
        let line = "umount -l /proc; exec \"$0\" \"$@\"";
        let by = ["unshare", "--mount", "sh", "-c", line];
        works(&run(&by));
        says(
            &run_as(THREADED, &by),
            &["there is no `/proc`", "mount it", "multiprocess::init"],
        );
    }
}

/// The threads are counted in `/proc` then.
fn in_a_sandbox_that_denies_unshare() {
    works(&run_without(libc::SYS_unshare));
}

/// The program would go on to `main` where it should be the zygote, and start one in its turn.
fn in_a_sandbox_that_hides_what_a_socket_is() {
    multiprocess::deny_for_tests(&[libc::SYS_getsockopt]).unwrap();
    says(
        &run_as(INIT, &[]),
        &["the zygote", "ended before it was ready"],
    );
    works(&run(&[]));
}

/// As some profilers and allocators have one.
fn with_a_thread_before_main() {
    let library = program().with_file_name("library.so");
    let source = library.with_extension("c");
    let text = "#include <pthread.h>\n#include <unistd.h>\n\
                static void *wait(void *it) { for (;;) pause(); return it; }\n\
                __attribute__((constructor)) static void start(void) {\n\
                pthread_t it; pthread_create(&it, 0, wait, 0); }\n";
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-pthread", "-o"]);
    assert!(
        compile
            .args([&library, &source])
            .status()
            .unwrap()
            .success()
    );
    let preload = format!("LD_PRELOAD={}", library.display());
    let output = run_as(INIT, &["env", &preload]);
    says(&output, &["the zygote", "a thread before `main`"]);
}

/// The system has the loader for the program's file then, and that would execute the first argument.
fn started_by_way_of_the_dynamic_loader() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let loader = maps
        .split_whitespace()
        .find(|it| it.contains("/ld-"))
        .unwrap();
    let mark = program().with_file_name("mark");
    let executed = mark.with_file_name("mark-executed");
    fs::copy("/usr/bin/touch", &mark).unwrap();
    let mut command = Command::new(loader);
    let output = command.args([&program(), &mark, &executed]);
    let output = output.output().unwrap();
    says(&output, &["the zygote", "by way of the dynamic loader"]);
    assert!(!executed.exists());
    works(&run(&[loader]));
}

/// Who executes such a program has its owner's rights, and shall not choose its functions: there is no
/// zygote, and the word that asks for one is not heard.
fn with_the_set_user_id_bit() {
    let parent = || Command::new(program()).arg(PARENT).output().unwrap().stdout;
    assert_eq!(parent(), b"a zygote");
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(program(), mode).unwrap();
    assert_eq!(parent(), b"no zygote");
    become_nobody();
    assert_eq!(parent(), b"no zygote");
    works(&run(&[]));
    works(&run(&["env", "MULTIPROCESS_ZYGOTE="]));
}

/// Runs the program on a kernel that seems not to have this call.
#[track_caller]
fn run_without(call: i64) -> Output {
    multiprocess::deny_for_tests(&[call]).unwrap();
    run(&[])
}

fn on_a_kernel_without_close_range() {
    works(&run_without(libc::SYS_close_range));
}

fn on_a_kernel_without_clone3() {
    works(&run_without(libc::SYS_clone3));
}

fn on_a_kernel_without_pidfd_open() {
    says(
        &run_without(libc::SYS_pidfd_open),
        &["pidfd_open", "Linux 5.4"],
    );
}

fn on_a_kernel_that_wipes_no_memory_at_a_fork() {
    multiprocess::deny_for_tests(&[libc::SYS_madvise]).unwrap();
    let (mutex, queue) = (sync::Mutex::new(7).unwrap(), Queue::new().unwrap());
    // The parent knows who it is, and the child is another.
    *mutex.lock().unwrap() += 1;
    queue.put(&1).unwrap();
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    let child = Child::fork(|| {
        let _held = mutex.lock().unwrap();
        queue.get().unwrap();
        theirs.send(&()).unwrap();
        thread::sleep(Duration::from_secs(600));
    });
    ours.recv_timeout(SOON).unwrap();
    assert!(mutex.lock_timeout(NOW).is_err());
    child.kill();
    // It is poisoned, and free.
    let lock = mutex.lock_timeout(SOON);
    assert!(
        matches!(lock, Err(sync::TryLockError::OwnerDied(_))),
        "{lock:?}"
    );
    let lost = queue.join_timeout(SOON);
    assert!(matches!(lost, Err(Error::ItemsLost { .. })), "{lost:?}");
}

fn on_a_kernel_without_memfd_create() {
    says(
        &run_without(libc::SYS_memfd_create),
        &["memfd_create", "Linux 3.17"],
    );
}
