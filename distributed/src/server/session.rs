//! One client's connection, from its first byte to its last.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::ServerState;
use super::calls::{Awaited, Outcome, Shape, Wait};
use super::queues::Delivery;
use crate::wire::frame::{self, Head};
use crate::wire::handshake::{FRAME_MAX, Handshake, Step};
use crate::wire::protocol::{Fault, reply};

/// What a connection keeps between messages, in bytes.
const BUFFER: usize = 4096;
/// The most that is read at once, in bytes: memory is taken as the bytes arrive, not as announced.
const READ_MAX: usize = 1 << 20;

/// Serves a client until it leaves, breaks the rules, or the server ends.
pub(super) async fn serve(
    stream: TcpStream,
    state: Arc<ServerState>,
    stopping: watch::Receiver<bool>,
) {
    let number = {
        let mut queues = state.queues.lock().unwrap();
        queues.connections += 1;
        queues.number()
    };
    let mut connection = Session {
        number,
        stream: FrameStream {
            stream,
            buffer: Vec::new(),
            taken: 0,
            skipped: 0,
        },
        state: Arc::clone(&state),
        stopping,
    };
    let end = connection.run().await;
    if let Err(error) = end
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        debug!(connection = number, %error, "a connection breaks off");
    }
    let mut queues = state.queues.lock().unwrap();
    queues.connections -= 1;
    queues.end(number);
}

struct Session {
    number: u64,
    stream: FrameStream,
    state: Arc<ServerState>,
    stopping: watch::Receiver<bool>,
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        self.stream.prepare()?;
        let limit = self.state.limits.handshake;
        let first = timeout(limit, self.introduce()).await;
        let Ok(first) = first else {
            warn!(
                connection = self.number,
                "a peer is dropped: no handshake in time"
            );
            return Ok(());
        };
        let Some(body) = first? else {
            return Ok(());
        };
        let outcome = self.state.manage(&self.stream.buffer[body]);
        match outcome {
            Outcome::Accepted => {}
            Outcome::Shutdown => {
                debug!(connection = self.number, "a client shuts the server down");
                // Python's server answers this request twice, once on each of its ways out.
                self.stream.send(reply::none()).await?;
                self.stream.send(reply::none()).await?;
                self.state.stop.send_replace(true);
                return Ok(());
            }
            outcome => {
                if let Some(reply) = self.settle(outcome).await? {
                    self.stream.send(reply).await?;
                }
                return Ok(());
            }
        }
        self.stream.send(reply::none()).await?;
        loop {
            let outcome = match self.next().await {
                Ok(Some(body)) => self.state.call(self.number, &self.stream.buffer[body]),
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    Outcome::Reply(reply::raise(&Fault::new("ValueError", error.to_string())))
                }
                Err(error) => return Err(error),
            };
            match self.settle(outcome).await? {
                Some(reply) => self.stream.send(reply).await?,
                None => return Ok(()),
            }
        }
    }

    /// The handshake and the first request, which belong together.
    async fn introduce(&mut self) -> io::Result<Option<Range<usize>>> {
        let (mut handshake, challenge) = Handshake::accept(&self.state.key);
        self.stream.send_short(&challenge).await?;
        loop {
            self.stream.acknowledge_quickly();
            let Some(body) = self.stream.receive(FRAME_MAX).await? else {
                return Ok(None);
            };
            match handshake.receive(&self.stream.buffer[body]) {
                Step::Send(frame) => self.stream.send_short(&frame).await?,
                Step::Done(frame) => {
                    if let Some(frame) = frame {
                        self.stream.send_short(&frame).await?;
                    }
                    break;
                }
                Step::Refused(frame) => {
                    warn!(
                        connection = self.number,
                        "a peer is refused: it has another key"
                    );
                    self.stream.send_short(&frame.unwrap_or_default()).await?;
                    return Ok(None);
                }
                Step::Garbage => {
                    warn!(
                        connection = self.number,
                        "a peer is dropped: it speaks another protocol"
                    );
                    return Ok(None);
                }
            }
        }
        self.stream.acknowledge_quickly();
        self.next().await
    }

    /// The next message, or none when the client hangs up or the server ends.
    async fn next(&mut self) -> io::Result<Option<Range<usize>>> {
        let limit = self.state.limits.message;
        tokio::select! {
            biased;
            message = self.stream.receive(limit) => message,
            _ = self.stopping.wait_for(|is_stopping| *is_stopping) => Ok(None),
        }
    }

    /// The reply of an outcome, once there is one; none when the client has left or the server ends.
    async fn settle(&mut self, outcome: Outcome) -> io::Result<Option<Vec<u8>>> {
        match outcome {
            Outcome::Reply(reply) => Ok(Some(reply)),
            Outcome::Deliver(ident, deliveries, shape) => {
                self.deliver(&ident, deliveries, shape).await?;
                Ok(Some(Vec::new()))
            }
            Outcome::Wait(wait) => self.wait(wait).await,
            Outcome::Accepted | Outcome::Shutdown => Ok(Some(reply::none())),
        }
    }

    async fn deliver(
        &mut self,
        ident: &str,
        deliveries: Vec<Delivery>,
        shape: Shape,
    ) -> io::Result<()> {
        let sent = self.stream.send(shape.reply(&deliveries)).await;
        if sent.is_err() {
            self.state
                .queues
                .lock()
                .unwrap()
                .take_back(ident, deliveries);
            return sent;
        }
        if let (
            Shape::Leased(Some(expires)),
            [
                Delivery {
                    lease: Some(lease), ..
                },
            ],
        ) = (shape, deliveries.as_slice())
        {
            let (state, lease) = (Arc::clone(&self.state), *lease);
            tokio::spawn(async move {
                sleep(expires).await;
                state.queues.lock().unwrap().release(lease);
            });
        }
        Ok(())
    }

    async fn wait(&mut self, wait: Wait) -> io::Result<Option<Vec<u8>>> {
        let Wait {
            ident,
            ticket,
            limit,
            what,
        } = wait;
        self.stream.release();
        match what {
            Awaited::Get(mut receive, shape) => {
                let waited = self.wait_for(&mut receive, limit).await;
                let is_there = !matches!(waited, Waited::Gone) && self.stream.is_open();
                let handed = match waited {
                    Waited::Got(handed) => Some(handed),
                    _ => {
                        let withdrawn = self.state.queues.lock().unwrap().withdraw(&ident, ticket);
                        if withdrawn {
                            None
                        } else {
                            receive.try_recv().ok()
                        }
                    }
                };
                match handed {
                    Some(handed) if is_there => {
                        self.deliver(&ident, handed, shape).await?;
                        Ok(Some(Vec::new()))
                    }
                    Some(handed) => {
                        self.state.queues.lock().unwrap().take_back(&ident, handed);
                        Ok(None)
                    }
                    None if is_there => Ok(Some(reply::raise(&Fault::empty()))),
                    None => Ok(None),
                }
            }
            Awaited::Put(mut receive) | Awaited::Join(mut receive) => {
                let waited = self.wait_for(&mut receive, limit).await;
                if matches!(waited, Waited::Got(())) {
                    return Ok(Some(reply::none()));
                }
                let withdrawn = self.state.queues.lock().unwrap().withdraw(&ident, ticket);
                Ok(match waited {
                    Waited::Gone => None,
                    _ if withdrawn => Some(reply::raise(&Fault::full())),
                    _ => Some(reply::none()),
                })
            }
        }
    }

    async fn wait_for<T>(
        &mut self,
        receive: &mut oneshot::Receiver<T>,
        limit: Option<Duration>,
    ) -> Waited<T> {
        let late = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stream.hang_up() => Waited::Gone,
            _ = self.stopping.wait_for(|is_stopping| *is_stopping) => Waited::Gone,
            got = receive => got.map_or(Waited::Gone, Waited::Got),
            () = late => Waited::Late,
        }
    }
}

enum Waited<T> {
    Got(T),
    Late,
    /// The client has left, or the server ends.
    Gone,
}

/// The stream, and what has been read of it.
struct FrameStream {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer has been dealt with.
    taken: usize,
    /// How much of what comes next belongs to a message that is too long.
    skipped: usize,
}

impl FrameStream {
    fn prepare(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        // A client whose machine is gone says nothing: without a probe it would hold its lease and
        // its place for ever.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        SockRef::from(&self.stream).set_tcp_keepalive(&keepalive)
    }

    /// Acknowledges what is read next at once: Python's clients write twice in a row, and the
    /// second write waits for it, 40 ms by default. The kernel forgets the wish with time.
    fn acknowledge_quickly(&self) {
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }

    /// Where in the buffer the next message is, of at most `limit` bytes. None when the peer hangs
    /// up, which an empty message means too.
    async fn receive(&mut self, limit: usize) -> io::Result<Option<Range<usize>>> {
        self.release();
        self.skip().await?;
        loop {
            let missing = match frame::head(&self.buffer) {
                Head::Invalid => return Err(wrong("the length of a message is negative".into())),
                Head::Frame { start, end } if end - start > limit => {
                    self.skipped = end;
                    let len = end - start;
                    let text = format!("a message of {len} bytes is over the limit of {limit}");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
                }
                Head::Frame { start, end } if end <= self.buffer.len() => {
                    self.taken = end;
                    return Ok(Some(start..end).filter(|body| !body.is_empty()));
                }
                Head::Frame { end, .. } => end - self.buffer.len(),
                Head::Partial(missing) => missing,
            };
            if !self.buffer.is_empty() {
                self.acknowledge_quickly();
            }
            self.buffer.reserve(missing.clamp(BUFFER, READ_MAX));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
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
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }

    /// Lets go of the message that was received last.
    fn release(&mut self) {
        self.buffer.drain(..std::mem::take(&mut self.taken));
        if self.buffer.is_empty() && self.buffer.capacity() > 16 * BUFFER {
            self.buffer = Vec::new();
        }
    }

    async fn send_short(&mut self, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame::framed(body)).await
    }

    /// Sends a reply; nothing, if it is empty because it was sent before.
    async fn send(&mut self, mut message: Vec<u8>) -> io::Result<()> {
        if message.is_empty() {
            return Ok(());
        }
        self.stream.write_all(frame::seal(&mut message)).await
    }

    /// Returns when the peer has left. What it sends before its turn is kept, up to a limit.
    async fn hang_up(&mut self) {
        while self.buffer.len() < READ_MAX {
            self.buffer.reserve(BUFFER);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
        std::future::pending().await
    }

    /// Whether the peer is there at this very moment, as the kernel knows it.
    fn is_open(&self) -> bool {
        match SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(seen) => seen > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
