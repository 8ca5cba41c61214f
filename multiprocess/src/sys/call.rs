//! Functions that travel to another process by their address.

use std::{mem::transmute, ptr::NonNull};

use serde::{Deserialize, Serialize};

use crate::Result;

/// What runs in the other process: reads the argument's bytes, appends the result's.
pub(crate) type Entry = fn(&[u8], &mut Vec<u8>) -> Result<()>;

/// A function as it travels, by its address.
///
/// Only this crate makes and reads it, for processes that were forked from one another: they have
/// the same image at the same addresses.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Function(usize);

impl Function {
    /// How many bytes [`to_bytes`](Self::to_bytes) makes.
    pub(crate) const LEN: usize = size_of::<usize>();

    pub(crate) fn of(entry: Entry) -> Self {
        Self(entry as usize)
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_ne_bytes()
    }

    /// The function whose bytes stand at the start of `bytes`, and what follows; `None` if they are
    /// too few.
    pub(crate) fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (address, rest) = bytes.split_first_chunk()?;
        Some((Self(usize::from_ne_bytes(*address)), rest))
    }

    pub(crate) fn call(self, argument: &[u8], result: &mut Vec<u8>) -> Result<()> {
        // SAFETY: the address is that of an entry of this image: it was made by `of`, and went only
        // through the crate's own messages, which arrive whole, between processes of one image. A
        // function pointer has the size of an address.
        let entry = unsafe { transmute::<usize, Entry>(self.0) };
        entry(argument, result)
    }
}

/// The one value of a zero-sized function type, whose type is all that there is to it.
pub(crate) fn conjure<F: Copy + 'static>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "another process can be given fn items and closures that capture nothing"
        )
    };
    // SAFETY: a type without size has one value, and reading it reads nothing; `F: Copy`, and the
    // callers of the crate have shown that the value exists by passing one.
    unsafe { NonNull::<F>::dangling().read() }
}
