//! The zygote's own side: what it does from its start to its end.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::FileExt,
            process::{CommandExt, parent_id},
        },
    },
    panic::{self, AssertUnwindSafe},
    process,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    poll::{PollFd, PollFlags},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{self, Pid},
};

use super::{AGAIN, REASON_MAX, REQUEST, VARIABLE, this_program};
use crate::{
    Error,
    spawn_request::SpawnRequest,
    sys::{
        call::Function,
        children,
        constructor::before_main,
        descriptors, environment,
        fork::{self, Forked, exit_now},
        fork_private::ForkPrivate,
        image, pidfd,
        poll::poll,
        scm_rights, signals,
    },
};

before_main!(before_main);

/// What happens before `main` in every program that has this crate. In the zygote `main` is not
/// reached.
fn before_main(call_other_constructors: impl FnOnce()) {
    // A library may be loaded long after the program has begun, which then has no zygote.
    if !image::holds_this_crate() {
        return;
    }
    // A program may be started with SIGCHLD ignored. Then the system takes away how its children
    // ended. The program itself has not ignored the signal, since it has not begun.
    signals::stop_ignoring(Signal::SIGCHLD);
    let Ok(word) = env::var(VARIABLE) else {
        return;
    };
    if !is_asked_for() {
        // In a sandbox that hides what the standard input is, `main` would start a zygote in its turn,
        // and that another.
        if word == parent_id().to_string() {
            exit_now(1);
        }
        return;
    }
    let life = panic::catch_unwind(AssertUnwindSafe(|| {
        let requests = io::stdin().as_fd().try_clone_to_owned()?;
        match prepare(&word) {
            Ok(()) => {
                // The program's functions may rely on them.
                call_other_constructors();
                ZygoteServer::new(requests)?.serve()
            }
            Err(error) => refuse(requests.as_fd(), &error),
        }
    }));
    exit_now(i32::from(!matches!(life, Ok(Ok(())))));
}

/// Whether a program of ours asks for the zygote. Who executes a program that gives rights shall not
/// choose the functions that it calls.
fn is_asked_for() -> bool {
    scm_rights::is_end_of_pair(io::stdin().as_fd()) && !image::gives_rights()
}

/// Tells the application why there is no zygote.
fn refuse(requests: BorrowedFd<'_>, error: &io::Error) -> io::Result<()> {
    // It greets first.
    scm_rights::receive(requests, &mut [0])?;
    let reason = error.to_string();
    let len = reason.floor_char_boundary(REASON_MAX);
    scm_rights::send(requests, &reason.as_bytes()[..len], &[])
}

/// Makes the process what a program is at the start of `main`, but for its standard input.
fn prepare(word: &str) -> io::Result<()> {
    leave_inherited(word)?;
    let null = {
        let file = File::options().read(true).write(true).open("/dev/null")?;
        // A duplicate, since the file may have come to stand where a standard stream is missing. It
        // is closed here, so that the stream is seen to be missing below.
        file.as_fd().try_clone_to_owned()?
    };
    unistd::dup2_stdin(&null)?;
    let is_closed = |fd: BorrowedFd<'_>| fcntl(fd, FcntlArg::F_GETFD) == Err(Errno::EBADF);
    if is_closed(io::stdout().as_fd()) {
        unistd::dup2_stdout(&null)?;
    }
    if is_closed(io::stderr().as_fd()) {
        unistd::dup2_stderr(&null)?;
    }
    environment::remove(VARIABLE).map_err(|error| {
        io::Error::other(match error {
            Error::Threaded { .. } => {
                "a library has started a thread before `main`, as profilers and allocators may, and the \
                 zygote cannot be forked then"
                    .to_string()
            }
            error => error.to_string(),
        })
    })?;
    // As the start of each Rust program does.
    signals::ignore(Signal::SIGPIPE);
    Ok(())
}

/// Has the process no descriptor of the application, whose threads may have opened one at any moment
/// up to the execution. Those that libraries have opened here before this look the same, so the program
/// is executed once more, without the first.
fn leave_inherited(word: &str) -> io::Result<()> {
    if word.ends_with(AGAIN) {
        return Ok(());
    }
    let inherited = descriptors::inherited()?;
    if inherited.is_empty() {
        return Ok(());
    }
    inherited.into_iter().for_each(descriptors::close_on_exec);
    Err(this_program(&format!("{word}{AGAIN}")).exec())
}

struct ZygoteServer {
    /// Closed when the application has another zygote.
    requests: Option<ForkPrivate<OwnedFd>>,
    application: ForkPrivate<OwnedFd>,
    deaths: ForkPrivate<SignalFd>,
    /// Where each child's exit code is awaited.
    children: HashMap<i32, ForkPrivate<OwnedFd>>,
}

impl ZygoteServer {
    /// Greets the application, whose first message carries its pidfd.
    fn new(requests: OwnedFd) -> io::Result<Self> {
        signals::block_all();
        let _ = prctl::set_name(c"zygote");
        let (_, application) = scm_rights::receive(requests.as_fd(), &mut [0])?;
        let application = application.into_iter().next();
        let application = application.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let deaths = SignalFd::with_flags(&child_ended, flags)?;
        scm_rights::send(requests.as_fd(), &[0], &[])?;
        Ok(Self {
            requests: Some(ForkPrivate::new(requests)),
            application: ForkPrivate::new(application),
            deaths: ForkPrivate::new(deaths),
            children: HashMap::new(),
        })
    }

    /// Forks and reaps, until the application is gone, or has another zygote and no child of this.
    fn serve(&mut self) -> io::Result<()> {
        while self.requests.is_some() || !self.children.is_empty() {
            let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![
                readable(self.application.get()?.as_fd()),
                readable(self.deaths.get()?.as_fd()),
            ];
            if let Some(requests) = &self.requests {
                fds.push(readable(requests.get()?.as_fd()));
            }
            poll(&mut fds, None)?;
            let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
            let (application_ended, requested) =
                (is_ready(&fds[0]), fds.get(2).is_some_and(is_ready));
            if application_ended {
                return Ok(());
            }
            // Signals merge, so their number says nothing.
            while let Ok(Some(_)) = self.deaths.get()?.read_signal() {}
            self.reap_ended();
            if requested {
                self.take_request()?;
            }
        }
        Ok(())
    }

    /// Tells the exit codes of all children that have ended.
    fn reap_ended(&mut self) {
        while let Ok(Some(ended)) = children::peek() {
            // First, so that nothing is left of a child whose end was told.
            children::reap(ended.pid);
            if let Some(answers) = self.children.remove(&ended.pid)
                && let Ok(answers) = answers.get()
            {
                // Nobody may be asking any more.
                let _ = scm_rights::send(answers.as_fd(), &ended.code.to_ne_bytes(), &[]);
            }
        }
    }

    /// Takes a request and answers it.
    fn take_request(&mut self) -> io::Result<()> {
        let Some(requests) = &self.requests else {
            return Ok(());
        };
        let mut message = [0; REQUEST];
        let (len, descriptors) = scm_rights::receive(requests.get()?.as_fd(), &mut message)?;
        if len == 0 {
            self.requests = None;
            return Ok(());
        }
        let mut descriptors = descriptors.into_iter();
        let Some(answers) = descriptors.next() else {
            // Out of descriptors: the socket is closed again, which is an answer.
            return Ok(());
        };
        // Private before the fork, so that a child does not keep it open.
        let private = ForkPrivate::new(answers);
        let answers = private.get()?.as_fd();
        match run(&message, descriptors.collect()) {
            Ok((pid, pidfd)) => {
                let _ = scm_rights::send(answers, &pid.to_ne_bytes(), &[pidfd.as_fd()]);
                self.children.insert(pid, private);
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = scm_rights::send(answers, &(-errno).to_ne_bytes(), &[]);
            }
        }
        Ok(())
    }
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
                // A child without a handle would be nobody's. It is reaped as all others are.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                Err(error)
            }
        },
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
