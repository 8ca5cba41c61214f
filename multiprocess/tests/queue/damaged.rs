//! Whatever a process that has the queue writes into its shared memory, the calls of the others
//! return: with an error, or with whatever now stands there, but without a panic, a read elsewhere
//! or an end that never comes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use multiprocess::{Queue, pipe};
use nix::sys::resource::{Resource, setrlimit};

use crate::support::damage::{Random, memory};
use crate::support::{Child, SOON};

tests![
    calls_return_though_the_memory_was_written_over,
    calls_return_while_the_memory_is_being_written_over,
    a_pipe_whose_memory_was_written_over_still_carries_messages,
    a_length_that_cannot_be_is_refused_without_taking_memory,
];

/// A deadline that is mostly met, and often if it is not.
const SHORTLY: Duration = Duration::from_micros(200);

/// Where the locks of the producers and of the consumers are, in bytes: a lock that is said to be
/// held is waited for, by the calls that have no deadline for ever.
const LOCKS: [std::ops::Range<u64>; 2] = [64..104, 256..296];

/// How many bytes the accounts of readers take.
const READERS: u64 = 4096 * 64;

fn is_lock(place: u64) -> bool {
    LOCKS.iter().any(|lock| lock.contains(&place))
}

/// Writes a word over one at a place of interest; returns the place, in bytes.
fn scribble(memory: &File, random: &mut Random) -> u64 {
    let len = memory.metadata().unwrap().len();
    let place = match random.below(8) {
        // The start of the header, which is more than a few lines of the cache.
        0..4 => random.below(1024),
        // The first accounts of readers, or the first blocks that are lent.
        4 => 768 + random.below(2) * READERS + random.below(1024),
        // The start of a ring, or any place.
        5 | 6 => random.below(len / 4096) * 4096 + random.below(256),
        _ => random.below(len - 8),
    } & !7;
    random.scribble(memory, place);
    place
}

/// All calls, with deadlines; those that cannot have one only if the locks are as they were.
fn call_all(queue: &Queue<Vec<u8>>, random: &mut Random, locks_are_whole: bool) {
    for _ in 0..3 {
        let _ = queue.put_timeout(&[1].repeat(random.below(60_000) as usize), SHORTLY);
        let _ = queue.get_timeout(SHORTLY);
        let _ = queue.get_timeout(SHORTLY);
        // What has a block.
        let _ = queue.put_timeout(&[1].repeat(70_000), SHORTLY);
        if let Ok(mut loan) = queue.loan_timeout(random.below(9000) as usize, SHORTLY) {
            loan.fill(5);
            let _ = loan.publish_timeout(SHORTLY);
        }
        let borrowed = queue.get_ref_timeout(SHORTLY);
        let _ = borrowed.map(|item| item.to_vec());
        let _ = queue.get_timeout(SHORTLY);
    }
    let _ = (
        queue.len(),
        queue.is_empty(),
        queue.is_full(),
        queue.maxsize(),
    );
    let _ = queue.join_timeout(SHORTLY);
    let _ = format!("{queue:?}");
    if locks_are_whole {
        let _ = queue.try_put(&[2].repeat(100));
        let _ = queue.try_get();
        let _ = queue.task_done();
        queue.close();
        let _ = queue.get_timeout(SHORTLY);
    }
}

fn calls_return_though_the_memory_was_written_over() {
    // Small rings, so that all of them are in use.
    setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
    for seed in 1..=4000 {
        let mut random = Random(seed);
        let queue = Queue::bounded([0, 0, 3][(seed % 3) as usize]).unwrap();
        for _ in 0..random.below(12) {
            let len = [10, 3000, 40_000][random.below(3) as usize];
            let _ = queue.try_put(&[3].repeat(random.below(len) as usize));
        }
        for _ in 0..random.below(6) {
            let _ = queue.try_get();
        }
        let memory = memory("multiprocess-queue");
        let places: Vec<_> = (0..=random.below(6))
            .map(|_| scribble(&memory, &mut random))
            .collect();
        let locks_are_whole = !places.into_iter().any(is_lock);
        call_all(&queue, &mut random, locks_are_whole);
    }
}

fn calls_return_while_the_memory_is_being_written_over() {
    setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
    for seed in 1..=20 {
        let queue = Queue::new().unwrap();
        let memory = memory("multiprocess-queue");
        let hostile = Child::fork(|| {
            let mut random = Random(seed);
            loop {
                scribble(&memory, &mut random);
            }
        });
        let mut random = Random(seed + 1000);
        (0..30).for_each(|_| call_all(&queue, &mut random, false));
        hostile.kill();
    }
}

fn a_pipe_whose_memory_was_written_over_still_carries_messages() {
    for seed in 1..=200 {
        let mut random = Random(seed);
        let (ours, theirs) = pipe::<u64, u64>().unwrap();
        theirs.send(&seed).unwrap();
        let memory = memory("multiprocess-pipe");
        for place in [0, 8] {
            let word = random.word(0);
            memory.write_all_at(&word.to_le_bytes(), place).unwrap();
        }
        assert_eq!(ours.recv_timeout(SOON).unwrap(), seed);
        let _ = ours.recv_timeout(SHORTLY);
        let _ = theirs.send(&1);
    }
}

/// Where in the memory the first word of a record stands whose item is so long, or a little longer.
/// It has the item's length and its first bytes, and is sought in the MiB from `start` on.
fn place_of_record(memory: &File, start: u64, len: u64) -> u64 {
    let mut bytes = vec![0; 1 << 20];
    memory.read_exact_at(&mut bytes, start).unwrap();
    let words = bytes.as_chunks::<8>().0.iter();
    let places = words.enumerate().filter(|(_, word)| {
        let word = u64::from_le_bytes(**word);
        (len..len + 20).contains(&(word & 0xffff_ffff)) && word >> 32 != 0
    });
    let places: Vec<_> = places.map(|(index, _)| start + index as u64 * 8).collect();
    assert_eq!(places.len(), 1, "one word holds the item's length");
    places[0]
}

/// A gigabyte that is not there would otherwise be made room for.
fn a_length_that_cannot_be_is_refused_without_taking_memory() {
    // The first one starts the hot ring, the other one a cold ring.
    for (len, start) in [(1000, 0), (9 << 20, 8 << 20)] {
        // Each takes a byte, and they have no block, as bytes would.
        let queue = Queue::<Vec<bool>>::new().unwrap();
        let memory = memory("multiprocess-queue");
        queue.put(&vec![true; len as usize]).unwrap();
        let place = place_of_record(&memory, start, len);
        // Longer than the hot ring, a link to a link, and longer than all memory that is taken.
        for first in [1 << 29, 1 << 30 | 5 << 32, 1 << 31, len + (300 << 20)] {
            memory
                .write_all_at(&u64::to_le_bytes(first), place)
                .unwrap();
            let refused = queue.get_timeout(SOON).unwrap_err();
            assert!(refused.to_string().contains("damaged"), "{refused}");
        }
    }
}
