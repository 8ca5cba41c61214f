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
mod ser;

use opcode::*;

pub use de::from_slice;
pub use ser::to_vec;

pub(crate) use de::from_value;
pub(crate) use encode::Encoder;
pub(crate) use ser::to_item;

/// What is wrong with a pickle, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed pickle, at byte {at}: {what}")]
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no pickle, or one of a kind that nobody sends.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It holds another type, or one that has no counterpart.
    #[error("{0}")]
    Mismatch(String),
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
    nodes: Vec<Node>,
    groups: Vec<Group>,
    spans: Vec<Span>,
    memos: Vec<Memo>,
    /// What cannot be copied as it stands: where it begins and ends, in order.
    edits: Vec<(u32, u32, Edit)>,
}

/// A value: read where it stands in the bytes, or an entry of the table of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    At(u32),
    Node(u32),
}

/// A value inside another, and the code that makes it.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) value: Value,
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
struct Node {
    kind: Kind,
    hashes: bool,
    start: u32,
    /// After its last change; `u32::MAX` when that cannot be told from its code.
    end: u32,
    /// The first and the last of its groups of values.
    first: u32,
    last: u32,
}

/// Values that one opcode added to a node.
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
    pub(crate) fn root(&self) -> Value {
        self.root
    }

    pub(crate) fn kind(&self, value: Value) -> Kind {
        let at = match value {
            Value::Node(node) => return self.nodes[node as usize].kind,
            Value::At(at) => at,
        };
        match self.bytes[at as usize] {
            NONE => Kind::None,
            NEWTRUE | NEWFALSE => Kind::Bool,
            SHORT_BINUNICODE | BINUNICODE | BINUNICODE8 => Kind::Str,
            SHORT_BINSTRING | BINSTRING => Kind::ByteStr,
            SHORT_BINBYTES | BINBYTES | BINBYTES8 => Kind::Bytes,
            BYTEARRAY8 => Kind::ByteArray,
            EMPTY_TUPLE => Kind::Tuple,
            GLOBAL | EXT1 | EXT2 | EXT4 => Kind::Global,
            _ => Kind::Number,
        }
    }

    /// Whether a dict takes it as a key, as far as can be told.
    fn hashes(&self, value: Value) -> bool {
        match value {
            Value::Node(node) => self.nodes[node as usize].hashes,
            Value::At(_) => self.kind(value) != Kind::ByteArray,
        }
    }

    /// The value, if it is one by itself.
    pub(crate) fn scalar(&self, value: Value) -> Option<Scalar<'a>> {
        let Value::At(at) = value else {
            return None;
        };
        let op = Op::read(self.bytes, at as usize).expect("it has been read before");
        Some(match (op.code, op.arg) {
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
        })
    }

    /// The values in a container; for an instance, its callable, arguments and what was added.
    pub(crate) fn inside(&self, value: Value) -> impl Iterator<Item = Span> + Clone + '_ {
        let first = match value {
            Value::Node(node) => self.nodes[node as usize].first,
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

    /// Module and name of a class or function.
    pub(crate) fn global(&self, value: Value) -> Option<(&'a str, &'a str)> {
        if let Some(Scalar::Global(module, name)) = self.scalar(value) {
            return Some((module, name));
        }
        if self.kind(value) != Kind::Global {
            return None;
        }
        let mut parts = self.inside(value).map(|span| self.text(span.value));
        Some((parts.next()??, parts.next()??))
    }

    /// The class of an instance, and the tuple of its arguments.
    pub(crate) fn instance(&self, value: Value) -> Option<((&'a str, &'a str), Value)> {
        if self.kind(value) != Kind::Object {
            return None;
        }
        let mut parts = self.inside(value);
        Some((self.global(parts.next()?.value)?, parts.next()?.value))
    }
}
