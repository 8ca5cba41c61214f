//! Values as bytes: JSON's data model in binary, with what JSON lacks.
//!
//! A value describes itself: each part begins with a [`tag`], and fields and variants go by their
//! names. So every serde attribute that `serde_json` bears is borne here. Unlike JSON, the form keeps
//! `Some(None)`, keys that are not strings, bytes, 128-bit integers and every `f32` and `f64`.
//! [`encode`] writes it, [`decode`] reads it.
//!
//! A type may serialise to less than it needs to be read again (`skip_serializing` without a
//! default). So a value of a type that is not the standard library's is read back before it is sent,
//! and is refused if that fails.

use std::{any::type_name, cell::Cell, fmt, thread::LocalKey};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, Result, Serializable,
    fd_passing::{self, NOT_AT_START},
};
use decode::Decoder;
use encode::Encoder;
use leaves::Leaves;

pub(crate) mod copy;
mod decode;
mod encode;
pub(crate) mod leaves;
mod names;
pub(crate) mod numbers;
mod packed;
mod tag;

/// A buffer that has grown beyond this is not kept: 4 MiB.
const KEPT_MAX: usize = 4 << 20;

/// How deep a value may be nested, as in `serde_json`: each level takes room on the stack.
const DEPTH_MAX: u32 = 128;

type Kept = Cell<Option<Box<Bytes>>>;

thread_local! {
    static WRITTEN: Kept = const { Cell::new(None) };
    static READ: Kept = const { Cell::new(None) };
}

/// Boxed, so that one word moves in and out of the thread's cell.
#[derive(Default)]
struct Bytes(Vec<u8>);

/// One of the thread's two buffers while it is in use. A value that is itself sent while another is
/// being serialised gets a buffer of its own.
pub(crate) struct Buffer {
    kept: &'static LocalKey<Kept>,
    bytes: Option<Box<Bytes>>,
}

impl Buffer {
    /// An empty buffer, to write a value to.
    #[inline]
    pub(crate) fn to_write() -> Self {
        let mut buffer = Self::take(&WRITTEN);
        buffer.bytes().clear();
        buffer
    }

    /// A buffer of any length and contents, to be read over: it need not be zeroed each time.
    #[inline]
    pub(crate) fn to_read() -> Self {
        Self::take(&READ)
    }

    #[inline]
    fn take(kept: &'static LocalKey<Kept>) -> Self {
        // A thread that ends has given its buffers back when a destructor of its own sends something.
        let bytes = kept.try_with(Cell::take).ok().flatten();
        let bytes = Some(bytes.unwrap_or_default());
        Self { kept, bytes }
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes.as_mut().expect("it is there until the drop").0
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if self.bytes().capacity() <= KEPT_MAX {
            let bytes = self.bytes.take();
            let _ = self.kept.try_with(|kept| kept.set(bytes));
        }
    }
}

/// Appends the value's bytes to `buffer`, if it can be read again from them.
#[inline]
pub(crate) fn append<T: Serializable>(value: &T, buffer: &mut Vec<u8>) -> Result<()> {
    if is_std(type_name::<T>()) {
        return append_unread(value, buffer);
    }
    let (start, collected) = (buffer.len(), fd_passing::collected());
    append_unread(value, buffer)?;
    // A descriptor can be taken once, by the process that it is for.
    if fd_passing::collected() > collected {
        return Ok(());
    }
    read_back::<T>(&buffer[start..], &[])
}

/// As [`append`], but large parts go to `leaves`. Whoever gets them reads the value back: see
/// [`is_read_back`].
#[inline]
pub(crate) fn append_with_leaves<'a, T: Serializable>(
    value: &T,
    buffer: &'a mut Vec<u8>,
    leaves: &'a mut Leaves<'a>,
) -> Result<()> {
    let written = Encoder::new(buffer, Some(leaves)).value(value);
    written.map_err(|failure| not_serialised::<T>(&failure))
}

/// Whether values of this type are read back before they are sent.
#[inline]
pub(crate) fn is_read_back<T>() -> bool {
    !is_std(type_name::<T>())
}

/// As [`append`], for a value of this crate's own, which is not read back.
#[inline]
pub(crate) fn append_unread<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) -> Result<()> {
    Encoder::new(buffer, None)
        .value(value)
        .map_err(|failure| not_serialised::<T>(&failure))
}

#[cold]
fn not_serialised<T: ?Sized>(failure: &Failure) -> Error {
    if failure.reason == NOT_AT_START {
        return Error::NotAtStart;
    }
    Error::Serial {
        attempt: format!("serialise a {}", type_name::<T>()),
        reason: failure.to_string(),
    }
}

/// What serde's own words leave open.
const WIDE: &str = ": serde keeps no integer of 128 bits for a flattened field, or for an enum that is \
                    tagged or untagged; send its text, or take serde's usual form";

/// Whether a value can be read again from its bytes and its block.
#[inline(never)]
pub(crate) fn read_back<T: DeserializeOwned>(bytes: &[u8], block: &[u8]) -> Result<()> {
    match decode_with_block::<T>(bytes, block) {
        Ok(_) => Ok(()),
        Err(Error::Serial { reason, .. }) => Err(Error::Serial {
            attempt: format!("send a {}, which could not be read again", type_name::<T>()),
            reason: match reason.contains("u128") || reason.contains("i128") {
                true => reason + WIDE,
                false => reason,
            },
        }),
        Err(error) => Err(error),
    }
}

/// Whether a type's name has no part from outside the standard library and `serde_bytes`, whose
/// types all read what they have written.
#[inline]
fn is_std(name: &'static str) -> bool {
    // Primitive types, and tuples and arrays of them, have no path.
    !name.as_bytes().contains(&b':') || {
        let (known, answer) = LAST_NAME.get();
        if std::ptr::eq(known, name) {
            return answer;
        }
        let answer = has_std_paths_only(name);
        LAST_NAME.set((name, answer));
        answer
    }
}

thread_local! {
    /// The type that this thread asked for last, and the answer: it mostly sends the same again.
    static LAST_NAME: Cell<(&'static str, bool)> = const { Cell::new(("", true)) };
}

#[cold]
fn has_std_paths_only(name: &str) -> bool {
    const KNOWN: [&str; 4] = ["alloc::", "core::", "std::", "serde_bytes::"];
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = name
        .split(|c| !is_part(c))
        .filter(|path| path.contains("::"));
    paths.all(|path| KNOWN.iter().any(|known| path.starts_with(known)))
}

/// Takes a value off the start of `bytes`, and its large parts off a block. After an error, what is left
/// of them is of no use.
#[inline]
pub(crate) fn decode_first<'b, T: DeserializeOwned>(
    bytes: &mut &'b [u8],
    block: &'b [u8],
) -> Result<T> {
    let mut decoder = Decoder::new(bytes, block);
    let value = decoder.read();
    *bytes = decoder.rest();
    value.map_err(|failure| not_deserialised::<T>(&failure))
}

/// Reads a value from all of `bytes`, which its block may follow.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    read(bytes).map_err(|failure| not_deserialised::<T>(&failure))
}

/// As [`decode`], of bytes that may not be there.
///
/// A failure is one word, so a small value comes in registers. Together with the place of an [`Error`]
/// it would be copied, which the processor waits for.
#[inline]
pub(crate) fn decode_next<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Option<Result<T>> {
    match read(bytes?) {
        Ok(value) => Some(Ok(value)),
        Err(failure) => failed(&failure),
    }
}

#[cold]
fn failed<T>(failure: &Failure) -> Option<Result<T>> {
    Some(Err(not_deserialised::<T>(failure)))
}

#[inline]
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Failing<T> {
    match leaves::has_block(bytes) {
        false => read_all(bytes, &[]),
        true => read_with_block(bytes),
    }
}

#[cold]
fn read_with_block<T: DeserializeOwned>(bytes: &[u8]) -> Failing<T> {
    let (bytes, block) = leaves::split_block(bytes)?;
    read_all(bytes, block)
}

/// The bytes of a value and the block that follows them.
#[cold]
pub(crate) fn split_block<T>(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let split = leaves::split_block(bytes);
    split.map_err(|failure| not_deserialised::<T>(&failure))
}

/// Reads a value from all of `bytes`, and its large parts from a block.
#[inline]
pub(crate) fn decode_with_block<T: DeserializeOwned>(bytes: &[u8], block: &[u8]) -> Result<T> {
    let value = read_all(bytes, block);
    value.map_err(|failure| not_deserialised::<T>(&failure))
}

#[inline]
fn read_all<T: DeserializeOwned>(bytes: &[u8], block: &[u8]) -> Failing<T> {
    let mut decoder = Decoder::new(bytes, block);
    let value = decoder.read()?;
    match decoder.rest() {
        [] => Ok(value),
        rest => Err(followed(rest)),
    }
}

#[cold]
fn followed(rest: &[u8]) -> Box<Failure> {
    Failure::new(format!("{} bytes follow its end", rest.len()))
}

#[cold]
fn not_deserialised<T>(failure: &Failure) -> Error {
    Error::Serial {
        attempt: format!("deserialise a {}", type_name::<T>()),
        reason: failure.to_string(),
    }
}

/// Why a value could not be written or read, and where in it. Boxed by [`Failing`], since every
/// call of a codec may return one and hardly any does.
#[derive(Debug)]
struct Failure {
    reason: String,
    /// The way to the part, from the innermost field on.
    fields: Vec<String>,
}

type Failing<T> = Result<T, Box<Failure>>;

impl Failure {
    #[cold]
    fn new(reason: impl Into<String>) -> Box<Self> {
        let (reason, fields) = (reason.into(), Vec::new());
        Box::new(Self { reason, fields })
    }

    #[cold]
    fn in_field(mut self: Box<Self>, field: &str) -> Box<Self> {
        self.fields.push(field.to_string());
        self
    }
}

#[cold]
fn cut_off() -> Box<Failure> {
    Failure::new("its bytes end too early")
}

#[cold]
fn not_utf8() -> Box<Failure> {
    Failure::new("a string is not UTF-8")
}

#[cold]
fn unknown() -> Box<Failure> {
    Failure::new("its bytes are not a value's")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.fields.is_empty() {
            let fields: Vec<&str> = self.fields.iter().rev().map(String::as_str).collect();
            write!(f, "field `{}`: ", fields.join("."))?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Box<Failure> {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Failure::new(reason.to_string())
    }
}

impl serde::de::Error for Box<Failure> {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Failure::new(reason.to_string())
    }
}
