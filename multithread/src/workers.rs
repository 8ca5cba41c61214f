//! Several threads that take their tasks from one channel.
//!
//! The channel is crossbeam's: each thread has a receiver of its own to the same tasks. The receiver
//! of [`std::sync::mpsc`] cannot be cloned; threads would have to queue for a lock around it.

use std::num::NonZero;
use std::{io, panic, thread};

use crossbeam::channel;

/// Applies `f` to each item on so many threads, and returns the results in the items' order.
///
/// A thread takes the next item as soon as it is done with one, so items that take longer keep only
/// one thread busy. The threads are called `worker-0`, `worker-1` and so on, and are gone when this
/// returns. `items` is drawn from on the calling thread, never far ahead of the workers. Like
/// Python's `ThreadPool.map`, except that threads here use all processors.
///
/// # Errors
///
/// Fails when the system refuses to start a thread; some items may have been worked on by then.
///
/// # Panics
///
/// Panics with the payload of `f` where `f` panicked. The other items are worked on first, unless
/// every thread has panicked.
///
/// # Examples
///
/// ```
/// use std::num::NonZero;
///
/// let three = NonZero::new(3).expect("3 is not 0");
/// let squares = multithread::workers::map(three, 1..=5, |n| n * n)?;
/// assert_eq!(squares, [1, 4, 9, 16, 25]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn map<T: Send, R: Send>(
    threads: NonZero<usize>,
    items: impl IntoIterator<Item = T>,
    f: impl Fn(T) -> R + Sync,
) -> io::Result<Vec<R>> {
    let f = &f;
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        // The sender is of this closure: however it is left, the workers see the channel's end.
        let (tasks, queue) = channel::bounded(threads.get());
        let mut workers = Vec::new();
        for number in 0..threads.get() {
            let queue: channel::Receiver<(usize, T)> = queue.clone();
            let work = move || -> Vec<_> { queue.iter().map(|(at, item)| (at, f(item))).collect() };
            let name = format!("worker-{number}");
            workers.push(
                thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, work)?,
            );
        }
        // Only the workers receive: when the last of them has panicked, sending must fail, not wait.
        drop(queue);
        for task in items.into_iter().enumerate() {
            if tasks.send(task).is_err() {
                break;
            }
        }
        drop(tasks);
        let done = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker
                .join()
                .unwrap_or_else(|payload| panic::resume_unwind(payload))
        };
        Ok::<_, io::Error>(workers.into_iter().flat_map(done).collect())
    })?;
    results.sort_unstable_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Barrier, mpsc};
    use std::time::Duration;

    use super::*;

    fn threads(count: usize) -> NonZero<usize> {
        NonZero::new(count).expect("tests ask for a thread at least")
    }

    /// Panics without a message on standard error.
    fn fail<T>(payload: &'static str) -> T {
        panic::resume_unwind(Box::new(payload))
    }

    /// What `f` returned or panicked with; a test that would hang fails instead.
    fn in_time<R: Send + 'static>(f: fn() -> R) -> thread::Result<R> {
        let (done, wait) = mpsc::channel();
        thread::spawn(move || done.send(panic::catch_unwind(f)));
        wait.recv_timeout(Duration::from_secs(60))
            .expect("it ends within a minute")
    }

    #[test]
    fn results_come_in_the_order_of_the_items_though_the_first_ends_last() {
        let results = in_time(|| {
            let last = Barrier::new(2);
            map(threads(2), 0..100, |n| {
                if n == 0 || n == 99 {
                    last.wait();
                }
                n
            })
        });
        let results = results.expect("no panic").expect("threads start");
        assert_eq!(results, Vec::from_iter(0..100));
    }

    #[test]
    fn every_thread_takes_tasks_and_has_a_name() {
        let names = in_time(|| {
            let all = Barrier::new(3);
            map(threads(3), 0..3, |_| {
                all.wait();
                thread::current().name().map(str::to_owned)
            })
        });
        let names = names.expect("no panic").expect("threads start");
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            HashSet::from_iter(names),
            HashSet::from(["worker-0", "worker-1", "worker-2"].map(named))
        );
    }

    #[test]
    fn no_items_give_no_results() {
        let results = in_time(|| map(threads(4), [], |n: u8| n));
        assert_eq!(results.expect("no panic").expect("threads start"), []);
    }

    #[test]
    fn a_panic_reaches_the_caller_with_its_payload() {
        let caught = in_time(|| {
            map(
                threads(3),
                0..1000,
                |n| {
                    if n == 7 { fail("seven") } else { n }
                },
            )
        });
        let payload = caught.expect_err("one item panics");
        assert_eq!(payload.downcast_ref(), Some(&"seven"));
    }

    #[test]
    fn endless_items_end_when_every_thread_has_panicked() {
        let caught = in_time(|| map(threads(3), 0_u64.., |_| fail::<()>("each")));
        let payload = caught.expect_err("every item panics");
        assert_eq!(payload.downcast_ref(), Some(&"each"));
    }

    #[test]
    fn a_panic_while_items_are_drawn_does_not_leave_the_workers_waiting() {
        let caught = in_time(|| {
            let items = (0..10).map(|n| if n == 5 { fail("drawn") } else { n });
            map(threads(2), items, |n: u32| n)
        });
        let payload = caught.expect_err("the sixth item panics");
        assert_eq!(payload.downcast_ref(), Some(&"drawn"));
    }
}
