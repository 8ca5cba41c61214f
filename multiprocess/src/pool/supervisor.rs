//! The supervisor: a process with one thread between the application and the workers.
//!
//! It forks the workers, replaces the dead and says which task died with them. It kills the workers
//! that are marked, and all when the application is gone. It sleeps until something happens: a child
//! ends, the application ends or wakes it, a task's time is over.

use std::{
    io::{self, Read},
    mem,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{self, AssertUnwindSafe},
    process,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal, kill, killpg},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{self, Pid},
};

use super::{
    fd_store::FdStore,
    memory::MemoryWatch,
    message,
    shared::{Initializer, PoolShared},
    slot::{Phase, Step},
    usage, worker,
};
use crate::{
    Error, Result,
    fd_passing::Descriptor,
    limits,
    oom_kills::OomWatch,
    sys::{
        children::{self, ChildUsage, EndedChild},
        credentials::Credentials,
        fork::{self, Forked, exit_now},
        fork_private::ForkPrivate,
        identity::is_stopped,
        signals,
    },
};

/// How many initializers may fail, with none in between that does not, before the pool gives up.
const TRIES: u32 = 3;

/// How long to wait before another try to fork, when the system is out of processes.
const FORK_AGAIN: Duration = Duration::from_millis(20);

/// How long the terminal's signal may take to stop the application, and how often to look.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long the end of all descendants may take.
const KILL_ALL_WITHIN: Duration = Duration::from_secs(5);

/// How long a pool may be without any worker since the system has no process for one. Its tasks would
/// wait for ever otherwise.
const WORKERLESS_MAX: Duration = Duration::from_secs(5);

/// The exit code of a supervisor that had reason to give up.
const GAVE_UP: i32 = 1;

struct Supervisor {
    shared: Arc<PoolShared>,
    initializer: Option<Initializer>,
    /// The application wakes the supervisor by this socket, and the application's end closes it.
    wakeup: ForkPrivate<UnixStream>,
    /// The application, whose end is seen here even if another process holds the socket.
    application: ForkPrivate<OwnedFd>,
    application_pid: u32,
    fd_store: FdStore,
    memory: Option<MemoryWatch>,
    oom: OomWatch,
    signals: ForkPrivate<SignalFd>,
    /// Until when to look whether the terminal has stopped the application.
    stop_expected: Option<Instant>,
    /// Whether the workers are stopped, since the application is.
    stopped: bool,
    /// The process of each slot, if it has one.
    workers: Vec<Option<i32>>,
    /// Failed initializers since one came through.
    failures: u32,
    started: u32,
    /// Since when the system has had no process for a first worker.
    workerless: Option<Instant>,
}

/// What a supervisor is started with: the pool's shared state and what each worker does first. Then
/// of the application the ends of two sockets, for wakes and for descriptors, the pidfd and the number.
pub(super) type Argument = (PoolShared, Option<Initializer>, Application);

type Application = (
    (Descriptor<OwnedFd>, Descriptor<OwnedFd>),
    Descriptor<OwnedFd>,
    u32,
);

/// The life of the supervisor, as the function of its process.
pub(super) fn run((shared, initializer, application): Argument) {
    let life = panic::catch_unwind(AssertUnwindSafe(|| {
        let code = match Supervisor::new(shared, initializer, application) {
            Ok(mut supervisor) => supervisor.serve().unwrap_or(GAVE_UP),
            Err(_) => GAVE_UP,
        };
        end_all_descendants();
        code
    }));
    exit_now(life.unwrap_or(101))
}

impl Supervisor {
    fn new(
        mut shared: PoolShared,
        initializer: Option<Initializer>,
        ((Descriptor(wakeup), Descriptor(descriptors)), Descriptor(application), pid): Application,
    ) -> io::Result<Self> {
        signals::block_all();
        prctl::set_child_subreaper(true)?;
        let (fd_store, requests) = FdStore::new(descriptors)?;
        shared.descriptor_requests = Some(requests);
        shared.descriptors_max = limits::raise_descriptors();
        shared.name_process("s");
        let limit = shared.max_memory_per_task;
        let memory = limit.map(MemoryWatch::new);
        let wakeup = UnixStream::from(wakeup);
        wakeup.set_nonblocking(true)?;
        let oom = OomWatch::since(shared.oom_kills.clone());
        let noticed = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGCONT]);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            shared: Arc::new(shared),
            initializer,
            wakeup: ForkPrivate::new(wakeup),
            application: ForkPrivate::new(application),
            application_pid: pid,
            fd_store,
            memory,
            oom,
            signals: ForkPrivate::new(SignalFd::with_flags(&noticed, flags)?),
            stop_expected: None,
            stopped: false,
            workers: Vec::new(),
            failures: 0,
            started: 0,
            workerless: None,
        })
    }

    /// Works until there is nothing more to do, and returns the exit code.
    fn serve(&mut self) -> Result<i32> {
        let listen = |error| Error::os("listen for the end of workers", error);
        loop {
            let used = self.shared.control.used_slots().len();
            // The number never falls: those that are to leave have their places until then.
            self.workers.resize(used, None);
            if self.failures >= TRIES || self.has_other_rights() {
                return Ok(GAVE_UP);
            }
            let spawned = self.spawn_missing();
            let complete = spawned.is_ok();
            let has_none = self.workers.iter().all(Option::is_none);
            match spawned {
                Ok(()) if has_none => return Ok(0),
                Err(error) if has_none => {
                    let since = *self.workerless.get_or_insert_with(Instant::now);
                    if since.elapsed() > WORKERLESS_MAX {
                        self.say(message::POOL, Step(0), &error);
                        return Ok(GAVE_UP);
                    }
                }
                _ => self.workerless = None,
            }
            self.stop_with_application();
            self.mark_overdue();
            if let Some(memory) = &mut self.memory {
                memory.look(&self.shared, &self.workers);
            }
            self.kill_marked();
            if !self.wait(complete).map_err(listen)? {
                return Ok(0);
            }
            self.fd_store.serve().map_err(listen)?;
            self.reap_ended();
        }
    }

    /// Sleeps until something happens; false if all is to end.
    fn wait(&mut self, complete: bool) -> io::Result<bool> {
        let again = (!complete).then(|| Instant::now() + FORK_AGAIN);
        let look = self.stop_expected.map(|_| Instant::now() + LOOK_AGAIN);
        let next = self.next_deadline();
        let memory_look = self.memory.as_ref().and_then(MemoryWatch::next);
        let deadline = [again, look, next, memory_look].into_iter().flatten().min();
        let mut wakeup = self.wakeup.get()?;
        let signals = self.signals.get()?;
        let [stored, requested] = self.fd_store.sockets()?;
        let fds = [
            self.application.get()?.as_fd(),
            wakeup.as_fd(),
            signals.as_fd(),
            stored,
            requested,
        ];
        // A worker that takes a task later wakes the supervisor, which then watches its time.
        let is_unwatched = self.memory.is_some() && memory_look.is_none();
        let has_begun =
            || next.is_none() && self.next_deadline().is_some() || is_unwatched && self.is_busy();
        let shared = &self.shared;
        let sleeper = &shared.control.supervisor;
        let readable = shared
            .supervisor_wake
            .sleep(sleeper, fds, deadline, has_begun)?;
        let [application_ended, ..] = readable;
        let wakeup_is_closed = matches!(wakeup.read(&mut [0; 64]), Ok(0));
        // Signals merge, so their number says nothing.
        let mut stop_expected = self.stop_expected;
        let mut continued = false;
        while let Ok(Some(signal)) = signals.read_signal() {
            match signal.ssi_signo.cast_signed() {
                libc::SIGTSTP => stop_expected = Some(Instant::now() + STOPS_WITHIN),
                libc::SIGCONT => continued = true,
                _ => {}
            }
        }
        self.stop_expected = stop_expected;
        if continued {
            self.continue_workers();
        }
        // After the wake was read, which comes after the store.
        let stop = self.shared.control.stop.load(SeqCst) != 0;
        Ok(!(application_ended || wakeup_is_closed || stop))
    }

    /// Stops the workers if the terminal has stopped the application. They are in groups of their own,
    /// which the terminal's signal does not reach; this process is in the application's.
    fn stop_with_application(&mut self) {
        let Some(until) = self.stop_expected else {
            return;
        };
        if is_stopped(self.application_pid) {
            self.stopped = true;
            self.signal_workers(Signal::SIGSTOP);
        }
        // An application may ignore the signal.
        if self.stopped || Instant::now() > until {
            self.stop_expected = None;
        }
    }

    fn continue_workers(&mut self) {
        self.stop_expected = None;
        if mem::take(&mut self.stopped) {
            // The time for which a task was stopped is none that it took.
            if let Some(now) = self.shared.now() {
                let slots = self.shared.control.used_slots();
                slots.iter().for_each(|slot| slot.restart_clock(now));
            }
            self.signal_workers(Signal::SIGCONT);
        }
    }

    fn signal_workers(&self, signal: Signal) {
        for &pid in self.workers.iter().flatten() {
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    /// When the first task or item in progress will be overdue; `None` if there is none. An item
    /// that is begun after this look has its whole time before it.
    fn next_deadline(&self) -> Option<Instant> {
        let timeout = self.shared.task_timeout.filter(|_| !self.stopped)?;
        let slots = self.shared.control.used_slots();
        let begun = slots.iter().filter_map(|slot| {
            let _not_marked = slot.in_progress().filter(|task| !task.marked)?;
            let since = slot.begun().map(|since| self.shared.instant(since));
            Some(since.unwrap_or_else(Instant::now))
        });
        begun.min()?.checked_add(timeout)
    }

    fn is_busy(&self) -> bool {
        let slots = self.shared.control.used_slots();
        slots.iter().any(|slot| slot.in_progress().is_some())
    }

    fn mark_overdue(&self) {
        let now = self.shared.now().filter(|_| !self.stopped);
        let times = now.zip(self.shared.task_timeout);
        // The latest moment at which something was begun that is overdue.
        let latest = times
            .and_then(|(now, timeout)| now.checked_sub(u64::try_from(timeout.as_nanos()).ok()?));
        let Some(latest) = latest else {
            return;
        };
        for slot in self.shared.control.used_slots() {
            if let Some(task) = slot.in_progress().filter(|task| !task.marked) {
                slot.mark_overdue(task.task, latest);
            }
        }
    }

    fn kill_marked(&self) {
        for (slot, worker) in self.shared.control.slots.iter().zip(&self.workers) {
            if let Some(pid) = worker
                && slot.in_progress().is_some_and(|task| task.marked)
            {
                kill_group(*pid);
            }
        }
    }

    /// Whether a worker is missing, and one forked here would have other rights than the application
    /// has by now. Then the pool is told so.
    fn has_other_rights(&self) -> bool {
        if self.wanted().iter().all(Option::is_some) {
            return false;
        }
        let application = Credentials::of(self.application_pid);
        // Nothing is known of an application that has just ended.
        let same = application.is_none_or(|theirs| Credentials::mine() == Ok(theirs));
        if !same {
            let attempt = format!("replace a worker of {}", self.shared.name);
            let reason = "the program has changed its user or its groups since it made the pool; \
                          make the pool after that";
            self.say(
                message::POOL,
                Step(0),
                &Error::os(attempt, io::Error::other(reason)),
            );
        }
        !same
    }

    /// The processes of the slots that are to have one.
    fn wanted(&self) -> &[Option<i32>] {
        &self.workers[..self.shared.control.workers_wanted().min(self.workers.len())]
    }

    /// Fills the empty slots; an error if the system had no process for one.
    fn spawn_missing(&mut self) -> Result<()> {
        let phase = match &self.initializer {
            Some(_) => Phase::Starting,
            None => Phase::Working,
        };
        let me = process::id().cast_signed();
        for index in 0..self.wanted().len() {
            let slot = &self.shared.control.slots[index];
            if self.workers[index].is_some() || slot.phase() == Some(Phase::Drained) {
                continue;
            }
            slot.vacate(phase);
            self.shared.control.taken_before[index].clear();
            match fork::fork("a worker of the pool")? {
                Forked::Child => {
                    // Taken out, since the descriptors are to be the argument's.
                    worker::run(Arc::clone(&self.shared), self.initializer.take(), index, me)
                }
                Forked::Parent(pid) => {
                    // The worker does so too; whoever comes second finds it done.
                    let _ = unistd::setpgid(Pid::from_raw(pid), Pid::from_raw(pid));
                    self.workers[index] = Some(pid);
                }
            }
        }
        Ok(())
    }

    /// Reaps all children that have ended: workers, and their orphans.
    fn reap_ended(&mut self) {
        while let Ok(Some(ended)) = children::peek() {
            let slot = self.workers.iter().position(|&w| w == Some(ended.pid));
            if let Some(index) = slot {
                // Not reaped yet, it still owns its number, which is its group's.
                kill_group(ended.pid);
                self.workers[index] = None;
                // Before the report: whoever has that no longer finds the dead.
                self.shared.control.slots[index].pid.store(0, SeqCst);
            }
            // Its group is dead, so that its number may be given again.
            let taken = children::reap(ended.pid);
            if let Some(index) = slot {
                self.report(index, ended, taken);
                // It may have been woken for a task that it did not take.
                self.shared.tasks.wake_reader();
                // Large parts of its task, and of a result that it has not put.
                self.shared.tasks.take_back_from_the_dead();
                self.shared.results.take_back_from_the_dead();
            }
        }
    }

    /// Says which task died with a worker, if one did.
    fn report(&mut self, index: usize, EndedChild { pid, code }: EndedChild, taken: ChildUsage) {
        let slot = &self.shared.control.slots[index];
        let is_marked = slot.in_progress().is_some_and(|task| task.marked);
        let ending = match code == -libc::SIGKILL && !is_marked && self.oom.explains_kill() {
            true => Error::OomKilled {
                pid: pid.cast_unsigned(),
            },
            false => Error::of_exit(pid.cast_unsigned(), code),
        };
        // Before the look at the phase: who has counted itself is past `Starting`.
        let started = self.shared.control.started.load(SeqCst);
        if started != self.started {
            self.started = started;
            self.failures = 0;
        }
        if slot.phase() == Some(Phase::Starting) {
            self.failures += 1;
            if self.failures == TRIES {
                let reason = ending.to_string();
                let error = Error::InitializerFailed {
                    tries: TRIES,
                    reason,
                };
                self.say(message::POOL, Step(0), &error);
            }
        }
        if let Some(task) = slot.lost_with_worker(|| self.shared.tasks.taken())
            && !self.is_in_living_hands(task.task)
        {
            let at = slot.step();
            self.say_usage(index, task.task, at, taken);
            self.say_published(index, task.task, at);
            let error = match (self.shared.task_timeout, &self.memory) {
                (Some(timeout), _) if task.overdue => Error::TaskTimedOut { timeout },
                (_, Some(memory)) if task.out_of_memory => memory.error(index),
                _ => ending.clone(),
            };
            self.say(task.task, at, &error);
        }
        // Whatever the slot says: a process may have written over it. Who ends like this had no task.
        let is_usual = matches!(slot.phase(), Some(Phase::Drained | Phase::Retired));
        if !is_usual || code != 0 {
            self.say(message::WORKER, Step(0), &ending);
        }
    }

    /// Whether a worker that lives has this task in progress. Then no other has.
    fn is_in_living_hands(&self, task: u64) -> bool {
        let slots = self.shared.control.slots.iter().zip(&self.workers);
        let mut living = slots.filter(|(_, worker)| worker.is_some());
        living.any(|(slot, _)| slot.in_progress().is_some_and(|it| it.task == task))
    }

    /// Says what the task or item took that a dead worker had in progress, if that is measured.
    fn say_usage(&self, index: usize, task: u64, at: Step, taken: ChildUsage) {
        if self.shared.measures_usage && !at.is_between() {
            let control = &self.shared.control;
            let since = control.slots[index].since();
            let elapsed = Duration::from_nanos(self.shared.nanos().saturating_sub(since));
            let before = &control.taken_before[index];
            let usage = usage::of_dead_worker(elapsed, before, taken);
            let mut message = Vec::new();
            message::write_usage(task, &[(at.done(), usage)], &mut message);
            self.put(&message);
        }
    }

    /// Puts the results of the items before this step that a dead worker has not put.
    fn say_published(&self, index: usize, task: u64, at: Step) {
        let control = &self.shared.control;
        if let Some(published) = control.slots[index].published(at.done()) {
            let head = message::items_head(task, published.first, published.count);
            let mut message = head.to_vec();
            control.append_published(index, published.len, &mut message);
            self.put(&message);
        }
    }

    fn say(&self, task: u64, at: Step, error: &Error) {
        let mut message = Vec::new();
        message::write_error(task, at, error, &mut message);
        self.put(&message);
    }

    fn put(&self, message: &[u8]) {
        // The queue is never closed, and refuses no short message.
        let _ = self.shared.put_result(message, None);
    }
}

/// Kills a worker, which is a child that is not reaped yet, and its group.
fn kill_group(pid: i32) {
    let pid = Pid::from_raw(pid);
    let _ = killpg(pid, Signal::SIGKILL);
    // It may have left its group.
    let _ = kill(pid, Signal::SIGKILL);
}

/// Kills the children, and theirs, which become children of this process when their parents die.
fn end_all_descendants() {
    let deadline = Instant::now() + KILL_ALL_WITHIN;
    while Instant::now() < deadline {
        for pid in children::all().unwrap_or_default() {
            let group = unistd::getpgid(Some(Pid::from_raw(pid)));
            if group == Ok(Pid::from_raw(pid)) {
                kill_group(pid);
            }
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        loop {
            match children::peek() {
                Ok(Some(ended)) => drop(children::reap(ended.pid)),
                Ok(None) => break,
                // There is no child left.
                Err(_) => return,
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
