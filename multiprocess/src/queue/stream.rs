//! The items of a queue as a stream, for any async runtime.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{
    Queue,
    futures::take,
    wakers::{QueueChange, Waiting},
};
use crate::{Error, Result, Serializable};

impl<T: Serializable> Queue<T> {
    /// The items as they come, until the queue is closed and empty: [`iter`](Queue::iter) as a
    /// stream, with the feature `stream`.
    ///
    /// An item is taken in the poll that returns it: who drops the wait for one, or the stream, loses
    /// none. Each stream shares the items with all other readers. How it waits,
    /// [`get_async`](Queue::get_async) says.
    ///
    /// # Errors
    /// Each item of the stream is a result of its own, with the errors of
    /// [`get_async`](Queue::get_async). [`Closed`](crate::Error::Closed) ends the stream.
    ///
    /// # Examples
    /// ```
    /// use futures_util::TryStreamExt;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let queue = multiprocess::Queue::new()?;
    /// for n in 1..=3 {
    ///     queue.put(&n)?;
    /// }
    /// queue.close();
    /// let items: Vec<u32> = queue.stream().try_collect().await?;
    /// assert_eq!(items, [1, 2, 3]);
    /// # Ok::<(), multiprocess::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn stream(&self) -> QueueStream<T> {
        QueueStream {
            waiting: Waiting::new(&self.raw, QueueChange::Item),
            items: PhantomData,
        }
    }
}

/// The items of a queue as a stream: made by [`Queue::stream`].
///
/// # Examples
/// ```
/// use futures_util::StreamExt;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let queue = multiprocess::Queue::new()?;
/// queue.put(&7)?;
/// assert_eq!(queue.stream().next().await, Some(Ok(7)));
/// # Ok::<(), multiprocess::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "a stream takes nothing until it is polled"]
pub struct QueueStream<T> {
    waiting: Waiting,
    items: PhantomData<fn() -> T>,
}

impl<T: Serializable> Stream for QueueStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.waiting.poll(context, take).map(|item| match item {
            Err(Error::Closed) => None,
            item => Some(item),
        })
    }
}

impl<T> fmt::Debug for QueueStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStream").finish_non_exhaustive()
    }
}
