//! Parties of a barrier that end themselves between two stores of their choice.

use multiprocess::sync::Barrier;
use multiprocess::{Error, Queue};

use crate::support::kill_points::{asleep, dying_at, each_of, has_died};
use crate::support::{Child, SOON};

tests![
    the_last_party_wakes_all_others,
    a_party_killed_at_any_step_has_passed_the_round_for_all_or_for_nobody,
    one_killed_while_it_tells_of_a_death_leaves_that_to_the_others,
    one_killed_in_a_reset_leaves_it_broken_or_has_reset_it,
];

/// The steps of a barrier, as they stand in the source.
fn steps() -> Vec<&'static str> {
    let source = include_str!("../../src/sync/barrier.rs");
    let names = source.split("step(\"").skip(1);
    let names = names.map(|rest| rest.split('"').next().expect("a name has an end"));
    names.collect()
}

const TELLING: [&str; 2] = ["barrier: the breaker is named", "barrier: broken"];
const RESETTING: [&str; 2] = ["barrier: somebody is forgotten", "barrier: reset"];

fn pid(child: &Child) -> u32 {
    child.pid.as_raw().cast_unsigned()
}

fn the_last_party_wakes_all_others() {
    let barrier = Barrier::new(4).unwrap();
    for _ in 0..20 {
        let others = [(); 3].map(|()| asleep(|| assert!(barrier.wait_timeout(SOON).is_ok())));
        barrier.wait_timeout(SOON).unwrap();
        others.iter().for_each(Child::succeed);
    }
}

fn a_party_killed_at_any_step_has_passed_the_round_for_all_or_for_nobody() {
    let mut steps = steps();
    steps.retain(|step| !TELLING.contains(step) && !RESETTING.contains(step));
    assert_eq!(steps.len(), 3, "{steps:?}");
    for (step, occurrence) in each_of(&steps, 9) {
        let barrier = Barrier::new(3).unwrap();
        let heard = Queue::new().unwrap();
        let others = [(); 2].map(|()| {
            Child::fork(|| {
                let party = barrier.attend().unwrap();
                let mut passed = 0u64;
                let error = loop {
                    match party.wait() {
                        Ok(_) => passed += 1,
                        Err(error) => break error,
                    }
                };
                heard.put(&(passed, error)).unwrap();
            })
        });
        let victim = dying_at(step, occurrence, || {
            let party = barrier.attend().unwrap();
            loop {
                party.wait().unwrap();
            }
        });
        assert!(has_died(&victim));
        let died = Error::PartyDied { pid: pid(&victim) };
        let (passed, error) = heard.get_timeout(SOON).unwrap();
        assert_eq!(error, died, "{step}, {occurrence}");
        assert_eq!(heard.get_timeout(SOON).unwrap(), (passed, died), "{step}");
        others.iter().for_each(Child::succeed);
        if step == "barrier: arrived" {
            // The system frees the lock of the dead before it marks its slot: in between, the others may
            // come and find that it has arrived.
            assert!([occurrence - 1, occurrence].contains(&passed), "{passed}");
        }
        goes_on_after_a_reset(&barrier);
    }
}

/// All three parties come anew, and pass two rounds.
fn goes_on_after_a_reset(barrier: &Barrier) {
    barrier.reset();
    let parties = [(); 3].map(|()| {
        Child::fork(|| {
            let party = barrier.attend().unwrap();
            (0..2).for_each(|_| assert!(party.wait_timeout(SOON).is_ok()));
        })
    });
    parties.iter().for_each(Child::succeed);
}

/// A barrier of three, of whose parties one is dead.
fn with_a_dead_party() -> (Barrier, u32) {
    let barrier = Barrier::new(3).unwrap();
    let dead = Child::fork(|| std::mem::forget(barrier.attend().unwrap()));
    dead.succeed();
    (barrier, pid(&dead))
}

fn one_killed_while_it_tells_of_a_death_leaves_that_to_the_others() {
    for (step, _) in each_of(&TELLING, 2) {
        let (barrier, first) = with_a_dead_party();
        let second = dying_at(step, 1, || drop(barrier.wait()));
        assert!(has_died(&second));
        let Err(Error::PartyDied { pid: dead }) = barrier.wait_timeout(SOON) else {
            panic!("two are dead: {step}");
        };
        assert!([first, pid(&second)].contains(&dead), "{step}");
        goes_on_after_a_reset(&barrier);
    }
}

fn one_killed_in_a_reset_leaves_it_broken_or_has_reset_it() {
    for (step, _) in each_of(&[TELLING, RESETTING].concat(), 4) {
        let (barrier, first) = with_a_dead_party();
        assert!(has_died(&dying_at(step, 1, || barrier.reset())));
        assert_eq!(barrier.is_broken(), step != "barrier: reset", "{step}");
        if barrier.is_broken() {
            assert_eq!(barrier.wait(), Err(Error::PartyDied { pid: first }));
        }
        goes_on_after_a_reset(&barrier);
    }
}
