//! A client's connection: blocking, and with a deadline on the handshake.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::owner::Owner;
use crate::peer_timeout;
use crate::wire::frame::{self, Head};
use crate::wire::handshake::{Digest, FRAME_MAX, Handshake, Step};
use crate::wire::pickle::{Encoder, Pickle, Span, Value, repr};
use crate::wire::protocol::{FAREWELL, NO_PLACE};
use crate::{Error, Result, ServerAddress};

/// How a connection is made.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) key: Vec<u8>,
    /// The digest that this server wants where it names none.
    pub(crate) bare: Digest,
    pub(crate) requires_sha256: bool,
    /// How long a connection and its handshake may take.
    pub(crate) time: Duration,
    /// How long the server's machine may be silent.
    pub(crate) peer_timeout: Duration,
}

/// A connection whose two ends have proved to each other that they know the key.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Socket,
    /// Whose it is. A forked child has the descriptor too.
    owner: Owner,
    /// Where it leads, and for how long that may be silent.
    address: String,
    peer_timeout: Duration,
    received: Vec<u8>,
    /// How much of it belongs to the reply before.
    taken: usize,
    /// The object of which the last reply is a proxy: the server counts that as a reference.
    pub(super) referred: Option<String>,
}

/// Without the key, which is no business of a log.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Connects. A server that names no digest may want either of two, which is found out once.
    pub(crate) fn connect(&mut self) -> Result<Connection> {
        match self.attempt() {
            (Err(Error::Auth { .. }), true) if self.bare == Digest::Md5 => {
                self.bare = Digest::Sha256;
                let outcome = self.attempt().0;
                if outcome.is_err() {
                    self.bare = Digest::Md5;
                }
                outcome
            }
            (outcome, _) => outcome,
        }
    }

    /// One connection, and whether the server's challenge named no digest.
    fn attempt(&self) -> (Result<Connection>, bool) {
        let mut handshake = Handshake::connect(&self.key, self.bare);
        if self.requires_sha256 {
            handshake = handshake.require_sha256();
        }
        let outcome = self.handshake(&mut handshake);
        (outcome, handshake.met_bare_challenge())
    }

    fn handshake(&self, handshake: &mut Handshake) -> Result<Connection> {
        let mut connection = Connection {
            stream: self.stream()?,
            owner: Owner::me(),
            address: self.address.clone(),
            peer_timeout: self.peer_timeout,
            received: Vec::new(),
            taken: 0,
            referred: None,
        };
        let deadline = Instant::now() + self.time;
        loop {
            let body = match connection.receive(FRAME_MAX, Some(deadline)) {
                // What others say first is no frame of ours.
                Err(Error::Protocol(_)) => return Err(self.no_manager()),
                body => body?,
            };
            let (frame, end) = match handshake.receive(&connection.received[body]) {
                Step::Send(frame) => (Some(frame), None),
                Step::Done(frame) => (frame, Some(Ok(()))),
                Step::Refused(frame) => (frame, Some(Err(self.refused()))),
                Step::Garbage => return Err(self.no_manager()),
            };
            if let Some(frame) = frame {
                connection.write(&frame::framed(&frame))?;
            }
            if let Some(end) = end {
                let no_deadline = connection.stream.set_read_timeout(None);
                no_deadline.map_err(Error::io("wait for messages without a deadline"))?;
                return end.map(|()| connection);
            }
        }
    }

    fn refused(&self) -> Error {
        let address = self.address.clone();
        Error::Auth { address }
    }

    fn no_manager(&self) -> Error {
        let text = format!("{} is not a manager of multiprocessing", self.address);
        Error::Protocol(text)
    }

    fn stream(&self) -> Result<Socket> {
        let address = &self.address;
        if let Some(unix) = ServerAddress::unix(address) {
            let stream = self.unix_stream(&unix);
            return stream.map_err(Error::io(format!("connect to {address}")));
        }
        let addresses = address
            .to_socket_addrs()
            .map_err(Error::io(format!("look up `{address}`")))?;
        let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.time) {
                // Where nobody listens on a port of the ephemeral range, TCP may connect us to us.
                Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                    failure = ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => {
                    // As good as nothing fails here; a server whose machine is gone is noticed.
                    let _ = stream.set_nodelay(true);
                    let _ = peer_timeout::watch(&SockRef::from(&stream), self.peer_timeout);
                    return Ok(stream.into());
                }
                Err(error) => failure = error,
            }
        }
        Err(Error::io(format!("connect to {address}"))(failure))
    }

    fn unix_stream(&self, address: &ServerAddress) -> io::Result<Socket> {
        let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Where many wait to be accepted, a newcomer waits for a place among them.
        stream.set_write_timeout(Some(self.time))?;
        let connected = stream.connect(&address.socket_address()?);
        connected.map_err(|error| match error.kind() {
            // The server that makes the file may be yet to start.
            ErrorKind::NotFound => {
                let text = "no server has made this socket";
                io::Error::new(ErrorKind::ConnectionRefused, text)
            }
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        stream.set_write_timeout(None)?;
        Ok(stream)
    }
}

/// The message of a request, with room for its frame's header.
pub(crate) fn request(
    ident: Option<&str>,
    method: &str,
    args: impl FnOnce(&mut Encoder),
) -> Vec<u8> {
    let mut message = Encoder::after(frame::HEAD);
    message.mark();
    match ident {
        Some(ident) => message.str(ident),
        None => message.none(),
    };
    message.str(method).mark();
    args(&mut message);
    message.tuple().dict().setitems().tuple();
    message.finish()
}

impl Connection {
    /// Whether it is this process's own.
    pub(super) fn is_mine(&self) -> bool {
        self.owner.is_me()
    }

    /// Sends a request, waits for its reply, and reads that: what was returned, or an error.
    pub(crate) fn call<T>(
        &mut self,
        message: &mut [u8],
        read: impl FnOnce(&Pickle, Span) -> Result<T>,
    ) -> Result<T> {
        self.call_until(None, message, read)
    }

    /// As [`call`](Self::call), and waits until the deadline.
    pub(crate) fn call_until<T>(
        &mut self,
        deadline: Option<Instant>,
        message: &mut [u8],
        read: impl FnOnce(&Pickle, Span) -> Result<T>,
    ) -> Result<T> {
        // Of a server that has ended there may still be its farewell to read, and nothing to wait for.
        let deadline = match self.write(frame::seal(message)) {
            Err(Error::Closed { .. }) => Some(Instant::now()),
            written => written.map(|()| deadline)?,
        };
        let body = self.receive(u32::MAX as usize, deadline)?;
        let reply = Pickle::read(&self.received[body])
            .map_err(|error| Error::Protocol(error.to_string()))?;
        let mut parts = reply.inside(reply.root());
        let (Some(kind), Some(value)) = (parts.next(), parts.next()) else {
            return Err(Error::Protocol("a reply is not (kind, value)".into()));
        };
        match reply.text(kind.value) {
            Some("#RETURN") => read(&reply, value),
            Some("#ERROR") => Err(raised(&reply, value.value, &self.address)),
            Some("#TRACEBACK" | "#UNSERIALIZABLE") => {
                let text = reply.text(value.value).unwrap_or_default().trim();
                // The last line of a traceback names the exception.
                let last = text.lines().last().unwrap_or_default();
                let (class, text) = last.split_once(": ").unwrap_or(("RemoteError", text));
                Err(Error::Remote {
                    class: class.to_string(),
                    text: text.to_string(),
                })
            }
            Some("#PROXY") => {
                self.referred = reply.proxies().last().map(|ident| ident.to_string());
                Err(Error::Remote {
                    class: "RemoteError".to_string(),
                    text: "the method answers with another proxy, which only Python has a use for"
                        .to_string(),
                })
            }
            kind => Err(Error::Protocol(format!("a reply of the kind {kind:?}"))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.stream.write_all(bytes);
        written.map_err(|error| self.failure("send a message", error))
    }

    fn closed(&self) -> Error {
        let address = self.address.clone();
        Error::Closed { address }
    }

    /// What an error of the kernel's means: of the many that say that a peer is gone one is made, and if
    /// the kernel gave up, the machine or the network there is gone.
    fn failure(&self, attempt: &str, error: io::Error) -> Error {
        let Connection {
            address,
            peer_timeout,
            ..
        } = self;
        let attempt = match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
                return self.closed();
            }
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                let time = peer_timeout.as_secs_f64();
                format!("{attempt}: nothing came from {address} for {time} s, it is out of reach")
            }
            _ => format!("{attempt}, of the connection to {address}"),
        };
        Error::io(attempt)(error)
    }

    /// Where the next frame's body is, of at most `limit` bytes.
    fn receive(&mut self, limit: usize, deadline: Option<Instant>) -> Result<Range<usize>> {
        self.received.drain(..std::mem::take(&mut self.taken));
        loop {
            let missing = match frame::head(&self.received) {
                Head::Invalid => return Err(Error::Protocol("a length is negative".into())),
                Head::Frame { start, end } if end - start > limit => {
                    let len = end - start;
                    let text = format!("a message of {len} bytes is over the limit of {limit}");
                    return Err(Error::Protocol(text));
                }
                Head::Frame { start, end } if end <= self.received.len() => {
                    self.taken = end;
                    return Ok(start..end);
                }
                Head::Frame { end, .. } => end - self.received.len(),
                Head::Partial(missing) => missing,
            };
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                // A timeout of zero is none, for the system.
                let left = left.max(Duration::from_millis(1));
                let set = self.stream.set_read_timeout(Some(left));
                set.map_err(Error::io("wait for a message"))?;
            }
            self.read(missing)?;
        }
    }

    /// Memory is taken as the bytes arrive: a length alone costs nothing.
    fn read(&mut self, missing: usize) -> Result<()> {
        let have = self.received.len();
        self.received.resize(have + missing.clamp(4096, 1 << 20), 0);
        let read = loop {
            match self.stream.read(&mut self.received[have..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.received.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(self.closed()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let text = format!("shake hands with {}, which may be no manager", self.address);
                Err(Error::io(text)(ErrorKind::TimedOut.into()))
            }
            Err(error) => Err(self.failure("receive a message", error)),
        }
    }
}

impl Drop for Connection {
    /// Ends the connection also where a forked child has its descriptor.
    fn drop(&mut self) {
        if self.is_mine() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// The exception that a method of the server raised.
fn raised(reply: &Pickle, value: Value, address: &str) -> Error {
    let Some(((_, class), arguments)) = reply.instance(value) else {
        return Error::Protocol("a reply raises what is no exception".into());
    };
    // The module is `queue`, `_queue` or `Queue`, by the version of the server.
    match class {
        "Empty" => return Error::Empty,
        "Full" => return Error::Full,
        FAREWELL => {
            let address = address.to_string();
            return Error::ShutDown { address };
        }
        _ => {}
    }
    // As Python's `str` of the exception, but for the quotes of a key.
    let all: Vec<Span> = reply.inside(arguments).collect();
    let text = match all.as_slice() {
        [] => String::new(),
        [one] => reply
            .text(one.value)
            .map_or_else(|| repr::of(reply, one.value), String::from),
        _ => repr::of(reply, arguments),
    };
    if class == "OSError" && text.starts_with(NO_PLACE) {
        let busy = io::Error::new(ErrorKind::ResourceBusy, text);
        return Error::io(format!("connect to {address}"))(busy);
    }
    Error::Remote {
        class: class.to_string(),
        text,
    }
}
