//! Frames from a stranger, to either side of the handshake: nobody gets in without the key.
#![no_main]

use distributed::handshake::{Digest, Handshake, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let sides = [
        Handshake::accept(b"a key that the fuzzer does not know").0,
        Handshake::connect(b"a key that the fuzzer does not know", Digest::Md5),
        Handshake::connect(b"a key that the fuzzer does not know", Digest::Sha256),
    ];
    for mut side in sides {
        let mut rest = bytes;
        while let Some((len, after)) = rest.split_first() {
            let (frame, next) = after.split_at(after.len().min(usize::from(*len) + 2));
            rest = next;
            match side.receive(frame) {
                Step::Send(_) => {}
                Step::Done(_) => panic!("the key was not proved"),
                Step::Refused(_) | Step::Garbage => break,
            }
        }
    }
});
