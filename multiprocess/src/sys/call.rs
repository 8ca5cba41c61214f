//! Functions that travel to a worker by their address.

use std::{mem::transmute, ptr::NonNull};

use crate::Result;

/// What a worker runs: reads the argument's bytes, appends the result's.
pub(crate) type Entry = fn(&[u8], &mut Vec<u8>) -> Result<()>;

/// A function as it travels to a worker, by its address.
///
/// Only a pool makes and reads the bytes, for workers that were forked from the same process: they
/// have the same image at the same addresses.
#[derive(Clone, Copy)]
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

    /// Calls the function whose bytes stand at the start of a task; `None` if there are none.
    pub(crate) fn call(task: &[u8], result: &mut Vec<u8>) -> Option<Result<()>> {
        let (address, argument) = task.split_first_chunk()?;
        // SAFETY: only a pool puts tasks into its queue, each with the bytes of such a function of
        // this image at the start, and the queue gives out whole items only. A function pointer
        // has the size of an address.
        let entry = unsafe { transmute::<usize, Entry>(usize::from_ne_bytes(*address)) };
        Some(entry(argument, result))
    }
}

/// The one value of a zero-sized function type, whose type is all that there is to it.
pub(crate) fn conjure<F: Copy + 'static>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a pool runs fn items and closures that capture nothing"
        )
    };
    // SAFETY: a type without size has one value, and reading it reads nothing; `F: Copy`, and the
    // caller of a pool has shown that the value exists by passing one.
    unsafe { NonNull::<F>::dangling().read() }
}
