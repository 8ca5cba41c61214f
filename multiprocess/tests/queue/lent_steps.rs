//! A lender or a borrower that ends itself between two stores of its choice: what is then in the
//! queue, and who has which memory.

use std::io::{PipeWriter, Write};

use multiprocess::Queue;

use crate::lent::all_can_be_lent;
use crate::sizes::{KEPT_MAX, memory_taken};
use crate::steps::perhaps_killed_at;
use crate::support::SOON;

tests![
    a_lender_killed_at_any_step_has_published_or_not,
    a_borrower_killed_at_any_step_has_taken_or_not,
    who_is_killed_while_it_takes_back_what_the_dead_had_leaves_that_to_the_next,
];

/// How many values an item has, some of which have to be given back to the system.
fn len(number: u64) -> usize {
    [1000, 20_000, 1_100_000][(number % 3) as usize]
}

const ITEMS: u64 = 7;

/// The names of the steps of these kinds, as they stand in the sources.
fn steps(kinds: &[&str]) -> Vec<&'static str> {
    let sources = [
        include_str!("../../src/queue/ring.rs"),
        include_str!("../../src/queue/blocks.rs"),
    ];
    let names = sources
        .iter()
        .flat_map(|source| source.split("step(\"").skip(1));
    let names = names.map(|rest| rest.split('"').next().expect("a name has an end"));
    names
        .filter(|name| kinds.iter().any(|kind| name.starts_with(kind)))
        .collect()
}

/// Steps that nobody comes to who lends or borrows one item after another in a queue that is whole:
/// changes of rings, which other tests have, and repairs.
fn is_elsewhere(step: &str) -> bool {
    step.contains("ring")
        || step.contains("link")
        || step.contains("cold")
        || step.contains("dead")
        || step == "take: the memory is given back"
}

/// Whether a put or a take that was killed at this step has happened.
fn has_happened(step: &str) -> bool {
    [
        "put: committed",
        "take: committed",
        "take: the block is handed on",
        "take: the room is free",
    ]
    .contains(&step)
}

fn publish(queue: &Queue<Vec<u64>>, number: u64) {
    let mut loan = queue.loan_timeout(len(number), SOON).unwrap();
    loan.fill(number);
    loan.publish().unwrap();
}

#[track_caller]
fn borrow(queue: &Queue<Vec<u64>>, number: u64) {
    let item = queue.get_ref_timeout(SOON).unwrap();
    assert!(item.len() == len(number) && item.iter().all(|&word| word == number));
}

fn tell(writer: &mut PipeWriter, number: u64) {
    writer.write_all(&number.to_ne_bytes()).unwrap();
}

/// All memory is there, and little of it is taken; the queue goes on.
#[track_caller]
fn is_whole(queue: &Queue<Vec<u64>>) {
    all_can_be_lent(queue);
    (0..ITEMS).for_each(|number| publish(queue, number));
    (0..ITEMS).for_each(|number| borrow(queue, number));
    all_can_be_lent(queue);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

fn a_lender_killed_at_any_step_has_published_or_not() {
    let mut reached = Vec::new();
    for step in steps(&["put: ", "lend: "]) {
        for occurrence in [1, 2, 5] {
            let queue = Queue::<Vec<u64>>::new().unwrap();
            let (in_hand, killed) = perhaps_killed_at(step, occurrence, |mut writer| {
                for number in 0..ITEMS {
                    tell(&mut writer, number);
                    // One that is dropped, which comes to the steps of a return; the first is so
                    // large that the system gets memory back.
                    drop(queue.loan(len(number + 2)).unwrap());
                    publish(&queue, number);
                }
                tell(&mut writer, ITEMS);
            });
            if killed {
                reached.push(step);
            }
            let count = in_hand + u64::from(killed && has_happened(step));
            assert_eq!(queue.len() as u64, count, "{step:?}, {occurrence}");
            (0..count).for_each(|number| borrow(&queue, number));
            is_whole(&queue);
        }
    }
    all_were_reached(&["put: ", "lend: "], &reached);
}

fn a_borrower_killed_at_any_step_has_taken_or_not() {
    let mut reached = Vec::new();
    for step in steps(&["take: ", "lend: "]) {
        for occurrence in [1, 2, 5] {
            for by_copy in [false, true] {
                let queue = Queue::<Vec<u64>>::new().unwrap();
                (0..ITEMS).for_each(|number| publish(&queue, number));
                let (done, killed) = perhaps_killed_at(step, occurrence, |mut writer| {
                    for number in 0..ITEMS {
                        match by_copy {
                            true => assert_eq!(queue.get().unwrap().len(), len(number)),
                            false => borrow(&queue, number),
                        }
                        tell(&mut writer, number + 1);
                    }
                });
                if killed {
                    reached.push(step);
                }
                // Who is killed while it gives a block back has taken its item long before.
                let in_return = killed && step.starts_with("lend: ");
                let taken = done + u64::from(killed && has_happened(step) || in_return);
                assert_eq!(queue.len() as u64, ITEMS - taken, "{step:?}, {occurrence}");
                (taken..ITEMS).for_each(|number| borrow(&queue, number));
                is_whole(&queue);
            }
        }
    }
    all_were_reached(&["take: "], &reached);
}

#[track_caller]
fn all_were_reached(kinds: &[&str], reached: &[&str]) {
    for step in steps(kinds) {
        assert!(
            is_elsewhere(step) || reached.contains(&step),
            "nobody came to {step:?}"
        );
    }
}

fn who_is_killed_while_it_takes_back_what_the_dead_had_leaves_that_to_the_next() {
    // A lender, a putter and a taker die with a block each, the last two in the middle of a lock.
    let deaths = [
        ("lend: the block is lent", true),
        ("put: the block is the item's", true),
        ("take: committed", false),
    ];
    let repairs = steps(&["lend: "])
        .into_iter()
        .filter(|step| step.contains("dead"));
    for repair in repairs {
        let mut reached = false;
        for (death, lends) in deaths {
            let queue = Queue::<Vec<u64>>::new().unwrap();
            publish(&queue, 2);
            let (_, killed) = perhaps_killed_at(death, 1, |_| match lends {
                true => publish(&queue, 2),
                false => borrow(&queue, 2),
            });
            assert!(killed);
            let (_, killed) = perhaps_killed_at(repair, 1, |_| {
                let _ = queue.try_get_ref();
                drop(queue.loan(2_200_000).unwrap());
            });
            reached |= killed;
            while let Ok(item) = queue.try_get_ref() {
                assert!(item.len() == len(2) && item.iter().all(|&word| word == 2));
            }
            is_whole(&queue);
        }
        assert!(reached, "nobody came to {repair:?}");
    }
}
