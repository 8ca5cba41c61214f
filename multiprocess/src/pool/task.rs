//! Tasks as bytes: the function's address, and one argument or, after their number, many.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result, codec,
    sys::call::{Function, conjure},
};

/// Writes a task with up to `size` items, and returns how many.
pub(super) fn write_chunk<A: Serialize>(
    head: [u8; Function::LEN],
    items: &mut impl Iterator<Item = A>,
    size: usize,
    task: &mut Vec<u8>,
) -> Result<usize> {
    task.clear();
    task.extend_from_slice(&head);
    task.extend_from_slice(&[0; 8]);
    let mut count = 0;
    for item in items.take(size) {
        codec::append(&item, task)?;
        count += 1;
    }
    // Items may take no bytes, so their end does not say how many they were.
    task[Function::LEN..][..8].copy_from_slice(&(count as u64).to_le_bytes());
    Ok(count)
}

/// A task of one item, as its worker runs it.
pub(super) fn one<F, A, R>(argument: &[u8], result: &mut Vec<u8>) -> Result<()>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    codec::append(&conjure::<F>()(codec::decode(argument)?), result)
}

/// A task of many items, as its worker runs it.
pub(super) fn many<F, A, R>(chunk: &[u8], results: &mut Vec<u8>) -> Result<()>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    let (count, mut items) = split_count(chunk);
    results.extend_from_slice(&count.to_le_bytes());
    for _ in 0..count {
        let item;
        (item, items) = codec::decode_first(items)?;
        codec::append(&conjure::<F>()(item), results)?;
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
