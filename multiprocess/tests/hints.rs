//! What the hints of chapter 1 tell a reader to try, tried.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common::program::{Finished, Program};
use multiprocess::{Error, Process, Queue, subprocess};

/// No program here needs so long.
const LONG: Duration = Duration::from_secs(60);

fn start(cell: &str) -> Program {
    let mut command = Command::new(cargo_bin(cell));
    // With these draws no pause is so short that the kill could come too late.
    let draws = [("PACE", "1"), ("SEED", "2")];
    command.stderr(Stdio::piped()).envs(draws);
    Program::start(&mut command).expect("a cell starts")
}

/// The number between two words of a line.
fn number(line: &str, before: &str, after: &str) -> i32 {
    let rest = line.split_once(before).expect("the word before it").1;
    let number = rest.split_once(after).map_or(rest, |(number, _)| number);
    number.trim().parse().expect("a number")
}

#[test]
fn fork_either_side_may_speak_first_and_each_speaks_once() {
    for _ in 0..20 {
        let output = Command::new(cargo_bin("fork")).output().expect("it starts");
        let out = String::from_utf8_lossy(&output.stdout);
        let (child, parent) = (out.matches("child process").count(), out.lines().count());
        assert_eq!((child, parent), (2, 3), "{out}");
    }
}

#[test]
fn process_join_returns_the_panic_of_the_function() {
    let child = Process::spawn_with(|()| -> () { panic!("no name") }, ()).expect("a process");
    match child.join() {
        Err(Error::Panicked { message, location }) => {
            assert_eq!(message, "no name");
            assert!(location.contains("hints.rs"), "{location}");
        }
        joined => panic!("{joined:?}"),
    }
}

#[test]
fn pool_says_which_task_a_killed_worker_had_and_does_the_others() -> io::Result<()> {
    let deadline = Instant::now() + LONG;
    let pool = start("pool");
    let begun = pool.until("Run task", deadline)?;
    let line = begun.lines().last().expect("a line");
    let (task, worker) = (number(line, "task ", " ("), number(line, "(", ")"));
    assert!(pool.kill_process(worker));
    let Finished { out, err, status } = pool.finish(deadline)?;
    assert_eq!(status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains(&format!(
            "task {task}, whose result nobody asked for, failed: process {worker} was killed by \
             signal 9"
        )),
        "{err}"
    );
    let done = out.lines().filter(|line| line.contains(" runs "));
    assert_eq!(done.count(), 4, "{out}");
    Ok(())
}

#[test]
fn call_gives_the_exit_code_of_a_killed_program_as_python_does() {
    let suicide = ["-c", "kill -9 $$"];
    let code = subprocess::call(Command::new("sh").args(suicide)).expect("sh starts");
    assert_eq!(code, -9);
    if common::stand_in::find("python3").is_none() {
        assert!(std::env::var_os("CI").is_none(), "there is no python3");
        return;
    }
    let program = "import subprocess; print(subprocess.call(['sh', '-c', 'kill -9 $$']))";
    let python = Command::new("python3").args(["-c", program]).output();
    let said = python.expect("python3 starts").stdout;
    assert_eq!(String::from_utf8_lossy(&said).trim(), code.to_string());
}

#[test]
fn communicate_ends_though_a_megabyte_of_input_is_not_read() {
    let input = vec![b'x'; 1 << 20];
    let output = subprocess::communicate(&mut Command::new("true"), &input);
    assert_eq!(output.expect("true starts").code, 0);
}

#[test]
fn queue_says_that_its_reader_was_killed_and_ends() -> io::Result<()> {
    let deadline = Instant::now() + LONG;
    let queue = start("queue");
    let line = queue.until("Process to read", deadline)?;
    let line = line.lines().last().expect("a line");
    let reader = number(line, "read ", "\n");
    assert!(queue.kill_process(reader));
    let Finished { out, err, status } = queue.finish(deadline)?;
    assert_eq!(status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains(&format!("process {reader} was killed by signal 9")),
        "{err}"
    );
    Ok(())
}

#[test]
fn queue_goes_on_with_its_second_reader() -> Result<(), Error> {
    let (queue, seen) = (Queue::<String>::new()?, Queue::<String>::new()?);
    let read = |(queue, seen): (Queue<String>, Queue<String>)| -> Result<(), Error> {
        loop {
            seen.put(&queue.get()?)?;
        }
    };
    let readers = [(); 2].map(|()| {
        let builder = Process::builder().daemon(true);
        builder.spawn_with(read, (queue.clone(), seen.clone()))
    });
    let [first, second] = readers;
    first?.kill()?;
    for value in ["A", "B", "C"] {
        queue.put(&value.to_string())?;
        assert_eq!(seen.get_timeout(LONG)?, value);
    }
    second?.terminate()
}
