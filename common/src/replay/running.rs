use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::leftovers;
use super::lines::{Lines, Stream};
use crate::evidence::LeftBehind;
use crate::observed::Ended;
use crate::transcript::{Printed, Source};

/// What the programs of a run find in their environment and arguments.
pub(super) struct Environment {
    pub(super) variables: Vec<(&'static str, OsString)>,
    pub(super) address: String,
    pub(super) timeout: String,
}

/// One run under way: its programs, and what arrives from them.
pub(super) struct Running {
    pub(super) start: Instant,
    pub(super) programs: Vec<StartedProgram>,
    pub(super) printed: Vec<Printed>,
    /// The longest time by which a wait of the replay took longer than it should have.
    pub(super) stall: Duration,
    environment: Environment,
    mark: String,
    open_streams: usize,
    sender: Sender<Arrival>,
    messages: Receiver<Arrival>,
}

/// A program under way, the leader of a process group of its own.
pub(super) struct StartedProgram {
    pid: i32,
    pub(super) ended: Option<Ended>,
}

pub(super) enum Arrival {
    Printed(Printed),
    Closed,
    Ended(i32, io::Result<ExitStatus>),
}

impl Running {
    pub(super) fn new(start: Instant, environment: Environment) -> Running {
        let (sender, messages) = mpsc::channel();
        Running {
            start,
            programs: Vec::new(),
            printed: Vec::new(),
            stall: Duration::ZERO,
            environment,
            mark: leftovers::next_mark(),
            open_streams: 0,
            sender,
            messages,
        }
    }

    /// Starts a program, and threads that wait for its lines and for its end. The threads are never
    /// joined: a process left behind may hold a pipe open, and its reader would not end.
    pub(super) fn start(
        &mut self,
        program: &Path,
        args: &[&str],
        sources: [Source; 2],
    ) -> io::Result<i32> {
        let fill = |arg: &&str| {
            arg.replace("{address}", &self.environment.address)
                .replace("{timeout}", &self.environment.timeout)
        };
        let mut child = Command::new(program)
            .args(args.iter().map(fill))
            .envs(self.environment.variables.iter().cloned())
            .env(leftovers::MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("start {}: {error}", program.display()),
                )
            })?;
        let pid = child.id().cast_signed();
        self.listen(&mut child, sources);
        self.await_end(child);
        self.programs.push(StartedProgram { pid, ended: None });
        Ok(pid)
    }

    /// Reads both streams of a program in one thread, so that their lines have an order: see
    /// [`Lines::arrive`].
    fn listen(&mut self, child: &mut Child, sources: [Source; 2]) {
        let out = child.stdout.take().expect("stdout is piped");
        let errors = child.stderr.take().expect("stderr is piped");
        self.open_streams += 2;
        let (start, sender) = (self.start, self.sender.clone());
        let mut lines = Lines {
            out: Stream::new(out.into(), sources[0]),
            errors: Stream::new(errors.into(), sources[1]),
        };
        thread::spawn(move || {
            while lines.arrive(start, &mut |arrival| {
                let _ = sender.send(arrival);
            }) {}
        });
    }

    fn await_end(&self, mut child: Child) {
        let sender = self.sender.clone();
        let pid = child.id().cast_signed();
        thread::spawn(move || {
            let _ = sender.send(Arrival::Ended(pid, child.wait()));
        });
    }

    /// The next line, if one arrives in time.
    pub(super) fn next(&mut self, time: Duration) -> Option<Printed> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(message) = self.messages.recv_timeout(left) else {
                self.stall = self.stall.max(deadline.elapsed());
                return None;
            };
            match message {
                Arrival::Printed(printed) => {
                    let arrived = printed.at.map(|at| self.start.elapsed().saturating_sub(at));
                    self.stall = self.stall.max(arrived.unwrap_or_default());
                    return Some(printed);
                }
                Arrival::Closed => self.open_streams -= 1,
                Arrival::Ended(pid, status) => {
                    let program = self.programs.iter_mut().find(|program| program.pid == pid);
                    program
                        .expect("it was started here")
                        .ended
                        .get_or_insert(how(status));
                }
            }
            if self.is_over() {
                return None;
            }
        }
    }

    /// Whether all programs have ended and all their output has arrived.
    pub(super) fn is_over(&self) -> bool {
        self.open_streams == 0 && self.programs.iter().all(|program| program.ended.is_some())
    }

    /// Kills what still runs, and notes why it ended.
    pub(super) fn end(&mut self, why: Ended) {
        let mut under_way = 0;
        for program in &mut self.programs {
            if program.ended.is_none() {
                program.ended = Some(why);
                under_way += 1;
                // Our thread has not reaped the leader yet, so its group still exists.
                let _ = killpg(Pid::from_raw(program.pid), Signal::SIGKILL);
            }
        }
        // A killed program is waited for, so that nobody takes it for an orphan.
        while self.open_streams > 0 || under_way > 0 {
            let Ok(message) = self.messages.recv_timeout(leftovers::GRACE) else {
                return;
            };
            match message {
                Arrival::Printed(printed) => self.printed.push(printed),
                Arrival::Closed => self.open_streams -= 1,
                Arrival::Ended(..) => under_way -= 1,
            }
        }
    }

    /// Ends what the programs left behind, and names it.
    pub(super) fn clear(&self, grace: Duration) -> Vec<LeftBehind> {
        let groups: Vec<i32> = self.programs.iter().map(|program| program.pid).collect();
        leftovers::clear(&self.mark, &groups, grace)
    }
}

fn how(status: io::Result<ExitStatus>) -> Ended {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        },
        // Only a program that reaps children which are not its own gets here.
        Err(_) => Ended::Hung,
    }
}
