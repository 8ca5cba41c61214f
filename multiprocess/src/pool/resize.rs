//! A pool that grows and shrinks.

use super::{Pool, memory};
use crate::{Error, Result};

impl Pool {
    /// Has the pool have so many workers from now on. Python's pools keep their number;
    /// `ThreadPoolExecutor` grows by itself.
    ///
    /// If there are to be more, they are started. If there are to be fewer, those with the highest
    /// [indexes](super::worker_index) leave: idle ones at once, the others after the task that they have in
    /// hand, or the chunk of a map. Each runs its [finalizer](super::Builder::finalizer). No task is lost,
    /// and those that wait are left to the others. The call does not wait for any of this.
    ///
    /// A pool with a [budget of memory](super::Builder::memory_budget) gets no more workers than fit in it.
    ///
    /// # Errors
    ///
    /// [`Error::WorkerCount`] for no worker, or for more than 1024. Under a
    /// small `ulimit -v` or `ulimit -f` the most may be fewer, but never fewer than the pool was made
    /// with; the error tells. If the pool is known to have failed, why.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = multiprocess::Pool::new(1)?;
    /// let first = pool.apply_async(|n: u64| n * n, 9)?;
    /// pool.resize(4)?;
    /// assert_eq!(pool.workers(), 4);
    /// assert_eq!(pool.map(|n: u64| n + 1, 0..100)?.len(), 100);
    /// pool.resize(2)?;
    /// assert_eq!(first.get()?, 81);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn resize(&self, workers: usize) -> Result<()> {
        let client = &self.client;
        client.require_ours()?;
        let (shared, control) = (&client.shared, &client.shared.control);
        let max = control.workers_max();
        if !(1..=max).contains(&workers) {
            return Err(Error::WorkerCount { workers, max });
        }
        let (budget, task) = (shared.memory_budget, shared.max_memory_per_task);
        let (workers, _) = memory::fit(workers, budget, task)?;
        if let Some(end) = &client.table().end {
            return Err(end.clone());
        }
        control.resize(workers);
        // After the store: the supervisor then starts who is missing, and all who sleep without a task
        // look whether they are one too many. Among them is whoever is left to take a task for which
        // one was woken that leaves.
        client.wake_supervisor();
        shared.tasks.wake_readers();
        Ok(())
    }
}
