//! Claims of CPython's own tests of `multiprocessing` that no other test here makes. The page
//! `tests_of_python` has all of them.

use std::{
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use multiprocess::{
    Connection, Error, Pool, Process, Queue, pipe,
    sync::{Barrier, Event},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

#[macro_use]
mod support;

use support::{Child, SOON, all_end, eventually, wait_until_asleep};

tests![
    what_was_moved_into_a_function_is_dropped_here_once_its_process_runs,
    an_interrupt_does_not_end_the_zygote,
    a_queue_counts_its_items_at_each_moment,
    an_event_shows_whether_it_is_set,
    a_barrier_of_one_lets_it_pass_at_once,
    results_come_in_the_order_of_their_arguments_by_every_call,
    maps_of_nothing_give_nothing_at_once,
    an_iterator_of_imap_that_panics_leaves_the_pool_whole,
    results_that_cannot_be_sent_cost_no_worker,
    a_pool_closed_before_its_workers_are_replaced_does_all_tasks,
    a_program_with_a_pool_in_a_static_ends_well_and_leaves_no_process,
    a_pool_of_two_hundred_workers_works,
    an_end_of_a_pipe_goes_through_another_pipe,
    a_signal_that_is_handled_ends_no_receive,
];

fn main() {
    support::main(TESTS)
}

fn square(n: u64) -> u64 {
    n * n
}

/// `test_lose_target_ref`
fn what_was_moved_into_a_function_is_dropped_here_once_its_process_runs() {
    let gate = Queue::<()>::new().unwrap();
    let value = Arc::new(7);
    let moved = Arc::clone(&value);
    let process = Process::spawn(|| {
        let seven = *{ moved };
        gate.get().unwrap();
        seven
    });
    assert_eq!(Arc::strong_count(&value), 1);
    gate.put(&()).unwrap();
    assert_eq!(process.unwrap().join().unwrap(), 7);
}

/// `test_forkserver_sigint`
fn an_interrupt_does_not_end_the_zygote() {
    let parent = |()| std::os::unix::process::parent_id();
    let zygote = Process::spawn_with(parent, ()).unwrap().join().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        kill(Pid::from_raw(zygote.cast_signed()), signal).unwrap();
        let same = Process::spawn_with(parent, ()).unwrap().join().unwrap();
        assert_eq!(same, zygote);
    }
}

/// `test_qsize`, and `empty()` and `full()` of `test_put` and `test_get`
fn a_queue_counts_its_items_at_each_moment() {
    let queue = Queue::bounded(2).unwrap();
    let look = || (queue.len(), queue.is_empty(), queue.is_full());
    assert_eq!(look(), (0, true, false));
    queue.put(&1).unwrap();
    assert_eq!(look(), (1, false, false));
    Process::spawn(|| queue.put(&2).unwrap())
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(look(), (2, false, true));
    assert_eq!((queue.get(), queue.get()), (Ok(1), Ok(2)));
    assert_eq!(look(), (0, true, false));
}

/// `_TestEvent.test_repr`
fn an_event_shows_whether_it_is_set() {
    let event = Event::new().unwrap();
    let before = format!("{event:?}");
    event.set();
    let after = format!("{event:?}");
    assert!(
        before.contains("false") && after.contains("true"),
        "{before} {after}"
    );
}

/// `_TestBarrier.test_single_thread`
fn a_barrier_of_one_lets_it_pass_at_once() {
    let barrier = Barrier::new(1).unwrap();
    assert_eq!(
        [(); 3].map(|()| barrier.wait_timeout(SOON)),
        [Ok(0), Ok(0), Ok(0)]
    );
}

/// `test_apply`, `test_map`, `test_starmap`, `test_starmap_async`, `test_map_async`, `test_async`,
/// `test_imap` and `test_imap_unordered`
fn results_come_in_the_order_of_their_arguments_by_every_call() {
    let pool = Pool::new(4).unwrap();
    let squares: Vec<u64> = (0..1000).map(square).collect();
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert_eq!(pool.apply_async(square, 7).unwrap().get().unwrap(), 49);
    assert_eq!(pool.map(square, 0..1000).unwrap(), squares);
    assert_eq!(pool.map_chunked(square, 0..1000, 20).unwrap(), squares);
    assert_eq!(
        pool.map_async(square, 0..1000).unwrap().get().unwrap(),
        squares
    );
    let pairs = || (0..1000).zip(0..1000);
    let product = |(a, b): (u64, u64)| a * b;
    assert_eq!(
        pool.starmap(|a: u64, b: u64| a * b, pairs()).unwrap(),
        squares
    );
    assert_eq!(
        pool.map_async(product, pairs()).unwrap().get().unwrap(),
        squares
    );
    assert!(
        pool.imap(square, 0..1000)
            .map(Result::unwrap)
            .eq(squares.iter().copied())
    );
    let chunked = pool.imap_chunked(square, 0..1000, 100);
    assert!(chunked.map(Result::unwrap).eq(squares.iter().copied()));
    let unordered = pool.imap_unordered(square, 0..1000);
    let mut all: Vec<u64> = unordered.map(Result::unwrap).collect();
    all.sort_unstable();
    assert_eq!(all, squares);
}

/// `test_map_chunksize` and `test_empty_iterable`
fn maps_of_nothing_give_nothing_at_once() {
    let pool = Pool::new(1).unwrap();
    let nothing = Vec::<u64>::new;
    assert_eq!(pool.map(square, nothing()), Ok(nothing()));
    let asynchronous = pool.map_async_chunked(square, nothing(), 1).unwrap();
    assert_eq!(asynchronous.get_timeout(SOON), Ok(nothing()));
    let pairs = Vec::<(u64, u64)>::new();
    assert_eq!(pool.starmap(|a: u64, b: u64| a * b, pairs), Ok(nothing()));
    assert_eq!(pool.imap(square, nothing()).next(), None);
    assert_eq!(pool.imap_unordered(square, nothing()).next(), None);
}

/// `test_imap_handle_iterable_exception` and `test_imap_unordered_handle_iterable_exception`
fn an_iterator_of_imap_that_panics_leaves_the_pool_whole() {
    let pool = Pool::new(2).unwrap();
    let breaks = |at: u64| (0..10).inspect(move |&n| assert_ne!(n, at, "expected"));
    for at in [0, 3] {
        let all = || pool.imap(square, breaks(at)).count();
        assert!(panic::catch_unwind(AssertUnwindSafe(all)).is_err());
        let all = || pool.imap_unordered(square, breaks(at)).count();
        assert!(panic::catch_unwind(AssertUnwindSafe(all)).is_err());
        assert_eq!(pool.apply(square, 9).unwrap(), 81);
    }
    pool.join().unwrap();
}

/// A value that cannot be serialised.
#[derive(Deserialize)]
struct Refused;

impl Serialize for Refused {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("expected"))
    }
}

/// `test_unpickleable_result`
fn results_that_cannot_be_sent_cost_no_worker() {
    let pool = Pool::new(2).unwrap();
    eventually("both workers", || pool.worker_pids().len() == 2);
    let mut before = pool.worker_pids();
    for _ in 0..20 {
        let refused = pool.apply(|()| Refused, ());
        assert!(matches!(refused, Err(Error::Serial { .. })));
    }
    before.extend(pool.worker_pids());
    before.sort_unstable();
    before.dedup();
    assert_eq!(before.len(), 2, "{before:?}");
}

/// `test_pool_worker_lifetime_early_close`
fn a_pool_closed_before_its_workers_are_replaced_does_all_tasks() {
    let pool = Pool::builder()
        .workers(3)
        .max_tasks_per_child(1)
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|n| pool.apply_async(square, n).unwrap())
        .collect();
    pool.close();
    pool.join().unwrap();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get().unwrap(), square(n));
    }
}

/// `test_worker_finalization_via_atexit_handler_of_multiprocessing`
fn a_program_with_a_pool_in_a_static_ends_well_and_leaves_no_process() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    let pids = Queue::<Vec<u32>>::new().unwrap();
    let program = Child::fork(|| {
        let pool = POOL.get_or_init(|| Pool::new(2).unwrap());
        pool.map(square, 0..10).unwrap();
        let mut all = pool.worker_pids();
        all.push(pool.supervisor_pid());
        pids.put(&all).unwrap();
        process::exit(0);
    });
    program.succeed();
    all_end(&pids.get_timeout(SOON).unwrap());
}

/// `MiscTestCase.test_large_pool`
fn a_pool_of_two_hundred_workers_works() {
    let pool = Pool::new(200).unwrap();
    let index = |_: u64| {
        thread::sleep(Duration::from_millis(1));
        multiprocess::pool::worker_index().unwrap()
    };
    let indices = pool.map_chunked(index, 0..1000, 1).unwrap();
    assert_eq!(indices.len(), 1000);
    assert!(indices.into_iter().all(|index| index < 200));
    // Some have not begun.
    eventually("all workers", || pool.worker_pids().len() == 200);
}

/// `_TestPicklingConnections.test_access`
fn an_end_of_a_pipe_goes_through_another_pipe() {
    type Inner = Connection<String, String>;
    let (ours, theirs) = pipe::<Inner, ()>().unwrap();
    let answer = |theirs: Connection<(), Inner>| {
        while let Ok(inner) = theirs.recv() {
            let asked = inner.recv().unwrap();
            inner.send(&format!("{asked}!")).unwrap();
        }
    };
    let process = Process::spawn_with(answer, theirs).unwrap();
    for text in ["all", "is well"] {
        let (near, far) = pipe::<String, String>().unwrap();
        ours.send(&far).unwrap();
        drop(far);
        near.send(&text.to_string()).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), format!("{text}!"));
    }
    drop(ours);
    process.join().unwrap();
}

/// `TestIgnoreEINTR.test_ignore`
fn a_signal_that_is_handled_ends_no_receive() {
    let handled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&handled)).unwrap();
    let (ours, theirs) = pipe::<(), u64>().unwrap();
    let waiting = Pid::this();
    let process = Process::spawn(move || {
        wait_until_asleep(waiting.as_raw().cast_unsigned());
        kill(waiting, Signal::SIGUSR1).unwrap();
        wait_until_asleep(waiting.as_raw().cast_unsigned());
        theirs.send(&7).unwrap();
    });
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 7);
    assert!(handled.load(SeqCst));
    process.unwrap().join().unwrap();
}
