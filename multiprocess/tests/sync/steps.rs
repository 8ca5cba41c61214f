//! Processes that end themselves between two stores of their choice, and who is woken by whom.

use std::sync::atomic::Ordering::SeqCst;

use multiprocess::sync::Event;
use multiprocess::{put_off_timed_looks, timed_looks_that_found_something};

use crate::support::kill_points::{asleep, dying_at, has_died, once_at};
use crate::support::{Child, SOON};

tests![
    a_set_wakes_all_who_sleep,
    a_set_before_a_waiter_sleeps_is_seen,
    who_sleeps_finds_the_event_set_though_the_setter_died_before_it_woke_anybody,
    a_waiter_killed_at_any_step_is_not_missed,
];

/// The steps of a wait.
const WAIT: [&str; 2] = ["wait: nothing was there", "wait: nothing is there yet"];

fn a_set_wakes_all_who_sleep() {
    let event = Event::new().unwrap();
    for _ in 0..10 {
        let waiters = [(); 3].map(|()| asleep(|| event.wait_timeout(SOON).unwrap()));
        event.set();
        waiters.iter().for_each(Child::succeed);
        event.clear();
    }
}

fn a_set_before_a_waiter_sleeps_is_seen() {
    put_off_timed_looks();
    for step in WAIT {
        let event = Event::new().unwrap();
        // One who sleeps takes the wake, but not what it is about.
        let sleeper = asleep(|| event.wait_timeout(SOON).unwrap());
        let other = event.clone();
        let came = once_at(step, move || other.set());
        event.wait_timeout(SOON).unwrap();
        assert!(came.load(SeqCst), "{step}");
        sleeper.succeed();
    }
    assert_eq!(timed_looks_that_found_something(), 0);
}

fn who_sleeps_finds_the_event_set_though_the_setter_died_before_it_woke_anybody() {
    let event = Event::new().unwrap();
    for _ in 0..20 {
        let waiter = Child::fork(|| event.wait());
        waiter.wait_until_asleep();
        assert!(has_died(&dying_at("event: set", 1, || event.set())));
        assert!(event.is_set());
        waiter.succeed();
        event.clear();
    }
    // The next one who sets it wakes those whom the dead had left asleep.
    let waiter = asleep(|| event.wait_timeout(SOON).unwrap());
    assert!(has_died(&dying_at("event: set", 1, || event.set())));
    event.set();
    waiter.succeed();
}

fn a_waiter_killed_at_any_step_is_not_missed() {
    for step in WAIT {
        let event = Event::new().unwrap();
        let other = asleep(|| event.wait_timeout(SOON).unwrap());
        assert!(has_died(&dying_at(step, 1, || event.wait())));
        event.set();
        other.succeed();
    }
}
