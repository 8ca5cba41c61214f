//! Each of these types with three parties, whose steps fall in thousands of orders, and of whom one
//! dies at each of its steps: what the others may see then, and that they go on.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::{Barrier, Condvar, Event, Mutex, OwnerDied, RwLock, Semaphore};
use crate::Error;
use crate::queue::step::step;
use crate::sys::simulated::{BEGINS, FIRST_PID, KilledAt, Work, run};

const PARTIES: usize = 3;

/// How often each party does what it does.
const ROUNDS: u64 = 2;

/// How many orders are tried of each type.
const ORDERS: u64 = 1600;

/// The steps at which a party is the owner of a lock with a value of several words.
const OWNS: [&str; 4] = [
    "lock: the holder is named",
    "model: inside",
    "value: written",
    "value: replaced",
];
/// The steps at which its change is made.
const HAS_CHANGED: [&str; 3] = [
    "value: replaced",
    "lock: no holder is named",
    "lock: given back",
];

/// Runs the parties of `model` in many orders. In one of four nobody dies, in the others each party
/// at each of its steps in turn. At each of `steps` some must have died.
fn in_all_orders(
    steps: &[&'static str],
    model: impl Fn(u64, Option<KilledAt>) -> Option<&'static str>,
) {
    let mut deaths = BTreeMap::<_, u32>::new();
    for seed in 1..=ORDERS {
        let death = (seed % 4 != 0).then_some(KilledAt {
            party: (seed % 3) as usize,
            at: seed / 4 % 24,
        });
        if let Some(step) = model(seed, death) {
            *deaths.entry(step).or_default() += 1;
        }
    }
    for step in steps {
        let count = deaths.get(step).copied().unwrap_or(0);
        assert!(count >= 1, "{count} deaths at {step:?} of {deaths:?}");
    }
}

/// The pid of a party.
fn pid(party: usize) -> u32 {
    FIRST_PID + party as u32
}

/// The same work for each party, which is told its number.
fn alike<'a>(work: impl Fn(usize) + Copy + Send + 'a) -> Vec<Work<'a>> {
    let party = |number| -> Work<'a> { Box::new(move || work(number)) };
    (0..PARTIES).map(party).collect()
}

/// A flag for each party.
type Flags = [AtomicBool; PARTIES];

fn flags() -> Flags {
    [const { AtomicBool::new(false) }; PARTIES]
}

/// How many flags are set, but for that of one who is to die.
fn set_of_the_living(flags: &Flags, death: Option<KilledAt>) -> usize {
    let lives = |party: usize| death.is_none_or(|death| death.party != party);
    let set = flags.iter().enumerate();
    set.filter(|(party, flag)| lives(*party) && flag.load(SeqCst))
        .count()
}

#[test]
fn a_mutex_has_one_owner_who_is_named_if_it_dies_and_has_changed_all_or_nothing() {
    let steps = [
        &OWNS[..],
        &HAS_CHANGED,
        &["lock: taken", "lock: another has it"],
    ]
    .concat();
    in_all_orders(&steps, |seed, death| {
        let mutex = Mutex::new([0u64; 3]).expect("a page");
        let (inside, done, heard) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let lock = || {
            mutex.lock().unwrap_or_else(|died| {
                assert_eq!(Some(died.pid()), death.map(|death| pid(death.party)));
                heard.fetch_add(1, SeqCst);
                inside.store(false, SeqCst);
                mutex.clear_poison();
                died.into_inner()
            })
        };
        let work = |_| {
            step(BEGINS);
            for _ in 0..ROUNDS {
                let mut guard = lock();
                assert!(!inside.swap(true, SeqCst), "two have the lock");
                step("model: inside");
                assert!(guard.iter().all(|word| *word == guard[0]), "{guard:?}");
                *guard = guard.map(|word| word + 1);
                inside.store(false, SeqCst);
                drop(guard);
                done.fetch_add(1, SeqCst);
            }
        };
        let died = run(seed, death, alike(work));
        let is_in = |steps: &[&str]| u64::from(died.is_some_and(|step| steps.contains(&step)));
        let (value, when) = (*lock(), format!("seed {seed}, {death:?}: {died:?}"));
        assert_eq!(
            value,
            [done.load(SeqCst) + is_in(&HAS_CHANGED); 3],
            "{when}"
        );
        assert_eq!(heard.load(SeqCst), is_in(&OWNS), "{when}");
        died
    });
}

#[test]
fn many_read_or_one_writes_and_the_dead_do_neither() {
    let gate = ["rwlock: the gate is closed", "rwlock: nobody reads"];
    let reading = ["rwlock: a place is taken", "rwlock: the gate is open"];
    let steps = [&OWNS[..], &gate, &reading, &["lock: taken", "model: reads"]].concat();
    in_all_orders(&steps, |seed, death| {
        let lock = RwLock::new([0u64; 3]).expect("some pages");
        let (reads, writes) = (flags(), AtomicBool::new(false));
        let heard = |dead: u32| {
            assert_eq!(Some(dead), death.map(|death| pid(death.party)));
            writes.store(false, SeqCst);
        };
        let read = |me: usize| {
            let guard = lock.read().unwrap_or_else(|died| {
                heard(died.pid());
                died.into_inner()
            });
            reads[me].store(true, SeqCst);
            step("model: reads");
            assert!(!writes.load(SeqCst), "one writes beside a reader");
            assert!(guard.iter().all(|word| *word == guard[0]), "{guard:?}");
            reads[me].store(false, SeqCst);
        };
        let write = || {
            let mut guard = lock.write().unwrap_or_else(|died| {
                heard(died.pid());
                lock.clear_poison();
                died.into_inner()
            });
            assert!(!writes.swap(true, SeqCst), "two write");
            step("model: inside");
            let readers = set_of_the_living(&reads, death);
            assert_eq!(readers, 0, "some read beside a writer");
            *guard = guard.map(|word| word + 1);
            writes.store(false, SeqCst);
        };
        let work = |me: usize| {
            step(BEGINS);
            for round in 0..ROUNDS {
                match (me as u64 + round) % 2 {
                    0 => write(),
                    _ => read(me),
                }
            }
        };
        let died = run(seed, death, alike(work));
        assert_eq!((lock.holder(), lock.readers()), (None, Vec::new()));
        write();
        died
    });
}

#[test]
fn no_more_have_a_permit_than_there_are_and_those_of_the_dead_come_back() {
    let steps = [
        "semaphore: there is one more slot",
        "semaphore: the holder is named",
        "semaphore: a permit is taken",
        "semaphore: a permit is given back",
        "wait: nothing is there yet",
        "model: inside",
    ];
    in_all_orders(&steps, |seed, death| {
        let permits = 1 + seed as u32 / 2 % 2;
        let semaphore = Semaphore::bounded(permits).expect("some pages");
        let inside = flags();
        let work = |me: usize| {
            step(BEGINS);
            for _ in 0..ROUNDS {
                let permit = semaphore.acquire();
                inside[me].store(true, SeqCst);
                step("model: inside");
                let count = set_of_the_living(&inside, death);
                assert!(count <= permits as usize, "{count} have {permits} permits");
                inside[me].store(false, SeqCst);
                drop(permit);
            }
        };
        let died = run(seed, death, alike(work));
        let available = semaphore.available();
        assert_eq!(
            available,
            u64::from(permits),
            "seed {seed}, {death:?}: {died:?}"
        );
        died
    });
}

#[test]
fn who_waits_for_an_event_goes_on_whoever_dies() {
    let steps = [
        "event: set",
        "wait: nothing was there",
        "wait: nothing is there yet",
    ];
    in_all_orders(&steps, |seed, death| {
        let event = Event::new().expect("a page");
        let work = |me: usize| {
            step(BEGINS);
            match me {
                1 => event.wait(),
                // If one of these dies, the other is left.
                _ if death.is_some() => event.set(),
                _ => {
                    event.set();
                    event.clear();
                    step("model: cleared");
                    event.set();
                }
            }
        };
        run(seed, death, alike(work))
    });
}

#[test]
fn a_notification_reaches_one_who_waits_whoever_dies() {
    let steps = [
        "condvar: counted",
        "condvar: unlocked",
        "wait: nothing is there yet",
        "condvar: woken",
    ];
    in_all_orders(&steps, |seed, death| {
        let items = Mutex::new(0u64).expect("a page");
        let changed = Condvar::new().expect("a page");
        let lock = || items.lock().unwrap_or_else(OwnerDied::into_inner);
        let take = || {
            let mut guard = lock();
            while *guard == 0 {
                guard = changed.wait(guard).unwrap_or_else(OwnerDied::into_inner);
            }
            *guard -= 1;
        };
        let work = |me: usize| {
            step(BEGINS);
            match me {
                1 => take(),
                // If one of these dies, the other is left.
                _ => {
                    let mut guard = lock();
                    *guard += 1;
                    changed.notify_one();
                }
            }
        };
        let died = run(seed, death, alike(work));
        let (left, when) = (*lock(), format!("seed {seed}, {death:?}: {died:?}"));
        match death.filter(|_| died.is_some()) {
            None => assert_eq!(left, 1, "{when}"),
            // It has taken one or has not.
            Some(KilledAt { party: 1, .. }) => assert!([1, 2].contains(&left), "{when}"),
            Some(_) => assert_eq!(
                left,
                u64::from(died.is_some_and(|step| HAS_CHANGED.contains(&step))),
                "{when}"
            ),
        }
        died
    });
}

#[test]
fn a_round_of_a_barrier_is_passed_by_all_or_names_the_dead_to_all() {
    let steps = [
        "barrier: arrived",
        "barrier: passed",
        "barrier: the next round is under way",
        "wait: nothing is there yet",
    ];
    in_all_orders(&steps, |seed, death| {
        let barrier = Barrier::new(PARTIES).expect("some pages");
        let ends = std::sync::Mutex::new(BTreeMap::new());
        let work = |me| {
            let party = barrier.attend().expect("there is a place for each");
            // One that has not attended is not missed.
            step(BEGINS);
            let mut passed = 0;
            let end = (0..ROUNDS).try_for_each(|_| {
                party.wait()?;
                passed += 1;
                Ok(())
            });
            ends.lock().unwrap().insert(me, (passed, end));
        };
        let died = run(seed, death, alike(work));
        let (mut ends, when) = (
            ends.into_inner().unwrap(),
            format!("seed {seed}, {death:?}: {died:?}"),
        );
        let dead = death.filter(|_| died.is_some()).map(|death| death.party);
        dead.map(|dead| ends.remove(&dead));
        let mut all = ends.values();
        let first = all.next().expect("two live");
        assert!(all.all(|end| end == first), "{when}: {ends:?}");
        let is_named = |end: &Error| {
            dead.map(|dead| Error::PartyDied { pid: pid(dead) })
                .as_ref()
                == Some(end)
        };
        assert!(
            first.1.as_ref().err().is_none_or(is_named),
            "{when}: {ends:?}"
        );
        barrier.reset();
        assert!(!barrier.is_broken(), "{when}");
        died
    });
}
