//! Values as bytes: postcard, through a buffer that each thread keeps.

use std::any::type_name;
use std::cell::Cell;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result, fd_passing};

/// A buffer that has grown beyond this is not kept: 4 MiB.
const KEPT_MAX: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Option<Box<Bytes>>> = const { Cell::new(None) };
}

/// Boxed, so that one word moves in and out of the thread's cell.
#[derive(Default)]
struct Bytes(Vec<u8>);

/// The thread's buffer while it is in use; its contents are of no meaning. A value that is itself
/// sent while another is being serialised gets a buffer of its own.
pub(crate) struct Buffer(Option<Box<Bytes>>);

impl Buffer {
    #[inline]
    pub(crate) fn take() -> Self {
        Self(Some(KEPT.take().unwrap_or_default()))
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0.as_mut().expect("it is there until the drop").0
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if self.bytes().capacity() <= KEPT_MAX {
            KEPT.set(self.0.take());
        }
    }
}

/// Writes the value to the start of `buffer`, whose length only grows; returns the bytes.
#[inline]
pub(crate) fn encode<'a, T: Serialize + ?Sized>(
    value: &T,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a mut [u8]> {
    encode_behind(0, value, buffer)
}

/// As [`encode`], and leaves room for a header of so many bytes, which are part of the result.
#[inline]
pub(crate) fn encode_behind<'a, T: Serialize + ?Sized>(
    header: usize,
    value: &T,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a mut [u8]> {
    if buffer.len() < header {
        buffer.resize(header, 0);
    }
    match postcard::serialize_with_flavor(
        value,
        Growing {
            buffer,
            len: header,
        },
    ) {
        Ok(bytes) => Ok(bytes),
        Err(_) if fd_passing::was_refused() => Err(Error::NotAtStart),
        Err(source) => Err(Error::Serial {
            attempt: format!("serialise a {}", type_name::<T>()),
            source,
        }),
    }
}

/// The bytes of a value, in a buffer of their own.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let len = encode(value, &mut buffer)?.len();
    buffer.truncate(len);
    Ok(buffer)
}

/// A buffer that is written from its start. Its old contents need not be cleared, nor its new room
/// be zeroed again and again.
struct Growing<'a> {
    buffer: &'a mut Vec<u8>,
    len: usize,
}

impl Growing<'_> {
    #[inline(always)]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.len;
        self.len += bytes;
        if self.len > self.buffer.len() {
            self.grow();
        }
        &mut self.buffer[start..self.len]
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = self.buffer.len() * 2;
        self.buffer.resize(self.len.max(doubled).max(64), 0);
    }
}

impl<'a> Flavor for Growing<'a> {
    type Output = &'a mut [u8];

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.room(1)[0] = byte;
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        copy(self.room(bytes.len()), bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<&'a mut [u8]> {
        Ok(&mut self.buffer[..self.len])
    }
}

/// Copies `from` to `to`, which is as long. Most copies are of a number's few bytes, for which the
/// call of memcpy would take longer than the copy: two that overlap make up any short one.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    if let (Some(first), Some(last), ..=16) =
        (from.first_chunk::<8>(), from.last_chunk::<8>(), from.len())
    {
        let len = to.len();
        to[..8].copy_from_slice(first);
        to[len - 8..].copy_from_slice(last);
    } else if let (Some(first), Some(last), ..8) =
        (from.first_chunk::<4>(), from.last_chunk::<4>(), from.len())
    {
        let len = to.len();
        to[..4].copy_from_slice(first);
        to[len - 4..].copy_from_slice(last);
    } else if let [first, .., last] = from
        && from.len() < 4
    {
        to[from.len() / 2] = from[from.len() / 2];
        to[0] = *first;
        to[from.len() - 1] = *last;
    } else {
        to.copy_from_slice(from);
    }
}

/// Appends the value's bytes to `buffer`.
#[inline]
pub(crate) fn append<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) -> Result<()> {
    postcard::serialize_with_flavor(value, Appending { buffer }).map_err(|source| Error::Serial {
        attempt: format!("serialise a {}", type_name::<T>()),
        source,
    })
}

struct Appending<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Flavor for Appending<'_> {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.buffer.push(byte);
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads a value from the start of `bytes`; returns it and the rest.
#[inline]
pub(crate) fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8])> {
    postcard::take_from_bytes(bytes).map_err(|source| Error::Serial {
        attempt: format!("deserialise a {}", type_name::<T>()),
        source,
    })
}

/// Reads a value from all of `bytes`.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let source = match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => return Ok(value),
        Ok(_) => postcard::Error::DeserializeBadEncoding,
        Err(error) => error,
    };
    Err(Error::Serial {
        attempt: format!("deserialise a {}", type_name::<T>()),
        source,
    })
}
