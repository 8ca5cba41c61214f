//! Waits for a change of what a lock guards.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use multiprocess::sync::{Condvar, Mutex, TryLockError};
use multiprocess::{Error, Pool, Process, Queue};

use crate::support::{Child, NOW, SOON, eventually, is_gone, kills, leaves_nothing};

tests![
    who_waits_has_what_the_others_changed_meanwhile,
    processes_and_threads_pass_items_through_a_small_buffer,
    all_who_wait_go_on_when_all_are_notified,
    a_wait_for_a_notification_ends_in_time_and_has_the_lock,
    a_wait_that_finds_the_lock_of_a_killed_owner_hears_its_pid,
    waiters_killed_at_any_moment_take_no_notification_along,
    notifiers_killed_at_any_moment_hold_up_nobody,
    a_guard_in_a_forked_child_waits_without_taking_the_lock_from_its_owner,
    a_condvar_goes_to_processes_and_pools_at_their_start,
    condvars_leave_nothing_behind,
];

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

fn who_waits_has_what_the_others_changed_meanwhile() {
    let (mutex, condvar) = (Mutex::new([0u64; 3]).unwrap(), Condvar::new().unwrap());
    let waiter = Child::fork(|| {
        let mut guard = mutex.lock().unwrap();
        guard[0] = 1;
        let guard = condvar.wait_while(guard, |value| value[1] == 0).unwrap();
        assert_eq!(*guard, [1, 2, 3]);
    });
    eventually("it waits, with its change given back", || {
        mutex.lock().unwrap()[0] == 1
    });
    {
        let mut guard = mutex.lock().unwrap();
        (guard[1], guard[2]) = (2, 3);
    }
    condvar.notify_one();
    waiter.succeed();
}

/// Items put and items taken, of a buffer with two places.
#[derive(Clone)]
struct Buffer {
    counts: Mutex<[u64; 2]>,
    changed: Condvar,
}

impl Buffer {
    fn new() -> Self {
        Self {
            counts: Mutex::new([0; 2]).unwrap(),
            changed: Condvar::new().unwrap(),
        }
    }

    fn put(&self) {
        let guard = self.counts.lock().unwrap();
        let full = |[put, taken]: &mut [u64; 2]| *put - *taken >= 2;
        let (mut guard, result) = self.changed.wait_timeout_while(guard, SOON, full).unwrap();
        assert!(!result.timed_out());
        guard[0] += 1;
        drop(guard);
        self.changed.notify_all();
    }

    fn take(&self) {
        let guard = self.counts.lock().unwrap();
        let empty = |[put, taken]: &mut [u64; 2]| put == taken;
        let (mut guard, result) = self.changed.wait_timeout_while(guard, SOON, empty).unwrap();
        assert!(!result.timed_out());
        guard[1] += 1;
        drop(guard);
        self.changed.notify_all();
    }
}

fn processes_and_threads_pass_items_through_a_small_buffer() {
    const EACH: u64 = 1000;
    let buffer = Buffer::new();
    let both = |work: fn(&Buffer)| {
        let buffer = &buffer;
        let repeat = move || (0..EACH).for_each(|_| work(buffer));
        std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(repeat))));
    };
    let children = [
        Child::fork(|| both(Buffer::put)),
        Child::fork(|| both(Buffer::take)),
        Child::fork(|| both(Buffer::put)),
        Child::fork(|| both(Buffer::take)),
    ];
    children.iter().for_each(Child::succeed);
    assert_eq!(*buffer.counts.lock().unwrap(), [4 * EACH; 2]);
}

fn all_who_wait_go_on_when_all_are_notified() {
    let (mutex, condvar) = (Mutex::new(()).unwrap(), Condvar::new().unwrap());
    let wait = || {
        let (_guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), SOON).unwrap();
        assert!(!result.timed_out());
    };
    let waiters = [(); 4].map(|()| Child::fork(wait));
    waiters.iter().for_each(Child::wait_until_asleep);
    condvar.notify_all();
    waiters.iter().for_each(Child::succeed);
}

fn a_wait_for_a_notification_ends_in_time_and_has_the_lock() {
    let (mutex, condvar) = (Mutex::new(7).unwrap(), Condvar::new().unwrap());
    let begun = Instant::now();
    let waited = condvar.wait_timeout(mutex.lock().unwrap(), NOW).unwrap();
    assert!(begun.elapsed() >= NOW && waited.1.timed_out());
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    let waited = condvar.wait_timeout_while(waited.0, NOW, |value| *value == 7);
    let (guard, result) = waited.unwrap();
    assert!(begun.elapsed() >= NOW * 2 && result.timed_out());
    assert_eq!(*guard, 7);
    // What holds no more is no timeout, though no time is left.
    let waited = condvar.wait_timeout_while(guard, Duration::ZERO, |_| false);
    assert!(!waited.unwrap().1.timed_out());
}

fn a_wait_that_finds_the_lock_of_a_killed_owner_hears_its_pid() {
    let (mutex, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let holds = Queue::new().unwrap();
    let waiters = [(); 2].map(|()| {
        Child::fork(|| {
            let dead: u32 = {
                let guard = mutex.lock().unwrap();
                let waited = condvar.wait_while(guard, |_| true);
                waited.map(drop).unwrap_err().pid()
            };
            holds.put(&dead).unwrap();
        })
    });
    waiters.iter().for_each(Child::wait_until_asleep);
    let owner = Child::fork(|| {
        let mut guard = mutex.lock().unwrap();
        *guard = 1;
        condvar.notify_all();
        holds.put(&0).unwrap();
        std::thread::sleep(SOON);
    });
    assert_eq!(holds.get_timeout(SOON).unwrap(), 0);
    owner.kill();
    for waiter in &waiters {
        assert_eq!(holds.get_timeout(SOON).unwrap(), pid(&owner));
        waiter.succeed();
    }
    let died = condvar.wait_timeout(mutex.lock().unwrap_err().into_inner(), NOW);
    assert_eq!(died.map(drop).unwrap_err().pid(), pid(&owner));
}

/// Locks, whoever died with the lock; returns the pid of one that did since the last time.
fn lock_after(mutex: &Mutex<u64>) -> (multiprocess::sync::MutexGuard<'_, u64>, Option<u32>) {
    match mutex.lock_timeout(SOON) {
        Ok(guard) => (guard, None),
        Err(TryLockError::OwnerDied(died)) => {
            mutex.clear_poison();
            let pid = died.pid();
            (died.into_inner(), Some(pid))
        }
        Err(TryLockError::WouldBlock) => panic!("the dead have the lock"),
    }
}

/// Waits for an item and takes it, as often as there is one.
fn take_all(mutex: &Mutex<u64>, condvar: &Condvar) {
    let (mut guard, _) = lock_after(mutex);
    loop {
        guard = match condvar.wait_while(guard, |items| *items == 0) {
            Ok(guard) => guard,
            Err(died) => {
                mutex.clear_poison();
                died.into_inner()
            }
        };
        *guard = guard.saturating_sub(1);
    }
}

/// With one notification for one item, of which one that is killed must take none along.
fn waiters_killed_at_any_moment_take_no_notification_along() {
    let (items, condvar) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
    let survivor = Child::fork(|| take_all(&items, &condvar));
    let mut heard = 0;
    for round in 0..kills(300) {
        let victim = Child::fork(|| take_all(&items, &condvar));
        victim.wait_until_asleep();
        for _ in 0..2 {
            *lock_after(&items).0 += 1;
            condvar.notify_one();
        }
        std::thread::sleep(Duration::from_micros(round % 100));
        victim.kill();
        eventually("the survivor takes what is left", || {
            let (guard, dead) = lock_after(&items);
            if let Some(dead) = dead {
                assert_eq!(dead, pid(&victim));
                heard += 1;
            }
            *guard == 0
        });
    }
    println!("{heard} times the lock was the dead one's");
    survivor.kill();
}

fn notifiers_killed_at_any_moment_hold_up_nobody() {
    let (items, condvar) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
    let survivors = [(); 2].map(|()| Child::fork(|| take_all(&items, &condvar)));
    for round in 0..kills(200) {
        let started = Queue::new().unwrap();
        let victim = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                let (mut guard, _) = lock_after(&items);
                *guard += 1;
                // Before it unlocks: else it could die with an item that it has told nobody of.
                condvar.notify_one();
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(Duration::from_micros(2 * (round % 200)));
        victim.kill();
        eventually("the others take what it put", || *lock_after(&items).0 == 0);
    }
    survivors.iter().for_each(Child::kill);
}

fn a_guard_in_a_forked_child_waits_without_taking_the_lock_from_its_owner() {
    let (mutex, condvar) = (Mutex::new(1).unwrap(), Condvar::new().unwrap());
    let guard = mutex.lock().unwrap();
    let child = Child::fork(|| {
        // What the child has is a copy; the guard that it gets is none.
        let guard = guard;
        let waited = condvar.wait_timeout_while(guard, SOON, |value| *value == 1);
        assert_eq!(*waited.unwrap().0, 2);
        assert_eq!(mutex.holder(), None);
    });
    *mutex.lock_timeout(SOON).unwrap() = 2;
    eventually("the child goes on", || {
        condvar.notify_all();
        is_gone(pid(&child))
    });
    child.succeed();
}

static GO: OnceLock<(Mutex<u64>, Condvar)> = OnceLock::new();

fn a_condvar_goes_to_processes_and_pools_at_their_start() {
    let (mutex, condvar) = (Mutex::new(0u64).unwrap(), Condvar::new().unwrap());
    let both = (mutex.clone(), condvar.clone());
    let process = Process::spawn_with(
        |(mutex, condvar): (Mutex<u64>, Condvar)| {
            let guard = mutex.lock().unwrap();
            drop(condvar.wait_while(guard, |go| *go == 0).unwrap());
        },
        both.clone(),
    );
    let pool = Pool::builder()
        .workers(2)
        .initializer_with(|both: (Mutex<u64>, Condvar)| GO.set(both).unwrap(), both)
        .build()
        .unwrap();
    let task = |(): ()| {
        let (mutex, condvar) = GO.get().expect("it was handed over");
        let guard = mutex.lock().unwrap();
        *condvar.wait_while(guard, |go| *go == 0).unwrap()
    };
    let results = [(); 2].map(|()| pool.apply_async(task, ()).unwrap());
    *mutex.lock().unwrap() = 5;
    condvar.notify_all();
    for result in results {
        assert_eq!(result.get().unwrap(), 5);
    }
    process.unwrap().join().unwrap();
    assert_eq!(Queue::new().unwrap().put(&condvar), Err(Error::NotAtStart));
}

fn condvars_leave_nothing_behind() {
    leaves_nothing(20, || {
        let (mutex, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
        let waiter = Child::fork(|| drop(condvar.wait(mutex.lock().unwrap())));
        waiter.wait_until_asleep();
        waiter.kill();
        condvar.notify_one();
        assert!(
            condvar
                .wait_timeout(mutex.lock().unwrap(), Duration::ZERO)
                .is_ok()
        );
    });
}
