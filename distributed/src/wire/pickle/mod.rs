//! Pickles as data: read without running anything, written for every Python from 2.7 on.
//!
//! Python's `pickle.loads` calls what the pickle names, so whoever writes one runs code in whoever
//! reads it. This module never does: a class, a function or an instance stays a name and its
//! arguments. Rust values go through serde, with [`to_vec`] and [`from_slice`]:
//!
//! | Python | Rust |
//! | --- | --- |
//! | `None` | `()`, `Option::None` |
//! | `bool`, `int`, `float` | `bool`, the integers up to 128 bits, `f64` |
//! | `str` | `String`; with a lone surrogate in it, an error |
//! | `bytes`, `bytearray` | bytes (`serde_bytes`) |
//! | 2.7's `str` | `String` if it is UTF-8, else bytes |
//! | `list`, `tuple`, `set`, `frozenset` | `Vec`, tuples, sets |
//! | `dict` | maps; structs, by the names of their fields |
//!
//! An enum is, as in JSON, the name of its variant, or a dict of the name and the content.
//! Instances of classes have no counterpart: to read one as a Rust value is an error.
//!
//! - `opcode`: one opcode and its argument.
//! - `decode`: the stack machine.
//! - `extract`: takes a value out of a message as a pickle of its own, byte for byte.
//! - `de`, `ser`: from and to Rust values.
//! - `encode`: writes opcodes.

mod de;
mod decode;
mod encode;
mod extract;
mod opcode;
pub(crate) mod repr;
mod ser;

use std::borrow::Cow;
use std::fmt;

use opcode::*;

pub use de::from_slice;
pub use ser::to_vec;

pub(crate) use de::from_value;
pub(crate) use encode::Encoder;
pub(crate) use ser::to_item;

/// What is wrong with a pickle, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    at: usize,
    what: &'static str,
}

impl Malformed {
    fn at(at: usize, what: &'static str) -> Malformed {
        Malformed { at, what }
    }
}

/// Why a pickle and a Rust value do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It is no pickle, or one of a kind that nobody sends.
    Malformed(Malformed),
    /// It holds another type, or one that has no counterpart.
    Mismatch(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "malformed pickle, at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Malformed {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Malformed(malformed) => malformed.fmt(f),
            Error::Mismatch(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Error {
        Error::Malformed(malformed)
    }
}

impl serde::de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Error {
        Error::Mismatch(message.to_string())
    }
}

impl serde::ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Error {
        Error::Mismatch(message.to_string())
    }
}

/// Every value directly in the tuple or list that a pickle holds, as a pickle of its own: the way
/// of an item from a request into a reply.
#[doc(hidden)]
pub fn parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(pickle) = Pickle::read(bytes) else {
        return Vec::new();
    };
    let parts = pickle.inside(pickle.root());
    parts.filter_map(|part| pickle.part(part).ok()).collect()
}

/// A pickle that has been read: its bytes, and where in them what is.
pub(crate) struct Pickle<'a> {
    bytes: &'a [u8],
    root: Value,
    /// As the last header says: 2 from Python 2.7, 3 or more from Python 3.
    protocol: u8,
    /// Whether it makes values only to throw them away.
    drops: bool,
    compounds: Vec<Compound>,
    groups: Vec<Group>,
    spans: Vec<Span>,
    memos: Vec<Memo>,
    /// What cannot be copied as it stands: where it begins and ends, in order.
    edits: Vec<(u32, u32, Edit)>,
}

/// A value: read where it stands in the bytes, or an entry of the table of compounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    At(u32),
    Compound(u32),
}

/// A value inside another, and the code that makes it.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) value: Value,
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    None,
    Bool,
    Number,
    Str,
    /// A `str` of Python 2: bytes that may be text.
    ByteStr,
    Bytes,
    ByteArray,
    Tuple,
    List,
    Dict,
    Set,
    FrozenSet,
    /// A class or a function, by name.
    Global,
    Object,
}

/// A container, an instance or a name.
struct Compound {
    kind: ValueKind,
    hashes: bool,
    start: u32,
    /// After its last change; `u32::MAX` when that cannot be told from its code.
    end: u32,
    /// The first and the last of its groups of values.
    first: u32,
    last: u32,
}

/// Values that one opcode added to a compound.
struct Group {
    first: u32,
    len: u32,
    next: u32,
}

/// A value that later code refers to.
struct Memo {
    value: Value,
    start: u32,
    end: u32,
    used: bool,
}

#[derive(Clone, Copy)]
enum Edit {
    Skip,
    Put(u32),
    Get(u32),
    ShortText(u32),
    /// It stays as it is, and needs a reader of this protocol.
    Needs(u8),
}

/// The value of an item, if it is one by itself: read at once, with no table.
pub(crate) fn scalar_item(code: &[u8]) -> Option<Scalar<'_>> {
    const HEADER: usize = 2;
    let op = Op::read(code, HEADER).ok()?;
    (op.is_scalar() && op.end == code.len()).then(|| op.scalar())
}

impl<'a> Op<'a> {
    /// What an opcode says that is a value by itself.
    fn scalar(&self) -> Scalar<'a> {
        match (self.code, self.arg) {
            (NONE, _) => Scalar::None,
            (NEWTRUE, _) => Scalar::Bool(true),
            (NEWFALSE, _) => Scalar::Bool(false),
            // So protocol 0 writes the two truth values.
            (INT, Arg::Lines("00", _)) => Scalar::Bool(false),
            (INT, Arg::Lines("01", _)) => Scalar::Bool(true),
            (INT | LONG, Arg::Lines(digits, _)) => Scalar::Digits(digits.trim_end_matches('L')),
            (EXT1 | EXT2 | EXT4, _) => Scalar::Global("copyreg", "extension"),
            (LONG1 | LONG4, Arg::Bytes(digits)) => Scalar::BigInt(digits),
            (SHORT_BINUNICODE | BINUNICODE | BINUNICODE8, Arg::Bytes(text)) => Scalar::Str(text),
            (SHORT_BINSTRING | BINSTRING, Arg::Bytes(text)) => Scalar::ByteStr(text),
            (_, Arg::Bytes(bytes)) => Scalar::Bytes(bytes),
            (_, Arg::Lines(module, name)) => Scalar::Global(module, name),
            (_, Arg::Float(number)) => Scalar::Float(number),
            (_, Arg::Number(number)) => Scalar::Int(number),
            (_, Arg::None) => Scalar::EmptyTuple,
        }
    }
}

/// A value that is read where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little endian, in two's complement.
    BigInt(&'a [u8]),
    Digits(&'a str),
    Float(f64),
    Str(&'a [u8]),
    ByteStr(&'a [u8]),
    Bytes(&'a [u8]),
    EmptyTuple,
    Global(&'a str, &'a str),
}

impl<'a> Pickle<'a> {
    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn root(&self) -> Value {
        self.root
    }

    pub(crate) fn kind(&self, value: Value) -> ValueKind {
        let at = match value {
            Value::Compound(compound) => return self.compounds[compound as usize].kind,
            Value::At(at) => at,
        };
        match self.bytes[at as usize] {
            NONE => ValueKind::None,
            NEWTRUE | NEWFALSE => ValueKind::Bool,
            SHORT_BINUNICODE | BINUNICODE | BINUNICODE8 => ValueKind::Str,
            SHORT_BINSTRING | BINSTRING => ValueKind::ByteStr,
            SHORT_BINBYTES | BINBYTES | BINBYTES8 => ValueKind::Bytes,
            BYTEARRAY8 => ValueKind::ByteArray,
            EMPTY_TUPLE => ValueKind::Tuple,
            GLOBAL | EXT1 | EXT2 | EXT4 => ValueKind::Global,
            _ => ValueKind::Number,
        }
    }

    /// Whether a dict takes it as a key, as far as can be told.
    fn hashes(&self, value: Value) -> bool {
        match value {
            Value::Compound(compound) => self.compounds[compound as usize].hashes,
            Value::At(_) => self.kind(value) != ValueKind::ByteArray,
        }
    }

    /// The value, if it is one by itself.
    pub(crate) fn scalar(&self, value: Value) -> Option<Scalar<'a>> {
        let Value::At(at) = value else {
            return None;
        };
        let op = Op::read(self.bytes, at as usize).expect("it has been read before");
        Some(op.scalar())
    }

    /// The values in a container; for an instance, its callable, arguments and what was added.
    pub(crate) fn inside(&self, value: Value) -> impl Iterator<Item = Span> + Clone + '_ {
        let first = match value {
            Value::Compound(compound) => self.compounds[compound as usize].first,
            Value::At(_) => u32::MAX,
        };
        let group = |group: u32| self.groups.get(group as usize);
        std::iter::successors(group(first), move |last| group(last.next)).flat_map(|group| {
            let first = group.first as usize;
            self.spans[first..first + group.len as usize]
                .iter()
                .copied()
        })
    }

    /// Text, of either Python.
    pub(crate) fn text(&self, value: Value) -> Option<&'a str> {
        match self.scalar(value) {
            Some(Scalar::Str(text) | Scalar::ByteStr(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The same, with a replacement character for what is no UTF-8, as lone surrogates.
    pub(crate) fn text_lossy(&self, value: Value) -> Option<Cow<'a, str>> {
        match self.scalar(value) {
            Some(Scalar::Str(text) | Scalar::ByteStr(text)) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// The value in a dict under a text.
    pub(crate) fn entry(&self, dict: Value, key: &str) -> Option<Span> {
        if self.kind(dict) != ValueKind::Dict {
            return None;
        }
        let mut inside = self.inside(dict);
        while let (Some(found), Some(value)) = (inside.next(), inside.next()) {
            if self.text(found.value) == Some(key) {
                return Some(value);
            }
        }
        None
    }

    /// Whether it is a `set` or a `frozenset`, in each of the ways that Python writes one, and what its
    /// elements are inside of.
    pub(crate) fn set(&self, value: Value) -> Option<(&'static str, Value)> {
        match self.kind(value) {
            ValueKind::Set => Some(("set", value)),
            ValueKind::FrozenSet => Some(("frozenset", value)),
            _ => {
                let ((module, name), arguments) = self.instance(value)?;
                let is_builtin = matches!(module, "builtins" | "__builtin__");
                let mut names = ["set", "frozenset"].into_iter();
                let name = names.find(|known| is_builtin && *known == name)?;
                Some((name, self.inside(arguments).next()?.value))
            }
        }
    }

    /// Module and name of a class or function.
    pub(crate) fn global(&self, value: Value) -> Option<(&'a str, &'a str)> {
        if let Some(Scalar::Global(module, name)) = self.scalar(value) {
            return Some((module, name));
        }
        if self.kind(value) != ValueKind::Global {
            return None;
        }
        let mut parts = self.inside(value).map(|span| self.text(span.value));
        Some((parts.next()??, parts.next()??))
    }

    /// The idents of all proxies of Python's managers that it has inside.
    pub(crate) fn proxies(&self) -> Vec<&'a str> {
        let compounds = (0..self.compounds.len() as u32).map(Value::Compound);
        let tokens = compounds.filter(|value| {
            let class = self.instance(*value).map(|(class, _)| class);
            class == Some(("multiprocessing.managers", "Token"))
        });
        // Its state is (typeid, address, ident).
        let ident = |token: Value| {
            let state = self.inside(token).last()?;
            self.text(self.inside(state.value).nth(2)?.value)
        };
        tokens.filter_map(ident).collect()
    }

    /// The class of an instance, and the tuple of its arguments.
    pub(crate) fn instance(&self, value: Value) -> Option<((&'a str, &'a str), Value)> {
        if self.kind(value) != ValueKind::Object {
            return None;
        }
        let mut parts = self.inside(value);
        Some((self.global(parts.next()?.value)?, parts.next()?.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a list or tuple, each as one would be put in a reply.
    fn sound_parts(bytes: &[u8]) -> usize {
        let parts = parts(bytes);
        for part in &parts {
            if let Err(malformed) = Pickle::read(part) {
                panic!("{malformed} in {part:?}");
            }
        }
        parts.len()
    }

    #[test]
    fn what_is_thrown_away_belongs_to_the_value_that_takes_its_place() {
        // None, then a mark and all above it are dropped, in a list of one empty tuple.
        assert_eq!(sound_parts(b"((NN00(0tl."), 1);
        assert_eq!(sound_parts(b"(N(NN1)K\x07l."), 3);
        // t = ([],); t[0].append(t); [t, t], as Python writes a tuple that contains itself.
        let recursive = b"\x80\x02]q\x00(]q\x01h\x01\x85q\x02a0h\x02h\x02e.";
        assert_eq!(sound_parts(recursive), 2);
    }

    #[test]
    fn a_value_that_others_define_takes_the_definition_along() {
        // a = [1]; [a, a, (a, [a])]: each part has the list, and has it once.
        let shared = b"\x80\x04]\x94(]\x94K\x01ah\x01h\x01]\x94h\x01a\x86\x94e.";
        let parts = parts(shared);
        let whole: Vec<Vec<u8>> = vec![vec![1], vec![1]];
        assert_eq!(from_slice::<Vec<u8>>(&parts[1]), Ok(vec![1]));
        assert_eq!(
            from_slice::<(Vec<u8>, Vec<Vec<u8>>)>(&parts[2]),
            Ok((vec![1], whole[..1].to_vec()))
        );
        let lists = parts[2].iter().filter(|byte| **byte == EMPTY_LIST).count();
        assert_eq!(lists, 2, "the shared one, and the one around it");
    }

    #[test]
    fn an_item_that_contains_its_batch_is_refused() {
        assert_eq!(sound_parts(b"\x80\x02]q\x00(h\x00K\x07e."), 1);
    }

    #[test]
    fn older_readers_are_served_as_far_as_may_be() {
        let protocol = |bytes: &[u8]| parts(bytes)[0][1];
        assert_eq!(protocol(b"\x80\x05\x8c\x01a\x94\x85."), 2, "text");
        assert_eq!(protocol(b"\x80\x04C\x01a\x85."), 3, "bytes");
        assert_eq!(protocol(b"\x80\x05\x8f\x85."), 4, "a set");
        // Under a header of 2, Python 3 translates names of Python 2, and of no other.
        assert_eq!(protocol(b"\x80\x02c__builtin__\nset\n\x85."), 2);
        assert_eq!(protocol(b"\x80\x03cbuiltins\nset\n\x85."), 3);
    }

    #[test]
    fn what_no_reader_could_read_is_refused() {
        for bytes in [
            &b""[..],
            b".",
            b"N",
            b"NN.",
            b"N.N.",
            b"(.",
            b"K.",
            b"X\x02\0\0\0\xff\xff.",
            b"h\0.",
            b"NK\x01a.",
            b"}](Ns.",
            b"}(]Nu.",
            b"}](N\x85K\x01s.",
            b"K\x01)R.",
            b"cos\nsystem\nNR.",
            b"cos\n\n.",
            b"\x80\x06N.",
            b"\x82\0.",
            b"Pid\n.",
            b"\x97.",
            b"Nr\xff\xff\xff\x7f.",
        ] {
            assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
