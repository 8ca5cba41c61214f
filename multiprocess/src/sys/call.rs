//! Functions that travel to another process of the same program.

use std::{io, mem::transmute};

use serde::{Deserialize, Serialize};

use super::image;
use crate::{Error, Result};

/// What the other process runs: it reads the argument's bytes, calls the function, and appends the
/// result's bytes.
pub(crate) type Entry<F> = fn(F, &[u8], &mut Vec<u8>) -> Result<()>;

/// A function pointer. Its type says all that there is to a call, so no value is left behind in the
/// process that it came from.
///
/// # Safety
///
/// The type is a `fn` type of Rust's own calling convention.
pub(crate) unsafe trait FnPointer: Copy {
    /// The address of the function.
    fn address(self) -> usize;
}

macro_rules! fn_pointers {
    ($(($($argument:ident),*)),*) => {$(
        // SAFETY: it is a `fn` type.
        unsafe impl<$($argument,)* R> FnPointer for fn($($argument),*) -> R {
            fn address(self) -> usize {
                self as usize
            }
        }
    )*};
}

fn_pointers!((), (A), (A, B));

/// A function and its entry as they travel: by their places in the program's own file, which all its
/// processes have in common. Only this crate makes and reads it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Function {
    entry: usize,
    function: usize,
}

impl Function {
    /// How many bytes [`to_bytes`](Self::to_bytes) makes.
    pub(crate) const LEN: usize = 2 * size_of::<usize>();

    /// A function that does not travel, since it is in a loaded library, fails when it is called.
    pub(crate) fn of<F: FnPointer>(function: F, entry: Entry<F>) -> Self {
        let place = |address: usize| match image::holds(address) {
            true => address.wrapping_sub(base()),
            false => NOWHERE,
        };
        Self {
            entry: place(entry as usize),
            function: place(function.address()),
        }
    }

    /// Fails if the function does not travel.
    pub(crate) fn require_travelling(self) -> Result<()> {
        if self.entry != NOWHERE && self.function != NOWHERE {
            return Ok(());
        }
        let reason = "it is not in the program's own file, but in a loaded library: call it from a \
                      function of the program";
        let attempt = "call a function in another process";
        Err(Error::os(attempt, io::Error::other(reason)))
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (entry, function) = bytes.split_at_mut(size_of::<usize>());
        entry.copy_from_slice(&self.entry.to_ne_bytes());
        function.copy_from_slice(&self.function.to_ne_bytes());
        bytes
    }

    /// The function whose bytes stand at the start of `bytes`, and what follows; `None` if they are
    /// too few.
    pub(crate) fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (entry, rest) = bytes.split_first_chunk()?;
        let (function, rest) = rest.split_first_chunk()?;
        let (entry, function) = (
            usize::from_ne_bytes(*entry),
            usize::from_ne_bytes(*function),
        );
        Some((Self { entry, function }, rest))
    }

    pub(crate) fn call(self, argument: &[u8], result: &mut Vec<u8>) -> Result<()> {
        self.require_travelling()?;
        let entry = base().wrapping_add(self.entry);
        // SAFETY: `of` took the place from an `Entry<F>`, and it went only through the crate's own
        // messages, which arrive whole, between processes with one image. `Entry<F>` and
        // `Entry<fn()>` differ in the type of a function pointer, and all of these are passed alike.
        let entry = unsafe { transmute::<usize, Entry<fn()>>(entry) };
        let function = base().wrapping_add(self.function);
        // SAFETY: likewise the place of an `F`, which is not called as this type: the entry that
        // came with it has it as an `F` again.
        let function = unsafe { transmute::<usize, fn()>(function) };
        entry(function, argument, result)
    }
}

/// The place of a function that does not travel; it is none's, but that of [`base`].
const NOWHERE: usize = 0;

/// A place in the image, which the others are counted from. A static, since a function may have
/// several addresses: the compiler copies it to where it is used.
fn base() -> usize {
    static BASE: u8 = 0;
    &raw const BASE as usize
}
