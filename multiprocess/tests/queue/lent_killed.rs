//! Lenders and borrowers that are killed: nothing that they had is lost to the queue, and nobody sees
//! half of anything.

use std::time::Duration;

use multiprocess::Queue;
use nix::sys::resource::{Resource, setrlimit};

use crate::lent::all_can_be_lent;
use crate::sizes::{KEPT_MAX, memory_taken};
use crate::support::damage::Random;
use crate::support::{Child, SOON, block_on, kills};

tests![
    r32_what_a_killed_writer_was_lent_is_seen_by_nobody_and_lent_again,
    r32_what_a_killed_reader_had_borrowed_is_lent_again,
    a_loan_that_waits_gets_what_a_killed_process_had,
    much_that_a_killed_process_had_goes_back_to_the_system,
    writers_and_readers_killed_at_random_tear_nothing_and_keep_nothing,
];

/// A process that has what `take` takes, and waits to be killed.
fn holder<T>(take: impl FnOnce() -> T) -> Child {
    let holds = Queue::new().unwrap();
    let child = Child::fork(|| {
        let _taken = take();
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    child
}

/// Python: a segment that its writer was filling looks as one that is whole, and stays.
fn r32_what_a_killed_writer_was_lent_is_seen_by_nobody_and_lent_again() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    for _ in 0..kills(20) {
        let writer = holder(|| {
            let mut loan = queue.loan(1 << 20).unwrap();
            loan[..500_000].fill(1);
            loan
        });
        writer.kill();
    }
    assert!(queue.is_empty());
    queue.loan(1 << 20).unwrap().fill(2);
    all_can_be_lent(&queue);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

/// Python: it never comes back to those who share the segments out.
fn r32_what_a_killed_reader_had_borrowed_is_lent_again() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    for n in 0..kills(20) {
        queue.put(&vec![n as u8; 1 << 20]).unwrap();
        holder(|| queue.get_ref().unwrap()).kill();
    }
    let lost = multiprocess::Error::ItemsLost(kills(20));
    assert_eq!(queue.join_timeout(SOON), Err(lost));
    all_can_be_lent(&queue);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

fn a_loan_that_waits_gets_what_a_killed_process_had() {
    setrlimit(Resource::RLIMIT_FSIZE, 2 << 20, 2 << 20).unwrap();
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let whole = 256 << 10;
    let lender = holder(|| queue.loan(whole).unwrap());
    let other = Child::fork(|| drop(queue.loan_timeout(whole, SOON).unwrap()));
    other.wait_until_asleep();
    lender.kill();
    other.succeed();
    all_fit_again(&queue, whole);
}

fn all_fit_again(queue: &Queue<Vec<u8>>, whole: usize) {
    drop(queue.try_loan(whole).unwrap());
}

/// Nobody need ask for memory: the next put, of whatever size, finds it.
fn much_that_a_killed_process_had_goes_back_to_the_system() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let lender = holder(|| {
        let mut loan = queue.loan(200 << 20).unwrap();
        loan.fill(1);
        loan
    });
    assert!(memory_taken() >= 200 << 20);
    lender.kill();
    queue.put(&vec![1]).unwrap();
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

/// Fills loans of many sizes with one number each, for ever.
fn write(queue: &Queue<Vec<u64>>, seed: u64) {
    let mut random = Random(seed);
    for n in 0.. {
        let len = 1 + random.below(40_000) as usize;
        if n % 3 == 0 {
            queue.put(&vec![n; len]).unwrap();
            continue;
        }
        let mut loan = queue.loan(len).unwrap();
        loan.fill(n);
        if n % 5 != 0 {
            loan.publish().unwrap();
        }
    }
}

/// Reads items where they lie and by copies, alone and many at once; one that is not of one number is
/// torn.
fn read(queue: &Queue<Vec<u64>>, torn: &Queue<u64>) {
    for n in 0.. {
        let is_whole = |item: &[u64]| item.iter().all(|word| *word == item[0]);
        let whole = match n % 5 {
            0 => is_whole(&queue.get().unwrap()),
            1 => queue
                .get_many(3)
                .unwrap()
                .all(|item| is_whole(&item.unwrap())),
            2 => is_whole(&block_on(queue.get_async()).unwrap()),
            _ => is_whole(&queue.get_ref().unwrap()),
        };
        if !whole {
            torn.put(&n).unwrap();
        }
    }
}

fn writers_and_readers_killed_at_random_tear_nothing_and_keep_nothing() {
    let queue = Queue::<Vec<u64>>::bounded(16).unwrap();
    let torn = Queue::new().unwrap();
    let mut random = Random(31);
    let start = |place: usize, seed: u64| match place % 2 {
        0 => Child::fork(|| write(&queue, seed)),
        _ => Child::fork(|| read(&queue, &torn)),
    };
    let mut children: Vec<Child> = (0..4).map(|place| start(place, place as u64 + 1)).collect();
    for round in 0..kills(400) {
        let victim = random.below(4) as usize;
        std::thread::sleep(Duration::from_micros(random.below(1500)));
        children[victim].kill();
        children[victim] = start(victim, round + 5);
    }
    children.iter().for_each(Child::kill);
    while let Ok(item) = queue.try_get_ref() {
        assert!(item.iter().all(|word| *word == item[0]));
    }
    assert!(torn.is_empty(), "{} items were torn", torn.len());
    all_can_be_lent(&queue);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}
