//! The zygote: a process with one thread from which others are forked, at any time and for any
//! thread of the program. Python calls it the fork server.
//!
//! It is the program's own file, executed once more: the function that this crate has called before
//! `main` makes a zygote of it, and `main` is not reached. So it is a fresh image of the program,
//! without its threads, its memory and its open files.
//!
//! The application sends a request as one message: the function, and as descriptors the argument
//! and all that goes with it. The zygote forks; it answers with the child's number and its pidfd,
//! and later with its exit code, on a socket of that child's own. So threads may send requests at
//! once, and nobody waits for another's child.

use std::{
    env,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::FileExt, process::CommandExt},
    },
    process::{self, Command},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    Error, Result,
    handle::{Handle, zygote_is_gone},
    limits,
    spawn_request::SpawnRequest,
    sys::{
        at_exit::at_exit, call::Function, credentials::Credentials, fork_private::ForkPrivate,
        identity::Identity, image, memfd, pidfd, poll::poll, scm_rights,
    },
};

mod server;

/// The environment's word to the program's file that it is to be a zygote. Its value is the number of
/// the process that asks for it, and [`AGAIN`] behind it where the zygote has executed the file itself.
const VARIABLE: &str = "MULTIPROCESS_ZYGOTE";

const AGAIN: &str = " again";

/// Why there is no zygote is told in at most so many bytes.
const REASON_MAX: usize = 512;

/// How long the zygote may take to start. It does nothing that could take so long.
const START_WITHIN: Duration = Duration::from_secs(30);

/// The zygotes of this process. A fork of the process has leftovers of them.
static ZYGOTES: Mutex<Zygotes> = Mutex::new(Zygotes {
    current: None,
    retired: Vec::new(),
});

struct Zygotes {
    current: Option<Zygote>,
    /// Those that have ended, or will with their last child.
    retired: Vec<Handle>,
}

/// The application's side of a zygote.
struct Zygote {
    requests: ForkPrivate<OwnedFd>,
    process: Handle,
    owner: Identity,
    /// Those of the application when it started the zygote, whose children have them.
    credentials: Credentials,
}

/// A request's message: the function, whether a daemon is wanted, and how many descriptors come
/// along. Of these the first is the socket for the answers, the second holds the argument.
const REQUEST: usize = Function::LEN + 2;

/// An answer: a child's number, the system's error as a negative number, or an exit code.
const ANSWER: usize = size_of::<i32>();

/// Starts the zygote, from which a [`Pool`](crate::Pool) and
/// [`Process::spawn_with`](crate::Process::spawn_with) have their processes, now and not when the
/// first of them needs it.
///
/// No program has to call it. It is for one that will soon be unable to execute its own file, since
/// it changes its root directory for example, and for one that wants to hear of a failure early.
///
/// The zygote is the program's own file, executed once more with the same arguments; its `main` is
/// not reached. It has one thread, so it can be forked whatever threads the program has, and fast,
/// however much memory the program has taken. It is what Python calls the `forkserver`.
///
/// Its children have the directory, the environment, the limits, the standard output and the
/// standard error that the program had when it started the zygote. They have the users and groups
/// that the program has when they are made: a program that has changed its own gets another zygote.
/// Their standard input is empty. They have no descriptor of the program but what their argument
/// brings along, and nothing of its memory: statics are as they were before `main`.
///
/// The zygote ends with this program, however that ends; at a normal end it is waited for. If it is
/// killed, the next process that is started starts another. A second call does nothing.
///
/// # Errors
///
/// [`Error::Os`] if the file cannot be executed again: there is no `/proc`, the program has changed
/// to a user who must not execute it, the file has the set-user-ID bit or capabilities, or this
/// crate is not part of it but of a loaded library; the program was started by way of the dynamic
/// loader; a library has started a thread before `main`, as profilers and allocators may. Or if the
/// system is out of processes or descriptors.
///
/// # Examples
///
/// ```
/// use multiprocess::{Pool, Process};
///
/// multiprocess::init()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let pool = Pool::new(2)?;
///         assert_eq!(pool.map(|n: u64| n * n, 0..4)?, [0, 1, 4, 9]);
///         assert_eq!(Process::spawn_with(|n: u64| n + 1, 6)?.join()?, 7);
///         Ok::<(), multiprocess::Error>(())
///     })
///     .join()
///     .unwrap()
/// })?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn init() -> Result<()> {
    lock().serving().map(drop)
}

/// Starts a process: from the zygote, or by a fork of this one if it can have no zygote but be forked.
pub(crate) fn start(what: &str, request: SpawnRequest) -> Result<Handle> {
    // Unlocked by the next line: a child that is forked there may start processes too.
    let sent = lock().send(&request);
    let answers = match sent {
        Ok(answers) => answers,
        Err(NotSent::NoZygote(error)) => return fork_instead(what, request, error),
        Err(NotSent::Failed(error)) => return Err(not_started(what, error)),
    };
    let started = answer(answers.as_fd()).and_then(|(pid, mut pidfd)| match (pid, pidfd.pop()) {
        (1.., Some(pidfd)) => Ok(Handle::new(pid, pidfd, Some(answers))),
        (errno, _) => Err(io::Error::from_raw_os_error(-errno)),
    });
    started.map_err(|error| not_started(what, error))
}

fn not_started(what: &str, error: io::Error) -> Error {
    Error::no_process(format!("start {what} from the zygote"), error)
}

fn fork_instead(what: &str, request: SpawnRequest, no_zygote: Error) -> Result<Handle> {
    let me = process::id().cast_signed();
    match Handle::fork(what) {
        Ok(Some(handle)) => Ok(handle),
        Ok(None) => request.run(me),
        Err(Error::Threaded { .. }) => Err(no_zygote),
        Err(error) => Err(error),
    }
}

fn lock() -> MutexGuard<'static, Zygotes> {
    ZYGOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a request is with no zygote.
enum NotSent {
    NoZygote(Error),
    Failed(io::Error),
}

impl Zygotes {
    /// Sends a request and returns the socket for its answers.
    fn send(&mut self, request: &SpawnRequest) -> Result<OwnedFd, NotSent> {
        let sent = send(self.serving().map_err(NotSent::NoZygote)?, request);
        match sent {
            // It was killed, and the request did not arrive: another may have it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.retire();
                send(self.serving().map_err(NotSent::NoZygote)?, request)
            }
            sent => sent,
        }
        .map_err(NotSent::Failed)
    }

    /// The zygote's socket for requests. It is started if there is none for this process with its
    /// credentials.
    fn serving(&mut self) -> Result<BorrowedFd<'_>> {
        let start = |error| Error::os("start the zygote", image::explain_no_proc(error));
        let credentials = Credentials::mine().map_err(|errno| start(errno.into()))?;
        let me = Identity::mine();
        let serves = |it: &Zygote| it.owner == me && it.credentials == credentials;
        if !self.current.as_ref().is_some_and(serves) {
            self.retire();
            self.current = Some(Zygote::start(credentials).map_err(start)?);
        }
        let current = self.current.as_ref().expect("it was started above");
        current.requests.get().map(AsFd::as_fd).map_err(start)
    }

    /// Sends no request to the zygote any more. It ends with its last child.
    fn retire(&mut self) {
        let retired = self.current.take();
        self.retired.extend(retired.map(|zygote| zygote.process));
        self.retired.retain(|zygote| match zygote.exitcode() {
            Ok(None) => true,
            Ok(Some(_)) => zygote.reap().is_err(),
            // That of the process that forked this one is not ours to wait for.
            Err(_) => false,
        });
    }
}

impl Zygote {
    fn start(credentials: Credentials) -> io::Result<Self> {
        if !image::holds_this_crate() {
            let reason = "multiprocess is not in the program's own file, but in a loaded library";
            return Err(io::Error::other(reason));
        }
        if image::gives_rights() {
            let reason = "the program's file gives rights to whoever executes it (set-user-ID, \
                          set-group-ID or capabilities)";
            return Err(io::Error::other(reason));
        }
        if image::is_started_by_loader() {
            let reason = "the program was started by way of the dynamic loader, which is what the system \
                          has for the program's file";
            return Err(io::Error::other(reason));
        }
        let (ours, theirs) = scm_rights::pair()?;
        let word = process::id().to_string();
        let child = this_program(&word).stdin(theirs).spawn()?;
        let pid = child.id().cast_signed();
        let zygote = Self {
            requests: ForkPrivate::new(ours),
            process: Handle::new(pid, pidfd::open(pid)?, None),
            owner: Identity::mine(),
            credentials,
        };
        zygote.greet().inspect_err(|_| kill(&zygote.process))?;
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| at_exit(end));
        Ok(zygote)
    }

    /// Tells it who the application is, and waits until it is ready, or says why it is not.
    fn greet(&self) -> io::Result<()> {
        let requests = self.requests.get()?.as_fd();
        let me = pidfd::open(process::id().cast_signed())?;
        let ended = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof => io::Error::other("it ended before it was ready"),
            _ => error,
        };
        scm_rights::send(requests, &[0], &[me.as_fd()]).map_err(ended)?;
        let mut fds = [PollFd::new(requests, PollFlags::POLLIN)];
        if !poll(&mut fds, Some(Instant::now() + START_WITHIN))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut said = [0; REASON_MAX];
        let (len, _) = scm_rights::receive(requests, &mut said).map_err(ended)?;
        match &said[..len] {
            [0] => Ok(()),
            [] => Err(ended(io::ErrorKind::UnexpectedEof.into())),
            reason => Err(io::Error::other(String::from_utf8_lossy(reason))),
        }
    }
}

/// What executes the program's file with its arguments, and with this word for [`VARIABLE`].
fn this_program(word: &str) -> Command {
    let mut args = env::args_os();
    let mut command = Command::new(image::PATH);
    command
        .arg0(args.next().unwrap_or_default())
        .args(args)
        .env(VARIABLE, word);
    command
}

/// Kills a zygote and reaps it. One that has other rights than this process ends by itself.
fn kill(zygote: &Handle) {
    if zygote.signal(libc::SIGKILL).is_ok() {
        let _ = zygote.reap();
    }
}

/// Ends the zygotes, which would otherwise be left to be reaped by somebody else.
extern "C" fn end() {
    // A thread that sends a request at this moment may hold the lock for ever.
    let Ok(mut zygotes) = ZYGOTES.try_lock() else {
        return;
    };
    zygotes.retire();
    zygotes.retired.iter().for_each(kill);
}

fn send(socket: BorrowedFd<'_>, request: &SpawnRequest) -> io::Result<OwnedFd> {
    let (ours, theirs) = scm_rights::pair()?;
    limits::require_file_size(request.argument.len())?;
    let argument = memfd::create("multiprocess-argument")?;
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
