//! The zygote: a process with one thread, forked before the program had others, from which
//! processes can be started at any time.
//!
//! The application sends a request as one message: the function, and as descriptors the argument
//! and all that goes with it. The zygote forks; it answers with the child's number and its pidfd,
//! and later with its exit code, on a socket of that child's own. So threads may send requests at
//! once, and nobody waits for another's child.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    panic, process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use crate::{
    Error, Result,
    handle::{Handle, flush, zygote_is_gone},
    spawn_request::SpawnRequest,
    sys::{
        at_exit::at_exit,
        call::Function,
        children,
        fork::{self, Forked, die_with, exit_now},
        fork_private::ForkPrivate,
        identity::Identity,
        pidfd,
        poll::poll,
        scm_rights, signals,
    },
};

/// The zygote of this process, if it has one. A fork of the process has a leftover of it.
static ZYGOTE: Mutex<Option<ZygoteHandle>> = Mutex::new(None);

/// The application's side.
struct ZygoteHandle {
    requests: ForkPrivate<OwnedFd>,
    zygote: Handle,
    owner: Identity,
}

impl ZygoteHandle {
    fn is_ours(&self) -> bool {
        self.owner == Identity::mine()
    }
}

/// A request's message: the function, whether a daemon is wanted, and how many descriptors come
/// along. Of these the first is the socket for the answers, the second holds the argument.
const REQUEST: usize = Function::LEN + 2;

/// An answer: a child's number, the system's error as a negative number, or an exit code.
const ANSWER: usize = size_of::<i32>();

/// Makes processes possible in a program with threads: call it as the first line of `main`.
///
/// A program with threads cannot be forked (see [`Error::Threaded`]). This call forks it while it
/// has one thread, and keeps that small process, the zygote. From then on a [`Pool`](crate::Pool)
/// and [`Process::spawn_with`](crate::Process::spawn_with) have their processes forked from the
/// zygote, at any time and from any thread. That also is fast however much memory this program has
/// taken since, while a direct fork copies all its page tables. It is what Python calls the
/// `forkserver`.
///
/// Such a process starts with the memory, the directory, the environment and the open files that
/// the program had at this call. What the program changes later it does not see: hand it over as
/// the argument. Functions of libraries that were loaded later (dlopen(3)) do not exist there.
///
/// The zygote ends with this program, however that ends; at a normal end it is waited for. A second
/// call does nothing.
///
/// # Errors
///
/// [`Error::Threaded`] if the program has threads already. [`Error::Os`] if the system is out of
/// processes or descriptors.
///
/// # Examples
///
/// ```
/// use multiprocess::{Pool, Process};
///
/// fn main() -> multiprocess::Result<()> {
///     multiprocess::init()?;
///     std::thread::scope(|scope| {
///         scope.spawn(|| {
///             let pool = Pool::new(2)?;
///             assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
///             assert_eq!(Process::spawn_with(|n: u64| n + 1, 6)?.join()?, 7);
///             multiprocess::Result::Ok(())
///         })
///         .join()
///         .unwrap()
///     })
/// }
/// ```
pub fn init() -> Result<()> {
    let mut connection = lock();
    if connection
        .as_ref()
        .is_some_and(|it| it.requests.get().is_ok())
    {
        return Ok(());
    }
    let me = process::id().cast_signed();
    let prepare = || Ok((scm_rights::pair()?, pidfd::open(me)?));
    let ((ours, theirs), application) =
        prepare().map_err(|error: io::Error| Error::os("open a socket to the zygote", error))?;
    let Some(zygote) = Handle::fork("the zygote")? else {
        // The lock is this process's as well, and its children will ask for it.
        drop(connection);
        drop(ours);
        die_with(me);
        let life = panic::catch_unwind(move || Zygote::new(theirs, application)?.serve());
        exit_now(i32::from(!matches!(life, Ok(Ok(())))));
    };
    *connection = Some(ZygoteHandle {
        requests: ForkPrivate::new(ours),
        zygote,
        owner: Identity::mine(),
    });
    at_exit(end);
    Ok(())
}

/// Ends the zygote, which would otherwise be left to be buried by somebody else.
extern "C" fn end() {
    // A thread that sends a request at this moment may hold the lock for ever.
    let Ok(mut connection) = ZYGOTE.try_lock() else {
        return;
    };
    if let Some(connection) = connection.take_if(|connection| connection.is_ours()) {
        let _ = connection.zygote.signal(libc::SIGKILL);
        let _ = connection.zygote.reap();
    }
}

fn lock() -> MutexGuard<'static, Option<ZygoteHandle>> {
    ZYGOTE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process: from the zygote, if this process has one, else by a fork of this one.
pub(crate) fn start(what: &str, request: SpawnRequest) -> Result<Handle> {
    flush();
    if let Some(started) = start_from_zygote(what, &request) {
        return started;
    }
    let me = process::id().cast_signed();
    match Handle::fork(what)? {
        Some(handle) => Ok(handle),
        None => request.run(me),
    }
}

/// Has the zygote start a process; `None` if this process has no zygote.
fn start_from_zygote(what: &str, request: &SpawnRequest) -> Option<Result<Handle>> {
    let connection = lock();
    // A fork of the process that has the zygote has none itself.
    let ours = connection.as_ref().filter(|it| it.is_ours())?;
    let requests = ours.requests.get().ok()?;
    let answers = send(requests.as_fd(), request);
    drop(connection);
    let handle = answers.and_then(|answers| {
        let (pid, mut pidfd) = answer(answers.as_fd())?;
        match (pid, pidfd.pop()) {
            (1.., Some(pidfd)) => Ok(Handle::new(pid, pidfd, Some(answers))),
            (errno, _) => Err(io::Error::from_raw_os_error(-errno)),
        }
    });
    Some(handle.map_err(|error| Error::os(format!("start {what} from the zygote"), error)))
}

fn send(socket: BorrowedFd<'_>, request: &SpawnRequest) -> io::Result<OwnedFd> {
    let (ours, theirs) = scm_rights::pair()?;
    let argument = memfd_create("multiprocess-argument", MFdFlags::MFD_CLOEXEC)?;
    let argument = File::from(argument);
    argument.write_all_at(&request.argument, 0)?;
    let mut descriptors = vec![theirs.as_fd(), argument.as_fd()];
    descriptors.extend(request.descriptors.iter().map(AsFd::as_fd));
    let count = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
    if usize::from(count) > scm_rights::DESCRIPTORS_MAX {
        let most = scm_rights::DESCRIPTORS_MAX - 2;
        let text = format!("its argument holds more than {most} queues and connections");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut message = [0; REQUEST];
    message[..Function::LEN].copy_from_slice(&request.function.to_bytes());
    message[Function::LEN..].copy_from_slice(&[u8::from(request.daemon), count]);
    scm_rights::send(socket, &message, &descriptors)?;
    Ok(ours)
}

/// Waits for an answer of the zygote.
fn answer(answers: BorrowedFd<'_>) -> io::Result<(i32, Vec<OwnedFd>)> {
    let mut number = [0; ANSWER];
    loop {
        match scm_rights::receive(answers, &mut number) {
            Ok((ANSWER, descriptors)) => return Ok((i32::from_ne_bytes(number), descriptors)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) => return Err(zygote_is_gone()),
            Err(error) => return Err(error),
        }
    }
}

/// The zygote's side.
struct Zygote {
    requests: ForkPrivate<OwnedFd>,
    application: ForkPrivate<OwnedFd>,
    deaths: ForkPrivate<SignalFd>,
    /// Where each child's exit code is awaited.
    children: HashMap<i32, ForkPrivate<OwnedFd>>,
}

impl Zygote {
    fn new(requests: OwnedFd, application: OwnedFd) -> io::Result<Self> {
        signals::block_all();
        let _ = prctl::set_name(c"zygote");
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            requests: ForkPrivate::new(requests),
            application: ForkPrivate::new(application),
            deaths: ForkPrivate::new(SignalFd::with_flags(&child_ended, flags)?),
            children: HashMap::new(),
        })
    }

    /// Forks and buries, until the application is gone.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [
                readable(self.application.get()?.as_fd()),
                readable(self.deaths.get()?.as_fd()),
                readable(self.requests.get()?.as_fd()),
            ];
            poll(&mut fds, None)?;
            let [application_ended, _, requested] = fds.map(|fd| fd.any() == Some(true));
            if application_ended {
                return Ok(());
            }
            // Signals merge, so their number says nothing.
            while let Ok(Some(_)) = self.deaths.get()?.read_signal() {}
            self.bury();
            if requested && !self.take_request()? {
                return Ok(());
            }
        }
    }

    /// Tells the exit codes of all children that have ended.
    fn bury(&mut self) {
        while let Ok(Some(ended)) = children::peek() {
            if let Some(answers) = self.children.remove(&ended.pid)
                && let Ok(answers) = answers.get()
            {
                // Nobody may be asking any more.
                let _ = scm_rights::send(answers.as_fd(), &ended.code.to_ne_bytes(), &[]);
            }
            children::reap(ended.pid);
        }
    }

    /// Takes a request and answers it; false if nobody can send one any more.
    fn take_request(&mut self) -> io::Result<bool> {
        let mut message = [0; REQUEST];
        let (len, descriptors) = scm_rights::receive(self.requests.get()?.as_fd(), &mut message)?;
        if len == 0 {
            return Ok(false);
        }
        let mut descriptors = descriptors.into_iter();
        let Some(answers) = descriptors.next() else {
            // Out of descriptors: the socket is closed again, which is an answer.
            return Ok(true);
        };
        // Private before the fork, so that a child does not keep it open.
        let private = ForkPrivate::new(answers);
        let answers = private.get()?.as_fd();
        match Self::run(&message, descriptors.collect()) {
            Ok((pid, pidfd)) => {
                let _ = scm_rights::send(answers, &pid.to_ne_bytes(), &[pidfd.as_fd()]);
                self.children.insert(pid, private);
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = scm_rights::send(answers, &(-errno).to_ne_bytes(), &[]);
            }
        }
        Ok(true)
    }

    /// Forks a child for a request; its number and its pidfd.
    fn run(message: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<(i32, OwnedFd)> {
        let request = Function::split_from(message);
        let (function, request) = request.expect("a request starts with its function");
        // The first one was taken off. Those for which there was no room were not received.
        if descriptors.len() + 1 != usize::from(request[1]) {
            return Err(Errno::EMFILE.into());
        }
        let argument = File::from(descriptors.remove(0));
        let me = process::id().cast_signed();
        match fork::fork("a process").map_err(system_error)? {
            Forked::Child => {
                // Read here, so that a large argument keeps nobody else waiting.
                let (daemon, argument) = (request[0] != 0, whole(&argument));
                let Ok(argument) = argument else { exit_now(1) };
                let request = SpawnRequest {
                    function,
                    argument,
                    descriptors,
                    daemon,
                };
                request.run(me)
            }
            Forked::Parent(pid) => match pidfd::open(pid) {
                Ok(pidfd) => Ok((pid, pidfd)),
                Err(error) => {
                    // A child without a handle would be nobody's. It is buried as all others are.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    Err(error)
                }
            },
        }
    }
}

fn whole(argument: &File) -> io::Result<Vec<u8>> {
    let len = argument.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    argument.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn system_error(error: Error) -> io::Error {
    match error {
        Error::Os {
            errno: Some(errno), ..
        } => io::Error::from_raw_os_error(errno),
        error => io::Error::other(error),
    }
}
