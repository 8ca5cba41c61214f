//! The results of an [`Imap`] as a stream, for any async runtime.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{Imap, finished};
use crate::{Result, Serializable, pool::table::TaskTable};

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serializable>,
    R: Serializable,
{
    /// The results as a stream, with the feature `stream`.
    ///
    /// A result is taken in the poll that returns it: who drops the wait for one loses none. The
    /// iterator of arguments is asked in polls, and a poll waits for room if the pool's queue of tasks
    /// is full. As for an [`AsyncResult`](crate::AsyncResult), one thread for each pool receives while
    /// results are awaited.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let pool = multiprocess::Pool::new(2)?;
    /// let mut squares = pool.imap(|n: u64| n * n, 1..).stream();
    /// assert_eq!(squares.next().await, Some(Ok(1)));
    /// assert_eq!(squares.next().await, Some(Ok(4)));
    /// # Ok::<(), multiprocess::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn stream(self) -> ImapStream<I, R> {
        ImapStream(self)
    }
}

/// The results of a function over an iterator, as a stream: made by [`Imap::stream`].
///
/// # Examples
///
/// ```
/// use futures_util::TryStreamExt;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let pool = multiprocess::Pool::new(2)?;
/// let squares = pool.imap_unordered_chunked(|n: u64| n * n, 0..1000, 100);
/// let sum = squares.stream().try_fold(0, async |sum, square| Ok(sum + square));
/// assert_eq!(sum.await?, 332_833_500);
/// # Ok::<(), multiprocess::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "nothing is run until the stream is polled"]
pub struct ImapStream<I, R>(Imap<I, R>);

impl<I, R> Stream for ImapStream<I, R>
where
    I: Iterator<Item: Serializable>,
    R: Serializable,
{
    type Item = Result<R>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        let Self(imap) = self.get_mut();
        if let Some(result) = imap.next_read() {
            return Poll::Ready(Some(result));
        }
        imap.hand_in();
        let Some(awaited) = imap.awaited() else {
            return Poll::Ready(imap.refused.take().map(Err));
        };
        let ticket = |table: &mut TaskTable| finished(awaited, table).map(Ok);
        let ticket = imap.client.poll(awaited, context.waker(), ticket);
        ticket.map(|ticket| match ticket {
            Ok(ticket) => imap.take(ticket),
            Err(error) => Some(Err(error)),
        })
    }
}

/// No field is ever pinned.
impl<I, R> Unpin for ImapStream<I, R> {}

impl<I, R> fmt::Debug for ImapStream<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapStream").finish_non_exhaustive()
    }
}
