//! Many items in one call: what `put_many`, `get_many` and `drain` promise while nobody is killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use multiprocess::{Error, Queue};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::support::{Child, NOW, SOON};

tests![
    batches_of_every_length_come_out_in_order_through_all_rings,
    a_batch_takes_at_most_so_many_and_no_more_than_there_are,
    every_item_of_a_batch_reaches_exactly_one_reader,
    a_batch_waits_for_room_item_by_item,
    who_does_not_wait_hears_how_many_found_room,
    a_batch_with_a_wrong_item_is_refused_as_a_whole,
    an_item_that_cannot_be_read_leaves_the_others_of_its_batch,
    a_closed_queue_gives_its_last_batch_and_then_says_so,
    every_item_of_a_batch_counts_for_join,
];

fn text(number: usize) -> String {
    let len = match number % 50 {
        0 => 200_000,
        1..10 => 3000,
        rest => rest % 12,
    };
    format!("{number}:{}", "x".repeat(len))
}

fn batches_of_every_length_come_out_in_order_through_all_rings() {
    let queue = Queue::new().unwrap();
    let (mut put, mut got) = (0, 0);
    for len in [0, 1, 2, 63, 256, 257, 1000, 3, 700] {
        let items: Vec<String> = (put..put + len).map(text).collect();
        queue.put_many(&items).unwrap();
        put += len;
        queue.put(&text(put)).unwrap();
        put += 1;
        // Fewer come out than went in, so that the rings fill up.
        for item in queue.get_many(len / 2).unwrap() {
            assert!(item.unwrap() == text(got));
            got += 1;
        }
        assert_eq!(queue.len(), put - got);
        assert!(queue.get().unwrap() == text(got));
        got += 1;
    }
    let rest = queue.drain().unwrap();
    assert_eq!(rest.len(), put - got);
    for item in rest {
        assert!(item.unwrap() == text(got));
        got += 1;
    }
    assert_eq!((got, queue.len()), (put, 0));
}

fn a_batch_takes_at_most_so_many_and_no_more_than_there_are() {
    let queue = Queue::new().unwrap();
    queue.put_many(&[1, 2, 3]).unwrap();
    assert_eq!(queue.get_many(0).unwrap().len(), 0);
    let two: Vec<_> = queue.get_many(2).unwrap().map(Result::unwrap).collect();
    let one: Vec<_> = queue.get_many(9).unwrap().map(Result::unwrap).collect();
    assert_eq!((two, one), (vec![1, 2], vec![3]));
    assert!(matches!(queue.get_many_timeout(9, NOW), Err(Error::Empty)));
    assert_eq!(queue.drain().unwrap().len(), 0);
    let reader = Child::fork(|| assert_eq!(queue.get_many(9).unwrap().len(), 1));
    reader.wait_until_asleep();
    queue.put(&4).unwrap();
    reader.succeed();
}

fn every_item_of_a_batch_reaches_exactly_one_reader() {
    for maxsize in [0, 1, 100] {
        let (items, seen) = (Queue::bounded(maxsize).unwrap(), Queue::new().unwrap());
        let readers = [(); 3].map(|()| {
            Child::fork(|| {
                loop {
                    match items.get_many(64) {
                        Ok(batch) => {
                            let batch: Vec<u32> = batch.map(Result::unwrap).collect();
                            seen.put_many(&batch).unwrap();
                        }
                        Err(Error::Closed) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        let writers = [0, 1, 2].map(|writer| {
            let items = &items;
            Child::fork(move || {
                for start in (0..9000).step_by(90) {
                    let batch: Vec<u32> = (start..start + 90).map(|n| n * 3 + writer).collect();
                    items.put_many(&batch).unwrap();
                }
            })
        });
        writers.iter().for_each(Child::succeed);
        items.close();
        readers.iter().for_each(Child::succeed);
        let seen: Vec<u32> = seen.drain().unwrap().map(Result::unwrap).collect();
        assert_eq!(seen.len(), 27_000);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 27_000);
    }
}

fn a_batch_waits_for_room_item_by_item() {
    let queue = Queue::bounded(2).unwrap();
    let writer = Child::fork(|| queue.put_many(&[0, 1, 2, 3, 4, 5, 6]).unwrap());
    writer.wait_until_asleep();
    assert_eq!(queue.len(), 2);
    for n in 0..7 {
        assert_eq!(queue.get_timeout(SOON).unwrap(), n);
    }
    writer.succeed();
}

fn who_does_not_wait_hears_how_many_found_room() {
    let queue = Queue::bounded(3).unwrap();
    assert_eq!(queue.try_put_many(&[1, 2]).unwrap(), 2);
    assert_eq!(queue.try_put_many(&[3, 4]).unwrap(), 1);
    assert!(matches!(queue.try_put_many(&[4]), Err(Error::Full)));
    assert_eq!(queue.try_put_many(&[]).unwrap(), 0);
    queue.close();
    assert!(matches!(queue.try_put_many(&[4]), Err(Error::Closed)));
    assert!(matches!(queue.put_many(&[4]), Err(Error::Closed)));
    let left: Vec<i32> = queue.drain().unwrap().map(Result::unwrap).collect();
    assert_eq!(left, [1, 2, 3]);
}

fn a_batch_with_a_wrong_item_is_refused_as_a_whole() {
    #[derive(Serialize, Deserialize)]
    struct Lost {
        #[serde(skip_serializing_if = "is_seven")]
        number: u32,
    }
    fn is_seven(number: &u32) -> bool {
        *number == 7
    }
    let queue = Queue::new().unwrap();
    let items = [6, 7, 8].map(|number| Lost { number });
    assert!(matches!(queue.put_many(&items), Err(Error::Serial { .. })));
    assert!(queue.is_empty());
    assert_eq!(queue.try_put_many(&items[..1]).unwrap(), 1);
}

fn an_item_that_cannot_be_read_leaves_the_others_of_its_batch() {
    static REFUSES_ODD: AtomicBool = AtomicBool::new(false);
    #[derive(Debug, Serialize)]
    struct Number(u32);
    impl<'de> Deserialize<'de> for Number {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u32::deserialize(from)?;
            if number % 2 == 1 && REFUSES_ODD.load(SeqCst) {
                return Err(D::Error::custom("an odd number"));
            }
            Ok(Self(number))
        }
    }
    let queue = Queue::new().unwrap();
    queue.put_many(&[2, 3, 4].map(Number)).unwrap();
    REFUSES_ODD.store(true, SeqCst);
    let batch = queue.get_many(9).unwrap();
    let read: Vec<bool> = batch.map(|item| item.is_ok()).collect();
    assert_eq!(read, [true, false, true]);
}

fn a_closed_queue_gives_its_last_batch_and_then_says_so() {
    let queue = Queue::new().unwrap();
    queue.put_many(&[1, 2]).unwrap();
    queue.close();
    assert_eq!(queue.get_many(1).unwrap().next().unwrap().unwrap(), 1);
    assert_eq!(queue.get_many(9).unwrap().len(), 1);
    assert!(matches!(queue.get_many(9), Err(Error::Closed)));
    assert_eq!(queue.drain().unwrap().len(), 0);
}

fn every_item_of_a_batch_counts_for_join() {
    let queue = Queue::new().unwrap();
    queue.put_many(&[0; 700]).unwrap();
    let reader = Child::fork(|| {
        let batch = queue.get_many(600).unwrap();
        batch.take(5).for_each(|_| queue.task_done().unwrap());
    });
    reader.succeed();
    let rest = queue.drain().unwrap();
    // They are in our own hands, so that nothing is certain yet.
    assert!(matches!(queue.join_timeout(NOW), Err(Error::TimedOut)));
    rest.for_each(|_| queue.task_done().unwrap());
    assert!(matches!(
        queue.join_timeout(SOON),
        Err(Error::ItemsLost(595))
    ));
}
