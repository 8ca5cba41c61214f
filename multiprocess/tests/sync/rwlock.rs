//! Locks that many have for reading, or one for writing.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use multiprocess::sync::{Array, RwLock, TryLockError};
use multiprocess::{Error, Pool, Process, Queue};

use crate::support::deaths::Deaths;
use crate::support::{Child, NOW, SOON, eventually, kills, leaves_nothing};

tests![
    many_read_at_once_or_one_writes,
    a_value_of_many_words_is_never_read_in_parts,
    threads_share_the_lock,
    who_has_the_lock_is_named_and_is_not_passed,
    a_writer_that_waits_keeps_out_who_comes_after_it,
    a_writer_does_not_starve_beside_readers,
    a_killed_reader_is_not_counted,
    r07_a_writer_that_was_killed_is_named_to_readers_and_writers,
    processes_killed_at_any_moment_hold_up_nobody,
    one_more_reader_than_there_are_places_waits_for_one,
    guards_in_a_forked_child_are_no_locks,
    a_panic_of_a_writer_changes_nothing_and_is_heard,
    a_lock_goes_to_processes_and_pools_at_their_start,
    locks_leave_nothing_behind,
];

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

/// A process that locks, says so, and waits to be killed.
fn holding<G>(lock: impl FnOnce() -> G) -> Child {
    let holds = Queue::new().unwrap();
    let child = Child::fork(|| {
        let _guard = lock();
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    child
}

fn writing(lock: &RwLock<[u64; 3]>) -> Child {
    holding(|| {
        let mut guard = lock.write().unwrap();
        guard[0] = 77;
        guard
    })
}

fn many_read_at_once_or_one_writes() {
    let lock = RwLock::new(()).unwrap();
    // Readers and writers inside.
    let inside = Array::new(&[0i64; 2]).unwrap();
    let work = |me: u64| {
        for round in 0..500 {
            if (me + round).is_multiple_of(4) {
                let _guard = lock.write().unwrap();
                assert_eq!(inside.fetch_add(1, 1), 0);
                assert_eq!(inside.load(0), 0);
                std::thread::yield_now();
                inside.fetch_add(1, -1);
            } else {
                let _guard = lock.read().unwrap();
                inside.fetch_add(0, 1);
                assert_eq!(inside.load(1), 0);
                std::thread::yield_now();
                inside.fetch_add(0, -1);
            }
        }
    };
    let children = [0, 1, 2, 3].map(|me| Child::fork(move || work(me)));
    children.iter().for_each(Child::succeed);
}

fn a_value_of_many_words_is_never_read_in_parts() {
    let lock = RwLock::new([0u64; 9]).unwrap();
    let write = || {
        for _ in 0..3000 {
            let mut guard = lock.write().unwrap();
            *guard = guard.map(|word| word + 1);
        }
    };
    let read = || {
        for _ in 0..3000 {
            let guard = lock.read().unwrap();
            assert!(guard.iter().all(|word| *word == guard[0]));
        }
    };
    let children = [Child::fork(write), Child::fork(read), Child::fork(write)];
    children.iter().for_each(Child::succeed);
    assert_eq!(*lock.read().unwrap(), [6000; 9]);
}

fn threads_share_the_lock() {
    let lock = RwLock::new(0u64).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..2000).for_each(|_| *lock.write().unwrap() += 1));
            scope.spawn(|| (0..2000).for_each(|_| assert!(*lock.read().unwrap() <= 6000)));
        }
    });
    assert_eq!(*lock.read().unwrap(), 6000);
}

fn who_has_the_lock_is_named_and_is_not_passed() {
    let lock = RwLock::new([1; 3]).unwrap();
    assert_eq!((lock.holder(), lock.readers()), (None, vec![]));
    let reader = holding(|| lock.read().unwrap());
    assert_eq!((lock.holder(), lock.readers()), (None, vec![pid(&reader)]));
    drop(lock.try_read().unwrap());
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    let begun = Instant::now();
    let refused = lock.write_timeout(NOW);
    assert!(matches!(refused, Err(TryLockError::WouldBlock)));
    assert!(begun.elapsed() >= NOW);
    // Who gave up keeps nobody out.
    drop(lock.try_read().unwrap());
    reader.kill();
    let writer = writing(&lock);
    assert_eq!(
        (lock.holder(), lock.readers()),
        (Some(pid(&writer)), vec![])
    );
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    let begun = Instant::now();
    let refused = lock.read_timeout(NOW).map(drop).map_err(Error::from);
    assert_eq!(refused, Err(Error::TimedOut));
    assert!(begun.elapsed() >= NOW);
}

fn a_writer_that_waits_keeps_out_who_comes_after_it() {
    let lock = RwLock::new(0).unwrap();
    let reading = lock.read().unwrap();
    let writer = Child::fork(|| *lock.write().unwrap() = 1);
    eventually("it waits", || lock.holder() == Some(pid(&writer)));
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    let after = Child::fork(|| assert_eq!(*lock.read().unwrap(), 1));
    after.wait_until_asleep();
    drop(reading);
    writer.succeed();
    after.succeed();
}

fn a_writer_does_not_starve_beside_readers() {
    let lock = RwLock::new(0u64).unwrap();
    let ready = Queue::new().unwrap();
    let readers = [(); 3].map(|()| {
        Child::fork(|| {
            let mut kept = lock.read().unwrap();
            ready.put(&()).unwrap();
            // One of them reads at any time.
            loop {
                std::thread::yield_now();
                drop(kept);
                kept = lock.read().unwrap();
            }
        })
    });
    (0..3).for_each(|_| ready.get_timeout(SOON).unwrap());
    for _ in 0..500 {
        *lock.write_timeout(SOON).unwrap() += 1;
    }
    readers.iter().for_each(Child::kill);
    assert_eq!(*lock.read().unwrap(), 500);
}

fn a_killed_reader_is_not_counted() {
    let lock = RwLock::new(1).unwrap();
    let readers = [(); 3].map(|()| holding(|| lock.read().unwrap()));
    let writer = Child::fork(|| *lock.write().unwrap() += 1);
    eventually("it waits", || lock.holder() == Some(pid(&writer)));
    readers.iter().for_each(Child::kill);
    writer.succeed();
    assert_eq!(*lock.read().unwrap(), 2);
    let reader = holding(|| lock.read().unwrap());
    reader.kill();
    assert_eq!(*lock.try_write().unwrap(), 2);
    assert!(!lock.is_poisoned());
}

fn r07_a_writer_that_was_killed_is_named_to_readers_and_writers() {
    let lock = RwLock::new([1; 3]).unwrap();
    let writer = writing(&lock);
    let heard = |dead: u32| assert_eq!(dead, pid(&writer));
    let waiters = [
        Child::fork(|| heard(lock.read().map(drop).unwrap_err().pid())),
        Child::fork(|| heard(lock.write().map(drop).unwrap_err().pid())),
    ];
    waiters.iter().for_each(Child::wait_until_asleep);
    writer.kill();
    waiters.iter().for_each(Child::succeed);
    let died = lock.read().unwrap_err();
    heard(died.pid());
    // What it had not given back was not done.
    assert_eq!(**died.get_ref(), [1; 3]);
    drop(died);
    assert!(lock.is_poisoned());
    let mut guard = lock.write().unwrap_err().into_inner();
    lock.clear_poison();
    guard[0] = 2;
    drop(guard);
    assert_eq!(*lock.read().unwrap(), [2, 1, 1]);
}

fn processes_killed_at_any_moment_hold_up_nobody() {
    let lock = RwLock::new([0u64; 3]).unwrap();
    let mut heard = Deaths::new();
    // Two are killed in each round.
    for round in 0..kills(800) / 2 {
        let started = Queue::new().unwrap();
        let reader = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                drop(lock.read());
            }
        });
        let writer = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                let mut guard = lock.write().unwrap();
                *guard = guard.map(|word| word + 1);
            }
        });
        (0..2).for_each(|_| started.get_timeout(SOON).unwrap());
        std::thread::sleep(Duration::from_micros(2 * (round % 400)));
        let killed = heard.now();
        [&reader, &writer].iter().for_each(|child| child.signal());
        let write = || match lock.write_timeout(SOON) {
            Ok(guard) => (None, *guard),
            Err(TryLockError::OwnerDied(died)) => {
                let known = heard.now();
                lock.clear_poison();
                (Some((died.pid(), known)), *died.into_inner())
            }
            Err(TryLockError::WouldBlock) => panic!("round {round}: the dead have it"),
        };
        // The first may come before their ends, and wait for them.
        let first = write();
        [&reader, &writer].iter().for_each(|child| child.end());
        let second = write();
        for (_, value) in [first, second] {
            assert!(value.iter().all(|&word| word == value[0]), "{value:?}");
        }
        if let Some((dead, known)) = first.0.or(second.0) {
            assert_eq!(dead, pid(&writer));
            heard.known(killed, known);
        }
        assert_eq!(lock.readers(), []);
    }
    assert!(heard.count() > 0, "no writer was killed with the lock");
    heard.tell("who writes hears the pid of the writer");
}

fn one_more_reader_than_there_are_places_waits_for_one() {
    let lock = RwLock::new(5).unwrap();
    let mut guards: Vec<_> = (0..1024).map(|_| lock.read().unwrap()).collect();
    assert_eq!(lock.readers().len(), 1024);
    let one_more = lock.read_timeout(NOW);
    assert!(matches!(one_more, Err(TryLockError::WouldBlock)));
    drop(guards.remove(0));
    let one_more = lock.read_timeout(SOON).unwrap();
    assert_eq!((*one_more, lock.readers().len()), (5, 1024));
    drop((guards, one_more));
    drop(lock.try_write().unwrap());
}

fn guards_in_a_forked_child_are_no_locks() {
    let lock = RwLock::new(1).unwrap();
    let mut reading = Some(lock.read().unwrap());
    Child::fork(|| {
        drop(reading.take());
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    })
    .succeed();
    drop(reading);
    let mut writing = Some(lock.write().unwrap());
    Child::fork(|| {
        let mut copy = writing.take().expect("it is captured");
        *copy = 2;
        drop(copy);
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    })
    .succeed();
    drop(writing);
    assert_eq!((lock.holder(), *lock.read().unwrap()), (None, 1));
}

fn a_panic_of_a_writer_changes_nothing_and_is_heard() {
    let lock = RwLock::new(1).unwrap();
    std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            *lock.write().unwrap() = 2;
            let mut guard = lock.write().unwrap();
            *guard = 3;
            panic!("with the lock");
        });
        assert!(panics.join().is_err());
        let panics = scope.spawn(|| {
            let _guard = lock.read();
            panic!("while it reads");
        });
        assert!(panics.join().is_err());
    });
    let died = lock.read().unwrap_err();
    assert_eq!((died.pid(), *died.into_inner()), (std::process::id(), 2));
    lock.clear_poison();
    assert!(lock.write().is_ok());
}

static SHARED: OnceLock<RwLock<[u64; 4]>> = OnceLock::new();

fn a_lock_goes_to_processes_and_pools_at_their_start() {
    let lock = RwLock::new([0; 4]).unwrap();
    let add = |lock: &RwLock<[u64; 4]>, n: u64| {
        let mut guard = lock.write().unwrap();
        *guard = guard.map(|word| word + n);
    };
    let process = Process::spawn_with(
        |lock: RwLock<[u64; 4]>| lock.write().unwrap()[3] += 1,
        lock.clone(),
    );
    let pool = Pool::builder()
        .workers(2)
        .initializer_with(|lock| SHARED.set(lock).unwrap(), lock.clone())
        .build()
        .unwrap();
    let work = |n: u64| SHARED.get().expect("it was handed over").write().unwrap()[0] += n;
    pool.map(work, 0..100u64).unwrap();
    process.unwrap().join().unwrap();
    add(&lock, 5);
    assert_eq!(*lock.read().unwrap(), [4955, 5, 5, 6]);
    assert_eq!(Queue::new().unwrap().put(&lock), Err(Error::NotAtStart));
}

fn locks_leave_nothing_behind() {
    leaves_nothing(20, || {
        let lock = RwLock::new([0; 3]).unwrap();
        let reader = holding(|| lock.read().unwrap());
        reader.kill();
        let writer = writing(&lock);
        writer.kill();
        assert!(lock.read().is_err());
    });
}
