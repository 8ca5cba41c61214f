//! What a queue promises while nobody is killed.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use multiprocess::{Error, Queue};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::support::{Child, NOW, SOON};

tests![
    items_come_out_in_the_order_they_went_in,
    a_forked_child_has_the_same_queue,
    every_item_reaches_exactly_one_reader,
    threads_share_a_queue_as_processes_do,
    a_full_queue_refuses_and_then_waits,
    an_empty_queue_says_so_and_then_waits,
    a_closed_queue_drains_and_wakes_everyone,
    r16_an_item_that_cannot_be_serialised_fails_in_put,
    join_returns_when_every_item_is_done,
    task_done_without_an_item_is_an_error,
    who_waits_for_an_item_hardly_wakes,
];

fn items_come_out_in_the_order_they_went_in() {
    let queue = Queue::new().unwrap();
    for n in 0..100_000u64 {
        queue.put(&n).unwrap();
    }
    assert_eq!(queue.len(), 100_000);
    for n in 0..100_000u64 {
        assert_eq!(queue.try_get().unwrap(), n);
    }
    assert!(queue.is_empty());
}

fn a_forked_child_has_the_same_queue() {
    let (there, back) = (Queue::new().unwrap(), Queue::new().unwrap());
    let child = Child::fork(|| {
        for item in &there {
            back.put(&(item.unwrap() + 1)).unwrap();
        }
    });
    for n in 0..1000 {
        there.put(&n).unwrap();
        assert_eq!(back.get_timeout(SOON).unwrap(), n + 1);
    }
    there.close();
    child.succeed();
}

fn every_item_reaches_exactly_one_reader() {
    for maxsize in [0, 1, 64] {
        let items = Queue::bounded(maxsize).unwrap();
        let seen = Queue::new().unwrap();
        let readers = [(); 4].map(|()| {
            Child::fork(|| {
                items
                    .iter()
                    .for_each(|item: Result<(u64, u64), _>| seen.put(&item.unwrap()).unwrap())
            })
        });
        let writers = [0, 1, 2, 3].map(|writer| {
            let items = &items;
            Child::fork(move || (0..5000).for_each(|n| items.put(&(writer, n)).unwrap()))
        });
        writers.iter().for_each(Child::succeed);
        items.close();
        readers.iter().for_each(Child::succeed);
        seen.close();
        let all: Vec<_> = seen.iter().map(Result::unwrap).collect();
        let different: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(
            (all.len(), different.len()),
            (20_000, 20_000),
            "maxsize {maxsize}"
        );
        assert_eq!(different.last(), Some(&(3, 4999)));
    }
}

fn threads_share_a_queue_as_processes_do() {
    let queue = Queue::bounded(16).unwrap();
    let total: u64 = thread::scope(|scope| {
        let readers =
            [(); 3].map(|()| scope.spawn(|| queue.iter().map(Result::unwrap).sum::<u64>()));
        let writers =
            [(); 3].map(|()| scope.spawn(|| (1..=10_000).for_each(|n| queue.put(&n).unwrap())));
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        queue.close();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum()
    });
    assert_eq!(total, 3 * 10_000 * 10_001 / 2);
}

fn a_full_queue_refuses_and_then_waits() {
    let queue = Queue::bounded(2).unwrap();
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    assert!(queue.is_full());
    assert!(matches!(queue.try_put(&3), Err(Error::Full)));
    assert!(matches!(queue.put_timeout(&3, NOW), Err(Error::Full)));
    let writer = Child::fork(|| queue.put(&3).unwrap());
    assert_eq!(
        [(); 3].map(|()| queue.get_timeout(SOON).unwrap()),
        [1, 2, 3]
    );
    writer.succeed();
}

fn an_empty_queue_says_so_and_then_waits() {
    let queue = Queue::new().unwrap();
    assert!(matches!(queue.try_get(), Err(Error::Empty)));
    assert!(matches!(queue.get_timeout(NOW), Err(Error::Empty)));
    let reader = Child::fork(|| assert_eq!(queue.get().unwrap(), "late"));
    queue.put(&"late".to_string()).unwrap();
    reader.succeed();
}

fn a_closed_queue_drains_and_wakes_everyone() {
    let (full, empty) = (Queue::bounded(1).unwrap(), Queue::<u8>::new().unwrap());
    full.put(&1).unwrap();
    let writers =
        [(); 3].map(|()| Child::fork(|| assert!(matches!(full.put(&2), Err(Error::Closed)))));
    let readers =
        [(); 3].map(|()| Child::fork(|| assert!(matches!(empty.get(), Err(Error::Closed)))));
    full.close();
    empty.close();
    writers.iter().for_each(Child::succeed);
    readers.iter().for_each(Child::succeed);
    assert_eq!(full.get().unwrap(), 1);
    assert!(matches!(full.get_timeout(SOON), Err(Error::Closed)));
}

#[derive(Deserialize)]
struct Untold;

impl Serialize for Untold {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("cannot be told"))
    }
}

/// Python: `put` returns, and the item is lost in silence.
fn r16_an_item_that_cannot_be_serialised_fails_in_put() {
    let queue = Queue::new().unwrap();
    let refused = queue.put(&Untold);
    assert!(matches!(&refused, Err(Error::Serial { attempt, .. }) if attempt.contains("Untold")));
    assert!(queue.is_empty());
}

fn join_returns_when_every_item_is_done() {
    let queue = Queue::new().unwrap();
    (0..100).for_each(|n| queue.put(&n).unwrap());
    assert!(matches!(queue.join_timeout(NOW), Err(Error::TimedOut)));
    let readers = [(); 3].map(|()| {
        Child::fork(|| {
            for item in &queue {
                item.unwrap();
                queue.task_done().unwrap();
            }
        })
    });
    queue.join_timeout(SOON).unwrap();
    queue.close();
    readers.iter().for_each(Child::succeed);
    queue.join().unwrap();
}

fn task_done_without_an_item_is_an_error() {
    let queue = Queue::new().unwrap();
    queue.put(&1).unwrap();
    assert!(matches!(queue.task_done(), Err(Error::NothingInHand)));
    queue.get().unwrap();
    queue.task_done().unwrap();
    assert!(matches!(queue.task_done(), Err(Error::NothingInHand)));
}

/// How often a process that does this work sleeps, and so is woken.
pub(crate) fn sleeps(work: impl FnOnce()) -> i64 {
    let sleeps = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        usage.voluntary_context_switches()
    };
    let before = sleeps();
    work();
    sleeps() - before
}

/// A look every 20 ms would make it 150 times.
fn who_waits_for_an_item_hardly_wakes() {
    let queue = Queue::<u8>::new().unwrap();
    let idle = Duration::from_secs(3);
    let sleeps = sleeps(|| assert!(matches!(queue.get_timeout(idle), Err(Error::Empty))));
    assert!(sleeps < 30, "{sleeps} times in 3 s");
}
