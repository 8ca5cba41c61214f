//! The children of this process, whoever they are: waitid(2) and `/proc`.

use std::{fs, io, mem::MaybeUninit, ptr, time::Duration};

/// A child that has ended, with its exit code as Python counts: -9 for one that was ended by
/// signal 9. It stays in the process table, so that nobody else gets its number.
#[derive(Clone, Copy)]
pub(crate) struct EndedChild {
    pub(crate) pid: i32,
    pub(crate) code: i32,
}

/// Some child that has ended, if one has. An error if there is no child at all.
pub(crate) fn peek() -> io::Result<Option<EndedChild>> {
    wait(libc::P_ALL, 0, libc::WNOHANG | libc::WNOWAIT)
}

/// What a child took in its life, with the children that it had waited for.
#[derive(Clone, Copy)]
pub(crate) struct ChildUsage {
    /// The time on processors.
    pub(crate) cpu: Duration,
    /// The most memory in RAM that it had, or one of those children, in bytes.
    pub(crate) most_memory: u64,
}

/// Removes a child that has ended from the process table, and tells what it took.
pub(crate) fn reap(pid: i32) -> ChildUsage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // It has ended and is ours: the call cannot fail, and would not wait.
    // SAFETY: the status is not wanted, and the other pointer is to memory of the right type that
    // outlives the call.
    unsafe { libc::wait4(pid, ptr::null_mut(), libc::WNOHANG, usage.as_mut_ptr()) };
    // SAFETY: all zeros are a valid rusage, and the kernel wrote over them.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    ChildUsage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        most_memory: usage.ru_maxrss.unsigned_abs() * 1024,
    }
}

/// nix's `waitid` does not know the real-time signals.
fn wait(kind: libc::idtype_t, id: libc::id_t, options: i32) -> io::Result<Option<EndedChild>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = options | libc::WEXITED;
    // SAFETY: the pointer is to memory of the right type that outlives the call.
    if unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros are a valid siginfo, and the kernel wrote over them if a child had ended.
    let info = unsafe { info.assume_init() };
    // SAFETY: si_pid is a plain integer, zero or filled in by waitid.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above, for si_status.
    let status = unsafe { info.si_status() };
    let code = match info.si_code {
        libc::CLD_EXITED => status,
        _ => -status,
    };
    Ok((pid != 0).then_some(EndedChild { pid, code }))
}

/// The numbers of all children, living or not, of a process with one thread.
pub(crate) fn all() -> io::Result<Vec<i32>> {
    let me = std::process::id();
    of_thread(&format!("/proc/{me}/task/{me}"))
}

/// The numbers of the children of all threads of a process. An error if it is gone, or if the kernel
/// lists no children.
pub(crate) fn of(pid: i32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        children.extend(of_thread(&thread?.path().to_string_lossy())?);
    }
    Ok(children)
}

fn of_thread(folder: &str) -> io::Result<Vec<i32>> {
    let list = fs::read_to_string(format!("{folder}/children"))?;
    let numbers = list.split_ascii_whitespace();
    Ok(numbers.filter_map(|pid| pid.parse().ok()).collect())
}
