//! From values to bytes.

use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{
    DEPTH_MAX, Failing, Failure, copy,
    leaves::{Kind, LEAF_MIN, Leaf, Leaves},
    names::{Name, Names},
    numbers,
    packed::Packer,
    tag,
};

/// Appends values to a buffer.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    names: Names,
    depth: u32,
    /// Where large parts go, if not into `out`.
    leaves: Option<&'a mut Leaves<'a>>,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut Vec<u8>, leaves: Option<&'a mut Leaves<'a>>) -> Self {
        let names = Names::default();
        Self {
            out,
            names,
            depth: 0,
            leaves,
        }
    }

    /// Writes a value, or a part of one.
    #[inline(always)]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Failing<()> {
        match numbers::write(value, self.out, self.leaves.as_deref_mut()) {
            true => Ok(()),
            false => value.serialize(self),
        }
    }

    /// Writes a tag and a number in one piece, so that the room is checked once.
    #[inline(always)]
    fn number<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Failing<()> {
        push_number(self.out, tag, bytes);
        Ok(())
    }

    #[inline(always)]
    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        if bytes.len() >= LEAF_MIN
            && let Some(leaves) = self.leaves.as_deref_mut()
        {
            let kind = if tag == tag::STR {
                Kind::Str
            } else {
                Kind::Bytes
            };
            if Leaf::write(self.out, leaves, kind, bytes) {
                return;
            }
        }
        push_number(self.out, tag, (bytes.len() as u64).to_le_bytes());
        copy::append(self.out, bytes);
    }

    #[inline]
    fn str(&mut self, text: &str) {
        if text.len() <= tag::SHORT_MAX {
            self.out.push(tag::SHORT + text.len() as u8);
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.bytes(tag::STR, text.as_bytes());
        }
    }

    /// Writes the name of a field or a variant, which is spelled once in a message.
    fn name(&mut self, name: &'static str) {
        match self.names.number(name) {
            Name::Known(number) => self.out.push(tag::NAME + number),
            Name::First => {
                self.out.extend([tag::DEFINE, name.len() as u8]);
                self.out.extend_from_slice(name.as_bytes());
            }
            Name::Unnumbered => self.str(name),
        }
    }

    fn enter(&mut self) -> Failing<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(Failure::new(format!(
                "it is nested more than {DEPTH_MAX} deep"
            ))),
            false => Ok(()),
        }
    }

    fn parts<'e>(&'e mut self, tag: u8, packed: Packing) -> Failing<Parts<'e, 'a>> {
        self.enter()?;
        let start = self.out.len();
        push_number(self.out, tag, 0u64.to_le_bytes());
        Ok(Parts {
            encoder: self,
            start,
            count: 0,
            packed,
        })
    }

    fn fields<'e>(&'e mut self, len: usize) -> Failing<Fields<'e, 'a>> {
        if u8::try_from(len).is_err() {
            return Ok(Fields::Many(self.parts(tag::MAP, Packing::Never)?));
        }
        self.enter()?;
        let start = self.out.len();
        self.out.extend([tag::STRUCT, 0]);
        Ok(Fields::Few {
            encoder: self,
            start,
            count: 0,
        })
    }

    fn variant(&mut self, name: &'static str) -> Failing<()> {
        self.enter()?;
        self.out.push(tag::VARIANT);
        self.name(name);
        Ok(())
    }
}

#[inline(always)]
fn push_number<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    // A number has 16 bytes at most.
    let mut whole = [0; 17];
    whole[0] = tag;
    whole[1..=N].copy_from_slice(&bytes);
    out.extend_from_slice(&whole[..=N]);
}

macro_rules! integers {
    ($($method:ident: $type:ty as $tag:ident),*) => {$(
        #[inline(always)]
        fn $method(self, value: $type) -> Failing<()> {
            match u8::try_from(value) {
                Ok(small @ ..=tag::SMALL_MAX) => {
                    self.out.push(small);
                    Ok(())
                }
                _ => self.number(tag::$tag, value.to_le_bytes()),
            }
        }
    )*};
}

impl<'e, 'a> Serializer for &'e mut Encoder<'a> {
    type Ok = ();
    type Error = Box<Failure>;
    type SerializeSeq = Parts<'e, 'a>;
    type SerializeTuple = Parts<'e, 'a>;
    type SerializeTupleStruct = Parts<'e, 'a>;
    type SerializeTupleVariant = Parts<'e, 'a>;
    type SerializeMap = Parts<'e, 'a>;
    type SerializeStruct = Fields<'e, 'a>;
    type SerializeStructVariant = Fields<'e, 'a>;

    integers! {
        serialize_u8: u8 as U8, serialize_u16: u16 as U16, serialize_u32: u32 as U32,
        serialize_u64: u64 as U64, serialize_i8: i8 as I8, serialize_i16: i16 as I16,
        serialize_i32: i32 as I32, serialize_i64: i64 as I64
    }

    // A number that fits into 64 bits is written so: serde's own buffers, as of an untagged enum,
    // hold no more.
    fn serialize_u128(self, value: u128) -> Failing<()> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => self.number(tag::U128, value.to_le_bytes()),
        }
    }

    fn serialize_i128(self, value: i128) -> Failing<()> {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.serialize_i64(value),
            (_, Ok(value)) => self.serialize_u64(value),
            _ => self.number(tag::I128, value.to_le_bytes()),
        }
    }

    fn serialize_f32(self, value: f32) -> Failing<()> {
        self.number(tag::F32, value.to_le_bytes())
    }

    fn serialize_f64(self, value: f64) -> Failing<()> {
        self.number(tag::F64, value.to_le_bytes())
    }

    fn serialize_bool(self, value: bool) -> Failing<()> {
        self.out.push(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Failing<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Failing<()> {
        self.str(value);
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Failing<()> {
        self.bytes(tag::BYTES, value);
        Ok(())
    }

    fn serialize_none(self) -> Failing<()> {
        self.out.push(tag::NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Failing<()> {
        let start = self.out.len();
        self.enter()?;
        self.value(value)?;
        self.depth -= 1;
        if matches!(self.out.get(start), Some(&(tag::NONE | tag::SOME))) {
            self.out.insert(start, tag::SOME);
        }
        Ok(())
    }

    fn serialize_unit(self) -> Failing<()> {
        self.out.push(tag::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Failing<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Failing<()> {
        self.name(name);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Failing<()> {
        self.value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Failing<()> {
        self.variant(name)?;
        self.value(value).map_err(|e| e.in_field(name))?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Failing<Parts<'e, 'a>> {
        self.parts(tag::SEQ, Packing::Maybe)
    }

    fn serialize_tuple(self, _: usize) -> Failing<Parts<'e, 'a>> {
        self.parts(tag::SEQ, Packing::Never)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Failing<Parts<'e, 'a>> {
        self.parts(tag::SEQ, Packing::Never)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Failing<Parts<'e, 'a>> {
        self.variant(name)?;
        self.depth -= 1;
        self.parts(tag::SEQ, Packing::Never)
    }

    fn serialize_map(self, _: Option<usize>) -> Failing<Parts<'e, 'a>> {
        self.parts(tag::MAP, Packing::Never)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Failing<Fields<'e, 'a>> {
        self.fields(len)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Failing<Fields<'e, 'a>> {
        self.variant(name)?;
        self.depth -= 1;
        self.fields(len)
    }
}

/// Whether the elements of a sequence are written without tags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Never,
    /// As the first element will show.
    Maybe,
    /// All so far were numbers of this tag.
    By(u8),
}

/// A sequence or a map whose parts are being written. Their number is filled in at its end.
pub(super) struct Parts<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    start: usize,
    count: u64,
    packed: Packing,
}

impl Parts<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Failing<()> {
        if self.packed != Packing::Never && self.pack(value) {
            return Ok(());
        }
        self.count += 1;
        self.encoder.value(value)
    }

    /// Writes a number without its tag; false if it is none, or of another type than those before.
    #[inline]
    fn pack<T: Serialize + ?Sized>(&mut self, value: &T) -> bool {
        let out = &mut *self.encoder.out;
        let expected = match self.packed {
            Packing::By(tag) => Some(tag),
            _ => None,
        };
        let packer = Packer { out, expected };
        match value.serialize(packer) {
            Ok(tag) => {
                if self.packed == Packing::Maybe {
                    // The first one went where the count ends, and the tag goes before it.
                    self.encoder.out[self.start] = tag::PACKED;
                    self.encoder.out.insert(self.start + 1, tag);
                    self.packed = Packing::By(tag);
                }
                self.count += 1;
                true
            }
            Err(_) => {
                self.unpack();
                false
            }
        }
    }

    /// Writes the numbers so far again, each with its tag.
    #[cold]
    fn unpack(&mut self) {
        if let Packing::By(number) = self.packed {
            let out = &mut *self.encoder.out;
            let packed = out.split_off(self.start + 10);
            out.remove(self.start + 1);
            out[self.start] = tag::SEQ;
            let width = tag::width(number).expect("only numbers are packed");
            for bytes in packed.chunks_exact(width) {
                out.push(number);
                out.extend_from_slice(bytes);
            }
        }
        self.packed = Packing::Never;
    }

    fn finish(self) -> Failing<()> {
        let at = match self.packed {
            Packing::By(_) => self.start + 2,
            _ => self.start + 1,
        };
        self.encoder.out[at..at + 8].copy_from_slice(&self.count.to_le_bytes());
        self.encoder.depth -= 1;
        Ok(())
    }
}

macro_rules! elements {
    ($($part:ident: $method:ident),*) => {$(
        impl $part for Parts<'_, '_> {
            type Ok = ();
            type Error = Box<Failure>;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Failing<()> {
                self.element(value)
            }

            fn end(self) -> Failing<()> {
                self.finish()
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Box<Failure>;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Failing<()> {
        self.count += 1;
        key.serialize(&mut *self.encoder)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Failing<()> {
        self.encoder.value(value)
    }

    fn end(self) -> Failing<()> {
        self.finish()
    }
}

/// A struct whose fields are being written.
pub(super) enum Fields<'e, 'a> {
    Few {
        encoder: &'e mut Encoder<'a>,
        start: usize,
        count: u8,
    },
    /// More than a `u8` can count.
    Many(Parts<'e, 'a>),
}

impl Fields<'_, '_> {
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Failing<()> {
        let encoder = match self {
            Fields::Few { encoder, count, .. } => {
                let next = count.checked_add(1);
                *count =
                    next.ok_or_else(|| Failure::new("it has more fields than it announced"))?;
                encoder
            }
            Fields::Many(parts) => {
                parts.count += 1;
                &mut parts.encoder
            }
        };
        encoder.name(name);
        encoder
            .value(value)
            .map_err(|failure| failure.in_field(name))
    }

    fn finish(self) -> Failing<()> {
        match self {
            Fields::Few {
                encoder,
                start,
                count,
            } => {
                encoder.out[start + 1] = count;
                encoder.depth -= 1;
                Ok(())
            }
            Fields::Many(parts) => parts.finish(),
        }
    }
}

macro_rules! fields {
    ($($part:ident),*) => {$(
        impl $part for Fields<'_, '_> {
            type Ok = ();
            type Error = Box<Failure>;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Failing<()> {
                self.field(name, value)
            }

            fn end(self) -> Failing<()> {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);
