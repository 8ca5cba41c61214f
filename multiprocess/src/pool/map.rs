//! A map: its chunks under way, their results in order, and its end when an item fails.

use std::{collections::VecDeque, num::NonZeroU64, ops::Range};

use super::{
    chunk::{ChunkWriter, Mode, Part},
    client::PoolClient,
    table::Submission,
};
use crate::{Error, Result, Serializable, codec, sys::call::Function};

/// How many chunks of a map may be under way.
const CHUNKS_AHEAD: usize = 1 << 12;

/// A chunk that was submitted, until its results are read.
struct Submitted {
    ticket: u64,
    items: Range<u64>,
    done: bool,
}

/// The chunks of a map. Those that are left when it is dropped do not begin any more.
struct MapChunks<'a> {
    client: &'a PoolClient,
    completion_queue: NonZeroU64,
    /// In the order of their items, and of their tickets.
    chunks: VecDeque<Submitted>,
    /// How many items were submitted.
    submitted: u64,
}

/// Runs a function with its entry on items, in chunks of at most this size.
pub(super) fn run<A: Serializable, R: Serializable>(
    client: &PoolClient,
    function: Function,
    mut items: impl Iterator<Item = A>,
    size: usize,
) -> Result<Vec<R>> {
    let mode = match client.shared.retries {
        0 => Mode::Once,
        _ => Mode::Retried,
    };
    let mut writer = ChunkWriter::new(function, size, mode);
    let mut map = MapChunks {
        client,
        completion_queue: client.open_completion_queue(),
        chunks: VecDeque::new(),
        submitted: 0,
    };
    let mut results = Vec::with_capacity(items.size_hint().0);
    let mut bytes = Vec::new();
    let mut more = true;
    loop {
        while more && map.chunks.len() < CHUNKS_AHEAD {
            let (count, refused) = writer.write(&mut items, &mut bytes);
            if let Some(error) = refused {
                let item = map.submitted + count as u64;
                return Err(map.fail(Some((item, error)), results.len() as u64));
            }
            more = count > 0;
            if more && let Err(error) = map.submit(&bytes, count as u64, mode) {
                return Err(map.refuse(error, results.len() as u64));
            }
        }
        if map.chunks.is_empty() {
            return Ok(results);
        }
        if !map.wait_for_one()? {
            return Err(map.fail(None, results.len() as u64));
        }
        while let Some(chunk) = map.chunks.pop_front_if(|chunk| chunk.done) {
            let first = results.len() as u64;
            if let Err(error) = read(client.take_parts(chunk.ticket), &mut results) {
                map.chunks.push_front(chunk);
                return Err(map.fail(Some((results.len() as u64, error)), first));
            }
            client.forget(chunk.ticket);
        }
    }
}

/// Appends the results of a chunk's items, up to one that cannot be read.
fn read<R: Serializable>(parts: Vec<Part>, results: &mut Vec<R>) -> Result<()> {
    for part in parts {
        match part {
            Part::Results(count, bytes) => {
                let mut rest = &*bytes;
                for _ in 0..count {
                    let result;
                    (result, rest) = codec::decode_first(rest)?;
                    results.push(result);
                }
            }
            Part::Failed(error) => return Err(error),
        }
    }
    Ok(())
}

impl MapChunks<'_> {
    fn submit(&mut self, bytes: &[u8], count: u64, mode: Mode) -> Result<()> {
        let submission = Submission {
            items: count,
            mode: Some(mode),
            completion_queue: Some(self.completion_queue),
        };
        let ticket = self.client.submit(bytes, submission)?;
        let items = self.submitted..self.submitted + count;
        self.submitted = items.end;
        self.chunks.push_back(Submitted {
            ticket,
            items,
            done: false,
        });
        Ok(())
    }

    /// Waits for the next chunk that is done; false if it has failed.
    fn wait_for_one(&mut self) -> Result<bool> {
        let ticket = self.client.next_completed(self.completion_queue)?;
        let Some(ticket) = ticket else {
            // The pool has ended, and says why of each of its tasks.
            return Ok(false);
        };
        if let Ok(place) = self.chunks.binary_search_by_key(&ticket, |it| it.ticket) {
            self.chunks[place].done = true;
        }
        self.client.has_succeeded(ticket)
    }

    /// What to say when a chunk was refused: of its first item, if that is too large.
    fn refuse(mut self, error: Error, read: u64) -> Error {
        match error {
            Error::TooLarge { .. } => {
                let item = self.submitted;
                self.fail(Some((item, error)), read)
            }
            _ => {
                self.stop();
                error
            }
        }
    }

    /// Begins nothing more, and waits for what runs.
    fn stop(&mut self) {
        for chunk in self.chunks.iter().filter(|chunk| !chunk.done) {
            self.client.stop(chunk.ticket);
        }
        while self.chunks.iter().any(|chunk| !chunk.done) {
            match self.client.next_completed(self.completion_queue) {
                Ok(Some(ticket)) => {
                    if let Ok(place) = self.chunks.binary_search_by_key(&ticket, |it| it.ticket) {
                        self.chunks[place].done = true;
                    }
                }
                // The pool has ended, and every task with it.
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// Ends the map with the first item that failed: `failed`, or one of those that have run. The
    /// results of so many items were read.
    fn fail(mut self, failed: Option<(u64, Error)>, read: u64) -> Error {
        self.stop();
        let end = self.client.end();
        let mut first_failed = failed;
        let mut ran: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match ran.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ran.push(range),
        };
        add(0..read);
        for chunk in &self.chunks {
            let Err(error) = self.client.outcome(chunk.ticket, None, |_| Ok(())) else {
                add(chunk.items.clone());
                continue;
            };
            let behind = chunk.items.start + self.client.ran(chunk.ticket);
            add(chunk.items.start..behind);
            // Not its own, but that of the whole pool, or of this map.
            if error == Error::Cancelled || Some(&error) == end.as_ref() {
                continue;
            }
            let item = behind.saturating_sub(1).max(chunk.items.start);
            if first_failed.as_ref().is_none_or(|(first, _)| item < *first) {
                first_failed = Some((item, error));
            }
        }
        match first_failed {
            Some((item, error)) => Error::MapFailed {
                item,
                ran,
                error: Box::new(error),
            },
            None => end.unwrap_or(Error::Cancelled),
        }
    }
}

impl Drop for MapChunks<'_> {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            self.client.stop(chunk.ticket);
            self.client.forget(chunk.ticket);
        }
        self.client.close_completion_queue(self.completion_queue);
    }
}
