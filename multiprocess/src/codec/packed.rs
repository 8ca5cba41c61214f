//! Sequences of numbers of one type, which are written without a tag for each.

use serde::{
    Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error as _, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
    ser::Impossible,
};

use super::{Failing, Failure, cut_off, tag, unknown};

/// Writes a number without its tag, and returns the tag; refuses all else.
pub(super) struct Packer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// The tag that the number must have, if there is a number before it.
    pub(super) expected: Option<u8>,
}

/// The value is no number, or one of another type.
#[derive(Debug)]
pub(super) struct Unpackable;

impl std::fmt::Display for Unpackable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no number of the type of those before it")
    }
}

impl std::error::Error for Unpackable {}

impl serde::ser::Error for Unpackable {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty as $tag:ident),*) => {$(
        #[inline(always)]
        fn $method(self, value: $type) -> Result<u8, Unpackable> {
            if self.expected.is_some_and(|expected| expected != tag::$tag) {
                return Err(Unpackable);
            }
            self.out.extend_from_slice(&value.to_le_bytes());
            Ok(tag::$tag)
        }
    )*};
}

macro_rules! refused {
    ($($method:ident($($argument:ty),*) -> $ok:ty),*) => {$(
        #[inline(always)]
        fn $method(self, $(_: $argument),*) -> Result<$ok, Unpackable> {
            Err(Unpackable)
        }
    )*};
}

type NoParts = Impossible<u8, Unpackable>;

impl Serializer for Packer<'_> {
    type Ok = u8;
    type Error = Unpackable;
    type SerializeSeq = NoParts;
    type SerializeTuple = NoParts;
    type SerializeTupleStruct = NoParts;
    type SerializeTupleVariant = NoParts;
    type SerializeMap = NoParts;
    type SerializeStruct = NoParts;
    type SerializeStructVariant = NoParts;

    numbers! {
        serialize_u8: u8 as U8, serialize_u16: u16 as U16, serialize_u32: u32 as U32,
        serialize_u64: u64 as U64, serialize_i8: i8 as I8, serialize_i16: i16 as I16,
        serialize_i32: i32 as I32, serialize_i64: i64 as I64, serialize_f32: f32 as F32,
        serialize_f64: f64 as F64
    }

    refused! {
        serialize_u128(u128) -> u8,
        serialize_i128(i128) -> u8,
        serialize_bool(bool) -> u8,
        serialize_char(char) -> u8,
        serialize_str(&str) -> u8,
        serialize_bytes(&[u8]) -> u8,
        serialize_none() -> u8,
        serialize_unit() -> u8,
        serialize_unit_struct(&'static str) -> u8,
        serialize_unit_variant(&'static str, u32, &'static str) -> u8,
        serialize_seq(Option<usize>) -> NoParts,
        serialize_tuple(usize) -> NoParts,
        serialize_tuple_struct(&'static str, usize) -> NoParts,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> NoParts,
        serialize_map(Option<usize>) -> NoParts,
        serialize_struct(&'static str, usize) -> NoParts,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> NoParts
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u8, Unpackable> {
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<u8, Unpackable> {
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<u8, Unpackable> {
        Err(Unpackable)
    }
}

/// Numbers of one type, without tags.
pub(super) struct Packed<'b> {
    pub(super) number: u8,
    pub(super) bytes: &'b [u8],
}

impl Packed<'_> {
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        // Most are bytes, which are read several times faster by code that knows it.
        match self.number {
            tag::U8 => Numbers::<{ tag::U8 }>(self).visit(visitor),
            _ => Numbers::<ANY>(self).visit(visitor),
        }
    }
}

/// The numbers of [`Packed`] that are still to be read, with their tag if it is known.
struct Numbers<'b, const TAG: u8>(Packed<'b>);

/// No number's tag.
const ANY: u8 = tag::NONE;

impl<const TAG: u8> Numbers<'_, TAG> {
    fn visit<'de, V: Visitor<'de>>(mut self, visitor: V) -> Failing<V::Value> {
        let value = visitor.visit_seq(&mut self)?;
        match self.0.bytes {
            [] => Ok(value),
            _ => Err(Failure::new("it has more numbers than are expected")),
        }
    }

    #[inline(always)]
    fn tag(&self) -> u8 {
        if TAG == ANY { self.0.number } else { TAG }
    }

    #[inline(always)]
    fn width(&self) -> usize {
        tag::width(self.tag()).unwrap_or(1)
    }
}

impl<'de, const TAG: u8> SeqAccess<'de> for &mut Numbers<'_, TAG> {
    type Error = Box<Failure>;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Failing<Option<T::Value>> {
        if self.0.bytes.is_empty() {
            return Ok(None);
        }
        let split = self.0.bytes.split_at_checked(self.width());
        let (bytes, rest) = split.ok_or_else(cut_off)?;
        self.0.bytes = rest;
        let number = self.tag();
        seed.deserialize(Number { number, bytes }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.bytes.len() / self.width())
    }
}

/// One of [`Numbers`].
struct Number<'b> {
    number: u8,
    bytes: &'b [u8],
}

impl<'de> Deserializer<'de> for Number<'_> {
    type Error = Box<Failure>;

    #[inline(always)]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        number(self.number, self.bytes, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Failing<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Failing<V::Value> {
        Err(Box::<Failure>::invalid_type(
            Unexpected::Other("number"),
            &"an enum",
        ))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Shows a number to the visitor. Like JSON's, one that is not negative is a `u64`.
#[inline(always)]
pub(super) fn number<'de, V: Visitor<'de>>(tag: u8, bytes: &[u8], visitor: V) -> Failing<V::Value> {
    macro_rules! read {
        ($type:ty) => {
            <$type>::from_le_bytes(bytes.try_into().map_err(|_| cut_off())?)
        };
    }
    let signed = match tag {
        tag::U8 => return visitor.visit_u64(read!(u8).into()),
        tag::U16 => return visitor.visit_u64(read!(u16).into()),
        tag::U32 => return visitor.visit_u64(read!(u32).into()),
        tag::U64 => return visitor.visit_u64(read!(u64)),
        tag::F32 => return visitor.visit_f32(read!(f32)),
        tag::F64 => return visitor.visit_f64(read!(f64)),
        tag::I8 => read!(i8).into(),
        tag::I16 => read!(i16).into(),
        tag::I32 => read!(i32).into(),
        tag::I64 => read!(i64),
        _ => return Err(unknown()),
    };
    match u64::try_from(signed) {
        Ok(positive) => visitor.visit_u64(positive),
        Err(_) => visitor.visit_i64(signed),
    }
}
