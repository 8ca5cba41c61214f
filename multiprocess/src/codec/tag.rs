//! The first byte of each part of a value. Numbers follow it in the byte order of least first.

/// Up to here a tag is itself the integer.
pub(super) const SMALL_MAX: u8 = 0x7f;
/// From here on, a string of `tag - SHORT` bytes.
pub(super) const SHORT: u8 = 0x80;
/// The longest such string.
pub(super) const SHORT_MAX: usize = 31;
/// From here on, the name with the number `tag - NAME`, as in [`DEFINE`].
pub(super) const NAME: u8 = 0xa0;
/// How many names have a number.
pub(super) const NAMES_MAX: usize = 64;

pub(super) const NONE: u8 = 0xe0;
/// Before a value that would itself read as [`NONE`] or [`SOME`]; any other stands without.
pub(super) const SOME: u8 = 0xe1;
pub(super) const UNIT: u8 = 0xe2;
pub(super) const FALSE: u8 = 0xe3;
pub(super) const TRUE: u8 = 0xe4;
pub(super) const U8: u8 = 0xe5;
pub(super) const U16: u8 = 0xe6;
pub(super) const U32: u8 = 0xe7;
pub(super) const U64: u8 = 0xe8;
pub(super) const U128: u8 = 0xe9;
pub(super) const I8: u8 = 0xea;
pub(super) const I16: u8 = 0xeb;
pub(super) const I32: u8 = 0xec;
pub(super) const I64: u8 = 0xed;
pub(super) const I128: u8 = 0xee;
pub(super) const F32: u8 = 0xef;
pub(super) const F64: u8 = 0xf0;
/// A string: its length in bytes as a `u64`, and the bytes.
pub(super) const STR: u8 = 0xf1;
/// Bytes, likewise.
pub(super) const BYTES: u8 = 0xf2;
/// Elements: their number as a `u64`, then each.
pub(super) const SEQ: u8 = 0xf3;
/// Numbers of one type, of at most 64 bits: its tag, their number as a `u64`, then each without a tag.
pub(super) const PACKED: u8 = 0xf4;
/// Entries: their number as a `u64`, then each key and its value.
pub(super) const MAP: u8 = 0xf5;
/// Fields: their number as a `u8`, then each name and its value.
pub(super) const STRUCT: u8 = 0xf6;
/// A variant of an enum: its name, and its value.
pub(super) const VARIANT: u8 = 0xf7;
/// A name that gets the next number: its length in bytes as a `u8`, and the bytes.
pub(super) const DEFINE: u8 = 0xf8;

/// A part that lies in a block: its tag, of numbers theirs, and where it begins and how long it is as a
/// `u64` each, in bytes.
pub(super) const LEAF: u8 = 0xf9;
/// In a [`LEAF`], plain data that was lent.
pub(super) const PLAIN: u8 = 0xfa;
/// Before a value that its block follows: the value's length in bytes as a `u64`.
pub(super) const WITH_BLOCK: u8 = 0xfb;

/// How many bytes a number takes that can be [`PACKED`]; `None` for another tag.
#[inline(always)]
pub(super) fn width(tag: u8) -> Option<usize> {
    match tag {
        U8 | I8 => Some(1),
        U16 | I16 => Some(2),
        U32 | I32 | F32 => Some(4),
        U64 | I64 | F64 => Some(8),
        _ => None,
    }
}
