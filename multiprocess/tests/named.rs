//! Queues that programs find by a name.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::program::{self, Program};
use multiprocess::{Error, Queue, Result};

#[path = "support/memory.rs"]
mod memory;

/// No program here needs so long.
const LONG: Duration = Duration::from_secs(20);

/// A name of this test alone.
fn name(of: &str) -> String {
    format!("{of}-{}", process::id())
}

fn start(arguments: &[&str]) -> Program {
    let mut command: Command =
        program::example(Path::new(env!("CARGO_MANIFEST_DIR")), "named_queue");
    let started = Program::start(command.args(arguments).stdin(Stdio::null()));
    started.expect("an example starts")
}

fn line(program: &Program) -> String {
    program
        .line(Instant::now() + LONG)
        .expect("it says something")
}

fn ends(mut program: Program) {
    let end = program.wait(Instant::now() + LONG).expect("it is ours");
    assert!(end.expect("it ends in time").success());
}

/// Which addresses there are of that name.
fn addresses(name: &str) -> Vec<String> {
    let sockets = fs::read_to_string("/proc/net/unix").expect("there is one");
    let part = format!("/{name}/");
    let ours = sockets.lines().filter(|line| line.contains(&part));
    ours.map(str::to_owned).collect()
}

/// Waits until so many programs have it, and not only the address by which one is let in to open it.
#[track_caller]
fn has(name: &str, count: usize) {
    let have = || {
        addresses(name)
            .iter()
            .filter(|it| !it.ends_with("/open"))
            .count()
    };
    let deadline = Instant::now() + LONG;
    while have() < count {
        assert!(Instant::now() < deadline, "{:?}", addresses(name));
        thread::yield_now();
    }
}

/// Waits until there is none. A program that is being started here has all descriptors for a moment.
#[track_caller]
fn is_free(name: &str) {
    let deadline = Instant::now() + LONG;
    while !addresses(name).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", addresses(name));
        thread::yield_now();
    }
}

#[test]
fn programs_that_share_nothing_but_a_name_meet_in_its_queue_whoever_comes_first() {
    for first in ["put", "work"] {
        let name = name(first);
        let put = || start(&["put", &name, "a", "b"]);
        let work = || start(&["work", &name]);
        let (putter, worker);
        if first == "put" {
            putter = put();
            worker = work();
        } else {
            worker = work();
            putter = put();
        }
        let pid = worker.pid();
        assert_eq!(line(&worker), format!("{pid} does a"));
        assert_eq!(line(&worker), format!("{pid} does b"));
        ends(putter);
    }
}

#[test]
fn a_queue_outlives_the_program_that_made_it_and_any_other_that_is_killed() -> Result<()> {
    let name = name("outlives");
    let mut first = start(&["work", &name]);
    has(&name, 1);
    let ours = Queue::<String>::named(&name)?;
    first.kill().expect("it runs");
    ours.put(&"left".to_string())?;
    let later = start(&["work", &name]);
    assert_eq!(line(&later), format!("{} does left", later.pid()));
    ours.join()
}

#[test]
fn r33_nothing_is_left_of_a_named_queue_when_all_that_have_it_are_killed() -> Result<()> {
    let name = name("all");
    let left = || {
        let of = |path: &str| {
            let names = fs::read_dir(path).expect("it is there").flatten();
            let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names
                .filter(|file| file.contains(&name) || file.contains("multiprocess-queue"))
                .count()
        };
        (of("/dev/shm"), of("/tmp"))
    };
    let before = left();
    let mut all: Vec<Program> = (0..3).map(|_| start(&["put", &name, "x", "y"])).collect();
    has(&name, 3);
    let memory = memory::shared_memory_of(all[0].pid().cast_unsigned());
    assert!(memory::is_in_use(&memory));
    for program in &mut all {
        program.kill().expect("it waits for workers");
    }
    drop(all);
    is_free(&name);
    assert_eq!(left(), before);
    assert!(!memory::is_in_use(&memory));
    assert!(Queue::<String>::named(&name)?.is_empty());
    Ok(())
}

#[test]
fn a_name_goes_with_the_last_handle_and_not_before() -> Result<()> {
    let name = name("handles");
    let first = Queue::<u32>::named(&name)?;
    let second = Queue::<u32>::named(&name)?;
    first.put(&7)?;
    let clone = first.clone();
    drop(first);
    drop(second);
    let third = Queue::<u32>::named(&name)?;
    assert_eq!(third.get_timeout(LONG)?, 7);
    drop((clone, third));
    is_free(&name);
    assert!(Queue::<u32>::named(&name)?.is_empty());
    Ok(())
}

#[test]
fn of_many_that_come_at_once_one_makes_the_queue_and_all_have_it() -> Result<()> {
    for round in 0..50 {
        let name = name(&format!("at-once{round}"));
        let barrier = Barrier::new(8);
        let queues: Vec<Queue<u32>> = thread::scope(|s| {
            let open = || {
                barrier.wait();
                let queue = Queue::named(&name)?;
                queue.put(&1)?;
                Ok(queue)
            };
            let threads: Vec<_> = (0..8).map(|_| s.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect::<Result<_>>()
        })?;
        assert!(queues.iter().all(|queue| queue.len() == 8), "{round}");
    }
    Ok(())
}

#[test]
fn an_address_that_lies_is_no_queue() -> Result<()> {
    let name = name("lies");
    // What the address of a queue begins with, up to the numbers.
    let real = Queue::<u32>::named(&name)?;
    let address = addresses(&name).remove(0);
    let (_, address) = address.split_once('@').expect("it is abstract");
    let scope = &address[..=address.find(&name).expect("it has it") + name.len()];
    let scope = scope.to_string();
    drop(real);
    // Of another queue, whose memory is one, but not the one that the address is about.
    let other_name = self::name("another");
    let other_queue = Queue::<u32>::named(&other_name)?;
    let other = addresses(&other_name).remove(0);
    let (_, other) = other
        .split_once(&format!("{other_name}/"))
        .expect("it has it");
    let file = tempfile::tempfile().expect("a file");
    let (pid, number) = (process::id(), file.as_raw_fd());
    let lies = [
        format!("{pid}/{number}/1"),
        format!("{pid}/99999/1"),
        format!("{other}0"),
        "0/0/0".to_string(),
        "no/numbers".to_string(),
    ];
    let _liars = lies.map(|lie| {
        let address = SocketAddr::from_abstract_name(format!("{scope}{lie}"));
        UnixDatagram::bind_addr(&address.expect("it is short")).expect("it is free")
    });
    let queue = Queue::<u32>::named(&name)?;
    queue.put(&1)?;
    assert!(other_queue.is_empty());
    assert_eq!(Queue::<u32>::named(&name)?.get_timeout(LONG)?, 1);
    Ok(())
}

#[test]
fn a_name_that_is_none_is_refused_with_what_one_has() {
    for name in ["", "a b", "a/b", "名", &"x".repeat(33)] {
        let refused = Queue::<u32>::named(name).expect_err("it is no name");
        assert!(matches!(refused, Error::Os { .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(&format!("{name:?}")), "{text}");
        assert!(text.contains("1 to 32 of the characters"), "{text}");
    }
    assert!(Queue::<u32>::named(&name(&"x".repeat(20))).is_ok());
}
