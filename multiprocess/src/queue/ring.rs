//! The rings: how items lie in the shared memory, and how a put or a take happens at one instant.
//!
//! # Commit
//! Each side has a count (`put`, `taken`) and two places for its position. An operation writes what
//! nobody looks at yet: the record behind the tail, the position that is not in force. Then it
//! stores the count plus one, and with that single store the other position is in force and the
//! operation has happened. A process killed before it has changed nothing, killed after it has done
//! everything but tidying up, which the next owner of the lock repeats.
//!
//! # Rings
//! The *hot* ring is small and stays in the cores' caches. When it is full, the producers go on in
//! the *warm* ring, then in a *cold* one, and leave a link where they went; the consumers follow it.
//! They may enter a ring when the consumers have left it, so that a ring holds one stretch of the
//! queue. When little is left in a larger ring, they return to a smaller one. Hot and warm keep
//! their memory; a cold ring is address space, whose memory is given back behind the consumers.
//! There are two cold rings, since one may still be in the consumers' hands when the producers,
//! back in a smaller ring, need one again.
//!
//! ```text
//!  hot    taken ... taken | record | record | LINK --+         (the rest of the page is unused)
//!                         ^ head: `consumers.at`     |
//!                           and `free` of this ring  |
//!                                                    |
//!         +------------------------------------------+  `left` of the hot ring is the page's end
//!         v
//!  warm   record | record | record | LINK --+
//!                                           |
//!         +---------------------------------+
//!         v
//!  cold   record | record | free room ... up to `free` of this ring and one lap
//!                         ^ tail: `producers.at`
//! ```
//!
//! A record is a word with the length and the first four bytes of the item, then the rest of the
//! bytes, up to a whole word.
//!
//! # Positions
//! Bytes of a ring are counted without end; a lap is a power of two. In each ring, the producers may
//! write up to one lap behind `free`. A ring is left at a page border, and entered there again.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

use super::batch::Frames;
use super::blocks::BlockLease;
use super::layout::{Header, RINGS};
use super::memory::{COLD, Memory, PAGE, Place, Unread, WORD, bytes_with_block, record_bytes};
use super::step::step;
use crate::sys::shm::{HeldWords, Shared};

/// How many bytes go in or out under one lock, in bytes: others wait for it so long.
const BATCH_BYTES: usize = 64 << 10;

/// The rings, and who is where in them.
pub(crate) struct Rings {
    pub(super) memory: Memory,
}

/// An item that is put: its bytes, and so many of a block, which becomes the item's.
#[derive(Clone, Copy)]
pub(super) struct PutItem<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) block: Option<(&'a BlockLease, u64)>,
}

impl<'a> PutItem<'a> {
    pub(super) fn without_block(bytes: &'a [u8]) -> Self {
        Self { bytes, block: None }
    }
}

/// The block of an item that was taken, and how much of it is in use.
pub(crate) type TakenBlock = (BlockLease, usize);

/// Where the block of an item goes that is taken: to the caller, or with `None` into the buffer, as
/// [`codec::decode`](crate::codec::decode) reads it.
type BlockPlace<'a> = Option<&'a mut Option<TakenBlock>>;

impl Rings {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        self.memory.header()
    }

    /// The longest item that there is ever room for, in bytes.
    #[inline]
    pub(crate) fn item_max(&self) -> u64 {
        self.memory.item_max()
    }

    /// The memory, to be handed over.
    pub(crate) fn memory(&self) -> &Shared<Header> {
        self.memory.shared()
    }

    // -- The producers' side; all of it with `producers.lock` held.

    /// Puts an item at the end and returns its number, counted from 0; `None` if there is no room.
    #[inline]
    pub(super) fn put_item(&self, item: PutItem<'_>) -> Option<u64> {
        // The commit stands in one order with the sleepers' announcements: a consumer sees it or is
        // seen to sleep.
        self.put_committing(item, SeqCst)
    }

    /// As [`put_item`](Self::put_item), of mere bytes.
    #[cfg(test)]
    pub(super) fn put(&self, item: &[u8]) -> Option<u64> {
        self.put_item(PutItem::without_block(item))
    }

    /// Puts items as far as there is room, and no more than [`BATCH_BYTES`]; returns how many. One
    /// commit each: whoever dies in
    /// here has put some of them.
    pub(crate) fn put_many<'a>(&self, items: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut count = 0;
        let mut bytes = 0;
        // Release is enough for all but the last, for nobody is woken before that.
        for item in items {
            bytes += item.len();
            let item = PutItem::without_block(item);
            if bytes > BATCH_BYTES || self.put_committing(item, Release).is_none() {
                break;
            }
            count += 1;
        }
        if count > 0 {
            // The last commit once more, in one order with the sleepers' announcements.
            let put = &self.header().put;
            put.store(put.load(Relaxed), SeqCst);
        }
        count
    }

    /// Puts an item with this ordering of its commit, which is at least `Release`.
    #[inline]
    fn put_committing(&self, item: PutItem<'_>, commit: Ordering) -> Option<u64> {
        let header = self.header();
        let count = header.put.load(Relaxed);
        if !self.has_room_for_one_more(count) {
            return None;
        }
        let tail = Place::from_word(header.producers.at[(count & 1) as usize].load(Relaxed));
        let need = match item.block {
            None => record_bytes(item.bytes.len()),
            Some(_) => bytes_with_block(item.bytes.len()),
        };
        let place = self.place_for(tail, need)?;
        match item.block {
            None => self.memory.write(place, item.bytes),
            Some((lease, used)) => {
                let block = (lease.index, used);
                self.memory.write_with_block(place, item.bytes, block);
            }
        }
        // Up to here, nobody looks at what was written: it lies behind the tail.
        step("put: the record is written");
        let next = count.wrapping_add(1);
        // The place that is not in force. Relaxed, since only who holds the lock reads it.
        header.producers.at[(next & 1) as usize].store(place.after(need).word(), Relaxed);
        step("put: the position is written");
        if let Some((lease, _)) = item.block {
            header.lent.blocks[lease.index].enqueue(count);
            step("put: the block is the item's");
        }
        // The commit. It releases the record to the consumer that acquires this count.
        header.put.store(next, commit);
        step("put: committed");
        Some(count)
    }

    /// Whether an item of this length must go to a cold ring now, and would have room in a smaller
    /// one if the consumers were further.
    pub(crate) fn is_crowded(&self, len: usize) -> bool {
        let header = self.header();
        let count = header.put.load(Relaxed);
        let tail = Place::from_word(header.producers.at[(count & 1) as usize].load(Relaxed));
        let need = record_bytes(len);
        let could_hold = |ring: usize| need + WORD <= self.memory.lap(ring);
        tail.ring < COLD
            && could_hold(COLD - 1)
            && !self.fits(tail, need)
            && !(tail.ring + 1..COLD).any(|ring| could_hold(ring) && self.is_vacant(ring))
    }

    /// Whether the limit of items allows another.
    #[inline]
    fn has_room_for_one_more(&self, count: u64) -> bool {
        let header = self.header();
        let maxsize = header.fixed.maxsize.load(Relaxed);
        if maxsize == 0 || count.wrapping_sub(header.producers.taken_seen.load(Relaxed)) < maxsize {
            return true;
        }
        // Acquire: what the consumer did before its commit has happened.
        let taken = header.progress.taken.load(Acquire);
        header.producers.taken_seen.store(taken, Relaxed);
        count.wrapping_sub(taken) < maxsize
    }

    /// Where a record of `need` bytes goes: behind the tail, or in another ring, to which a link is
    /// then laid.
    #[inline]
    fn place_for(&self, tail: Place, need: u64) -> Option<Place> {
        let crosses_page = (tail.position ^ (tail.position + need)) & !(PAGE - 1) != 0;
        if tail.ring > 0
            && crosses_page
            && let Some(smaller) = self.smaller_ring(tail, need)
        {
            return Some(self.link(tail, smaller));
        }
        if self.fits(tail, need) {
            return Some(tail);
        }
        let larger = (tail.ring + 1..RINGS)
            .find(|&ring| need + WORD <= self.memory.lap(ring) && self.is_vacant(ring))?;
        Some(self.link(tail, larger))
    }

    /// Whether the ring of `tail` has room for a record, and behind it for a link.
    #[inline]
    fn fits(&self, tail: Place, need: u64) -> bool {
        let header = self.header();
        // So much of the lap may be in use before the record.
        let Some(most) = self.memory.lap(tail.ring).checked_sub(need + WORD) else {
            return false;
        };
        let seen = Place::from_word(header.producers.free_seen.load(Relaxed));
        if seen.ring == tail.ring && tail.position.wrapping_sub(seen.position) <= most {
            return true;
        }
        // Acquire: the consumer has read what lay before this place, so it may be written over.
        let free = header.progress.free[tail.ring].load(Acquire);
        let seen = Place::at(tail.ring, free);
        header.producers.free_seen.store(seen.word(), Relaxed);
        tail.position.wrapping_sub(free) <= most
    }

    /// A smaller ring to return to: all is in the tail's ring, and would fill at most half of it.
    #[cold]
    fn smaller_ring(&self, tail: Place, need: u64) -> Option<usize> {
        // Relaxed: an old value only says that more is in it.
        let free = self.header().progress.free[tail.ring].load(Relaxed);
        let outstanding = tail.position.wrapping_sub(free).saturating_add(need);
        let ring = (0..tail.ring).find(|&ring| outstanding <= self.memory.lap(ring) / 2)?;
        (0..RINGS)
            .all(|ring| ring == tail.ring || self.is_vacant(ring))
            .then_some(ring)
    }

    /// Whether the consumers have left a ring that the producers are not in.
    fn is_vacant(&self, ring: usize) -> bool {
        let header = self.header();
        // Acquire: the consumer has read, and given back, all of the ring.
        header.progress.free[ring].load(Acquire) == header.producers.left[ring].load(Relaxed)
    }

    /// Lays a link at the tail and returns where it leads. Unseen until the next commit.
    #[cold]
    fn link(&self, tail: Place, ring: usize) -> Place {
        let left = &self.header().producers.left;
        // Relaxed, since the commit of the record that follows releases the link with it.
        self.memory.lay_link(tail, ring);
        step("put: the link is written");
        left[tail.ring].store(tail.after(WORD).page_end().position, Relaxed);
        step("put: the end of the ring is written");
        Place::at(ring, left[ring].load(Relaxed))
    }

    /// Gives back the memory of what a producer had written when it was killed before its commit.
    pub(crate) fn clear_half_written(&self) {
        self.free_blocks_not_put();
        let header = self.header();
        let count = header.put.load(Relaxed);
        let tail = Place::from_word(header.producers.at[(count & 1) as usize].load(Relaxed));
        for ring in COLD..RINGS {
            let lap = self.memory.lap(ring);
            let free = header.progress.free[ring].load(Acquire);
            if ring == tail.ring {
                self.memory
                    .discard(ring, tail.page_end().position..free.wrapping_add(lap));
            } else if self.is_vacant(ring) {
                self.memory.discard(ring, free..free.wrapping_add(lap));
            }
        }
    }

    // -- The consumers' side; all of it with `consumers.lock` held.

    /// Takes the first item into `buffer` from `start` on, whose length only grows; returns the
    /// item's number and its length. Calls `before_commit` with both when all but the commit is done.
    #[inline]
    pub(crate) fn take(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        before_commit: impl FnOnce(u64, &[u8]),
    ) -> Result<Option<(u64, usize)>, Unread> {
        // The commit stands in one order with the announcements of producers that wait for room.
        self.take_committing(buffer, start, before_commit, (SeqCst, None))
    }

    /// As [`take`](Self::take), but the item's block, if it has one, goes to `block`.
    #[inline]
    pub(super) fn take_with_block(
        &self,
        buffer: &mut Vec<u8>,
        block: &mut Option<TakenBlock>,
        before_commit: impl FnOnce(u64, &[u8]),
    ) -> Result<Option<(u64, usize)>, Unread> {
        self.take_committing(buffer, 0, before_commit, (SeqCst, Some(block)))
    }

    /// Takes at most `max` items, until they are [`BATCH_BYTES`], and appends them to `batch`; returns
    /// how many. One commit each: whoever dies in here has taken some of them. Calls `before_commit` before each.
    pub(crate) fn take_many(
        &self,
        batch: &mut Frames,
        max: usize,
        mut before_commit: impl FnMut(),
    ) -> Result<usize, Unread> {
        let mut count = 0;
        let mut bytes = 0;
        // Release is enough for all but the last, for nobody is woken before that.
        while count < max && bytes < BATCH_BYTES {
            let (buffer, start) = batch.room();
            let how = (Release, None);
            let taken = self.take_committing(buffer, start, |_, _| before_commit(), how);
            match taken {
                Ok(Some((_, len))) => {
                    batch.push(len);
                    bytes += len;
                }
                Err(reason) if count == 0 => return Err(reason),
                Ok(None) | Err(_) => break,
            }
            count += 1;
        }
        if count > 0 {
            // The last commit once more, in one order with the announcements of sleepers.
            let taken = &self.header().progress.taken;
            taken.store(taken.load(Relaxed), SeqCst);
        }
        Ok(count)
    }

    /// As [`take`](Self::take), with this ordering of the commit, which is at least `Release`.
    #[inline]
    fn take_committing(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        before_commit: impl FnOnce(u64, &[u8]),
        (commit, block): (Ordering, BlockPlace<'_>),
    ) -> Result<Option<(u64, usize)>, Unread> {
        let header = self.header();
        let count = header.progress.taken.load(Relaxed);
        if header.consumers.put_seen.load(Relaxed) <= count {
            // Acquire: the records, and the links to them, are there.
            let put = header.put.load(Acquire);
            if put <= count {
                return Ok(None);
            }
            header.consumers.put_seen.store(put, Relaxed);
        }
        let head = Place::from_word(header.consumers.at[(count & 1) as usize].load(Relaxed));
        let place = self.follow(head);
        let record = self.memory.read(place, buffer, start)?;
        let mut len = record.len;
        let mut held = None;
        if let Some((index, used)) = record.block {
            let (words, used) = self.held_by_item(count, index, used)?;
            if block.is_none() {
                let bytes = &self.memory.shared().bytes(&words)[..used];
                len = self.memory.append_block(buffer, start, len, bytes)?;
            }
            held = Some((index, words, used));
        }
        step("take: the item is read");
        before_commit(count, &buffer[start..start + len]);
        let end = place.after(record.bytes);
        let next = count.wrapping_add(1);
        // The place that is not in force. Relaxed, since only who holds the lock reads it.
        header.consumers.at[(next & 1) as usize].store(end.word(), Relaxed);
        step("take: the position is written");
        // The commit.
        header.progress.taken.store(next, commit);
        step("take: committed");
        // Only who has taken the item may have its block: before, a killed consumer would have had
        // what the next one reads.
        if let Some((index, words, used)) = held {
            self.hand_on(index, words, used, block);
        }
        // The room is given free after the commit: before it, a killed consumer would have lost what
        // the producers then write over.
        if place.ring != head.ring {
            self.vacate(end.ring);
        }
        self.free_up_to(end);
        Ok(Some((count, len)))
    }

    /// Takes the block of the item that was just taken, and gives it back if it was copied.
    #[cold]
    fn hand_on(&self, index: usize, words: HeldWords, used: usize, block: BlockPlace<'_>) {
        let lease = self.take_block(index, words);
        match block {
            Some(place) => *place = Some((lease, used)),
            None => self.give_back(&lease),
        }
    }

    /// The block of the item with this number, and how much of it is in use.
    #[cold]
    fn held_by_item(
        &self,
        count: u64,
        index: usize,
        used: u64,
    ) -> Result<(HeldWords, usize), Unread> {
        let block = self.header().lent.blocks.get(index);
        let block = block.filter(|block| block.is_queued(count));
        let held = block.and_then(|block| self.memory.hold(block, used));
        held.map(|held| (held, used as usize))
            .ok_or(Unread::Damaged)
    }

    /// Writes over the first item, as a process that has gone wrong may.
    #[cfg(test)]
    pub(super) fn damage_first(&self, word: u64) {
        let header = self.header();
        let count = header.progress.taken.load(Relaxed);
        let head = Place::from_word(header.consumers.at[(count & 1) as usize].load(Relaxed));
        self.memory.word(self.follow(head)).store(word, Relaxed);
    }

    /// Repeats what a consumer may have left undone after its commit.
    pub(crate) fn repair(&self) {
        let header = self.header();
        let count = header.progress.taken.load(Relaxed);
        let head = Place::from_word(header.consumers.at[(count & 1) as usize].load(Relaxed));
        self.free_blocks_taken();
        self.vacate(head.ring);
        self.free_up_to(head);
    }

    /// Where the record at `head` really is, if that is a link.
    #[inline]
    fn follow(&self, head: Place) -> Place {
        let Some(ring) = self.memory.link(head) else {
            return head;
        };
        let end = head.after(WORD).page_end();
        self.header().consumers.leaving.store(end.word(), Relaxed);
        step("take: the end of the ring is written");
        Place::at(ring, self.header().progress.free[ring].load(Relaxed))
    }

    /// Opens the ring that was left for `current` to the producers.
    #[cold]
    fn vacate(&self, current: usize) {
        let end = Place::from_word(self.header().consumers.leaving.load(Relaxed));
        if end.ring == current {
            return;
        }
        let free = &self.header().progress.free[end.ring];
        if end.ring >= COLD {
            self.memory
                .discard(end.ring, free.load(Relaxed)..end.position);
        }
        // Its memory is given back first: from the next store on, a producer may be in it.
        step("take: the ring left is empty");
        // Release: all reads of the ring come before a producer's writes to it.
        free.store(end.position, Release);
        step("take: the ring left is free");
    }

    /// Lets the producers write over what lies before `head`. In a cold ring the memory is given
    /// back first, a good piece at a time; up to then nobody else can be in it.
    #[inline]
    fn free_up_to(&self, head: Place) {
        let free = &self.header().progress.free[head.ring];
        if head.ring < COLD {
            // Release: this item was read before a producer writes over it.
            free.store(head.position, Release);
            step("take: the room is free");
        } else if head.position.wrapping_sub(free.load(Relaxed))
            >= self.memory.discard_min(head.ring)
        {
            let end = head.position & !(PAGE - 1);
            self.memory.discard(head.ring, free.load(Relaxed)..end);
            step("take: the memory is given back");
            free.store(end, Release);
            step("take: the cold room is free");
        }
    }
}
