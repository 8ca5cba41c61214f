use std::any::type_name;
use std::cell::Cell;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Visitor};
use serde::forward_to_deserialize_any;

use super::{Error, Pickle, Scalar, Span, Value, ValueKind};

/// How deep values may lie in each other, as Rust values do so by recursion.
pub(super) const DEPTH_MAX: usize = 128;
/// How many values are made of one pickle, in which a short one may be mentioned again and again.
const VALUES_MAX: usize = 16 << 20;

/// Reads a pickle as a Rust value. Runs nothing of what it says.
///
/// # Errors
///
/// [`Error::Malformed`] when it is no pickle of protocol 2 to 5; [`Error::Mismatch`] when it holds
/// something else than a `T`, or nests deeper than 128 values.
///
/// # Examples
///
/// ```
/// use distributed::pickle;
///
/// // pickle.dumps({"n": 7}, protocol=4)
/// let bytes = b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01n\x94K\x07s.";
/// let map: std::collections::HashMap<String, u8> = pickle::from_slice(bytes)?;
/// assert_eq!(map["n"], 7);
///
/// // What Python's own pickle.loads would run as a command.
/// let bytes = b"\x80\x02cos\nsystem\nX\x06\0\0\0reboot\x85R.";
/// let error = pickle::from_slice::<String>(bytes).unwrap_err();
/// assert_eq!(error.to_string(), "an instance of os.system has no counterpart in Rust");
/// # Ok::<(), pickle::Error>(())
/// ```
pub fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let pickle = Pickle::read(bytes)?;
    from_value(&pickle, pickle.root())
}

/// One value of a pickle that has been read.
pub(crate) fn from_value<'a, T: Deserialize<'a>>(
    pickle: &Pickle<'a>,
    value: Value,
) -> Result<T, Error> {
    T::deserialize(Deserializer {
        pickle,
        value,
        depth: 0,
        left: &Cell::new(VALUES_MAX),
    })
}

/// Whether serde keeps what it is shown, to read it again as one type after another: for an untagged
/// enum, a flattened struct. It makes a text of bytes that it keeps if a text is tried, and only of
/// numbers it does not. Other visitors, as of a type that holds any value, tell bytes from numbers.
fn buffers<V>() -> bool {
    // serde has no public name for its buffer. A test fails if it is another one.
    type_name::<V>().contains("ContentVisitor")
}

#[derive(Clone, Copy)]
struct Deserializer<'p, 'a> {
    pickle: &'p Pickle<'a>,
    value: Value,
    depth: usize,
    /// How many values may still be made.
    left: &'p Cell<usize>,
}

impl<'p, 'a> Deserializer<'p, 'a> {
    fn values(&self) -> Result<Values<'p, 'a, impl Iterator<Item = Span> + Clone + 'p>, Error> {
        self.values_of(self.value)
    }

    fn values_of(
        &self,
        value: Value,
    ) -> Result<Values<'p, 'a, impl Iterator<Item = Span> + Clone + 'p>, Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::Mismatch(format!(
                "it is nested more than {DEPTH_MAX} deep"
            )));
        }
        Ok(Values {
            pickle: self.pickle,
            depth: self.depth + 1,
            left: self.left,
            iter: self.pickle.inside(value),
        })
    }

    fn scalar<V: Visitor<'a>>(self, scalar: Scalar<'a>, visitor: V) -> Result<V::Value, Error> {
        match scalar {
            Scalar::None => visitor.visit_unit(),
            Scalar::Bool(value) => visitor.visit_bool(value),
            Scalar::Int(value) => visitor.visit_i64(value),
            Scalar::Float(value) => visitor.visit_f64(value),
            Scalar::Digits(digits) => int(digits.parse().map_err(|_| too_big())?, visitor),
            Scalar::BigInt(digits) => match wide(digits) {
                Some(value) => int(value, visitor),
                None => visitor.visit_u128(wide_unsigned(digits).ok_or_else(too_big)?),
            },
            Scalar::Str(text) => match std::str::from_utf8(text) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(Error::Mismatch("text with a lone surrogate in it".into())),
            },
            Scalar::ByteStr(text) => match std::str::from_utf8(text) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(text),
            },
            Scalar::Bytes(bytes) if buffers::<V>() => {
                visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied()))
            }
            Scalar::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Scalar::EmptyTuple => visitor.visit_seq(self.values()?),
            Scalar::Global(module, name) => Err(no_counterpart("the name", module, name)),
        }
    }

    /// What Python writes as a call, and is data nonetheless.
    fn object<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some((_, elements)) = self.pickle.set(self.value) {
            return visitor.visit_seq(self.values_of(elements)?);
        }
        let Some(((module, name), arguments)) = self.pickle.instance(self.value) else {
            return Err(Error::Mismatch(
                "an instance has no counterpart in Rust".into(),
            ));
        };
        let is_builtin = matches!(module, "builtins" | "__builtin__");
        let argument = self.pickle.inside(arguments).next();
        match (name, argument) {
            // CPython's server makes a list of the keys of a dict so.
            ("bytearray" | "list", Some(inside)) if is_builtin => {
                let value = inside.value;
                de::Deserializer::deserialize_any(Deserializer { value, ..self }, visitor)
            }
            _ => Err(no_counterpart("an instance of", module, name)),
        }
    }
}

fn no_counterpart(what: &str, module: &str, name: &str) -> Error {
    Error::Mismatch(format!("{what} {module}.{name} has no counterpart in Rust"))
}

fn too_big() -> Error {
    Error::Mismatch("a number of more than 128 bits".into())
}

fn int<'a, V: Visitor<'a>>(value: i128, visitor: V) -> Result<V::Value, Error> {
    if let Ok(value) = i64::try_from(value) {
        visitor.visit_i64(value)
    } else if let Ok(value) = u64::try_from(value) {
        visitor.visit_u64(value)
    } else {
        visitor.visit_i128(value)
    }
}

fn wide(digits: &[u8]) -> Option<i128> {
    let is_negative = digits.last().is_some_and(|last| *last >= 0x80);
    let mut bytes = [if is_negative { 0xff } else { 0 }; 16];
    bytes.get_mut(..digits.len())?.copy_from_slice(digits);
    Some(i128::from_le_bytes(bytes))
}

fn wide_unsigned(digits: &[u8]) -> Option<u128> {
    let (0, bytes) = digits.split_last()? else {
        return None;
    };
    Some(u128::from_le_bytes(bytes.try_into().ok()?))
}

impl<'a> de::Deserializer<'a> for Deserializer<'_, 'a> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(scalar) = self.pickle.scalar(self.value) {
            return self.scalar(scalar, visitor);
        }
        match self.pickle.kind(self.value) {
            ValueKind::Dict => visitor.visit_map(self.values()?),
            ValueKind::Object => self.object(visitor),
            ValueKind::Global => {
                let (module, name) = self.pickle.global(self.value).unwrap_or_default();
                Err(no_counterpart("the name", module, name))
            }
            _ => visitor.visit_seq(self.values()?),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.pickle.kind(self.value) {
            ValueKind::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.pickle.scalar(self.value) {
            Some(Scalar::ByteStr(bytes)) => visitor.visit_borrowed_bytes(bytes),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// What nobody looks at may be what has no counterpart.
    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Some(name) = self.pickle.text(self.value) {
            return visitor.visit_enum(StrDeserializer::new(name));
        }
        if self.pickle.kind(self.value) != ValueKind::Dict {
            return self.deserialize_any(visitor);
        }
        visitor.visit_enum(de::value::MapAccessDeserializer::new(self.values()?))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct seq
        tuple tuple_struct map struct identifier
    }
}

/// The values of a container, one after the other; in a dict, keys and values take turns.
struct Values<'p, 'a, I> {
    pickle: &'p Pickle<'a>,
    depth: usize,
    left: &'p Cell<usize>,
    iter: I,
}

impl<'a, I: Iterator<Item = Span>> Values<'_, 'a, I> {
    fn next<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(Span { value, .. }) = self.iter.next() else {
            return Ok(None);
        };
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(Error::Mismatch(format!(
                "it has more than {VALUES_MAX} values"
            )));
        };
        self.left.set(left);
        let deserializer = Deserializer {
            pickle: self.pickle,
            value,
            depth: self.depth,
            left: self.left,
        };
        seed.deserialize(deserializer).map(Some)
    }
}

impl<'a, I: Iterator<Item = Span>> de::SeqAccess<'a> for Values<'_, 'a, I> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }
}

impl<'a, I: Iterator<Item = Span>> de::MapAccess<'a> for Values<'_, 'a, I> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.next(seed)?;
        value.ok_or_else(|| Error::Mismatch("a key without a value".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use serde::Serialize;

    use super::super::to_vec;
    use super::*;

    #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
    #[serde(untagged)]
    enum TextOrBytes {
        Text(String),
        Bytes(CString),
    }

    /// serde itself makes a text of them, if it is shown them as bytes.
    #[test]
    fn bytes_that_could_be_a_text_stay_bytes_in_an_untagged_enum() {
        let values = [
            TextOrBytes::Text("abc".into()),
            TextOrBytes::Bytes(c"abc".into()),
            TextOrBytes::Bytes(c"\xff".into()),
        ];
        let pickle = to_vec(&values).expect("it has a form");
        let read: [TextOrBytes; 3] = from_slice(&pickle).expect("it is read");
        assert_eq!(read, values);
    }
}
