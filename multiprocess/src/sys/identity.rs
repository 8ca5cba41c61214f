//! Who a process is, beyond its number, which the system gives again to others.

use std::fs;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::pidfd;
#[cfg(test)]
use super::simulated;

/// A process: its number and when it started, in one word that no other process has had or will
/// have until the machine restarts. Linux gives numbers below 2^22; the start is in clock ticks, and
/// 0 where `/proc` does not tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(NonZeroU64);

const PID_BITS: u32 = 22;

/// The identity of the calling process, if it is known.
static CACHE: OnceLock<&'static AtomicU64> = OnceLock::new();

impl Identity {
    /// The calling process. Costs a load, and after a fork a look into `/proc`.
    #[inline]
    pub(crate) fn mine() -> Self {
        #[cfg(test)]
        if let Some(party) = simulated::identity().and_then(Self::from_word) {
            return party;
        }
        let known = CACHE.get().map(|cache| cache.load(Relaxed));
        match known.and_then(NonZeroU64::new) {
            Some(known) => Self(known),
            None => Self::look(),
        }
    }

    #[cold]
    fn look() -> Self {
        let pid = std::process::id();
        let start = if proc_is_ours() { stat(pid) } else { None };
        let start = start.map_or(0, |stat| stat.start);
        let mine = NonZeroU64::new(start << PID_BITS | u64::from(pid)).expect("a pid is not 0");
        let cache = CACHE.get_or_init(wiped_on_fork);
        cache.store(mine.get(), Relaxed);
        Self(mine)
    }

    /// The identity that was stored as `word`; none is stored as 0.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }

    /// A descriptor that becomes readable when the process has ended; `None` if it has, or if the
    /// system gives none.
    pub(crate) fn pidfd(self) -> Option<OwnedFd> {
        let opened = pidfd::open(self.pid().cast_signed()).ok()?;
        // The number may have become another's before it was opened.
        self.is_alive().then_some(opened)
    }

    pub(crate) fn pid(self) -> u32 {
        (self.word() & ((1 << PID_BITS) - 1)) as u32
    }

    /// Whether the process still runs: it has not exited, though its parent may not have waited for
    /// it yet. When the system does not let us see, it counts as alive.
    pub(crate) fn is_alive(self) -> bool {
        let pid = self.pid();
        #[cfg(test)]
        if let Some(is_alive) = simulated::is_alive(self.word(), pid) {
            return is_alive;
        }
        let start = self.word() >> PID_BITS;
        if kill(Pid::from_raw(pid.cast_signed()), None) == Err(Errno::ESRCH) {
            return false;
        }
        match stat(pid) {
            Some(now) if start != 0 => now.start == start && !now.has_ended(),
            _ => true,
        }
    }
}

/// Whether `/proc` numbers processes as this one does. One made by `unshare --pid` alone has the
/// `/proc` of the processes outside, where its number is another's.
pub(crate) fn proc_is_ours() -> bool {
    let link = fs::read_link("/proc/self");
    link.is_ok_and(|number| number.to_str() == Some(&std::process::id().to_string()))
}

/// Whether a process was stopped, by Ctrl-Z for example.
pub(crate) fn is_stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state == 'T')
}

/// The number of a process's parent.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = stat_from_field_3(&format!("/proc/{pid}/stat"))?;
    stat.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether no thread of a process runs: each was stopped, sleeps where no signal wakes it, or has
/// ended. A thread in such a sleep stops before it does anything else.
pub(crate) fn stands_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = stat_from_field_3(&thread.path().join("stat").to_string_lossy());
        stat.is_none_or(|stat| stat.starts_with(['T', 't', 'D', 'Z', 'X']))
    })
}

/// What `/proc/<pid>/stat` says of a process: proc_pid_stat(5).
struct ProcStat {
    state: char,
    threads: u32,
    start: u64,
}

impl ProcStat {
    /// Whether all of it has ended: the state is that of its main thread, which others may outlive.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

fn stat(pid: u32) -> Option<ProcStat> {
    let stat = stat_from_field_3(&format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    Some(ProcStat {
        state: field(3)?.chars().next()?,
        threads: field(20)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
    })
}

/// A line as `/proc/<pid>/stat`, from its third field on.
fn stat_from_field_3(path: &str) -> Option<String> {
    let line = fs::read_to_string(path).ok()?;
    // The name stands in parentheses and may itself contain spaces and parentheses.
    Some(line.rsplit_once(')')?.1.trim_start().to_string())
}

/// Has a child that was just forked look for its own identity.
extern "C" fn forget() {
    if let Some(cache) = CACHE.get() {
        cache.store(0, Relaxed);
    }
}

/// A word that is 0 in a newly forked process, whatever the parent had stored in it.
fn wiped_on_fork() -> &'static AtomicU64 {
    let page = 4096;
    // SAFETY: a new private anonymous mapping, which touches no existing one.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert!(address != libc::MAP_FAILED, "no memory for one page");
    // SAFETY: the page was mapped above; the advice changes what a child sees, nothing here.
    let is_wiped = unsafe { libc::madvise(address, page, libc::MADV_WIPEONFORK) } == 0;
    if !is_wiped {
        // Some sandboxes do not take the advice.
        // SAFETY: the handler is a function of this image, which stays loaded; all it does is to load and
        // store atomics.
        let answer = unsafe { libc::pthread_atfork(None, None, Some(forget)) };
        assert!(answer == 0, "no memory for a handler of forks");
    }
    // SAFETY: the page is zeroed, aligned, and never unmapped.
    unsafe { AtomicU64::from_ptr(address.cast()) }
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsFd,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use nix::poll::{PollFd, PollFlags};

    use super::*;
    use crate::sys::poll::poll;

    fn identity(pid: u32, start: u64) -> Identity {
        Identity::from_word(start << PID_BITS | u64::from(pid)).expect("a pid is not 0")
    }

    #[test]
    fn a_process_with_the_number_of_another_is_not_that_one() {
        let pid = std::process::id();
        let start = stat(pid).expect("there is a /proc").start;
        assert!(identity(pid, start).is_alive());
        assert!(!identity(pid, start - 1).is_alive());
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive_though_nobody_has_waited_for_it() {
        let mut child = Command::new("true").spawn().expect("there is a true");
        let start = stat(child.id()).expect("nobody has waited for it").start;
        let pidfd = pidfd::open(child.id().cast_signed()).expect("it is not reaped");
        let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, None).expect("a poll");
        assert!(!identity(child.id(), start).is_alive());
        child.wait().expect("it is ours");
    }

    #[test]
    fn a_process_whose_main_thread_has_ended_is_alive_while_another_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, program) = (folder.path().join("it.c"), folder.path().join("it"));
        let text = "#include <pthread.h>\n#include <unistd.h>\n\
                    static void *wait(void *it) { char c; read(0, &c, 1); return it; }\n\
                    int main(void) { pthread_t it; pthread_create(&it, 0, wait, 0);\n\
                    pthread_exit(0); }\n";
        fs::write(&source, text).expect("it is ours");
        let mut compile = Command::new("cc");
        let compiled = compile.args(["-pthread", "-o"]).args([&program, &source]);
        assert!(compiled.status().expect("there is a cc").success());
        let mut child = Command::new(&program);
        let mut child = child.stdin(Stdio::piped()).spawn().expect("it is ours");
        let mine = || stat(child.id()).expect("nobody has waited for it");
        let me = identity(child.id(), mine().start);
        let deadline = Instant::now() + Duration::from_secs(60);
        while mine().state != 'Z' {
            assert!(Instant::now() < deadline, "its main thread goes on");
        }
        assert!(me.is_alive());
        // Its other thread reads the end.
        drop(child.stdin.take());
        child.wait().expect("it is ours");
        assert!(!me.is_alive());
    }
}
