//! The handshake: both sides prove that they know the key, and neither sends it.
//!
//! It is Python's of `multiprocessing.connection`, in every dialect in use: HMAC-MD5 up to 3.11,
//! a named digest from 3.12 on, and Red Hat's bare HMAC-SHA256. It does no I/O: frames go in and
//! come out, so the async server, the blocking client and a fuzzer drive the same code.
//!
//! The server speaks first, and answers a client's challenge only after the client has proved
//! itself, so a stranger learns nothing from it. Nothing ties the proof to the connection: who
//! sits between both sides can pass the handshake on, and then read and alter what follows.

use hmac::{KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha2::{Sha256, Sha384};

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::random;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
/// The longest frame of the handshake, in bytes.
pub const FRAME_MAX: usize = 256;
/// As long as Python's, from 3.12 on.
const NONCE_LEN: usize = 40;

/// The challenges of this process's clients that await their proof. A server that cannot prove the
/// key itself might have one client prove it to another.
static AWAITED: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());

/// What to do after a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and wait for the next frame.
    Send(Vec<u8>),
    /// Both sides are proved, once this is sent, if there is something to send.
    Done(Option<Vec<u8>>),
    /// The other side has another key, or says that we do. Send this, if anything, and close.
    Refused(Option<Vec<u8>>),
    /// The other side does not speak this protocol. Close.
    Garbage,
}

/// The digest of a bare proof, which does not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Python up to 3.11.
    Md5,
    /// Python up to 3.11 as Red Hat and Fedora ship it.
    Sha256,
}

/// One side of a handshake.
///
/// # Examples
///
/// ```
/// use distributed::handshake::{Digest, Handshake, Step};
///
/// let (mut server, challenge) = Handshake::accept(b"abc");
/// let mut client = Handshake::connect(b"abc", Digest::Md5);
/// let mut to_client = challenge;
/// while let Step::Send(to_server) | Step::Done(Some(to_server)) = client.receive(&to_client) {
///     match server.receive(&to_server) {
///         Step::Send(next) => to_client = next,
///         end => {
///             assert_eq!(end, Step::Done(None));
///             return;
///         }
///     }
/// }
/// unreachable!("both have the same key");
/// ```
pub struct Handshake {
    key: Vec<u8>,
    state: HandshakeState,
    /// What our challenge was, after its label.
    ours: Vec<u8>,
    /// How a bare challenge is answered.
    bare: Digest,
    met_bare: bool,
    /// Whether MD5 proves nothing.
    requires_sha256: bool,
}

#[derive(Clone, Copy)]
enum HandshakeState {
    /// We sent a challenge and wait for the proof; the side that spoke first is challenged next.
    Proof {
        then_challenged: bool,
    },
    /// We wait for a challenge; then, perhaps, we send our own.
    Challenge {
        then_challenge: bool,
    },
    /// We sent our proof and wait for the verdict.
    Verdict {
        then_challenge: bool,
    },
    Over,
}

impl Handshake {
    /// The server's side, and the first frame, which it sends.
    pub fn accept(key: &[u8]) -> (Handshake, Vec<u8>) {
        let then_challenged = true;
        let mut handshake =
            Handshake::new(key, Digest::Md5, HandshakeState::Proof { then_challenged });
        let challenge = handshake.challenge();
        (handshake, challenge)
    }

    /// The client's side, which waits for the server's first frame.
    ///
    /// A challenge that names no digest does not tell which of the two `bare` ones the server
    /// wants: when the first is refused, connect again and try the other.
    pub fn connect(key: &[u8], bare: Digest) -> Handshake {
        let then_challenge = true;
        Handshake::new(key, bare, HandshakeState::Challenge { then_challenge })
    }

    fn new(key: &[u8], bare: Digest, state: HandshakeState) -> Handshake {
        Handshake {
            key: key.to_vec(),
            state,
            ours: Vec::new(),
            bare,
            met_bare: false,
            requires_sha256: false,
        }
    }

    /// Takes no proof by MD5, and gives none. Python up to 3.11 has no other, except as Red Hat and
    /// Fedora ship it.
    #[must_use = "it holds for the handshake that is returned"]
    pub fn require_sha256(mut self) -> Handshake {
        self.requires_sha256 = true;
        self
    }

    /// Whether the other side's challenge named no digest.
    pub fn met_bare_challenge(&self) -> bool {
        self.met_bare
    }

    /// Takes the frame that the other side sent.
    pub fn receive(&mut self, frame: &[u8]) -> Step {
        if frame.len() > FRAME_MAX {
            return Step::Garbage;
        }
        match std::mem::replace(&mut self.state, HandshakeState::Over) {
            HandshakeState::Proof { then_challenged } => self.check(frame, then_challenged),
            HandshakeState::Challenge { then_challenge } => match frame.strip_prefix(CHALLENGE) {
                Some(message) => self.answer(message, then_challenge),
                None => Step::Garbage,
            },
            HandshakeState::Verdict { then_challenge } => match frame {
                WELCOME if then_challenge => {
                    self.state = HandshakeState::Proof {
                        then_challenged: false,
                    };
                    let challenge = self.challenge();
                    AWAITED.lock().unwrap().insert(self.ours.clone());
                    Step::Send(challenge)
                }
                WELCOME => Step::Done(None),
                FAILURE => Step::Refused(None),
                _ => Step::Garbage,
            },
            HandshakeState::Over => Step::Garbage,
        }
    }

    fn challenge(&mut self) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        self.ours = [b"{sha256}", &nonce[..]].concat();
        [CHALLENGE, &self.ours].concat()
    }

    fn answer(&mut self, message: &[u8], then_challenge: bool) -> Step {
        // A server in this process is challenged by clients in it, as it should be.
        if then_challenge && AWAITED.lock().unwrap().contains(message) {
            return Step::Refused(None);
        }
        let named = prefix(message).and_then(|name| Some((name, by_name(name)?)));
        self.met_bare = named.is_none();
        if self.requires_sha256 {
            if matches!(named, Some((b"md5", _))) {
                return Step::Refused(None);
            }
            self.bare = Digest::Sha256;
        }
        let proof = match (named, message.len()) {
            (Some((name, mac)), _) => {
                [b"{", name, b"}", &mac(&self.key, message, None).proof[..]].concat()
            }
            (None, 16..) => bare(self.bare)(&self.key, message, None).proof,
            (None, _) => return Step::Garbage,
        };
        self.state = HandshakeState::Verdict { then_challenge };
        Step::Send(proof)
    }

    fn check(&mut self, proof: &[u8], then_challenged: bool) -> Step {
        let bare_digest = if proof.len() == 32 {
            Digest::Sha256
        } else {
            Digest::Md5
        };
        let (mac, proof) = match prefix(proof).and_then(|name| Some((name, by_name(name)?))) {
            Some((b"md5", _)) if self.requires_sha256 => {
                return Step::Refused(Some(FAILURE.to_vec()));
            }
            Some((name, mac)) => (mac, &proof[name.len() + 2..]),
            None if self.requires_sha256 && bare_digest == Digest::Md5 => {
                return Step::Refused(Some(FAILURE.to_vec()));
            }
            None => {
                self.bare = bare_digest;
                (bare(bare_digest), proof)
            }
        };
        if !mac(&self.key, &self.ours, Some(proof)).holds {
            return Step::Refused(Some(FAILURE.to_vec()));
        }
        match then_challenged {
            true => {
                self.state = HandshakeState::Challenge {
                    then_challenge: false,
                };
                Step::Send(WELCOME.to_vec())
            }
            false => Step::Done(Some(WELCOME.to_vec())),
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        AWAITED.lock().unwrap().remove(&self.ours);
    }
}

/// The name in `{name}…`.
fn prefix(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"{")?;
    let len = rest.iter().position(|byte| *byte == b'}')?;
    Some(&rest[..len])
}

/// A proof, and whether the one given is the same.
struct Checked {
    proof: Vec<u8>,
    holds: bool,
}

type Prove = fn(&[u8], &[u8], Option<&[u8]>) -> Checked;

fn by_name(name: &[u8]) -> Option<Prove> {
    Some(match name {
        b"md5" => prove::<SimpleHmac<Md5>>,
        b"sha256" => prove::<SimpleHmac<Sha256>>,
        b"sha384" => prove::<SimpleHmac<Sha384>>,
        _ => return None,
    })
}

fn bare(digest: Digest) -> Prove {
    match digest {
        Digest::Md5 => prove::<SimpleHmac<Md5>>,
        Digest::Sha256 => prove::<SimpleHmac<Sha256>>,
    }
}

/// The proof covers the whole message, the digest's name included. Compares in constant time.
fn prove<M: Mac + KeyInit + Clone>(key: &[u8], message: &[u8], given: Option<&[u8]>) -> Checked {
    let mac = <M as KeyInit>::new_from_slice(key).expect("a key may have any length");
    let mac = mac.chain_update(message);
    Checked {
        holds: given.is_some_and(|given| mac.clone().verify_slice(given).is_ok()),
        proof: mac.finalize().into_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    const NAMED: &str = "7b7368613235367df087cf3070949d9e0f55df0e6f289ee9aa76f2806c11a6d6dbf486af5942b7454d0117e4c5e3356e";
    const NAMED_TOO: &str = "7b7368613235367d7812d65eb7b2b68586c460a21ed96d95ac360de22a59cdea7776be1ff403d0455a1e08c76d001270";

    /// What a client answers to a challenge, with the notebook's key.
    fn answer(message: &str, bare: Digest) -> Vec<u8> {
        let mut client = Handshake::connect(b"abc", bare);
        match client.receive(&[CHALLENGE, &bytes(message)].concat()) {
            Step::Send(proof) => proof,
            step => panic!("{step:?}"),
        }
    }

    /// What a server that sent this challenge says to this proof.
    fn verdict(message: &str, proof: &[u8]) -> Step {
        let (mut server, _) = Handshake::accept(b"abc");
        server.ours = bytes(message);
        server.receive(proof)
    }

    #[test]
    fn proofs_are_those_of_python() {
        let proof = "8351c994908e5c2e481591d0ab00d9a5250d002230ffed6fc4bb031c27ca590a";
        let named = [b"{sha256}", &bytes(proof)[..]].concat();
        assert_eq!(answer(NAMED, Digest::Md5), named);
        assert_eq!(verdict(NAMED, &named), Step::Send(WELCOME.to_vec()));
        let bare = answer("18c7d7913ede7eca6d07fdd85c1ce844ab198d62", Digest::Md5);
        assert_eq!(bare, bytes("1ed5cf41c41098443c25f9992acab2f3"));
        let python_3_11 = bytes("81dca6a15d10a0084d084267088665e5");
        assert_eq!(
            verdict(NAMED_TOO, &python_3_11),
            Step::Send(WELCOME.to_vec())
        );
    }

    #[test]
    fn a_client_of_red_hat_is_met_in_its_own_digest() {
        let (mut server, challenge) = Handshake::accept(b"abc");
        let proof = prove::<SimpleHmac<Sha256>>(b"abc", &challenge[CHALLENGE.len()..], None).proof;
        assert_eq!(server.receive(&proof), Step::Send(WELCOME.to_vec()));
        let theirs = [7; 20];
        let answer = server.receive(&[CHALLENGE, &theirs[..]].concat());
        let want = prove::<SimpleHmac<Sha256>>(b"abc", &theirs, None).proof;
        assert_eq!(answer, Step::Send(want));
        assert_eq!(server.receive(WELCOME), Step::Done(None));
    }

    #[test]
    fn every_digest_of_the_protocol_is_accepted_by_name() {
        for name in ["md5", "sha256", "sha384"] {
            let (mut server, challenge) = Handshake::accept(b"abc");
            let prove = by_name(name.as_bytes()).expect("it is one of them");
            let proof = prove(b"abc", &challenge[CHALLENGE.len()..], None).proof;
            let named = [b"{", name.as_bytes(), b"}", &proof].concat();
            assert_eq!(
                server.receive(&named),
                Step::Send(WELCOME.to_vec()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_wrong_proof_is_refused() {
        let refused = || Step::Refused(Some(FAILURE.to_vec()));
        for proof in [
            &[0; 16][..],
            &[0; 32],
            b"",
            b"{sha256}",
            b"{sha1}0123",
            &[0; 256],
        ] {
            assert_eq!(verdict(NAMED, proof), refused(), "{proof:?}");
        }
        let mut proof = answer(NAMED, Digest::Md5);
        *proof.last_mut().expect("it is not empty") ^= 1;
        assert_eq!(verdict(NAMED, &proof), refused());
        proof.pop();
        assert_eq!(verdict(NAMED, &proof), refused());
    }

    #[test]
    fn a_client_answers_no_challenge_of_another_client_of_its_process() {
        let nonce = [CHALLENGE, &[7; 20][..]].concat();
        let mut one = Handshake::connect(b"abc", Digest::Md5);
        assert!(matches!(one.receive(&nonce), Step::Send(_)));
        let Step::Send(challenge) = one.receive(WELCOME) else {
            panic!("it challenges in its turn");
        };
        let mut other = Handshake::connect(b"abc", Digest::Md5);
        assert_eq!(other.receive(&challenge), Step::Refused(None));
        // A server of this process answers, and so does a client once nobody waits for it.
        drop(one);
        let mut later = Handshake::connect(b"abc", Digest::Md5);
        assert!(matches!(later.receive(&challenge), Step::Send(_)));
    }

    #[test]
    fn md5_proves_nothing_where_sha256_is_required() {
        let named = |name: &str, digest: Prove, message: &[u8]| {
            let proof = digest(b"abc", message, None).proof;
            [name.as_bytes(), &proof].concat()
        };
        let refused = Step::Refused(Some(FAILURE.to_vec()));
        let welcome = Step::Send(WELCOME.to_vec());
        for (name, digest, want) in [
            ("", bare(Digest::Md5), &refused),
            ("{md5}", bare(Digest::Md5), &refused),
            ("", bare(Digest::Sha256), &welcome),
            ("{sha256}", bare(Digest::Sha256), &welcome),
        ] {
            let (server, challenge) = Handshake::accept(b"abc");
            let mut server = server.require_sha256();
            let proof = named(name, digest, &challenge[CHALLENGE.len()..]);
            assert_eq!(server.receive(&proof), *want, "{name}");
        }
        let client = || Handshake::connect(b"abc", Digest::Md5).require_sha256();
        let nonce = [7; 20];
        let want = bare(Digest::Sha256)(b"abc", &nonce, None).proof;
        let challenge = [CHALLENGE, &nonce[..]].concat();
        assert_eq!(client().receive(&challenge), Step::Send(want));
        let challenge = [CHALLENGE, b"{md5}", &nonce[..]].concat();
        assert_eq!(client().receive(&challenge), Step::Refused(None));
    }

    #[test]
    fn what_is_out_of_turn_is_garbage() {
        let (mut server, _) = Handshake::accept(b"abc");
        assert_eq!(server.receive(&[0; 257]), Step::Garbage);
        let mut client = Handshake::connect(b"abc", Digest::Md5);
        assert_eq!(client.receive(WELCOME), Step::Garbage);
        let mut client = Handshake::connect(b"abc", Digest::Md5);
        assert_eq!(client.receive(b"#CHALLENGE#short"), Step::Garbage);
        assert_eq!(
            client.receive(b"#CHALLENGE#0123456789012345"),
            Step::Garbage
        );
    }
}
