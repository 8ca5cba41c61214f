//! Whatever a process that has a lock or an event writes into its shared memory, the calls of the
//! others return, without a panic or a read elsewhere.

use std::ops::Range;
use std::time::Duration;

use multiprocess::sync::{Barrier, Condvar, Event, Mutex, RwLock};

use crate::support::Child;
use crate::support::damage::{Random, memory};

tests![
    events_return_whatever_is_written_over_them,
    condvars_return_whatever_is_written_over_them,
    barriers_return_whatever_is_written_over_them,
    locks_return_whatever_is_written_over_them,
];

/// A deadline that is mostly met, and often if it is not.
const SHORTLY: Duration = Duration::from_micros(200);

/// Makes an object, and makes calls of it that have deadlines: first after some words at these
/// places, in bytes, were written over, then while another process goes on to do that.
fn survives<T>(make: impl Fn() -> T, places: Range<u64>, calls: impl Fn(&T)) {
    let len = places.end - places.start;
    let place = |random: &mut Random| places.start + random.below(len / 8) * 8;
    for seed in 1..=500 {
        let mut random = Random(seed);
        let object = make();
        calls(&object);
        let memory = memory("multiprocess-sync");
        for _ in 0..=random.below(6) {
            let place = place(&mut random);
            random.scribble(&memory, place);
        }
        calls(&object);
    }
    for seed in 1..=5 {
        let object = make();
        let memory = memory("multiprocess-sync");
        let hostile = Child::fork(|| {
            let mut random = Random(seed);
            loop {
                let place = place(&mut random);
                random.scribble(&memory, place);
            }
        });
        (0..30).for_each(|_| calls(&object));
        hostile.kill();
    }
}

fn events_return_whatever_is_written_over_them() {
    survives(
        || Event::new().unwrap(),
        0..16,
        |event| {
            let _ = event.wait_timeout(SHORTLY);
            event.set();
            let _ = event.wait_timeout(SHORTLY);
            event.clear();
            let _ = event.wait_timeout(SHORTLY);
            let _ = format!("{event:?}");
        },
    );
}

fn condvars_return_whatever_is_written_over_them() {
    survives(
        || Condvar::new().unwrap(),
        0..16,
        |condvar| {
            // Its memory is the second of this process, and stays whole.
            let mutex = Mutex::new(0).unwrap();
            let wait = |guard| condvar.wait_timeout(guard, SHORTLY).unwrap().0;
            let guard = wait(mutex.lock().unwrap());
            condvar.notify_one();
            let guard = wait(guard);
            condvar.notify_all();
            let waited = condvar.wait_timeout_while(guard, SHORTLY, |_| true);
            assert!(waited.unwrap().1.timed_out());
        },
    );
}

fn barriers_return_whatever_is_written_over_them() {
    // The lock, the rounds and the slots of three parties and of some more; then, without the lock,
    // for which these calls wait, those that have no deadline.
    let wait = |barrier: &Barrier| {
        let _ = barrier.wait_timeout(SHORTLY);
        let _ = (barrier.parties(), barrier.waiting(), barrier.is_broken());
        let _ = format!("{barrier:?}");
    };
    let three = || Barrier::new(3).unwrap();
    survives(three, 0..80 + 5 * 64, wait);
    survives(three, 40..80 + 5 * 64, |barrier| {
        wait(barrier);
        barrier.abort();
        wait(barrier);
        barrier.reset();
        wait(barrier);
        if let Ok(party) = barrier.attend() {
            let _ = party.wait_timeout(SHORTLY);
        }
    });
}

fn locks_return_whatever_is_written_over_them() {
    // The gate, the number of places, and some of these.
    survives(
        || RwLock::new([1; 3]).unwrap(),
        0..72 + 5 * 48,
        |lock| {
            let first = lock.read_timeout(SHORTLY);
            let _ = (lock.holder(), lock.readers(), lock.is_poisoned());
            drop((first, lock.read_timeout(SHORTLY)));
            if let Ok(mut guard) = lock.write_timeout(SHORTLY) {
                guard[1] += 1;
            }
            let _ = (lock.read_timeout(SHORTLY), format!("{lock:?}"));
        },
    );
}
