//! What holds when a thread ends: its destructors still send, receive and start, as one does that
//! writes out what was gathered.

use std::{cell::Cell, sync::mpsc, thread};

use multiprocess::{Pool, Process, Queue, pipe};

use crate::support::SOON;

tests![
    a_destructor_of_a_thread_puts_and_gets,
    a_destructor_of_a_thread_sends_and_receives,
    a_destructor_of_a_thread_starts_processes_and_gives_tasks,
];

/// Does its work when its thread ends.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}

thread_local! {
    static AT_END: Cell<AtEnd> = const { Cell::new(AtEnd(None)) };
}

/// Does the work in a thread and once more when that ends, later than what the work has left there. What
/// it returned, both times.
fn twice<T: Send + 'static>(work: impl Fn() -> T + Send + Clone + 'static) -> [T; 2] {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Destructors run in the order in which their values were first used, the last one first.
        AT_END.set(AtEnd(None));
        let send = move || sender.send(work()).unwrap();
        send();
        AT_END.set(AtEnd(Some(Box::new(send))));
    });
    let results = [receiver.recv_timeout(SOON), receiver.recv_timeout(SOON)];
    thread.join().unwrap();
    results.map(Result::unwrap)
}

fn a_destructor_of_a_thread_puts_and_gets() {
    let queue = Queue::<Vec<String>>::new().unwrap();
    let item = |len| vec!["a".repeat(len); 3];
    let work = move || {
        [1, 100_000].map(|len| {
            queue.put(&item(len)).unwrap();
            queue.get_timeout(SOON).unwrap() == item(len)
        })
    };
    assert_eq!(twice(work.clone()), [[true; 2]; 2]);
    let fresh = || {
        let queue = Queue::new().unwrap();
        queue.put(&7).unwrap();
        queue.get_timeout(SOON)
    };
    assert_eq!(twice(fresh), [Ok(7), Ok(7)]);
}

fn a_destructor_of_a_thread_sends_and_receives() {
    let work = || {
        let (ours, theirs) = pipe::<Queue<u32>, Queue<u32>>().unwrap();
        // It takes a descriptor along.
        ours.send(&Queue::new().unwrap()).unwrap();
        let queue = theirs.recv().unwrap();
        queue.put(&7).unwrap();
        queue.get_timeout(SOON)
    };
    assert_eq!(twice(work), [Ok(7), Ok(7)]);
}

fn a_destructor_of_a_thread_starts_processes_and_gives_tasks() {
    let work = || {
        let queue = Queue::<u32>::new().unwrap();
        let put = |queue: Queue<u32>| queue.put(&7).unwrap();
        let child = Process::spawn_with(put, queue.clone()).unwrap();
        child.join().unwrap();
        let pool = Pool::new(1).unwrap();
        let sum = pool.apply(|n: u32| n + 1, queue.get_timeout(SOON).unwrap());
        (sum, pool.map(|n: u32| n + 1, [1, 2]))
    };
    let both = twice(work);
    assert!(
        both.iter().all(|it| *it == (Ok(8), Ok(vec![2, 3]))),
        "{both:?}"
    );
}
