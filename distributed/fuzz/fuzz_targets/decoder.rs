//! A message, read as the server reads a request and as a client reads an item.
//!
//! What is taken out of it as an item must be a pickle again, of the same value.
#![no_main]

use anything::Anything;
use distributed::pickle;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/anything.rs"]
mod anything;

fuzz_target!(|bytes: &[u8]| {
    let whole = pickle::from_slice::<Anything>(bytes).map(drop);
    for part in pickle::parts(bytes) {
        let part = pickle::from_slice::<Anything>(&part);
        if let Err(pickle::Error::Malformed(error)) = part {
            panic!("{error}, in an item of a message that is sound: {whole:?}");
        }
    }
});
