//! A client that says whatever a test likes, after an honest handshake.

use std::io::{Read, Write};
use std::net::TcpStream;

use distributed::handshake::{Digest, Handshake, Step};

pub(crate) struct Raw<S = TcpStream>(pub(crate) S);

impl Raw {
    /// Connects and proves the key.
    pub(crate) fn connect(address: &str) -> Raw {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP stream");
        stream
            .set_read_timeout(Some(super::LONG))
            .expect("60 s is a time");
        Raw(stream).proved()
    }

    /// Connects for calls of queues.
    pub(crate) fn accepted(address: &str) -> Raw {
        Raw::connect(address).accept()
    }
}

impl<S: Read + Write> Raw<S> {
    /// Proves the key.
    pub(crate) fn proved(mut self) -> Raw<S> {
        let mut handshake = Handshake::connect(b"abc", Digest::Md5);
        loop {
            let frame = self.receive().expect("the server speaks");
            match handshake.receive(&frame) {
                Step::Send(frame) => self.send(&frame),
                Step::Done(frame) => {
                    self.send(&frame.expect("the client has the last word"));
                    return self;
                }
                step => panic!("{step:?}"),
            }
        }
    }

    /// Goes on to calls of queues.
    pub(crate) fn accept(mut self) -> Raw<S> {
        // pickle.dumps((None, 'accept_connection', ('x',), {}), 2)
        let accept = b"\x80\x02(NX\x11\0\0\0accept_connectionX\x01\0\0\0x\x85}t.";
        self.send(accept);
        let reply = self.receive().expect("it is answered");
        assert!(reply.ends_with(b"Nt."), "{reply:?}");
        self
    }

    pub(crate) fn send(&mut self, body: &[u8]) {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend(body);
        self.0.write_all(&frame).expect("it is open");
    }

    /// The next frame; none at the end of the stream.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        match self.0.read_exact(&mut len) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer"),
            Err(_) => return None,
        }
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(body)
    }

    pub(crate) fn call(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(body);
        self.receive().expect("every request is answered")
    }
}

/// `(ident, method, arguments, {})` in protocol 2, with the arguments as code.
pub(crate) fn request(ident: &str, method: &str, arguments: &[u8]) -> Vec<u8> {
    let mut body = b"\x80\x02(".to_vec();
    for text in [ident, method] {
        body.push(b'X');
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.bytes());
    }
    body.push(b'(');
    body.extend(arguments);
    body.extend(b"t}t.");
    body
}
