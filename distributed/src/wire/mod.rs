//! The manager protocol as bytes: messages, the handshake, pickles, requests and replies. Nothing
//! here does I/O, so the server, the client and the fuzzer share it.

pub(crate) mod frame;
pub mod handshake;
mod number;
pub mod pickle;
pub(crate) mod protocol;
