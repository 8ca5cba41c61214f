//! What the system allows this process: setrlimit(2).

use std::{fs, io};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// The addresses that a process has by nature, in bytes: 47 bits.
const ADDRESSES: u64 = 1 << 47;

/// Fails if this process may not make a file of `len` bytes. Who tries to go beyond the limit is killed
/// by SIGXFSZ, so it is asked first.
pub(crate) fn require_file_size(len: usize) -> io::Result<()> {
    let limit = file_size();
    if len as u64 <= limit {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it takes a file of {len} bytes, and the limit of file sizes is {limit} (RLIMIT_FSIZE, \
         `ulimit -f`): raise the limit"
    )))
}

/// The largest file that this process may make, in bytes: `ulimit -f`.
pub(crate) fn file_size() -> u64 {
    soft(Resource::RLIMIT_FSIZE)
}

/// How many addresses this process may have, in bytes: `ulimit -v`.
pub(crate) fn address_space() -> u64 {
    soft(Resource::RLIMIT_AS).min(ADDRESSES)
}

/// How many it has in use.
pub(crate) fn address_space_used() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
    pages.unwrap_or(0) * configured(SysconfVar::PAGE_SIZE)
}

/// The machine's memory, in bytes.
pub(crate) fn physical_memory() -> u64 {
    configured(SysconfVar::_PHYS_PAGES) * configured(SysconfVar::PAGE_SIZE)
}

/// Lets this process have as many descriptors as it may allow itself, and returns how many it could
/// have before: `ulimit -n`.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    Some(soft)
}

/// Lets this process have so many descriptors, which is no more than it may have.
pub(crate) fn lower_descriptors(soft: u64) {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard);
    }
}

/// The error, and if no descriptor was left, how many there may be.
pub(crate) fn explained(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => format!(
            "{error}: the limit of open files is {} (RLIMIT_NOFILE, `ulimit -n`), raise it",
            soft(Resource::RLIMIT_NOFILE)
        ),
        _ => error.to_string(),
    }
}

/// What an error says that could start no process.
pub(crate) fn of_processes() -> String {
    match soft(Resource::RLIMIT_NPROC) {
        u64::MAX => ": the control group or the system has as many processes as it may, raise its \
                     limit (`pids.max`, `kernel.pid_max`)"
            .to_string(),
        limit => format!(
            ": the limit of processes is {limit} (RLIMIT_NPROC, `ulimit -u`; a control group has one \
             of its own), raise it"
        ),
    }
}

/// No limit is the largest number.
fn soft(resource: Resource) -> u64 {
    getrlimit(resource).map_or(u64::MAX, |(soft, _)| soft)
}

fn configured(name: SysconfVar) -> u64 {
    let value = sysconf(name).ok().flatten();
    value.map_or(0, |value| value.unsigned_abs())
}
