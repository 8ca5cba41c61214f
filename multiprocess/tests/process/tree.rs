//! What becomes of a process with all its descendants.

use std::{
    fs, io, mem,
    os::fd::AsFd,
    process::{self, Command},
    sync::OnceLock,
    thread,
    time::Duration,
};

use multiprocess::{Error, Pool, Process, Queue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Child, SOON, all_end, become_nobody, eventually, is_gone, is_root};

tests![
    r31_kill_tree_ends_all_descendants_and_nobody_else,
    kill_tree_ends_those_that_are_born_meanwhile,
    kill_tree_finds_the_children_of_every_thread,
    kill_tree_ends_a_pool_and_what_its_tasks_have_started,
    kill_tree_of_a_process_that_has_ended_does_nothing,
    kill_tree_does_not_reach_one_whose_parent_had_ended,
    kill_tree_names_whom_it_must_not_kill_and_kills_the_others,
];

fn sleep_long() {
    thread::sleep(Duration::from_secs(600));
}

/// Forks a child that nobody waits for; its number.
fn leave(work: impl FnOnce()) -> u32 {
    let child = Child::fork(work);
    let pid = child.pid.as_raw().cast_unsigned();
    mem::forget(child);
    pid
}

fn r31_kill_tree_ends_all_descendants_and_nobody_else() {
    let born = Queue::<u32>::new().unwrap();
    let tell_and_sleep = || {
        born.put(&process::id()).unwrap();
        sleep_long();
    };
    let sibling = Process::builder().daemon(true).spawn(sleep_long).unwrap();
    let process = Process::spawn(|| {
        for _ in 0..3 {
            leave(|| {
                leave(tell_and_sleep);
                tell_and_sleep();
            });
        }
        tell_and_sleep();
    })
    .unwrap();
    let all: Vec<u32> = (0..7).map(|_| born.get_timeout(SOON).unwrap()).collect();
    process.kill_tree().unwrap();
    assert!(matches!(
        process.join(),
        Err(Error::Killed { signal: 9, .. })
    ));
    all_end(&all);
    assert!(sibling.is_alive());
}

/// Each descendant forks another, as fast as it can, and holds the end of a pipe open.
fn kill_tree_ends_those_that_are_born_meanwhile() {
    fn go_on(left: u32) {
        if left > 0 {
            leave(|| go_on(left - 1));
        }
        sleep_long();
    }
    for round in 0..20 {
        let (end, theirs) = io::pipe().unwrap();
        let born = Queue::<()>::new().unwrap();
        let process = Process::spawn(|| {
            let _theirs = &theirs;
            born.put(&()).unwrap();
            go_on(200);
        })
        .unwrap();
        drop(theirs);
        born.get_timeout(SOON).unwrap();
        thread::sleep(Duration::from_micros(300 * round));
        process.kill_tree().unwrap();
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLHUP)];
        let within = PollTimeout::try_from(SOON).unwrap();
        assert_eq!(poll(&mut fds, within), Ok(1), "one is left");
        drop(process);
    }
}

fn kill_tree_finds_the_children_of_every_thread() {
    let born = Queue::<u32>::new().unwrap();
    let process = Process::spawn(|| {
        let start = || {
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            born.put(&child.id()).unwrap();
            child.wait().unwrap();
        };
        thread::scope(|scope| {
            let _ = scope.spawn(start);
            let _ = scope.spawn(start);
        });
    })
    .unwrap();
    let all = [(); 2].map(|()| born.get_timeout(SOON).unwrap());
    process.kill_tree().unwrap();
    all_end(&all);
}

fn kill_tree_ends_a_pool_and_what_its_tasks_have_started() {
    let born = Queue::<u32>::new().unwrap();
    let work = |born: Queue<u32>| {
        let tell = |born: Queue<u32>| {
            born.put(&process::id()).unwrap();
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            born.put(&child.id()).unwrap();
            KEPT.set((born, child)).unwrap();
        };
        let pool = Pool::builder()
            .workers(2)
            .initializer_with(tell, born)
            .build();
        sleep_long();
        drop(pool);
    };
    let process = Process::spawn_with(work, born.clone()).unwrap();
    let all: Vec<u32> = (0..4).map(|_| born.get_timeout(SOON).unwrap()).collect();
    process.kill_tree().unwrap();
    all_end(&all);
}

/// What a worker has for as long as it lives.
static KEPT: OnceLock<(Queue<u32>, process::Child)> = OnceLock::new();

fn kill_tree_of_a_process_that_has_ended_does_nothing() {
    let mut process = Process::spawn(|| ()).unwrap();
    eventually("its end", || !process.is_alive());
    process.kill_tree().unwrap();
    process.join_timeout(SOON).unwrap();
    process.kill_tree().unwrap();
    process.join().unwrap();
}

fn kill_tree_does_not_reach_one_whose_parent_had_ended() {
    let born = Queue::<u32>::new().unwrap();
    let process = Process::spawn(|| {
        Child::fork(|| born.put(&leave(sleep_long)).unwrap()).succeed();
        born.put(&0).unwrap();
        sleep_long();
    })
    .unwrap();
    let orphan = born.get_timeout(SOON).unwrap();
    assert_eq!(born.get_timeout(SOON).unwrap(), 0);
    process.kill_tree().unwrap();
    assert!(matches!(process.join(), Err(Error::Killed { .. })));
    assert!(!is_gone(orphan));
}

fn kill_tree_names_whom_it_must_not_kill_and_kills_the_others() {
    if !is_root() {
        return;
    }
    let born = Queue::<u32>::new().unwrap();
    let process = Process::spawn(|| {
        born.put(&leave(sleep_long)).unwrap();
        become_nobody();
        born.put(&leave(sleep_long)).unwrap();
        sleep_long();
    })
    .unwrap();
    let [of_root, of_nobody] = [(); 2].map(|()| born.get_timeout(SOON).unwrap());
    become_nobody();
    let refused = process.kill_tree().unwrap_err();
    assert!(matches!(
        refused,
        Error::Os {
            errno: Some(libc::EPERM),
            ..
        }
    ));
    assert!(
        refused
            .to_string()
            .contains(&format!("kill process {of_root},")),
        "{refused}"
    );
    all_end(&[process.pid(), of_nobody]);
    let stat = fs::read_to_string(format!("/proc/{of_root}/stat")).unwrap();
    assert!(stat.contains(") S "), "{stat}");
}
