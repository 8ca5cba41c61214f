//! What a value has several of, as serde asks for it: elements, entries, what a variant holds.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{Decoder, Failing, Failure};

/// The parts of a sequence or a map that are still to be read.
pub(super) struct Parts<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    left: usize,
    key: Option<&'de [u8]>,
}

impl<'d, 'de> Parts<'d, 'de> {
    pub(super) fn new(decoder: &'d mut Decoder<'de>, left: usize) -> Self {
        let key = None;
        Self { decoder, left, key }
    }

    pub(super) fn end(&self) -> Failing<()> {
        match self.left {
            0 => Ok(()),
            left => Err(Failure::new(format!("{left} parts more than are expected"))),
        }
    }

    /// A part takes a byte at least, so that a count cannot reserve more than there is.
    fn hint(&self) -> usize {
        self.left.min(self.decoder.bytes.len())
    }
}

impl<'de> SeqAccess<'de> for &mut Parts<'_, 'de> {
    type Error = Box<Failure>;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Failing<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.decoder.seeded(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for &mut Parts<'_, 'de> {
    type Error = Box<Failure>;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Failing<Option<K::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.key = Some(self.decoder.bytes);
        self.decoder.in_key = true;
        let key = seed.deserialize(&mut *self.decoder).map(Some);
        self.decoder.in_key = false;
        key
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Failing<V::Value> {
        let key = self.key.take();
        let value = self.decoder.seeded(seed);
        value.map_err(
            |failure| match key.and_then(|key| self.decoder.spelled(key)) {
                Some(name) => failure.in_field(name),
                None => failure,
            },
        )
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> Decoder<'de> {
    /// The name that begins `bytes`, for an error.
    #[cold]
    fn spelled(&self, bytes: &'de [u8]) -> Option<&'de str> {
        let mut again = Decoder {
            bytes,
            block: self.block,
            names: self.names.clone(),
            depth: 0,
            in_key: false,
        };
        let tag = again.byte().ok()?;
        again.str(tag).ok()?
    }
}

/// A variant with a value.
pub(super) struct Variant<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Box<Failure>;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Failing<(V::Value, Self)> {
        let name = seed.deserialize(&mut *self.decoder)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Box<Failure>;

    fn unit_variant(self) -> Failing<()> {
        serde::Deserialize::deserialize(self.decoder)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Failing<T::Value> {
        self.decoder.seeded(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Failing<V::Value> {
        self.decoder.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Failing<V::Value> {
        self.decoder.deserialize_any(visitor)
    }
}
