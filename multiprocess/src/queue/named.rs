//! Queues that programs find by a name.
//!
//! Nothing is made that could be left behind. Who has a queue by its name also has a socket with an
//! address in Linux's abstract namespace, unix(7), which goes with it. Nobody ever connects to it: the
//! address itself says which descriptor of which process is the memory. Others read the addresses from
//! `/proc/net/unix` and open the descriptor through `/proc`, which the system allows the same user.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;

use super::memory::{FILE, Memory};
use super::raw::RawQueue;
use crate::sys::fork_private::ForkPrivate;
use crate::sys::shm::Shared;
use crate::{Error, Result};

/// What the addresses begin with. Programs meet if they are built with the same version of what lies
/// in the memory, the last number here, and with the same C library, whose locks lie there too.
const PREFIX: &str = concat!("multiprocess-queue-", "1");
const C_LIBRARY: &str = if cfg!(target_env = "musl") {
    "musl"
} else {
    "gnu"
};

/// The longest name, in bytes: an address has 107, and most of the others are numbers.
const NAME_MAX: usize = 32;

/// How long another process may take to find a queue or to make it.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

impl RawQueue {
    /// The queue of that name, or else a new one that holds at most `maxsize` items.
    pub(super) fn named(name: &str, maxsize: usize) -> Result<RawQueue> {
        let open = || {
            check(name)?;
            let user = geteuid();
            let scope = format!("{PREFIX}-{C_LIBRARY}/{user}/{name}/");
            // Until the end of this call no other process finds none as well and makes a second one.
            let _alone = bind_when_free(&format!("{scope}open"))?;
            let found = holders(&scope)?.iter().find_map(MemoryAddress::memory);
            let queue = match found {
                Some(memory) => RawQueue::over(Memory::new(Shared::map(memory)?)?),
                None => RawQueue::create(maxsize)?,
            };
            queue.register(&scope)
        };
        open()
            .map_err(|error: io::Error| Error::os(format!("open the queue named {name:?}"), error))
    }

    fn register(mut self, scope: &str) -> io::Result<RawQueue> {
        let memory = self.rings.memory().as_fd();
        let holder = MemoryAddress {
            pid: process::id(),
            descriptor: memory.as_raw_fd(),
            inode: fstat(memory)?.st_ino,
        };
        let address = format!("{scope}{}", holder.text());
        self._registration = Some(bind(&address)?);
        Ok(self)
    }
}

fn check(name: &str) -> io::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    let text = format!("a name has 1 to {NAME_MAX} of the characters A-Z a-z 0-9 . _ -");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// A fork does not have it: it would hold the address for as long as it lives.
fn bind(address: &str) -> io::Result<ForkPrivate<UnixDatagram>> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(address)?).map(ForkPrivate::new)
}

fn bind_when_free(address: &str) -> io::Result<ForkPrivate<UnixDatagram>> {
    let end = Instant::now() + OPEN_WITHIN;
    loop {
        match bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound,
        }
        if Instant::now() > end {
            let text = "another process has been opening it for 10 s: is it stopped?";
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Where the memory of a queue is, as an address says it.
#[derive(Debug, PartialEq)]
struct MemoryAddress {
    pid: u32,
    descriptor: i32,
    /// Tells it from another file that has come to have the same number.
    inode: u64,
}

impl MemoryAddress {
    fn text(&self) -> String {
        format!("{}/{}/{}", self.pid, self.descriptor, self.inode)
    }

    fn read(text: &str) -> Option<MemoryAddress> {
        let mut parts = text.split('/');
        let holder = MemoryAddress {
            pid: parts.next()?.parse().ok()?,
            descriptor: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(holder)
    }

    /// The memory, if it is there: an address may be a leftover for a moment, or a lie.
    fn memory(&self) -> Option<OwnedFd> {
        let path = format!("/proc/{}/fd/{}", self.pid, self.descriptor);
        // Looked at before it is opened, since to open something else may do something.
        let file = fs::read_link(&path).ok()?;
        if file.to_str()? != format!("/memfd:{FILE} (deleted)") {
            return None;
        }
        let file = File::options().read(true).write(true).open(path).ok()?;
        let status = fstat(&file).ok()?;
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS).ok()?);
        let is_it = status.st_ino == self.inode
            && status.st_uid == geteuid().as_raw()
            && seals.contains(SealFlag::F_SEAL_SHRINK);
        is_it.then(|| file.into())
    }
}

/// Who has the queue whose addresses begin like that.
fn holders(scope: &str) -> io::Result<Vec<MemoryAddress>> {
    let sockets = fs::read("/proc/net/unix")?;
    let sockets = String::from_utf8_lossy(&sockets);
    let addresses = sockets.lines().filter_map(|line| line.split_once('@'));
    let ours = addresses.filter_map(|(_, address)| address.strip_prefix(scope));
    Ok(ours.filter_map(MemoryAddress::read).collect())
}
