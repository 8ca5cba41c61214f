//! Processes that end themselves between two stores of their choice, and who is woken by whom.

use std::sync::atomic::Ordering::SeqCst;

use multiprocess::sync::{Array, Condvar, Event, Mutex, OwnerDied, Semaphore, TryLockError, Value};
use multiprocess::{Queue, put_off_timed_looks, timed_looks_that_found_something};

use crate::support::deaths::Deaths;
use crate::support::kill_points::{asleep, dying_at, each_of, has_died, once_at};
use crate::support::{Child, SOON, kills};

tests![
    an_owner_killed_at_any_step_is_named_and_has_changed_all_or_nothing,
    an_owner_killed_at_any_step_leaves_a_value_and_an_array_to_the_next,
    a_holder_killed_at_any_step_takes_no_permit_along,
    permits_of_the_dead_are_back_though_one_died_while_it_took_them_back,
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

/// The steps of one who locks, changes a value of several words, and unlocks.
const LOCK: [&str; 7] = [
    "lock: taken",
    "lock: the dead is named",
    "lock: the holder is named",
    "value: written",
    "value: replaced",
    "lock: no holder is named",
    "lock: given back",
];

/// Of these, the ones at which it is the owner.
const OWNS: [&str; 3] = [LOCK[2], LOCK[3], LOCK[4]];

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

/// Locks, whoever died with the lock, and counts all words up, again and again.
fn count_up(mutex: &Mutex<[u64; 3]>) {
    loop {
        let mut guard = mutex.lock().unwrap_or_else(OwnerDied::into_inner);
        *guard = guard.map(|word| word + 1);
    }
}

fn an_owner_killed_at_any_step_is_named_and_has_changed_all_or_nothing() {
    let mutex = Mutex::new([0u64; 3]).unwrap();
    let mut count = 0;
    for (step, occurrence) in each_of(&LOCK, 42) {
        let (mut occurrence, mut named) = (occurrence, None);
        if step == "lock: the dead is named" {
            let first = dying_at("lock: the holder is named", 1, || count_up(&mutex));
            assert!(has_died(&first));
            (occurrence, named) = (1, Some(pid(&first)));
        }
        let owner = dying_at(step, occurrence, || count_up(&mutex));
        assert!(has_died(&owner));
        if OWNS.contains(&step) {
            named = Some(pid(&owner));
        }
        let has_changed = LOCK[4..].contains(&step);
        count += occurrence - 1 + u64::from(has_changed);
        let (dead, value) = match mutex.lock_timeout(SOON) {
            Ok(guard) => (None, *guard),
            Err(TryLockError::OwnerDied(died)) => (Some(died.pid()), *died.into_inner()),
            Err(TryLockError::WouldBlock) => panic!("the dead have it: {step}"),
        };
        assert_eq!((dead, value), (named, [count; 3]), "{step}, {occurrence}");
        mutex.clear_poison();
    }
}

fn an_owner_killed_at_any_step_leaves_a_value_and_an_array_to_the_next() {
    let value = Value::new([0u64; 3]).unwrap();
    let array = Array::new(&[0u64; 3]).unwrap();
    for (step, occurrence) in each_of(&[OWNS[0], OWNS[1], OWNS[2], LOCK[0], LOCK[5], LOCK[6]], 18) {
        let before = value.get()[0];
        let owner = dying_at(step, occurrence, || {
            loop {
                value.with_lock(|value| *value = value.map(|word| word + 1));
            }
        });
        assert!(has_died(&owner));
        let [first, others @ ..] = value.get();
        assert_eq!(others, [first; 2]);
        let has_changed = LOCK[4..].contains(&step);
        assert_eq!(
            first,
            before + occurrence - 1 + u64::from(has_changed),
            "{step}"
        );
        if step.starts_with("lock") {
            let owner = dying_at(step, occurrence, || {
                loop {
                    array.lock().unwrap().set(1, 7);
                }
            });
            assert!(has_died(&owner));
            match array.lock_timeout(SOON) {
                Ok(_) => assert!(!OWNS.contains(&step), "{step}"),
                Err(TryLockError::OwnerDied(died)) => assert_eq!(died.pid(), pid(&owner)),
                Err(TryLockError::WouldBlock) => panic!("the dead have it: {step}"),
            }
            array.clear_poison();
        }
    }
}

/// The steps of one who takes a permit and gives it back.
const PERMIT: [&str; 3] = [
    "semaphore: the holder is named",
    "semaphore: a permit is taken",
    "semaphore: a permit is given back",
];

fn a_holder_killed_at_any_step_takes_no_permit_along() {
    let steps = [
        PERMIT[0],
        PERMIT[1],
        PERMIT[2],
        "semaphore: there is one more slot",
    ];
    let mut back = Deaths::new();
    for (step, occurrence) in each_of(&steps, 24) {
        let semaphore = Semaphore::bounded(2).unwrap();
        // A process has a slot once.
        let occurrence = if step == steps[3] { 1 } else { occurrence };
        let holder = dying_at(step, occurrence, || {
            loop {
                let _both = [semaphore.acquire(), semaphore.acquire()];
            }
        });
        assert!(has_died(&holder));
        let dead = back.now();
        let both = [(); 2].map(|()| semaphore.acquire_timeout(SOON).unwrap());
        back.known(dead, back.now());
        assert_eq!(semaphore.available(), 0, "{step}");
        drop(both);
        assert_eq!(semaphore.available(), 2, "{step}");
    }
    back.tell("who comes after the death has both permits");
}

fn permits_of_the_dead_are_back_though_one_died_while_it_took_them_back() {
    for _ in 0..kills(20) / 2 {
        let semaphore = Semaphore::bounded(2).unwrap();
        let take = || {
            let _both = [semaphore.acquire(), semaphore.acquire()];
        };
        assert!(has_died(&dying_at("semaphore: a permit is taken", 2, take)));
        let second = dying_at("semaphore: permits of the dead are back", 1, take);
        assert!(has_died(&second));
        Child::fork(take).succeed();
        assert_eq!(semaphore.available(), 2);
    }
}

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
    for _ in 0..kills(20) {
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
    for (step, _) in each_of(&WAIT, 4) {
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
    let steps = ["condvar: unlocked", WAIT[0], WAIT[1], "condvar: woken"];
    for (step, _) in each_of(&steps, 40) {
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

fn who_sleeps_finds_the_notification_of_one_that_died_before_it_woke_anybody() {
    for _ in 0..kills(20) {
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
