//! The promises of `Descriptor`: files and sockets, queues and locks that go to other processes.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use multiprocess::Descriptor;

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

// What goes to a process, over a pipe, or nowhere.
mod processes;
// What goes with tasks.
mod tasks;

fn main() {
    support::main(&[processes::TESTS, tasks::TESTS].concat())
}

/// A pipe's end for which the other end tells whether anybody has it still.
pub(crate) fn held() -> (PipeReader, Descriptor<PipeWriter>) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, Descriptor(writer))
}

/// Whether nobody has the other end any more.
pub(crate) fn is_dropped(reader: &PipeReader) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

pub(crate) fn endless<T>(_kept: T) {
    thread::sleep(Duration::from_secs(600));
}
