//! The descriptors that go with tasks.
//!
//! The queue of tasks carries bytes, and nobody knows which worker will take a task. So the
//! application hands the descriptors of a task to the supervisor before it puts the task. The worker
//! that runs it asks the supervisor for each, by its place in the bytes. When the task has an outcome,
//! the application has them dropped. systemd calls such a place a file descriptor store.
//!
//! Who is killed leaves nothing: the supervisor's end is the pool's, a worker's successor asks again,
//! and what the application has stored ends with the pool.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::client::{PoolClient, ROOM_AGAIN};
use crate::{
    Error, Result,
    sys::{
        fork_private::ForkPrivate,
        scm_rights::{self, DESCRIPTORS_MAX},
    },
};

/// How long a message may be: a kind and places.
const MESSAGE_MAX: usize = WORD * (1 + DESCRIPTORS_MAX);

const WORD: usize = size_of::<u64>();

/// The kinds of messages of the application: descriptors with their places, or places alone.
const STORE: u64 = 0;
const DROP: u64 = 1;

/// The application's side.
pub(super) struct FdStoreClient {
    socket: ForkPrivate<OwnedFd>,
    /// The places for which the socket had no room yet.
    to_drop: Mutex<Vec<u64>>,
}

/// Descriptors that the supervisor keeps for a task until this is dropped.
pub(super) struct StoredFds {
    store: Arc<FdStoreClient>,
    places: Vec<u64>,
}

impl FdStoreClient {
    /// The application's side, and the supervisor's end of the socket.
    pub(super) fn new() -> io::Result<(Arc<Self>, OwnedFd)> {
        let (ours, theirs) = pair()?;
        let client = Self {
            socket: ForkPrivate::new(ours),
            to_drop: Mutex::default(),
        };
        Ok((Arc::new(client), theirs))
    }

    /// Hands descriptors to the supervisor, as many as there is room for at this moment, and keeps
    /// the others in `given`. What is stored goes to `stored`.
    pub(super) fn store(
        self: &Arc<Self>,
        given: &mut Vec<(u64, OwnedFd)>,
        stored: &mut Option<StoredFds>,
    ) -> io::Result<()> {
        self.send_drops();
        while !given.is_empty() {
            let some = &given[..given.len().min(DESCRIPTORS_MAX)];
            let fds: Vec<_> = some.iter().map(|(_, fd)| fd.as_fd()).collect();
            let places: Vec<u64> = some.iter().map(|(place, _)| *place).collect();
            if !self.send(STORE, &places, &fds)? {
                break;
            }
            given.drain(..places.len());
            let new = || StoredFds {
                store: Arc::clone(self),
                places: Vec::new(),
            };
            stored.get_or_insert_with(new).places.extend(places);
        }
        Ok(())
    }

    /// False if there is no room.
    fn send(&self, kind: u64, places: &[u64], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        let words = [kind].into_iter().chain(places.iter().copied());
        let message: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        match scm_rights::send(self.socket.get()?.as_fd(), &message, fds) {
            Ok(()) => Ok(true),
            // The latter: as many are on their way as this user may have.
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has the supervisor drop what it need not keep any more.
    fn send_drops(&self) {
        let mut to_drop = self.to_drop.lock().unwrap_or_else(PoisonError::into_inner);
        while !to_drop.is_empty() {
            let count = to_drop.len().min(DESCRIPTORS_MAX);
            match self.send(DROP, &to_drop[..count], &[]) {
                Ok(false) => return,
                // An error says that the supervisor is gone.
                Ok(true) | Err(_) => drop(to_drop.drain(..count)),
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ETOOMANYREFS)
    )
}

impl Drop for StoredFds {
    fn drop(&mut self) {
        let mut to_drop = self
            .store
            .to_drop
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        to_drop.append(&mut self.places);
        drop(to_drop);
        self.store.send_drops();
    }
}

impl PoolClient {
    /// Hands the descriptors of a task to the supervisor.
    #[cold]
    pub(super) fn store_descriptors(
        &self,
        mut fds: Vec<(u64, OwnedFd)>,
    ) -> Result<Option<StoredFds>> {
        let mut stored = None;
        loop {
            let sent = self.fd_store.store(&mut fds, &mut stored);
            match sent {
                Ok(()) if fds.is_empty() => return Ok(stored),
                Ok(()) => {}
                // That the supervisor is gone is told below.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => {
                    let attempt = format!("hand a descriptor to {}", self.shared.name);
                    return Err(Error::os(attempt, error));
                }
            }
            // The supervisor may be waiting for room among the results.
            let until = Some(Instant::now() + ROOM_AGAIN);
            if let Some(end) = self.wait(until, |table| table.end.clone())? {
                return Err(end);
            }
        }
    }
}

/// The supervisor's side.
pub(super) struct FdStore {
    application: ForkPrivate<OwnedFd>,
    requests: ForkPrivate<OwnedFd>,
    /// By their places; none for one that the system had no number for.
    stored: HashMap<u64, Option<ForkPrivate<OwnedFd>>>,
}

impl FdStore {
    /// The supervisor's side, and where workers ask.
    pub(super) fn new(application: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = scm_rights::pair()?;
        do_not_wait(&ours)?;
        let store = Self {
            application: ForkPrivate::new(application),
            requests: ForkPrivate::new(ours),
            stored: HashMap::new(),
        };
        Ok((store, theirs))
    }

    /// What is readable when there is something to do.
    pub(super) fn sockets(&self) -> io::Result<[BorrowedFd<'_>; 2]> {
        Ok([
            self.application.get()?.as_fd(),
            self.requests.get()?.as_fd(),
        ])
    }

    /// Does what there is to do, without a wait.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_MAX];
        // The requests are taken one by one, each after the look at what the application has sent: it
        // sends the descriptors of a task before it puts that.
        loop {
            while let Some((len, fds)) = receive(&self.application, &mut message)? {
                if len == 0 {
                    break;
                }
                self.take(&message[..len], fds);
            }
            match receive(&self.requests, &mut message)? {
                Some((WORD, mut fds)) => {
                    let place = words(&message[..WORD]).next().unwrap_or_default();
                    // Without it the system has no number left: the socket is closed, an answer too.
                    if let Some(answer) = fds.pop() {
                        self.answer(place, &answer);
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// Does what the application has asked for.
    fn take(&mut self, message: &[u8], fds: Vec<OwnedFd>) {
        let mut words = words(message);
        let kind = words.next();
        let mut fds = fds.into_iter();
        for place in words {
            match kind {
                Some(STORE) => {
                    self.stored.insert(place, fds.next().map(ForkPrivate::new));
                }
                _ => {
                    self.stored.remove(&place);
                }
            }
        }
    }

    fn answer(&self, place: u64, worker: &OwnedFd) {
        let stored = self.stored.get(&place);
        let fd = stored.and_then(|it| it.as_ref()?.get().ok());
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
        // One byte, which says whether it is here at all. The worker may have been killed.
        let _ = scm_rights::send(worker.as_fd(), &[u8::from(stored.is_some())], &fds);
    }
}

/// Asks the supervisor for the descriptor at this place, in a worker.
pub(super) fn fetch(requests: BorrowedFd<'_>, place: u64) -> io::Result<OwnedFd> {
    let (ours, theirs) = scm_rights::pair()?;
    scm_rights::send(requests, &place.to_ne_bytes(), &[theirs.as_fd()])?;
    drop(theirs);
    let mut is_here = [0];
    let (len, mut fds) = loop {
        match scm_rights::receive(ours.as_fd(), &mut is_here) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => break received?,
        }
    };
    match (fds.pop(), len, is_here) {
        (Some(fd), ..) => Ok(fd),
        (None, 1, [0]) => Err(io::Error::other("its descriptor is kept no more")),
        _ => Err(io::Error::other(
            "no number was left for its descriptor in the pool: raise `ulimit -n`",
        )),
    }
}

/// A pair whose first end does not wait; nor does the second.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = scm_rights::pair()?;
    do_not_wait(&ours)?;
    do_not_wait(&theirs)?;
    Ok((ours, theirs))
}

fn do_not_wait(socket: &OwnedFd) -> io::Result<()> {
    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A message, if there is one; its length is 0 at the end.
fn receive(
    socket: &ForkPrivate<OwnedFd>,
    message: &mut [u8],
) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    loop {
        match scm_rights::receive(socket.get()?.as_fd(), message) {
            Ok(received) => return Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn words(message: &[u8]) -> impl Iterator<Item = u64> {
    let words = message.as_chunks().0.iter();
    words.map(|word| u64::from_ne_bytes(*word))
}
