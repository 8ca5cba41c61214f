//! What holds when processes are killed. The numbers r01 to r30 are Python's ways to hang or to
//! lose items in that case, each as it was reproduced with CPython 3.11.

use multiprocess::{Error, Queue};

use crate::support::{Child, NOW, SOON, kills};

tests![
    r02_a_killed_idle_worker_is_noticed_by_nobody_else,
    r03_a_reader_killed_in_get_takes_nothing_with_it,
    r04_a_writer_killed_in_the_middle_of_an_item_holds_up_nobody,
    r05_a_writer_exits_before_its_items_are_read,
    r07_the_lock_of_a_killed_owner_goes_to_the_next,
    r08_a_waiter_that_was_killed_holds_up_nobody_who_wakes_it,
    r27_a_worker_killed_while_sending_a_large_result_is_no_obstacle,
    join_says_how_many_items_died_with_their_readers,
    join_waits_for_a_living_reader,
    a_reader_that_exits_with_items_in_hand_has_lost_them,
    the_lost_can_be_made_good,
    the_dead_leave_their_place_to_others,
    who_has_the_place_of_a_dead_reader_does_not_have_its_items,
];

/// Python: the replacement waits for ever for the lock that the dead worker held while it waited.
fn r02_a_killed_idle_worker_is_noticed_by_nobody_else() {
    let (tasks, results) = (Queue::<u32>::new().unwrap(), Queue::new().unwrap());
    let worker = || {
        tasks
            .iter()
            .for_each(|task| results.put(&(task.unwrap() * 2)).unwrap())
    };
    let first = Child::fork(worker);
    first.wait_until_asleep();
    first.kill();
    let _second = Child::fork(worker);
    tasks.put(&21).unwrap();
    assert_eq!(results.get_timeout(SOON).unwrap(), 42);
}

/// Python: the other readers get `Empty` for ever, while `qsize()` is 1.
fn r03_a_reader_killed_in_get_takes_nothing_with_it() {
    let queue = Queue::<u32>::new().unwrap();
    for n in 0..kills(20) as u32 {
        let victim = Child::fork(|| take(1, &queue));
        victim.wait_until_asleep();
        victim.kill();
        queue.put(&n).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), n);
    }
}

/// Python: `get(timeout=2)` blocks for ever on half an item, and so does the next writer.
fn r04_a_writer_killed_in_the_middle_of_an_item_holds_up_nobody() {
    let (queue, started) = (Queue::<String>::new().unwrap(), Queue::new().unwrap());
    for round in 0..kills(20) {
        let writer = Child::fork(|| {
            let large = "x".repeat(16 << 20);
            started.put(&()).unwrap();
            loop {
                queue.put(&large).unwrap();
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(500 * (round % 20)));
        writer.kill();
        while let Ok(item) = queue.try_get() {
            assert!(item.len() == 16 << 20 && item.bytes().all(|byte| byte == b'x'));
        }
        assert!(matches!(queue.get_timeout(NOW), Err(Error::Empty)));
        queue.put(&"whole".to_string()).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), "whole");
    }
}

/// Python: the child cannot exit before its feeder thread has sent everything, and the parent that
/// joins it first waits for ever.
fn r05_a_writer_exits_before_its_items_are_read() {
    let queue = Queue::<String>::new().unwrap();
    let writer = Child::fork(|| (0..1000).for_each(|_| queue.put(&"x".repeat(10_000)).unwrap()));
    writer.succeed();
    (0..1000).for_each(|_| assert_eq!(queue.try_get().unwrap().len(), 10_000));
}

/// Python: `acquire()` gives False for ever. Here the owners are killed at random moments of a loop
/// that holds one of the two locks most of the time.
fn r07_the_lock_of_a_killed_owner_goes_to_the_next() {
    let (queue, started) = (Queue::<u64>::new().unwrap(), Queue::new().unwrap());
    for round in 0..kills(200) {
        let owner = Child::fork(|| {
            started.put(&()).unwrap();
            for n in 0.. {
                queue.put(&n).unwrap();
                queue.get().unwrap();
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(3 * (round % 200)));
        owner.kill();
        while queue.get_timeout(std::time::Duration::ZERO).is_ok() {}
        queue.put_timeout(&round, SOON).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), round);
    }
}

/// Python: `Event.set()` waits for ever for an answer of the dead.
fn r08_a_waiter_that_was_killed_holds_up_nobody_who_wakes_it() {
    let (items, room) = (Queue::<u32>::new().unwrap(), Queue::bounded(1).unwrap());
    let in_hand = Queue::new().unwrap();
    room.put(&0).unwrap();
    for n in 1..=20 {
        in_hand.put(&n).unwrap();
        in_hand.get().unwrap();
        let waiters = [
            Child::fork(|| take(1, &items)),
            Child::fork(|| take(1, &items)),
            Child::fork(|| room.put(&n).unwrap()),
            Child::fork(|| in_hand.join().unwrap()),
        ];
        waiters.iter().for_each(Child::wait_until_asleep);
        waiters.iter().for_each(Child::kill);
        let survivors = [
            Child::fork(|| take(1, &items)),
            Child::fork(|| room.put_timeout(&n, SOON).unwrap()),
            Child::fork(|| in_hand.join().unwrap()),
        ];
        survivors.iter().for_each(Child::wait_until_asleep);
        items.put_timeout(&n, SOON).unwrap();
        assert_eq!(room.get_timeout(SOON).unwrap(), n - 1);
        in_hand.task_done().unwrap();
        survivors.iter().for_each(Child::succeed);
    }
}

/// Python: half a message stays in the pipe and the dead worker keeps the write lock.
fn r27_a_worker_killed_while_sending_a_large_result_is_no_obstacle() {
    let (tasks, results) = (
        Queue::<char>::new().unwrap(),
        Queue::<String>::new().unwrap(),
    );
    let worker = || {
        for task in &tasks {
            results
                .put(&task.unwrap().to_string().repeat(8 << 20))
                .unwrap();
        }
    };
    for round in 0..10 {
        let victim = Child::fork(worker);
        tasks.put(&'a').unwrap();
        while !tasks.is_empty() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(round));
        victim.kill();
        let survivor = Child::fork(worker);
        tasks.put(&'b').unwrap();
        let mut result = results.get_timeout(SOON).unwrap();
        if result.starts_with('a') {
            result = results.get_timeout(SOON).unwrap();
        }
        assert!(result.len() == 8 << 20 && result.bytes().all(|byte| byte == b'b'));
        survivor.kill();
    }
}

fn take(count: usize, queue: &Queue<u32>) {
    for _ in 0..count {
        queue.get().unwrap();
    }
}

/// A reader that takes so many items, says so, and then waits to be killed.
fn reader_with(count: usize, queue: &Queue<u32>) -> Child {
    let holds = Queue::new().unwrap();
    let reader = Child::fork(|| {
        take(count, queue);
        holds.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    holds.get_timeout(SOON).unwrap();
    reader
}

fn join_says_how_many_items_died_with_their_readers() {
    let queue = Queue::new().unwrap();
    (0..5).for_each(|n| queue.put(&n).unwrap());
    let readers = [reader_with(1, &queue), reader_with(2, &queue)];
    take(2, &queue);
    readers.iter().for_each(Child::kill);
    // Two items are in our own hands, so that nothing is certain yet.
    assert!(matches!(queue.join_timeout(NOW), Err(Error::TimedOut)));
    (0..2).for_each(|_| queue.task_done().unwrap());
    assert!(matches!(queue.join_timeout(SOON), Err(Error::ItemsLost(3))));
}

fn join_waits_for_a_living_reader() {
    let queue = Queue::new().unwrap();
    queue.put(&1).unwrap();
    let reader = reader_with(1, &queue);
    assert!(matches!(queue.join_timeout(NOW), Err(Error::TimedOut)));
    let waiting = Child::fork(|| assert!(matches!(queue.join(), Err(Error::ItemsLost(1)))));
    waiting.wait_until_asleep();
    reader.kill();
    waiting.succeed();
}

fn a_reader_that_exits_with_items_in_hand_has_lost_them() {
    let queue = Queue::<u32>::new().unwrap();
    queue.put(&1).unwrap();
    let reader = Child::fork(|| take(1, &queue));
    // Before anyone has waited for it: a zombie has no hands either.
    assert!(matches!(queue.join(), Err(Error::ItemsLost(1))));
    reader.succeed();
}

fn the_lost_can_be_made_good() {
    let queue = Queue::new().unwrap();
    queue.put(&7).unwrap();
    reader_with(1, &queue).kill();
    let Err(Error::ItemsLost(lost)) = queue.join() else {
        panic!("the item is lost")
    };
    for _ in 0..lost {
        queue.put(&7).unwrap();
        queue.task_done().unwrap();
    }
    assert_eq!(queue.get().unwrap(), 7);
    queue.task_done().unwrap();
    queue.join().unwrap();
}

fn the_dead_leave_their_place_to_others() {
    let queue = Queue::new().unwrap();
    // More readers than there are accounts, one after another, and each loses an item.
    for n in 0..5000 {
        queue.put(&n).unwrap();
        Child::fork(|| assert_eq!(queue.get().unwrap(), n)).succeed();
    }
    assert!(matches!(queue.join(), Err(Error::ItemsLost(5000))));
    queue.put(&0).unwrap();
    let living = reader_with(1, &queue);
    assert!(matches!(queue.join_timeout(NOW), Err(Error::TimedOut)));
    living.kill();
    assert!(matches!(queue.join(), Err(Error::ItemsLost(5001))));
}

fn who_has_the_place_of_a_dead_reader_does_not_have_its_items() {
    let queue = Queue::new().unwrap();
    (0..2).for_each(|n| queue.put(&n).unwrap());
    reader_with(1, &queue).kill();
    take(1, &queue);
    queue.task_done().unwrap();
    assert_eq!(queue.join_timeout(SOON), Err(Error::ItemsLost(1)));
}
