//! Items that are written and read where they lie, and large parts of items, while nobody is killed.

use futures_util::{StreamExt, TryStreamExt};
use multiprocess::zerocopy::{FromBytes, Immutable, IntoBytes};
use multiprocess::{Error, Queue};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Deserializer, Serialize};

use crate::sizes::{KEPT_MAX, memory_taken};
use crate::support::{Child, NOW, SOON, block_on};

tests![
    what_is_published_is_read_by_reference_and_by_copy,
    what_was_put_is_read_by_reference,
    plain_structs_are_lent_and_cannot_be_had_by_a_copy,
    large_parts_of_any_value_come_out_whole,
    a_type_that_reads_strings_where_they_lie_crosses_too,
    every_way_to_get_values_copies_what_was_lent,
    a_batch_keeps_no_memory_that_was_lent,
    a_loan_of_which_little_was_written_is_an_item_like_others,
    what_is_borrowed_stays_as_it_is_while_others_come_and_go,
    a_loan_that_is_dropped_is_never_seen,
    a_forked_child_has_no_part_in_its_parents_loan,
    the_same_memory_is_lent_again,
    who_borrows_gives_back_in_any_order,
    when_all_is_lent_a_loan_waits_for_a_return,
    a_bounded_queue_bounds_what_is_published,
    a_closed_queue_lends_nothing,
];

/// Below and above the length from which on a part has a block.
const LENGTHS: [usize; 8] = [0, 1, 1000, 65_535, 65_536, 65_537, 1 << 20, (5 << 20) + 3];

fn what_is_published_is_read_by_reference_and_by_copy() {
    let queue = Queue::<Vec<u16>>::new().unwrap();
    for len in LENGTHS {
        let expected: Vec<u16> = (0..len).map(|n| n as u16).collect();
        for by_reference in [true, false] {
            let mut loan = queue.loan(len).unwrap();
            assert_eq!(loan.len(), len);
            loan.copy_from_slice(&expected);
            assert!(queue.is_empty());
            loan.publish().unwrap();
            match by_reference {
                true => assert!(*queue.get_ref_timeout(SOON).unwrap() == *expected),
                false => assert!(queue.get_timeout(SOON).unwrap() == expected),
            }
        }
    }
    assert!(matches!(queue.try_get_ref(), Err(Error::Empty)));
    assert!(matches!(queue.get_ref_timeout(NOW), Err(Error::Empty)));
}

fn what_was_put_is_read_by_reference() {
    let queue = Queue::<Vec<f64>>::new().unwrap();
    for len in LENGTHS {
        let expected: Vec<f64> = (0..len).map(|n| n as f64 / 3.0).collect();
        queue.put(&expected).unwrap();
        assert!(*queue.get_ref_timeout(SOON).unwrap() == *expected);
    }
}

#[derive(
    Clone, Copy, Debug, PartialEq, Serialize, Deserialize, FromBytes, IntoBytes, Immutable,
)]
#[repr(C)]
struct Point {
    x: f64,
    id: u32,
    flags: u32,
}

fn plain_structs_are_lent_and_cannot_be_had_by_a_copy() {
    let queue = Queue::<Vec<Point>>::new().unwrap();
    let point = Point {
        x: 0.5,
        id: 7,
        flags: 1,
    };
    for _ in 0..2 {
        let mut loan = queue.loan(9000).unwrap();
        loan.fill(point);
        loan.publish().unwrap();
    }
    assert!(queue.get_ref().unwrap().iter().all(|found| *found == point));
    let refused = queue.get().unwrap_err().to_string();
    assert!(refused.contains("get_ref"), "{refused}");
    // Those that were put are serialised, and come out either way.
    queue.put(&vec![point; 9000]).unwrap();
    assert_eq!(*queue.get_ref().unwrap(), *vec![point; 9000]);
    queue.put(&vec![point; 3]).unwrap();
    assert_eq!(queue.get().unwrap(), [point; 3]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Text(String),
    Numbers {
        of: Vec<i32>,
        then: Option<Box<Part>>,
    },
    Bytes(serde_json::Value),
}

fn large_parts_of_any_value_come_out_whole() {
    let queue = Queue::<(u8, Vec<Part>, Box<[u8]>, std::ffi::CString)>::new().unwrap();
    for len in LENGTHS {
        let text = "ä".repeat(len);
        let part = Part::Numbers {
            of: (0..len as i32).collect(),
            then: Some(Box::new(Part::Text(text.clone()))),
        };
        let parts = vec![part.clone(), Part::Bytes(text.into()), part];
        let bytes = vec![3; len].into_boxed_slice();
        let item = (
            1,
            parts,
            bytes,
            std::ffi::CString::new(vec![b'x'; len]).unwrap(),
        );
        queue.put(&item).unwrap();
        assert!(queue.get_timeout(SOON).unwrap() == item, "{len}");
    }
    assert!(memory_taken() < KEPT_MAX);
}

/// A length that is written as that many letters.
#[derive(Debug, PartialEq)]
struct Letters(usize);

impl Serialize for Letters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        "x".repeat(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Letters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(|text| Self(text.len()))
    }
}

fn a_type_that_reads_strings_where_they_lie_crosses_too() {
    let queue = Queue::new().unwrap();
    for len in LENGTHS {
        queue.put(&Letters(len)).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), Letters(len));
    }
}

type Items = Vec<Vec<u32>>;
type Way = fn(&Queue<Vec<u32>>) -> Result<Items, Error>;

/// Ways to take three items and no more.
const WAYS: [Way; 7] = [
    |queue| (0..3).map(|_| queue.get_timeout(SOON)).collect(),
    |queue| queue.iter().take(3).collect(),
    |queue| queue.get_many(3)?.collect(),
    |queue| queue.get_many_timeout(3, SOON)?.collect(),
    |queue| {
        let first = queue.get_many(1)?;
        first.chain(queue.get_many(2)?).collect()
    },
    |queue| (0..3).map(|_| block_on(queue.get_async())).collect(),
    |queue| block_on(queue.stream().take(3).try_collect()),
];

/// Puts `number` in all ways to put.
fn put_three(queue: &Queue<Vec<u32>>, number: u32) {
    let mut loan = queue.loan(40_000).unwrap();
    loan.fill(number);
    loan.publish().unwrap();
    queue.put(&vec![number; 40_000]).unwrap();
    block_on(queue.put_async(&vec![number; 40_000])).unwrap();
}

fn every_way_to_get_values_copies_what_was_lent() {
    let queue = Queue::new().unwrap();
    for (number, way) in (1..).zip(WAYS) {
        put_three(&queue, number);
        put_three(&queue, 0);
        assert!(way(&queue).unwrap() == vec![vec![number; 40_000]; 3]);
        // What was got is nobody's but the caller's: the blocks are used for other items.
        let rest = queue.drain().unwrap().collect::<Result<Items, _>>();
        assert!(rest.unwrap() == vec![vec![0; 40_000]; 3]);
        all_can_be_lent(&queue);
    }
    queue.put_many(&vec![vec![7; 40_000]; 2]).unwrap();
    assert!(*queue.get_ref().unwrap() == *vec![7; 40_000]);
    assert!(queue.get().unwrap() == vec![7; 40_000]);
}

fn a_batch_keeps_no_memory_that_was_lent() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    for _ in 0..2 {
        let mut loan = queue.loan(40 << 20).unwrap();
        loan.fill(1);
        loan.publish().unwrap();
    }
    assert_eq!(queue.get_many(2).unwrap().len(), 2);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

/// The system has no memory for the rest yet.
fn a_loan_of_which_little_was_written_is_an_item_like_others() {
    for way in WAYS {
        let queue = Queue::<Vec<u32>>::new().unwrap();
        for number in 1..=3 {
            let mut loan = queue.loan(4 << 20).unwrap();
            loan[7] = number;
            loan.publish().unwrap();
        }
        let items = way(&queue).unwrap();
        for (number, item) in (1..).zip(items) {
            assert_eq!((item.len(), item[7], item[8]), (4 << 20, number, 0));
        }
    }
}

fn what_is_borrowed_stays_as_it_is_while_others_come_and_go() {
    let queue = Queue::<Vec<u64>>::new().unwrap();
    queue.put(&vec![1; 50_000]).unwrap();
    let first = queue.get_ref().unwrap();
    let writer = Child::fork(|| {
        (2..50).for_each(|n| queue.put(&vec![n; 50_000]).unwrap());
        let mut loan = queue.loan(50_000).unwrap();
        loan.fill(50);
        loan.publish().unwrap();
    });
    for n in 2..=50 {
        assert!(
            queue
                .get_ref_timeout(SOON)
                .unwrap()
                .iter()
                .all(|&word| word == n)
        );
        assert!(first.iter().all(|&word| word == 1));
    }
    writer.succeed();
}

fn a_loan_that_is_dropped_is_never_seen() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let mut loan = queue.loan(1 << 20).unwrap();
    loan.fill(9);
    drop(loan);
    assert!(queue.is_empty());
    all_can_be_lent(&queue);
}

fn a_forked_child_has_no_part_in_its_parents_loan() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let mut loan = queue.loan(1 << 20).unwrap();
    loan.fill(1);
    let mut loan = Some(loan);
    Child::fork(|| {
        let refused = loan.take().unwrap().publish().unwrap_err().to_string();
        assert!(refused.contains("forked"), "{refused}");
        // What the child takes is not what its parent has.
        let mut own = queue.loan(1 << 20).unwrap();
        own.fill(2);
        own.publish().unwrap();
    })
    .succeed();
    let loan = loan.unwrap();
    assert!(loan.iter().all(|&byte| byte == 1));
    loan.publish().unwrap();
    for n in [2, 1] {
        assert!(
            queue
                .get_ref_timeout(SOON)
                .unwrap()
                .iter()
                .all(|&byte| byte == n)
        );
    }
    all_can_be_lent(&queue);
}

fn the_same_memory_is_lent_again() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    for n in 0..500 {
        let mut loan = queue.loan(1 << 20).unwrap();
        loan.fill(n as u8);
        loan.publish().unwrap();
        assert!(queue.get_ref().unwrap().iter().all(|&byte| byte == n as u8));
    }
    assert!(memory_taken() < 2 << 20, "{} bytes", memory_taken());
    // What is much goes back to the system.
    queue.loan(300 << 20).unwrap().fill(1);
    assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
}

fn who_borrows_gives_back_in_any_order() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    for _ in 0..3 {
        (0..40u8).for_each(|n| {
            queue
                .put(&[n].repeat(700_000 + usize::from(n) * 7000))
                .unwrap()
        });
        let mut borrowed: Vec<_> = (0..40).map(|_| queue.get_ref().unwrap()).collect();
        let mut at = 0;
        while !borrowed.is_empty() {
            at = (at * 7 + 3) % borrowed.len();
            let item = borrowed.swap_remove(at);
            assert!(*item == *item[..1].repeat(item.len()));
            drop(item);
            // A gap is filled with what fits.
            queue.loan(300_000).unwrap().fill(255);
        }
        assert!(memory_taken() < KEPT_MAX, "{} bytes", memory_taken());
    }
    all_can_be_lent(&queue);
}

fn when_all_is_lent_a_loan_waits_for_a_return() {
    setrlimit(Resource::RLIMIT_FSIZE, 2 << 20, 2 << 20).unwrap();
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let refused = queue.loan(2 << 20).unwrap_err();
    let Error::TooLarge { max, .. } = refused else {
        panic!("{refused}")
    };
    let whole = queue.loan(max as usize).unwrap();
    assert!(matches!(queue.try_loan(1), Err(Error::Full)));
    assert!(matches!(queue.loan_timeout(1, NOW), Err(Error::Full)));
    let other = Child::fork(|| assert_eq!(queue.loan(1).unwrap().len(), 1));
    other.wait_until_asleep();
    drop(whole);
    other.succeed();
    // What is put without a loan goes another way meanwhile.
    let whole = queue.loan(max as usize).unwrap();
    queue.put(&vec![1; 100_000]).unwrap();
    assert!(queue.get_timeout(SOON).unwrap() == vec![1; 100_000]);
    drop(whole);
}

fn a_bounded_queue_bounds_what_is_published() {
    let queue = Queue::<Vec<u8>>::bounded(1).unwrap();
    let loans = [0, 1].map(|n| {
        let mut loan = queue.loan(1 << 20).unwrap();
        loan.fill(n);
        loan
    });
    let [first, second] = loans;
    first.publish().unwrap();
    let reader = Child::fork(|| assert_eq!(queue.get_ref().unwrap()[0], 0));
    second.publish().unwrap();
    reader.succeed();
    assert_eq!(queue.get_ref().unwrap()[0], 1);
}

fn a_closed_queue_lends_nothing() {
    let queue = Queue::<Vec<u8>>::new().unwrap();
    let loan = queue.loan(1 << 20).unwrap();
    queue.close();
    assert!(matches!(loan.publish(), Err(Error::Closed)));
    assert!(matches!(queue.loan(1), Err(Error::Closed)));
    assert!(matches!(queue.get_ref(), Err(Error::Closed)));
}

/// A queue lends so many blocks at a time, of any size.
const BLOCKS: usize = 1024;

/// Nothing is lent, and nobody keeps anything: every block of the queue can be had.
#[track_caller]
pub(crate) fn all_can_be_lent<N: multiprocess::sync::Plain>(queue: &Queue<Vec<N>>)
where
    Vec<N>: multiprocess::Serializable,
{
    assert!(queue.is_empty());
    let loans: Vec<_> = (0..BLOCKS).map(|_| queue.try_loan(1)).collect();
    let lost = loans.iter().filter(|loan| loan.is_err()).count();
    assert_eq!(lost, 0, "blocks that nobody gave back");
    assert!(matches!(queue.try_loan(1), Err(Error::Full)));
}
