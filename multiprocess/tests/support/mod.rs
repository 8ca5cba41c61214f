//! Runs each test in a process of its own, with a deadline, and ends whatever it leaves behind.
//!
//! What a test and its children print is shown only if the test fails: most of it is the panics that
//! the test expects.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses a part of it, and each another one"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use multiprocess::fork_for_tests;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    Gid, Pid, Uid, dup2_stderr, dup2_stdout, setgroups, setpgid, setresgid, setresuid,
};

pub(crate) mod damage;
pub(crate) mod deaths;
#[cfg(feature = "kill-points")]
pub(crate) mod kill_points;
pub(crate) mod memory;

/// No test needs so long, on whatever machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// As [`DEADLINE`], of tests that are asked to kill more processes than they do.
const DEADLINE_OF_MANY_KILLS: Duration = Duration::from_secs(3600);

/// The deadline of a wait that should end at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The deadline of a wait that should come to nothing.
pub(crate) const NOW: Duration = Duration::from_millis(20);

/// How a line starts that says what a test could not look at.
const SKIPPED: &str = "skipped: ";

/// How a line starts that says what a test has measured, for a longer look.
pub(crate) const MEASURED: &str = "measured: ";

/// A test: its name, which is its claim, and its function.
pub(crate) type Test = (&'static str, fn());

/// A module's tests, by their names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::support::Test] = &[$((stringify!($name), $name)),*];
    };
}

/// `main` of a test binary.
pub(crate) fn main(tests: &[Test]) -> ! {
    let mut args = Arguments::from_args();
    // One thread, so that a test may fork.
    args.test_threads = Some(1);
    let trials = tests
        .iter()
        .map(|&(name, test)| Trial::test(name, move || in_process(test)));
    libtest_mimic::run(&args, trials.collect()).exit()
}

fn in_process(test: fn()) -> Result<(), Failed> {
    let output = memfd_create("output", MFdFlags::MFD_CLOEXEC).expect("memory for a test's output");
    let child = Child::fork(|| {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("a child may lead a group");
        dup2_stdout(&output).expect("the output has a place");
        dup2_stderr(&output).expect("the output has a place");
        test();
    });
    let status = child.wait();
    let _ = killpg(child.pid, Signal::SIGKILL);
    let failure = match status {
        Some(WaitStatus::Exited(_, 0)) => {
            let output = text(&output.into());
            let said = |line: &&str| [SKIPPED, MEASURED].iter().any(|it| line.starts_with(it));
            let said = output.lines().filter(said);
            said.for_each(|line| eprintln!("{line}"));
            return Ok(());
        }
        Some(status) => format!("the test ended with {status:?}"),
        None => format!("the test still ran after {:?}", deadline()),
    };
    Err(format!("{failure}\n{}", text(&output.into())).into())
}

/// How many processes a test kills: as many as the environment says, for a longer look.
pub(crate) fn kills(few: u64) -> u64 {
    many_kills().unwrap_or(few)
}

fn many_kills() -> Option<u64> {
    let count = std::env::var("KILLS").ok()?;
    Some(count.parse().expect("KILLS is a number"))
}

fn deadline() -> Duration {
    many_kills().map_or(DEADLINE, |_| DEADLINE_OF_MANY_KILLS)
}

fn text(output: &File) -> String {
    let len = output.metadata().expect("an open file").len();
    let mut bytes = vec![0; len as usize];
    output
        .read_exact_at(&mut bytes, 0)
        .expect("the file is so long");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether there is a program; a test that lacks it says so, and must not lack it under CI.
pub(crate) fn has_program(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "there is no {name}");
        eprintln!("{SKIPPED}there is no {name}");
    }
    found
}

/// Whether root runs the test; one that needs it says so.
pub(crate) fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("{SKIPPED}the test is not run by root");
    }
    root
}

/// Gives up the rights of root, if the test has them.
pub(crate) fn become_nobody() {
    if Uid::effective().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).expect("root may");
        setresgid(group, group, group).expect("root may");
        setresuid(user, user, user).expect("root may");
    }
}

/// The user and the group `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// What `work` and its children write to standard output.
pub(crate) fn printed(work: impl FnOnce()) -> String {
    let output = memfd_create("output", MFdFlags::MFD_CLOEXEC).expect("memory for what is printed");
    let child = Child::fork(|| {
        dup2_stdout(&output).expect("the output has a place");
        work();
        // As at the end of `main`.
        std::io::stdout().flush().expect("a file takes it");
    });
    child.succeed();
    text(&output.into())
}

/// A forked process; killed, if it still runs, when it goes out of scope.
pub(crate) struct Child {
    pub(crate) pid: Pid,
}

impl Child {
    pub(crate) fn fork(work: impl FnOnce()) -> Self {
        Self {
            pid: Pid::from_raw(fork_for_tests(work).expect("the system can fork")),
        }
    }

    /// The end of the process; `None` if it does not end in time.
    pub(crate) fn wait(&self) -> Option<WaitStatus> {
        let deadline = Instant::now() + deadline();
        while Instant::now() < deadline {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).expect("the child is ours") {
                WaitStatus::StillAlive => thread::sleep(Duration::from_millis(1)),
                status => return Some(status),
            }
        }
        None
    }

    /// Waits for the process and expects that it has done its work.
    #[track_caller]
    pub(crate) fn succeed(&self) {
        let status = self.wait();
        assert!(
            matches!(status, Some(WaitStatus::Exited(_, 0))),
            "ended with {status:?}"
        );
    }

    /// Whether the process sleeps: in the wait of the call that it makes.
    pub(crate) fn is_asleep(&self) -> bool {
        is_asleep(self.pid.as_raw().cast_unsigned())
    }

    /// Waits until the process does: its call has found nothing and waits.
    pub(crate) fn wait_until_asleep(&self) {
        wait_until_asleep(self.pid.as_raw().cast_unsigned());
    }

    /// Kills the process with SIGKILL and does not wait for its end.
    #[track_caller]
    pub(crate) fn signal(&self) {
        kill(self.pid, Signal::SIGKILL).expect("the child is not waited for yet");
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal();
        self.end();
    }

    /// Waits for the end of a process that is killed.
    #[track_caller]
    pub(crate) fn end(&self) {
        let status = self.wait();
        assert!(
            matches!(status, Some(WaitStatus::Signaled(..))),
            "ended with {status:?}"
        );
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After a successful wait the number may be another's: it is then no child of ours.
        if let Ok(WaitStatus::StillAlive) = waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Whether a child sleeps: in the wait of the call that it makes.
fn is_asleep(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a child is seen");
    stat.rsplit_once(')')
        .is_some_and(|(_, state)| state.starts_with(" S"))
}

/// Waits until a child does.
pub(crate) fn wait_until_asleep(pid: u32) {
    while !is_asleep(pid) {
        thread::yield_now();
    }
}

/// Whether a process runs no more; it may still be in the process table.
pub(crate) fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_some_and(|state| state.starts_with(['Z', 'X']))
    }) || kill(Pid::from_raw(pid.cast_signed()), None).is_err()
}

/// Waits until none of these processes runs any more.
#[track_caller]
pub(crate) fn all_end(pids: &[u32]) {
    let deadline = Instant::now() + SOON;
    while let Some(pid) = pids.iter().find(|&&pid| !is_gone(pid)) {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Open descriptors, mappings and children of this process.
fn possessions() -> (usize, usize, String) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    // Large enough from the start: memory taken while the list is read would stand in it.
    let mut mappings = String::with_capacity(1 << 16);
    let mut list = File::open("/proc/self/maps").unwrap();
    list.read_to_string(&mut mappings).unwrap();
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap();
    (descriptors, mappings.lines().count(), children)
}

/// Does the work so often and looks for what it has left.
#[track_caller]
pub(crate) fn leaves_nothing(times: usize, mut work: impl FnMut()) {
    // The first time, buffers and caches come into being that stay.
    work();
    let before = possessions();
    assert_eq!(before.2, "");
    (0..times).for_each(|_| work());
    assert_eq!(possessions(), before);
}

/// Waits until `holds` does.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a future in this thread, and not for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().expect("a runtime");
    let begin = Instant::now();
    let done = runtime.block_on(async { tokio::time::timeout(SOON, future).await });
    // The limit polls the future once more, which then finds what nobody has woken it for.
    assert!(begin.elapsed() < SOON, "nobody has woken it");
    done.expect("it ends soon")
}
