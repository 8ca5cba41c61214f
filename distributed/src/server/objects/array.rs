//! `Array`: numbers of one type, as in Python's `array.array`.

use std::fmt::Write;

use super::call::{ObjectCall, int, required, text};
use super::slice::{SliceRange, Subscript, place};
use crate::server::memory::Charge;
use crate::server::memory::Code;
use crate::wire::pickle::repr;
use crate::wire::pickle::{Encoder, Scalar, Span, ValueKind, scalar_item};
use crate::wire::protocol::{Fault, reply};

/// The methods, as a proxy is told of them.
pub(super) const EXPOSED: &[&str] = &[
    "__getitem__",
    "__getslice__",
    "__len__",
    "__setitem__",
    "__setslice__",
];

/// What one number takes, in bytes.
const NUMBER_SIZE: u64 = size_of::<ArrayNumber>() as u64;

pub(super) struct SharedArray {
    typecode: u8,
    numbers: Vec<ArrayNumber>,
    _charge: Charge,
}

#[derive(Clone, Copy)]
enum ArrayNumber {
    Int(i128),
    Float(f64),
}

impl SharedArray {
    /// Python's `Array(typecode, sequence, lock=True)`.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedArray, Fault> {
        let names = ["typecode", "sequence", "lock"];
        let [typecode, sequence, _lock] = call.request.bind(names, 2)?;
        let typecode = call.request.text("typecode", required(typecode))?;
        let &[typecode] = typecode.as_bytes() else {
            return Err(unknown_typecode());
        };
        let numbers = numbers(call, typecode, required(sequence))?;
        Ok(SharedArray {
            _charge: call.charge(numbers.len() as u64 * NUMBER_SIZE)?,
            typecode,
            numbers,
        })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(match call.request.method {
            "__len__" => int(self.numbers.len()),
            "__getitem__" => match Subscript::read(call, call.one("key")?)? {
                Subscript::Index(at) => {
                    let at = place(at, self.numbers.len(), "array index")?;
                    reply::value(|to| self.numbers[at].write(to))
                }
                slice => self.slice(slice)?,
            },
            "__getslice__" => self.slice(Subscript::of_python_2(call)?.0)?,
            "__setitem__" => {
                let [at, value] = call.request.bind(["key", "value"], 2)?;
                self.set(call, Subscript::read(call, required(at))?, required(value))?;
                reply::none()
            }
            "__setslice__" => {
                let (slice, value) = Subscript::of_python_2(call)?;
                let missing = || Fault::new("TypeError", "a value is required");
                self.set(call, slice, value.ok_or_else(missing)?)?;
                reply::none()
            }
            "#GETVALUE" => reply::value(|to| self.copy(to, 0..self.numbers.len())),
            "__str__" | "__repr__" => text(&self.shown()),
            _ => return Ok(None),
        }))
    }

    fn slice(&self, slice: Subscript) -> Result<Vec<u8>, Fault> {
        let places = self.places(slice)?;
        Ok(reply::value(|to| self.copy(to, places.iter())))
    }

    fn places(&self, slice: Subscript) -> Result<SliceRange, Fault> {
        let len = self.numbers.len();
        match slice {
            Subscript::Slice { start, stop, step } => Ok(SliceRange::new(start, stop, step, len)),
            Subscript::Index(at) => {
                let at = place(at, len, "array assignment index")? as i64;
                Ok(SliceRange::new(Some(at), Some(at + 1), 1, len))
            }
        }
    }

    fn set(&mut self, call: &ObjectCall, at: Subscript, value: Span) -> Result<(), Fault> {
        let is_index = matches!(at, Subscript::Index(_));
        let places = self.places(at)?;
        if is_index {
            self.numbers[places.start] =
                ArrayNumber::read(self.typecode, call.request.pickle.scalar(value.value))?;
            return Ok(());
        }
        let values = numbers(call, self.typecode, value)?;
        // Its length stays, as it is that of memory that others share.
        places.check_size(values.len())?;
        for (at, value) in places.iter().zip(values) {
            self.numbers[at] = value;
        }
        Ok(())
    }

    /// The `array.array` of the numbers at these places.
    fn copy(&self, to: &mut Encoder, places: impl Iterator<Item = usize>) {
        to.call("array", "array", |to| {
            to.native_str(&char::from(self.typecode).to_string()).list();
            places.for_each(|at| self.numbers[at].write(to));
            to.appends();
        });
    }

    fn shown(&self) -> String {
        let mut shown = format!("array('{}'", char::from(self.typecode));
        for (at, number) in self.numbers.iter().enumerate() {
            shown.push_str(if at == 0 { ", [" } else { ", " });
            match number {
                ArrayNumber::Int(number) => _ = write!(shown, "{number}"),
                ArrayNumber::Float(number) => repr::write_float(&mut shown, *number),
            }
        }
        shown.push_str(if self.numbers.is_empty() { ")" } else { "])" });
        shown
    }
}

impl ArrayNumber {
    /// An argument, for an array of this type.
    fn read(typecode: u8, scalar: Option<Scalar>) -> Result<ArrayNumber, Fault> {
        let number = match scalar {
            Some(Scalar::Bool(truth)) => ArrayNumber::Int(truth.into()),
            Some(Scalar::Int(number)) => ArrayNumber::Int(number.into()),
            Some(Scalar::Digits(digits)) if digits.len() < 38 => {
                ArrayNumber::Int(digits.parse().unwrap_or(0))
            }
            Some(Scalar::BigInt(bytes)) if bytes.len() <= 16 => {
                ArrayNumber::Int(of_little_endian(bytes, true))
            }
            Some(Scalar::Float(number)) => ArrayNumber::Float(number),
            _ => return Err(Fault::new("TypeError", "an array takes numbers")),
        };
        number.fit(typecode)
    }

    /// The number as an array of this type holds it.
    fn fit(self, typecode: u8) -> Result<ArrayNumber, Fault> {
        let bits = match typecode {
            b'd' | b'f' => {
                let number = match self {
                    ArrayNumber::Int(number) => number as f64,
                    ArrayNumber::Float(number) => number,
                };
                let short = f64::from(number as f32);
                let number = if typecode == b'f' { short } else { number };
                return Ok(ArrayNumber::Float(number));
            }
            b'b' | b'B' => 8,
            b'h' | b'H' => 16,
            b'i' | b'I' => 32,
            b'l' | b'L' | b'q' | b'Q' => 64,
            _ => return Err(unknown_typecode()),
        };
        let (low, high) = match typecode.is_ascii_lowercase() {
            true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            false => (0, (1i128 << bits) - 1),
        };
        match self {
            ArrayNumber::Int(number) if (low..=high).contains(&number) => Ok(self),
            ArrayNumber::Int(_) => {
                let typecode = char::from(typecode);
                let text = format!("an array of type '{typecode}' takes {low} to {high}");
                Err(Fault::new("OverflowError", text))
            }
            ArrayNumber::Float(_) => Err(Fault::new("TypeError", "array item must be integer")),
        }
    }

    fn write(self, to: &mut Encoder) {
        match self {
            ArrayNumber::Int(number) => _ = to.int(number),
            ArrayNumber::Float(number) => _ = to.float(number),
        }
    }
}

/// The numbers of a list, of what can be a list, or of another array.
fn numbers(call: &ObjectCall, typecode: u8, span: Span) -> Result<Vec<ArrayNumber>, Fault> {
    let pickle = &call.request.pickle;
    let read = |span: &Span| ArrayNumber::read(typecode, pickle.scalar(span.value));
    if matches!(pickle.kind(span.value), ValueKind::List | ValueKind::Tuple) {
        let spans: Vec<Span> = pickle.inside(span.value).collect();
        return spans.iter().map(read).collect();
    }
    let instance = pickle.instance(span.value);
    let arguments: Vec<Span> = instance
        .map(|(_, arguments)| pickle.inside(arguments).collect())
        .unwrap_or_default();
    match (instance.map(|(class, _)| class), arguments.as_slice()) {
        (Some(("array", "array")), [theirs, values]) => match pickle.scalar(values.value) {
            Some(Scalar::Bytes(bytes) | Scalar::ByteStr(bytes)) => {
                let theirs = call.request.text("typecode", *theirs)?;
                let numbers = of_machine_format(theirs, bytes)?.into_iter();
                numbers.map(|number| number.fit(typecode)).collect()
            }
            _ => numbers(call, typecode, *values),
        },
        _ => {
            let codes = call.elements(span)?;
            let read = |code: &Code| ArrayNumber::read(typecode, scalar_item(code));
            codes.iter().map(read).collect()
        }
    }
}

/// The numbers in the bytes of an array, as clients on Linux send it.
fn of_machine_format(typecode: &str, bytes: &[u8]) -> Result<Vec<ArrayNumber>, Fault> {
    let size = match typecode {
        "b" | "B" => 1,
        "h" | "H" => 2,
        "i" | "I" | "f" => 4,
        "l" | "L" | "q" | "Q" | "d" => 8,
        _ => return Err(unknown_typecode()),
    };
    let signed = typecode.bytes().all(|letter| letter.is_ascii_lowercase());
    let number = |bytes: &[u8]| {
        let number = of_little_endian(bytes, signed);
        match typecode {
            "f" => ArrayNumber::Float(f64::from(f32::from_bits(number as u32))),
            "d" => ArrayNumber::Float(f64::from_bits(number as u64)),
            _ => ArrayNumber::Int(number),
        }
    };
    Ok(bytes.chunks_exact(size).map(number).collect())
}

/// A whole number of at most 16 bytes.
fn of_little_endian(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|last| *last >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

fn unknown_typecode() -> Fault {
    let text = "bad typecode: the server has b, B, h, H, i, I, l, L, q, Q, f and d";
    Fault::new("ValueError", text)
}
