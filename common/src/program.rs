//! A program under way, for tests and tools: its lines and its end, each waited for until a
//! deadline. When it is dropped, it is killed with all that descends from it.
//!
//! Its processes are found by a mark in their environment. All descendants inherit it, also those
//! in process groups and sessions of their own.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TICK: Duration = Duration::from_millis(1);
/// How long the processes that a drop has killed may take to be gone.
const GRACE: Duration = Duration::from_secs(10);

/// A program under way. Its standard output is read here, line by line.
pub struct Program {
    /// Its own process.
    pub child: Child,
    name: String,
    mark: String,
    lines: Receiver<String>,
    errors: Option<Receiver<String>>,
}

/// What a program left, once it has ended.
#[derive(Debug)]
pub struct Finished {
    /// The lines on standard output that had not been read before.
    pub out: String,
    /// All of standard error; empty if the command did not pipe it.
    pub err: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// A command that starts a program as a shell does at a terminal: what this process ignores of a
/// terminal's signals, since nohup has started it or a script in the background, the program does
/// not.
#[must_use]
pub fn by_hand(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT").arg(program);
    command
}

/// Writes a program, or a script, that is then to be run.
///
/// Another process writes it. The system runs no file that anybody has open to write (ETXTBSY), and had
/// this process it open, then so would a child that another thread starts at that moment.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub fn write_program(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut writer = Command::new("sh");
    writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]);
    let mut writer = writer.arg(path).stdin(Stdio::piped()).spawn()?;
    let mut stdin = writer.stdin.take().expect("it is piped");
    let written = stdin.write_all(bytes);
    drop(stdin);
    match writer.wait()?.success() {
        true => written,
        false => Err(io::Error::other(format!("write {}", path.display()))),
    }
}

impl Program {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// Fails as [`Command::spawn`] does. The error names the program.
    pub fn start(command: &mut Command) -> io::Result<Program> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // The number is in the name of the variable, so that a program that starts others by this
        // function does not replace its own mark in their environment.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let variable = format!("{}{number}", mark_of(process::id()));
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .env(&variable, "1")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("start {name}: {error}")))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        // The threads end with the last process that holds the pipe, and are never joined.
        thread::spawn(move || {
            let mut texts = BufReader::new(stdout).lines().map_while(Result::ok);
            texts.all(|text| sender.send(text).is_ok());
        });
        let errors = child.stderr.take().map(|mut stderr| {
            let (sender, errors) = mpsc::channel();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stderr.read_to_end(&mut bytes);
                let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
            });
            errors
        });
        Ok(Program {
            child,
            name,
            mark: format!("{variable}="),
            lines,
            errors,
        })
    }

    /// The number of its own process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line that it or a process of its prints.
    ///
    /// # Errors
    ///
    /// `Timeout` if there is none until the deadline; `Disconnected` if no process is left that
    /// could print one.
    pub fn line(&self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left)
    }

    /// Waits for a line that starts so. Returns what was printed up to that line and with it.
    ///
    /// # Errors
    ///
    /// Fails if there is no such line until the deadline, or until the program ends.
    pub fn until(&self, start: &str, deadline: Instant) -> io::Result<String> {
        let mut printed = String::new();
        loop {
            let line = self.line(deadline).map_err(|error| {
                let text = format!("{} prints no {start:?}: {error}\n{printed}", self.name);
                io::Error::new(io::ErrorKind::TimedOut, text)
            })?;
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with(start) {
                return Ok(printed);
            }
        }
    }

    /// Waits for the end of its own process; `None` if it still runs at the deadline.
    ///
    /// # Errors
    ///
    /// Fails as [`Child::try_wait`] does.
    pub fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || Instant::now() > deadline {
                return Ok(status);
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until it has ended and all that it printed is read.
    ///
    /// # Errors
    ///
    /// Fails if it still runs at the deadline, or if another process holds its output open.
    pub fn finish(mut self, deadline: Instant) -> io::Result<Finished> {
        let mut out = String::new();
        let hangs = |out: &str| {
            let text = format!("{} does not end; it printed:\n{out}", self.name);
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        loop {
            match self.line(deadline) {
                Ok(line) => out.extend([&line, "\n"]),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(hangs(&out)),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let err = match &self.errors {
            Some(errors) => errors.recv_timeout(left).map_err(|_| hangs(&out))?,
            None => String::new(),
        };
        let error = hangs(&out);
        let status = self.wait(deadline)?.ok_or(error)?;
        Ok(Finished { out, err, status })
    }

    /// Kills its own process, and waits for its end.
    ///
    /// # Errors
    ///
    /// Fails as [`Child::kill`] and [`Child::wait`] do.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// The processes that descend from it and run, itself included.
    #[must_use]
    pub fn running(&self) -> Vec<i32> {
        marked(&self.mark)
    }

    /// Kills one of its processes; false if that is gone, or is none of its.
    #[must_use]
    pub fn kill_process(&self, pid: i32) -> bool {
        is_marked(pid, &self.mark) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its own process goes first, so that it replaces none of the others.
        let _ = self.kill();
        let deadline = Instant::now() + GRACE;
        // Again and again, since one may fork while the others are killed.
        while Instant::now() < deadline {
            let running = self.running();
            if running.is_empty() {
                return;
            }
            for pid in running {
                let _ = self.kill_process(pid);
            }
            thread::sleep(TICK);
        }
    }
}

/// How the mark of each [`Program`] of a process begins, as [`marked`] takes it.
#[must_use]
pub fn mark_of(process: u32) -> String {
    format!("STARTED_BY_{process}_")
}

/// The running processes that have an environment variable, written `NAME=value`, that starts so.
///
/// A process that has ended and was not waited for has no environment, and is not among them. Nor is
/// another user's. One that becomes another program just now may be missed, but not if it is the only
/// one: none is none.
#[must_use]
pub fn marked(mark: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let that = |has_mark: fn(i32, &str) -> bool| {
        let pids = pids.iter().copied();
        pids.filter(|pid| has_mark(*pid, mark)).collect::<Vec<_>>()
    };
    let shown = that(|pid, mark| shows(&environ(pid), mark));
    match shown.is_empty() {
        true => that(is_marked),
        false => shown,
    }
}

fn environ(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn shows(environ: &[u8], mark: &str) -> bool {
    let mut variables = environ.split(|byte| *byte == 0);
    variables.any(|variable| variable.starts_with(mark.as_bytes()))
}

/// Whether a process has the mark, which may be between two programs and show it in a moment.
fn is_marked(pid: i32, mark: &str) -> bool {
    let own = Stat::read(process::id().cast_signed());
    let begin = Instant::now();
    loop {
        let before = Stat::read(pid);
        let environ = environ(pid);
        if shows(&environ, mark) {
            return true;
        }
        let time = match (before, Stat::read(pid), &own) {
            // One that is older than this process has no mark of ours. It may show no environment
            // for ever, as the first process of some containers.
            (Some(before), Some(after), Some(own)) if before.started >= own.started => {
                time_to_show_environment(&before, &after, environ.is_empty())
            }
            _ => Duration::ZERO,
        };
        if begin.elapsed() >= time {
            return false;
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// How long a process in whose environment no mark was seen may take to show it. One that becomes
/// another program, in the midst of `execve`, shows none or a part of it.
fn time_to_show_environment(before: &Stat, after: &Stat, is_empty: bool) -> Duration {
    if after.memory == 0 {
        // A thread of the kernel, or a process that has ended.
        Duration::ZERO
    } else if after.environment == 0 || before.environment != after.environment {
        // It is being loaded, which may need the disk, or it was another program a moment ago.
        GRACE
    } else if is_empty {
        // It is just being told its environment, or that is really empty.
        Duration::from_millis(20)
    } else {
        Duration::ZERO
    }
}

/// What the system tells of a process in `/proc/PID/stat`.
struct Stat {
    started: u64,
    /// The size of its memory, in bytes.
    memory: u64,
    /// The address of its environment.
    environment: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything. Behind it is the third field of proc(5).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            started: field(22)?,
            memory: field(23)?,
            environment: field(50)?,
        })
    }
}

/// A program of a package's `examples/`, as cargo builds it for that package's tests. `package` is the
/// package's folder.
///
/// # Panics
///
/// If it is not built, or older than its source: `cargo test --test NAME` alone builds no examples.
/// The message says what builds it.
pub fn example(package: &Path, name: &str) -> Command {
    let test = env::current_exe().expect("a test is a program");
    let target = test.ancestors().nth(2).expect("it is in a target folder");
    let program = target.join("examples").join(name);
    let source = package.join(format!("examples/{name}.rs"));
    let changed = |file: &Path| fs::metadata(file).and_then(|data| data.modified());
    let built = changed(&program).is_ok_and(|built| changed(&source).is_ok_and(|at| at <= built));
    assert!(
        built,
        "{} is not built: cd {} && cargo build --examples",
        program.display(),
        package.display()
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// A program that is one file and needs std alone, changed as a reader may change it: in each edit
/// the first text is replaced by the second. It is compiled into
/// `folder`, which should be the test's own.
///
/// # Errors
///
/// What the compiler says, if it refuses the changed program.
///
/// # Panics
///
/// If a text to be replaced is not there, or there is no compiler: a test of a hint must follow the
/// program that the hint is about.
pub fn edited(source: &Path, edits: &[(&str, &str)], folder: &Path) -> Result<Command, String> {
    let mut text = fs::read_to_string(source).expect("the program has a source");
    for (old, new) in edits {
        assert!(text.contains(old), "{} has no `{old}`", source.display());
        text = text.replacen(old, new, 1);
    }
    let name = source.file_name().expect("it is a file");
    let file = folder.join(name);
    let program = file.with_extension("");
    fs::write(&file, text).expect("the changed source can be written");
    let compiler = env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut compile = Command::new(compiler);
    compile.args(["--edition", "2024", "-C", "opt-level=1", "-o"]);
    let compiled = compile.arg(&program).arg(&file).output();
    let compiled = compiled.expect("there is a compiler");
    match compiled.status.success() {
        true => Ok(Command::new(program)),
        false => Err(String::from_utf8_lossy(&compiled.stderr).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn shell(script: &str) -> Program {
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stderr(Stdio::piped());
        Program::start(command).expect("there is a shell")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_drop_kills_what_descends_from_the_program_in_any_session() {
        let program = shell("setsid sh -c 'echo up; sleep 1000; :' & setsid sleep 1000");
        assert_eq!(program.line(soon()).as_deref(), Ok("up"));
        let mark = program.mark.clone();
        assert!(marked(&mark).len() >= 2);
        drop(program);
        assert_eq!(marked(&mark), Vec::<i32>::new());
    }

    #[test]
    fn a_program_that_was_written_runs_while_other_threads_start_programs() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        Command::new("true").status().expect("it is there");
                    }
                });
            }
            let outcomes = (0..100).map(|number| {
                let path = folder.path().join(format!("{number}"));
                write_program(&path, b"#!/bin/sh\nexit 7\n").expect("there is room");
                Command::new(path).status().map(|status| status.code())
            });
            let outcomes: io::Result<Vec<_>> = outcomes.collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(outcomes.expect("they run"), [Some(7); 100]);
        });
    }

    #[test]
    fn a_process_that_becomes_another_program_is_seen_at_every_look() {
        let program = shell(r#"s='exec sh -c "$0" "$0"'; echo up; exec sh -c "$s" "$s""#);
        assert_eq!(program.line(soon()).as_deref(), Ok("up"));
        for look in 0..300 {
            let running = program.running();
            assert_eq!(running.len(), 1, "look {look}: {running:?}");
        }
    }

    #[test]
    fn a_finished_program_leaves_what_was_not_read_and_its_end() {
        let program = shell("echo one; echo two; echo three; echo four >&2; exit 5");
        let read = program.until("two", soon()).expect("it prints it");
        assert_eq!(read, "one\ntwo\n");
        let finished = program.finish(soon()).expect("it ends");
        assert_eq!((&*finished.out, &*finished.err), ("three\n", "four\n"));
        assert_eq!(finished.status.code(), Some(5));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let now = Instant::now;
        let mut program = shell("exec sleep 1000");
        assert_eq!(program.line(now()), Err(RecvTimeoutError::Timeout));
        assert!(program.until("a", now()).is_err());
        assert_eq!(program.wait(now()).expect("it is ours"), None);
        assert!(program.finish(now()).is_err());
        let ended = shell("echo one").until("two", soon());
        let text = ended.expect_err("it ends before").to_string();
        assert!(
            text.contains("\"two\"") && text.ends_with("one\n"),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = Program::start(&mut Command::new("/nowhere/program")).err();
        let text = error.expect("there is none").to_string();
        assert!(text.starts_with("start /nowhere/program: "), "{text}");
    }
}
