//! One opcode and its argument: where it ends, and what it says.
//!
//! What clients of the protocol write, 2.7 to 3.14, is protocol 2 to 5. The opcodes that only
//! protocols 0 and 1 use, persistent ids and out-of-band buffers have no place here.

use super::Malformed;

pub(super) const MARK: u8 = b'(';
pub(super) const STOP: u8 = b'.';
pub(super) const POP: u8 = b'0';
pub(super) const POP_MARK: u8 = b'1';
pub(super) const NONE: u8 = b'N';
pub(super) const NEWTRUE: u8 = 0x88;
pub(super) const NEWFALSE: u8 = 0x89;
pub(super) const INT: u8 = b'I';
pub(super) const LONG: u8 = b'L';
pub(super) const BININT: u8 = b'J';
pub(super) const BININT1: u8 = b'K';
pub(super) const BININT2: u8 = b'M';
pub(super) const LONG1: u8 = 0x8a;
pub(super) const LONG4: u8 = 0x8b;
pub(super) const BINFLOAT: u8 = b'G';
pub(super) const BINSTRING: u8 = b'T';
pub(super) const SHORT_BINSTRING: u8 = b'U';
pub(super) const BINUNICODE: u8 = b'X';
pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
pub(super) const BINUNICODE8: u8 = 0x8d;
pub(super) const BINBYTES: u8 = b'B';
pub(super) const SHORT_BINBYTES: u8 = b'C';
pub(super) const BINBYTES8: u8 = 0x8e;
pub(super) const BYTEARRAY8: u8 = 0x96;
pub(super) const EMPTY_TUPLE: u8 = b')';
pub(super) const TUPLE: u8 = b't';
pub(super) const TUPLE1: u8 = 0x85;
pub(super) const TUPLE2: u8 = 0x86;
pub(super) const TUPLE3: u8 = 0x87;
pub(super) const EMPTY_LIST: u8 = b']';
pub(super) const LIST: u8 = b'l';
pub(super) const APPEND: u8 = b'a';
pub(super) const APPENDS: u8 = b'e';
pub(super) const EMPTY_DICT: u8 = b'}';
pub(super) const DICT: u8 = b'd';
pub(super) const SETITEM: u8 = b's';
pub(super) const SETITEMS: u8 = b'u';
pub(super) const EMPTY_SET: u8 = 0x8f;
pub(super) const ADDITEMS: u8 = 0x90;
pub(super) const FROZENSET: u8 = 0x91;
pub(super) const GLOBAL: u8 = b'c';
pub(super) const STACK_GLOBAL: u8 = 0x93;
pub(super) const EXT1: u8 = 0x82;
pub(super) const EXT2: u8 = 0x83;
pub(super) const EXT4: u8 = 0x84;
pub(super) const REDUCE: u8 = b'R';
pub(super) const BUILD: u8 = b'b';
pub(super) const OBJ: u8 = b'o';
pub(super) const NEWOBJ: u8 = 0x81;
pub(super) const NEWOBJ_EX: u8 = 0x92;
pub(super) const BINPUT: u8 = b'q';
pub(super) const LONG_BINPUT: u8 = b'r';
pub(super) const MEMOIZE: u8 = 0x94;
pub(super) const BINGET: u8 = b'h';
pub(super) const LONG_BINGET: u8 = b'j';
pub(super) const PROTO: u8 = 0x80;
pub(super) const FRAME: u8 = 0x95;

/// The highest protocol that is understood, that of Python 3.14.
pub(super) const PROTO_MAX: u8 = 5;

/// What follows the opcode's byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    None,
    Number(i64),
    Float(f64),
    Bytes(&'a [u8]),
    /// Module and name, or the digits of a number.
    Lines(&'a str, &'a str),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Op<'a> {
    pub(super) code: u8,
    pub(super) arg: Arg<'a>,
    /// Where the next one begins.
    pub(super) end: usize,
}

impl<'a> Op<'a> {
    /// The opcode at `at`, with its argument checked for itself.
    pub(super) fn read(bytes: &'a [u8], at: usize) -> Result<Op<'a>, Malformed> {
        let mut rest = Cursor { bytes, at };
        let [code] = rest.array::<1>()?;
        let arg = match code {
            MARK | STOP | POP | POP_MARK | NONE | NEWTRUE | NEWFALSE | EMPTY_TUPLE | TUPLE
            | TUPLE1 | TUPLE2 | TUPLE3 | EMPTY_LIST | LIST | APPEND | APPENDS | EMPTY_DICT
            | DICT | SETITEM | SETITEMS | EMPTY_SET | ADDITEMS | FROZENSET | STACK_GLOBAL
            | REDUCE | BUILD | OBJ | NEWOBJ | NEWOBJ_EX | MEMOIZE => Arg::None,
            PROTO | BININT1 | BINGET | BINPUT | EXT1 => Arg::Number(rest.array::<1>()?[0].into()),
            BININT2 | EXT2 => Arg::Number(u16::from_le_bytes(rest.array()?).into()),
            BININT | EXT4 => Arg::Number(i32::from_le_bytes(rest.array()?).into()),
            LONG_BINGET | LONG_BINPUT => Arg::Number(u32::from_le_bytes(rest.array()?).into()),
            BINFLOAT => Arg::Float(f64::from_be_bytes(rest.array()?)),
            FRAME => Arg::Number(rest.length8()? as i64),
            LONG1 | SHORT_BINSTRING | SHORT_BINUNICODE | SHORT_BINBYTES => {
                let len = rest.array::<1>()?[0];
                Arg::Bytes(rest.take(len.into())?)
            }
            LONG4 | BINSTRING => {
                let len = i32::from_le_bytes(rest.array()?);
                let len = usize::try_from(len).map_err(|_| rest.wrong("a negative length"))?;
                Arg::Bytes(rest.take(len)?)
            }
            BINUNICODE | BINBYTES => {
                let len = u32::from_le_bytes(rest.array()?);
                Arg::Bytes(rest.take(len as usize)?)
            }
            BINUNICODE8 | BINBYTES8 | BYTEARRAY8 => {
                let len = rest.length8()?;
                Arg::Bytes(rest.take(len)?)
            }
            INT | LONG => Arg::Lines(rest.line()?, ""),
            GLOBAL => Arg::Lines(rest.line()?, rest.line()?),
            _ => {
                return Err(Malformed::at(
                    at,
                    "an opcode that protocols 2 to 5 do not use",
                ));
            }
        };
        let op = Op {
            code,
            arg,
            end: rest.at,
        };
        op.check(at)?;
        Ok(op)
    }

    /// What an argument must be beyond its length, so that no reader of the item trips over it.
    fn check(&self, at: usize) -> Result<(), Malformed> {
        let wrong = match (self.code, self.arg) {
            (BINUNICODE | SHORT_BINUNICODE | BINUNICODE8, Arg::Bytes(text)) => !is_text(text),
            (INT, Arg::Lines(digits, _)) => !is_number(digits),
            (LONG, Arg::Lines(digits, _)) => !is_number(digits.strip_suffix('L').unwrap_or(digits)),
            (GLOBAL, Arg::Lines(module, name)) => module.is_empty() || name.is_empty(),
            (EXT1 | EXT2 | EXT4, Arg::Number(code)) => code <= 0,
            _ => false,
        };
        match wrong {
            true => Err(Malformed::at(at, "an argument that its opcode cannot have")),
            false => Ok(()),
        }
    }

    /// Whether it is a value by itself: read where it stands, with nothing from the stack.
    pub(super) fn is_scalar(&self) -> bool {
        matches!(
            self.code,
            NONE | NEWTRUE
                | NEWFALSE
                | INT
                | LONG
                | BININT
                | BININT1
                | BININT2
                | LONG1
                | LONG4
                | BINFLOAT
                | BINSTRING
                | SHORT_BINSTRING
                | BINUNICODE
                | SHORT_BINUNICODE
                | BINUNICODE8
                | BINBYTES
                | SHORT_BINBYTES
                | BINBYTES8
                | BYTEARRAY8
                | EMPTY_TUPLE
                | GLOBAL
                | EXT1
                | EXT2
                | EXT4
        )
    }

    /// The protocol that brought the opcode, as far as readers differ in it.
    pub(super) fn generation(&self) -> u8 {
        match self.code {
            SHORT_BINBYTES | BINBYTES => 3,
            SHORT_BINUNICODE | BINUNICODE8 | BINBYTES8 | EMPTY_SET | ADDITEMS | FROZENSET
            | NEWOBJ_EX | STACK_GLOBAL | MEMOIZE | FRAME => 4,
            BYTEARRAY8 => 5,
            _ => 2,
        }
    }
}

/// A cursor that cannot leave the bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed::at(self.at, what)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(self.wrong("it ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    fn length8(&mut self) -> Result<usize, Malformed> {
        let len = u64::from_le_bytes(self.array()?);
        usize::try_from(len).map_err(|_| self.wrong("it ends too early"))
    }

    fn line(&mut self) -> Result<&'a str, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(len.ok_or(self.wrong("a line does not end"))?)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.wrong("a line is not UTF-8"))
    }
}

fn is_number(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// UTF-8, or UTF-8 with lone surrogates, which Python writes and reads as `surrogatepass`.
fn is_text(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        match bytes[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ref rest @ ..] => bytes = rest,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn text_is_utf_8_and_lone_surrogates() {
        for text in [
            &b""[..],
            "é好🦀".as_bytes(),
            b"a\xed\xa0\x80b",
            b"\xed\xbf\xbf",
        ] {
            assert!(is_text(text), "{text:?}");
        }
        for garbage in [&b"\xff"[..], b"\xed\xa0", b"a\xc3", b"\xed\xa0\x80\x80"] {
            assert!(!is_text(garbage), "{garbage:?}");
        }
    }
}
