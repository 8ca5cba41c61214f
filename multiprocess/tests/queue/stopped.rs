//! What holds when processes are stopped in the middle of a call, and go on.

use std::thread;
use std::time::{Duration, Instant};

use multiprocess::Queue;
use multiprocess::sync::Array;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{Child, MEASURED, eventually, kills};

tests![whoever_goes_on_after_a_stop_holds_up_nobody];

/// How long one is stopped. Another that does nothing meanwhile waits for it.
const STOPPED: Duration = Duration::from_millis(20);

/// Two writers, and then two readers.
const WRITERS: usize = 2;
const PARTIES: usize = 4;

/// A stop hits a party at any instruction, with a lock in its hands or not.
fn whoever_goes_on_after_a_stop_holds_up_nobody() {
    let queue = Queue::<(usize, u64)>::bounded(1024).unwrap();
    let counts = Array::<u64>::zeroed(PARTIES).unwrap();
    let parties: Vec<_> = (0..PARTIES)
        .map(|party| Child::fork(|| work(party, &queue, &counts)))
        .collect();
    let moves = |party: usize| {
        let before = counts.load(party);
        move |counts: &Array<u64>| counts.load(party) != before
    };
    let mut dice = StdRng::seed_from_u64(7);
    let mut waits = Vec::new();
    let stops = kills(10);
    for _ in 0..stops {
        thread::sleep(Duration::from_micros(dice.random_range(0..3_000)));
        let victim = dice.random_range(0..PARTIES);
        // The other one of its side.
        let other = victim ^ 1;
        let pid = parties[victim].pid;
        kill(pid, Signal::SIGSTOP).unwrap();
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
        let moved = moves(other);
        thread::sleep(STOPPED);
        let held_up = !moved(&counts);
        let all_move: Vec<_> = (0..PARTIES).map(moves).collect();
        kill(pid, Signal::SIGCONT).unwrap();
        let goes_on = Instant::now();
        eventually("all go on", || all_move.iter().all(|moved| moved(&counts)));
        if held_up {
            waits.push(goes_on.elapsed());
        }
    }
    waits.sort();
    println!("{MEASURED}{} of {stops} stops held up another", waits.len());
    if let [.., worst] = waits[..] {
        let median = waits[waits.len() / 2];
        println!("{MEASURED}all went on {median:?} (median) to {worst:?} after the stop");
    }
    parties.iter().for_each(Child::kill);
}

/// Puts numbers, or takes them, which come in the order of each writer.
fn work(party: usize, queue: &Queue<(usize, u64)>, counts: &Array<u64>) {
    let mut latest = [0; WRITERS];
    for n in 1.. {
        if party < WRITERS {
            queue.put(&(party, n)).unwrap();
        } else {
            let (writer, number) = queue.get().unwrap();
            assert!(number > latest[writer], "{number} came twice or late");
            latest[writer] = number;
        }
        counts.fetch_add(party, 1);
    }
}
