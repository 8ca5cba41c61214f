//! Puts and gets as futures, for any async runtime.

use std::future::{self, Future};

use super::Queue;
use super::raw::{RawQueue, Wait};
use super::wakers::{QueueChange, Waiting};
use crate::codec;
use crate::{Error, Result, Serializable};

impl<T: Serializable> Queue<T> {
    /// Takes the first item, and waits for one if there is none: [`get`](Queue::get) as a future.
    ///
    /// It takes an item in the same poll that returns it. So a future that is dropped, by a `select!`
    /// or a limit of time, loses none. Those that wait are served in the order in which they came,
    /// as far as their runtimes poll them.
    ///
    /// It needs no runtime of its own and runs on every one. While futures wait, one thread for each
    /// queue sleeps in their place, so [`Process::spawn`](crate::Process::spawn), which wants a
    /// program with one thread, is not to be had meanwhile. A poll blocks for a second at most, if a
    /// process was stopped in the middle of a call.
    ///
    /// # Errors
    /// Those of [`get`](Queue::get), and [`Os`](crate::Error::Os) if that thread cannot be started.
    ///
    /// # Examples
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put_async(&42).await?;
    /// assert_eq!(queue.get_async().await?, 42);
    /// # Ok::<(), multiprocess::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn get_async(&self) -> impl Future<Output = Result<T>> + Send + Unpin + use<T> {
        let mut waiting = Waiting::new(&self.raw, QueueChange::Item);
        future::poll_fn(move |context| waiting.poll(context, take))
    }

    /// Puts an item at the end, and waits for room if the queue is full: [`put`](Queue::put) as a
    /// future.
    ///
    /// The item is serialised at once and put in the last poll: a future that is dropped before has
    /// put nothing. As for [`get_async`](Queue::get_async), it runs on every runtime.
    ///
    /// # Errors
    /// Those of [`put`](Queue::put), and [`Os`](crate::Error::Os) if the thread that futures wait by
    /// cannot be started.
    ///
    /// # Examples
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let queue = multiprocess::Queue::bounded(1)?;
    /// let (put, got) = tokio::join!(
    ///     async {
    ///         queue.put_async(&1).await?;
    ///         queue.put_async(&2).await
    ///     },
    ///     async { Ok::<_, multiprocess::Error>((queue.get_async().await?, queue.get_async().await?)) },
    /// );
    /// put?;
    /// assert_eq!(got?, (1, 2));
    /// # Ok::<(), multiprocess::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn put_async(&self, item: &T) -> impl Future<Output = Result<()>> + Send + Unpin + use<T> {
        let mut waiting = Waiting::new(&self.raw, QueueChange::Room);
        let mut bytes = Vec::new();
        let mut written = codec::append(item, &mut bytes);
        future::poll_fn(move |context| {
            waiting.poll(context, |raw| {
                if let Err(error) = std::mem::replace(&mut written, Ok(())) {
                    return Some(Err(error));
                }
                match raw.put(&bytes, Wait::No) {
                    Ok(_ordinal) => Some(Ok(())),
                    Err(Error::Full) => None,
                    Err(error) => Some(Err(error)),
                }
            })
        })
    }
}

/// An item, if there is one.
pub(super) fn take<T: Serializable>(raw: &RawQueue) -> Option<Result<T>> {
    match raw.get_value(Wait::No) {
        Err(Error::Empty) => None,
        result => Some(result),
    }
}
