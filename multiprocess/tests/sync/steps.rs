//! Processes that end themselves between two stores of their choice, and who is woken by whom.

use std::sync::atomic::Ordering::SeqCst;

use multiprocess::sync::{Condvar, Event, Mutex, TryLockError};
use multiprocess::{Queue, put_off_timed_looks, timed_looks_that_found_something};

use crate::support::kill_points::{asleep, dying_at, has_died, once_at};
use crate::support::{Child, SOON};

tests![
    a_set_wakes_all_who_sleep,
    a_set_before_a_waiter_sleeps_is_seen,
    who_sleeps_finds_the_event_set_though_the_setter_died_before_it_woke_anybody,
    a_waiter_killed_at_any_step_is_not_missed,
    a_notification_wakes_one_who_sleeps_and_all_if_it_is_for_all,
    a_notification_before_a_waiter_sleeps_is_seen,
    a_waiter_killed_at_any_step_takes_no_notification_along,
    who_sleeps_finds_the_notification_of_one_that_died_before_it_woke_anybody,
    a_notifier_killed_with_the_lock_is_named_to_who_waits,
    a_waiter_killed_with_the_lock_again_is_named,
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

fn a_notification_wakes_one_who_sleeps_and_all_if_it_is_for_all() {
    let (go, condvar) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
    let take = || {
        let guard = go.lock().unwrap();
        let waited = condvar.wait_timeout_while(guard, SOON, |go| *go == 0);
        let (mut guard, result) = waited.unwrap();
        assert!(!result.timed_out());
        *guard -= 1;
    };
    for _ in 0..10 {
        let waiters = [(); 3].map(|()| asleep(take));
        for _ in &waiters {
            *go.lock().unwrap() += 1;
            condvar.notify_one();
        }
        waiters.iter().for_each(Child::succeed);
        let waiters = [(); 3].map(|()| asleep(take));
        *go.lock().unwrap() = 3;
        condvar.notify_all();
        waiters.iter().for_each(Child::succeed);
    }
}

fn a_notification_before_a_waiter_sleeps_is_seen() {
    put_off_timed_looks();
    for step in ["condvar: unlocked", WAIT[0], WAIT[1]] {
        let (go, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
        let (other_go, other) = (go.clone(), condvar.clone());
        let came = once_at(step, move || {
            *other_go.lock().unwrap() = 1;
            other.notify_one();
        });
        let (guard, result) = condvar.wait_timeout(go.lock().unwrap(), SOON).unwrap();
        assert_eq!((*guard, result.timed_out()), (1, false), "{step}");
        assert!(came.load(SeqCst), "{step}");
    }
    assert_eq!(timed_looks_that_found_something(), 0);
}

fn a_waiter_killed_at_any_step_takes_no_notification_along() {
    for step in ["condvar: unlocked", WAIT[0], WAIT[1], "condvar: woken"] {
        for _ in 0..10 {
            let (go, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
            let wait = || drop(condvar.wait_while(go.lock().unwrap(), |go| *go == 0));
            // The first who sleeps is the first who is woken.
            let victim = dying_at(step, 1, wait);
            if step == "condvar: woken" {
                victim.wait_until_asleep();
            } else {
                assert!(has_died(&victim));
            }
            let other = Child::fork(wait);
            other.wait_until_asleep();
            *go.lock().unwrap() = 1;
            condvar.notify_one();
            other.succeed();
            if step == "condvar: woken" {
                assert!(has_died(&victim));
            }
        }
    }
}

fn who_sleeps_finds_the_notification_of_one_that_died_before_it_woke_anybody() {
    for _ in 0..20 {
        let (go, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
        let wait = || drop(condvar.wait_while(go.lock().unwrap(), |go| *go == 0));
        let waiter = Child::fork(wait);
        waiter.wait_until_asleep();
        let notifier = dying_at("condvar: counted", 1, || {
            *go.lock().unwrap() = 1;
            condvar.notify_one();
        });
        assert!(has_died(&notifier));
        waiter.succeed();
    }
}

fn a_notifier_killed_with_the_lock_is_named_to_who_waits() {
    let (go, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let heard = Queue::new().unwrap();
    let waiter = Child::fork(|| {
        let waited = condvar.wait_while(go.lock().unwrap(), |go| *go == 0);
        let died = waited.unwrap_err();
        heard.put(&(died.pid(), **died.get_ref())).unwrap();
    });
    waiter.wait_until_asleep();
    let notifier = dying_at("condvar: counted", 1, || {
        let mut guard = go.lock().unwrap();
        *guard = 1;
        condvar.notify_one();
    });
    assert!(has_died(&notifier));
    let pid = notifier.pid.as_raw().cast_unsigned();
    // Its change was not made.
    assert_eq!(heard.get_timeout(SOON).unwrap(), (pid, 0));
    waiter.succeed();
}

fn a_waiter_killed_with_the_lock_again_is_named() {
    let (go, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let waiter = Child::fork(|| {
        let guard = go.lock().unwrap();
        let _guard = condvar.wait_while(guard, |go| *go == 0).unwrap();
        std::process::abort();
    });
    waiter.wait_until_asleep();
    *go.lock().unwrap() = 1;
    condvar.notify_one();
    waiter.wait();
    let Err(TryLockError::OwnerDied(died)) = go.lock_timeout(SOON) else {
        panic!("it died with the lock");
    };
    assert_eq!(died.pid(), waiter.pid.as_raw().cast_unsigned());
}
