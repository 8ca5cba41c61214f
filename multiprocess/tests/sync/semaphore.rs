//! Permits, and what becomes of those of the dead.

use std::time::{Duration, Instant};

use multiprocess::sync::Semaphore;
use multiprocess::{Error, Process, Queue};

use crate::support::deaths::Deaths;
use crate::support::{Child, NOW, SOON, kills};

tests![
    no_more_have_a_permit_than_there_are,
    the_permits_of_a_killed_process_come_back,
    who_waits_gets_the_permit_of_a_process_that_is_killed,
    holders_killed_at_any_moment_take_no_permit_along,
    a_release_too_many_is_an_error_if_it_is_bounded,
    another_process_may_release,
    a_release_gives_back_a_permit_of_the_own_process_first,
    a_permit_in_a_forked_child_is_none,
    a_wait_for_a_permit_ends_in_time,
    threads_share_the_permits_of_their_process,
    a_semaphore_goes_to_a_process_at_its_start,
];

/// A process that takes so many permits, says so, and waits to be killed.
fn holder_of(semaphore: &Semaphore, permits: usize) -> Child {
    let holds = Queue::new().unwrap();
    let holder = Child::fork(|| {
        (0..permits).for_each(|_| semaphore.acquire().forget());
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    holder
}

fn no_more_have_a_permit_than_there_are() {
    let semaphore = Semaphore::bounded(2).unwrap();
    let inside = multiprocess::sync::Value::new(0u32).unwrap();
    let children = [(); 4].map(|()| {
        Child::fork(|| {
            for _ in 0..500 {
                let _permit = semaphore.acquire_timeout(SOON).unwrap();
                assert!(inside.fetch_add(1) < 2);
                std::thread::yield_now();
                inside.update(|count| Some(count - 1)).unwrap();
            }
        })
    });
    children.iter().for_each(Child::succeed);
    assert_eq!(semaphore.available(), 2);
}

/// Python: they are lost.
fn the_permits_of_a_killed_process_come_back() {
    let semaphore = Semaphore::bounded(3).unwrap();
    let (first, second) = (holder_of(&semaphore, 2), holder_of(&semaphore, 1));
    assert_eq!(semaphore.try_acquire().map(drop), Err(Error::TimedOut));
    first.kill();
    assert_eq!(semaphore.available(), 2);
    let _permits = [
        semaphore.try_acquire().unwrap(),
        semaphore.try_acquire().unwrap(),
    ];
    assert_eq!(semaphore.try_acquire().map(drop), Err(Error::TimedOut));
    second.kill();
    assert!(semaphore.try_acquire().is_ok());
}

fn who_waits_gets_the_permit_of_a_process_that_is_killed() {
    let semaphore = Semaphore::new(1).unwrap();
    let holder = holder_of(&semaphore, 1);
    let waiter = Child::fork(|| drop(semaphore.acquire_timeout(SOON).unwrap()));
    waiter.wait_until_asleep();
    holder.kill();
    waiter.succeed();
}

fn holders_killed_at_any_moment_take_no_permit_along() {
    let semaphore = Semaphore::bounded(2).unwrap();
    let mut back = Deaths::new();
    for round in 0..kills(300) {
        let started = Queue::new().unwrap();
        let holder = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                let _permits = [semaphore.acquire(), semaphore.acquire()];
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(Duration::from_micros(2 * (round % 300)));
        let killed = back.now();
        holder.signal();
        let both = [(); 2].map(|()| semaphore.acquire_timeout(SOON).unwrap());
        back.known(killed, back.now());
        assert_eq!(semaphore.available(), 0);
        drop(both);
        holder.end();
        assert_eq!(semaphore.available(), 2);
    }
    back.tell("who wants two permits has those of the dead");
}

fn a_release_too_many_is_an_error_if_it_is_bounded() {
    let bounded = Semaphore::bounded(2).unwrap();
    bounded.acquire().forget();
    assert_eq!(bounded.release(), Ok(()));
    assert_eq!(bounded.release(), Err(Error::ReleasedTooOften));
    assert_eq!(bounded.available(), 2);
    let free = Semaphore::new(2).unwrap();
    assert_eq!(free.release(), Ok(()));
    assert_eq!(free.available(), 3);
}

fn another_process_may_release() {
    let semaphore = Semaphore::bounded(1).unwrap();
    let holder = holder_of(&semaphore, 1);
    semaphore.release().unwrap();
    let _permit = semaphore.try_acquire().unwrap();
    holder.kill();
    // It had none any more that could come back.
    assert_eq!(semaphore.available(), 0);
}

fn a_release_gives_back_a_permit_of_the_own_process_first() {
    let semaphore = Semaphore::bounded(2).unwrap();
    let other = holder_of(&semaphore, 1);
    semaphore.acquire().forget();
    semaphore.release().unwrap();
    other.kill();
    assert_eq!(semaphore.available(), 2);
}

fn a_permit_in_a_forked_child_is_none() {
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire();
    // It is dropped in both processes.
    Child::fork(|| drop(permit)).succeed();
    assert_eq!(semaphore.available(), 1);
}

fn a_wait_for_a_permit_ends_in_time() {
    let semaphore = Semaphore::new(0).unwrap();
    let begun = Instant::now();
    let refused = semaphore.acquire_timeout(NOW).map(drop);
    assert_eq!(refused, Err(Error::TimedOut));
    assert!(begun.elapsed() >= NOW);
}

fn threads_share_the_permits_of_their_process() {
    let semaphore = Semaphore::bounded(3).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..500).for_each(|_| drop(semaphore.acquire_timeout(SOON).unwrap())));
        }
    });
    assert_eq!(semaphore.available(), 3);
}

fn a_semaphore_goes_to_a_process_at_its_start() {
    let semaphore = Semaphore::new(0).unwrap();
    let release = |semaphore: Semaphore| semaphore.release();
    let process = Process::spawn_with(release, semaphore.clone()).unwrap();
    assert_eq!(process.join().unwrap(), Ok(()));
    assert_eq!(semaphore.available(), 1);
    let refused = Queue::new().unwrap().put(&semaphore);
    assert_eq!(refused, Err(Error::NotAtStart));
}
