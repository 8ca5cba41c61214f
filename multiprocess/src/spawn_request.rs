//! What a process is to do that may not have the memory of the one that asks for it.

use std::os::fd::OwnedFd;

use crate::{
    Result, fd_passing,
    sys::{
        call::Function,
        fork::{die_with, exit_now},
    },
};

/// A function and its argument, to be run in a process of its own.
pub(crate) struct SpawnRequest {
    pub(crate) function: Function,
    pub(crate) argument: Vec<u8>,
    /// What goes with the argument, see [`fd_passing`].
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether the process ends with the one that it was forked from.
    pub(crate) daemon: bool,
}

impl SpawnRequest {
    /// `write` appends the argument's bytes.
    pub(crate) fn new(
        function: Function,
        daemon: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<Self> {
        function.require_travelling()?;
        let mut argument = Vec::new();
        let (written, descriptors) = fd_passing::collect(|| write(&mut argument));
        written?;
        Ok(Self {
            function,
            argument,
            descriptors,
            daemon,
        })
    }

    /// Does what is to be done, in the child that `parent` has just forked.
    pub(crate) fn run(self, parent: i32) -> ! {
        if self.daemon {
            die_with(parent);
        }
        let done = fd_passing::provide(self.descriptors, || {
            self.function.call(&self.argument, &mut Vec::new())
        });
        exit_now(i32::from(done.is_err()))
    }
}
