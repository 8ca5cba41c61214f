//! A process that ends itself between two stores of its choice: what is then in the queue.
//!
//! `queue::model` tries every such moment in one process, with small rings. Here it is SIGKILL, in a
//! process that holds a lock, with the rings of every queue.

use std::cell::OnceCell;
use std::io::{PipeWriter, Read, Write, pipe};
use std::ops::Range;
use std::rc::Rc;

use multiprocess::{Error, Queue, on_step};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::kill_points::{dying_at, has_died};
use crate::support::{Child, SOON, eventually, is_gone};

tests![
    a_writer_killed_at_any_step_has_put_its_item_or_not,
    a_reader_killed_at_any_step_has_taken_its_item_or_not,
    a_batch_killed_at_any_step_is_in_the_queue_up_to_there,
    a_reader_killed_at_any_step_of_a_batch_has_taken_the_items_up_to_there,
    a_reader_killed_while_it_repairs_leaves_that_to_the_next,
    readers_killed_between_two_rings_leave_both_to_the_writers,
    who_sleeps_is_woken_though_the_waker_died_after_its_commit,
    who_does_not_want_to_wait_does_not_wait_for_an_owner_that_is_stopped,
    a_close_comes_after_the_put_that_is_under_way,
    what_is_put_after_the_last_look_and_before_the_close_is_read,
];

/// Many strings, of which none is so large that it would get a block of its own.
type Item = (u64, Vec<String>);

/// The length of a string, in bytes.
const PIECE: usize = 10_000;

/// So many items walk through all kinds of rings.
const ITEMS: u64 = 700;

/// The names of the steps of one side, as they stand in the source, but for those of items that have
/// a block: these have none.
fn steps(side: &str) -> Vec<&'static str> {
    let source = include_str!("../../src/queue/ring.rs");
    let names = source.split("step(\"").skip(1);
    let names = names.map(|rest| rest.split('"').next().expect("a name has an end"));
    let names = names.filter(|name| name.starts_with(side) && !name.contains("block"));
    names.collect()
}

/// Which of its occurrences a process is killed at: few, if the step belongs to a change of rings.
fn occurrences(step: &str) -> &'static [u64] {
    match step {
        "put: the link is written"
        | "put: the end of the ring is written"
        | "take: the end of the ring is written"
        | "take: the ring left is empty"
        | "take: the ring left is free"
        | "take: the memory is given back"
        | "take: the cold room is free" => &[1, 2],
        _ => &[1, 2, 100, 250],
    }
}

/// Whether an operation that was killed at this step has happened.
fn has_happened(step: &str) -> bool {
    ![
        "put: the link is written",
        "put: the end of the ring is written",
        "put: the record is written",
        "put: the position is written",
        "take: the end of the ring is written",
        "take: the item is read",
        "take: the position is written",
    ]
    .contains(&step)
}

fn item(number: u64) -> Item {
    let len: usize = match number % 7 {
        0 => 200_000,
        1 | 2 => 10_000,
        _ => 20,
    };
    let letter = char::from(b'a' + (number % 26) as u8);
    let pieces = len.div_ceil(PIECE);
    let piece = letter.to_string().repeat(len.min(PIECE));
    (number, vec![piece; pieces])
}

fn put(queue: &Queue<Item>, numbers: Range<u64>) {
    numbers.for_each(|number| queue.put_timeout(&item(number), SOON).unwrap());
}

#[track_caller]
fn take(queue: &Queue<Item>, number: u64) {
    let taken = queue.get_timeout(SOON).unwrap();
    assert!(taken == item(number), "{} for {number}", taken.0);
    queue.task_done().unwrap();
}

/// Runs `work` in a process that is killed when it comes to a step for the n-th time. `work` may
/// tell numbers. Returns the last, or 0, and whether the process came so far.
pub(super) fn perhaps_killed_at(
    step: &'static str,
    occurrence: u64,
    work: impl FnOnce(PipeWriter),
) -> (u64, bool) {
    let (mut reader, writer) = pipe().unwrap();
    let victim = dying_at(step, occurrence, || work(writer.try_clone().unwrap()));
    drop(writer);
    let mut told = Vec::new();
    reader.read_to_end(&mut told).unwrap();
    let last = told
        .last_chunk()
        .map_or(0, |last| u64::from_ne_bytes(*last));
    (last, has_died(&victim))
}

#[track_caller]
fn killed_at(step: &'static str, occurrence: u64, work: impl FnOnce(PipeWriter)) -> u64 {
    let (last, killed) = perhaps_killed_at(step, occurrence, work);
    assert!(killed, "it never came to {step:?} number {occurrence}");
    last
}

fn tell(writer: &mut PipeWriter, number: u64) {
    writer.write_all(&number.to_ne_bytes()).unwrap();
}

fn a_writer_killed_at_any_step_has_put_its_item_or_not() {
    let steps = steps("put: ");
    assert!(steps.len() >= 5);
    for step in steps {
        for &occurrence in occurrences(step) {
            let queue = Queue::new().unwrap();
            let in_hand = killed_at(step, occurrence, |mut writer| {
                for number in 0..ITEMS {
                    tell(&mut writer, number);
                    queue.put(&item(number)).unwrap();
                }
            });
            let count = in_hand + u64::from(has_happened(step));
            assert_eq!(queue.len() as u64, count, "{step:?}, {occurrence}");
            // The queue goes on, through all its rings, up and down.
            put(&queue, count..ITEMS);
            (0..ITEMS).for_each(|number| take(&queue, number));
            put(&queue, 0..50);
            (0..50).for_each(|number| take(&queue, number));
            queue.join().unwrap();
        }
    }
}

/// A queue with items for a reader that is killed at the step; returns the number of the next item.
fn after_a_killed_reader(queue: &Queue<Item>, step: &'static str, occurrence: u64) -> u64 {
    put(queue, 0..ITEMS);
    let done = killed_at(step, occurrence, |mut writer| {
        for number in 0..ITEMS {
            assert!(queue.get().unwrap() == item(number));
            tell(&mut writer, number + 1);
        }
    });
    done + u64::from(has_happened(step))
}

/// All items are done but so many, which died with a reader.
#[track_caller]
fn join_tells_of(queue: &Queue<Item>, lost: u64) {
    match queue.join_timeout(SOON) {
        Ok(()) => assert_eq!(lost, 0),
        Err(Error::ItemsLost(count)) => assert_eq!(count, lost),
        Err(error) => panic!("{error}"),
    }
}

fn a_reader_killed_at_any_step_has_taken_its_item_or_not() {
    let steps = steps("take: ");
    assert!(steps.len() >= 9);
    for step in steps {
        for &occurrence in occurrences(step) {
            let queue = Queue::new().unwrap();
            let lost = after_a_killed_reader(&queue, step, occurrence);
            assert_eq!(queue.len() as u64, ITEMS - lost, "{step:?}, {occurrence}");
            // Nothing but what it had taken is missing, and all else is in order.
            (lost..ITEMS).for_each(|number| take(&queue, number));
            put(&queue, 0..ITEMS);
            (0..ITEMS).for_each(|number| take(&queue, number));
            join_tells_of(&queue, lost);
        }
    }
}

/// How many items an operation on a batch has moved when it is killed at a step; `None` for a step
/// that not every item makes.
fn moved(step: &str, occurrence: u64) -> Option<u64> {
    let of_every_item = [
        "put: the record is written",
        "put: the position is written",
        "put: committed",
        "take: the item is read",
        "take: the position is written",
        "take: committed",
    ];
    let before = occurrence - 1 + u64::from(has_happened(step));
    of_every_item.contains(&step).then_some(before)
}

fn a_batch_killed_at_any_step_is_in_the_queue_up_to_there() {
    for step in steps("put: ") {
        for &occurrence in occurrences(step) {
            let queue = Queue::new().unwrap();
            killed_at(step, occurrence, |_| {
                let items: Vec<Item> = (0..ITEMS).map(item).collect();
                queue.put_many(&items).unwrap();
            });
            let count = queue.len() as u64;
            assert_eq!(count, moved(step, occurrence).unwrap_or(count), "{step:?}");
            put(&queue, count..ITEMS);
            (0..ITEMS).for_each(|number| take(&queue, number));
            queue.join().unwrap();
        }
    }
}

fn a_reader_killed_at_any_step_of_a_batch_has_taken_the_items_up_to_there() {
    for step in steps("take: ") {
        for &occurrence in occurrences(step) {
            let queue = Queue::new().unwrap();
            put(&queue, 0..ITEMS);
            killed_at(step, occurrence, |_| {
                queue.get_many(ITEMS as usize).unwrap();
            });
            let lost = ITEMS - queue.len() as u64;
            assert_eq!(lost, moved(step, occurrence).unwrap_or(lost), "{step:?}");
            (lost..ITEMS).for_each(|number| take(&queue, number));
            put(&queue, 0..ITEMS);
            (0..ITEMS).for_each(|number| take(&queue, number));
            join_tells_of(&queue, lost);
        }
    }
}

fn a_reader_killed_while_it_repairs_leaves_that_to_the_next() {
    // The steps after the commit are those of the repair.
    let mut repairs = steps("take: ");
    repairs.retain(|step| has_happened(step) && *step != "take: committed");
    for &first in &repairs {
        let mut pairs = 0;
        for &second in &repairs {
            let queue = Queue::new().unwrap();
            let next = after_a_killed_reader(&queue, first, 1);
            // In the repair, or in a take if there was nothing of the kind to repair.
            let (taken, killed) = perhaps_killed_at(second, 1, |mut writer| {
                let mut count = 0;
                while queue.try_get().is_ok() {
                    count += 1;
                    tell(&mut writer, count);
                }
            });
            pairs += u32::from(killed);
            let mut next = next + taken;
            if let Ok((number, text)) = queue.try_get() {
                assert!([next, next + 1].contains(&number), "{number} after {next}");
                assert!((number, text) == item(number));
                next = number + 1;
            }
            (next..ITEMS).for_each(|number| take(&queue, number));
            assert!(queue.is_empty());
            put(&queue, 0..ITEMS);
            (0..ITEMS).for_each(|number| take(&queue, number));
        }
        assert!(
            pairs >= 1,
            "after {first:?}, nobody came to any of the steps"
        );
    }
}

/// A ring that is left and never given free would be lost to the queue, and there are four.
fn readers_killed_between_two_rings_leave_both_to_the_writers() {
    let queue = Queue::new().unwrap();
    for round in 0..8 {
        put(&queue, 0..ITEMS);
        let step = "take: the ring left is empty";
        let lost = 1 + killed_at(step, 1 + round % 2, |mut writer| {
            for count in 1.. {
                queue.get_timeout(SOON).unwrap();
                tell(&mut writer, count);
            }
        });
        // The next one repairs, by whichever call it comes.
        if round / 2 % 2 == 0 {
            take(&queue, lost);
        } else {
            let mut batch = queue.get_many(1).unwrap();
            assert!(batch.next().unwrap().unwrap() == item(lost));
        }
        (lost + 1..ITEMS).for_each(|number| take(&queue, number));
    }
}

/// The commit and the wake are two acts, and the owner of a lock dies between them.
fn who_sleeps_is_woken_though_the_waker_died_after_its_commit() {
    for _ in 0..20 {
        let items = Queue::new().unwrap();
        let reader = Child::fork(|| take(&items, 0));
        reader.wait_until_asleep();
        killed_at("put: committed", 1, |_| items.put(&item(0)).unwrap());
        reader.succeed();
        let full = Queue::bounded(1).unwrap();
        full.put(&item(0)).unwrap();
        let writer = Child::fork(|| full.put(&item(1)).unwrap());
        writer.wait_until_asleep();
        killed_at("take: committed", 1, |_| drop(full.get()));
        writer.succeed();
        take(&full, 1);
    }
}

fn who_does_not_want_to_wait_does_not_wait_for_an_owner_that_is_stopped() {
    let queue = Queue::new().unwrap();
    let owner = Child::fork(|| {
        on_step(|step| {
            if step == "put: the record is written" {
                kill(Pid::this(), Signal::SIGSTOP).unwrap();
            }
        });
        queue.put(&item(0)).unwrap();
    });
    let flags = WaitPidFlag::WUNTRACED;
    let stopped = waitpid(owner.pid, Some(flags)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(owner.pid, Signal::SIGSTOP));
    assert!(matches!(queue.try_put(&item(1)), Err(Error::Full)));
    kill(owner.pid, Signal::SIGCONT).unwrap();
    owner.succeed();
    take(&queue, 0);
}

/// Else a reader could find the queue closed and empty, and then the item comes.
fn a_close_comes_after_the_put_that_is_under_way() {
    let queue = Queue::new().unwrap();
    let other = queue.clone();
    let closer = Rc::new(OnceCell::new());
    let closing = Rc::clone(&closer);
    on_step(move |step| {
        if step == "put: the record is written" {
            let closer = Child::fork(|| other.close());
            let pid = closer.pid.as_raw().cast_unsigned();
            eventually("it waits", || is_gone(pid) || closer.is_asleep());
            assert!(!other.is_closed(), "closed in the middle of a put");
            assert!(closing.set(closer).is_ok());
        }
    });
    queue.put(&1).unwrap();
    closer.get().expect("it was forked").succeed();
    assert_eq!(queue.get_timeout(SOON).unwrap(), 1);
    assert!(matches!(queue.get_timeout(SOON), Err(Error::Closed)));
}

fn what_is_put_after_the_last_look_and_before_the_close_is_read() {
    let queue = Queue::new().unwrap();
    let other = queue.clone();
    on_step(move |step| {
        if step == "get: nothing was there" && !other.is_closed() {
            other.put(&1).unwrap();
            other.close();
        }
    });
    assert_eq!(queue.get_timeout(SOON).unwrap(), 1);
    assert!(matches!(queue.get_timeout(SOON), Err(Error::Closed)));
}
