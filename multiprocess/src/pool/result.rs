//! [`AsyncResult`]: the handle of one task.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{client::PoolClient, table::TaskTable, usage::TaskUsage, wakers::Awaited};
use crate::{Result, Serializable};

/// The result of a task, to come: Python's `AsyncResult`.
///
/// It outlives the pool's handle. Dropping it lets the task run on, and throws its result away.
///
/// # Examples
///
/// ```
/// let pool = multiprocess::Pool::new(2)?;
/// let result = pool.apply_async(|n: u64| n * n, 9)?;
/// assert_eq!(result.get()?, 81);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct AsyncResult<R> {
    client: Arc<PoolClient>,
    ticket: u64,
    value: PhantomData<fn() -> R>,
}

impl<R: Serializable> AsyncResult<R> {
    /// Waits for the task, and gives its result: `get()`. Asked again, it says the same again.
    ///
    /// # Errors
    ///
    /// [`Panicked`](crate::Error::Panicked) if the function panicked; [`Killed`](crate::Error::Killed),
    /// [`OomKilled`](crate::Error::OomKilled) or [`Exited`](crate::Error::Exited) if its worker died with
    /// it, and no retry was left; [`OutOfMemory`](crate::Error::OutOfMemory);
    /// [`TaskTimedOut`](crate::Error::TaskTimedOut); [`Cancelled`](crate::Error::Cancelled);
    /// [`Serial`](crate::Error::Serial) or [`TooLarge`](crate::Error::TooLarge) for the result. If the
    /// pool is the reason, [`PoolBroken`](crate::Error::PoolBroken) or
    /// [`InitializerFailed`](crate::Error::InitializerFailed).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let result = pool.apply_async(|code: i32| std::process::exit(code), 3)?;
    /// assert!(matches!(result.get(), Err::<(), _>(Error::Exited { code: 3, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get(&self) -> Result<R> {
        self.client.result(self.ticket, None)?.decode()
    }

    /// As [`get`](Self::get), for at most `timeout`: `get(timeout)`. The task goes on after it; to
    /// limit its time, see [`Builder::task_timeout`](super::Builder::task_timeout).
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::Error::TimedOut) if the task is not done; otherwise those of [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(thread::sleep, Duration::from_secs(600))?;
    /// let early = result.get_timeout(Duration::from_millis(10));
    /// assert!(matches!(early, Err(Error::TimedOut)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<R> {
        // A deadline beyond what the clock can count is none.
        let deadline = Instant::now().checked_add(timeout);
        self.client.result(self.ticket, deadline)?.decode()
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn new(client: Arc<PoolClient>, ticket: u64) -> Self {
        Self {
            client,
            ticket,
            value: PhantomData,
        }
    }

    /// Whether there is a result or an error: `ready()`. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// let result = pool.apply_async(|n: i32| -n, 1)?;
    /// result.get()?;
    /// assert!(result.ready());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.client.is_ready(self.ticket)
    }

    /// What the task took: time, processors and memory. `None` if the pool does not
    /// [measure](super::Builder::measure_usage) that, and while the task has not ended; a task that was
    /// cancelled has none. Of a task that is tried again it is that of the last try. Does not wait.
    ///
    /// A task that was killed tells it too, as far as it is known: a worker that is killed within its
    /// first moments with a task is counted from its last task on.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let limit = Duration::from_millis(50);
    /// let pool = Pool::builder().workers(1).task_timeout(limit).measure_usage().build()?;
    /// let late = pool.apply_async(thread::sleep, Duration::from_secs(600))?;
    /// assert!(matches!(late.get(), Err(Error::TaskTimedOut { .. })));
    /// assert!(late.usage().unwrap().elapsed >= limit);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn usage(&self) -> Option<TaskUsage> {
        let look = |table: &mut TaskTable| {
            let has_ended = table.outcome(self.ticket).is_some();
            has_ended.then(|| table.usage(self.ticket))
        };
        let usage = self.client.wait(Some(Instant::now()), look);
        usage.ok().flatten()?.pop()?
    }

    /// Gives the task up: one that waits is not begun, and one that runs is killed with its
    /// process group. False if there was a result or an error already. Does not wait.
    ///
    /// Python's pools cannot; its `Future.cancel` is for tasks that wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let result = pool.apply_async(thread::sleep, Duration::from_secs(600))?;
    /// assert!(result.cancel());
    /// assert!(matches!(result.get(), Err(Error::Cancelled)));
    /// assert_eq!(pool.apply(|n: i32| n + 1, 1)?, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.client.cancel(self.ticket)
    }
}

/// The result as a future, for any async runtime: what [`get`](AsyncResult::get) gives, with its
/// errors.
///
/// A future in place of a wait loses nothing: dropping it, as a `select!` does with a borrowed one,
/// leaves the task as it is, and awaited again it says the same again. Dropping the handle itself
/// throws the result away. While results are awaited, one thread for each pool receives them.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let pool = multiprocess::Pool::new(2)?;
/// let square = pool.apply_async(|n: u64| n * n, 9)?;
/// assert_eq!(square.await?, 81);
/// # Ok::<(), multiprocess::Error>(())
/// # }).unwrap();
/// ```
impl<R: Serializable> Future for AsyncResult<R> {
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        let ticket = self.ticket;
        let look = |table: &mut TaskTable| table.result(ticket);
        let result = self
            .client
            .poll(Awaited::Task(ticket), context.waker(), look);
        result.map(|result| result?.decode())
    }
}

impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        self.client.forget(self.ticket);
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("task", &self.ticket)
            .field("ready", &self.ready())
            .finish()
    }
}
