//! [`ProcessState`]: what all handles of one process have in common, and which processes there are.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    Error, Result, child,
    handle::Handle,
    oom_kills::OomKills,
    sys::{fork_private::ForkPrivate, poll::poll, signals::explain_reaped},
};

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
    report: Mutex<ProcessReport>,
    /// Known once the process has been reaped.
    exitcode: Mutex<Option<i32>>,
    /// Before the process was started.
    oom_kills: OomKills,
    /// Whether the OOM killer has struck, at the end of a process that SIGKILL has ended.
    is_oom_killed: AtomicBool,
}

struct ProcessReport {
    /// What the process writes into, until it was read or nobody asks any more.
    file: Option<ForkPrivate<File>>,
    bytes: Vec<u8>,
}

impl ProcessState {
    pub(super) fn new(
        name: String,
        daemon: bool,
        handle: Handle,
        report: OwnedFd,
        oom_kills: OomKills,
    ) -> Arc<Self> {
        let state = Arc::new(Self {
            name,
            daemon,
            handle,
            report: Mutex::new(ProcessReport {
                file: Some(ForkPrivate::new(report.into())),
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

    /// The report will not be read, so its memory need not be kept.
    pub(super) fn want_no_value(&self) {
        lock(&self.report).file = None;
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

    /// Waits until the process has ended, and reaps it; false if the deadline came first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.is_reaped() {
            return Ok(true);
        }
        let wait = || -> io::Result<bool> {
            let pidfd = PollFd::new(self.handle.pidfd()?, PollFlags::POLLIN);
            if !poll(&mut [pidfd], deadline)? {
                return Ok(false);
            }
            self.reap().map(|()| true)
        };
        wait().map_err(|error| Error::os(format!("wait for process {}", self.name), error))
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

    /// Reads the report of the process, which has ended, and removes it from the process table.
    pub(super) fn reap(&self) -> io::Result<()> {
        // Locked meanwhile: the system tells the code once.
        let mut known = lock(&self.exitcode);
        if known.is_none() {
            lock(&self.report).read()?;
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

impl ProcessReport {
    fn read(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            let file = file.get()?;
            self.bytes = vec![0; file.metadata()?.len() as usize];
            file.read_exact_at(&mut self.bytes, 0)?;
            self.file = None;
        }
        Ok(())
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
