//! Places where processes wait for each other.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use multiprocess::sync::{Barrier, Value};
use multiprocess::{Error, Pool, Process, Queue};

use crate::support::deaths::Deaths;
use crate::support::{Child, NOW, SOON, eventually, is_gone, kills, leaves_nothing};

tests![
    nobody_passes_before_all_have_come,
    threads_and_processes_meet_without_attending_first,
    r09_a_party_that_is_killed_is_named_to_all_who_wait,
    a_party_that_is_killed_before_it_waits_is_named,
    parties_killed_at_any_moment_are_named_to_all,
    a_reset_lets_others_come_in_the_place_of_the_dead,
    a_reset_and_an_abort_end_the_waits,
    a_wait_for_others_ends_in_time_and_breaks_the_barrier,
    a_panic_of_a_party_breaks_the_barrier,
    a_party_that_leaves_is_not_missed_and_gives_its_place,
    one_too_many_is_refused,
    a_barrier_has_at_least_one_party,
    a_party_in_a_forked_child_is_none,
    a_barrier_goes_to_processes_and_pools_at_their_start,
    barriers_leave_nothing_behind,
];

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

/// A process that attends, says so, and waits to be killed.
fn attending(barrier: &Barrier) -> Child {
    let attends = Queue::new().unwrap();
    let child = Child::fork(|| {
        let _party = barrier.attend().unwrap();
        attends.put(&()).unwrap();
        std::thread::sleep(SOON);
    });
    attends.get_timeout(SOON).unwrap();
    child
}

fn nobody_passes_before_all_have_come() {
    const ROUNDS: usize = 1000;
    let barrier = Barrier::new(4).unwrap();
    let (count, indices) = (Value::new(0).unwrap(), Value::new(0).unwrap());
    let work = || {
        let party = barrier.attend().unwrap();
        for round in 1..=ROUNDS {
            count.fetch_add(1);
            let index = party.wait_timeout(SOON).unwrap();
            indices.fetch_add(1usize << (8 * index));
            assert!((4 * round..=4 * round + 3).contains(&count.load()));
            party.wait_timeout(SOON).unwrap();
        }
    };
    let children = [(); 4].map(|()| Child::fork(work));
    children.iter().for_each(Child::succeed);
    assert_eq!(count.load(), 4 * ROUNDS);
    // In each round, each index was one party's.
    let each = (0..4).map(|index| ROUNDS << (8 * index));
    assert_eq!(indices.load(), each.sum());
}

fn threads_and_processes_meet_without_attending_first() {
    let barrier = Barrier::new(4).unwrap();
    let work = || {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..500).for_each(|_| assert!(barrier.wait_timeout(SOON).is_ok())));
            }
        });
    };
    let children = [(); 2].map(|()| Child::fork(work));
    children.iter().for_each(Child::succeed);
    assert!(!barrier.is_broken());
    assert_eq!(barrier.waiting(), 0);
}

/// Python: they wait for ever.
fn r09_a_party_that_is_killed_is_named_to_all_who_wait() {
    let barrier = Barrier::new(4).unwrap();
    let (victim, heard) = (attending(&barrier), Queue::new().unwrap());
    let waiters = [(); 3].map(|()| {
        Child::fork(|| {
            let Err(Error::PartyDied { pid }) = barrier.wait() else {
                panic!("it is dead")
            };
            heard.put(&pid).unwrap();
        })
    });
    eventually("three wait", || barrier.waiting() == 3);
    victim.kill();
    for waiter in &waiters {
        assert_eq!(heard.get_timeout(SOON).unwrap(), pid(&victim));
        waiter.succeed();
    }
    // And to all who come, until the reset.
    let died = Err(Error::PartyDied { pid: pid(&victim) });
    assert_eq!(barrier.wait(), died);
    assert!(barrier.is_broken());
}

fn a_party_that_is_killed_before_it_waits_is_named() {
    let barrier = Barrier::new(2).unwrap();
    let victim = attending(&barrier);
    victim.kill();
    assert!(barrier.is_broken());
    let died = Error::PartyDied { pid: pid(&victim) };
    assert_eq!(barrier.wait(), Err(died.clone()));
    let said = died.to_string();
    assert!(said.contains(&pid(&victim).to_string()), "{said}");
}

fn parties_killed_at_any_moment_are_named_to_all() {
    let mut told = Deaths::new();
    for round in 0..kills(300) {
        let barrier = Barrier::new(3).unwrap();
        let (started, heard) = (Queue::new().unwrap(), Queue::new().unwrap());
        let run = || {
            let party = barrier.attend().unwrap();
            started.put(&()).unwrap();
            let mut passed = 0u64;
            loop {
                match party.wait() {
                    Ok(_) => passed += 1,
                    Err(error) => return heard.put(&(passed, error, told.now())).unwrap(),
                }
            }
        };
        let parties = [(); 3].map(|()| Child::fork(run));
        (0..3).for_each(|_| started.get_timeout(SOON).unwrap());
        std::thread::sleep(Duration::from_micros(5 * (round % 300)));
        let [victim, others @ ..] = &parties;
        let killed = told.now();
        victim.kill();
        let died = Error::PartyDied { pid: pid(victim) };
        let heard: [(u64, Error, Duration); 2] = [(); 2].map(|()| heard.get_timeout(SOON).unwrap());
        others.iter().for_each(Child::succeed);
        for (passed, error, at) in &heard {
            // A round that one has passed the other has passed too.
            assert_eq!((*passed, error), (heard[0].0, &died));
            told.known(killed, *at);
        }
    }
    told.tell("a party hears the pid of another");
}

fn a_reset_lets_others_come_in_the_place_of_the_dead() {
    let barrier = Barrier::new(3).unwrap();
    let party = barrier.attend().unwrap();
    for _ in 0..20 {
        let victims = [attending(&barrier), attending(&barrier)];
        victims.iter().for_each(Child::kill);
        // The dead have the places until the reset.
        let Err(Error::PartyDied { pid: dead }) = barrier.attend().map(drop) else {
            panic!("two are dead");
        };
        assert!(victims.iter().any(|victim| pid(victim) == dead));
        assert!(party.wait().is_err());
        barrier.reset();
        assert!(!barrier.is_broken());
        let others = [(); 2].map(|()| Child::fork(|| assert!(barrier.wait_timeout(SOON).is_ok())));
        party.wait_timeout(SOON).unwrap();
        others.iter().for_each(Child::succeed);
    }
}

fn a_reset_and_an_abort_end_the_waits() {
    let barrier = Barrier::new(3).unwrap();
    for end in [Barrier::reset, Barrier::abort] {
        let is_broken = || assert_eq!(barrier.wait(), Err(Error::BarrierBroken));
        let waiters = [(); 2].map(|()| Child::fork(is_broken));
        eventually("two wait", || barrier.waiting() == 2);
        end(&barrier);
        waiters.iter().for_each(Child::succeed);
        assert_eq!(barrier.waiting(), 0);
    }
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), Err(Error::BarrierBroken));
}

fn a_wait_for_others_ends_in_time_and_breaks_the_barrier() {
    let barrier = Barrier::new(3).unwrap();
    let other = Child::fork(|| assert_eq!(barrier.wait(), Err(Error::BarrierBroken)));
    eventually("it waits", || barrier.waiting() == 1);
    let begun = Instant::now();
    assert_eq!(barrier.wait_timeout(NOW), Err(Error::TimedOut));
    assert!(begun.elapsed() >= NOW);
    other.succeed();
    assert!(barrier.is_broken());
}

fn a_panic_of_a_party_breaks_the_barrier() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _party = barrier.attend().unwrap();
            panic!("while it attends");
        });
        assert!(panics.join().is_err());
    });
    let pid = std::process::id();
    assert_eq!(barrier.wait(), Err(Error::PartyDied { pid }));
    barrier.reset();
    // Nor is one missed that ends its thread without leaving.
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(barrier.attend().unwrap()));
    });
    eventually("the system has marked it", || barrier.is_broken());
    assert_eq!(barrier.wait(), Err(Error::PartyDied { pid }));
}

fn a_party_that_leaves_is_not_missed_and_gives_its_place() {
    let barrier = Barrier::new(2).unwrap();
    let other = Child::fork(|| assert!(barrier.wait_timeout(SOON).is_ok()));
    eventually("it waits", || barrier.waiting() == 1);
    drop(barrier.attend().unwrap());
    assert!(!barrier.is_broken());
    barrier.wait_timeout(SOON).unwrap();
    other.succeed();
}

fn one_too_many_is_refused() {
    let barrier = Barrier::new(2).unwrap();
    let _both = [barrier.attend().unwrap(), barrier.attend().unwrap()];
    let full = Err(Error::BarrierFull { parties: 2 });
    assert_eq!(barrier.attend().map(drop), full.clone());
    assert_eq!(barrier.wait(), full.map(|()| 0));
    assert!(!barrier.is_broken());
}

fn a_barrier_has_at_least_one_party() {
    for parties in [0, 4097, usize::MAX] {
        let refused = Barrier::new(parties).map(drop);
        let wanted = Error::PartyCount { parties, max: 4096 };
        assert_eq!(refused, Err(wanted));
    }
    let barrier = Barrier::new(4096).unwrap();
    let _party = barrier.attend().unwrap();
    assert_eq!((barrier.parties(), barrier.waiting()), (4096, 0));
}

fn a_party_in_a_forked_child_is_none() {
    let barrier = Barrier::new(2).unwrap();
    let party = barrier.attend().unwrap();
    let child = Child::fork(|| {
        // Here it waits as another one.
        party.wait_timeout(SOON).unwrap();
    });
    party.wait_timeout(SOON).unwrap();
    child.succeed();
    let kept = barrier.attend().unwrap();
    Child::fork(|| drop(kept)).succeed();
    assert!(!barrier.is_broken());
}

static MEET: OnceLock<Barrier> = OnceLock::new();

fn a_barrier_goes_to_processes_and_pools_at_their_start() {
    let barrier = Barrier::new(4).unwrap();
    let process = Process::spawn_with(
        |barrier: Barrier| barrier.wait_timeout(SOON),
        barrier.clone(),
    );
    let pool = Pool::builder()
        .workers(2)
        .initializer_with(|barrier| MEET.set(barrier).unwrap(), barrier.clone())
        .build()
        .unwrap();
    let meet = |(): ()| MEET.get().expect("it was handed over").wait_timeout(SOON);
    let results = [(); 2].map(|()| pool.apply_async(meet, ()).unwrap());
    let mut indices = vec![barrier.wait_timeout(SOON).unwrap()];
    indices.extend(results.map(|result| result.get().unwrap().unwrap()));
    indices.push(process.unwrap().join().unwrap().unwrap());
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(Queue::new().unwrap().put(&barrier), Err(Error::NotAtStart));
}

fn barriers_leave_nothing_behind() {
    leaves_nothing(20, || {
        let barrier = Barrier::new(2).unwrap();
        let victim = attending(&barrier);
        let pid = pid(&victim);
        victim.kill();
        assert!(is_gone(pid) && barrier.wait().is_err());
        barrier.reset();
    });
}
