//! Items as JSON, which any language reads. What JSON would change is refused when it is put, so
//! that what comes out is what went in.

use std::fmt;

use serde::ser::{self, Serialize};

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How deep lists and objects may lie in each other: `serde_json` reads no deeper.
const DEPTH_MAX: usize = 127;

/// Writes a value.
pub(super) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, Cause> {
    value.serialize(PlainCheck::default())?;
    Ok(serde_json::to_vec(value)?)
}

/// Why a value is refused.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(text: T) -> Refused {
        Refused(text.to_string())
    }
}

/// Looks at a value and writes nothing.
#[derive(Clone, Copy, Default)]
struct PlainCheck {
    /// Whether the value is that of a `Some`: there, `null` would be read as `None`.
    is_in_some: bool,
    /// How many lists and objects it is in.
    depth: usize,
}

impl PlainCheck {
    fn inner(&self, value: &(impl Serialize + ?Sized)) -> Result<(), Refused> {
        value.serialize(PlainCheck {
            is_in_some: false,
            ..*self
        })
    }

    /// One list or object deeper, as far as a reader will go.
    fn entered(self) -> Result<PlainCheck, Refused> {
        match self.depth {
            DEPTH_MAX => Err(Refused(format!("it is nested more than {DEPTH_MAX} deep"))),
            depth => Ok(PlainCheck {
                depth: depth + 1,
                ..self
            }),
        }
    }

    fn null(self) -> Result<(), Refused> {
        match self.is_in_some {
            true => Err(Refused(
                "a Some of what is null in JSON would come out as None".to_string(),
            )),
            false => Ok(()),
        }
    }
}

/// A number that is none, which would be null.
fn float(value: f64) -> Result<(), Refused> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(Refused(format!("there is no {value} in JSON"))),
    }
}

macro_rules! goes_through {
    ($($method:ident($type:ty);)*) => {$(
        fn $method(self, _: $type) -> Result<(), Refused> {
            Ok(())
        }
    )*};
}

macro_rules! inner_values {
    ($($kind:ident $method:ident;)*) => {$(
        impl ser::$kind for PlainCheck {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.inner(value)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

macro_rules! inner_fields {
    ($($kind:ident)*) => {$(
        impl ser::$kind for PlainCheck {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.inner(value)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

inner_values! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

inner_fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for PlainCheck {
    type Ok = ();
    type Error = Refused;

    /// What can be no key, the writer refuses.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.inner(value)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

impl ser::Serializer for PlainCheck {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = PlainCheck;
    type SerializeTuple = PlainCheck;
    type SerializeTupleStruct = PlainCheck;
    type SerializeTupleVariant = PlainCheck;
    type SerializeMap = PlainCheck;
    type SerializeStruct = PlainCheck;
    type SerializeStructVariant = PlainCheck;

    goes_through! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        float(value)
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(PlainCheck {
            is_in_some: true,
            ..self
        })
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), Refused> {
        Ok(())
    }

    /// It is its content, in JSON.
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.entered()?.inner(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<PlainCheck, Refused> {
        self.entered()
    }

    fn serialize_tuple(self, _: usize) -> Result<PlainCheck, Refused> {
        self.entered()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<PlainCheck, Refused> {
        self.entered()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<PlainCheck, Refused> {
        self.entered()?.entered()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<PlainCheck, Refused> {
        self.entered()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<PlainCheck, Refused> {
        self.entered()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<PlainCheck, Refused> {
        self.entered()?.entered()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    enum Nested {
        End,
        List(Vec<Nested>),
        Fields { inner: Box<Nested> },
    }

    /// So many lists or objects in each other, two for each step.
    fn nested(depth: usize) -> Nested {
        (0..depth / 2).fold(Nested::End, |inner, step| match step % 2 {
            0 => Nested::List(vec![inner]),
            _ => Nested::Fields {
                inner: Box::new(inner),
            },
        })
    }

    #[test]
    fn what_is_nested_too_deep_for_its_reader_is_not_written() {
        let deepest = vec![nested(DEPTH_MAX - 1)];
        let bytes = to_vec(&deepest).expect("it may be as deep");
        let read: Vec<Nested> = serde_json::from_slice(&bytes).expect("it is read");
        assert_eq!(read, deepest);
        for refused in [to_vec(&nested(DEPTH_MAX + 1)), to_vec(&nested(20_000))] {
            let text = refused.expect_err("nobody could read it").to_string();
            assert_eq!(text, "it is nested more than 127 deep");
        }
    }
}
