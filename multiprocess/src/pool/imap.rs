//! [`Imap`]: results as they come, and arguments as they are needed.

use std::{
    collections::VecDeque,
    iter::Fuse,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Pool,
    chunk::{ChunkWriter, Mode},
    client::PoolClient,
    open_tasks::Submission,
    table::TaskTable,
    task::{self, many, one},
    wakers::Awaited,
};
use crate::{
    Error, Result, Serializable, codec::Buffer, fd_passing, queue::lending::BlockWriter,
    sys::call::Function,
};

/// How many tasks a worker gets in advance: enough to be never idle.
const AHEAD: usize = 4;

impl Pool {
    /// Runs a function on items, one by one, and gives the results in their order as they come:
    /// `imap(f, items)`.
    ///
    /// The iterator may be endless. Only as many items are taken ahead as the workers need, four
    /// for each, and none before the first result is asked for. Python takes all items at once.
    ///
    /// # Errors
    ///
    /// Each item of the iterator is a result of its own, with the errors of
    /// [`apply`](Self::apply).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..);
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// assert_eq!(squares.next().unwrap()?, 4);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn imap<I, R: Serializable>(
        &self,
        function: fn(I::Item) -> R,
        items: I,
    ) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serializable>,
    {
        Imap::new(self, Form::one(function), items, true)
    }

    /// As [`imap`](Self::imap), with so many items in a chunk: `imap(f, items, chunksize)`. 0 counts
    /// as 1. For many small tasks that is much faster.
    ///
    /// Each item still has an outcome of its own: if one panics or its worker dies, the rest of its
    /// chunk is done. The items of a chunk come when all of it is done.
    ///
    /// # Errors
    ///
    /// As for [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let half = |n: u32| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") };
    /// let halves: Vec<_> = pool.imap_chunked(half, [2, 3, 4], 100).collect();
    /// assert_eq!((&halves[0], &halves[2]), (&Ok(1), &Ok(2)));
    /// assert!(matches!(halves[1], Err(Error::Panicked { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn imap_chunked<I, R: Serializable>(
        &self,
        function: fn(I::Item) -> R,
        items: I,
        chunk_size: usize,
    ) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serializable>,
    {
        Imap::new(self, Form::chunks(function, chunk_size), items, true)
    }

    /// As [`imap_chunked`](Self::imap_chunked), with the chunks in the order in which they are done:
    /// `imap_unordered(f, items, chunksize)`.
    ///
    /// # Errors
    ///
    /// As for [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let squares = pool.imap_unordered_chunked(|n: u64| n * n, 0..1000, 100);
    /// assert_eq!(squares.map(Result::unwrap).sum::<u64>(), 332_833_500);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn imap_unordered_chunked<I, R: Serializable>(
        &self,
        function: fn(I::Item) -> R,
        items: I,
        chunk_size: usize,
    ) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serializable>,
    {
        Imap::new(self, Form::chunks(function, chunk_size), items, false)
    }

    /// As [`imap`](Self::imap), with the results in the order in which they are done:
    /// `imap_unordered(f, items)`.
    ///
    /// # Errors
    ///
    /// As for [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let sum: u64 = pool.imap_unordered(|n: u64| n * n, 1..=3).map(Result::unwrap).sum();
    /// assert_eq!(sum, 14);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn imap_unordered<I, R: Serializable>(
        &self,
        function: fn(I::Item) -> R,
        items: I,
    ) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator<Item: Serializable>,
    {
        Imap::new(self, Form::one(function), items, false)
    }
}

/// The results of a function over an iterator: made by [`Pool::imap`](super::Pool::imap) and
/// [`Pool::imap_unordered`](super::Pool::imap_unordered).
///
/// It takes arguments from the iterator only as far ahead as the workers need. Each item is a
/// result of its own: one task that fails does not end the others.
///
/// # Examples
///
/// ```
/// let pool = multiprocess::Pool::new(2)?;
/// let (halves, odd): (Vec<_>, Vec<_>) = pool
///     .imap(|n: u32| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") }, 0..4)
///     .partition(Result::is_ok);
/// assert_eq!((halves.len(), odd.len()), (2, 2));
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[must_use = "nothing is run until the iterator is asked"]
pub struct Imap<I, R> {
    client: Arc<PoolClient>,
    /// A chunk that has room asks once more at the end.
    arguments: Fuse<I>,
    form: Form,
    /// The tasks under way, in the order of their arguments.
    tasks: VecDeque<Submitted>,
    /// The completion queue where finished tasks stand, if the order does not matter.
    completion_queue: Option<NonZeroU64>,
    /// Of the last task: the results that were not asked for yet. An error is long, and boxed, so that
    /// they lie close together.
    results: VecDeque<Result<R, Box<Error>>>,
    /// Why an argument could not be handed in; reported when its turn comes.
    refused: Option<Error>,
}

#[cfg(feature = "stream")]
mod stream;

#[cfg(feature = "stream")]
pub use stream::ImapStream;

/// What a task of an [`Imap`] holds.
enum Form {
    /// One argument, for the function with its entry.
    One(Function),
    /// A chunk.
    Chunk(ChunkWriter),
}

impl Form {
    fn one<A: Serializable, R: Serializable>(function: fn(A) -> R) -> Self {
        Self::One(Function::of(function, one))
    }

    fn chunks<A: Serializable, R: Serializable>(function: fn(A) -> R, size: usize) -> Self {
        let function = Function::of(function, many);
        Self::Chunk(ChunkWriter::new(function, size.max(1), Mode::Each))
    }
}

struct Submitted {
    ticket: u64,
    items: u64,
}

impl<I: Iterator, R> Imap<I, R> {
    fn new(pool: &Pool, form: Form, items: impl IntoIterator<IntoIter = I>, ordered: bool) -> Self {
        Self {
            client: Arc::clone(&pool.client),
            arguments: items.into_iter().fuse(),
            form,
            tasks: VecDeque::new(),
            completion_queue: (!ordered).then(|| pool.client.open_completion_queue()),
            results: VecDeque::new(),
            refused: None,
        }
    }

    /// What is to be waited for next; `None` if no task is under way.
    fn awaited(&self) -> Option<Awaited> {
        let first = Awaited::Task(self.tasks.front()?.ticket);
        Some(self.completion_queue.map_or(first, Awaited::Completion))
    }
}

/// The ticket of a task that is done, of those awaited; `Some(None)` when the pool has ended.
fn finished(awaited: Awaited, table: &mut TaskTable) -> Option<Option<u64>> {
    match awaited {
        Awaited::Task(ticket) => table.outcome(ticket).map(|_| Some(ticket)),
        Awaited::Completion(queue) => table.next_completed(queue),
    }
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serializable>,
{
    /// Hands in tasks, as many as the workers need.
    fn hand_in(&mut self) {
        let ahead = AHEAD * self.client.shared.control.workers_wanted();
        let mut buffer = Buffer::to_write();
        let bytes = buffer.bytes();
        while self.tasks.len() < ahead && self.refused.is_none() {
            let client = Arc::clone(&self.client);
            let mut block = client.argument_block();
            let written = fd_passing::collect_unique(|| self.write(bytes, &mut block));
            let ((items, refused), fds) = written;
            self.refused = refused;
            if items == 0 {
                return;
            }
            let submission = Submission {
                items,
                mode: matches!(self.form, Form::Chunk(_)).then_some(Mode::Each),
                completion_queue: self.completion_queue,
            };
            match client.submit(bytes, block, fds, submission) {
                Ok(ticket) => self.tasks.push_back(Submitted { ticket, items }),
                Err(error) => self.refused = Some(error),
            }
        }
    }

    /// Writes a task of the next arguments, and returns how many, with the error of the one behind
    /// them, if that cannot be written.
    fn write(&mut self, bytes: &mut Vec<u8>, block: &mut BlockWriter<'_>) -> (u64, Option<Error>) {
        let function = match &mut self.form {
            Form::One(function) => function,
            Form::Chunk(writer) => {
                let (count, refused) = writer.write(&mut self.arguments, bytes, block);
                return (count as u64, refused);
            }
        };
        let Some(argument) = self.arguments.next() else {
            return (0, None);
        };
        bytes.clear();
        match task::write(*function, &argument, bytes, block) {
            Ok(()) => (1, None),
            Err(error) => (0, Some(error)),
        }
    }
}

/// Forgets a task whose results are read, also when the code of one panics.
struct ForgetsOnDrop<'c>(&'c PoolClient, u64);

impl Drop for ForgetsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

impl<I, R: Serializable> Imap<I, R> {
    /// The next result of the task with this ticket, which is done.
    fn take(&mut self, ticket: Option<u64>) -> Option<Result<R>> {
        // When the pool has ended, each of the tasks says so.
        let place = self.tasks.iter().position(|it| Some(it.ticket) == ticket);
        let task = self.tasks.remove(place.unwrap_or(0))?;
        self.read(&task);
        self.next_read()
    }

    /// The next result that was read.
    #[inline]
    fn next_read(&mut self) -> Option<Result<R>> {
        let next = self.results.pop_front()?;
        Some(next.map_err(|error| *error))
    }

    /// Reads the results of the items of a task that is done.
    fn read(&mut self, Submitted { ticket, items }: &Submitted) {
        let Imap {
            client,
            form,
            results,
            ..
        } = self;
        let forgets = ForgetsOnDrop(client, *ticket);
        let outcome = client.result(*ticket, None);
        match (form, &outcome) {
            (Form::One(_), Ok(result)) => results.push_back(result.decode().map_err(Box::new)),
            (Form::One(_), Err(_)) => {}
            (Form::Chunk(_), _) => {
                for part in client.take_parts(*ticket) {
                    part.read_each(|result| results.push_back(result.map_err(Box::new)));
                }
            }
        }
        drop(forgets);
        if let Err(error) = outcome {
            // That of all items that have no outcome of their own.
            let items = usize::try_from(*items).unwrap_or(usize::MAX);
            self.results
                .resize_with(items, || Err(Box::new(error.clone())));
        }
    }
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serializable>,
    R: Serializable,
{
    /// As `next`, for at most `timeout`: `next(timeout)`. The result that did not come in time comes
    /// later: none is lost. To limit the time of a task itself, see
    /// [`Builder::task_timeout`](super::Builder::task_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the next result is not there in time; otherwise those of the item.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let mut naps = pool.imap(thread::sleep, [Duration::from_millis(200)]);
    /// let early = naps.next_timeout(Duration::from_millis(1));
    /// assert_eq!(early, Some(Err(Error::TimedOut)));
    /// assert_eq!(naps.next(), Some(Ok(())));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R>> {
        // A deadline beyond what the clock can count is none.
        self.next_until(Instant::now().checked_add(timeout))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<R>> {
        if let Some(result) = self.next_read() {
            return Some(result);
        }
        self.hand_in();
        let Some(awaited) = self.awaited() else {
            return self.refused.take().map(Err);
        };
        let ticket = |table: &mut TaskTable| finished(awaited, table);
        match self.client.wait(deadline, ticket) {
            Ok(Some(ticket)) => self.take(ticket),
            Ok(None) => Some(Err(Error::TimedOut)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<I, R> Iterator for Imap<I, R>
where
    I: Iterator<Item: Serializable>,
    R: Serializable,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

impl<I, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        for task in self.tasks.drain(..) {
            self.client.forget(task.ticket);
        }
        if let Some(completion_queue) = self.completion_queue {
            self.client.close_completion_queue(completion_queue);
        }
    }
}
