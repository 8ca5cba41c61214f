//! Locks with what they guard: who has them, and what is left when their owners die.

use std::cell::Cell;
use std::time::{Duration, Instant};

use multiprocess::sync::{Mutex, OwnerDied, TryLockError};
use multiprocess::{Error, Pool, Process, Queue};

use crate::support::deaths::Deaths;
use crate::support::{Child, NOW, SOON, eventually, kills, leaves_nothing};

tests![
    one_thread_of_one_process_has_the_lock_at_a_time,
    a_value_of_many_words_is_never_seen_in_parts,
    a_lock_that_another_has_is_not_taken_and_its_holder_is_named,
    r07_a_lock_of_a_killed_owner_goes_to_the_next_who_hears_its_pid,
    who_waits_for_a_killed_owner_hears_its_pid,
    what_a_killed_owner_had_not_given_back_was_not_done,
    owners_killed_at_any_moment_hold_up_nobody,
    locks_given_back_in_any_order_do_not_outlive_their_owner,
    a_guard_in_a_forked_child_is_no_lock,
    a_forgotten_guard_keeps_the_lock_and_breaks_no_other,
    the_memory_of_a_forgotten_guard_stays_and_a_copy_in_a_child_keeps_none,
    nobody_starves,
    a_mutex_goes_to_a_pool_and_not_into_a_queue,
    mutexes_leave_nothing_behind,
];

/// A process that locks, says so, and waits to be killed.
fn owner_of<const N: usize>(mutex: &Mutex<[u64; N]>) -> Child {
    let holds = Queue::new().unwrap();
    let owner = Child::fork(|| {
        let mut guard = mutex.lock().unwrap();
        guard[0] = 77;
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    owner
}

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

fn one_thread_of_one_process_has_the_lock_at_a_time() {
    let mutex = Mutex::new(0u32).unwrap();
    let add = || (0..5_000).for_each(|_| *mutex.lock().unwrap() += 1);
    let children = [(); 3].map(|()| {
        Child::fork(|| std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(add)))))
    });
    children.iter().for_each(Child::succeed);
    assert_eq!(*mutex.lock().unwrap(), 30_000);
}

fn a_value_of_many_words_is_never_seen_in_parts() {
    let mutex = Mutex::new([0u64; 9]).unwrap();
    let step = || {
        for _ in 0..5_000 {
            let mut guard = mutex.lock().unwrap();
            let [first, rest @ ..] = &mut *guard;
            assert!(rest.iter().all(|word| word == first));
            *guard = guard.map(|word| word + 1);
        }
    };
    let children = [Child::fork(step), Child::fork(step)];
    children.iter().for_each(Child::succeed);
    assert_eq!(*mutex.lock().unwrap(), [10_000; 9]);
}

fn a_lock_that_another_has_is_not_taken_and_its_holder_is_named() {
    let mutex = Mutex::new([1]).unwrap();
    assert_eq!(mutex.holder(), None);
    let owner = owner_of(&mutex);
    assert_eq!(mutex.holder(), Some(pid(&owner)));
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    let begun = Instant::now();
    let refused = mutex.lock_timeout(NOW);
    assert!(matches!(refused, Err(TryLockError::WouldBlock)));
    assert!(begun.elapsed() >= NOW);
    assert_eq!(refused.map(drop).map_err(Error::from), Err(Error::TimedOut));
    owner.kill();
    assert_eq!(mutex.holder(), None);
}

fn r07_a_lock_of_a_killed_owner_goes_to_the_next_who_hears_its_pid() {
    let mutex = Mutex::new([1]).unwrap();
    let owner = owner_of(&mutex);
    owner.kill();
    let died = mutex.lock().unwrap_err();
    assert_eq!(died.pid(), pid(&owner));
    assert_eq!(**died.get_ref(), [1]);
    let said = died.to_string();
    assert!(said.contains(&pid(&owner).to_string()), "{said}");
    drop(died);
    // Until it is cleared, everybody hears it.
    assert!(mutex.is_poisoned());
    let Err(TryLockError::OwnerDied(died)) = mutex.lock_timeout(SOON) else {
        panic!("it is not cleared");
    };
    assert_eq!(died.pid(), pid(&owner));
    let mut guard = died.into_inner();
    mutex.clear_poison();
    guard[0] = 2;
    drop(guard);
    assert_eq!(*mutex.lock().unwrap(), [2]);
    assert!(!mutex.is_poisoned());
}

fn who_waits_for_a_killed_owner_hears_its_pid() {
    let mutex = Mutex::new([1]).unwrap();
    let owner = owner_of(&mutex);
    let waiter = Child::fork(|| assert_eq!(mutex.lock().unwrap_err().pid(), pid(&owner)));
    waiter.wait_until_asleep();
    owner.kill();
    waiter.succeed();
}

fn what_a_killed_owner_had_not_given_back_was_not_done() {
    let small = Mutex::new([1]).unwrap();
    let large = Mutex::new([1; 40]).unwrap();
    [owner_of(&small), owner_of(&large)]
        .iter()
        .for_each(Child::kill);
    assert_eq!(*small.lock().unwrap_err().into_inner(), [1]);
    assert_eq!(*large.lock().unwrap_err().into_inner(), [1; 40]);
}

/// Python: everybody else waits for ever.
fn owners_killed_at_any_moment_hold_up_nobody() {
    let mutex = Mutex::new([0u64; 3]).unwrap();
    let (mut heard, mut silent) = (Deaths::new(), 0);
    for round in 0..kills(400) {
        let started = Queue::new().unwrap();
        let owner = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                let mut guard = mutex.lock().unwrap();
                *guard = guard.map(|word| word + 1);
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(Duration::from_micros(2 * (round % 400)));
        let killed = heard.now();
        owner.signal();
        let lock = || match mutex.lock_timeout(SOON) {
            Ok(guard) => (None, *guard),
            Err(TryLockError::OwnerDied(died)) => {
                let known = heard.now();
                mutex.clear_poison();
                (Some((died.pid(), known)), *died.into_inner())
            }
            Err(TryLockError::WouldBlock) => panic!("round {round}: the dead have it"),
        };
        // The first may come before the end of the owner, and wait for it.
        let first = lock();
        owner.end();
        let second = lock();
        for (_, value) in [first, second] {
            assert!(value.iter().all(|&word| word == value[0]), "{value:?}");
        }
        match first.0.or(second.0) {
            Some((dead, known)) => {
                assert_eq!(dead, pid(&owner));
                heard.known(killed, known);
            }
            None => silent += 1,
        }
    }
    assert!(heard.count() > 0 && silent > 0, "{silent} silent");
    heard.tell("who locks a mutex hears the pid of its owner");
}

fn locks_given_back_in_any_order_do_not_outlive_their_owner() {
    for given_back in 0..3 {
        let mutexes = [(); 3].map(|()| Mutex::new(0).unwrap());
        let (holds, go) = (Queue::new().unwrap(), Queue::<()>::new().unwrap());
        let owner = Child::fork(|| {
            let mut guards = mutexes.each_ref().map(|mutex| Some(mutex.lock().unwrap()));
            guards[given_back] = None;
            holds.put(&()).unwrap();
            go.get().unwrap();
        });
        holds.get_timeout(SOON).unwrap();
        // This one's list, not the owner's, goes on through that lock from here.
        let _held = mutexes[given_back].try_lock().unwrap();
        owner.kill();
        for (number, mutex) in mutexes.iter().enumerate() {
            if number != given_back {
                let died = mutex.lock_timeout(SOON);
                assert!(matches!(died, Err(TryLockError::OwnerDied(_))), "{number}");
            }
        }
    }
}

fn a_guard_in_a_forked_child_is_no_lock() {
    let mutex = Mutex::new(1).unwrap();
    let mut guard = mutex.lock().unwrap();
    Child::fork(|| {
        *guard = 2;
        drop(guard);
    })
    .succeed();
    assert_eq!(mutex.holder(), None);
    assert_eq!(*mutex.lock().unwrap(), 1);
    let guard = mutex.lock().unwrap();
    let child = Child::fork(|| {
        let _held_by_the_parent = &guard;
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    });
    child.succeed();
    drop(guard);
    // Dropped in the child alone: the parent still has the lock, and by its name.
    let guard = Cell::new(Some(mutex.lock().unwrap()));
    Child::fork(|| drop(guard.take())).succeed();
    assert_eq!(mutex.holder(), Some(std::process::id()));
    let other = || assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    Child::fork(other).succeed();
    drop(guard);
    assert!(mutex.try_lock().is_ok());
}

fn a_forgotten_guard_keeps_the_lock_and_breaks_no_other() {
    let other = Mutex::new(0).unwrap();
    let forgotten = Mutex::new(0).unwrap();
    let handle = forgotten.clone();
    let below = other.lock().unwrap();
    std::mem::forget(forgotten.lock().unwrap());
    drop((forgotten, handle));
    // Its place in the list is changed in the memory of the forgotten one.
    drop(below);
    Child::fork(|| drop(other.lock_timeout(SOON).unwrap())).succeed();
}

/// How often this process has memory of locks mapped.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.matches("multiprocess-sync").count()
}

fn the_memory_of_a_forgotten_guard_stays_and_a_copy_in_a_child_keeps_none() {
    let mutex = Mutex::new(0).unwrap();
    // The thread that forgets it is not the one that drops the last handle.
    let forget = || std::mem::forget(mutex.lock());
    std::thread::scope(|scope| drop(scope.spawn(forget)));
    let mutex = Cell::new(Some(mutex));
    Child::fork(|| {
        drop(mutex.take());
        assert_eq!(mapped(), 0);
    })
    .succeed();
    drop(mutex.take());
    assert_eq!(mapped(), 1);
}

fn nobody_starves() {
    let mutex = Mutex::new([0u64; 4]).unwrap();
    let ready = Queue::new().unwrap();
    let greedy = [0, 1, 2].map(|me| {
        let mutex = &mutex;
        let ready = &ready;
        Child::fork(move || {
            ready.put(&()).unwrap();
            loop {
                // One that is killed in the end may have the lock.
                mutex.lock().unwrap_or_else(OwnerDied::into_inner)[me] += 1;
            }
        })
    });
    (0..3).for_each(|_| ready.get_timeout(SOON).unwrap());
    for _ in 0..500 {
        mutex.lock_timeout(SOON).unwrap()[3] += 1;
    }
    let before = *mutex.lock().unwrap();
    for (me, before) in before.iter().take(3).enumerate() {
        eventually("each has its turns", || {
            mutex.lock().unwrap()[me] >= before + 100
        });
    }
    greedy.iter().for_each(Child::kill);
}

static TURNS: std::sync::OnceLock<Mutex<u64>> = std::sync::OnceLock::new();

fn a_mutex_goes_to_a_pool_and_not_into_a_queue() {
    let turns = Mutex::new(0u64).unwrap();
    let pool = Pool::builder()
        .workers(2)
        .initializer_with(|mutex: Mutex<u64>| TURNS.set(mutex).unwrap(), turns.clone())
        .build()
        .unwrap();
    let add = |n: u64| *TURNS.get().expect("it was handed over").lock().unwrap() += n;
    pool.map(add, 0..100u64).unwrap();
    assert_eq!(*turns.lock().unwrap(), 4950);
    let look = |mutex: Mutex<u64>| *mutex.lock().unwrap();
    assert_eq!(pool.apply(look, turns.clone()), Ok(4950));
    let refused = Queue::new().unwrap().put(&turns);
    assert_eq!(refused, Err(Error::NotAtStart));
    let twice = Process::spawn_with(
        |mutex: Mutex<u64>| *mutex.lock().unwrap() *= 2,
        turns.clone(),
    );
    twice.unwrap().join().unwrap();
    assert_eq!(*turns.lock().unwrap(), 9900);
}

fn mutexes_leave_nothing_behind() {
    leaves_nothing(20, || {
        let mutex = Mutex::new([0; 100]).unwrap();
        owner_of(&mutex).kill();
        assert!(mutex.lock().is_err());
    });
}
