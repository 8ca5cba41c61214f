//! A type that reads any value to its depths and keeps nothing: serde's `IgnoredAny` looks at nothing.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

pub(crate) struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Anything, D::Error> {
        from.deserialize_any(Anything)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Anything;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Anything, E> {
        Ok(self)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Anything, S::Error> {
        while list.next_element::<Anything>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Anything, M::Error> {
        while map.next_entry::<Anything, Anything>()?.is_some() {}
        Ok(self)
    }
}
