//! How a call or a session ends without a reply.

use std::io;

use super::frame_stream::GivenUp;
use crate::wire::protocol::Fault;

/// Why a call has no reply of its own.
pub(super) enum Failure {
    /// The client is to raise it.
    Raised(Fault),
    /// The client has left, or the server ends.
    Over(io::Error),
    /// The client has given the call up and gone on to the next: Python's does when Ctrl-C comes
    /// while it waits. It takes the next reply for that of its next call, so this one has none.
    GivenUp,
}

impl From<GivenUp> for Failure {
    fn from(how: GivenUp) -> Failure {
        match how {
            GivenUp::Left => over().into(),
            GivenUp::WentOn => Failure::GivenUp,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Raised(fault)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Over(error)
    }
}

/// The end of a session about which there is no more to say.
pub(super) fn over() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
