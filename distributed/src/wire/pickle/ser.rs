use serde::ser::{self, Serialize};

use super::Error;
use super::de::DEPTH_MAX;
use super::encode::Encoder;
use super::opcode::STOP;

/// Writes a Rust value as a pickle that Python reads: protocol 2, or 3 if there are bytes in it.
///
/// # Errors
///
/// [`Error::Mismatch`] when the value is nested more than 128 deep, as no reader here takes it; those
/// of the value's own `Serialize`.
///
/// # Examples
///
/// ```
/// use distributed::pickle;
///
/// let bytes = pickle::to_vec(&(7, "seven", 7.0, [1, 2, 3]))?;
/// let (n, name, x, list): (u8, String, f64, Vec<u64>) = pickle::from_slice(&bytes)?;
/// assert_eq!((n, name.as_str(), x, list), (7, "seven", 7.0, vec![1, 2, 3]));
/// # Ok::<(), pickle::Error>(())
/// ```
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = to_item(value)?;
    bytes.push(STOP);
    Ok(bytes)
}

/// As [`to_vec`], without an end: an item that a message can hold.
pub(crate) fn to_item<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut serializer = Serializer {
        code: Encoder::after(0),
        protocol: 2,
        depth: 0,
    };
    value.serialize(&mut serializer)?;
    let mut bytes = serializer.code.finish();
    bytes.pop();
    bytes[1] = serializer.protocol;
    Ok(bytes)
}

struct Serializer {
    code: Encoder,
    protocol: u8,
    /// How many containers are begun and not closed.
    depth: usize,
}

impl Serializer {
    /// The dict that stands for a variant of an enum, up to the variant's content.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.enter()?;
        self.code.dict().str(name);
        Ok(())
    }

    /// Goes one container deeper, as far as a reader will.
    fn enter(&mut self) -> Result<(), Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::Mismatch(format!(
                "it is nested more than {DEPTH_MAX} deep"
            )));
        }
        self.depth += 1;
        Ok(())
    }
}

/// What is under construction; around a variant's content, its dict is to be closed as well.
struct Container<'s> {
    serializer: &'s mut Serializer,
    end: fn(&mut Encoder) -> &mut Encoder,
    is_variant: bool,
}

impl Container<'_> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.serializer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.serializer.code.str(key);
        self.value(value)
    }

    fn close(self) -> Result<(), Error> {
        (self.end)(&mut self.serializer.code);
        self.serializer.depth -= 1;
        if self.is_variant {
            self.serializer.code.setitems();
            self.serializer.depth -= 1;
        }
        Ok(())
    }
}

macro_rules! written_as {
    ($($method:ident($type:ty) => $write:ident as $as:ty;)*) => {$(
        fn $method(self, value: $type) -> Result<(), Error> {
            self.code.$write(<$as>::from(value));
            Ok(())
        }
    )*};
}

impl<'s> ser::Serializer for &'s mut Serializer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Container<'s>;
    type SerializeTuple = Container<'s>;
    type SerializeTupleStruct = Container<'s>;
    type SerializeTupleVariant = Container<'s>;
    type SerializeMap = Container<'s>;
    type SerializeStruct = Container<'s>;
    type SerializeStructVariant = Container<'s>;

    written_as! {
        serialize_bool(bool) => bool as bool;
        serialize_i8(i8) => int as i128;
        serialize_i16(i16) => int as i128;
        serialize_i32(i32) => int as i128;
        serialize_i64(i64) => int as i128;
        serialize_i128(i128) => int as i128;
        serialize_u8(u8) => int as i128;
        serialize_u16(u16) => int as i128;
        serialize_u32(u32) => int as i128;
        serialize_u64(u64) => int as i128;
        serialize_f32(f32) => float as f64;
        serialize_f64(f64) => float as f64;
    }

    fn serialize_u128(self, value: u128) -> Result<(), Error> {
        match i128::try_from(value) {
            Ok(value) => self.code.int(value),
            // A byte more, or it would be read as negative.
            Err(_) => self.code.long(&[&value.to_le_bytes()[..], &[0]].concat()),
        };
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.code.str(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.code.bytes(value);
        self.protocol = 3;
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.code.none();
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.code.setitems();
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Container<'s>, Error> {
        self.enter()?;
        self.code.list();
        Ok(Container {
            serializer: self,
            end: Encoder::appends,
            is_variant: false,
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Container<'s>, Error> {
        self.enter()?;
        self.code.mark();
        Ok(Container {
            serializer: self,
            end: Encoder::tuple,
            is_variant: false,
        })
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Container<'s>, Error> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'s>, Error> {
        self.variant(variant)?;
        let tuple = self.serialize_tuple(len)?;
        Ok(Container {
            is_variant: true,
            ..tuple
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Container<'s>, Error> {
        self.enter()?;
        self.code.dict();
        Ok(Container {
            serializer: self,
            end: Encoder::setitems,
            is_variant: false,
        })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Container<'s>, Error> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'s>, Error> {
        self.variant(variant)?;
        let fields = self.serialize_map(Some(len))?;
        Ok(Container {
            is_variant: true,
            ..fields
        })
    }
}

macro_rules! of_values {
    ($($of:ident::$method:ident),*) => {$(
        impl ser::$of for Container<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.value(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

of_values!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! of_fields {
    ($($of:ident),*) => {$(
        impl ser::$of for Container<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

of_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Container<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.value(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::from_slice;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    enum Nested {
        End,
        List(Vec<Nested>),
        Fields { inner: Box<Nested> },
    }

    /// So many lists or dicts in each other, two for each step.
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
        let deepest = nested(DEPTH_MAX);
        let bytes = to_vec(&deepest).expect("it may be as deep");
        assert_eq!(from_slice(&bytes), Ok(deepest));
        for refused in [to_vec(&nested(DEPTH_MAX + 2)), to_vec(&nested(20_000))] {
            let text = refused.expect_err("nobody could read it").to_string();
            assert_eq!(text, "it is nested more than 128 deep");
        }
        // One after the other is not one in the other.
        let wide: Vec<[u8; 1]> = vec![[7]; 1000];
        assert_eq!(from_slice(&to_vec(&wide).expect("it is flat")), Ok(wide));
    }
}
