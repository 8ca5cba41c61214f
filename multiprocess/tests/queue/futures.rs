//! Futures that wait at a queue: whatever becomes of them, every item is accounted for.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use multiprocess::{Error, Queue, Result};
use tokio::task::JoinSet;

use crate::support::{Child, SOON, block_on, eventually};

tests![
    a_future_gets_what_another_process_puts,
    a_future_puts_when_another_process_has_made_room,
    a_thousand_futures_wait_by_one_thread_and_get_an_item_each,
    futures_that_are_dropped_lose_no_item,
    puts_that_are_dropped_have_put_nothing,
    a_close_ends_all_futures,
    an_item_that_cannot_be_put_is_refused,
    futures_of_several_processes_get_each_item_once,
];

/// One look at what may be ready.
pub(crate) fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn a_future_gets_what_another_process_puts() {
    let (queue, asked) = (Queue::new().unwrap(), Queue::new().unwrap());
    let writer = Child::fork(|| {
        for n in 0..100 {
            let () = asked.get_timeout(SOON).unwrap();
            queue.put(&n).unwrap();
        }
    });
    block_on(async {
        for n in 0..100 {
            let mut get = pin!(queue.get_async());
            assert!(poll_once(get.as_mut()).is_pending());
            asked.put(&()).unwrap();
            assert_eq!(get.await, Ok(n));
        }
    });
    writer.succeed();
}

fn a_future_puts_when_another_process_has_made_room() {
    let queue = Queue::bounded(1).unwrap();
    let reader = Child::fork(|| (0..100).for_each(|n| assert_eq!(queue.get_timeout(SOON), Ok(n))));
    block_on(async {
        for n in 0..100 {
            queue.put_async(&n).await.unwrap();
        }
    });
    reader.succeed();
}

/// How many threads of this process wait for futures.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux lists them");
    let names = tasks.map(|task| fs::read_to_string(task.expect("an entry").path().join("comm")));
    names
        .filter(|name| matches!(name, Ok(name) if name == "queue futures\n"))
        .count()
}

fn a_thousand_futures_wait_by_one_thread_and_get_an_item_each() {
    const COUNT: u32 = 1000;
    let (queue, go) = (Queue::new().unwrap(), Queue::new().unwrap());
    let writer = Child::fork(|| {
        let () = go.get_timeout(SOON).unwrap();
        (0..COUNT).for_each(|n| queue.put(&n).unwrap());
    });
    let got = block_on(async {
        let mut gets = JoinSet::new();
        (0..COUNT).for_each(|_| drop(gets.spawn(queue.get_async())));
        tokio::task::yield_now().await;
        eventually("a thread waits", || threads() > 0);
        assert_eq!(threads(), 1);
        go.put(&()).unwrap();
        gets.join_all().await
    });
    let got: Result<BTreeSet<u32>> = got.into_iter().collect();
    assert!(got.unwrap().into_iter().eq(0..COUNT));
    writer.succeed();
}

fn futures_that_are_dropped_lose_no_item() {
    const ITEMS: u64 = 50_000;
    let queue = Queue::bounded(64).unwrap();
    let writer = Child::fork(|| (0..ITEMS).for_each(|n| queue.put(&n).unwrap()));
    let mut next = 0;
    block_on(async {
        while next < ITEMS {
            // One that has waited is dropped, and another that waits behind it.
            let (mut first, mut second) = (queue.get_async(), queue.get_async());
            for get in [&mut first, &mut second] {
                if let Poll::Ready(item) = poll_once(get) {
                    assert_eq!(item, Ok(next));
                    next += 1;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    writer.succeed();
    assert!(queue.is_empty());
}

fn puts_that_are_dropped_have_put_nothing() {
    let queue = Queue::bounded(1).unwrap();
    let reader = Child::fork(|| {
        let items = queue.iter().map(Result::unwrap);
        let items: Vec<u64> = items.collect();
        assert!(items.is_sorted(), "an item came twice, or late");
        assert!(
            items.array_windows().all(|[a, b]| a + 1 == *b),
            "an item is missing"
        );
        assert_eq!(items.len(), 5_000);
    });
    block_on(async {
        let mut next: u64 = 0;
        while next < 5_000 {
            // The item of one that was dropped is put by the next.
            if let Poll::Ready(put) = poll_once(queue.put_async(&next)) {
                put.unwrap();
                next += 1;
            }
            tokio::task::yield_now().await;
        }
    });
    queue.close();
    reader.succeed();
}

fn a_close_ends_all_futures() {
    let (empty, full) = (Queue::<u8>::new().unwrap(), Queue::bounded(1).unwrap());
    full.put(&0).unwrap();
    let wait = Queue::new().unwrap();
    let closing = Child::fork(|| {
        let () = wait.get_timeout(SOON).unwrap();
        empty.close();
        full.close();
    });
    block_on(async {
        let mut ended = JoinSet::new();
        for _ in 0..10 {
            let get = empty.get_async();
            ended.spawn(async { get.await.map(drop) });
            ended.spawn(full.put_async(&1));
        }
        tokio::task::yield_now().await;
        wait.put(&()).unwrap();
        let ended = ended.join_all().await;
        assert!(ended.iter().all(|end| *end == Err(Error::Closed)));
    });
    closing.succeed();
}

fn an_item_that_cannot_be_put_is_refused() {
    let queue = Queue::new().unwrap();
    let inner = Queue::<u8>::new().unwrap();
    let refused = block_on(queue.put_async(&inner));
    let reason = refused.expect_err("a queue is no item").to_string();
    assert!(reason.contains("no data"), "{reason}");
    assert!(queue.is_empty());
}

fn futures_of_several_processes_get_each_item_once() {
    const ITEMS: u64 = 20_000;
    let (queue, seen) = (Queue::bounded(16).unwrap(), Queue::new().unwrap());
    let readers = [(); 3].map(|()| {
        Child::fork(|| {
            block_on(async {
                let mut gets = JoinSet::new();
                for _ in 0..8 {
                    let (queue, seen) = (queue.clone(), seen.clone());
                    gets.spawn(async move {
                        while let Ok(item) = queue.get_async().await {
                            seen.put(&item).unwrap();
                        }
                    });
                }
                gets.join_all().await;
            });
        })
    });
    let writer = Child::fork(|| {
        block_on(async {
            for n in 0..ITEMS {
                queue.put_async(&n).await.unwrap();
            }
        });
        queue.close();
    });
    writer.succeed();
    readers.iter().for_each(Child::succeed);
    let seen: Result<Vec<u64>> = seen.drain().unwrap().collect();
    let mut seen = seen.unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..ITEMS));
}
