//! From bytes to values.

use std::any::type_name;
use std::marker::PhantomData;
use std::str;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    DEPTH_MAX, Failing, Failure, copy, cut_off,
    leaves::{Kind, Leaf},
    not_utf8, numbers,
    packed::{Packed, number},
    tag, unknown,
};
use crate::sys::same_type;

mod parts;

use parts::{Parts, Variant};

/// Reads values from the start of its bytes. Whoever wrote them may have been killed or be hostile:
/// nothing is believed that was not compared with what is there.
pub(super) struct Decoder<'de> {
    bytes: &'de [u8],
    /// What lies beside the bytes.
    block: &'de [u8],
    names: Vec<&'de str>,
    depth: u32,
    /// Whether the key of a map is being read.
    in_key: bool,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], block: &'de [u8]) -> Self {
        let names = Vec::new();
        Self {
            bytes,
            block,
            names,
            depth: 0,
            in_key: false,
        }
    }

    /// Reads a value.
    #[inline]
    pub(super) fn read<T: Deserialize<'de>>(&mut self) -> Failing<T> {
        self.seeded(PhantomData)
    }

    /// Reads a value, or a part of one.
    #[inline(always)]
    fn seeded<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Failing<T::Value> {
        // Another seed may make something else of the vector.
        if same_type::is::<T, PhantomData<T::Value>>()
            && let Some(numbers) = numbers::read(&mut self.bytes, self.block)
        {
            return Ok(numbers);
        }
        seed.deserialize(self)
    }

    #[inline]
    pub(super) fn rest(&self) -> &'de [u8] {
        self.bytes
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    #[inline(always)]
    fn byte(&mut self) -> Failing<u8> {
        let (first, rest) = self.bytes.split_first().ok_or_else(cut_off)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Failing<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or_else(cut_off)?;
        self.bytes = rest;
        Ok(*array)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Failing<&'de [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or_else(cut_off)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn len(&mut self) -> Failing<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| cut_off())
    }

    fn sized(&mut self) -> Failing<&'de [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    fn text(&mut self, len: usize) -> Failing<&'de str> {
        str::from_utf8(self.take(len)?).map_err(|_| not_utf8())
    }

    /// The string or the name that begins with `tag`; `None` if another value does.
    #[inline]
    fn str(&mut self, tag: u8) -> Failing<Option<&'de str>> {
        let text = match tag {
            tag::SHORT..tag::NAME => self.text(usize::from(tag - tag::SHORT))?,
            tag::NAME..tag::NONE => {
                let name = self.names.get(usize::from(tag - tag::NAME));
                name.ok_or_else(|| Failure::new("a name was not defined"))?
            }
            tag::STR => {
                let len = self.len()?;
                self.text(len)?
            }
            tag::DEFINE => {
                let len = usize::from(self.byte()?);
                let name = self.text(len)?;
                self.names.push(name);
                name
            }
            _ => return Ok(None),
        };
        Ok(Some(text))
    }

    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Failing<T>) -> Failing<T> {
        if self.depth == DEPTH_MAX {
            return Err(Failure::new(format!(
                "it is nested more than {DEPTH_MAX} deep"
            )));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn seq<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Failing<V::Value> {
        self.within(|decoder| {
            let mut parts = Parts::new(decoder, count);
            let value = visitor.visit_seq(&mut parts)?;
            parts.end()?;
            Ok(value)
        })
    }

    fn map<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Failing<V::Value> {
        self.within(|decoder| {
            let mut parts = Parts::new(decoder, count);
            let value = visitor.visit_map(&mut parts)?;
            parts.end()?;
            Ok(value)
        })
    }

    fn packed(&mut self) -> Failing<Packed<'de>> {
        let number = self.byte()?;
        let width = tag::width(number).ok_or_else(unknown)?;
        let count = self.len()?;
        let bytes = self.take(count.checked_mul(width).ok_or_else(cut_off)?)?;
        Ok(Packed { number, bytes })
    }

    /// Reads a part that lies in the block, behind its tag.
    #[cold]
    fn leaf<V: Visitor<'de>>(&mut self, wanted: Wanted, visitor: V) -> Failing<V::Value> {
        let leaf = Leaf::read(&mut self.bytes)?;
        let number = match (leaf.kind, wanted) {
            (Kind::Str, _) => return visitor.visit_string(leaf.text(self.block)?),
            (Kind::Packed(tag::U8), Wanted::Bytes) | (Kind::Bytes, Wanted::Bytes | Wanted::Any) => {
                return visitor.visit_byte_buf(leaf.bytes(self.block)?);
            }
            (Kind::Bytes, Wanted::Numbers | Wanted::Buffered) => tag::U8,
            (Kind::Packed(number), _) => number,
            (Kind::Plain, _) => {
                return Err(Failure::new(
                    "it was lent as plain data: take it by `get_ref`",
                ));
            }
        };
        if tag::width(number).is_none_or(|width| !leaf.len().is_multiple_of(width as u64)) {
            return Err(unknown());
        }
        let bytes = &leaf.bytes(self.block)?;
        Packed { number, bytes }.visit(visitor)
    }

    /// Reads the value whose tag was read.
    fn value<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Failing<V::Value> {
        match tag {
            // As a `u64`, a key would count as the number of a field of whatever struct it is tried
            // on, as those of an untagged enum are.
            ..=tag::SMALL_MAX if self.in_key => visitor.visit_i64(tag.into()),
            ..=tag::SMALL_MAX => visitor.visit_u64(tag.into()),
            tag::NONE => visitor.visit_none(),
            tag::SOME => self.within(|decoder| visitor.visit_some(decoder)),
            tag::UNIT => visitor.visit_unit(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::U128 => visitor.visit_u128(u128::from_le_bytes(self.array()?)),
            tag::I128 => visitor.visit_i128(i128::from_le_bytes(self.array()?)),
            tag::BYTES if buffers::<V>() => {
                let (number, bytes) = (tag::U8, self.sized()?);
                Packed { number, bytes }.visit(visitor)
            }
            tag::BYTES => visitor.visit_borrowed_bytes(self.sized()?),
            tag::SEQ => {
                let count = self.len()?;
                self.seq(count, visitor)
            }
            tag::PACKED => self.packed()?.visit(visitor),
            tag::LEAF if buffers::<V>() => self.leaf(Wanted::Buffered, visitor),
            tag::LEAF => self.leaf(Wanted::Any, visitor),
            tag::MAP => {
                let count = self.len()?;
                self.map(count, visitor)
            }
            tag::STRUCT => {
                let count = self.byte()?.into();
                self.map(count, visitor)
            }
            // As in JSON, a map with the one entry.
            tag::VARIANT => self.map(1, visitor),
            _ => match tag::width(tag) {
                Some(width) => number(tag, self.take(width)?, visitor),
                None => match self.str(tag)? {
                    Some(text) => visitor.visit_borrowed_str(text),
                    None => Err(unknown()),
                },
            },
        }
    }
}

/// What a type asks for, of that which may be shown to it in several ways.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    /// What is read later, by serde.
    Buffered,
    Bytes,
    Numbers,
}

/// Whether serde keeps what it is shown, to read it again as one type after another: for an untagged
/// enum, a flattened struct. It makes a text of bytes that it keeps if a text is tried, and only of
/// numbers it does not. Other visitors, as of a type that holds any value, tell bytes from numbers.
fn buffers<V>() -> bool {
    // serde has no public name for its buffer. A test fails if it is another one.
    type_name::<V>().contains("ContentVisitor")
}

/// The types that are read most often, without a look at all tags.
macro_rules! direct {
    ($($method:ident: $type:ty as $tag:ident by $visit:ident),*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
            match self.byte()? {
                small @ ..=tag::SMALL_MAX => visitor.visit_u8(small),
                tag::$tag => visitor.$visit(<$type>::from_le_bytes(self.array()?)),
                tag => self.value(tag, visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Box<Failure>;

    direct! {
        deserialize_u8: u8 as U8 by visit_u8, deserialize_u16: u16 as U16 by visit_u16,
        deserialize_u32: u32 as U32 by visit_u32, deserialize_u64: u64 as U64 by visit_u64,
        deserialize_i8: i8 as I8 by visit_i8, deserialize_i16: i16 as I16 by visit_i16,
        deserialize_i32: i32 as I32 by visit_i32, deserialize_i64: i64 as I64 by visit_i64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        let tag = self.byte()?;
        self.value(tag, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        match self.peek() {
            Some(tag::NONE) => {
                self.byte()?;
                visitor.visit_none()
            }
            Some(tag::SOME) => {
                self.byte()?;
                self.within(|decoder| visitor.visit_some(decoder))
            }
            _ => self.within(|decoder| visitor.visit_some(decoder)),
        }
    }

    // In JSON `None` and `()` are the same.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        match self.byte()? {
            tag::UNIT | tag::NONE => visitor.visit_unit(),
            tag => self.value(tag, visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Failing<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Failing<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        match self.byte()? {
            tag::PACKED => match self.packed()? {
                Packed {
                    number: tag::U8,
                    bytes,
                } => visitor.visit_borrowed_bytes(bytes),
                other => other.visit(visitor),
            },
            tag::LEAF => self.leaf(Wanted::Bytes, visitor),
            tag => self.value(tag, visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        self.deserialize_bytes(visitor)
    }

    // A `String` is copied here, where it is never slow. Other types may read a text only where it lies.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        match self.byte()? {
            tag::STR if same_type::is::<V::Value, String>() => {
                let text = String::from_utf8(copy::to_vec(self.sized()?));
                visitor.visit_string(text.map_err(|_| not_utf8())?)
            }
            tag => self.value(tag, visitor),
        }
    }

    // JSON's bytes are a sequence of numbers.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Failing<V::Value> {
        match self.byte()? {
            tag::BYTES => {
                let (number, bytes) = (tag::U8, self.sized()?);
                Packed { number, bytes }.visit(visitor)
            }
            tag::LEAF => self.leaf(Wanted::Numbers, visitor),
            tag => self.value(tag, visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Failing<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Failing<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Failing<V::Value> {
        let tag = self.byte()?;
        let is_entry = match tag {
            tag::VARIANT => true,
            tag::MAP => self.len()? == 1,
            tag::STRUCT => self.byte()? == 1,
            _ => false,
        };
        if is_entry {
            return self.within(|decoder| visitor.visit_enum(Variant { decoder }));
        }
        match self.str(tag)? {
            Some(name) => visitor.visit_enum(BorrowedStrDeserializer::new(name)),
            None => Err(Failure::new("its bytes are not an enum's")),
        }
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str map struct identifier ignored_any
    }
}
