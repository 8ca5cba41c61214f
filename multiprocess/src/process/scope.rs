//! [`scope`]: processes that do not outlive a block.

use std::cell::RefCell;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags};

use super::{Builder, Process, state::ProcessState};
use crate::{Result, Serializable, sys::poll::poll};

/// Runs `work`, which starts processes, and ends with all of them: `std::thread::scope` for processes.
///
/// If `work` returns `Ok`, the processes that still run are waited for. If it returns `Err` or
/// panics, they are killed. So an error between the start of a process and its `join` is seen at
/// once, where a handle alone would first wait for a process that perhaps waits for this one.
///
/// # Errors
///
/// What `work` returns. Only the `join` of a handle reports how its process ended.
///
/// # Examples
///
/// ```
/// use multiprocess::{Error, Queue, process::scope};
///
/// let queue = Queue::<u32>::new()?;
/// let failed = scope(|scope| {
///     // Waits for an item for ever.
///     let reader = scope.spawn(|| queue.get().is_ok())?;
///     let item: u32 = "seven".parse().map_err(|_| Error::Empty)?;
///     queue.put(&item)?;
///     reader.join()
/// });
/// assert!(matches!(failed, Err(Error::Empty)));
/// # Ok::<(), Error>(())
/// ```
pub fn scope<'env, T, E>(
    work: impl FnOnce(&Scope<'env>) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let scope = Scope {
        members: RefCell::default(),
    };
    let outcome = work(&scope);
    if outcome.is_ok() {
        for member in scope.members.take() {
            member.wait();
        }
    }
    outcome
}

/// Where [`scope`] lets its work start processes.
pub struct Scope<'env> {
    members: RefCell<Vec<Member<'env>>>,
}

struct Member<'env> {
    process: Arc<ProcessState>,
    /// What the process was given. It is dropped here when the process has ended, and not under it.
    _function: Option<Box<dyn Anything + 'env>>,
}

trait Anything {}

impl<T> Anything for T {}

impl Member<'_> {
    /// Waits for the end of the process, and reaps it if its handle has not.
    fn wait(&self) {
        if let Ok(pidfd) = self.process.handle.pidfd() {
            let _ = poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], None);
            let _ = self.process.reap();
        }
    }
}

impl<'env> Scope<'env> {
    /// As [`Process::spawn`], for a process that does not outlive the scope. Dropping its handle does
    /// nothing.
    ///
    /// What was moved into the function is kept here until the process has ended. So a folder that its
    /// guard removes is there for as long as the process runs.
    ///
    /// # Errors
    ///
    /// [`Error::Threaded`](crate::Error::Threaded) if the program has another thread.
    /// [`Error::Os`](crate::Error::Os) if the system is out of processes, memory or descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::process::scope;
    ///
    /// let numbers = [1, 2, 3];
    /// let (sum, product) = scope(|scope| {
    ///     let sum = scope.spawn(|| numbers.iter().sum::<u32>())?;
    ///     let product = scope.spawn(|| numbers.iter().product::<u32>())?;
    ///     Ok::<_, multiprocess::Error>((sum.join()?, product.join()?))
    /// })?;
    /// assert_eq!((sum, product), (6, 6));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn<T, F>(&self, function: F) -> Result<Process<T>>
    where
        T: Serializable,
        F: FnOnce() -> T + 'env,
    {
        let (process, function) = Builder::default().fork(function)?;
        Ok(self.add(process, Some(Box::new(function))))
    }

    /// As [`Process::spawn_with`], for a process that does not outlive the scope. Dropping its handle
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Serial`](crate::Error::Serial) if the argument has no binary form.
    /// [`Error::Os`](crate::Error::Os) as for [`Process::spawn_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::process::scope;
    ///
    /// let nine = scope(|scope| scope.spawn_with(|n: u32| n * n, 3)?.join())?;
    /// assert_eq!(nine, 9);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn_with<A: Serializable, T: Serializable>(
        &self,
        function: fn(A) -> T,
        argument: A,
    ) -> Result<Process<T>> {
        let process = Process::spawn_with(function, argument)?;
        Ok(self.add(process, None))
    }

    fn add<T>(
        &self,
        mut process: Process<T>,
        function: Option<Box<dyn Anything + 'env>>,
    ) -> Process<T> {
        process.owns = false;
        self.members.borrow_mut().push(Member {
            process: Arc::clone(&process.state),
            _function: function,
        });
        process
    }
}

impl Drop for Scope<'_> {
    /// Kills what is left: all, unless the work was done.
    fn drop(&mut self) {
        let members = self.members.take();
        for member in &members {
            let _ = member.process.handle.signal(libc::SIGKILL);
        }
        members.iter().for_each(Member::wait);
    }
}
