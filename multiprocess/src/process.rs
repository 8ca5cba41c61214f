//! [`Process`]: a function in a child process of its own, and its value, panic or death.

use std::{
    fmt,
    io::{self, Read},
    marker::PhantomData,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    Error, Result, Serializable, child,
    handle::Handle,
    sys::{fork_private::ForkPrivate, poll::poll},
};

mod builder;
mod scope;

pub use builder::Builder;
pub use scope::{Scope, scope};

/// How long to wait for the end of a process alone, and not for its report as well. Most reports fit
/// into the socket and are followed by the end at once: then one wake does in place of two.
const END_FIRST: Duration = Duration::from_millis(1);

/// A handle to a child process that runs one function, Python's `multiprocessing.Process`.
///
/// The process starts at [`spawn`](Self::spawn); there is no separate `start`. What the function
/// returns comes back through [`join`](Self::join), and so does its panic, or how the process died.
///
/// # Dropping the handle
///
/// A handle that goes out of scope does for its process what Python does for all of them when the
/// program ends: a daemon is killed, any other process is waited for. So no process is forgotten
/// and none stays in the process table as a zombie. Two cases differ: a thread that drops the
/// handle because it panics does not wait, since the child could be waiting for that very thread;
/// and `std::process::exit` drops nothing, so a process that is not a daemon then lives on.
///
/// A `?` between the start of a process and its [`join`](Self::join) drops the handle, and so waits
/// before the error is seen. Start the process in a [`scope`], which kills it then.
///
/// # Examples
///
/// ```
/// use multiprocess::Process;
///
/// let numbers = vec![1, 2, 3];
/// let process = Process::spawn(|| numbers.iter().sum::<i32>())?;
/// assert_eq!(process.join()?, 6);
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[must_use = "dropping the handle waits for the process, or kills it if it is a daemon"]
pub struct Process<T> {
    name: String,
    daemon: bool,
    /// Whether it is for a [`Scope`] to wait for it.
    scoped: bool,
    child: Arc<Handle>,
    /// What the child reports, until its end has been read.
    stream: Option<ForkPrivate<UnixStream>>,
    /// What has been read of it.
    report: Vec<u8>,
    /// Known once the process has been reaped.
    exitcode: Option<i32>,
    value: PhantomData<fn() -> T>,
}

impl Process<()> {
    /// Starts a process with a name, or as a daemon: Python's `Process(name=…, daemon=…)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Process;
    ///
    /// let writer = Process::builder().name("writer").daemon(true).spawn(|| 7)?;
    /// assert_eq!(writer.name(), "writer");
    /// assert_eq!(writer.join()?, 7);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<T: Serializable> Process<T> {
    /// Runs `function` in a child process: Python's `Process(target=function)` and `start()`.
    ///
    /// The child is a copy of this process (see fork(2)), so the function may use whatever is in
    /// reach, borrowed or moved. It works on its own copy: of what it changes, nothing is seen
    /// here, but for the value that it returns. What was moved into the function is dropped in
    /// both processes, here when `spawn` returns.
    ///
    /// The child starts with the default signal handlers and no signal blocked. Its standard
    /// output is flushed when the function has returned or panicked; when it is killed or exits
    /// by `std::process::exit`, a line that was not finished may be lost. No destructor and no
    /// `atexit` handler of this program runs when the function is done.
    ///
    /// Three things are copied that one may not expect. A random generator in the function's reach
    /// gives each child the same numbers; with the feature `rand`, `rand::rng()` does not. Lines that
    /// std has read ahead from the standard input are read by both. And a guard that was moved into
    /// the function, for example of a folder, is dropped here when `spawn` returns: [`Scope::spawn`]
    /// keeps it until the process has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Threaded`] if the program has another thread: that could hold a lock, of the
    /// allocator for example, that nobody in the child would ever open. Use
    /// [`spawn_with`](Self::spawn_with) there. [`Error::Os`] if the system is out of processes,
    /// memory or descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Process;
    ///
    /// let here = std::process::id();
    /// let there = Process::spawn(std::process::id)?.join()?;
    /// assert_ne!(here, there);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn<F: FnOnce() -> T>(function: F) -> Result<Self> {
        Process::builder().spawn(function)
    }

    /// Runs `function` on `argument` in a child process: Python's `Process(target=function,
    /// args=(argument,))` and `start()`. It works in any thread of any program, in tests and in
    /// async runtimes too.
    ///
    /// The function is a `fn` item or a closure that captures nothing, which is checked when the
    /// program is compiled. The argument is serialised; it may be or hold queues and connections.
    /// The child is a fresh image of this program, and not a copy as with [`spawn`](Self::spawn):
    /// what `main` has done, it has not. [`init`](crate::init) says what the child has of the program.
    ///
    /// # Errors
    ///
    /// [`Error::Serial`] if the argument has no binary form. [`Error::Os`] if the system is out of
    /// processes, memory or descriptors, or if the program cannot be executed again, for which
    /// [`init`](crate::init) gives the reasons.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Process, Queue};
    ///
    /// let queue = Queue::new()?;
    /// let tell = |(queue, name): (Queue<String>, String)| queue.put(&name).is_ok();
    /// let process = Process::spawn_with(tell, (queue.clone(), "Bob".to_string()))?;
    /// assert_eq!(queue.get()?, "Bob");
    /// assert!(process.join()?);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn_with<A: Serializable>(function: fn(A) -> T, argument: A) -> Result<Self> {
        Process::builder().spawn_with(function, argument)
    }

    /// Waits until the process has ended and returns what its function returned: Python's
    /// `join()`, and what Python needs a queue for.
    ///
    /// A value of any size comes back. The call waits for the process alone, and not for children
    /// of the process that live on.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] if the function panicked, [`Error::Killed`] if a signal ended the
    /// process, [`Error::Exited`] if it exited before the function had returned, whatever the
    /// code. [`Error::Serial`] if the value has no binary form. [`Error::Os`] if this is not the
    /// process that spawned it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Process};
    ///
    /// let process = Process::spawn(|| -> u32 { std::process::exit(3) })?;
    /// assert!(matches!(process.join(), Err(Error::Exited { code: 3 })));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn join(mut self) -> Result<T> {
        self.wait(None)?;
        self.outcome()
    }

    /// As [`join`](Self::join), for at most `timeout`: Python's `join(timeout)`.
    ///
    /// The process goes on after a timeout, and can be joined again. So it can after its end, with
    /// the same outcome.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the process still runs; otherwise those of [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Process};
    /// use std::{thread, time::Duration};
    ///
    /// let mut process = Process::spawn(|| thread::sleep(Duration::from_secs(600)))?;
    /// let early = process.join_timeout(Duration::from_millis(10));
    /// assert!(matches!(early, Err(Error::TimedOut)));
    /// process.kill()?;
    /// assert!(matches!(process.join(), Err(Error::Killed { signal: 9, .. })));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<T> {
        // A deadline beyond what the clock can count is none.
        match self.wait(Instant::now().checked_add(timeout))? {
            true => self.outcome(),
            false => Err(Error::TimedOut),
        }
    }

    fn outcome(&self) -> Result<T> {
        let code = self.exitcode.expect("asked after the process was reaped");
        child::outcome(code, &self.report).unwrap_or_else(|| Err(Error::of_exit(self.pid(), code)))
    }
}

impl<T> Process<T> {
    fn new(name: String, daemon: bool, child: Handle, stream: ForkPrivate<UnixStream>) -> Self {
        Self {
            name,
            daemon,
            scoped: false,
            child: Arc::new(child),
            stream: Some(stream),
            report: Vec::new(),
            exitcode: None,
            value: PhantomData,
        }
    }

    /// The process id: Python's `pid`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Process;
    ///
    /// let process = Process::spawn(std::process::id)?;
    /// let pid = process.pid();
    /// assert_eq!(process.join()?, pid);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The name: Python's `name`.
    ///
    /// # Examples
    ///
    /// ```
    /// let process = multiprocess::Process::spawn(|| ())?;
    /// assert_eq!(process.name(), "Process-1");
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process still runs: Python's `is_alive()`. Does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Process, Queue};
    ///
    /// let gate = Queue::<()>::new()?;
    /// let mut process = Process::spawn(|| gate.get().unwrap())?;
    /// assert!(process.is_alive());
    /// gate.put(&())?;
    /// process.join_timeout(std::time::Duration::from_secs(60))?;
    /// assert!(!process.is_alive());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.child.pidfd().is_ok() && self.exitcode().is_none()
    }

    /// How the process ended, or `None` while it runs: Python's `exitcode`. Does not wait.
    ///
    /// 0 if the function returned, 101 if it panicked, -9 if signal 9 ended the process, and the
    /// code of `std::process::exit`, if that was called.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Process;
    /// use std::{thread, time::Duration};
    ///
    /// let mut process = Process::spawn(|| thread::sleep(Duration::from_secs(600)))?;
    /// assert_eq!(process.exitcode(), None);
    /// process.terminate()?;
    /// let _ = process.join_timeout(Duration::from_secs(60));
    /// assert_eq!(process.exitcode(), Some(-15));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn exitcode(&self) -> Option<i32> {
        // It is left in the process table: a handle that is only looked at does not change.
        self.exitcode.or_else(|| self.child.exitcode().ok()?)
    }

    /// Asks the process to end, by SIGTERM: Python's `terminate()`. Does not wait.
    ///
    /// A process that has ended already is no error, and no other process is ever hit, though the
    /// system may have given the number away: the signal goes to a pidfd.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the process has become another user's, or this is not the process that
    /// spawned it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Process};
    /// use std::{thread, time::Duration};
    ///
    /// let process = Process::spawn(|| thread::sleep(Duration::from_secs(600)))?;
    /// process.terminate()?;
    /// assert!(matches!(process.join(), Err(Error::Killed { signal: 15, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn terminate(&self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Ends the process, by SIGKILL: Python's `kill()`. Does not wait.
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::{Error, Process};
    /// use std::{thread, time::Duration};
    ///
    /// let process = Process::spawn(|| thread::sleep(Duration::from_secs(600)))?;
    /// process.kill()?;
    /// assert!(matches!(process.join(), Err(Error::Killed { signal: 9, .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        if self.exitcode.is_some() {
            return Ok(());
        }
        let sent = self.child.signal(signal);
        sent.map_err(|error| Error::os(format!("send signal {signal} to {self:?}"), error))
    }

    /// Reads the report until the process ends, and reaps it; false if the deadline came first.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool> {
        if self.exitcode.is_some() {
            return Ok(true);
        }
        let ended = self.read_until_exit(deadline);
        ended.map_err(|error| Error::os(format!("wait for process {}", self.name), error))
    }

    fn read_until_exit(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let soon = Instant::now() + END_FIRST;
        let until = deadline.map_or(soon, |deadline| deadline.min(soon));
        let mut ended = poll(&mut [readable(self.child.pidfd()?)], Some(until))?;
        loop {
            if !ended {
                let mut fds = vec![readable(self.child.pidfd()?)];
                if let Some(stream) = &self.stream {
                    fds.push(readable(stream.get()?.as_fd()));
                }
                if !poll(&mut fds, deadline)? {
                    return Ok(false);
                }
                ended = fds[0].any() == Some(true);
            }
            // Read after that was asked: what the process wrote before its end is then in. A child
            // of the process may hold the other end for ever, so EOF is not waited for.
            if self
                .stream
                .as_ref()
                .is_some_and(|stream| read(stream, &mut self.report))
            {
                self.stream = None;
            }
            if ended {
                let code = self.child.reap();
                // Only the zygote knew the code if it was killed; the report tells as much.
                let code = code.or_else(|error| child::exitcode(&self.report).ok_or(error));
                self.exitcode = Some(code?);
                return Ok(true);
            }
        }
    }
}

fn readable(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::POLLIN)
}

/// Reads what there is; true if nothing more can come.
fn read(stream: &ForkPrivate<UnixStream>, report: &mut Vec<u8>) -> bool {
    let Ok(mut stream) = stream.get() else {
        return true;
    };
    match stream.read_to_end(report) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

impl<T> Drop for Process<T> {
    fn drop(&mut self) {
        if self.exitcode.is_some() || self.scoped || self.child.pidfd().is_err() {
            return;
        }
        if self.daemon {
            let _ = self.kill();
        } else if thread::panicking() {
            return;
        }
        // Nobody asks for the value any more: closing the stream, the child need not wait for a
        // reader to write all of it.
        self.stream = None;
        let _ = self.wait(None);
    }
}

impl<T> fmt::Debug for Process<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("daemon", &self.daemon)
            .field("exitcode", &self.exitcode())
            .finish()
    }
}
