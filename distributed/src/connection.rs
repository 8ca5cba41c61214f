//! One connection: frames, the handshake before them, and the messages in them.
//!
//! A frame is a length (u32, big endian) and so many bytes: raw ones in the handshake, JSON after.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{Error, Result};

/// The longest frame, in bytes; before the key is proven, a stranger may send far less.
const FRAME_MAX: usize = 64 << 20;
const HANDSHAKE_FRAME_MAX: usize = 256;
/// How long a connection and its handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const NONCE_LEN: usize = 32;

/// What a client says. The first request opens the queue that all others are about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Open(String),
    /// Its name is no shorter than that of [`Reply::Item`], so that what could be put under the
    /// limit of a frame can also be got.
    PutItem(String),
    Get(Option<Duration>),
    /// The answers to [`Reply::Item`]: until then the item is still the server's.
    Took,
    GiveBack,
    Len,
}

/// What the server answers. An item is JSON as text, which the server does not look into.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Item(String),
    Empty,
    Closed,
    Len(usize),
    NoQueue(Vec<String>),
}

/// A connection whose two ends have proven to each other that they know the key.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects as a client.
    pub(crate) fn connect(address: &str, key: &[u8]) -> Result<Connection> {
        let mut stream = connect(address)?;
        let _ = stream.set_nodelay(true);
        let theirs = handshake_frame(&mut stream)?;
        let ours: [u8; NONCE_LEN] = rand::random();
        let proof = mac(key, b"client", &theirs, &ours)?.finalize();
        send_frame(&mut stream, &[&proof.into_bytes()[..], &ours].concat())?;
        let proof = handshake_frame(&mut stream)?;
        mac(key, b"server", &theirs, &ours)?
            .verify_slice(&proof)
            .map_err(|_| Error::Auth)?;
        Connection::established(stream)
    }

    /// Lets a client in that knows the key. An empty frame tells one that does not.
    pub(crate) fn accept(mut stream: TcpStream, key: &[u8]) -> Result<Connection> {
        let _ = stream.set_nodelay(true);
        let ours: [u8; NONCE_LEN] = rand::random();
        send_frame(&mut stream, &ours)?;
        let answer = handshake_frame(&mut stream)?;
        let Some((theirs, proof)) = answer.split_last_chunk::<NONCE_LEN>().map(|(a, b)| (b, a))
        else {
            return Err(Error::Protocol("the client's proof is too short".into()));
        };
        if mac(key, b"client", &ours, theirs)?
            .verify_slice(proof)
            .is_err()
        {
            let _ = send_frame(&mut stream, b"");
            return Err(Error::Auth);
        }
        let proof = mac(key, b"server", &ours, theirs)?.finalize();
        send_frame(&mut stream, &proof.into_bytes())?;
        Connection::established(stream)
    }

    fn established(stream: TcpStream) -> Result<Connection> {
        stream
            .set_read_timeout(None)
            .map_err(Error::io("wait for messages without a deadline"))?;
        Ok(Connection { stream })
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(message).expect("our messages are plain data");
        send_frame(&mut self.stream, &body)
    }

    /// Waits for one message.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> Result<M> {
        let body = receive_frame(&mut self.stream, FRAME_MAX)?;
        serde_json::from_slice(&body).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// Whether the other side has not closed its end, as the kernel does for one that is killed.
    pub(crate) fn peer_is_there(&self) -> bool {
        let peek = || -> io::Result<usize> {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        match peek() {
            Ok(seen) => seen > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let addresses = address.to_socket_addrs().map_err(Error::io(format!(
        "look up `{address}` (expected host:port)"
    )))?;
    let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, HANDSHAKE_TIME) {
            // Where nobody listens on a port of the ephemeral range, TCP may connect us to us.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                failure = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(Error::io(format!("connect to {address}"))(failure))
}

/// What both prove to have the key for: both nonces, so that no proof serves twice, and the role,
/// so that a client's proof cannot be sent back to it as the server's.
fn mac(key: &[u8], role: &[u8], server: &[u8], client: &[u8]) -> Result<Hmac<Sha256>> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    Ok(mac
        .chain_update(role)
        .chain_update(server)
        .chain_update(client))
}

fn send_frame(stream: &mut TcpStream, body: &[u8]) -> Result<()> {
    if body.len() > FRAME_MAX {
        return Err(too_long(body.len(), FRAME_MAX));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    stream
        .write_all(&frame)
        .map_err(Error::io("send a message"))
}

fn receive_frame(stream: &mut impl Read, max: usize) -> Result<Vec<u8>> {
    let mut len = [0; 4];
    stream
        .read_exact(&mut len)
        .map_err(Error::io("receive a message"))?;
    let len = u32::from_be_bytes(len) as usize;
    if len > max {
        return Err(too_long(len, max));
    }
    // Memory is taken as the bytes arrive: a length alone costs nothing.
    let mut body = Vec::new();
    stream
        .take(len as u64)
        .read_to_end(&mut body)
        .map_err(Error::io("receive a message"))?;
    if body.len() < len {
        return Err(Error::Closed);
    }
    Ok(body)
}

fn too_long(len: usize, max: usize) -> Error {
    Error::Protocol(format!(
        "a message of {len} bytes is over the limit of {max}"
    ))
}

fn handshake_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut stream = Hurried {
        stream,
        deadline: Instant::now() + HANDSHAKE_TIME,
    };
    receive_frame(&mut stream, HANDSHAKE_FRAME_MAX)
}

/// A stream to be read until a deadline, however slowly the bytes drip in.
struct Hurried<'a> {
    stream: &'a mut TcpStream,
    deadline: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn handshake(client: &[u8], server: &'static [u8]) -> [Option<Error>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client comes");
            Connection::accept(stream, server).err()
        });
        let client = Connection::connect(&address, client).err();
        [client, server.join().expect("it does not panic")]
    }

    #[test]
    fn the_same_key_is_accepted_on_both_sides() {
        assert!(matches!(handshake(b"abc", b"abc"), [None, None]));
    }

    #[test]
    fn a_wrong_key_is_an_auth_error_on_both_sides() {
        let errors = handshake(b"abd", b"abc");
        assert!(
            matches!(errors, [Some(Error::Auth), Some(Error::Auth)]),
            "{errors:?}"
        );
    }

    #[test]
    fn a_server_that_does_not_know_the_key_is_refused_even_if_it_sends_our_proof_back() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let impostor = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            send_frame(&mut stream, &[7; NONCE_LEN]).expect("the client reads");
            let answer = handshake_frame(&mut stream).expect("the client answers");
            send_frame(&mut stream, &answer[..NONCE_LEN]).expect("the client reads");
        });
        let error = Connection::connect(&address, b"abc").err();
        assert!(matches!(error, Some(Error::Auth)), "{error:?}");
        impostor.join().expect("it does not panic");
    }
}
