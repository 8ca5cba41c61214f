//! The orderings of the queue's loads and stores, over a model of memory in which a thread may see
//! old values for as long as they allow it. On the machine at hand a weaker one may never fail.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::batch::Frames;
use super::memory::Memory;
use super::model::{SMALL, in_order, puts_beside_takes};
use super::raw::{RawQueue, Wait};
use super::ring::Rings;
use crate::Error;
use crate::event_count::EventCount;
use crate::sys::shm::Shared;
use crate::sys::word::{AtomicU64, WeakMemory, modelled};

/// Runs two threads over the model; the seed draws the order of their steps and what they see.
pub(crate) fn weakly(seed: u64, one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    weakly_in_order(seed, random_order(seed), one, other);
}

/// Every seed gives other bits: one for each step, of who makes it.
fn random_order(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 34
}

fn weakly_in_order(seed: u64, order: u64, one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    let model = WeakMemory::new(seed);
    in_order(
        order,
        || modelled(&model, 0, one),
        || modelled(&model, 1, other),
    );
}

#[test]
fn an_item_is_read_as_it_was_written_and_its_room_is_not_taken_before() {
    // Items that wait, how many of these are taken before, and what is put meanwhile.
    let states: [(&[usize], usize, &[usize]); 6] = [
        (&[], 0, &[8, 20]),
        (&[3000, 8], 1, &[3000]),
        (&[3000, 3000, 3000], 1, &[100, 4000]),
        (&[3000, 6000, 8000, 9000], 3, &[1000, 1000]),
        (&[3000, 6000, 14_000, 14_000], 2, &[3500]),
        // Back to the hot ring and out of it again, over what was read in the ring that was left.
        (&[3000, 3000], 2, &[1000, 1000, 2000, 7200]),
    ];
    for state in states {
        for seed in 1..=400 {
            // A put that sees old values of the room may find none.
            let (_, is_same) = puts_beside_takes(state, 4, |puts, takes| {
                weakly(seed, puts, takes);
            });
            assert!(is_same, "{state:?}, seed {seed}");
        }
    }
}

#[test]
fn the_room_of_a_cold_ring_is_not_taken_before_it_was_read() {
    // Zeroes, which stay what they are when the system takes the memory back: the model sees that the
    // words are written over.
    let zeroes = |len| vec![0; len];
    for seed in 1..=400 {
        let rings = Rings::new(Memory::create(SMALL, 0).expect("some memory"));
        for len in [3000, 6000, 14_000, 14_000] {
            rings.put(&zeroes(len)).expect("the state can be reached");
        }
        let take = || {
            rings
                .take(&mut Vec::new(), 0, |_, _| ())
                .expect("whole rings")
        };
        let taken = [(); 2].map(|()| take());
        assert!(taken.iter().all(Option::is_some));
        weakly(
            seed,
            || {
                let _ = rings.put(&zeroes(10_000));
            },
            || {
                let _ = [take(), take()];
            },
        );
    }
}

/// Makes a call beside another that may see its effect: who has seen it has also seen what was done
/// before the call.
fn is_seen_with(
    maxsize: u64,
    prepare: impl Fn(&RawQueue),
    call: impl Fn(&RawQueue) + Sync,
    sees_effect: impl Fn(&RawQueue) -> bool + Sync,
) {
    let mut times_seen = 0;
    for seed in 1..=400 {
        let queue = RawQueue::over(Memory::create(SMALL, maxsize).expect("some memory"));
        let note = Shared::<AtomicU64>::create("test", 0).expect("some memory");
        prepare(&queue);
        let mut seen = None;
        weakly(
            seed,
            || {
                note.store(seed, Relaxed);
                call(&queue);
            },
            || seen = sees_effect(&queue).then(|| note.load(Relaxed)),
        );
        assert!(seen.is_none_or(|note| note == seed), "seed {seed}");
        times_seen += u32::from(seen.is_some());
    }
    assert!(times_seen > 0, "a test of nothing");
}

#[test]
fn who_has_an_item_has_seen_what_was_done_before_its_put() {
    let has_item = |queue: &RawQueue| get(queue, Wait::No).is_ok();
    is_seen_with(0, |_| (), put_one, has_item);
    is_seen_with(0, |_| (), put_two, has_item);
}

#[test]
fn who_found_room_has_seen_what_was_done_before_the_get() {
    let has_room = |queue: &RawQueue| put(queue, Wait::No).is_ok();
    is_seen_with(1, put_one, get_one, has_room);
    is_seen_with(2, put_two, get_two, has_room);
}

#[test]
fn who_has_joined_has_seen_what_was_done_before_task_done() {
    is_seen_with(
        0,
        |queue| {
            put_one(queue);
            get_one(queue);
        },
        |queue| queue.task_done().expect("an item is in hand"),
        |queue| queue.join(Wait::Until(Instant::now())).is_ok(),
    );
}

#[test]
fn a_report_while_join_looks_is_no_loss() {
    for seed in 1..=400 {
        let queue = RawQueue::over(Memory::create(SMALL, 0).expect("some memory"));
        put_one(&queue);
        get_one(&queue);
        let mut joined = Ok(());
        let join = || joined = queue.join(Wait::Until(Instant::now()));
        let report = || queue.task_done().expect("an item is in hand");
        weakly(seed, join, report);
        assert!(
            matches!(joined, Ok(()) | Err(Error::TimedOut)),
            "{joined:?}"
        );
    }
}

#[test]
fn who_is_told_of_the_close_has_seen_all_puts_before_it() {
    let close = |queue: &RawQueue| {
        put_one(queue);
        queue.close();
    };
    for seed in 1..=400 {
        let queue = RawQueue::over(Memory::create(SMALL, 0).expect("some memory"));
        let mut got = Ok(());
        weakly(seed, || close(&queue), || got = get(&queue, Wait::No));
        assert_ne!(got, Err(Error::Closed), "an item is lost: seed {seed}");
    }
}

/// Makes a change beside a call that waits for it, whose deadline has passed: it says whether it
/// would sleep. Then the change must have woken it.
fn no_sleeper_is_passed_by(
    maxsize: u64,
    prepare: impl Fn(&RawQueue),
    change: impl Fn(&RawQueue) + Sync,
    would_sleep: impl Fn(&RawQueue, Wait) -> bool + Sync,
    event: impl Fn(&RawQueue) -> &EventCount,
) {
    for seed in 1..=1500 {
        let queue = RawQueue::over(Memory::create(SMALL, maxsize).expect("some memory"));
        prepare(&queue);
        let mut sleeps = false;
        // Half of the times the whole change falls between the last look and the announcement.
        let order = if seed % 2 == 0 { 1 } else { random_order(seed) };
        weakly_in_order(
            seed,
            order,
            || change(&queue),
            || sleeps = would_sleep(&queue, Wait::Until(Instant::now())),
        );
        let is_lost = sleeps && event(&queue).has_sleeper();
        assert!(!is_lost, "nobody wakes it: seed {seed}");
    }
}

fn get(queue: &RawQueue, wait: Wait) -> Result<(), Error> {
    queue
        .get_with_block(&mut Vec::new(), &mut None, wait, |_, _| ())
        .map(drop)
}

fn put(queue: &RawQueue, wait: Wait) -> Result<(), Error> {
    queue.put(b"an item", wait).map(drop)
}

fn put_one(queue: &RawQueue) {
    put(queue, Wait::No).expect("there is room");
}

fn get_one(queue: &RawQueue) {
    get(queue, Wait::No).expect("there is an item");
}

/// Takes two items in one call.
fn get_two(queue: &RawQueue) {
    let mut items = Frames::to_read();
    queue
        .get_many(&mut items, 2, Wait::No)
        .expect("there are items");
}

/// Puts two items in one call.
fn put_two(queue: &RawQueue) {
    let mut items = Frames::of(&[1, 2], u64::MAX).expect("numbers can be serialised");
    queue.put_many(&mut items, Wait::No).expect("there is room");
}

#[test]
fn who_misses_a_batch_is_seen_to_sleep() {
    no_sleeper_is_passed_by(
        0,
        |_| (),
        put_two,
        |queue, wait| get(queue, wait) == Err(Error::Empty),
        |queue| &queue.header().items,
    );
    no_sleeper_is_passed_by(
        2,
        put_two,
        get_two,
        |queue, wait| put(queue, wait) == Err(Error::Full),
        |queue| &queue.header().room,
    );
}

#[test]
fn a_reader_that_misses_the_put_is_seen_to_sleep() {
    no_sleeper_is_passed_by(
        0,
        |_| (),
        put_one,
        |queue, wait| get(queue, wait) == Err(Error::Empty),
        |queue| &queue.header().items,
    );
}

#[test]
fn a_writer_that_misses_the_get_is_seen_to_sleep() {
    no_sleeper_is_passed_by(
        1,
        put_one,
        get_one,
        |queue, wait| put(queue, wait) == Err(Error::Full),
        |queue| &queue.header().room,
    );
}

#[test]
fn who_misses_the_close_is_seen_to_sleep() {
    no_sleeper_is_passed_by(
        0,
        |_| (),
        RawQueue::close,
        |queue, wait| get(queue, wait) == Err(Error::Empty),
        |queue| &queue.header().items,
    );
    no_sleeper_is_passed_by(
        1,
        put_one,
        RawQueue::close,
        |queue, wait| put(queue, wait) == Err(Error::Full),
        |queue| &queue.header().room,
    );
}

#[test]
fn a_join_that_misses_the_last_task_done_is_seen_to_sleep() {
    no_sleeper_is_passed_by(
        0,
        |queue| {
            put_one(queue);
            get_one(queue);
        },
        |queue| queue.task_done().expect("an item is in hand"),
        |queue, wait| queue.join(wait) == Err(Error::TimedOut),
        |queue| &queue.header().all_done,
    );
}
