//! A future that waits is woken by whoever changes something, and not by a look of its own.

use std::fs;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use multiprocess::{Queue, put_off_timed_looks, timed_looks_that_found_something};
use tokio::task::JoinSet;

use crate::futures::poll_once;
use crate::support::kill_points::once_at;
use crate::support::{Child, SOON, block_on, eventually};

tests![
    each_item_wakes_one_future,
    a_batch_wakes_one_future_for_each_item,
    an_item_that_comes_before_the_future_waits_is_seen,
    a_future_that_was_woken_and_is_dropped_wakes_the_next,
    a_future_that_was_woken_and_is_dropped_wakes_another_process,
    a_wake_for_futures_that_have_left_is_passed_on,
    each_item_taken_wakes_one_put,
    a_crowd_of_futures_at_a_small_queue_is_always_woken,
];

/// Tells by its name that a future was woken.
struct Named(&'static str, mpsc::Sender<&'static str>);

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.0);
    }
}

/// Polls a future that has to wait.
fn wait(name: &'static str, woken: &mpsc::Sender<&'static str>, get: Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::new(Named(name, woken.clone())));
    assert!(get.poll(&mut Context::from_waker(&waker)).is_pending());
}

fn each_item_wakes_one_future() {
    put_off_timed_looks();
    let queue = Queue::new().unwrap();
    let (woken, wakes) = mpsc::channel();
    let (mut a, mut b) = (pin!(queue.get_async()), pin!(queue.get_async()));
    wait("a", &woken, a.as_mut());
    wait("b", &woken, b.as_mut());
    queue.put(&1).unwrap();
    assert_eq!(wakes.recv_timeout(SOON), Ok("a"));
    assert!(wakes.try_recv().is_err());
    queue.put(&2).unwrap();
    assert_eq!(wakes.recv_timeout(SOON), Ok("b"));
    assert_eq!(block_on(async { (a.await, b.await) }), (Ok(1), Ok(2)));
}

fn a_batch_wakes_one_future_for_each_item() {
    put_off_timed_looks();
    let queue = Queue::new().unwrap();
    let (woken, wakes) = mpsc::channel();
    let mut gets = ["a", "b", "c"].map(|name| (name, Box::pin(queue.get_async())));
    for (name, get) in &mut gets {
        wait(name, &woken, get.as_mut());
    }
    queue.put_many(&[1, 2]).unwrap();
    let both = [(); 2].map(|()| wakes.recv_timeout(SOON));
    assert_eq!(both, [Ok("a"), Ok("b")]);
    assert!(wakes.try_recv().is_err());
}

fn an_item_that_comes_before_the_future_waits_is_seen() {
    let queue = Queue::new().unwrap();
    let other = queue.clone();
    let came = once_at("get: nothing was there", move || other.put(&1).unwrap());
    assert_eq!(poll_once(queue.get_async()), Poll::Ready(Ok(1)));
    assert!(came.load(SeqCst));
}

fn a_future_that_was_woken_and_is_dropped_wakes_the_next() {
    put_off_timed_looks();
    let queue = Queue::new().unwrap();
    let (woken, wakes) = mpsc::channel();
    let mut first = Box::pin(queue.get_async());
    let mut second = pin!(queue.get_async());
    wait("first", &woken, first.as_mut());
    wait("second", &woken, second.as_mut());
    queue.put(&1).unwrap();
    assert_eq!(wakes.recv_timeout(SOON), Ok("first"));
    drop(first);
    assert_eq!(wakes.recv_timeout(SOON), Ok("second"));
    assert_eq!(block_on(second), Ok(1));
}

/// A process that sleeps at a queue until it has an item. It begins when it is told to, so that this
/// one's thread sleeps there first.
struct LaterReader {
    child: Child,
    go: Queue<()>,
}

impl LaterReader {
    /// Made before this process has a second thread.
    fn of(queue: &Queue<u32>) -> Self {
        let go = Queue::new().unwrap();
        let child = Child::fork(|| {
            put_off_timed_looks();
            let () = go.get_timeout(SOON).unwrap();
            queue.get_timeout(SOON).unwrap();
            assert_eq!(timed_looks_that_found_something(), 0);
        });
        Self { child, go }
    }

    /// Sees to it that the thread of this process sleeps there first, and then the reader.
    fn sleeps_behind_the_thread(&self) {
        eventually("the thread sleeps", thread_sleeps);
        self.go.put(&()).unwrap();
        eventually("the reader has gone on", || self.go.is_empty());
        self.child.wait_until_asleep();
    }
}

/// Whether the thread that waits for futures sleeps.
fn thread_sleeps() -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux lists them");
    tasks.flatten().any(|task| {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        read("comm") == "queue futures\n" && read("stat").contains(") S ")
    })
}

fn a_future_that_was_woken_and_is_dropped_wakes_another_process() {
    let queue = Queue::new().unwrap();
    let reader = LaterReader::of(&queue);
    put_off_timed_looks();
    let (woken, wakes) = mpsc::channel();
    let mut get = Box::pin(queue.get_async());
    wait("this", &woken, get.as_mut());
    reader.sleeps_behind_the_thread();
    queue.put(&1).unwrap();
    assert_eq!(wakes.recv_timeout(SOON), Ok("this"));
    drop(get);
    reader.child.succeed();
}

fn a_wake_for_futures_that_have_left_is_passed_on() {
    let queue = Queue::new().unwrap();
    let reader = LaterReader::of(&queue);
    put_off_timed_looks();
    let (woken, wakes) = mpsc::channel();
    let mut get = Box::pin(queue.get_async());
    wait("left", &woken, get.as_mut());
    reader.sleeps_behind_the_thread();
    drop(get);
    queue.put(&1).unwrap();
    reader.child.succeed();
    assert!(wakes.try_recv().is_err());
}

fn each_item_taken_wakes_one_put() {
    put_off_timed_looks();
    let queue = Queue::bounded(1).unwrap();
    queue.put(&0).unwrap();
    block_on(async {
        let mut puts = JoinSet::new();
        (1..=8).for_each(|n| drop(puts.spawn(queue.put_async(&n))));
        tokio::task::yield_now().await;
        for n in 0..=8 {
            assert_eq!(queue.get_async().await, Ok(n));
        }
        puts.join_all()
            .await
            .into_iter()
            .for_each(|put| put.unwrap());
    });
}

fn a_crowd_of_futures_at_a_small_queue_is_always_woken() {
    const EACH: u64 = 1000;
    for maxsize in [1, 3] {
        let queue = Queue::<u64>::bounded(maxsize).unwrap();
        let child = |work: fn(&Queue<u64>, &mut JoinSet<()>)| {
            Child::fork(|| {
                put_off_timed_looks();
                block_on(async {
                    let mut futures = JoinSet::new();
                    (0..4).for_each(|_| work(&queue, &mut futures));
                    futures.join_all().await;
                });
                assert_eq!(timed_looks_that_found_something(), 0);
            })
        };
        let readers = [(); 2].map(|()| {
            child(|queue, futures| {
                let queue = queue.clone();
                futures.spawn(async move {
                    for _ in 0..EACH {
                        queue.get_async().await.unwrap();
                    }
                });
            })
        });
        let writers = [(); 2].map(|()| {
            child(|queue, futures| {
                let queue = queue.clone();
                futures.spawn(async move {
                    for n in 0..EACH {
                        queue.put_async(&n).await.unwrap();
                    }
                });
            })
        });
        writers.iter().for_each(Child::succeed);
        readers.iter().for_each(Child::succeed);
    }
}
