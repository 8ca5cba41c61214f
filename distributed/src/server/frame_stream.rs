//! A client's stream of frames: what has been read of it, and how much of that is of use.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer_timeout;
use crate::wire::frame::{self, Head};

/// What a stream keeps between messages, in bytes.
const BUFFER: usize = 4096;
/// The most that is read at once, in bytes: memory is taken as the bytes arrive, not as announced.
const READ_MAX: usize = 1 << 20;

/// How a peer shows that it waits for its reply no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    Left,
    WentOn,
}

/// A stream, and what has been read of it.
pub(super) struct FrameStream {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer belongs to the message that was received last.
    taken: usize,
    /// How much of what comes next belongs to a message that is too long.
    skipped: usize,
}

impl FrameStream {
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> io::Result<FrameStream> {
        stream.set_nodelay(true)?;
        // A client that is gone without a word would hold its lease and its place for ever.
        peer_timeout::watch(&SockRef::from(&stream), timeout)?;
        Ok(FrameStream {
            stream,
            buffer: Vec::new(),
            taken: 0,
            skipped: 0,
        })
    }

    /// The bytes of a message that [`receive`](FrameStream::receive) found, until the next call of
    /// it or of [`release`](FrameStream::release).
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Acknowledges what is read next at once: Python's clients write twice in a row, and the
    /// second write waits for the acknowledgement of the first, 40 ms by default. The kernel forgets
    /// the wish with time.
    pub(super) fn acknowledge_quickly(&self) {
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }

    /// Where in the buffer the next message is, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` for a longer one, which the next call reads past; `UnexpectedEof` when the
    /// peer hangs up, which an empty message means too; `InvalidData` for a negative length.
    pub(super) async fn receive(&mut self, limit: usize) -> io::Result<Range<usize>> {
        self.release();
        self.skip().await?;
        loop {
            let missing = match frame::head(&self.buffer) {
                Head::Invalid => {
                    let text = "the length of a message is negative";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Head::Frame { start, end } if end - start > limit => {
                    self.skipped = end;
                    let len = end - start;
                    let text = format!("a message of {len} bytes is over the limit of {limit}");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
                }
                Head::Frame { start, end } if start == end => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Head::Frame { start, end } if end <= self.buffer.len() => {
                    self.taken = end;
                    return Ok(start..end);
                }
                Head::Frame { end, .. } => end - self.buffer.len(),
                Head::Partial(missing) => missing,
            };
            // The client is in the midst of a message, so its next write may wait for this.
            if !self.buffer.is_empty() {
                self.acknowledge_quickly();
            }
            self.buffer.reserve(missing.clamp(BUFFER, READ_MAX));
            self.read().await?;
        }
    }

    /// Reads past a message that is too long, so that the stream stays in step.
    async fn skip(&mut self) -> io::Result<()> {
        while self.skipped > 0 {
            let skipped = self.skipped.min(self.buffer.len());
            self.buffer.drain(..skipped);
            self.skipped -= skipped;
            if self.skipped > 0 {
                self.buffer.reserve(BUFFER);
                self.read().await?;
            }
        }
        Ok(())
    }

    /// Reads what is there, into the room that the buffer has. An end of the stream is an error.
    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Lets go of the message that was received last, and of the memory if it was a long one.
    pub(super) fn release(&mut self) {
        self.buffer.drain(..std::mem::take(&mut self.taken));
        if self.buffer.is_empty() && self.buffer.capacity() > 16 * BUFFER {
            self.buffer = Vec::new();
        }
    }

    /// Sends a frame of the handshake.
    pub(super) async fn send_short(&mut self, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame::framed(body)).await
    }

    /// Sends a reply, in front of which there is room for the header.
    pub(super) async fn send(&mut self, mut message: Vec<u8>) -> io::Result<()> {
        self.stream.write_all(frame::seal(&mut message)).await
    }

    /// Returns when the peer waits for its reply no longer, and whether it has left or has sent
    /// more: its next request, which is kept.
    pub(super) async fn given_up(&mut self) -> GivenUp {
        if self.buffer.is_empty() {
            self.buffer.reserve(BUFFER);
            if self.read().await.is_err() {
                return GivenUp::Left;
            }
        }
        GivenUp::WentOn
    }

    /// Whether the peer is there at this very moment, as the kernel knows it.
    pub(super) fn is_open(&self) -> bool {
        match SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(seen) => seen > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
