//! Memory that a queue lends, behind the rings: blocks of any size, each with a word that says who
//! has it.
//!
//! # Who has a block
//! A process, from the loan until it publishes the block, and again from the take until it gives it
//! back; in between the queue has it, for the item with a certain number. Each change is one store
//! to `holder`, so that a block always has one holder, whoever is killed. What a killed process had
//! is free once somebody has seen that it is dead: [`Rings::free_blocks_of_the_dead`].
//!
//! A put marks the block as the item's before its commit, and a take as the process's after its
//! commit. Whoever is killed between the two stores of a put leaves the block of an item that never
//! came, and between those of a take, that of an item that is gone. Both lie in the middle of a lock,
//! whose next owner gives the block back: [`Rings::free_blocks_not_put`] and
//! [`Rings::free_blocks_taken`].
//!
//! # Where a block lies
//! At the first gap between the others that is large enough. Nothing is noted but the blocks
//! themselves, so nothing else can be wrong after a death. Blocks at the start are used again while
//! they are in the caches, and keep their memory; see [`Rings::give_back`].

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use super::layout::{BLOCKS, Block, BlockTable};
use super::memory::{LENDING, PAGE};
use super::ring::Rings;
use super::step::step;
use crate::limits;
use crate::sys::identity::Identity;
use crate::sys::shm::HeldWords;
use crate::sys::word::AtomicU64;

/// The memory that a queue keeps when nobody has a block, in bytes.
pub(super) const KEPT_IDLE: u64 = 8 << 20;

/// The memory that it keeps meanwhile, for the next block, in bytes; no more than a small part of
/// the machine's memory.
const KEPT_BUSY: u64 = 128 << 20;

/// Whoever has more than a few MiB to lend looks for the dead so often, in milliseconds.
const LOOK_EVERY: u64 = 100;

/// Set in `holder` if the queue has the block. The other bits are the item's number; without it,
/// they are the [`Identity`] of a process.
const QUEUED: u64 = 1 << 63;

/// A block in the hands of this process.
pub(crate) struct BlockLease {
    pub(super) index: usize,
    pub(super) held: HeldWords,
    /// Who has it. A child that is forked has this value too, but not the block.
    owner: Identity,
}

impl BlockLease {
    /// Whether it is the calling process that has the block.
    pub(super) fn is_mine(&self) -> bool {
        self.owner == Identity::mine()
    }
}

impl BlockTable {
    fn used(&self) -> usize {
        self.used.load(Relaxed).min(BLOCKS as u64) as usize
    }

    /// The blocks that may have a holder.
    fn blocks(&self) -> &[Block] {
        // A block is counted by who holds a lock that the caller has or had since.
        &self.blocks[..self.used()]
    }

    fn is_all_free(&self) -> bool {
        let mut blocks = self.blocks().iter();
        blocks.all(|block| block.holder.load(Acquire) == 0)
    }
}

impl Block {
    fn free(&self, holder: u64) -> bool {
        // Release: the last holder's reads and writes come before those of the next, which acquires.
        let freed = self.holder.compare_exchange(holder, 0, Release, Relaxed);
        freed.is_ok()
    }

    /// Whether the item with this number has it.
    pub(super) fn is_queued(&self, ordinal: u64) -> bool {
        self.holder.load(Relaxed) == QUEUED | ordinal
    }

    /// Hands it to the item with this number, before its commit.
    pub(super) fn enqueue(&self, ordinal: u64) {
        // Relaxed, since the commit releases it with the record.
        self.holder.store(QUEUED | ordinal, Relaxed);
    }

    fn end(&self) -> u64 {
        let (start, bytes) = (self.start.load(Relaxed), self.bytes.load(Relaxed));
        start.saturating_add(bytes)
    }
}

impl Rings {
    fn lent(&self) -> &BlockTable {
        &self.header().lent
    }

    /// Behind this byte, no block has any memory.
    #[inline]
    fn reach(&self) -> &AtomicU64 {
        &self.header().fixed.lent_reach
    }

    /// The longest block that there is ever room for, in bytes.
    pub(super) fn block_max(&self) -> u64 {
        self.memory.lap(LENDING)
    }

    /// How many blocks were ever given back.
    pub(super) fn returned(&self) -> u64 {
        self.lent().returned.load(SeqCst)
    }

    // -- With `producers.lock` held.

    /// Lends a block of so many bytes that ends before `end_max`; `None` if there is no room.
    pub(super) fn lend(&self, bytes: u64, end_max: u64) -> Option<BlockLease> {
        let lent = self.lent();
        let bytes = bytes.max(1).checked_next_multiple_of(PAGE)?;
        let end_max = end_max.min(self.block_max());
        let fits = |start: u64| start.checked_add(bytes).is_some_and(|end| end <= end_max);
        let mut gap = self.gap(bytes);
        let reach = self.reach().load(Relaxed);
        if gap.is_none_or(|(_, start)| start.saturating_add(bytes) > reach) {
            // Before it takes more memory, it takes back what it can.
            self.free_blocks_of_the_dead();
            gap = self.gap(bytes);
        }
        let (index, start) = gap.filter(|(_, start)| fits(*start))?;
        let (block, me) = (&lent.blocks[index], Identity::mine());
        block.start.store(start, Relaxed);
        block.bytes.store(bytes, Relaxed);
        // Before the block has a holder: who is killed in between leaves it too large.
        self.reach().store(reach.max(start + bytes), Relaxed);
        if index == lent.used() {
            lent.used.store(index as u64 + 1, Relaxed);
        }
        step("lend: the place is written");
        block.holder.store(me.word(), Release);
        step("lend: the block is lent");
        let held = self.memory.hold(block, bytes)?;
        Some(BlockLease {
            index,
            held,
            owner: me,
        })
    }

    /// The first gap of so many bytes, and a block that nobody has.
    fn gap(&self, bytes: u64) -> Option<(usize, u64)> {
        let lent = self.lent();
        let mut vacant = None;
        let mut taken = Vec::new();
        for (index, block) in lent.blocks().iter().enumerate() {
            // Acquire: the holder before is done with it.
            match block.holder.load(Acquire) {
                0 => vacant = vacant.or(Some(index)),
                _ => taken.push((block.start.load(Relaxed), block.end())),
            }
        }
        let next = Some(lent.used()).filter(|next| *next < BLOCKS);
        taken.sort_unstable();
        let mut start = 0u64;
        for (next, end) in taken {
            if next.saturating_sub(start) >= bytes {
                break;
            }
            start = start.max(end);
        }
        Some((vacant.or(next)?, start))
    }

    /// Gives back what processes had that are dead.
    pub(super) fn free_blocks_of_the_dead(&self) {
        let lent = self.lent();
        let me = Identity::mine();
        let mut count = 0;
        // One process may have many blocks, and a look at it takes time.
        let mut living = me;
        for block in lent.blocks() {
            let word = block.holder.load(Acquire);
            let process = Identity::from_word(word).filter(|_| word & QUEUED == 0);
            let Some(process) = process.filter(|it| *it != me && *it != living) else {
                continue;
            };
            if process.is_alive() {
                living = process;
            } else {
                self.discard_lent(block, kept_busy());
                step("lend: the memory of the dead is given back");
                count += u64::from(block.free(word));
            }
        }
        // Their own locks are repaired by whoever is next; here, nobody need come.
        self.count_returned(count);
    }

    /// Gives back the blocks of puts that were not committed. Their owners are dead.
    pub(super) fn free_blocks_not_put(&self) {
        let put = self.header().put.load(Relaxed);
        self.free_queued(|ordinal| ordinal >= put);
    }

    /// Gives back memory that nobody has, but for a little, if nobody has a block.
    pub(super) fn trim(&self) {
        let lent = self.lent();
        let reach = self.reach().load(Relaxed);
        if reach > KEPT_IDLE && lent.is_all_free() {
            self.memory
                .discard(LENDING, KEPT_IDLE..reach.min(self.block_max()));
            step("lend: the memory is given back");
            self.reach().store(KEPT_IDLE, Relaxed);
        }
    }

    /// Looks for dead holders if much is lent, and nobody has looked for a while.
    #[inline]
    pub(super) fn look_through(&self) {
        if self.reach().load(Relaxed) > KEPT_IDLE {
            self.look_through_at_times();
        }
    }

    #[cold]
    fn look_through_at_times(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as u64);
        let looked = &self.lent().looked;
        if looked.load(Relaxed).abs_diff(now) >= LOOK_EVERY {
            looked.store(now, Relaxed);
            self.free_blocks_of_the_dead();
            self.trim();
        }
    }

    // -- With `consumers.lock` held.

    /// Takes a block from the item that was just taken, and lends it to the caller.
    pub(super) fn take_block(&self, index: usize, held: HeldWords) -> BlockLease {
        let me = Identity::mine();
        // Release, as in every change of holders.
        self.lent().blocks[index].holder.store(me.word(), Release);
        step("take: the block is handed on");
        BlockLease {
            index,
            held,
            owner: me,
        }
    }

    /// Gives back the blocks of items that were taken by processes that died in the middle of it.
    pub(super) fn free_blocks_taken(&self) {
        let taken = self.header().progress.taken.load(Relaxed);
        self.free_queued(|ordinal| ordinal < taken);
    }

    // -- Without a lock.

    /// Gives a block back. In a forked child, it is not the child's, and nothing happens.
    pub(super) fn give_back(&self, lease: &BlockLease) {
        if !lease.is_mine() {
            return;
        }
        let block = &self.lent().blocks[lease.index];
        self.discard_lent(block, kept_busy());
        step("lend: the block's memory is given back");
        let freed = block.free(lease.owner.word());
        step("lend: the block is free");
        self.count_returned(freed.into());
    }

    /// Whether memory waits to be given back by [`trim`](Self::trim).
    pub(super) fn is_to_be_trimmed(&self) -> bool {
        let lent = self.lent();
        self.reach().load(Relaxed) > KEPT_IDLE && lent.is_all_free()
    }

    fn free_queued(&self, is_stale: impl Fn(u64) -> bool) {
        let mut count = 0;
        for block in self.lent().blocks() {
            let word = block.holder.load(Relaxed);
            if word & QUEUED != 0 && is_stale(word & !QUEUED) {
                self.discard_lent(block, kept_busy());
                count += u64::from(block.free(word));
                step("lend: the block of a dead process is free");
            }
        }
        self.count_returned(count);
    }

    /// Tells those who wait for memory.
    fn count_returned(&self, count: u64) {
        if count > 0 {
            self.lent().returned.fetch_add(count, SeqCst);
            self.header().room.notify_many(count as usize);
        }
    }

    /// Gives the memory of a block back that lies behind so many bytes, while it has a holder.
    fn discard_lent(&self, block: &Block, kept: u64) {
        let start = block.start.load(Relaxed).max(kept);
        let end = block.end().min(self.block_max());
        if start < end {
            self.memory.discard(LENDING, start..end);
        }
    }
}

/// How much memory is kept while blocks are in use.
fn kept_busy() -> u64 {
    static KEPT: OnceLock<u64> = OnceLock::new();
    *KEPT.get_or_init(|| KEPT_BUSY.min(limits::physical_memory() / 64) & !(PAGE - 1))
}
