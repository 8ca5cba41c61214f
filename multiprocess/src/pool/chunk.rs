//! Chunks: many items in one task, as bytes.
//!
//! A chunk is the function and a head of four words: the first item's index in the chunk as it was
//! first put, the number of items up to its end, a [`Mode`], and how many bytes of arguments follow. Then
//! come the arguments, with their lengths if the chunk may have to be tried again from some item on. If
//! they have a block, it goes along, or, when the chunk is tried again, behind them.

use std::{mem, os::fd::OwnedFd};

use super::{block::ResultBlock, message::split_word};
use crate::{
    Error, Result, Serializable, codec, fd_passing, queue::lending::BlockWriter,
    sys::call::Function,
};

/// A chunk ends with the item that makes it so long, in bytes, or before it.
const CHUNK_BYTES: usize = 1 << 20;

/// How many bytes of a chunk come before its items.
const HEAD: usize = Function::LEN + 32;

/// How many bytes an argument's length takes.
const LENGTH: usize = 8;

/// What becomes of the other items when one fails or its worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Mode {
    /// The chunk ends with the first item that fails, and with its worker.
    Once = 0,
    /// The chunk ends with the first item that fails; if its worker dies, what is not done is tried
    /// again.
    Retried = 1,
    /// Each item has an outcome of its own.
    Each = 2,
}

impl Mode {
    fn from_word(word: u64) -> Self {
        let modes = [Self::Once, Self::Retried, Self::Each];
        let mode = modes.into_iter().find(|&mode| mode as u64 == word);
        mode.unwrap_or(Self::Once)
    }

    /// Whether what is done survives the worker, and what is not is put again.
    pub(super) fn outlives_worker(self) -> bool {
        self != Self::Once
    }
}

/// Makes chunks of items.
pub(super) struct ChunkWriter {
    function: Function,
    /// The most items of a chunk.
    size: usize,
    mode: Mode,
    /// An argument for which the last chunk had no room, and its descriptors.
    carried: Vec<u8>,
    carried_fds: Vec<(u64, OwnedFd)>,
}

impl ChunkWriter {
    pub(super) fn new(function: Function, size: usize, mode: Mode) -> Self {
        Self {
            function,
            size,
            mode,
            carried: Vec::new(),
            carried_fds: Vec::new(),
        }
    }

    /// Makes a chunk of the next items, and returns how many; 0 if there was none. With it comes the
    /// error of the item behind them, if that cannot be written. Their descriptors are collected.
    pub(super) fn write<A: Serializable>(
        &mut self,
        items: &mut impl Iterator<Item = A>,
        chunk: &mut Vec<u8>,
        block: &mut BlockWriter<'_>,
    ) -> (usize, Option<Error>) {
        chunk.clear();
        chunk.extend_from_slice(&self.function.to_bytes());
        chunk.resize(HEAD, 0);
        let (mut count, mut refused) = (0, None);
        if !self.carried.is_empty() {
            chunk.append(&mut self.carried);
            fd_passing::collect_again(mem::take(&mut self.carried_fds));
            count = 1;
        }
        while count < self.size && (count == 0 || chunk.len() + block.used() < CHUNK_BYTES) {
            let Some(item) = items.next() else {
                break;
            };
            let (start, collected) = (chunk.len(), fd_passing::collected());
            let used = block.used();
            if let Err(error) = self.append(&item, chunk, block) {
                chunk.truncate(start);
                refused = Some(error);
                break;
            }
            // What has a part in this block must stay with it.
            if count > 0 && chunk.len() > CHUNK_BYTES && block.used() == used {
                self.carried = chunk.split_off(start);
                self.carried_fds = fd_passing::uncollect(collected);
                break;
            }
            count += 1;
        }
        write_head(chunk, 0, count as u64, self.mode);
        (count, refused)
    }

    #[inline]
    fn append<A: Serializable>(
        &self,
        item: &A,
        chunk: &mut Vec<u8>,
        block: &mut BlockWriter<'_>,
    ) -> Result<()> {
        if !self.mode.outlives_worker() {
            return block.append_value(item, chunk);
        }
        let start = chunk.len() + LENGTH;
        chunk.extend_from_slice(&[0; LENGTH]);
        block.append_value(item, chunk)?;
        let len = (chunk.len() - start) as u64;
        chunk[start - LENGTH..start].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }
}

/// Writes the head of a chunk that has all its arguments.
fn write_head(chunk: &mut [u8], first: u64, end: u64, mode: Mode) {
    let arguments = (chunk.len() - HEAD) as u64;
    let words = chunk[Function::LEN..HEAD].chunks_exact_mut(8);
    for (bytes, word) in words.zip([first, end, mode as u64, arguments]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

/// A chunk as its worker reads it.
pub(super) struct Chunk<'a> {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) mode: Mode,
    /// The arguments from `first` on.
    pub(super) arguments: &'a [u8],
    /// What follows them.
    pub(super) block: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Reads what follows the function; `None` for what is no chunk.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (first, bytes) = split_word(bytes)?;
        let (end, bytes) = split_word(bytes)?;
        let (mode, bytes) = split_word(bytes)?;
        let (len, bytes) = split_word(bytes)?;
        let (arguments, block) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
        Some(Self {
            first,
            end,
            mode: Mode::from_word(mode),
            arguments,
            block,
        })
    }
}

/// The argument at the start of these, which have their lengths, and the rest.
#[inline]
pub(super) fn split_argument(arguments: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split_word(arguments)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// The chunk without the items before `first`; `None` if it is one that cannot be tried again.
pub(super) fn from_item(chunk: &[u8], first: u64) -> Option<Vec<u8>> {
    let (function, bytes) = chunk.split_at_checked(Function::LEN)?;
    let whole = Chunk::read(bytes)?;
    let mut arguments = whole.arguments;
    for _ in whole.first..first {
        (_, arguments) = split_argument(arguments)?;
    }
    let mut rest = Vec::with_capacity(HEAD + arguments.len() + whole.block.len());
    rest.extend_from_slice(function);
    rest.resize(HEAD, 0);
    rest.extend_from_slice(arguments);
    write_head(&mut rest, first, whole.end, whole.mode);
    rest.extend_from_slice(whole.block);
    whole.mode.outlives_worker().then_some(rest)
}

/// What became of some items of a chunk.
pub(super) enum Part {
    /// The results of so many items, and their block if they have one.
    Results(u64, Box<[u8]>, Option<Box<ResultBlock>>),
    /// One item failed.
    Failed(Error),
}

impl Part {
    /// Reads the results one by one. From one that cannot be read on, all are this error.
    pub(super) fn read_each<R: Serializable>(self, mut each: impl FnMut(Result<R>)) {
        let (count, bytes, block) = match self {
            Self::Results(count, bytes, block) => (count, bytes, block),
            Self::Failed(error) => return each(Err(error)),
        };
        let block = block.as_ref().map_or(&[][..], |block| block.bytes());
        let mut rest = &*bytes;
        for place in 0..count {
            match codec::decode_first(&mut rest, block) {
                Ok(result) => each(Ok(result)),
                Err(error) => {
                    (place..count).for_each(|_| each(Err(error.clone())));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::raw::Wait;

    fn function() -> Function {
        Function::of((|| ()) as fn(), |_, _, _| Ok(()))
    }

    fn no_block() -> BlockWriter<'static> {
        BlockWriter::new(None, Wait::No)
    }

    fn arguments(chunk: &[u8]) -> Vec<String> {
        let chunk = Chunk::read(&chunk[Function::LEN..]).expect("it is a chunk");
        let mut rest = chunk.arguments;
        let each = (chunk.first..chunk.end).map(|_| {
            let argument;
            (argument, rest) = split_argument(rest).expect("it has its length");
            codec::decode(argument).expect("it is a text")
        });
        let texts = each.collect();
        assert!(rest.is_empty());
        texts
    }

    #[test]
    fn a_chunk_is_cut_by_count_and_by_bytes_and_loses_no_item() {
        let sizes = [1, 1, 1, CHUNK_BYTES, 1, 2 * CHUNK_BYTES, CHUNK_BYTES / 2, 1];
        let texts: Vec<String> = sizes.iter().map(|&n| "x".repeat(n)).collect();
        let mut writer = ChunkWriter::new(function(), 2, Mode::Each);
        let mut items = texts.clone().into_iter().fuse();
        let (mut chunk, mut counts, mut read) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let (count, refused) = writer.write(&mut items, &mut chunk, &mut no_block());
            assert_eq!(refused, None);
            if count == 0 {
                break;
            }
            counts.push(count);
            read.extend(arguments(&chunk));
        }
        assert_eq!(counts, [2, 1, 1, 1, 1, 2]);
        assert!(read == texts);
    }

    #[test]
    fn a_chunk_is_tried_again_from_any_item_on() {
        let mut writer = ChunkWriter::new(function(), 10, Mode::Retried);
        let mut items = ["a", "bc", "def"].map(String::from).into_iter();
        let mut chunk = Vec::new();
        writer.write(&mut items, &mut chunk, &mut no_block());
        let rest = from_item(&chunk, 1).expect("it can be tried again");
        assert_eq!(arguments(&rest), ["bc", "def"]);
        let last = from_item(&rest, 2).expect("it can be tried again");
        assert_eq!(arguments(&last), ["def"]);
        let head = Chunk::read(&last[Function::LEN..]).expect("it is a chunk");
        assert_eq!((head.first, head.end, head.mode), (2, 3, Mode::Retried));
    }
}
