//! Memory that is lent, under a crash at every step: each block has one holder, and none is left with a
//! process that is gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;

use super::super::blocks::BlockLease;
use super::super::layout::AREAS;
use super::super::memory::Memory;
use super::super::ring::{PutItem, Rings};
use super::{Random, crash_at, silence_crashes};
use crate::sys::identity::Identity;
use crate::sys::simulated::FIRST_PID;

/// Small rings, and so much to be lent that some of it is given back to the system.
const SIZES: [u8; AREAS] = [12, 13, 15, 15, 24];

/// A process that has ended: no machine has started one so early. Higher numbers are those of simulated
/// processes.
const DEAD: u64 = (1 << 22) | (FIRST_PID as u64 - 1);

/// A block in somebody's hands, and the number that stands at its start and at its end.
struct Handed {
    lease: BlockLease,
    number: u64,
    len: usize,
}

/// A queue, who should have what, and which crashes it has seen.
struct LentModel {
    rings: Rings,
    /// With those who write, and with those who read.
    loans: Vec<Handed>,
    borrowed: Vec<Handed>,
    /// The number of each item, and the length of its block if it has one.
    expected: VecDeque<(u64, Option<usize>)>,
    random: Random,
    crashes: BTreeMap<&'static str, u32>,
}

impl LentModel {
    fn new(seed: u64) -> Self {
        Self {
            rings: Rings::new(Memory::create(SIZES, 0).expect("some memory")),
            loans: Vec::new(),
            borrowed: Vec::new(),
            expected: VecDeque::new(),
            random: Random(seed),
            crashes: BTreeMap::new(),
        }
    }

    /// One call in three crashes.
    fn crash(&mut self) -> u64 {
        match self.random.below(3) {
            0 => self.random.below(9),
            _ => u64::MAX,
        }
    }

    /// Does some work of a process, which may crash; then it returns at which step.
    fn run<R>(&mut self, work: impl FnOnce(&Rings) -> R) -> Result<R, &'static str> {
        let crash = self.crash();
        self.run_to(crash, work)
    }

    fn run_to<R>(&mut self, crash: u64, work: impl FnOnce(&Rings) -> R) -> Result<R, &'static str> {
        let done = crash_at(crash, || work(&self.rings));
        if let Err(step) = &done {
            *self.crashes.entry(step).or_default() += 1;
        }
        done
    }

    fn lend(&mut self, number: u64) {
        let len = 16 + self.random.below(3 << 20) as usize;
        let Ok(Some(mut lease)) = self.run(|rings| rings.lend(len as u64, u64::MAX)) else {
            return;
        };
        let bytes = self.rings.memory().bytes_mut(&mut lease.held);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[len - 8..len].copy_from_slice(&number.to_le_bytes());
        self.loans.push(Handed { lease, number, len });
    }

    /// The number that a block has, if both its ends say the same.
    fn number(&self, lease: &BlockLease, len: usize) -> Option<u64> {
        let bytes = self.rings.memory().bytes(&lease.held);
        let ends = [&bytes[..8], &bytes[len - 8..len]];
        let [first, last] = ends.map(|end| u64::from_le_bytes(end.try_into().expect("8 bytes")));
        (first == last).then_some(first)
    }

    fn put(&mut self, number: u64) {
        let loan = match self.loans.is_empty() || self.random.below(4) == 0 {
            true => None,
            false => Some(
                self.loans
                    .swap_remove(self.random.below(self.loans.len() as u64) as usize),
            ),
        };
        let (number, len) = match &loan {
            Some(loan) => {
                assert_eq!(self.number(&loan.lease, loan.len), Some(loan.number));
                (loan.number, Some(loan.len))
            }
            None => (number, None),
        };
        let bytes = number.to_le_bytes();
        let block = loan.as_ref().map(|loan| (&loan.lease, loan.len as u64));
        let item = PutItem {
            bytes: &bytes,
            block,
        };
        match self.run(|rings| rings.put_item(item)) {
            Ok(Some(_)) | Err("put: committed") => self.expected.push_back((number, len)),
            // The rings are full; the writer keeps what it has.
            Ok(None) => self.loans.extend(loan),
            Err(_) => {}
        }
    }

    fn take(&mut self) {
        let mut buffer = Vec::new();
        let mut block = None;
        let before = self.rings.header().progress.taken.load(SeqCst);
        let taken = self.run(|rings| {
            let taken = rings.take_with_block(&mut buffer, &mut block, |_, _| ());
            taken.expect("whole rings")
        });
        let after = self.rings.header().progress.taken.load(SeqCst);
        if after == before {
            assert!(matches!(taken, Err(_) | Ok(None)));
            assert!(taken.is_err() || self.expected.is_empty());
            return;
        }
        let (number, len) = self.expected.pop_front().expect("an item is there");
        let Ok(Some((_, bytes))) = taken else {
            return;
        };
        assert_eq!(buffer[..bytes], number.to_le_bytes());
        assert_eq!(block.as_ref().map(|(_, used)| *used), len);
        if let Some((lease, len)) = block {
            assert_eq!(self.number(&lease, len), Some(number));
            self.borrowed.push(Handed { lease, number, len });
        }
    }

    fn give_back(&mut self) {
        let of_writers = self.random.below(4) == 0;
        let hands = match of_writers {
            true => &mut self.loans,
            false => &mut self.borrowed,
        };
        if let Some(lent) = hands.pop() {
            assert_eq!(self.number(&lent.lease, lent.len), Some(lent.number));
            // A crash leaves it with the process that has ended.
            let _ = self.run(|rings| rings.give_back(&lent.lease));
        }
    }

    /// What those do who come next. They may crash, too.
    fn repair(&mut self) {
        let mine = Identity::mine().word();
        let hands = self.loans.iter().chain(&self.borrowed);
        let held: Vec<usize> = hands.map(|lent| lent.lease.index).collect();
        let blocks = &self.rings.header().lent.blocks;
        for (index, block) in blocks.iter().enumerate() {
            if block.holder.load(SeqCst) == mine && !held.contains(&index) {
                block.holder.store(DEAD, SeqCst);
            }
        }
        for repair in [
            Rings::clear_half_written,
            Rings::repair,
            Rings::free_blocks_of_the_dead,
            Rings::trim,
        ] {
            // Some crash more than once.
            loop {
                let crash = self.random.below(3);
                if self.run_to(crash, repair).is_ok() {
                    break;
                }
            }
        }
        let queued = self.expected.iter().filter(|(_, len)| len.is_some());
        let expected = held.len() + queued.count();
        let blocks = &self.rings.header().lent.blocks;
        let taken = blocks.iter().filter(|it| it.holder.load(SeqCst) != 0);
        assert_eq!(taken.count(), expected, "blocks have a holder");
    }
}

/// Every step of memory that is lent; the test below must have crashed at each.
const STEPS: [&str; 9] = [
    "lend: the place is written",
    "lend: the block is lent",
    "put: the block is the item's",
    "take: the block is handed on",
    "lend: the block's memory is given back",
    "lend: the block is free",
    "lend: the block of a dead process is free",
    "lend: the memory of the dead is given back",
    "lend: the memory is given back",
];

#[test]
fn a_crash_at_any_step_leaves_each_block_with_its_holder_or_with_nobody() {
    silence_crashes();
    let mut crashes = BTreeMap::<_, u32>::new();
    for seed in 1..=20 {
        let mut model = LentModel::new(seed);
        for number in 0..1500 {
            // Now and then nobody has anything, so that memory goes back to the system.
            let goal = [1, 6, 0, 12][(number / 100) as usize % 4];
            let grows = model.expected.len() + model.loans.len() < goal;
            match (model.random.below(6), grows) {
                (0..2, true) => model.lend(number),
                (2..5, true) | (0, false) => model.put(number),
                (5, true) | (1..3, false) => model.take(),
                _ => model.give_back(),
            }
            model.repair();
        }
        while !model.expected.is_empty() {
            model.take();
            model.repair();
        }
        while !(model.loans.is_empty() && model.borrowed.is_empty()) {
            model.give_back();
            model.repair();
        }
        let all = model.rings.block_max();
        assert!(model.rings.lend(all, u64::MAX).is_some(), "seed {seed}");
        for (step, count) in model.crashes {
            *crashes.entry(step).or_default() += count;
        }
    }
    for step in STEPS {
        let count = crashes.remove(step).unwrap_or(0);
        assert!(count >= 10, "{count} crashes at {step:?}");
    }
}
