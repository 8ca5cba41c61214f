//! That a call costs the same however many items are out, and however many queues there are.

use std::time::Duration;

use super::*;

/// How much longer a call may take among so many, a few more levels of the maps included.
const SLOWER_MAX: u32 = 3;

fn queues() -> Queues {
    let mut queues = Queues::new(Budget::new(1 << 40));
    queues.add(QueueOptions::new("tasks"));
    queues
}

fn put(queues: &mut Queues, ident: &str) {
    let none = NewItem::from(b"\x80\x02N".to_vec());
    let put = queues.put(ident, 1, vec![none], Vec::new());
    put.expect("the queue is there");
}

/// Leases an item for an hour.
fn lease(queues: &mut Queues, ident: &str) -> u64 {
    let consumer = Consumer {
        connection: 2,
        most: 1,
        explicit: true,
        may_return: true,
        expires: Some(Duration::from_secs(3600)),
    };
    let taken = queues.take(ident, consumer).expect("the queue is there");
    taken[0].lease.expect("it is leased")
}

fn put_lease_and_acknowledge(queues: &mut Queues, ident: &str) {
    put(queues, ident);
    let lease = lease(queues, ident);
    queues.acknowledge(lease).expect("it is out");
}

/// How long a hundred such calls take at best: whatever else the machine does makes it longer.
fn best(mut call: impl FnMut()) -> Duration {
    let hundred = |_| {
        let start = Instant::now();
        (0..100).for_each(|_| call());
        start.elapsed()
    };
    (0..50).map(hundred).min().expect("there are some")
}

fn assert_as_fast(few: Duration, many: Duration) {
    assert!(
        many < SLOWER_MAX * few,
        "100 calls take {few:?} among few and {many:?} among many"
    );
}

#[test]
fn a_call_costs_the_same_with_100_and_with_100_000_leases_out() {
    let mut queues = queues();
    let mut among_more = |count: u32| {
        for _ in 0..count {
            put(&mut queues, "tasks");
            lease(&mut queues, "tasks");
        }
        best(|| put_lease_and_acknowledge(&mut queues, "tasks"))
    };
    let few = among_more(100);
    let many = among_more(99_900);
    assert_as_fast(few, many);
}

#[test]
fn a_call_costs_the_same_with_100_and_with_60_000_made_queues() {
    let mut queues = queues();
    let make = |queues: &mut Queues, ident: &str| {
        let made = queues.make(ident, QueueOptions::new(""));
        made.and_then(|()| queues.refer(ident))
            .expect("there is room");
        queues.note_use(ident, 1);
    };
    let among = |queues: &mut Queues, count: usize| {
        while queues.made < count {
            let ident = format!("Queue-{:05}", queues.made);
            make(queues, &ident);
        }
        best(|| {
            make(queues, "Queue-last");
            put_lease_and_acknowledge(queues, "Queue-last");
            queues.unrefer("Queue-last").expect("it is there");
        })
    };
    let few = among(&mut queues, 100);
    let many = among(&mut queues, 60_000);
    assert_as_fast(few, many);
}
