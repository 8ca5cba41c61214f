//! Whoever changes something wakes those who wait for it.
//!
//! A waiter also looks by itself now and then, for the sake of those who died before they woke
//! anybody. That look would hide a wake that is missing, so here it is put off and counted: nobody
//! dies, and so it may find nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use multiprocess::sync::Semaphore;
use multiprocess::{Error, Queue, put_off_timed_looks, timed_looks_that_found_something};

use crate::support::kill_points::{asleep, once_at, woken_child};
use crate::support::{Child, SOON};

tests![
    a_put_wakes_a_reader,
    a_put_wakes_one_reader_for_each_item,
    a_batch_wakes_one_reader_for_each_item,
    a_batch_taken_wakes_one_writer_for_each_item,
    a_get_wakes_a_writer,
    a_close_wakes_all_readers_and_writers,
    the_last_task_done_wakes_those_in_join,
    a_change_before_a_waiter_announces_itself_is_seen,
    a_change_before_a_waiter_sleeps_is_seen,
    a_change_wakes_who_sleeps_and_who_is_about_to,
    an_unlock_wakes_one_who_sleeps_and_that_one_the_next,
    a_release_wakes_one_who_waits_for_a_permit,
    a_crowd_at_a_small_queue_is_always_woken,
];

fn a_put_wakes_a_reader() {
    let queue = Queue::new().unwrap();
    for n in 0..20 {
        let reader = asleep(|| assert_eq!(queue.get_timeout(SOON).unwrap(), n));
        queue.put(&n).unwrap();
        reader.succeed();
    }
}

fn a_put_wakes_one_reader_for_each_item() {
    let queue = Queue::<u8>::new().unwrap();
    let readers = [(); 4].map(|()| asleep(|| assert!(queue.get_timeout(SOON).is_ok())));
    (0..4).for_each(|n| queue.put(&n).unwrap());
    readers.iter().for_each(Child::succeed);
}

fn a_batch_wakes_one_reader_for_each_item() {
    let queue = Queue::<u8>::new().unwrap();
    let readers = [(); 4].map(|()| asleep(|| assert!(queue.get_timeout(SOON).is_ok())));
    queue.put_many(&[0, 1, 2, 3]).unwrap();
    readers.iter().for_each(Child::succeed);
}

fn a_batch_taken_wakes_one_writer_for_each_item() {
    let queue = Queue::bounded(3).unwrap();
    queue.put_many(&[0, 1, 2]).unwrap();
    let writers = [(); 3].map(|()| asleep(|| queue.put_timeout(&3, SOON).unwrap()));
    assert_eq!(queue.get_many(3).unwrap().len(), 3);
    writers.iter().for_each(Child::succeed);
}

fn a_get_wakes_a_writer() {
    let queue = Queue::bounded(1).unwrap();
    queue.put(&0).unwrap();
    for n in 0..20 {
        let writer = asleep(|| queue.put_timeout(&(n + 1), SOON).unwrap());
        assert_eq!(queue.get().unwrap(), n);
        writer.succeed();
    }
}

fn a_close_wakes_all_readers_and_writers() {
    let (full, empty) = (Queue::bounded(1).unwrap(), Queue::<u8>::new().unwrap());
    full.put(&1).unwrap();
    let is_closed = |answer| assert!(matches!(answer, Err(Error::Closed)));
    let writers = [(); 3].map(|()| asleep(|| is_closed(full.put_timeout(&2, SOON))));
    let readers = [(); 3].map(|()| asleep(|| is_closed(empty.get_timeout(SOON).map(drop))));
    full.close();
    empty.close();
    writers.iter().for_each(Child::succeed);
    readers.iter().for_each(Child::succeed);
}

fn the_last_task_done_wakes_those_in_join() {
    let queue = Queue::new().unwrap();
    queue.put(&1).unwrap();
    queue.get().unwrap();
    let waiters = [(); 2].map(|()| asleep(|| queue.join_timeout(SOON).unwrap()));
    queue.task_done().unwrap();
    waiters.iter().for_each(Child::succeed);
}

/// Each kind of wait, with the change that it waits for made at a step of the wait.
fn changed_at(step: &'static str) {
    let came_to = |came: Arc<AtomicBool>| assert!(came.load(SeqCst), "{step}");
    put_off_timed_looks();
    let queue = Queue::<u8>::new().unwrap();
    let other = queue.clone();
    let came = once_at(step, move || other.put(&1).unwrap());
    assert_eq!(queue.get_timeout(SOON).unwrap(), 1);
    came_to(came);
    let other = queue.clone();
    let came = once_at(step, move || other.task_done().unwrap());
    queue.join_timeout(SOON).unwrap();
    came_to(came);
    let other = queue.clone();
    let came = once_at(step, move || other.close());
    assert!(matches!(queue.get_timeout(SOON), Err(Error::Closed)));
    came_to(came);
    let full = Queue::bounded(1).unwrap();
    full.put(&1).unwrap();
    let other = full.clone();
    let came = once_at(step, move || assert_eq!(other.get().unwrap(), 1));
    full.put_timeout(&2, SOON).unwrap();
    came_to(came);
    assert_eq!(timed_looks_that_found_something(), 0);
}

fn a_change_before_a_waiter_announces_itself_is_seen() {
    changed_at("wait: nothing was there");
}

fn a_change_before_a_waiter_sleeps_is_seen() {
    changed_at("wait: nothing is there yet");
}

/// Where one sleeps, the wake is that one's: another that has announced itself and does not sleep yet
/// must find the announcement overtaken.
fn a_change_wakes_who_sleeps_and_who_is_about_to() {
    const ABOUT_TO: &str = "wait: nothing is there yet";
    let came_to = |came: Arc<AtomicBool>| assert!(came.load(SeqCst));
    put_off_timed_looks();
    let is_closed = |answer| assert!(matches!(answer, Err(Error::Closed)));
    let (full, empty) = (Queue::bounded(1).unwrap(), Queue::<u8>::new().unwrap());
    full.put(&1).unwrap();
    let reader = asleep(|| is_closed(empty.get_timeout(SOON).map(drop)));
    let other = empty.clone();
    let came = once_at(ABOUT_TO, move || other.close());
    is_closed(empty.get_timeout(SOON).map(drop));
    came_to(came);
    reader.succeed();
    let writer = asleep(|| is_closed(full.put_timeout(&2, SOON)));
    let other = full.clone();
    let came = once_at(ABOUT_TO, move || other.close());
    is_closed(full.put_timeout(&2, SOON));
    came_to(came);
    writer.succeed();
    full.get().unwrap();
    let joining = asleep(|| full.join_timeout(SOON).unwrap());
    let other = full.clone();
    let came = once_at(ABOUT_TO, move || other.task_done().unwrap());
    full.join_timeout(SOON).unwrap();
    came_to(came);
    joining.succeed();
    assert_eq!(timed_looks_that_found_something(), 0);
}

/// Of those who sleep at a lock, each is woken by the owner before it.
fn an_unlock_wakes_one_who_sleeps_and_that_one_the_next() {
    let queue = Queue::new().unwrap();
    let (holds, go) = (Queue::new().unwrap(), Queue::new().unwrap());
    let owner = woken_child(|| {
        let (holds, go) = (holds.clone(), go.clone());
        once_at("put: the record is written", move || {
            holds.put(&()).unwrap();
            let () = go.get_timeout(SOON).unwrap();
        });
        queue.put(&0).unwrap();
    });
    holds.get_timeout(SOON).unwrap();
    let others = [(); 3].map(|()| asleep(|| queue.put_timeout(&1, SOON).unwrap()));
    go.put(&()).unwrap();
    owner.succeed();
    others.iter().for_each(Child::succeed);
    assert_eq!(queue.len(), 4);
}

fn a_release_wakes_one_who_waits_for_a_permit() {
    for _ in 0..20 {
        // A new one, since the permit comes back when the waiter ends.
        let semaphore = Semaphore::new(0).unwrap();
        let waiter = asleep(|| semaphore.acquire_timeout(SOON).unwrap().forget());
        semaphore.release().unwrap();
        waiter.succeed();
    }
}

fn a_crowd_at_a_small_queue_is_always_woken() {
    const EACH: u64 = 4000;
    for maxsize in [1, 3] {
        let queue = Queue::<u64>::bounded(maxsize).unwrap();
        let readers = [(); 4].map(|()| {
            woken_child(|| {
                (0..EACH).for_each(|_| {
                    queue.get_timeout(SOON).unwrap();
                    queue.task_done().unwrap();
                });
            })
        });
        let writers = [(); 4]
            .map(|()| woken_child(|| (0..EACH).for_each(|n| queue.put_timeout(&n, SOON).unwrap())));
        writers.iter().for_each(Child::succeed);
        readers.iter().for_each(Child::succeed);
        queue.join_timeout(SOON).unwrap();
    }
}
