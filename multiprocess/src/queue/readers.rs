//! Who has taken how many items, so that `join` can tell a slow reader from a dead one.
//!
//! The sums alone say whether everything was done; a slot only has to say whether its process
//! still has items in hand. What a dead process wrote last does not matter, so a slot is never
//! repaired. The slot of a dead process goes to the next process that asks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::layout::{Header, READERS, Reader};
use super::step::step;
use crate::sys::identity::Identity;

/// How many slots are looked at for a dead owner before another slot is opened.
const LOOKS: u32 = 8;

/// The slot for all who found no other; it belongs to nobody and so never counts as dead.
const COMMON: u32 = READERS as u32 - 1;

/// Which slot this process has; a forked child finds its parent's here, and sees that by `owner`.
#[derive(Default)]
pub(crate) struct ReaderSlot {
    owner: AtomicU64,
    slot: AtomicU32,
}

impl ReaderSlot {
    /// The calling process's slot, claimed at the first call. With `consumers.lock` held.
    #[inline]
    pub(crate) fn reader<'a>(&self, header: &'a Header) -> &'a Reader {
        let me = Identity::mine();
        if self.owner.load(Relaxed) != me.word() {
            self.slot.store(claim(header, me), Relaxed);
            // Release: who acquires the owner finds its slot.
            self.owner.store(me.word(), Release);
        }
        &header.readers[self.slot.load(Relaxed) as usize]
    }

    /// The calling process's slot, if it has claimed one.
    pub(crate) fn claimed<'a>(&self, header: &'a Header) -> Option<&'a Reader> {
        let mine = self.owner.load(Acquire) == Identity::mine().word();
        mine.then(|| &header.readers[self.slot.load(Relaxed) as usize])
    }
}

impl Reader {
    /// Counts an item that its process is about to take. With `consumers.lock` held.
    #[inline]
    pub(crate) fn count_taken(&self) {
        self.taken
            .store(self.taken.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Finds a slot: one whose process is gone, or the next that nobody had.
#[cold]
fn claim(header: &Header, me: Identity) -> u32 {
    let consumers = &header.consumers;
    let used = consumers.readers_used.load(Relaxed).min(COMMON);
    for _ in 0..LOOKS.min(used) {
        let slot = consumers.readers_hand.load(Relaxed) % used;
        consumers.readers_hand.store(slot.wrapping_add(1), Relaxed);
        let reader = &header.readers[slot as usize];
        let owner = Identity::from_word(reader.owner.load(Relaxed));
        if owner.is_none_or(|owner| !owner.is_alive()) {
            // The last owner's items stay lost; this one starts with none in hand.
            reader.done.store(reader.taken.load(Relaxed), Relaxed);
            // Release: who sees this owner in `join` sees that it has nothing in hand.
            reader.owner.store(me.word(), Release);
            return slot;
        }
    }
    if used == COMMON {
        return COMMON;
    }
    header.readers[used as usize]
        .owner
        .store(me.word(), Release);
    // Release: who counts this slot finds its owner in it.
    consumers.readers_used.store(used + 1, Release);
    used
}

/// What `join` can say at this moment.
pub(crate) enum JoinState {
    /// Every item put was reported done.
    AllDone,
    /// All items are taken, and so many were in the hands of processes that died.
    Lost(u64),
    /// Items wait in the queue, or in the hands of living processes.
    Waiting,
}

/// Counts what is missing and asks who has it.
pub(crate) fn join_state(header: &Header) -> JoinState {
    let put = header.put.load(SeqCst);
    let taken = header.progress.taken.load(SeqCst);
    let done = header.done.load(SeqCst);
    if done == put {
        return JoinState::AllDone;
    }
    step("join: the counts are read");
    // A take counts in its slot before it counts in `taken`, and a report counts in `done`
    // before it counts in its slot. So if `done` is the same before and after the look at the
    // slots, an item that is in living hands was seen there.
    if taken < put || in_living_hands(header) > 0 || header.done.load(SeqCst) != done {
        return JoinState::Waiting;
    }
    JoinState::Lost(put.wrapping_sub(done))
}

fn in_living_hands(header: &Header) -> i64 {
    let used = header.consumers.readers_used.load(Acquire).min(COMMON) as usize;
    let readers = header.readers[..used]
        .iter()
        .chain([&header.readers[COMMON as usize]]);
    readers
        .filter_map(|reader| {
            let owner = Identity::from_word(reader.owner.load(Acquire));
            let done = reader.done.load(SeqCst);
            let in_hand = reader.taken.load(SeqCst).wrapping_sub(done).cast_signed();
            let alive = in_hand != 0 && owner.is_none_or(Identity::is_alive);
            alive.then_some(in_hand)
        })
        .fold(0, i64::wrapping_add)
}
