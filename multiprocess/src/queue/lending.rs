//! A queue's memory as its callers have it: lent, waited for, written and given back.

use std::io;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::blocks::{BlockLease, KEPT_IDLE};
use super::raw::{RawQueue, Wait};
use super::ring::PutItem;
pub(crate) use super::ring::TakenBlock;
use crate::codec::{self, Buffer, copy::copy};
use crate::{Error, Result, Serializable, fd_passing};

/// Where a part begins in a block: at whole words, in bytes.
const ALIGN: usize = 8;

/// Who waits for memory looks for holders that died so often.
const LOOK: Duration = Duration::from_millis(20);

/// A block in the hands of this process, which gives it back when it is dropped.
pub(crate) struct Lent<R: Deref<Target = RawQueue>> {
    queue: R,
    /// None once the block is an item's.
    lease: Option<BlockLease>,
}

impl<R: Deref<Target = RawQueue>> Lent<R> {
    pub(crate) fn new(queue: R, lease: BlockLease) -> Self {
        let lease = Some(lease);
        Self { queue, lease }
    }

    /// The block without the queue that it goes back to.
    pub(crate) fn into_lease(mut self) -> BlockLease {
        self.lease.take().expect("it is there until it is put")
    }

    fn lease(&self) -> &BlockLease {
        self.lease.as_ref().expect("it is there until it is put")
    }

    /// All bytes of the block, which may be more than were asked for.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.queue.rings.memory().bytes(&self.lease().held)
    }

    /// As [`bytes`](Self::bytes), to be written.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let lease = self.lease.as_mut().expect("it is there until it is put");
        self.queue.rings.memory().bytes_mut(&mut lease.held)
    }

    /// Puts an item that has the first `used` bytes of the block. After an error the block is still
    /// the caller's; after none, it is nobody's here. Returns the item's number.
    pub(crate) fn put(&mut self, bytes: &[u8], used: usize, wait: Wait) -> Result<u64> {
        if !self.lease().is_mine() {
            return Err(not_yours());
        }
        let block = Some((self.lease(), used as u64));
        let ordinal = self.queue.put_item(PutItem { bytes, block }, wait)?;
        self.lease = None;
        Ok(ordinal)
    }
}

impl<R: Deref<Target = RawQueue>> Drop for Lent<R> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.queue.rings.give_back(&lease);
            self.queue.trim_if_idle();
        }
    }
}

#[cold]
fn not_yours() -> Error {
    let reason = "the process that it was lent to has forked this one: publish it there, or take a \
                  loan here";
    let reason = io::Error::new(io::ErrorKind::PermissionDenied, reason);
    Error::os("publish a loan", reason)
}

impl RawQueue {
    /// Lends memory of so many bytes, and waits for room.
    pub(super) fn lend(&self, bytes: u64, wait: Wait) -> Result<BlockLease> {
        let max = self.rings.block_max();
        if bytes > max {
            return Err(Error::TooLarge { len: bytes, max });
        }
        loop {
            let before = self.rings.returned();
            if let Some(lease) = self.lend_in_turn(bytes, wait)? {
                return Ok(lease);
            }
            if matches!(wait, Wait::No) || !self.await_returned(before, wait) {
                return Err(Error::Full);
            }
        }
    }

    /// Lends memory of so many bytes if there is room. Before it takes more memory than a few MiB
    /// from the system, it waits a little for readers to give some back, a nanosecond for each byte:
    /// to get it would take about as long, and memory in the caches is faster.
    fn lend_in_turn(&self, bytes: u64, wait: Wait) -> Result<Option<BlockLease>> {
        let near = KEPT_IDLE.max(bytes.saturating_mul(2));
        let until = match wait {
            Wait::No => None,
            _ => Some(Instant::now() + Duration::from_nanos(bytes)),
        };
        loop {
            let before = self.rings.returned();
            let may_wait = until.is_some_and(|until| Instant::now() < until);
            let end_max = if may_wait { near } else { u64::MAX };
            let held = self.lock_to_put(wait)?;
            let lease = self.rings.lend(bytes, end_max);
            drop(held);
            if lease.is_some() || !may_wait {
                return Ok(lease);
            }
            let something_returned = || self.rings.returned() != before || self.is_closed();
            let room = &self.header().room;
            room.wait(&self.for_room, until, something_returned);
        }
    }

    /// Waits until memory was given back, or for as long as a death may go unnoticed; false when the
    /// time is over.
    fn await_returned(&self, before: u64, wait: Wait) -> bool {
        let now = Instant::now();
        let look = now + LOOK;
        let until = wait.deadline().map_or(look, |deadline| deadline.min(look));
        let something_returned = || self.rings.returned() != before || self.is_closed();
        let room = &self.header().room;
        room.wait(&self.for_room, Some(until), something_returned)
            || wait.deadline().is_none_or(|deadline| now < deadline)
    }

    /// Gives memory back that is kept for the next block, but for a little, if nobody has a block.
    #[inline]
    pub(super) fn trim_if_idle(&self) {
        if self.rings.is_to_be_trimmed() {
            let repair = || self.rings.clear_half_written();
            // Whoever has the lock may lend a block, and that one's return comes here again.
            let now = || Some(Instant::now());
            if let Some(_held) = self.header().producers.lock.lock(now, repair) {
                self.rings.trim();
            }
        }
    }

    /// Takes back what killed processes had, unless somebody is in the middle of a put: the next put
    /// then finds it.
    pub(crate) fn take_back_from_the_dead(&self) {
        let repair = || self.rings.clear_half_written();
        let now = || Some(Instant::now());
        if let Some(_held) = self.header().producers.lock.lock(now, repair) {
            self.rings.free_blocks_of_the_dead();
            self.rings.trim();
        }
    }

    /// Puts a value, whose large parts are copied once, into a block.
    #[inline]
    pub(super) fn put_value<T: Serializable>(&self, value: &T, wait: Wait) -> Result<()> {
        let mut buffer = Buffer::to_write();
        let mut block = BlockWriter::new(Some(self), wait);
        block.append_value(value, buffer.bytes())?;
        match block.finish() {
            None => self.put(buffer.bytes(), wait).map(drop),
            Some((mut lent, used)) => lent.put(buffer.bytes(), used, wait).map(drop),
        }
    }

    /// Takes a value, whose large parts are copied once, from its block.
    #[inline]
    pub(super) fn get_value<T: Serializable>(&self, wait: Wait) -> Result<T> {
        let mut buffer = Buffer::to_read();
        let mut block = None;
        let (_, len) = self.get_with_block(buffer.bytes(), &mut block, wait, |_, _| ())?;
        let bytes = &buffer.bytes()[..len];
        match block {
            None => codec::decode_with_block(bytes, &[]),
            Some(block) => self.decode_from_block(bytes, block),
        }
    }

    #[cold]
    fn decode_from_block<T: Serializable>(
        &self,
        bytes: &[u8],
        (lease, used): TakenBlock,
    ) -> Result<T> {
        let lent = Lent::new(self, lease);
        codec::decode_with_block(bytes, &lent.bytes()[..used])
    }
}

/// Writes the large parts of values into a block, which is lent when the first of them comes.
pub(crate) struct BlockWriter<'q> {
    /// Who lends; with `None`, all parts stay with the value's other bytes.
    queue: Option<&'q RawQueue>,
    wait: Wait,
    lent: Option<Lent<&'q RawQueue>>,
    used: usize,
}

impl<'q> BlockWriter<'q> {
    #[inline]
    pub(crate) fn new(queue: Option<&'q RawQueue>, wait: Wait) -> Self {
        Self {
            queue,
            wait,
            lent: None,
            used: 0,
        }
    }

    /// Appends a value to `bytes`, and its large parts to the block, if it can be read again from
    /// both.
    #[inline]
    pub(crate) fn append_value<T: Serializable>(
        &mut self,
        value: &T,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let is_read_back = codec::is_read_back::<T>();
        let start = bytes.len();
        let before = match is_read_back {
            true => (self.used, fd_passing::collected()),
            false => (0, 0),
        };
        codec::append_with_leaves(value, bytes, &mut |part| self.append(part))?;
        match is_read_back {
            true => self.read_back(value, bytes, start, before),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn read_back<T: Serializable>(
        &mut self,
        value: &T,
        bytes: &mut Vec<u8>,
        start: usize,
        (used, collected): (usize, usize),
    ) -> Result<()> {
        // A descriptor can be taken once, by the process that it is for.
        if fd_passing::collected() > collected {
            return Ok(());
        }
        let read = codec::read_back::<T>(&bytes[start..], self.block());
        if read.is_ok() || self.used == used {
            return read;
        }
        // It may be a type that reads strings only where they lie.
        self.used = used;
        bytes.truncate(start);
        codec::append(value, bytes)
    }

    /// Copies a part; returns where it begins, or `None` if there is no room.
    fn append(&mut self, part: &[u8]) -> Option<u64> {
        let start = self.used.next_multiple_of(ALIGN);
        let end = start + part.len();
        let room = self.lent.as_ref().map_or(0, |lent| lent.bytes().len());
        if end > room {
            self.grow(end.max(room.saturating_mul(2)))?;
        }
        copy(&mut self.lent.as_mut()?.bytes_mut()[start..end], part);
        self.used = end;
        Some(start as u64)
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        let queue = self.queue?;
        // What cannot be lent goes with the item; the put then says what is wrong.
        let lease = queue.lend_in_turn(bytes as u64, self.wait).ok()??;
        let mut lent = Lent::new(queue, lease);
        let written = self.block();
        copy(&mut lent.bytes_mut()[..written.len()], written);
        self.lent = Some(lent);
        Some(())
    }

    /// How many bytes were written.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// What was written.
    pub(crate) fn block(&self) -> &[u8] {
        let lent = self.lent.as_ref();
        lent.map_or(&[], |lent| &lent.bytes()[..self.used])
    }

    /// The block and how much of it is in use, if any part went there.
    #[inline]
    pub(crate) fn finish(self) -> Option<(Lent<&'q RawQueue>, usize)> {
        let used = self.used;
        self.lent.filter(|_| used > 0).map(|lent| (lent, used))
    }
}
