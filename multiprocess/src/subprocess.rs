//! Running other programs, as Python's `subprocess` does.
//!
//! A program is described by a [`std::process::Command`]. [`call`] runs it with this program's own
//! input and output; [`communicate`] gives it input and returns its output. [`call_timeout`] and
//! [`communicate_timeout`] do so within a time that holds whatever the program and its children do.
//!
//! Exit codes count as in Python: -9 for a program that was ended by signal 9.
//!
//! The functions set up what they need on the [`Command`] that they are given, and that stays on
//! it: use a fresh one for each run.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags},
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{
    Error, Result, output,
    sys::{fork, pidfd, poll::poll, signals},
};

/// What a program wrote and how it ended: what Python's `communicate()` and `returncode` give.
///
/// # Examples
///
/// ```
/// use multiprocess::subprocess::{Output, communicate};
/// use std::process::Command;
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo out; echo err >&2; kill -9 $$"]);
/// let Output { code, stdout, stderr } = communicate(&mut command, b"")?;
/// assert_eq!((code, stdout, stderr), (-9, b"out\n".to_vec(), b"err\n".to_vec()));
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code, or minus the signal that ended the program.
    pub code: i32,
    /// All that it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// Runs a program with this one's input and output and returns its exit code: Python's
/// `subprocess.call`.
///
/// The program stays in this one's process group: it can read the terminal, and Ctrl-C reaches
/// both. A stream that was set to [`Stdio::piped`] is read and thrown away. What the program leaves
/// running is not waited for.
///
/// # Errors
///
/// [`Error::Os`] if the program cannot be started, with its name. A program that fails is no error:
/// its exit code says so.
///
/// # Examples
///
/// ```
/// use multiprocess::subprocess;
/// use std::process::Command;
///
/// let code = subprocess::call(Command::new("sh").args(["-c", "exit 3"]))?;
/// assert_eq!(code, 3);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn call(command: &mut Command) -> Result<i32> {
    Ok(RunningProgram::new(command, None)?
        .finish(&[], Keep::Nothing)?
        .code)
}

/// As [`call`], for at most `timeout`: Python's `call(…, timeout=…)`.
///
/// After that time the program is killed, and so are its children: it gets a process group of its
/// own, with all that follows. Ctrl-C reaches this program only, and the other dies with it. If it
/// reads the terminal, the system stops it (SIGTTIN) until the time is over.
///
/// # Errors
///
/// [`Error::TimeoutExpired`] after the time; otherwise those of [`call`].
///
/// # Examples
///
/// ```
/// use multiprocess::{Error, subprocess};
/// use std::{process::Command, time::Duration};
///
/// let timeout = Duration::from_millis(10);
/// let late = subprocess::call_timeout(Command::new("sleep").arg("600"), timeout);
/// assert!(matches!(late, Err(Error::TimeoutExpired { .. })));
/// # Ok::<(), Error>(())
/// ```
pub fn call_timeout(command: &mut Command, timeout: Duration) -> Result<i32> {
    Ok(RunningProgram::new(command, Some(timeout))?
        .finish(&[], Keep::Nothing)?
        .code)
}

/// Runs a program with `input` as its standard input and returns what it wrote: Python's
/// `Popen.communicate`.
///
/// A stream that the user has set, to a file or to `Stdio::null()` for example, is left so; what it
/// takes is not in the [`Output`]. The others are captured.
///
/// Input and output may be of any size. A program that ends without having read its input is no
/// error. As in Python, this waits for the end of the output, which comes when the program and
/// every child that it left its output to have ended or closed it.
///
/// # Errors
///
/// [`Error::Os`] if the program cannot be started, with its name, or if there is input and the
/// command's standard input was set to something else.
///
/// # Examples
///
/// ```
/// use multiprocess::subprocess;
/// use std::process::Command;
///
/// let out = subprocess::communicate(Command::new("tr").args(["a-z", "A-Z"]), b"hello")?;
/// assert_eq!(out.stdout, b"HELLO");
/// assert_eq!(out.code, 0);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn communicate(command: &mut Command, input: &[u8]) -> Result<Output> {
    RunningProgram::new(capture(command, input)?, None)?.finish(input, Keep::Everything)
}

/// As [`communicate`], for at most `timeout`: Python's `communicate(input, timeout=…)`.
///
/// The time covers the program's run and the end of its output, also if a child of the program
/// holds the output open: then the program and its children are killed, as for [`call_timeout`].
///
/// # Errors
///
/// [`Error::TimeoutExpired`] after the time, with the output so far; otherwise those of [`call`].
///
/// # Examples
///
/// ```
/// use multiprocess::{Error, subprocess};
/// use std::{process::Command, time::Duration};
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo started; sleep 600 | cat"]);
/// match subprocess::communicate_timeout(&mut command, b"", Duration::from_millis(500)) {
///     Err(Error::TimeoutExpired { stdout, .. }) => assert_eq!(stdout, b"started\n"),
///     other => panic!("it sleeps for ten minutes: {other:?}"),
/// }
/// ```
pub fn communicate_timeout(
    command: &mut Command,
    input: &[u8],
    timeout: Duration,
) -> Result<Output> {
    RunningProgram::new(capture(command, input)?, Some(timeout))?.finish(input, Keep::Everything)
}

/// Has a pipe made of each stream that the user has left open.
fn capture<'a>(command: &'a mut Command, input: &[u8]) -> Result<&'a mut Command> {
    let set = SetStreams::of(command);
    if set.stdin && !input.is_empty() {
        let program = command.get_program().to_string_lossy();
        let reason = "its standard input was set to something else";
        let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
        return Err(Error::os(format!("give input to `{program}`"), error));
    }
    if !set.stdin {
        command.stdin(Stdio::piped());
    }
    if !set.stdout {
        command.stdout(Stdio::piped());
    }
    if !set.stderr {
        command.stderr(Stdio::piped());
    }
    Ok(command)
}

/// Which streams of a program go where its user has set, and not into our pipes.
struct SetStreams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl SetStreams {
    /// std tells it in a command's debug text alone: a stream that was set has a field there. A test
    /// holds std to it.
    fn of(command: &Command) -> Self {
        let text = format!("{command:#?}");
        // Of the arguments each line is a string, and begins with a quote.
        let fields: Vec<&str> = text.lines().map(str::trim_start).collect();
        let is_set = |name: &str| {
            let begin = format!("{name}: Some(");
            let field = fields.iter().position(|line| line.starts_with(&begin));
            field.is_some_and(|at| fields.get(at + 1) != Some(&"MakePipe,"))
        };
        Self {
            stdin: is_set("stdin"),
            stdout: is_set("stdout"),
            stderr: is_set("stderr"),
        }
    }
}

/// What becomes of a program's output.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Everything,
    Nothing,
}

/// A program that runs. Dropped before its end, it is killed and waited for.
struct RunningProgram {
    program: String,
    timeout: Option<Duration>,
    /// `None` means for ever, also for a timeout beyond what the clock can count.
    deadline: Option<Instant>,
    child: Child,
    pidfd: OwnedFd,
    /// It has ended. It is reaped last of all, since until then nobody else gets its number,
    /// which is also the number of its group.
    ended: bool,
    reaped: bool,
}

impl RunningProgram {
    fn new(command: &mut Command, timeout: Option<Duration>) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        signals::require_exit_codes(&format!("run `{program}`"))?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if timeout.is_some() {
            // The group that a deadline kills. Out of the terminal's own group it would outlive a
            // Ctrl-C that ends us, so it is bound to us.
            command.process_group(0);
            fork::die_with_this(command);
        }
        // What was printed before the call is to stand before what the program prints.
        output::flush();
        let named = |error| Error::os(format!("run `{program}`"), error);
        let mut child = command.spawn().map_err(named)?;
        match pidfd::open(child.id() as i32) {
            Ok(pidfd) => {
                let (ended, reaped) = (false, false);
                Ok(Self {
                    program,
                    timeout,
                    deadline,
                    child,
                    pidfd,
                    ended,
                    reaped,
                })
            }
            Err(error) if signals::is_reaped_elsewhere(&error) => {
                Err(named(signals::explain_reaped(error)))
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(named(error))
            }
        }
    }

    /// Feeds and drains the program until it has ended and its output is at its end.
    fn finish(mut self, input: &[u8], keep: Keep) -> Result<Output> {
        let mut pipes = Pipes::new(&mut self.child, input, keep);
        let status = self.exchange(&mut pipes);
        let named = |error| {
            let attempt = format!("talk to `{}`", self.program);
            Error::os(attempt, signals::explain_reaped(error))
        };
        match status.map_err(named)? {
            Some(status) => Ok(Output {
                code: status
                    .code()
                    .or(status.signal().map(|signal| -signal))
                    .unwrap_or(-1),
                stdout: pipes.output,
                stderr: pipes.errors,
            }),
            None => {
                self.kill();
                pipes.transfer();
                Err(Error::TimeoutExpired {
                    program: self.program.clone(),
                    timeout: self.timeout.unwrap_or(Duration::MAX),
                    stdout: pipes.output,
                    stderr: pipes.errors,
                })
            }
        }
    }

    /// `None` if the deadline came first.
    fn exchange(&mut self, pipes: &mut Pipes) -> io::Result<Option<ExitStatus>> {
        pipes.set_nonblocking()?;
        loop {
            // Before the wait, since input that is empty or written to its end closes the pipe.
            pipes.transfer();
            let mut fds = pipes.poll_fds();
            // Of output that nobody wants, the end may be far: a child may hold the pipe open.
            if self.ended && (fds.is_empty() || pipes.keep == Keep::Nothing) {
                self.reaped = true;
                return self.child.wait().map(Some);
            }
            // A program that is never silent must not outlast its deadline either.
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                return Ok(None);
            }
            if !self.ended {
                fds.push(PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN));
            }
            poll(&mut fds, self.deadline)?;
            let code = pidfd::peek(self.pidfd.as_fd());
            // If it was reaped elsewhere, its number may be another's: nobody is to be killed by it.
            self.reaped = code.is_err();
            self.ended = code?.is_some();
        }
    }

    /// Kills the program, with its process group if it has its own, and waits for its end.
    fn kill(&mut self) {
        self.reaped = true;
        if self.timeout.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return;
        }
        let group = Pid::from_raw(self.child.id() as i32);
        // One call reaches all: a process that is just being forked gets the signal, or the fork
        // fails. What it does not reach is a process that has left the group.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
        // The others die in their own time, and whoever gets the error may rely on their end. The
        // group keeps its number while it has a member. One that is dead and never reaped by its
        // parent is such a member, so there is a limit.
        for _ in 0..100 {
            while reap_one_of(group) {}
            if killpg(group, Signal::SIGKILL).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

/// Reaps a process of the group that has become our child, as orphans do where we are the init.
fn reap_one_of(group: Pid) -> bool {
    let answer = waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG));
    answer.is_ok_and(|status| status != WaitStatus::StillAlive)
}

/// Our ends of a program's pipes, each until it is at its end, and what came out of them.
struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    input: &'a [u8],
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    output: Vec<u8>,
    errors: Vec<u8>,
    keep: Keep,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, input: &'a [u8], keep: Keep) -> Self {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (output, errors) = (Vec::new(), Vec::new());
        Self {
            stdin,
            input,
            stdout,
            stderr,
            output,
            errors,
            keep,
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        for pipe in self.poll_fds() {
            // The other end is not touched by this.
            fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let stdin = self
            .stdin
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        let stdout = self
            .stdout
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        let stderr = self
            .stderr
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        [stdin, stdout, stderr].into_iter().flatten().collect()
    }

    /// Writes and reads what goes without waiting.
    fn transfer(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            match stdin.write(self.input) {
                Ok(written) => self.input = &self.input[written..],
                Err(error) if is_transient(&error) => {}
                // The program has closed its input: it does not want the rest.
                Err(_) => self.input = &[],
            }
            if self.input.is_empty() {
                self.stdin = None;
            }
        }
        drain(&mut self.stdout, &mut self.output);
        drain(&mut self.stderr, &mut self.errors);
        if self.keep == Keep::Nothing {
            self.output.clear();
            self.errors.clear();
        }
    }
}

/// Reads what a pipe holds, and drops the pipe at its end.
fn drain(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) {
    // At most this much at once, since a program can write as fast as we read.
    const CHUNK_BYTES: u64 = 1 << 20;
    if let Some(source) = pipe {
        match source.take(CHUNK_BYTES).read_to_end(into) {
            Ok(read) if read as u64 == CHUNK_BYTES => {}
            Err(error) if is_transient(&error) => {}
            _ => *pipe = None,
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
