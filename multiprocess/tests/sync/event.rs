//! Flags that processes wait for.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use multiprocess::sync::{Event, Value};
use multiprocess::{Error, Pool, Process, Queue};

use crate::support::{Child, NOW, SOON, kills, leaves_nothing};

tests![
    an_event_is_set_and_cleared_for_all_processes,
    all_who_wait_go_on_when_it_is_set,
    who_waited_when_it_was_set_goes_on_though_it_is_cleared_at_once,
    what_was_written_before_the_set_is_there_after_the_wait,
    a_wait_for_an_event_ends_in_time,
    r08_an_event_is_set_though_those_who_wait_are_killed,
    setters_killed_at_any_moment_hold_up_nobody,
    an_event_goes_to_processes_and_pools_at_their_start,
    events_leave_nothing_behind,
];

fn an_event_is_set_and_cleared_for_all_processes() {
    let event = Event::new().unwrap();
    for _ in 0..3 {
        Child::fork(|| event.set()).succeed();
        assert!(event.is_set());
        Child::fork(|| {
            event.wait_timeout(Duration::ZERO).unwrap();
            event.clear();
            event.clear();
        })
        .succeed();
        assert!(!event.is_set());
    }
}

fn all_who_wait_go_on_when_it_is_set() {
    let event = Event::new().unwrap();
    let children = [(); 3].map(|()| Child::fork(|| event.wait()));
    children.iter().for_each(Child::wait_until_asleep);
    std::thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| event.wait_timeout(SOON)));
        event.set();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
    });
    children.iter().for_each(Child::succeed);
    event.wait();
}

fn who_waited_when_it_was_set_goes_on_though_it_is_cleared_at_once() {
    let event = Event::new().unwrap();
    for _ in 0..50 {
        let waiters = [(); 2].map(|()| Child::fork(|| event.wait_timeout(SOON).unwrap()));
        waiters.iter().for_each(Child::wait_until_asleep);
        event.set();
        event.clear();
        waiters.iter().for_each(Child::succeed);
        // Who comes later waits for the next time.
        assert_eq!(event.wait_timeout(Duration::ZERO), Err(Error::TimedOut));
    }
}

fn what_was_written_before_the_set_is_there_after_the_wait() {
    let (ping, pong) = (Event::new().unwrap(), Event::new().unwrap());
    let count = Value::new(0u64).unwrap();
    let child = Child::fork(|| {
        for round in 0..2000 {
            ping.wait_timeout(SOON).unwrap();
            ping.clear();
            assert_eq!(count.load(), 2 * round + 1);
            count.fetch_add(1);
            pong.set();
        }
    });
    for round in 1..=2000 {
        count.fetch_add(1);
        ping.set();
        pong.wait_timeout(SOON).unwrap();
        pong.clear();
        assert_eq!(count.load(), 2 * round);
    }
    child.succeed();
}

fn a_wait_for_an_event_ends_in_time() {
    let event = Event::new().unwrap();
    let begun = Instant::now();
    assert_eq!(event.wait_timeout(NOW), Err(Error::TimedOut));
    assert!(begun.elapsed() >= NOW);
}

/// Python: `set` waits for ever for the answer of the dead.
fn r08_an_event_is_set_though_those_who_wait_are_killed() {
    let event = Event::new().unwrap();
    for round in 0..kills(300) {
        let ready = Queue::new().unwrap();
        let waiters = [(); 2].map(|()| {
            Child::fork(|| {
                ready.put(&()).unwrap();
                event.wait_timeout(SOON).unwrap();
            })
        });
        (0..2).for_each(|_| ready.get_timeout(SOON).unwrap());
        std::thread::sleep(Duration::from_micros(2 * (round % 300)));
        waiters[0].kill();
        event.set();
        waiters[1].succeed();
        event.clear();
    }
}

fn setters_killed_at_any_moment_hold_up_nobody() {
    let event = Event::new().unwrap();
    let waits = Value::new(0u64).unwrap();
    let waiter = Child::fork(|| {
        loop {
            event.wait();
            event.clear();
            waits.fetch_add(1);
        }
    });
    for round in 0..kills(300) {
        let started = Queue::new().unwrap();
        let setter = Child::fork(|| {
            started.put(&()).unwrap();
            loop {
                event.set();
                event.clear();
            }
        });
        started.get_timeout(SOON).unwrap();
        std::thread::sleep(Duration::from_micros(2 * (round % 300)));
        setter.kill();
        let before = waits.load();
        crate::support::eventually("the waiter goes on", || {
            event.set();
            waits.load() > before
        });
    }
    waiter.kill();
}

static GO: OnceLock<Event> = OnceLock::new();

fn an_event_goes_to_processes_and_pools_at_their_start() {
    let (go, done) = (Event::new().unwrap(), Event::new().unwrap());
    let relay = |(go, done): (Event, Event)| {
        go.wait_timeout(SOON).unwrap();
        done.set();
    };
    let process = Process::spawn_with(relay, (go.clone(), done.clone())).unwrap();
    let pool = Pool::builder()
        .workers(2)
        .initializer_with(|event: Event| GO.set(event).unwrap(), go.clone())
        .build()
        .unwrap();
    let wait = |(): ()| GO.get().expect("it was handed over").wait_timeout(SOON);
    let results = [(); 2].map(|()| pool.apply_async(wait, ()).unwrap());
    go.set();
    for result in results {
        assert_eq!(result.get().unwrap(), Ok(()));
    }
    done.wait_timeout(SOON).unwrap();
    process.join().unwrap();
    assert_eq!(Queue::new().unwrap().put(&go), Err(Error::NotAtStart));
}

fn events_leave_nothing_behind() {
    leaves_nothing(20, || {
        let event = Event::new().unwrap();
        let waiter = Child::fork(|| event.wait());
        waiter.wait_until_asleep();
        waiter.kill();
        event.set();
        event.wait();
    });
}
