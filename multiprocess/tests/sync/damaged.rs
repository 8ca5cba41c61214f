//! Whatever a process that has a lock or an event writes into its shared memory, the calls of the
//! others return, without a panic or a read elsewhere.

use std::time::Duration;

use multiprocess::sync::{Condvar, Event, Mutex};

use crate::support::Child;
use crate::support::damage::{Random, memory};

tests![
    events_return_whatever_is_written_over_them,
    condvars_return_whatever_is_written_over_them,
];

/// A deadline that is mostly met, and often if it is not.
const SHORTLY: Duration = Duration::from_micros(200);

/// Makes an object, and makes calls of it that have deadlines: first after some of its words were
/// written over, then while another process goes on to do that.
fn survives<T>(make: impl Fn() -> T, header_len: u64, calls: impl Fn(&T)) {
    let place = |random: &mut Random| random.below(header_len / 8) * 8;
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
        16,
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
        16,
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
