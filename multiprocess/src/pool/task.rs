//! The entries of tasks: what a worker calls with a function and the bytes of its arguments.

use super::{
    chunk::Chunk,
    worker::{self, Worker},
};
use crate::{
    Result, Serializable,
    codec::{self, leaves},
    queue::{lending::BlockWriter, raw::Wait},
    sys::call::Function,
};

/// Writes a task of one item to the end of `task`, which is empty, and its large parts to a block.
#[inline]
pub(super) fn write<A: Serializable>(
    function: Function,
    argument: &A,
    task: &mut Vec<u8>,
    block: &mut BlockWriter<'_>,
) -> Result<()> {
    task.extend_from_slice(&function.to_bytes());
    block.append_value(argument, task)?;
    if block.used() > 0 {
        leaves::mark_with_block(task, Function::LEN);
    }
    Ok(())
}

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
    let argument = match leaves::has_block(argument) {
        false => codec::decode_with_block(argument, &[])?,
        true => decode_with_block(argument)?,
    };
    append_result(worker::current(), &function(argument), result)
}

/// Reads an argument whose block follows it, or is the worker's.
#[cold]
fn decode_with_block<A: Serializable>(argument: &[u8]) -> Result<A> {
    let (bytes, block) = codec::split_block::<A>(argument)?;
    match worker::current().and_then(|worker| worker.argument_block()) {
        // It goes back before the function is called.
        Some((lent, used)) => codec::decode_with_block(bytes, &lent.bytes()[..used]),
        None => codec::decode_with_block(bytes, block),
    }
}

/// Appends a result, and its large parts to a block, which the worker then has for the put.
#[inline]
fn append_result<R: Serializable>(
    worker: Option<&Worker>,
    result: &R,
    message: &mut Vec<u8>,
) -> Result<()> {
    let mut block = BlockWriter::new(worker.map(|worker| &worker.shared.results), Wait::No);
    block.append_value(result, message)?;
    if let (Some(block), Some(worker)) = (block.finish(), worker) {
        worker.blocks.keep_result(block);
    }
    Ok(())
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
    let lent = worker.argument_block();
    let lent = lent.as_ref().map(|(lent, used)| &lent.bytes()[..*used]);
    let block = lent.unwrap_or(chunk.block);
    let done = worker.run_items(&chunk, results, |arguments, results| {
        let argument = codec::decode_first(arguments, block)?;
        Ok(append_result(Some(worker), &function(argument), results)?)
    });
    done.map_err(|error| *error)
}
