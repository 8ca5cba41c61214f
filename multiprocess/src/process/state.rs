//! [`ProcessState`]: what all handles of one process have in common, and which processes there are.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    Error, Result, child,
    handle::Handle,
    oom_kills::OomKills,
    sys::{fork_private::ForkPrivate, poll::poll, signals::explain_reaped},
};

/// How long to wait for the end of a process alone, and not for its report as well. Most reports fit
/// into the socket and are followed by the end at once: then one wake does in place of two.
const END_FIRST: Duration = Duration::from_millis(1);

/// The processes that this one has started. A fork has leftovers of them.
static STARTED: Mutex<StartedProcesses> = Mutex::new(StartedProcesses {
    all: Vec::new(),
    ownerless: Vec::new(),
});

struct StartedProcesses {
    /// In the order of their birth.
    all: Vec<Weak<ProcessState>>,
    /// Those whose end no handle waits for. They are reaped here.
    ownerless: Vec<Arc<ProcessState>>,
}

/// A process that was started.
pub(super) struct ProcessState {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) handle: Handle,
    report: Mutex<ReportStream>,
    /// Known once the process has been reaped.
    exitcode: Mutex<Option<i32>>,
    /// Before the process was started.
    oom_kills: OomKills,
    /// Whether the OOM killer has struck, at the end of a process that SIGKILL has ended.
    is_oom_killed: AtomicBool,
}

struct ReportStream {
    /// Where the process reports, until its end has been read or nobody asks any more.
    stream: Option<Arc<ForkPrivate<UnixStream>>>,
    /// What has been read of it.
    bytes: Vec<u8>,
}

impl ProcessState {
    pub(super) fn new(
        name: String,
        daemon: bool,
        handle: Handle,
        stream: ForkPrivate<UnixStream>,
        oom_kills: OomKills,
    ) -> Arc<Self> {
        let state = Arc::new(Self {
            name,
            daemon,
            handle,
            report: Mutex::new(ReportStream {
                stream: Some(Arc::new(stream)),
                bytes: Vec::new(),
            }),
            exitcode: Mutex::default(),
            oom_kills,
            is_oom_killed: AtomicBool::new(false),
        });
        let mut started = lock(&STARTED);
        started.reap_ownerless();
        started.all.retain(|it| it.strong_count() > 0);
        started.all.push(Arc::downgrade(&state));
        state
    }

    /// Leaves the process to be reaped when another is started or all are asked for.
    pub(super) fn give_up(self: &Arc<Self>) {
        self.want_no_value();
        let mut started = lock(&STARTED);
        started.ownerless.push(Arc::clone(self));
        started.reap_ownerless();
    }

    /// Closes the stream: the process need not wait for a reader to write all of its report.
    pub(super) fn want_no_value(&self) {
        lock(&self.report).stream = None;
    }

    /// Whether this process started it, and it runs.
    pub(super) fn is_alive(&self) -> bool {
        // Another part of the program may have taken the exit code.
        lock(&self.exitcode).is_none() && matches!(self.handle.has_ended(), Ok(false))
    }

    /// How it ended. It is left in the process table: a look changes nothing.
    pub(super) fn exitcode(&self) -> Option<i32> {
        let known = lock(&self.exitcode);
        known.or_else(|| self.handle.exitcode().ok()?)
    }

    /// Whether it has been reaped.
    pub(super) fn is_reaped(&self) -> bool {
        lock(&self.exitcode).is_some()
    }

    /// Reads the report until the process ends, and reaps it; false if the deadline came first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.is_reaped() {
            return Ok(true);
        }
        let ended = self.read_until_exit(deadline);
        ended.map_err(|error| Error::os(format!("wait for process {}", self.name), error))
    }

    /// What the process has reported, and its exit code, once it has been reaped. `read` reads the
    /// value.
    pub(super) fn outcome<T>(&self, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let code = lock(&self.exitcode).expect("asked after the process was reaped");
        let outcome = child::outcome(code, &lock(&self.report).bytes, read);
        let pid = self.handle.pid();
        let ending = || match self.is_oom_killed.load(SeqCst) {
            true => Error::OomKilled { pid },
            false => Error::of_exit(pid, code),
        };
        outcome.unwrap_or_else(|| Err(ending()))
    }

    fn read_until_exit(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let soon = Instant::now() + END_FIRST;
        let until = deadline.map_or(soon, |deadline| deadline.min(soon));
        let mut ended = poll(&mut [readable(self.handle.pidfd()?)], Some(until))?;
        loop {
            if !ended {
                // Another handle may close it meanwhile.
                let stream = lock(&self.report).stream.clone();
                let mut fds = vec![readable(self.handle.pidfd()?)];
                if let Some(stream) = &stream {
                    fds.push(readable(stream.get()?.as_fd()));
                }
                if !poll(&mut fds, deadline)? {
                    return Ok(false);
                }
                ended = fds[0].any() == Some(true);
            }
            // Read after that was asked: what the process wrote before its end is then in. A child
            // of the process may hold the other end for ever, so EOF is not waited for.
            lock(&self.report).read();
            if ended {
                self.reap()?;
                return Ok(true);
            }
        }
    }

    /// Removes the process, which has ended, from the process table.
    pub(super) fn reap(&self) -> io::Result<()> {
        // Locked meanwhile: the system tells the code once.
        let mut known = lock(&self.exitcode);
        if known.is_none() {
            let code = self.handle.reap();
            // Only the zygote knew the code if it was killed; the report tells as much.
            let told = || child::exitcode(&lock(&self.report).bytes);
            let code = code.or_else(|error| told().ok_or_else(|| explain_reaped(error)))?;
            let is_killed_by_others = code == -libc::SIGKILL && !self.handle.is_killed();
            // At its end, since other processes may die later.
            let is_oom_killed = is_killed_by_others && self.oom_kills.more() > 0;
            self.is_oom_killed.store(is_oom_killed, SeqCst);
            *known = Some(code);
        }
        Ok(())
    }
}

impl ReportStream {
    /// Reads what there is.
    fn read(&mut self) {
        let Some(stream) = &self.stream else {
            return;
        };
        let is_at_end = stream.get().map_or(true, |mut stream| {
            let read = stream.read_to_end(&mut self.bytes);
            read.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |_| true)
        });
        if is_at_end {
            self.stream = None;
        }
    }
}

impl StartedProcesses {
    fn reap_ownerless(&mut self) {
        self.ownerless.retain(|process| {
            let still_runs = process.is_alive();
            if !still_runs && process.handle.pidfd().is_ok() {
                let _ = process.reap();
            }
            still_runs
        });
    }
}

/// The processes that this one has started and that run, in the order of their birth.
pub(super) fn alive() -> Vec<Arc<ProcessState>> {
    let mut started = lock(&STARTED);
    started.reap_ownerless();
    let all: Vec<_> = started.all.iter().filter_map(Weak::upgrade).collect();
    drop(started);
    all.into_iter().filter(|it| it.is_alive()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn readable(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::POLLIN)
}
