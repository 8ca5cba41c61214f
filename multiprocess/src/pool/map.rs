//! A map: its chunks under way, their results in order, and its end when an item fails.

use std::{collections::VecDeque, num::NonZeroU64, ops::Range};

use super::{
    Pool,
    chunk::{ChunkWriter, Mode, Part},
    client::PoolClient,
    open_tasks::Submission,
    task::{many, many_pairs},
};
use crate::{Error, Result, Serializable, codec, sys::call::Function};

/// How many chunks of a map each worker gets, so that all end at about the same time.
const CHUNKS_PER_WORKER: usize = 4;

/// The most items of a chunk whose size is chosen here.
const CHUNK_MAX: usize = 1 << 14;

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

impl Pool {
    /// Runs a function on all items and returns the results in their order: `map(f, items)`.
    ///
    /// The items travel in chunks. As in Python there are four for each worker, but more if they are
    /// long: a chunk ends when it has 1 MiB. A limit of time, retries and
    /// [`progress`](Self::progress) are of an item all the same, not of its chunk.
    ///
    /// # Errors
    ///
    /// [`Error::MapFailed`] with the index of the item that failed, and how.
    /// Items that have not begun by then are not begun, and those that run are waited for: when
    /// the call returns, nothing of the map runs. The error tells which items ran. Their results are
    /// lost; for a result or an error of each item, there is [`imap`](Self::imap).
    ///
    /// If the pool is the reason, its error: those of [`apply_async`](Self::apply_async), and
    /// [`Error::PoolBroken`] or
    /// [`Error::InitializerFailed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
    ///
    /// let halves = pool.map(|n: u64| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") }, [2, 5]);
    /// let Err(Error::MapFailed { item, error, .. }) = halves else { unreachable!() };
    /// assert_eq!(item, 1);
    /// assert!(matches!(*error, Error::Panicked { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// A function that returns a `Result` fails for its item alone, and ends no map:
    ///
    /// ```
    /// use multiprocess::{Error, Pool, Result};
    ///
    /// fn parse(text: String) -> Result<u32> {
    ///     text.parse().map_err(|error| Error::os(format!("read `{text}`"), std::io::Error::other(error)))
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// let numbers: Vec<Result<u32>> = pool.map(parse, ["1", "x"].map(String::from))?;
    /// assert_eq!(numbers[0], Ok(1));
    /// // Or the first error of all: as `flatten` does it for one.
    /// let all = pool.map(parse, ["1", "x"].map(String::from)).map(|it| it.into_iter().collect());
    /// let all: Result<Vec<u32>> = all.flatten();
    /// assert!(all.is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>> {
        self.map_items(Function::of(function, many), items, None)
    }

    fn chunk_size(&self, items: usize) -> usize {
        let chunks = CHUNKS_PER_WORKER * self.workers();
        items.div_ceil(chunks).clamp(1, CHUNK_MAX)
    }

    /// As [`map`](Self::map), with so many items in a chunk: `map(f, items, chunksize)`. 0 counts
    /// as 1. A chunk of 1 MiB gets no more items.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let lengths = pool.map_chunked(|s: String| s.len(), ["a", "bc"].map(String::from), 1)?;
    /// assert_eq!(lengths, [1, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn map_chunked<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunk_size: usize,
    ) -> Result<Vec<R>> {
        self.map_items(Function::of(function, many), items, Some(chunk_size.max(1)))
    }

    /// Runs a function with its entry on items, in chunks of this size or of one that fits.
    fn map_items<A: Serializable, R: Serializable>(
        &self,
        function: Function,
        items: impl IntoIterator<Item = A>,
        chunk_size: Option<usize>,
    ) -> Result<Vec<R>> {
        let items = items.into_iter().fuse();
        match (chunk_size, items.size_hint()) {
            (Some(size), _) => run(&self.client, function, items, size),
            (None, (known, Some(most))) if known == most => {
                run(&self.client, function, items, self.chunk_size(known))
            }
            _ => {
                let items: Vec<A> = items.collect();
                let size = self.chunk_size(items.len());
                run(&self.client, function, items.into_iter(), size)
            }
        }
    }

    /// As [`map`](Self::map), for a function of two arguments: `starmap(f, pairs)`. For more, let
    /// `map` run a closure that takes a tuple.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// assert_eq!(pool.starmap(u64::pow, [(2, 3), (3, 2)])?, [8, 9]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn starmap<A: Serializable, B: Serializable, R: Serializable>(
        &self,
        function: fn(A, B) -> R,
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Vec<R>> {
        self.map_items(Function::of(function, many_pairs), pairs, None)
    }
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
