//! Values that the server reads, where a key, an equality or an order depends on what they are.
//!
//! It compares as Python does: `1`, `1.0` and `True` are equal, and text has its place by its code
//! points. What it cannot read it does not guess at: the call is refused.

use std::cmp::Ordering;

use crate::wire::pickle::{Pickle, Scalar, Value, ValueKind, scalar_item};
use crate::wire::protocol::Fault;

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 32;

/// A value, as far as the server can read it.
#[derive(Clone, Debug)]
pub(in crate::server) enum Datum<'a> {
    None,
    /// A whole number: an `int`, a `bool`, or a `float` without a fraction.
    Int(i128),
    /// One of more than 128 bits: whether it is negative, and its bytes, the highest first.
    BigInt(bool, Vec<u8>),
    /// A number with a fraction, or an infinite one.
    Float(f64),
    Str(&'a [u8]),
    Bytes(&'a [u8]),
    Tuple(Vec<Datum<'a>>),
    List(Vec<Datum<'a>>),
    /// Anything else: an instance, a dict, not a number.
    Opaque,
}

impl<'a> Datum<'a> {
    /// The value of an item.
    pub(in crate::server) fn of_item(code: &'a [u8]) -> Datum<'a> {
        if let Some(scalar) = scalar_item(code) {
            return Datum::of_scalar(scalar);
        }
        match Pickle::read_item(code) {
            Ok(pickle) => Datum::of(&pickle, pickle.root()),
            Err(_) => Datum::Opaque,
        }
    }

    pub(super) fn of(pickle: &Pickle<'a>, value: Value) -> Datum<'a> {
        // A short pickle may mention a long value again and again.
        let mut left = 1 << 16;
        Datum::nested(pickle, value, DEPTH_MAX, &mut left)
    }

    fn nested(pickle: &Pickle<'a>, value: Value, depth: usize, left: &mut u32) -> Datum<'a> {
        if let Some(scalar) = pickle.scalar(value) {
            return Datum::of_scalar(scalar);
        }
        let kind = pickle.kind(value);
        if depth == 0 || *left == 0 || !matches!(kind, ValueKind::Tuple | ValueKind::List) {
            return Datum::Opaque;
        }
        let mut values = Vec::new();
        for span in pickle.inside(value) {
            *left = left.saturating_sub(1);
            values.push(Datum::nested(pickle, span.value, depth - 1, left));
        }
        match kind {
            ValueKind::Tuple => Datum::Tuple(values),
            _ => Datum::List(values),
        }
    }

    fn of_scalar(scalar: Scalar<'a>) -> Datum<'a> {
        match scalar {
            Scalar::None => Datum::None,
            Scalar::Bool(truth) => Datum::Int(truth.into()),
            Scalar::Int(number) => Datum::Int(number.into()),
            Scalar::BigInt(bytes) => of_two_s_complement(bytes),
            Scalar::Digits(digits) => digits.parse().map_or(Datum::Opaque, Datum::Int),
            Scalar::Float(number) => of_float(number),
            Scalar::Str(text) => Datum::Str(text),
            // Python 2's own `str`: text if it can be that.
            Scalar::ByteStr(text) if std::str::from_utf8(text).is_ok() => Datum::Str(text),
            Scalar::ByteStr(bytes) | Scalar::Bytes(bytes) => Datum::Bytes(bytes),
            Scalar::EmptyTuple => Datum::Tuple(Vec::new()),
            Scalar::Global(..) => Datum::Opaque,
        }
    }

    /// Bytes that are equal for equal values, as a dict has its keys.
    pub(super) fn key(&self) -> Result<Box<[u8]>, Fault> {
        let mut key = Vec::new();
        self.write_key(&mut key)?;
        Ok(key.into())
    }

    fn write_key(&self, to: &mut Vec<u8>) -> Result<(), Fault> {
        let counted = |to: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
            to.push(tag);
            to.extend((bytes.len() as u64).to_le_bytes());
            to.extend(bytes);
        };
        match self {
            Datum::None => to.push(0),
            Datum::Int(number) => {
                to.push(1);
                to.extend(number.to_le_bytes());
            }
            Datum::BigInt(negative, bytes) => {
                counted(to, 2 + u8::from(*negative), bytes);
            }
            Datum::Float(number) => {
                to.push(4);
                to.extend(number.to_le_bytes());
            }
            Datum::Str(text) => counted(to, 5, text),
            Datum::Bytes(bytes) => counted(to, 6, bytes),
            Datum::Tuple(values) => {
                to.push(7);
                to.extend((values.len() as u64).to_le_bytes());
                values.iter().try_for_each(|value| value.write_key(to))?;
            }
            Datum::List(_) => return Err(Fault::new("TypeError", "unhashable type: 'list'")),
            Datum::Opaque => return Err(opaque("a key")),
        }
        Ok(())
    }

    /// Python's `==`.
    pub(super) fn equals(&self, other: &Datum) -> Result<bool, Fault> {
        Ok(match (self, other) {
            (Datum::Opaque, _) | (_, Datum::Opaque) => return Err(opaque("what is looked for")),
            (Datum::Tuple(values), Datum::Tuple(others))
            | (Datum::List(values), Datum::List(others)) => {
                if values.len() != others.len() {
                    return Ok(false);
                }
                for (value, other) in values.iter().zip(others) {
                    if !value.equals(other)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => self.order(other, &mut None) == Ordering::Equal,
        })
    }

    /// Where it stands to another, in an order of all values. Where Python has no order of the two,
    /// `refusal` is set to what it says.
    pub(in crate::server) fn order(&self, other: &Datum, refusal: &mut Option<Fault>) -> Ordering {
        let ranks = self.rank().cmp(&other.rank());
        match (self, other) {
            (Datum::Str(text), Datum::Str(other)) => text.cmp(other),
            (Datum::Bytes(bytes), Datum::Bytes(other)) => bytes.cmp(other),
            (Datum::Tuple(values), Datum::Tuple(others))
            | (Datum::List(values), Datum::List(others)) => order_of_all(values, others, refusal),
            (Datum::Opaque, _) | (_, Datum::Opaque) => {
                refusal.get_or_insert_with(|| opaque("what is ordered"));
                ranks
            }
            _ if self.rank() == 1 && other.rank() == 1 => order_of_numbers(self, other),
            _ => {
                let (name, other) = (self.name(), other.name());
                let text = format!("'<' not supported between instances of '{name}' and '{other}'");
                refusal.get_or_insert_with(|| Fault::new("TypeError", text));
                ranks
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::None => 0,
            Datum::Int(_) | Datum::BigInt(..) | Datum::Float(_) => 1,
            Datum::Str(_) => 2,
            Datum::Bytes(_) => 3,
            Datum::Tuple(_) => 4,
            Datum::List(_) => 5,
            Datum::Opaque => 6,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Datum::None => "NoneType",
            Datum::Int(_) | Datum::BigInt(..) => "int",
            Datum::Float(_) => "float",
            Datum::Str(_) => "str",
            Datum::Bytes(_) => "bytes",
            Datum::Tuple(_) => "tuple",
            Datum::List(_) => "list",
            Datum::Opaque => "object",
        }
    }
}

fn opaque(what: &str) -> Fault {
    let text = format!(
        "the server cannot read {what}: it reads None, bool, int, float, str, bytes, and tuples and \
         lists of them, {DEPTH_MAX} in one another at most"
    );
    Fault::new("TypeError", text)
}

/// The first two that differ decide, and else the length.
fn order_of_all(values: &[Datum], others: &[Datum], refusal: &mut Option<Fault>) -> Ordering {
    for (value, other) in values.iter().zip(others) {
        let mut here = None;
        let order = value.order(other, &mut here);
        // Python asks first whether they are equal, and None is equal to None.
        let is_none = matches!((value, other), (Datum::None, Datum::None));
        if let Some(fault) = here.filter(|_| !is_none) {
            refusal.get_or_insert(fault);
        }
        if order != Ordering::Equal {
            return order;
        }
    }
    values.len().cmp(&others.len())
}

fn order_of_numbers(number: &Datum, other: &Datum) -> Ordering {
    match (number, other) {
        (Datum::Int(number), Datum::Int(other)) => number.cmp(other),
        (Datum::Float(number), Datum::Float(other)) => number.total_cmp(other),
        (Datum::BigInt(true, bytes), Datum::BigInt(true, others)) => order_of_bytes(others, bytes),
        (Datum::BigInt(false, bytes), Datum::BigInt(false, others)) => {
            order_of_bytes(bytes, others)
        }
        (Datum::Int(number), Datum::Float(other)) => match other.is_infinite() {
            // One with a fraction is below 2 ** 53, and lies above its floor.
            false if *number <= other.floor() as i128 => Ordering::Less,
            false => Ordering::Greater,
            true => 0.0_f64.total_cmp(other),
        },
        (Datum::BigInt(..), Datum::Float(other)) if other.is_infinite() => 0.0_f64.total_cmp(other),
        (Datum::BigInt(true, _), _) => Ordering::Less,
        (Datum::BigInt(false, _), _) => Ordering::Greater,
        _ => order_of_numbers(other, number).reverse(),
    }
}

fn order_of_bytes(bytes: &[u8], others: &[u8]) -> Ordering {
    (bytes.len(), bytes).cmp(&(others.len(), others))
}

/// A whole number by its magnitude, the highest byte first.
fn of_magnitude(negative: bool, magnitude: &[u8]) -> Datum<'static> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = &magnitude[zeros..];
    if magnitude.len() > 15 {
        return Datum::BigInt(negative, magnitude.to_vec());
    }
    let number = magnitude
        .iter()
        .fold(0, |number, byte| number << 8 | i128::from(*byte));
    Datum::Int(if negative { -number } else { number })
}

/// Little endian, as a pickle has it.
fn of_two_s_complement(bytes: &[u8]) -> Datum<'static> {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            let (sum, over) = (!*byte).overflowing_add(carry.into());
            (*byte, carry) = (sum, over);
        }
    }
    magnitude.reverse();
    of_magnitude(negative, &magnitude)
}

fn of_float(number: f64) -> Datum<'static> {
    if number.is_nan() {
        return Datum::Opaque;
    }
    if number.is_infinite() || number.fract() != 0.0 {
        return Datum::Float(number);
    }
    let bits = number.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
    if exponent <= 0 {
        return Datum::Int(number as i128);
    }
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let shifted = (u128::from(mantissa) << (exponent % 8)).to_be_bytes();
    let zeros = vec![0; (exponent / 8) as usize];
    of_magnitude(number < 0.0, &[&shifted[..], &zeros].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pickle::to_item;

    fn item(value: impl serde::Serialize) -> Vec<u8> {
        to_item(&value).expect("it is a value")
    }

    fn key(value: impl serde::Serialize) -> Box<[u8]> {
        Datum::of_item(&item(value)).key().expect("it can be a key")
    }

    #[test]
    fn equal_numbers_are_one_key_whatever_their_type() {
        assert_eq!(key(1), key(true));
        assert_eq!(key(1), key(1.0));
        assert_eq!(key(0), key(-0.0));
        assert_eq!(key((1, 2.0)), key((true, 2)));
        assert_eq!(key(1u128 << 100), key((1u128 << 100) as f64));
        assert_eq!(key(1u128 << 127), key((1u128 << 127) as f64));
        assert_ne!(key(1), key("1"));
        assert_ne!(key(1), key(1.5));
        assert_ne!(key((1u64 << 53) + 1), key(((1u64 << 53) + 1) as f64));
        assert_ne!(key("ab"), key(("a", "b")));
        assert_ne!(key(u128::MAX), key(-1));
    }

    #[test]
    fn values_stand_in_the_order_of_python() {
        let rising = [
            item(f64::NEG_INFINITY),
            item(-1e300),
            item(i128::MIN),
            item(-1.5),
            item(-1),
            item(0.5),
            item(true),
            item(1.25),
            item(2),
            item(1u64 << 63),
            item(u128::MAX),
            item(1e300),
            item(f64::INFINITY),
        ];
        for (at, code) in rising.iter().enumerate() {
            for (other_at, other) in rising.iter().enumerate() {
                let mut refusal = None;
                let order = Datum::of_item(code).order(&Datum::of_item(other), &mut refusal);
                assert_eq!(order, at.cmp(&other_at), "{at} and {other_at}");
                assert!(refusal.is_none());
            }
        }
    }

    #[test]
    fn what_python_does_not_order_is_refused_with_its_words() {
        let refused = |value: Vec<u8>, other: Vec<u8>| {
            let mut refusal = None;
            let order = Datum::of_item(&value).order(&Datum::of_item(&other), &mut refusal);
            (order, refusal.map(|fault| format!("{fault:?}")))
        };
        let (_, words) = refused(item(1), item("1"));
        assert!(words.is_some_and(|words| words.contains("instances of 'int' and 'str'")));
        let (_, words) = refused(item(((), 1)), item(((), 2)));
        assert_eq!(
            words, None,
            "None is equal to None before any order is asked for"
        );
        // (2, instance) against (1, instance): the numbers decide.
        let instance = |n: u8| [b"\x80\x02K", &[n][..], b"cm\nC\n)\x81\x86"].concat();
        assert_eq!(refused(instance(2), instance(1)), (Ordering::Greater, None));
        let (_, words) = refused(instance(1), instance(1));
        assert!(words.is_some_and(|words| words.contains("cannot read")));
    }
}
