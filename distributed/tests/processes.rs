//! Tasks that run in the processes of a pool, with the feature `processes`.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use distributed::{Client, Error, Result, Worked, Worker};
use multiprocess::Pool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::tasks::{failure, quick};
use support::{LONG, eventually, task_server};

mod support;

/// What a function of these tests returns.
type Told<T> = std::result::Result<T, String>;

/// A worker on a thread of its own, which the test stops.
struct Serving {
    stop: Arc<AtomicBool>,
    pool: Arc<Pool>,
    ended: Receiver<Result<Worked>>,
}

impl Serving {
    fn start(client: &Client) -> Serving {
        let pool = Arc::new(Pool::new(2).expect("a pool"));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new()
            .task_in_pool("square", &pool, square)
            .task_in_pool("crash", &pool, crash)
            .task_in_pool("fail", &pool, fail)
            .task_in_pool("first", &pool, waits_at_first)
            .task_in_pool("wait", &pool, wait_for)
            .stop(Arc::clone(&stop));
        let client = client.clone();
        let (ends, ended) = mpsc::channel();
        thread::spawn(move || ends.send(worker.serve(&client, "tasks")));
        Serving { stop, pool, ended }
    }

    fn stop(self) -> Result<Worked> {
        self.stop.store(true, SeqCst);
        self.ended.recv_timeout(LONG).expect("it ends")
    }
}

fn square(n: u32) -> Told<u32> {
    Ok(n * n)
}

/// Calls itself until its stack is full.
fn crash(depth: usize) -> Told<usize> {
    let frame = black_box([depth; 1024]);
    match depth {
        usize::MAX => Ok(0),
        _ => crash(depth + 1).map(|depth| depth + frame[0]),
    }
}

fn fail(text: String) -> Told<()> {
    match text.as_str() {
        "panic" => panic!("no more memory"),
        _ => Err(text),
    }
}

/// Leaves its process id in a file and waits for ever; returns it when the file was there before.
fn waits_at_first(file: PathBuf) -> Told<u32> {
    let pid = process::id();
    if file.exists() {
        return Ok(pid);
    }
    // A reader sees the whole number or no file.
    let whole = file.with_extension("new");
    std::fs::write(&whole, pid.to_string()).map_err(|error| error.to_string())?;
    std::fs::rename(&whole, &file).map_err(|error| error.to_string())?;
    loop {
        thread::park();
    }
}

/// Waits until there is such a file; its process id.
fn wait_for(file: PathBuf) -> Told<u32> {
    match eventually(|| file.exists()) {
        true => Ok(process::id()),
        false => Err(format!("no {}", file.display())),
    }
}

/// The process that `waits_at_first`.
fn first(file: &Path) -> Pid {
    assert!(eventually(|| file.exists()), "it begins");
    let pid = std::fs::read_to_string(file).expect("it is there");
    Pid::from_raw(pid.parse().expect("a process id"))
}

#[test]
fn a_task_that_segfaults_is_tried_again_and_fails_with_the_signal_while_others_go_on() -> Result<()>
{
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let folder = tempfile::tempdir().expect("a folder");
    let done = folder.path().join("done");
    let serving = Serving::start(&client);
    let beside = tasks.submit_with::<u32>("wait", &done, quick().retries(0))?;
    let crash = tasks.submit_with::<usize>("crash", &1, quick().retries(2))?;
    let numbers: Vec<u32> = (0..50).collect();
    let squares = tasks.submit_many::<u32>("square", &numbers, quick().retries(0))?;
    let failed = failure(crash.result(Some(LONG)));
    assert_eq!(failed.tries, 3);
    assert!(failed.reason.starts_with("process "), "{failed}");
    assert!(
        failed
            .reason
            .ends_with(" was killed by signal 11 (SIGSEGV)"),
        "{failed}"
    );
    let here = format!("/{}/", process::id());
    assert!(failed.worker.is_some_and(|worker| worker.contains(&here)));
    for (square, n) in squares.iter().zip(&numbers) {
        assert_eq!(square.result(Some(LONG))?, n * n);
    }
    // It ran all the time.
    std::fs::write(&done, "").expect("a file");
    assert_ne!(beside.result(Some(LONG))?, process::id());
    let worked = serving.stop()?;
    assert_eq!((worked.done, worked.failed), (51, 3));
    Ok(())
}

#[test]
fn a_process_that_is_killed_costs_one_try_and_the_next_is_done_in_another() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("first");
    let serving = Serving::start(&client);
    let task = tasks.submit_with::<u32>("first", &file, quick().retries(1))?;
    let killed = first(&file);
    kill(killed, Signal::SIGKILL).expect("it is there");
    let pid = task.result(Some(LONG))?;
    assert!(![process::id(), killed.as_raw().cast_unsigned()].contains(&pid));
    let worked = serving.stop()?;
    assert_eq!((worked.done, worked.failed), (1, 1));
    Ok(())
}

#[test]
fn what_a_function_says_and_where_it_panics_is_told() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let texts = ["no database", "panic"];
    let failing = tasks.submit_many::<()>("fail", &texts, quick().retries(0))?;
    let serving = Serving::start(&client);
    let [said, panicked] = [0, 1].map(|at: usize| failure(failing[at].result(Some(LONG))).reason);
    assert_eq!(said, "no database");
    assert!(panicked.contains("tests/processes.rs:"), "{panicked}");
    assert!(panicked.ends_with(": no more memory"), "{panicked}");
    serving.stop().map(drop)
}

#[test]
fn the_process_of_a_task_that_is_cancelled_or_over_its_time_limit_is_killed() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["cancelled", "late"].map(|name| folder.path().join(name));
    let serving = Serving::start(&client);
    let cancelled = tasks.submit::<u32>("first", &files[0])?;
    let limit = Duration::from_millis(300);
    let late = quick().retries(0).time_limit(limit);
    let late = tasks.submit_with::<u32>("first", &files[1], late)?;
    let running = files.each_ref().map(|file| first(file));
    assert!(cancelled.cancel()?);
    assert!(matches!(
        cancelled.result(Some(LONG)),
        Err(Error::TaskCancelled)
    ));
    let reason = failure(late.result(Some(LONG))).reason;
    assert_eq!(reason, "it took longer than its time limit of 300ms");
    for pid in running {
        assert!(eventually(|| kill(pid, None).is_err()), "{pid} is killed");
    }
    // Both have room again.
    let again = tasks.submit_many::<u32>("first", &files, quick())?;
    for task in &again {
        task.result(Some(LONG))?;
    }
    let worked = serving.stop()?;
    assert_eq!((worked.done, worked.failed), (2, 2));
    Ok(())
}

#[test]
fn a_worker_whose_pool_is_broken_ends_and_its_task_goes_to_another() -> Result<()> {
    let (_server, client) = task_server()?;
    let tasks = client.task_queue("tasks")?;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("first");
    let serving = Serving::start(&client);
    let task = tasks.submit_with::<u32>("first", &file, quick())?;
    first(&file);
    let supervisor = serving.pool.supervisor_pid().cast_signed();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it is there");
    let ended = serving.ended.recv_timeout(LONG).expect("it ends");
    let error = ended.expect_err("it has no pool").to_string();
    assert!(
        error.starts_with("run a task in the pool: the pool is broken"),
        "{error}"
    );
    let serving = Serving::start(&client);
    task.result(Some(LONG))?;
    assert_eq!(serving.stop()?.done, 1);
    Ok(())
}
