//! A map: its chunks under way, their results in order, and its end when an item fails.

use std::{collections::VecDeque, num::NonZeroU64, ops::Range, sync::Arc, vec};

use super::{
    Pool,
    chunk::{ChunkWriter, Mode, Part},
    client::PoolClient,
    map_result::MapResult,
    open_tasks::Submission,
    table::TaskTable,
    task::{many, many_pairs},
    usage::TaskUsage,
};
use crate::{Error, Result, Serializable, codec, fd_passing, sys::call::Function};

/// How many chunks of a map each worker gets, so that all end at about the same time.
const CHUNKS_PER_WORKER: usize = 4;

/// The most items of a chunk whose size is chosen here.
const CHUNK_MAX: usize = 1 << 14;

/// How many chunks of a map may be under way.
const CHUNKS_AHEAD: usize = 1 << 12;

/// Of long chunks, so many bytes may be under way: their memory is then used again while it is in the
/// caches.
const BYTES_AHEAD: usize = 4 << 20;

/// How many chunks each worker gets in advance, however long they are.
const AHEAD: usize = 2;

/// A chunk that was submitted, until its results are taken.
struct Submitted {
    ticket: u64,
    items: Range<u64>,
    /// Its length in bytes, with its block.
    len: usize,
    done: bool,
}

/// The chunks of a map. Those that are left when it is dropped do not begin any more.
pub(super) struct MapChunks {
    client: Arc<PoolClient>,
    pub(super) completion_queue: NonZeroU64,
    /// In the order of their items, and of their tickets.
    chunks: VecDeque<Submitted>,
    /// How many items were submitted.
    pub(super) submitted: u64,
    /// Of how many items the results were taken.
    taken: u64,
    /// How many of the chunks are not done, and how many bytes they have.
    open: usize,
    open_bytes: usize,
    /// What has not begun does not begin any more, or is left to run on.
    stopped: bool,
    /// What the items took whose results were taken, if the pool measures that.
    usage: Vec<Option<TaskUsage>>,
    /// An item that has failed here, on its way to a worker or back.
    failed: Option<(u64, Error)>,
}

impl Pool {
    /// Runs a function on all items and returns the results in their order: `map(f, items)`.
    ///
    /// The items travel in chunks. As in Python there are four for each worker, but more if they are
    /// long: a chunk ends when it has 1 MiB. Of long chunks, some 4 MiB or two for each worker are under
    /// way, and the next items are taken as these are done. A limit of time, retries and
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
        let (items, size) = self.counted(items, chunk_size);
        run(&self.client, function, items, size)
    }

    /// The items, and how many make a chunk: so many, or what gives each worker some chunks.
    fn counted<I: IntoIterator>(
        &self,
        items: I,
        chunk_size: Option<usize>,
    ) -> (Counted<I::IntoIter>, usize) {
        let items = items.into_iter();
        match (chunk_size, items.size_hint()) {
            (Some(size), _) => (Counted::AsTheyCome(items), size),
            (None, (known, Some(most))) if known == most => {
                (Counted::AsTheyCome(items), self.chunk_size(known))
            }
            _ => {
                let items: Vec<_> = items.collect();
                let size = self.chunk_size(items.len());
                (Counted::Collected(items.into_iter()), size)
            }
        }
    }

    fn chunk_size(&self, items: usize) -> usize {
        let chunks = CHUNKS_PER_WORKER * self.workers();
        items.div_ceil(chunks).clamp(1, CHUNK_MAX)
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

    /// Hands items to the pool, and does not wait for their results: `map_async(f, items)`.
    ///
    /// All items are taken, serialised and handed in before the call returns; it waits for room only
    /// if the pool's queue of tasks is full. The items travel in chunks, as those of
    /// [`map`](Self::map). For a function of several arguments, pass a closure that takes a tuple,
    /// in place of `starmap_async`.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after [`close`](Self::close). If the pool is known to have failed, why. What
    /// befalls an item, the [`MapResult`] tells, also if it cannot be serialised.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..4)?;
    /// let cubes = pool.map_async(|n: u64| n * n * n, 0..4)?;
    /// assert_eq!(squares.get()?, [0, 1, 4, 9]);
    /// assert_eq!(cubes.get()?, [0, 1, 8, 27]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn map_async<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<MapResult<R>> {
        self.hand_in(function, items, None)
    }

    /// As [`map_async`](Self::map_async), with so many items in a chunk:
    /// `map_async(f, items, chunksize)`. 0 counts as 1. A chunk of 1 MiB gets no more items.
    ///
    /// # Errors
    ///
    /// Those of [`map_async`](Self::map_async).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let powers = pool.map_async_chunked(|(a, b): (u64, u32)| a.pow(b), [(2, 3), (3, 2)], 1)?;
    /// assert_eq!(powers.get()?, [8, 9]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn map_async_chunked<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunk_size: usize,
    ) -> Result<MapResult<R>> {
        self.hand_in(function, items, Some(chunk_size.max(1)))
    }

    fn hand_in<A: Serializable, R: Serializable>(
        &self,
        function: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunk_size: Option<usize>,
    ) -> Result<MapResult<R>> {
        let (mut items, size) = self.counted(items, chunk_size);
        let mut map = MapChunks::new(&self.client);
        let mut writer = map.writer(Function::of(function, many), size);
        let mut bytes = Vec::new();
        while map.hand_in(&mut writer, &mut items, &mut bytes)? {}
        Ok(MapResult::new(Arc::clone(&self.client), map))
    }
}

/// The items of a map, which had to be collected if nothing else says how many there are.
enum Counted<I: Iterator> {
    AsTheyCome(I),
    Collected(vec::IntoIter<I::Item>),
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        match self {
            Self::AsTheyCome(items) => items.next(),
            Self::Collected(items) => items.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::AsTheyCome(items) => items.size_hint(),
            Self::Collected(items) => items.size_hint(),
        }
    }
}

/// Runs a function with its entry on items, in chunks of at most this size.
fn run<A: Serializable, R: Serializable>(
    client: &Arc<PoolClient>,
    function: Function,
    items: impl Iterator<Item = A>,
    size: usize,
) -> Result<Vec<R>> {
    let mut items = items.fuse();
    let mut map = MapChunks::new(client);
    let mut writer = map.writer(function, size);
    let mut results = Vec::with_capacity(items.size_hint().0);
    let mut bytes = Vec::new();
    let mut more = true;
    loop {
        while more && map.has_room() {
            more = match map.hand_in(&mut writer, &mut items, &mut bytes) {
                Ok(more) => more,
                Err(error) => {
                    map.stop();
                    let _ = client.wait(None, |table| map.is_over(table).then_some(()));
                    return Err(error);
                }
            };
        }
        if map.chunks.is_empty() && map.failed.is_none() {
            return Ok(results);
        }
        let parts = client.wait(None, |table| map.take_some(table, more))?;
        for part in parts.unwrap_or(Err(Error::TimedOut))? {
            if let Err(error) = read(&part, &mut results) {
                map.fail(results.len() as u64, error);
                break;
            }
        }
    }
}

/// Appends the results of a chunk's items, up to one that cannot be read.
pub(super) fn read<R: Serializable>(part: &Part, results: &mut Vec<R>) -> Result<()> {
    let (count, mut rest, block) = match part {
        Part::Results(count, bytes, block) => (*count, &**bytes, block),
        Part::Failed(error) => return Err(error.clone()),
    };
    let block = block.as_ref().map_or(&[][..], |block| block.bytes());
    for _ in 0..count {
        results.push(codec::decode_first(&mut rest, block)?);
    }
    Ok(())
}

impl MapChunks {
    fn new(client: &Arc<PoolClient>) -> Self {
        Self {
            client: Arc::clone(client),
            completion_queue: client.open_completion_queue(),
            chunks: VecDeque::new(),
            submitted: 0,
            taken: 0,
            open: 0,
            open_bytes: 0,
            stopped: false,
            usage: Vec::new(),
            failed: None,
        }
    }

    fn mode(&self) -> Mode {
        match self.client.shared.retries {
            0 => Mode::Once,
            _ => Mode::Retried,
        }
    }

    fn writer(&self, function: Function, size: usize) -> ChunkWriter {
        ChunkWriter::new(function, size, self.mode())
    }

    /// Makes a chunk of the next items and submits it. False if there was none, or one of its items
    /// has failed; then nothing more is to be handed in.
    fn hand_in<A: Serializable>(
        &mut self,
        writer: &mut ChunkWriter,
        items: &mut impl Iterator<Item = A>,
        bytes: &mut Vec<u8>,
    ) -> Result<bool> {
        let client = Arc::clone(&self.client);
        let mut block = client.argument_block();
        let written = fd_passing::collect_unique(|| writer.write(items, bytes, &mut block));
        let ((count, refused), fds) = written;
        let count = count as u64;
        if let Some(error) = refused {
            self.fail(self.submitted + count, error);
            return Ok(false);
        }
        if count == 0 {
            return Ok(false);
        }
        let submission = Submission {
            items: count,
            mode: Some(self.mode()),
            completion_queue: Some(self.completion_queue),
        };
        let len = bytes.len() + block.used();
        match client.submit(bytes, block, fds, submission) {
            Ok(ticket) => {
                let items = self.submitted..self.submitted + count;
                self.submitted = items.end;
                self.open += 1;
                self.open_bytes += len;
                self.chunks.push_back(Submitted {
                    ticket,
                    items,
                    len,
                    done: false,
                });
                Ok(true)
            }
            // Of the first item: a chunk of several is not so long.
            Err(error @ Error::TooLarge { .. }) => {
                self.fail(self.submitted, error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The tickets of the chunks that are not known to be done, the last one first.
    pub(super) fn open_tickets(&self) -> Vec<u64> {
        let open = self.chunks.iter().rev().filter(|chunk| !chunk.done);
        open.map(|chunk| chunk.ticket).collect()
    }

    /// Ends the map with an item that has failed here.
    fn fail(&mut self, item: u64, error: Error) {
        self.failed = Some((item, error));
        self.stop();
    }

    fn stop(&mut self) {
        let client = Arc::clone(&self.client);
        self.stop_chunks(&mut client.table());
    }

    /// Sees to it that nothing more begins.
    fn stop_chunks(&mut self, table: &mut TaskTable) {
        self.stopped = true;
        for chunk in self.chunks.iter().filter(|chunk| !chunk.done) {
            self.client.stop(table, chunk.ticket);
        }
    }

    /// What each item took that was handed in, as far as it is known.
    pub(super) fn usage(&self, table: &TaskTable) -> Vec<Option<TaskUsage>> {
        let left = self.chunks.iter().map(|chunk| table.usage(chunk.ticket));
        self.usage.iter().copied().chain(left.flatten()).collect()
    }

    /// Has what was handed in run, though this is dropped.
    pub(super) fn let_run_on(&mut self) {
        self.stopped = true;
    }

    /// Whether all chunks are done. Sees to it that nothing more begins once one has failed.
    pub(super) fn is_over(&mut self, table: &mut TaskTable) -> bool {
        while self.open > 0 {
            let Some(next) = table.next_completed(self.completion_queue) else {
                return false;
            };
            let Some(ticket) = next else {
                // The pool has ended, and says why of each of its tasks.
                self.open = 0;
                self.stopped = true;
                break;
            };
            if let Ok(place) = self.chunks.binary_search_by_key(&ticket, |it| it.ticket) {
                let chunk = &mut self.chunks[place];
                chunk.done = true;
                self.open -= 1;
                self.open_bytes -= chunk.len;
            }
            if !self.stopped && matches!(table.outcome(ticket), Some(Err(_))) {
                self.stop_chunks(table);
            }
        }
        true
    }

    /// Whether another chunk is to be handed in now.
    fn has_room(&self) -> bool {
        let workers = self.client.shared.control.workers_wanted();
        let is_short = self.open_bytes < BYTES_AHEAD || self.open < AHEAD * workers;
        !self.stopped && self.chunks.len() < CHUNKS_AHEAD && is_short
    }

    /// The results that come next, or the error once the map has failed and is over; `None` while
    /// there is neither, and no room for `more` chunks.
    fn take_some(&mut self, table: &mut TaskTable, more: bool) -> Option<Result<Vec<Part>>> {
        let is_over = self.is_over(table);
        let is_next_done = self.chunks.front().is_some_and(|chunk| chunk.done);
        let goes_on = !self.stopped && (is_next_done || more && self.has_room());
        (is_over || goes_on).then(|| self.take_done(table))
    }

    /// All results, or the error; `None` while the map is not over.
    pub(super) fn take_all(&mut self, table: &mut TaskTable) -> Option<Result<Vec<Part>>> {
        self.is_over(table).then(|| self.take_done(table))
    }

    fn take_done(&mut self, table: &mut TaskTable) -> Result<Vec<Part>> {
        if self.stopped {
            return Err(self.error(table));
        }
        let mut parts = Vec::new();
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.done) {
            parts.append(&mut table.take_parts(chunk.ticket));
            if self.client.shared.measures_usage {
                self.usage.append(&mut table.usage(chunk.ticket));
            }
            table.forget(chunk.ticket);
            self.taken = chunk.items.end;
        }
        Ok(parts)
    }

    /// The first item that failed, here or in a worker, and which ran.
    fn error(&self, table: &mut TaskTable) -> Error {
        let mut first_failed = self.failed.clone();
        let mut ran: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match ran.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ran.push(range),
        };
        add(0..self.taken);
        for chunk in &self.chunks {
            table.hear(chunk.ticket);
            let Some(Err(error)) = table.outcome(chunk.ticket) else {
                add(chunk.items.clone());
                continue;
            };
            // Not its own, but that of the whole pool, or of this map.
            let is_own = *error != Error::Cancelled && Some(error) != table.end.as_ref();
            let error = is_own.then(|| error.clone());
            let behind = chunk.items.start + table.ran(chunk.ticket);
            add(chunk.items.start..behind);
            let item = behind.saturating_sub(1).max(chunk.items.start);
            if let Some(error) = error
                && first_failed.as_ref().is_none_or(|(first, _)| item < *first)
            {
                first_failed = Some((item, error));
            }
        }
        match first_failed {
            Some((item, error)) => Error::MapFailed {
                item,
                ran,
                error: Box::new(error),
            },
            None => table.end.clone().unwrap_or(Error::Cancelled),
        }
    }
}

impl Drop for MapChunks {
    fn drop(&mut self) {
        if !self.stopped {
            self.stop();
        }
        for chunk in &self.chunks {
            self.client.forget(chunk.ticket);
        }
        self.client.close_completion_queue(self.completion_queue);
    }
}
