//! [`Builder`]: what a process is to be called and how it is to end, and how it starts.

use std::{
    os::fd::OwnedFd,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Process, state::ProcessState};
use crate::{
    Error, Result, Serializable, child, codec,
    fd_passing::Descriptor,
    handle::Handle,
    oom_kills::OomKills,
    spawn_request::SpawnRequest,
    sys::{call::Function, fork::die_with, memfd},
    zygote,
};

/// What a [`Process`] is to be called and how it is to end; made by [`Process::builder`].
///
/// # Examples
///
/// ```
/// let worker = multiprocess::Process::builder().name("worker");
/// let processes = [worker.clone().spawn(|| 1)?, worker.spawn(|| 2)?];
/// assert!(processes.iter().all(|process| process.name() == "worker"));
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
}

impl Builder {
    /// Names the process, for errors and `Debug`; otherwise it is `Process-1`, `Process-2`, … as
    /// in Python.
    ///
    /// # Examples
    ///
    /// ```
    /// let process = multiprocess::Process::builder().name("reader").spawn(|| 7)?;
    /// assert_eq!(process.name(), "reader");
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Has the process end with this program, however this program ends, also by SIGKILL.
    ///
    /// Python's daemons survive a killed parent. Here the kernel kills them (`PR_SET_PDEATHSIG`,
    /// see prctl(2)). That covers the process, not the children that it may have itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiprocess::Process;
    /// use std::{thread, time::Duration};
    ///
    /// let endless = || thread::sleep(Duration::from_secs(600));
    /// let watcher = Process::builder().daemon(true).spawn(endless)?;
    /// // Kills it; any other process would be waited for.
    /// drop(watcher);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// As [`Process::spawn`], with this name and kind.
    ///
    /// # Errors
    ///
    /// Those of [`Process::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// let process = multiprocess::Process::builder().name("adder").spawn(|| 3 + 4)?;
    /// assert_eq!(process.join()?, 7);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn<T, F>(self, function: F) -> Result<Process<T>>
    where
        T: Serializable,
        F: FnOnce() -> T,
    {
        self.fork(function).map(|(process, _)| process)
    }

    /// Forks a process for the function, and returns what is left of the function here.
    pub(super) fn fork<T, F>(self, function: F) -> Result<(Process<T>, F)>
    where
        T: Serializable,
        F: FnOnce() -> T,
    {
        let (name, report) = self.prepare()?;
        let (daemon, parent) = (self.daemon, process::id().cast_signed());
        let oom_kills = OomKills::now();
        #[cfg(feature = "rand")]
        // It is set up here once. Else each child would do that, and it takes longer than a seed.
        drop(rand::rng());
        match Handle::fork(&format!("process {name}"))? {
            Some(child) => {
                let state = ProcessState::new(name, daemon, child, report, oom_kills);
                Ok((Process::new(state, true), function))
            }
            None => {
                if daemon {
                    die_with(parent);
                }
                #[cfg(feature = "rand")]
                // Else it draws the same numbers as its parent and its siblings.
                let _ = rand::rng().reseed();
                child::run(report, || Ok(function()))
            }
        }
    }

    /// As [`Process::spawn_with`], with this name and kind.
    ///
    /// # Errors
    ///
    /// Those of [`Process::spawn_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = multiprocess::Process::builder().name("power");
    /// let process = builder.spawn_with(|n: u64| n.pow(2), 9)?;
    /// assert_eq!(process.join()?, 81);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn spawn_with<A: Serializable, T: Serializable>(
        self,
        function: fn(A) -> T,
        argument: A,
    ) -> Result<Process<T>> {
        let (name, report) = self.prepare()?;
        let function = Function::of(function, run);
        let request = SpawnRequest::new(function, self.daemon, |bytes| {
            codec::append_unread(&Descriptor(&report), bytes)?;
            codec::append(&argument, bytes)
        })?;
        drop(argument);
        let oom_kills = OomKills::now();
        let child = zygote::start(&format!("process {name}"), request)?;
        let state = ProcessState::new(name, self.daemon, child, report, oom_kills);
        Ok(Process::new(state, true))
    }

    /// A name, and the file for the report of the process.
    fn prepare(&self) -> Result<(String, OwnedFd)> {
        let name = self.name.clone().unwrap_or_else(next_name);
        let report = memfd::create("multiprocess-report");
        let report = report
            .map_err(|error| Error::os(format!("make a file for the report of {name}"), error))?;
        Ok((name, report))
    }
}

/// The entry of a process that was started with an argument.
fn run<A: Serializable, T: Serializable>(
    function: fn(A) -> T,
    mut argument: &[u8],
    _: &mut Vec<u8>,
) -> Result<()> {
    let Descriptor(report) = codec::decode_first(&mut argument, &[])?;
    child::run(report, || Ok(function(codec::decode(argument)?)))
}

fn next_name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(1);
    format!("Process-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}
