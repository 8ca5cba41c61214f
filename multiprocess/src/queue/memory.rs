//! The rings as memory: words, records, and the way back to the system.
//!
//! All loads and stores of words are `Relaxed`, and those of many bytes are no atomics: the commits
//! of [`ring`](super::ring) order them.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::Ordering::Relaxed;

use super::layout::{AREAS, Block, Header, RINGS};
use crate::codec::{copy::copy, leaves};
use crate::sys::mutex;
use crate::sys::shm::{HeldWords, Shared};
use crate::sys::word::AtomicU64;

/// What its file is called, for people who look into `/proc`.
pub(super) const FILE: &str = "multiprocess-queue";

/// The first ring whose memory is given back.
pub(super) const COLD: usize = 2;

pub(super) const PAGE: u64 = 4096;
pub(super) const WORD: u64 = 8;

/// Set in the first word of a record that says in which ring the next one is.
const LINK: u64 = 1 << 31;

/// Set in the first word of a record whose item is this long or longer: the word then has no bytes
/// of the item, but the rest of the length.
const LONG: u64 = 1 << 30;

/// Set in the first word of a record that has a block: the word then has the length of what lies in
/// the ring, and the number of the block. The next word says how much of the block is in use.
const LENT: u64 = LINK | LONG;

/// The part of the memory that is lent.
pub(super) const LENDING: usize = RINGS;

/// What a ring's size may be, as a power of two.
const SIZES: RangeInclusive<u8> = 12..=40;

/// The least memory that is worth a call to give it back, in bytes.
const DISCARD_MIN: u64 = 1 << 20;

/// From this length on, the system copies to and from a cold ring: it needs no page to be mapped,
/// nor to be zeroed first.
const DIRECT_MIN: usize = 64 << 10;

/// From this length on, bytes are copied to and from a ring as a whole, and not word by word.
const WIDE_MIN: usize = 256;

/// The last position that goes into a word with the number of a ring. No sum of it and the size of
/// a ring overflows.
const POSITION_MAX: u64 = (1 << 62) - 1;

/// From this length on, in bytes, an item is not believed to be there before it was compared with
/// the memory that there is.
const CHECKED_MIN: usize = 1 << 20;

/// Why an item cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) enum Unread {
    /// What stands there is not what the queue's own processes write.
    Damaged,
    /// This process has no memory for its bytes.
    NoMemory { len: usize },
}

/// What stands at a place.
pub(super) struct Record {
    /// How much of it was read into the buffer, in bytes.
    pub(super) len: usize,
    /// The room that it takes in its ring, in bytes.
    pub(super) bytes: u64,
    /// The number of its block, and how much of that is in use, in bytes.
    pub(super) block: Option<(usize, u64)>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ring: usize,
    pub(super) position: u64,
}

impl Place {
    /// A position as it stands in the shared memory.
    #[inline]
    pub(super) fn at(ring: usize, position: u64) -> Self {
        Self {
            ring,
            position: position & POSITION_MAX,
        }
    }

    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self {
            ring: (word & 3) as usize,
            position: word >> 2,
        }
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.position << 2 | self.ring as u64
    }

    #[inline]
    pub(super) fn after(self, bytes: u64) -> Self {
        Self {
            position: self.position + bytes,
            ..self
        }
    }

    /// Where a ring is left if `self` is the end of its last record.
    pub(super) fn page_end(self) -> Self {
        Self {
            position: self.position.next_multiple_of(PAGE),
            ..self
        }
    }
}

/// A place in a ring's memory: its first word, and its size.
#[derive(Clone, Copy)]
struct Extent {
    first: usize,
    bytes: u64,
}

/// The queue's memory, read as rings.
pub(crate) struct Memory {
    shared: Shared<Header>,
    extents: [Extent; AREAS],
}

impl Memory {
    /// New memory with parts of these sizes, for at most `maxsize` items; 0 for no limit.
    pub(super) fn create(shifts: [u8; AREAS], maxsize: u64) -> io::Result<Self> {
        let words = shifts
            .iter()
            .map(|shift| (1usize << shift) / WORD as usize)
            .sum();
        let shared = Shared::<Header>::create(FILE, words)?;
        shared.fixed.maxsize.store(maxsize, Relaxed);
        let (rings, lent) = shifts.split_first_chunk().expect("it is longer");
        let rings = u32::from_le_bytes(*rings);
        shared.fixed.shifts.store(rings, Relaxed);
        shared.fixed.lent_shift.store(lent[0].into(), Relaxed);
        Self::new(shared)
    }

    /// The memory as its creator has made it.
    pub(super) fn new(shared: Shared<Header>) -> io::Result<Self> {
        mutex::is_supported()?;
        let [a, b, c, d] = shared.fixed.shifts.load(Relaxed).to_le_bytes();
        let lent = shared.fixed.lent_shift.load(Relaxed);
        let shifts = [a, b, c, d, u8::try_from(lent).unwrap_or(0)];
        let sizes_are_right = shifts.iter().all(|shift| SIZES.contains(shift));
        let mut first = 0;
        let extents = shifts.map(|shift| {
            let bytes = 1 << (shift % 64);
            let extent = Extent { first, bytes };
            first += (bytes / WORD) as usize;
            extent
        });
        if !sizes_are_right || first != shared.words().len() {
            let reason = "the sizes of its rings are not those of its memory";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Self { shared, extents })
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        &self.shared
    }

    pub(super) fn shared(&self) -> &Shared<Header> {
        &self.shared
    }

    /// The size of a part, in bytes.
    #[inline]
    pub(super) fn lap(&self, ring: usize) -> u64 {
        self.extents[ring].bytes
    }

    /// How much memory of a cold ring may wait to be given back, in bytes.
    pub(super) fn discard_min(&self, ring: usize) -> u64 {
        DISCARD_MIN.min(self.lap(ring) / 4)
    }

    /// The longest item that fits once all others are taken, in bytes.
    #[inline]
    pub(super) fn item_max(&self) -> u64 {
        // The last ring is among the largest. Before an item, a part of the ring may wait to be
        // given back; the item's length and a link stand around it.
        let last = RINGS - 1;
        self.lap(last) - self.discard_min(last) - PAGE - 2 * WORD
    }

    /// The word at a place.
    #[inline]
    pub(super) fn word(&self, place: Place) -> &AtomicU64 {
        &self.shared.words()[self.index(place)]
    }

    /// Writes a record: a word with the length and the first four bytes, then the rest.
    #[inline]
    pub(super) fn write(&self, place: Place, item: &[u8]) {
        let (first, rest) = match item.split_first_chunk::<4>() {
            Some(_) if item.len() as u64 >= LONG => (long_word(item.len() as u64), item),
            Some((first, rest)) => (short_record(item.len(), u32::from_le_bytes(*first)), rest),
            None => (
                short_record(item.len(), short_word(item) as u32),
                [].as_slice(),
            ),
        };
        self.word(place).store(first, Relaxed);
        self.write_bytes(place.after(WORD), rest);
    }

    #[inline(always)]
    fn write_bytes(&self, place: Place, bytes: &[u8]) {
        let (words, more) = self.span(place, bytes.len());
        let (now, then) = bytes.split_at(bytes.len().min(words.len() * WORD as usize));
        for (words, bytes) in [(words, now), (more, then)] {
            let direct = place.ring >= COLD && bytes.len() >= DIRECT_MIN;
            if direct && self.shared.write(words.start, bytes) {
                continue;
            }
            match self.held(&words, bytes.len()) {
                Some(mut held) => copy(&mut self.shared.bytes_mut(&mut held)[..bytes.len()], bytes),
                None => store_bytes(&self.shared.words()[words], bytes),
            }
        }
    }

    /// Whether another ring is named at a place; then which.
    #[inline]
    pub(super) fn link(&self, place: Place) -> Option<usize> {
        let first = self.word(place).load(Relaxed);
        (first & LENT == LINK).then_some((first & 3) as usize)
    }

    /// Names another ring at a place.
    pub(super) fn lay_link(&self, place: Place, ring: usize) {
        self.word(place).store(LINK | ring as u64, Relaxed);
    }

    /// Writes a record that has so much of a block, and some bytes in the ring.
    #[cold]
    pub(super) fn write_with_block(&self, place: Place, item: &[u8], block: (usize, u64)) {
        let first = LENT | item.len() as u64 | (block.0 as u64) << 32;
        self.word(place).store(first, Relaxed);
        self.word(place.after(WORD)).store(block.1, Relaxed);
        self.write_bytes(place.after(2 * WORD), item);
    }

    /// Reads the record at a place into `buffer` from `start` on, which is within it or its end; the
    /// buffer's length only grows.
    #[inline(always)]
    pub(super) fn read(
        &self,
        place: Place,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<Record, Unread> {
        let first = self.word(place).load(Relaxed);
        if first & LENT != 0 {
            return match first & LENT == LENT {
                true => self.read_with_block(place, first, buffer, start),
                false => self.read_long(place, first, buffer, start),
            };
        }
        let len = (first & (LONG - 1)) as usize;
        if record_bytes(len) + WORD > self.lap(place.ring) {
            return Err(Unread::Damaged);
        }
        if buffer.len() - start < len.max(4) {
            self.grow(buffer, start, len.max(4))?;
        }
        let (head, rest) = buffer[start..].split_at_mut(4);
        head.copy_from_slice(&((first >> 32) as u32).to_le_bytes());
        self.read_bytes(place.after(WORD), &mut rest[..len.saturating_sub(4)]);
        Ok(Record {
            len,
            bytes: record_bytes(len),
            block: None,
        })
    }

    #[cold]
    fn read_with_block(
        &self,
        place: Place,
        first: u64,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<Record, Unread> {
        let len = (first & (LONG - 1)) as usize;
        let bytes = bytes_with_block(len);
        if bytes + WORD > self.lap(place.ring) {
            return Err(Unread::Damaged);
        }
        self.reserve(buffer, start, len)?;
        self.read_bytes(place.after(2 * WORD), &mut buffer[start..start + len]);
        let used = self.word(place.after(WORD)).load(Relaxed);
        Ok(Record {
            len,
            bytes,
            block: Some(((first >> 32) as usize, used)),
        })
    }

    #[cold]
    fn read_long(
        &self,
        place: Place,
        first: u64,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<Record, Unread> {
        let len = first & (LONG - 1) | first >> 32 << 30;
        // A link leads to a record and never to a link.
        if first & LINK != 0 || len < LONG || len + 2 * WORD > self.lap(place.ring) {
            return Err(Unread::Damaged);
        }
        let len = len as usize;
        self.reserve(buffer, start, len)?;
        self.read_bytes(place.after(WORD), &mut buffer[start..start + len]);
        Ok(Record {
            len,
            bytes: record_bytes(len),
            block: None,
        })
    }

    /// Makes the buffer long enough for an item from `start` on.
    pub(super) fn reserve(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        len: usize,
    ) -> Result<(), Unread> {
        match buffer.len() < start + len {
            true => self.grow(buffer, start, len),
            false => Ok(()),
        }
    }

    /// Makes one piece of an item of `len` bytes from `start` on and of its block: a tag, how long
    /// the first part is, both parts. Returns its length.
    #[cold]
    pub(super) fn append_block(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        len: usize,
        block: &[u8],
    ) -> Result<usize, Unread> {
        let whole = leaves::WITH_BLOCK_BYTES + len + block.len();
        // A block is not compared with the memory that there is: who was lent it need not have
        // written all of it.
        lengthen(buffer, start + whole)?;
        leaves::write_with_block(&mut buffer[start..start + whole], len, block);
        Ok(whole)
    }

    /// A block that holds so many bytes at least, for the one who has it; `None` if they are not
    /// there.
    pub(super) fn hold(&self, block: &Block, len: u64) -> Option<HeldWords> {
        let (start, bytes) = (block.start.load(Relaxed), block.bytes.load(Relaxed));
        let extent = self.extents[LENDING];
        let end = start.checked_add(bytes).filter(|end| *end <= extent.bytes);
        if end.is_none() || len > bytes || !start.is_multiple_of(PAGE) {
            return None;
        }
        let first = extent.first + (start / WORD) as usize;
        self.shared.hold(first..first + (bytes / WORD) as usize)
    }

    /// Makes room for an item from `start` on, if it can be there and there is memory for it.
    #[cold]
    fn grow(&self, buffer: &mut Vec<u8>, start: usize, len: usize) -> Result<(), Unread> {
        if len >= CHECKED_MIN && self.shared.allocated() < len as u64 {
            return Err(Unread::Damaged);
        }
        lengthen(buffer, start + len)
    }

    #[inline(always)]
    fn read_bytes(&self, place: Place, bytes: &mut [u8]) {
        let (words, more) = self.span(place, bytes.len());
        let (now, then) = bytes.split_at_mut(bytes.len().min(words.len() * WORD as usize));
        for (words, bytes) in [(words, now), (more, then)] {
            let direct = place.ring >= COLD && bytes.len() >= DIRECT_MIN;
            if direct && self.shared.read(words.start, bytes) {
                continue;
            }
            match self.held(&words, bytes.len()) {
                Some(held) => copy(bytes, &self.shared.bytes(&held)[..bytes.len()]),
                None => load_bytes(&self.shared.words()[words], bytes),
            }
        }
    }

    /// The words of a record in the ring, if so many bytes are worth it. They are the caller's alone:
    /// nobody reads what lies behind the tail, and nobody writes what was not taken.
    #[inline(always)]
    fn held(&self, words: &Range<usize>, bytes: usize) -> Option<HeldWords> {
        (bytes >= WIDE_MIN).then(|| self.shared.hold(words.clone()))?
    }

    /// Gives back the memory of whole pages of a part, at most a lap of them.
    #[cold]
    pub(super) fn discard(&self, ring: usize, positions: Range<u64>) {
        let extent = self.extents[ring];
        let start = positions.start & (extent.bytes - 1);
        let len = positions.end.wrapping_sub(positions.start);
        if len > extent.bytes {
            return;
        }
        let words = |bytes: u64| (bytes / WORD) as usize;
        let first = len.min(extent.bytes - start);
        self.shared
            .discard(extent.first + words(start)..extent.first + words(start + first));
        if first < len {
            self.shared
                .discard(extent.first..extent.first + words(len - first));
        }
    }

    #[inline]
    fn index(&self, place: Place) -> usize {
        let extent = self.extents[place.ring];
        extent.first + ((place.position & (extent.bytes - 1)) / WORD) as usize
    }

    /// The words for so many bytes from a place on: up to the ring's end, and on from its start.
    #[inline]
    fn span(&self, place: Place, bytes: usize) -> (Range<usize>, Range<usize>) {
        let extent = self.extents[place.ring];
        let end = extent.first + (extent.bytes / WORD) as usize;
        let start = self.index(place);
        let count = bytes.div_ceil(WORD as usize);
        let now = count.min(end - start);
        (start..start + now, extent.first..extent.first + count - now)
    }
}

/// Makes the buffer so long, or leaves it if it is longer.
fn lengthen(buffer: &mut Vec<u8>, len: usize) -> Result<(), Unread> {
    if let Some(more) = len.checked_sub(buffer.len()) {
        let reserved = buffer.try_reserve(more);
        reserved.map_err(|_| Unread::NoMemory { len })?;
        buffer.resize(len, 0);
    }
    Ok(())
}

/// The room that an item of this length takes, in bytes.
#[inline]
pub(super) fn record_bytes(len: usize) -> u64 {
    let in_first_word = if len as u64 >= LONG { 0 } else { 4 };
    WORD + (len.saturating_sub(in_first_word) as u64).next_multiple_of(WORD)
}

/// The room that a record with a block takes, and so many bytes in the ring, in bytes.
#[inline]
pub(super) fn bytes_with_block(len: usize) -> u64 {
    2 * WORD + (len as u64).next_multiple_of(WORD)
}

/// The first word of a record: the item's length and its first four bytes.
#[inline]
fn short_record(len: usize, bytes: u32) -> u64 {
    len as u64 | u64::from(bytes) << 32
}

/// The first word of a record whose item is [`LONG`].
fn long_word(len: u64) -> u64 {
    LONG | len & (LONG - 1) | len >> 30 << 32
}

#[inline]
fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, tail) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*chunk), Relaxed);
    }
    if !tail.is_empty() {
        let last = short_word(tail);
        words[whole.len()].store(last, Relaxed);
    }
}

/// At most seven bytes as a word.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[inline]
fn load_bytes(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, tail) = bytes.as_chunks_mut::<8>();
    for (word, chunk) in words.iter().zip(&mut *whole) {
        *chunk = word.load(Relaxed).to_le_bytes();
    }
    if !tail.is_empty() {
        let last = words[whole.len()].load(Relaxed).to_le_bytes();
        let len = tail.len();
        tail.copy_from_slice(&last[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_whose_rings_are_not_as_large_as_it_says_is_refused() {
        for shifts in [[12; RINGS], [15, 13, 12, 12], [0; RINGS], [63; RINGS]] {
            let memory = Memory::create([12, 13, 14, 14, 14], 0).expect("a few pages");
            let written = u32::from_le_bytes(shifts);
            memory.shared.fixed.shifts.store(written, Relaxed);
            assert!(Memory::new(memory.shared).is_err(), "{shifts:?}");
        }
    }
}
