//! Functions that run in the processes of a pool.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use multiprocess::{Error as PoolError, Pool, Serializable};

use super::functions::CallResult;
use super::{TaskContext, Worker};
use crate::{Error, Result};

/// How often a thread that waits for a process looks whether its task is cancelled.
const LOOK: Duration = Duration::from_millis(50);

impl Worker {
    /// As [`task`](Worker::task), for a function that is run in a process of a pool; with the feature
    /// `processes`. A segfault, an abort or a kill costs the try of the task and neither the worker
    /// nor another task. The submitter is told the signal.
    ///
    /// A task that is cancelled, or whose time limit is over, is killed with its process, and the pool
    /// starts another. So a function need not look, as it must in a thread.
    ///
    /// The function is a `fn` item or a closure that captures nothing, and what it needs beside its
    /// argument, an initializer of the pool gives it. Argument, result and error cross to another
    /// process by serde; a `String` is the simplest error. The worker has at least as many tasks at a
    /// time as the pool has workers. The retries of the pool itself stay 0, since they would not be
    /// counted as tries.
    ///
    /// When the pool itself is broken or closed, [`serve`](Worker::serve) ends with an
    /// [`Error::Io`], and the task at hand goes to another worker.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{process, sync::Arc, time::Duration};
    ///
    /// use distributed::{Client, Server, TaskOptions, Worker};
    /// use multiprocess::Pool;
    ///
    /// fn half(n: u32) -> Result<u32, String> {
    ///     if n % 2 == 0 { Ok(n / 2) } else { process::abort() }
    /// }
    ///
    /// # let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// # let client = Client::connect(server.address(), b"abc")?;
    /// let once = TaskOptions::new().retries(0);
    /// let halves = client.task_queue("tasks")?.submit_many::<u32>("half", &[7, 8], once)?;
    ///
    /// let pool = Arc::new(Pool::new(2)?);
    /// let worker = Worker::new().task_in_pool("half", &pool, half);
    /// worker.idle(Duration::from_millis(50)).serve(&client, "tasks")?;
    ///
    /// let error = halves[0].result(None).expect_err("7 is odd").to_string();
    /// assert!(error.ends_with(" was killed by signal 6 (SIGABRT)"), "{error}");
    /// assert_eq!(halves[1].result(None)?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_in_pool<T, R, E>(
        mut self,
        name: impl Into<String>,
        pool: &Arc<Pool>,
        work: fn(T) -> std::result::Result<R, E>,
    ) -> Worker
    where
        T: Serializable + 'static,
        R: Serializable + 'static,
        E: Serializable + Display + 'static,
    {
        self.concurrency = self.concurrency.max(pool.workers());
        let pool = Arc::clone(pool);
        self.register(name, move |context, args| run(&pool, work, context, args))
    }
}

fn run<T, R, E>(
    pool: &Pool,
    work: fn(T) -> std::result::Result<R, E>,
    context: &TaskContext,
    args: T,
) -> Result<CallResult<R>>
where
    T: Serializable,
    R: Serializable,
    E: Serializable + Display,
{
    let outcome = pool.apply_async(work, args).and_then(|running| {
        loop {
            match running.get_timeout(LOOK) {
                // Its process is killed; the next look says so.
                Err(PoolError::TimedOut) if context.is_cancelled() => _ = running.cancel(),
                Err(PoolError::TimedOut) => {}
                outcome => return outcome,
            }
        }
    });
    match outcome {
        Ok(result) => Ok(result.map_err(|error| error.to_string())),
        Err(
            error @ (PoolError::PoolBroken
            | PoolError::InitializerFailed { .. }
            | PoolError::Closed),
        ) => Err(Error::Io {
            attempt: "run a task in the pool".to_string(),
            source: io::Error::other(error),
        }),
        Err(error) => Ok(Err(error.to_string())),
    }
}
