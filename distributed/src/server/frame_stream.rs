//! A client's stream of frames: what has been read of it, and how much of that is of use.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::listener::ClientStream;
use super::memory::Code;
use crate::wire::frame::{self, Head};

/// What a stream keeps between messages, in bytes.
const BUFFER: usize = 4096;

/// A message that is longer, in bytes, takes its share of the memory for messages before it is read.
const LONG: usize = 16 << 10;
/// How many bytes a permit of that memory stands for.
pub(super) const PERMIT: usize = 1 << 10;
/// How long a client waits for its share.
const SHARE_WITHIN: Duration = Duration::from_secs(30);
/// How fast a long message must come after that, in bytes a second, and how far behind it may be:
/// less than others wait for their share, so that one that stalls keeps nobody out.
const SPEED_MIN: usize = 1 << 20;
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// How a peer shows that it waits for its reply no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    Left,
    WentOn,
}

/// A stream, and what has been read of it.
pub(super) struct FrameStream {
    stream: ClientStream,
    buffer: Vec<u8>,
    /// How much of the buffer belongs to the message that was received last.
    taken: usize,
    /// How much of what comes next belongs to a message that is not taken.
    skipped: usize,
    /// The memory for messages of all clients, in permits of [`PERMIT`] bytes.
    memory: Arc<Semaphore>,
    /// The share of the message that was received last, and since when.
    share: Option<(OwnedSemaphorePermit, Instant)>,
}

impl FrameStream {
    pub(super) fn new(
        stream: ClientStream,
        timeout: Duration,
        memory: &Arc<Semaphore>,
    ) -> io::Result<FrameStream> {
        // A client that is gone without a word would hold its lease and its place for ever.
        stream.prepare(timeout)?;
        Ok(FrameStream {
            stream,
            buffer: Vec::new(),
            taken: 0,
            skipped: 0,
            memory: Arc::clone(memory),
            share: None,
        })
    }

    /// The bytes of a message that [`receive`](FrameStream::receive) found, until the next call of
    /// it or of [`release`](FrameStream::release).
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Whether the peer has sent more than the message that was received last.
    pub(super) fn is_ahead(&self) -> bool {
        self.buffer.len() > self.taken
    }

    pub(super) fn acknowledge_quickly(&self) {
        self.stream.acknowledge_quickly();
    }

    /// Where in the buffer the next message is, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` for a longer one, and `OutOfMemory` for one that gets no share of the memory in
    /// time: the next call reads past it. `UnexpectedEof` when the peer hangs up, which an empty
    /// message means too; `InvalidData` for a negative length; `TimedOut` for a long message that
    /// comes too slowly.
    pub(super) async fn receive(&mut self, limit: usize) -> io::Result<Range<usize>> {
        self.release();
        self.share = None;
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
                    let text = format!(
                        "a message of {len} bytes is over the limit of {limit}, which max_message \
                         sets, or max_memory, of which it is a quarter at most"
                    );
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
                }
                Head::Frame { start, end } if start == end => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Head::Frame { start, end } if end <= self.buffer.len() => {
                    self.taken = end;
                    return Ok(start..end);
                }
                Head::Frame { start, end } if end - start > LONG && self.share.is_none() => {
                    self.take_share(end).await?;
                    continue;
                }
                Head::Frame { end, .. } => end - self.buffer.len(),
                Head::Partial(missing) => missing,
            };
            // The client is in the midst of a message, so its next write may wait for this.
            if !self.buffer.is_empty() {
                self.acknowledge_quickly();
            }
            match self.share {
                // The room for all of it is there.
                Some((_, since)) => {
                    let due = Duration::from_secs((self.buffer.len() / SPEED_MIN) as u64);
                    let deadline = since + due + BEHIND_MAX;
                    match timeout_at(deadline, self.read()).await {
                        Ok(read) => read?,
                        Err(_) => {
                            let text = "a long message comes too slowly";
                            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                        }
                    }
                }
                None => {
                    self.buffer.reserve(missing.clamp(BUFFER, LONG));
                    self.read().await?;
                }
            }
        }
    }

    /// Takes the share of a message that ends so far behind the start of the buffer. Who came first
    /// has it first.
    async fn take_share(&mut self, end: usize) -> io::Result<()> {
        let permits = end.div_ceil(PERMIT) as u32;
        let share = Arc::clone(&self.memory).acquire_many_owned(permits);
        let Ok(Ok(share)) = timeout(SHARE_WITHIN, share).await else {
            self.skipped = end;
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        self.share = Some((share, Instant::now()));
        // The system gives the memory as it is written to.
        self.buffer.reserve_exact(end - self.buffer.len());
        Ok(())
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

    /// The buffer, for a thread that takes long to read the message in it. To be given back by
    /// [`restore`](FrameStream::restore).
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn restore(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    /// Sends a reply, in front of which there is room for the header.
    pub(super) async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// As [`send`](FrameStream::send), with these items each at its place in the message. They are
    /// sent from where they are stored: a client that reads slowly, or never, costs no copy.
    pub(super) async fn send_with(
        &mut self,
        mut message: Vec<u8>,
        items: &[(usize, Code)],
    ) -> io::Result<()> {
        let bytes: usize = items.iter().map(|(_, item)| item.len()).sum();
        let start = frame::seal_longer(&mut message, bytes);
        let mut sent = start;
        for (place, item) in items {
            self.stream.write_all(&message[sent..*place]).await?;
            self.stream.write_all(item).await?;
            sent = *place;
        }
        self.stream.write_all(&message[sent..]).await
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
        match self.stream.socket().peek(&mut [MaybeUninit::uninit()]) {
            Ok(seen) => seen > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
