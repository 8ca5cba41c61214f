//! The protocol of the rings against a plain queue: under a crash at every step, and under every
//! order in which the steps of one producer and one consumer can fall.
//!
//! A crash is a panic at a step, which leaves the memory as SIGKILL would. What the locks do for the
//! queue is done by hand here: one producer and one consumer at a time, and a repair after a crash.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::layout::AREAS;
use super::memory::Memory;
use super::ring::Rings;
use super::step::{no_step, on_step};

mod lent;

/// Rings so small that a few items walk through all of them.
pub(super) const SMALL: [u8; AREAS] = [12, 13, 15, 15, 15];

/// What a crash throws.
struct Crash;

/// A small generator of numbers, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn rings() -> Rings {
    Rings::new(Memory::create(SMALL, 0).expect("a few pages of memory"))
}

/// Takes an item from rings that nobody has damaged.
fn take(rings: &Rings, buffer: &mut Vec<u8>) -> Option<(u64, usize)> {
    rings.take(buffer, 0, |_, _| ()).expect("whole rings")
}

/// An item of this length, different for each number.
fn item(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (number.wrapping_mul(31) ^ at ^ (at >> 8)) as u8)
        .collect()
}

/// Runs `work`, with a crash at the step with this number, counted from 0. Returns what `work`
/// returned, or else the name of the step.
fn crash_at<R>(at: u64, work: impl FnOnce() -> R) -> Result<R, &'static str> {
    let crashed = Arc::new(Mutex::new(None));
    let mut steps = 0;
    on_step({
        let crashed = Arc::clone(&crashed);
        move |name| {
            if steps == at {
                *crashed.lock().unwrap() = Some(name);
                panic_any(Crash);
            }
            steps += 1;
        }
    });
    let result = catch_unwind(AssertUnwindSafe(work));
    no_step();
    let crashed = crashed.lock().unwrap().take();
    result.map_err(|panic| match (panic.downcast::<Crash>(), crashed) {
        (Ok(_), Some(name)) => name,
        (Ok(_), None) => unreachable!("a crash has a name"),
        (Err(panic), _) => resume_unwind(panic),
    })
}

/// A crash says nothing on stderr from now on.
fn silence_crashes() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Crash>() {
            default(panic);
        }
    }));
}

/// A queue, what should be in it, and which crashes it has seen.
struct Model {
    rings: Rings,
    expected: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
    crashes: BTreeMap<&'static str, u32>,
}

impl Model {
    fn new() -> Self {
        silence_crashes();
        Self {
            rings: rings(),
            expected: VecDeque::new(),
            buffer: Vec::new(),
            crashes: BTreeMap::new(),
        }
    }

    fn put(&mut self, item: Vec<u8>, crash: u64) {
        match crash_at(crash, || self.rings.put(&item)) {
            Ok(None) => assert!(self.expected.iter().map(Vec::len).sum::<usize>() > 15_000),
            Ok(Some(_)) => self.expected.push_back(item),
            Err(step) => {
                if step == "put: committed" {
                    self.expected.push_back(item);
                }
                *self.crashes.entry(step).or_default() += 1;
                self.rings.clear_half_written();
            }
        }
    }

    fn take(&mut self, crash: u64) {
        let before = self
            .rings
            .header()
            .progress
            .taken
            .load(std::sync::atomic::Ordering::SeqCst);
        match crash_at(crash, || take(&self.rings, &mut self.buffer)) {
            Ok(None) => assert!(self.expected.is_empty()),
            Ok(Some((number, len))) => {
                assert_eq!(number, before);
                let expected = self.expected.pop_front().expect("an item is there");
                assert!(self.buffer[..len] == expected);
            }
            Err(step) => {
                let after = self
                    .rings
                    .header()
                    .progress
                    .taken
                    .load(std::sync::atomic::Ordering::SeqCst);
                assert!(after == before || after == before + 1);
                if after > before {
                    self.expected.pop_front().expect("an item was taken");
                }
                *self.crashes.entry(step).or_default() += 1;
            }
        }
    }

    /// Repairs for the consumers, with a crash in the repair itself now and then.
    fn repair(&mut self, random: &mut Random) {
        while let Err(step) = crash_at(random.below(12), || self.rings.repair()) {
            *self.crashes.entry(step).or_default() += 1;
        }
    }
}

/// Every step that there is; the test below must have crashed at each.
const STEPS: [&str; 14] = [
    "put: the link is written",
    "put: the end of the ring is written",
    "put: the record is written",
    "put: the position is written",
    "put: committed",
    "take: the end of the ring is written",
    "take: the item is read",
    "take: the position is written",
    "take: committed",
    "take: the ring left is empty",
    "take: the ring left is free",
    "take: the room is free",
    "take: the memory is given back",
    "take: the cold room is free",
];

#[test]
fn a_crash_at_any_step_leaves_the_state_before_or_the_state_after() {
    let mut crashes = BTreeMap::<_, u32>::new();
    for seed in 1..=40 {
        let mut random = Random(seed);
        let mut model = Model::new();
        // A walk between few and many items, which leads up and down through the rings.
        for number in 0..4000 {
            let crash = if random.below(3) == 0 {
                random.below(8)
            } else {
                u64::MAX
            };
            let goal = [2, 40, 5, 80, 0, 15][(number / 300) as usize % 6];
            if random.below(100) < if model.expected.len() < goal { 75 } else { 25 } {
                let len = match random.below(12) {
                    0 => 5000,
                    1 => 1200,
                    2..4 => 200,
                    _ => random.below(30) as usize,
                };
                model.put(item(number, len), crash);
            } else {
                model.take(crash);
                model.repair(&mut random);
            }
        }
        while !model.expected.is_empty() {
            model.take(u64::MAX);
        }
        for (step, count) in model.crashes {
            *crashes.entry(step).or_default() += count;
        }
    }
    for step in STEPS {
        let count = crashes.remove(step).unwrap_or(0);
        assert!(count >= 20, "{count} crashes at {step:?}");
    }
    assert!(crashes.is_empty(), "unknown steps: {crashes:?}");
}

#[test]
fn the_longest_item_has_room_once_all_others_are_taken() {
    for shifts in [SMALL, [14; AREAS], [14, 15, 18, 18, 18]] {
        let mut random = Random(7);
        let rings = Rings::new(Memory::create(shifts, 0).expect("some memory"));
        let longest = item(1, rings.item_max() as usize);
        let mut buffer = Vec::new();
        for round in 0..300 {
            for _ in 0..random.below(6) {
                rings.put(&item(0, random.below(9000) as usize));
            }
            while take(&rings, &mut buffer).is_some() {}
            assert!(rings.put(&longest).is_some(), "{shifts:?}, round {round}");
            let taken = take(&rings, &mut buffer);
            assert_eq!(taken.map(|(_, len)| len), Some(longest.len()));
            assert!(buffer[..longest.len()] == longest);
        }
    }
}

#[test]
fn the_longest_item_has_room_though_the_last_reader_died_before_it_gave_room() {
    let rings = rings();
    let longest = item(1, rings.item_max() as usize);
    // One in each of the largest rings, so that no other ring is left for the third.
    for _ in 0..2 {
        rings.put(&longest).expect("the state can be reached");
    }
    let mut buffer = Vec::new();
    take(&rings, &mut buffer).expect("the state can be reached");
    let crash = crash_at(3, || take(&rings, &mut buffer));
    assert_eq!(crash, Err("take: committed"));
    rings.repair();
    assert!(rings.put(&longest).is_some());
}

/// Lets one of several threads run at a time, from step to step, in a given order.
struct Baton {
    /// Whose turn it is, which threads are done, and what remains of the order: a bit per step.
    state: Mutex<(usize, [bool; 2], u64)>,
    changed: Condvar,
}

impl Baton {
    fn wait_for_turn(&self, me: usize) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |(turn, ..)| *turn != me)
                .unwrap(),
        );
    }

    /// Gives the turn to whom the order says, if that one is not done.
    fn pass(&self, me: usize, done: bool) {
        let mut state = self.state.lock().unwrap();
        let (turn, finished, order) = &mut *state;
        finished[me] |= done;
        let next = (*order & 1) as usize;
        *order >>= 1;
        *turn = if finished[next] { 1 - next } else { next };
        self.changed.notify_all();
    }
}

/// Runs `work` as one of the two threads, which passes the baton on at each step.
fn stepwise(baton: &Arc<Baton>, me: usize, work: impl FnOnce()) {
    baton.wait_for_turn(me);
    on_step({
        let baton = Arc::clone(baton);
        move |_| {
            baton.pass(me, false);
            baton.wait_for_turn(me);
        }
    });
    let result = catch_unwind(AssertUnwindSafe(work));
    no_step();
    baton.pass(me, true);
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

/// Runs a producer and a consumer so that their steps fall in this order.
pub(super) fn in_order(order: u64, producer: impl FnOnce() + Send, consumer: impl FnOnce() + Send) {
    let baton = Arc::new(Baton {
        state: Mutex::new(((order & 1) as usize, [false; 2], order >> 1)),
        changed: Condvar::new(),
    });
    thread::scope(|scope| {
        scope.spawn(|| stepwise(&baton, 0, producer));
        scope.spawn(|| stepwise(&baton, 1, consumer));
    });
}

/// Reaches a state: items of these lengths wait, after so many of them are taken. Then `both` runs puts
/// beside some takes. How many of the puts found room, and whether what came out is what went in.
pub(super) fn puts_beside_takes(
    (waiting, taken_before, put_lens): (&[usize], usize, &[usize]),
    takes: usize,
    both: impl FnOnce(&mut (dyn FnMut() + Send), &mut (dyn FnMut() + Send)),
) -> (usize, bool) {
    let rings = rings();
    let mut expected = VecDeque::new();
    for (number, &len) in waiting.iter().enumerate() {
        expected.push_back(item(number as u64, len));
        rings
            .put(&expected[number])
            .expect("the state can be reached");
    }
    let mut buffer = Vec::new();
    for _ in 0..taken_before {
        take(&rings, &mut buffer).expect("the state can be reached");
        expected.pop_front();
    }
    let (mut put, mut got) = (Vec::new(), Vec::new());
    let taken = |buffer: &mut Vec<u8>| {
        let (_, len) = take(&rings, buffer)?;
        Some(buffer[..len].to_vec())
    };
    both(
        &mut || {
            let items = put_lens.iter().map(|&len| item(99, len));
            put.extend(items.filter(|item| rings.put(item).is_some()));
        },
        &mut || {
            let mut buffer = Vec::new();
            got.extend((0..takes).filter_map(|_| taken(&mut buffer)));
        },
    );
    let found_room = put.len();
    expected.extend(put);
    got.extend(iter::from_fn(|| taken(&mut buffer)));
    (found_room, expected == got)
}

/// All orders of puts and three takes, from a state.
fn every_order(name: &str, waiting: &[usize], taken_before: usize, put_lens: &[usize]) {
    for order in 0..1 << 12 {
        let state = (waiting, taken_before, put_lens);
        let (found_room, is_same) = puts_beside_takes(state, 3, |puts, takes| {
            in_order(order, puts, takes);
        });
        assert_eq!(found_room, put_lens.len(), "{name}: order {order:b}");
        assert!(is_same, "{name}: order {order:b}");
    }
}

#[test]
fn every_order_of_steps_gives_the_same_queue() {
    every_order("an empty queue", &[], 0, &[8, 8]);
    every_order("a full lap of the hot ring", &[3000, 8], 1, &[3000]);
    every_order("on into the warm ring", &[3000, 8], 1, &[3000, 2000]);
    every_order("through a link", &[3000, 3000, 3000], 1, &[100, 4000]);
    every_order(
        "from a cold ring back",
        &[3000, 6000, 8000, 9000],
        3,
        &[1000, 1000],
    );
    every_order(
        "a cold ring that fills up",
        &[3000, 6000, 14_000, 14_000],
        2,
        &[3500],
    );
}
