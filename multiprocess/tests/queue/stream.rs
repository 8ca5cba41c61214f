//! A queue as a stream: whoever drops it or a wait for its next item, every item is accounted for.

use std::{
    env,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use multiprocess::{Error, Queue, sync::Event};

use crate::support::{Child, SOON, block_on};

tests![
    a_stream_ends_when_the_queue_is_closed_and_empty,
    streams_of_a_queue_share_its_items,
    a_stream_waits_for_what_another_process_puts,
    an_item_that_cannot_be_read_is_an_error_of_its_own,
    cancelled_waits_under_load_lose_and_double_no_item,
];

fn a_stream_ends_when_the_queue_is_closed_and_empty() {
    let queue = Queue::new().unwrap();
    (0..1000_u32).for_each(|n| queue.put(&n).unwrap());
    queue.close();
    let items: Result<Vec<u32>, Error> = block_on(queue.stream().try_collect());
    assert!(items.unwrap().into_iter().eq(0..1000));
    let mut ended = queue.stream();
    assert_eq!(block_on(ended.next()), None);
    assert_eq!(block_on(ended.next()), None);
}

fn streams_of_a_queue_share_its_items() {
    let queue = Queue::new().unwrap();
    let (mut first, mut second) = (queue.stream(), queue.stream());
    // Each has waited for the first item, and is woken for another.
    assert!(first.next().now_or_never().is_none());
    assert!(second.next().now_or_never().is_none());
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    block_on(async {
        assert_eq!(second.next().await, Some(Ok(0)));
        assert_eq!(first.next().await, Some(Ok(1)));
        drop(first);
        assert_eq!(second.next().await, Some(Ok(2)));
    });
    drop(second);
    assert_eq!(queue.get(), Ok(3));
}

fn a_stream_waits_for_what_another_process_puts() {
    let (queue, go) = (Queue::bounded(2).unwrap(), Queue::bounded(1).unwrap());
    let writer = Child::fork(|| {
        for n in 0..200_u32 {
            go.get_timeout(SOON).unwrap();
            queue.put(&n).unwrap();
        }
        queue.close();
    });
    let mut items = queue.stream();
    block_on(async {
        for n in 0..200 {
            assert!(items.next().now_or_never().is_none());
            go.put(&()).unwrap();
            assert_eq!(items.next().await, Some(Ok(n)));
        }
        assert_eq!(items.next().await, None);
    });
    writer.succeed();
}

fn an_item_that_cannot_be_read_is_an_error_of_its_own() {
    // Put reads back what it puts.
    static REFUSES: AtomicBool = AtomicBool::new(false);
    #[derive(serde::Serialize)]
    struct OneWay(u8);
    impl<'de> serde::Deserialize<'de> for OneWay {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u8::deserialize(deserializer)? {
                7 if REFUSES.load(SeqCst) => Err(serde::de::Error::custom("no way back")),
                n => Ok(Self(n)),
            }
        }
    }
    let queue = Queue::new().unwrap();
    for n in [7, 8] {
        queue.put(&OneWay(n)).unwrap();
    }
    REFUSES.store(true, SeqCst);
    let mut items = queue.stream();
    block_on(async {
        let refused = items.next().await;
        assert!(matches!(refused, Some(Err(Error::Serial { .. }))));
        assert_eq!(items.next().await.unwrap().unwrap().0, 8);
    });
}

/// How many waits are cancelled at least: as many as the environment says, for a longer look.
fn cancellations() -> u64 {
    let count = env::var("CANCELLATIONS").ok();
    count.map_or(50_000, |count| count.parse().expect("a number"))
}

const WRITERS: usize = 2;

/// Takes items and cancels waits, polled or woken or neither, until the queue is closed and empty.
/// Returns which numbers came of each writer: how many, and their sum.
fn read(queue: &Queue<(u64, u64)>, cancelled: &AtomicU64, enough: &Event) -> [(u64, u64); WRITERS] {
    let mut got = [(0, 0); WRITERS];
    let mut last = [None; WRITERS];
    let mut context = Context::from_waker(Waker::noop());
    let mut items = queue.stream();
    for turn in 0_u64.. {
        let item = match turn % 3 {
            // A stream that lives on, whose wait is dropped.
            0 => items.next().poll_unpin(&mut context),
            // A stream and a future that are dropped, the last one maybe after it was woken.
            1 => queue.stream().poll_next_unpin(&mut context),
            _ => {
                let mut get = pin!(queue.get_async());
                match get.as_mut().poll(&mut context) {
                    Poll::Pending => {
                        thread::yield_now();
                        Poll::Pending
                    }
                    Poll::Ready(Err(Error::Closed)) => Poll::Ready(None),
                    Poll::Ready(item) => Poll::Ready(Some(item)),
                }
            }
        };
        match item {
            Poll::Pending => {
                if cancelled.fetch_add(1, SeqCst) + 1 >= cancellations() {
                    enough.set();
                }
            }
            Poll::Ready(None) => break,
            Poll::Ready(Some(item)) => {
                let (writer, n) = item.unwrap();
                let place = writer as usize;
                assert!(last[place].is_none_or(|last| last < n), "twice, or late");
                last[place] = Some(n);
                got[place] = (got[place].0 + 1, got[place].1 + n);
            }
        }
    }
    got
}

fn cancelled_waits_under_load_lose_and_double_no_item() {
    let (queue, enough) = (Queue::bounded(64).unwrap(), Event::new().unwrap());
    let put = Queue::new().unwrap();
    let begin = Instant::now();
    let writers = [0, 1].map(|writer| {
        Child::fork(|| {
            let mut n = 0;
            while !enough.is_set() {
                queue.put(&(writer, n)).unwrap();
                n += 1;
            }
            put.put(&(writer, n)).unwrap();
        })
    });
    let cancelled = AtomicU64::new(0);
    let mut got = [(0, 0); WRITERS];
    thread::scope(|scope| {
        let readers = [0; 3].map(|_| scope.spawn(|| read(&queue, &cancelled, &enough)));
        writers.iter().for_each(Child::succeed);
        queue.close();
        for reader in readers {
            for (all, own) in got.iter_mut().zip(reader.join().unwrap()) {
                *all = (all.0 + own.0, all.1 + own.1);
            }
        }
    });
    for _ in 0..WRITERS {
        let (writer, n): (u64, u64) = put.get_timeout(SOON).unwrap();
        let all = (n, n * n.saturating_sub(1) / 2);
        assert_eq!(got[writer as usize], all, "of writer {writer}");
    }
    let items: u64 = got.iter().map(|(count, _)| count).sum();
    assert!(items > 0);
    eprintln!(
        "{cancelled:?} waits cancelled, {items} items in {:?}",
        begin.elapsed()
    );
}
