//! Large parts of a value, which lie in a block of shared memory and not among the value's bytes:
//! strings, bytes and vectors of numbers, each copied once on its way in and once on its way out.

use std::ops::Range;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::copy::{append, copy};
use super::{Failing, Failure, cut_off, not_utf8, tag, unknown};

/// From this length on, in bytes, a part is worth a block.
pub(crate) const LEAF_MIN: usize = 64 << 10;

/// Copies a part into the block; returns where it begins there, in bytes, or `None` if there is no
/// room.
pub(crate) type Leaves<'a> = dyn FnMut(&[u8]) -> Option<u64> + 'a;

/// How many bytes stand before a value whose block follows it: a tag, and the value's length.
pub(crate) const WITH_BLOCK_BYTES: usize = 1 + size_of::<u64>();

/// Completes a value and its block in one piece: the first `len` bytes are the value's.
pub(crate) fn write_with_block(whole: &mut [u8], len: usize, block: &[u8]) {
    whole.copy_within(..len, WITH_BLOCK_BYTES);
    whole[0] = tag::WITH_BLOCK;
    whole[1..WITH_BLOCK_BYTES].copy_from_slice(&(len as u64).to_le_bytes());
    copy(&mut whole[WITH_BLOCK_BYTES + len..], block);
}

/// Says of the value at the end of `bytes` from `start` on that it has a block, which may be appended.
#[cold]
pub(crate) fn mark_with_block(bytes: &mut Vec<u8>, start: usize) {
    let len = (bytes.len() - start) as u64;
    let head = [tag::WITH_BLOCK].into_iter().chain(len.to_le_bytes());
    bytes.splice(start..start, head);
}

/// Whether it is something that [`write_with_block`] or [`mark_with_block`] has written.
#[inline]
pub(crate) fn has_block(bytes: &[u8]) -> bool {
    bytes.first() == Some(&tag::WITH_BLOCK)
}

/// The value and the block of what [`write_with_block`] has written.
pub(super) fn split_block(bytes: &[u8]) -> Failing<(&[u8], &[u8])> {
    let (_tag, rest) = bytes.split_first().ok_or_else(cut_off)?;
    let (len, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| cut_off())?;
    rest.split_at_checked(len).ok_or_else(cut_off)
}

/// What kind of part it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Str,
    Bytes,
    /// Numbers with this tag.
    Packed(u8),
    /// Plain data that serde has not seen.
    Plain,
}

/// Where a part lies in the block.
pub(crate) struct Leaf {
    pub(super) kind: Kind,
    /// Its first byte, and its length.
    start: u64,
    len: u64,
}

/// How many bytes a leaf takes behind its tag.
const LEAF_BYTES: usize = 2 + 2 * size_of::<u64>();

impl Leaf {
    /// Puts a part into the block, and says in `out` where; false if there is no room.
    #[cold]
    pub(super) fn write(
        out: &mut Vec<u8>,
        leaves: &mut Leaves<'_>,
        kind: Kind,
        part: &[u8],
    ) -> bool {
        let Some(start) = leaves(part) else {
            return false;
        };
        let len = part.len() as u64;
        Self { kind, start, len }.push(out);
        true
    }

    /// A value that is all of a block, up to this length.
    pub(crate) fn whole(kind: Kind, len: u64) -> Self {
        Self {
            kind,
            start: 0,
            len,
        }
    }

    /// The only part of a value that is nothing else, if it is of this kind.
    pub(crate) fn only(mut bytes: &[u8], kind: Kind) -> Option<Self> {
        bytes = bytes.strip_prefix(&[tag::LEAF])?;
        let leaf = Self::read(&mut bytes).ok()?;
        (bytes.is_empty() && leaf.kind == kind).then_some(leaf)
    }

    /// Its length, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Which bytes of a block of this length it has; `None` if they are not there.
    pub(crate) fn range(&self, block: usize) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(usize::try_from(self.len).ok()?)?;
        (end <= block).then_some(start..end)
    }

    /// Says in `out` where it lies.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Str => [tag::STR, 0],
            Kind::Bytes => [tag::BYTES, 0],
            Kind::Packed(number) => [tag::PACKED, number],
            Kind::Plain => [tag::PLAIN, 0],
        };
        out.push(tag::LEAF);
        out.extend(kind);
        out.extend(self.start.to_le_bytes());
        out.extend(self.len.to_le_bytes());
    }

    /// Reads what stands behind the tag.
    #[cold]
    pub(super) fn read(bytes: &mut &[u8]) -> Failing<Self> {
        let (leaf, rest) = bytes
            .split_first_chunk::<LEAF_BYTES>()
            .ok_or_else(cut_off)?;
        *bytes = rest;
        let kind = match [leaf[0], leaf[1]] {
            [tag::STR, _] => Kind::Str,
            [tag::BYTES, _] => Kind::Bytes,
            [tag::PACKED, number] => Kind::Packed(number),
            [tag::PLAIN, _] => Kind::Plain,
            _ => return Err(unknown()),
        };
        let (numbers, _) = leaf[2..].as_chunks();
        let [start, len] = [numbers[0], numbers[1]].map(u64::from_le_bytes);
        Ok(Self { kind, start, len })
    }

    /// Where it lies in `block`.
    fn place<'b>(&self, block: &'b [u8]) -> Failing<&'b [u8]> {
        let range = self.range(block.len()).ok_or_else(cut_off)?;
        Ok(&block[range])
    }

    /// Its bytes, in memory of this process alone: what is checked there stays as it was.
    pub(super) fn bytes(&self, block: &[u8]) -> Failing<Vec<u8>> {
        self.copied(block)
    }

    /// Its text.
    pub(super) fn text(&self, block: &[u8]) -> Failing<String> {
        String::from_utf8(self.bytes(block)?).map_err(|_| not_utf8())
    }

    /// Its numbers, which are of type `N`.
    pub(super) fn numbers<N>(&self, block: &[u8]) -> Failing<Vec<N>>
    where
        N: FromBytes + Immutable + KnownLayout + Clone,
    {
        self.copied(block)
    }

    fn copied<N>(&self, block: &[u8]) -> Failing<Vec<N>>
    where
        N: FromBytes + Immutable + KnownLayout + Clone,
    {
        let place = self.place(block)?;
        let mut copy = Vec::new();
        let reserved = copy.try_reserve_exact(place.len() / size_of::<N>());
        reserved.map_err(|_| {
            Failure::new(format!("there is no memory for its {} bytes", place.len()))
        })?;
        match <[N]>::ref_from_bytes(place) {
            Ok(numbers) => append(&mut copy, numbers),
            // A block that follows its value in a buffer begins at any byte.
            Err(_) => {
                let numbers = place.chunks_exact(size_of::<N>());
                copy.extend(numbers.filter_map(|bytes| N::read_from_bytes(bytes).ok()));
            }
        }
        Ok(copy)
    }
}
