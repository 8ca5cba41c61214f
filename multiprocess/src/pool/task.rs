//! The entries of tasks: what a worker calls with a function and the bytes of its arguments.

use super::{chunk::Chunk, worker};
use crate::{Result, Serializable, codec};

/// The entry of what a worker does first or last.
pub(super) fn nothing(function: fn(), _: &[u8], _: &mut Vec<u8>) -> Result<()> {
    function();
    Ok(())
}

/// The entry of a task of one item.
pub(super) fn one<A: Serializable, R: Serializable>(
    function: fn(A) -> R,
    argument: &[u8],
    result: &mut Vec<u8>,
) -> Result<()> {
    codec::append(&function(codec::decode(argument)?), result)
}

/// The entry of a chunk.
pub(super) fn many<A: Serializable, R: Serializable>(
    function: fn(A) -> R,
    chunk: &[u8],
    results: &mut Vec<u8>,
) -> Result<()> {
    each(chunk, results, function)
}

/// The entry of a chunk of pairs.
pub(super) fn many_pairs<A: Serializable, B: Serializable, R: Serializable>(
    function: fn(A, B) -> R,
    chunk: &[u8],
    results: &mut Vec<u8>,
) -> Result<()> {
    each(chunk, results, |(a, b)| function(a, b))
}

fn each<A: Serializable, R: Serializable>(
    chunk: &[u8],
    results: &mut Vec<u8>,
    function: impl Fn(A) -> R,
) -> Result<()> {
    let worker = worker::current().expect("a chunk is run by a worker");
    let chunk = Chunk::read(chunk).expect("a chunk has a head");
    worker.run_items(&chunk, results, |arguments, results| {
        let (argument, rest) = codec::decode_first(arguments)?;
        codec::append(&function(argument), results)?;
        Ok(rest)
    })
}
