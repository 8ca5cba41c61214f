//! [`MapResult`]: the handle of a map that nobody has to wait for.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    chunk::Part,
    client::PoolClient,
    map::{MapChunks, read},
    table::TaskTable,
    usage::TaskUsage,
    wakers::Awaited,
};
use crate::{Error, Result, Serializable};

/// The results of a map, to come: Python's `MapResult`, which
/// [`map_async`](crate::Pool::map_async) gives.
///
/// It outlives the pool's handle. Dropping it lets the items run on, and throws their results away;
/// [`Pool::join`](crate::Pool::join) then tells of those that failed.
///
/// When an item fails, those that have not begun are not begun, as in [`map`](crate::Pool::map). The
/// pool has no thread of its own: the failure is noticed when somebody waits for this map, awaits it
/// or asks whether it is [`ready`](Self::ready).
///
/// # Examples
///
/// ```
/// let pool = multiprocess::Pool::new(2)?;
/// let squares = pool.map_async(|n: u64| n * n, 1..=3)?;
/// assert_eq!(squares.get()?, [1, 4, 9]);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct MapResult<R> {
    client: Arc<PoolClient>,
    /// Locked with the table held, and never the other way round.
    state: Mutex<State>,
    results: PhantomData<fn() -> R>,
}

struct State {
    chunks: MapChunks,
    /// The results as bytes, once they are there.
    outcome: Option<Result<Arc<Vec<Part>>>>,
}

impl State {
    /// The results as bytes, or the error; `None` while some chunk is not done.
    fn outcome(&mut self, table: &mut TaskTable) -> Option<Result<Arc<Vec<Part>>>> {
        if self.outcome.is_none() {
            let taken = self.chunks.take_all(table)?;
            self.outcome = Some(taken.map(Arc::new));
        }
        self.outcome.clone()
    }
}

impl<R: Serializable> MapResult<R> {
    /// Waits for all items, and gives their results in their order: `get()`. Asked again, it says the
    /// same again.
    ///
    /// # Errors
    ///
    /// Those of [`map`](crate::Pool::map), and [`Error::Cancelled`] after [`cancel`](Self::cancel) or
    /// if the pool was terminated.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let halves = pool.map_async(|n: u64| if n % 2 == 0 { n / 2 } else { panic!("odd") }, [2, 5])?;
    /// assert!(matches!(halves.get(), Err(Error::MapFailed { item: 1, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get(&self) -> Result<Vec<R>> {
        self.get_until(None)
    }

    /// As [`get`](Self::get), for at most `timeout`: `get(timeout)`. The items go on after it.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the items are not done; otherwise those of [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let naps = pool.map_async(thread::sleep, [Duration::from_secs(600)])?;
    /// assert_eq!(naps.get_timeout(Duration::from_millis(10)), Err(Error::TimedOut));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<R>> {
        // A deadline beyond what the clock can count is none.
        self.get_until(Instant::now().checked_add(timeout))
    }

    fn get_until(&self, deadline: Option<Instant>) -> Result<Vec<R>> {
        let look = |table: &mut TaskTable| self.state().outcome(table);
        let parts = self.client.wait(deadline, look)?.ok_or(Error::TimedOut)??;
        self.read(&parts)
    }

    fn read(&self, parts: &[Part]) -> Result<Vec<R>> {
        let submitted = self.state().chunks.submitted;
        let all = 0..submitted;
        let mut results = Vec::with_capacity(usize::try_from(submitted).unwrap_or(0));
        let read = parts.iter().try_for_each(|part| read(part, &mut results));
        match read {
            Ok(()) => Ok(results),
            Err(error) => Err(Error::MapFailed {
                item: results.len() as u64,
                ran: vec![all],
                error: Box::new(error),
            }),
        }
    }
}

impl<R> MapResult<R> {
    pub(super) fn new(client: Arc<PoolClient>, chunks: MapChunks) -> Self {
        Self {
            client,
            state: Mutex::new(State {
                chunks,
                outcome: None,
            }),
            results: PhantomData,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all items are done or the map has failed, and leaves the results for
    /// [`get`](Self::get): `wait()`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] in a process that was forked from the one that has the pool. How the map went,
    /// [`get`](Self::get) says.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..10)?;
    /// squares.wait()?;
    /// assert!(squares.ready());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait(&self) -> Result<()> {
        self.wait_until(None)
    }

    /// As [`wait`](Self::wait), for at most `timeout`: `wait(timeout)`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the map is not over; otherwise those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = multiprocess::Pool::new(2)?;
    /// let squares = pool.map_async(|n: u64| n * n, 0..10)?;
    /// squares.wait_timeout(Duration::from_secs(60))?;
    /// assert_eq!(squares.get()?.len(), 10);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<()> {
        let is_over = |table: &mut TaskTable| self.state().chunks.is_over(table).then_some(());
        self.client.wait(deadline, is_over)?.ok_or(Error::TimedOut)
    }

    /// Whether all items are done or the map has failed: `ready()`. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// let negated = pool.map_async(|n: i32| -n, [1, 2])?;
    /// negated.get()?;
    /// assert!(negated.ready());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.wait_until(Some(Instant::now())).is_ok()
    }

    /// What each item took, in their order: time, processors and memory. `None` stands for an item of
    /// which it is not known: one that has not ended, or that was done in the chunk of a later one that
    /// was killed. Empty in a pool that does not [measure](super::Builder::measure_usage). Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Pool;
    ///
    /// let pool = Pool::builder().workers(2).measure_usage().build()?;
    /// let lengths = pool.map_async(|len: usize| vec![1_u8; len].len(), [1, 64 << 20])?;
    /// assert_eq!(lengths.get()?, [1, 64 << 20]);
    /// let peaks = lengths.usage().into_iter().map(|it| it.unwrap().peak_memory);
    /// let peaks: Vec<_> = peaks.map(Option::unwrap_or_default).collect();
    /// assert!(peaks[0] <= peaks[1]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn usage(&self) -> Vec<Option<TaskUsage>> {
        if !self.client.shared.measures_usage {
            return Vec::new();
        }
        let look = |table: &mut TaskTable| Some(self.state().chunks.usage(table));
        let usage = self.client.wait(Some(Instant::now()), look);
        usage.ok().flatten().unwrap_or_default()
    }

    /// Gives the map up: items that wait are not begun, and a worker that has one in progress is
    /// killed with its process group. False if the map was over already. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Pool};
    /// use std::{thread, time::Duration};
    ///
    /// let pool = Pool::new(1)?;
    /// let naps = pool.map_async(thread::sleep, [Duration::from_secs(600); 8])?;
    /// assert!(naps.cancel());
    /// assert_eq!(naps.get(), Err(Error::Cancelled));
    /// assert_eq!(pool.apply(|n: i32| n + 1, 1)?, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        if self.ready() {
            return false;
        }
        // The last one first, so that no worker gets to one that is still to be cancelled.
        let open = self.state().chunks.open_tickets();
        let cancelled = open.into_iter().map(|ticket| self.client.cancel(ticket));
        cancelled.filter(|&cancelled| cancelled).count() > 0
    }
}

/// The results as a future, for any async runtime: what [`get`](MapResult::get) gives, with its
/// errors. Dropping a borrowed one loses nothing, and awaited again it says the same again. As for an
/// [`AsyncResult`](crate::AsyncResult), one thread for each pool receives meanwhile.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let pool = multiprocess::Pool::new(2)?;
/// assert_eq!(pool.map_async(|n: u64| n * n, 1..=3)?.await?, [1, 4, 9]);
/// # Ok::<(), multiprocess::Error>(())
/// # }).unwrap();
/// ```
impl<R: Serializable> Future for MapResult<R> {
    type Output = Result<Vec<R>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Vec<R>>> {
        let awaited = Awaited::Completion(self.state().chunks.completion_queue);
        let look = |table: &mut TaskTable| self.state().outcome(table);
        let parts = self.client.poll(awaited, context.waker(), look);
        parts.map(|parts| self.read(&parts?))
    }
}

impl<R> Drop for MapResult<R> {
    fn drop(&mut self) {
        self.state().chunks.let_run_on();
    }
}

impl<R> fmt::Debug for MapResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = self.state().chunks.submitted;
        f.debug_struct("MapResult")
            .field("items", &items)
            .field("ready", &self.ready())
            .finish()
    }
}
