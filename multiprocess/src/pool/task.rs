//! Tasks as bytes: the function, and one argument or, after their number, many.

use crate::{Result, Serializable, codec, sys::call::Function};

/// Writes a task with up to `size` items, and returns how many.
pub(super) fn write_chunk<A: Serializable>(
    function: Function,
    items: &mut impl Iterator<Item = A>,
    size: usize,
    task: &mut Vec<u8>,
) -> Result<usize> {
    task.clear();
    task.extend_from_slice(&function.to_bytes());
    task.extend_from_slice(&[0; 8]);
    let mut count = 0;
    for item in items.take(size) {
        codec::append(&item, task)?;
        count += 1;
    }
    task[Function::LEN..][..8].copy_from_slice(&(count as u64).to_le_bytes());
    Ok(count)
}

/// The entry of a task of one item.
pub(super) fn one<A: Serializable, R: Serializable>(
    function: fn(A) -> R,
    argument: &[u8],
    result: &mut Vec<u8>,
) -> Result<()> {
    codec::append(&function(codec::decode(argument)?), result)
}

/// The entry of a task of many items.
pub(super) fn many<A: Serializable, R: Serializable>(
    function: fn(A) -> R,
    chunk: &[u8],
    results: &mut Vec<u8>,
) -> Result<()> {
    each(chunk, results, function)
}

/// The entry of a task of many pairs.
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
    let (count, mut items) = split_count(chunk);
    results.extend_from_slice(&count.to_le_bytes());
    for _ in 0..count {
        let item;
        (item, items) = codec::decode_first(items)?;
        codec::append(&function(item), results)?;
    }
    Ok(())
}

/// The number of items at the start of a chunk, and the items.
pub(super) fn split_count(chunk: &[u8]) -> (u64, &[u8]) {
    match chunk.split_first_chunk() {
        Some((count, items)) => (u64::from_le_bytes(*count), items),
        None => (0, chunk),
    }
}
