//! Readers and writers that end themselves between two stores of their choice.

use multiprocess::sync::{RwLock, TryLockError};

use crate::support::SOON;
use crate::support::kill_points::{asleep, dying_at, each_of, has_died};

tests![
    a_reader_killed_at_any_step_is_not_counted,
    a_writer_killed_at_any_step_is_named,
    who_gives_the_lock_back_wakes_those_who_wait,
];

fn a_reader_killed_at_any_step_is_not_counted() {
    let steps = [
        "lock: taken",
        "rwlock: a place is taken",
        "rwlock: the gate is open",
    ];
    for (step, occurrence) in each_of(&steps, 9) {
        let lock = RwLock::new(0u64).unwrap();
        let victim = dying_at(step, occurrence, || {
            loop {
                drop(lock.read().unwrap());
            }
        });
        assert!(has_died(&victim));
        assert_eq!((lock.holder(), lock.readers()), (None, vec![]), "{step}");
        *lock.write_timeout(SOON).unwrap() += 1;
        assert_eq!(*lock.read_timeout(SOON).unwrap(), 1, "{step}");
    }
}

fn a_writer_killed_at_any_step_is_named() {
    let steps = [
        "lock: the holder is named",
        "rwlock: the gate is closed",
        "rwlock: nobody reads",
    ];
    for (step, occurrence) in each_of(&steps, 9) {
        let lock = RwLock::new(0u64).unwrap();
        let victim = dying_at(step, occurrence, || {
            loop {
                *lock.write().unwrap() += 1;
            }
        });
        assert!(has_died(&victim));
        let Err(TryLockError::OwnerDied(died)) = lock.read_timeout(SOON) else {
            panic!("it died with the lock: {step}, {occurrence}");
        };
        assert_eq!(died.pid(), victim.pid.as_raw().cast_unsigned());
        // The changes before are there.
        assert_eq!(*died.into_inner(), occurrence - 1);
        lock.clear_poison();
        *lock.write_timeout(SOON).unwrap() += 1;
        assert_eq!(*lock.read_timeout(SOON).unwrap(), occurrence);
    }
}

fn who_gives_the_lock_back_wakes_those_who_wait() {
    let lock = RwLock::new(0u64).unwrap();
    for round in 1..=20 {
        let reading = [lock.read().unwrap(), lock.read().unwrap()];
        let writer = asleep(|| *lock.write().unwrap() += 1);
        let reader = asleep(|| assert_eq!(*lock.read().unwrap(), round));
        drop(reading);
        writer.succeed();
        reader.succeed();
    }
}
