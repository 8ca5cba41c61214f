//! `pipe`: Python's `multiprocessing.Pipe`, typed, with a death notice.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{self, Buffer};
use crate::fd_passing::{self, Descriptor};
use crate::sys::identity::Identity;
use crate::sys::poll::poll;
use crate::sys::scm_rights::{self, DESCRIPTORS_MAX};
use crate::sys::shm::{Shared, shareable};
use crate::{Error, Result, Serializable};

/// How long a wait goes on before it asks whether the peer still lives, and watches it.
const LOOK_FIRST: Duration = Duration::from_millis(20);

/// Each further look comes after twice the time of the one before, up to this time. It is for a peer
/// that first used its end after it was looked for.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A message starts with its length. With the bytes of that go the descriptors of the message.
const HEADER: usize = size_of::<u64>();

/// The most that is read at once, so that a message takes memory only as it arrives.
const CHUNK_MAX: usize = 1 << 20;

/// Two connected ends, each to send and to receive: `Pipe()`.
///
/// What one end sends, the other receives: one sends `A` and receives `B`, the other the reverse.
/// Move the end that is another process's into its closure.
///
/// # Errors
/// [`Error::Os`] if the system refuses: the pair takes three descriptors.
///
/// # Examples
/// ```
/// let (ours, theirs) = multiprocess::pipe::<String, usize>()?;
/// ours.send(&"how long".to_string())?;
/// theirs.send(&theirs.recv()?.len())?;
/// assert_eq!(ours.recv()?, 8);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn pipe<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)> {
    let create = || -> io::Result<_> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (left, right) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let users = Shared::<Users>::create("multiprocess-pipe", 0)?;
        let pair = Arc::new(Pair::new([Some(left), Some(right)], users));
        Ok((
            Connection::new(Arc::clone(&pair), 0),
            Connection::new(pair, 1),
        ))
    };
    create().map_err(|error| Error::os("create a pipe", error))
}

shareable! {
    /// Who used each end last: an [`Identity`]'s word, 0 for nobody, or [`GONE`]. A socket reads as
    /// ended only when no process has the peer's end any more, and a sibling may have inherited it.
    struct Users {
        ends: [AtomicU64; 2],
    }
}

/// Its user has dropped the end.
const GONE: u64 = u64::MAX;

/// What this process has of a pipe.
struct Pair {
    /// The ends that are here, and not dropped.
    sockets: [RwLock<Option<OwnedFd>>; 2],
    users: Shared<Users>,
    /// The process that may use both ends: the one that made them.
    maker: Identity,
}

impl Pair {
    fn new(sockets: [Option<OwnedFd>; 2], users: Shared<Users>) -> Self {
        Self {
            sockets: sockets.map(RwLock::new),
            users,
            maker: Identity::mine(),
        }
    }
}

/// One end of a [`pipe`], which sends `S` and receives `R`.
///
/// An end is used by one process at a time; its threads may share it, and take turns. Messages may
/// be of any size; like Python's, a send waits when the socket's buffer is full.
///
/// # When the other process ends
/// The peer first gets the messages that were sent whole. Then it gets [`Closed`](Error::Closed),
/// once the process that used the end last was killed, exited or dropped the end, even if others
/// have inherited it. That takes some 20 ms. It takes up to two seconds if the process dropped the
/// end and lives on, or if it first used the end when the peer had waited for long. So make a pipe
/// for each pair of processes.
///
/// A forked process has copies of all ends that its parent had. When it uses one end, it gives up
/// its copy of the other; in Python it must do so itself, or the end of file never comes.
///
/// # Examples
///
/// ```
/// use multiprocess::{Process, pipe};
///
/// let (ours, theirs) = pipe::<String, usize>()?;
/// let child = Process::spawn(move || theirs.send(&theirs.recv().unwrap().len()).unwrap())?;
/// ours.send(&"how long".to_string())?;
/// assert_eq!(ours.recv()?, 8);
/// child.join()?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Connection<S, R> {
    pair: Arc<Pair>,
    side: usize,
    sending: Mutex<()>,
    turn: Mutex<ReceivingTurn>,
    /// The turn is free, or who has it has gone to sleep.
    turned: Condvar,
    messages: PhantomData<fn(S) -> R>,
}

/// Whose turn it is to receive.
struct ReceivingTurn {
    /// Not here while a thread has the turn.
    arriving: Option<Arriving>,
    /// That thread waits for something to come.
    asleep: bool,
    /// How many threads wait for their turn.
    waiting: usize,
}

/// What has come of a message.
#[derive(Default)]
struct Arriving {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl<S: Serializable, R> Connection<S, R> {
    /// Sends a message: `send(obj)`. It may hold queues, locks, ends of other pipes, and files and
    /// sockets as a [`Descriptor`], up to 2024 in all.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the peer is gone, [`Serial`](Error::Serial) if the message
    /// cannot be serialised; nothing was sent then. [`Os`](Error::Os) if it holds too many
    /// descriptors, or more are on their way than `ulimit -n` allows.
    ///
    /// # Examples
    /// ```
    /// let (ours, theirs) = multiprocess::pipe::<u32, ()>()?;
    /// ours.send(&1)?;
    /// drop(theirs);
    /// assert!(ours.send(&2).is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn send(&self, message: &S) -> Result<()> {
        let mut buffer = Buffer::to_write();
        let frame = buffer.bytes();
        frame.extend_from_slice(&[0; HEADER]);
        let (written, descriptors) = fd_passing::collect(|| codec::append(message, frame));
        written?;
        let len = (frame.len() - HEADER) as u64;
        frame[..HEADER].copy_from_slice(&len.to_le_bytes());
        let _turn = self.sending.lock().unwrap();
        self.with_socket(|socket| {
            let sent = self.write_descriptors(socket, frame, &descriptors)?;
            self.write(socket, &frame[sent..])
        })
    }
}

impl<S, R: Serializable> Connection<S, R> {
    /// Waits for a message and receives it: `recv()`.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the peer is gone, for which Python raises `EOFError`;
    /// [`Serial`](Error::Serial) if the message does not read as an `R`.
    ///
    /// # Examples
    /// ```
    /// let (ours, theirs) = multiprocess::pipe::<u32, ()>()?;
    /// ours.send(&1)?;
    /// drop(ours);
    /// assert_eq!(theirs.recv()?, 1);
    /// assert!(matches!(theirs.recv(), Err(multiprocess::Error::Closed)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn recv(&self) -> Result<R> {
        self.receive(None)
    }

    /// Waits for a message so long and receives it.
    ///
    /// # Errors
    /// [`TimedOut`](Error::TimedOut) when the time is over, and those of [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, pipe};
    /// use std::time::Duration;
    ///
    /// let (ours, _theirs) = pipe::<(), u32>()?;
    /// let nothing = ours.recv_timeout(Duration::from_millis(10));
    /// assert!(matches!(nothing, Err(Error::TimedOut)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R> {
        self.receive(Instant::now().checked_add(timeout))
    }

    fn receive(&self, deadline: Option<Instant>) -> Result<R> {
        let Arriving {
            mut bytes,
            descriptors,
        } = self.with_turn(deadline, |socket, turn| {
            self.arrive(socket, turn, deadline)?;
            Ok(mem::take(turn))
        })?;
        // Out of turn, for the message's own code may panic, takes its time, or uses this end.
        let read = || codec::decode(&bytes[HEADER..]);
        let message = match descriptors.is_empty() {
            true => read(),
            false => fd_passing::provide(descriptors, read),
        };
        // Another thread may have its turn already.
        if let Some(arriving) = &mut self.turn.lock().unwrap().arriving
            && arriving.bytes.capacity() == 0
        {
            bytes.clear();
            bytes.shrink_to(CHUNK_MAX);
            arriving.bytes = bytes;
        }
        message
    }
}

impl<S, R> Connection<S, R> {
    fn new(pair: Arc<Pair>, side: usize) -> Self {
        Self {
            pair,
            side,
            sending: Mutex::new(()),
            turn: Mutex::new(ReceivingTurn {
                arriving: Some(Arriving::default()),
                asleep: false,
                waiting: 0,
            }),
            turned: Condvar::new(),
            messages: PhantomData,
        }
    }

    /// Waits so long until a message is there to be received: `poll(timeout)`.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the peer is gone and no message is left; Python's `poll` says
    /// `True` then.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (ours, theirs) = multiprocess::pipe::<(), u32>()?;
    /// assert!(!ours.poll(Duration::ZERO)?);
    /// theirs.send(&1)?;
    /// assert!(ours.poll(Duration::ZERO)?);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        match self.with_turn(deadline, |socket, turn| self.arrive(socket, turn, deadline)) {
            Ok(()) => Ok(true),
            Err(Error::TimedOut) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs `work` when no other thread receives; for that too it waits until the deadline.
    fn with_turn<T>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(BorrowedFd<'_>, &mut Arriving) -> Result<T>,
    ) -> Result<T> {
        self.with_socket(|socket| {
            let mut arriving = self.take_turn(socket, deadline)?;
            let done = work(socket, &mut arriving);
            let mut turn = self.turn.lock().unwrap();
            turn.arriving = Some(arriving);
            if turn.waiting > 0 {
                self.turned.notify_one();
            }
            done
        })
    }

    fn take_turn(&self, socket: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<Arriving> {
        let mut turn = self.turn.lock().unwrap();
        loop {
            if let Some(arriving) = turn.arriving.take() {
                return Ok(arriving);
            }
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            let is_late = left == Some(Duration::ZERO);
            // Who is awake, or about to wake, has done soon, and may have a message and leave it here.
            if is_late && turn.asleep && !is_ready(socket, PollFlags::POLLIN, None, Instant::now())?
            {
                return Err(Error::TimedOut);
            }
            turn.waiting += 1;
            turn = match left.filter(|_| !is_late) {
                None => self.turned.wait(turn).unwrap(),
                Some(left) => self.turned.wait_timeout(turn, left).unwrap().0,
            };
            turn.waiting -= 1;
        }
    }

    /// Waits until something may have come, in this thread's turn.
    fn sleep(&self, socket: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<()> {
        let set_asleep = |asleep| {
            let mut turn = self.turn.lock().unwrap();
            turn.asleep = asleep;
            if asleep && turn.waiting > 0 {
                self.turned.notify_all();
            }
        };
        set_asleep(true);
        let waited = self.wait(socket, PollFlags::POLLIN, deadline);
        set_asleep(false);
        waited
    }

    /// Runs `work` with this end's socket, as the end's user from now on.
    fn with_socket<T>(&self, work: impl FnOnce(BorrowedFd<'_>) -> Result<T>) -> Result<T> {
        let me = Identity::mine();
        let user = &self.pair.users.ends[self.side];
        if user.load(SeqCst) != me.word() {
            user.store(me.word(), SeqCst);
            if me != self.pair.maker {
                self.pair.sockets[1 - self.side].write().unwrap().take();
            }
        }
        let socket = self.pair.sockets[self.side].read().unwrap();
        work(socket.as_ref().ok_or(Error::Closed)?.as_fd())
    }

    /// Reads until `message` holds a whole one, header and all. What has come so far stays there
    /// when the time is over.
    fn arrive(
        &self,
        socket: BorrowedFd<'_>,
        arriving: &mut Arriving,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let Arriving {
            bytes: message,
            descriptors,
        } = arriving;
        loop {
            let missing = match message.first_chunk::<HEADER>() {
                None => HEADER - message.len(),
                Some(header) => {
                    (u64::from_le_bytes(*header) as usize).saturating_add(HEADER) - message.len()
                }
            };
            if missing == 0 && message.len() >= HEADER {
                return Ok(());
            }
            let start = message.len();
            message.resize(start + missing.min(CHUNK_MAX), 0);
            let room = &mut message[start..];
            let received = match start < HEADER {
                true => receive_header(socket, room, descriptors),
                false => recv(socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT),
            };
            message.truncate(start + received.unwrap_or(0));
            match received {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(Error::Closed),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.sleep(socket, deadline)?,
                Err(errno) => return Err(refused("receive from a pipe", errno)),
            }
        }
    }

    /// Sends the descriptors of a message, with some of its first bytes; how many bytes.
    fn write_descriptors(
        &self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        descriptors: &[OwnedFd],
    ) -> Result<usize> {
        let groups = descriptors.chunks(DESCRIPTORS_MAX);
        if groups.len() > HEADER {
            let most = HEADER * DESCRIPTORS_MAX;
            let reason = io::Error::other(format!("it holds more than {most} descriptors"));
            return Err(Error::os("send a message to a pipe", reason));
        }
        let mut sent = 0;
        for group in groups {
            let fds: Vec<_> = group.iter().map(AsFd::as_fd).collect();
            let byte = &bytes[sent..=sent];
            while let Err(error) = scm_rights::send_some(socket, byte, &fds, MsgFlags::MSG_DONTWAIT)
            {
                self.go_on_after(socket, Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
            }
            sent += 1;
        }
        Ok(sent)
    }

    fn write(&self, socket: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while !bytes.is_empty() {
            match send(socket.as_raw_fd(), bytes, flags) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(errno) => self.go_on_after(socket, errno)?,
            }
        }
        Ok(())
    }

    /// Waits until a send may be tried again that was refused; an error if it may not.
    fn go_on_after(&self, socket: BorrowedFd<'_>, errno: Errno) -> Result<()> {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => Err(Error::Closed),
            Errno::EINTR => Ok(()),
            Errno::EAGAIN => self.wait(socket, PollFlags::POLLOUT, None),
            errno => Err(refused("send to a pipe", errno)),
        }
    }

    /// Waits until the socket is ready. A wait that is not over soon watches the peer as well.
    fn wait(
        &self,
        socket: BorrowedFd<'_>,
        ready: PollFlags,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let mut look = LOOK_FIRST;
        let mut watched = None;
        loop {
            let until = Instant::now() + look;
            let until = deadline.map_or(until, |deadline| deadline.min(until));
            if is_ready(socket, ready, watched.as_ref(), until)? {
                return Ok(());
            }
            let peer = self.pair.users.ends[1 - self.side].load(SeqCst);
            let known = Identity::from_word(peer).filter(|_| peer != GONE);
            if peer == GONE || known.is_some_and(|peer| !peer.is_alive()) {
                // One more look: it may have sent something to the last.
                return match is_ready(socket, ready, None, Instant::now())? {
                    true => Ok(()),
                    false => Err(Error::Closed),
                };
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::TimedOut);
            }
            watched = known.and_then(Identity::pidfd);
            // Its end will be seen at once. If it cannot be watched, it is asked for.
            if watched.is_some() || known.is_none() {
                look = (look * 2).min(LOOK_MAX);
            }
        }
    }
}

/// Receives some of a message's first bytes, with what goes with them.
fn receive_header(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> nix::Result<usize> {
    let received = scm_rights::receive_some(socket, room, MsgFlags::MSG_DONTWAIT);
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let (len, some) = received.map_err(errno)?;
    descriptors.extend(some);
    Ok(len)
}

/// Waits until the socket is ready; false if the time is over or the watched process has ended.
fn is_ready(
    socket: BorrowedFd<'_>,
    ready: PollFlags,
    watched: Option<&OwnedFd>,
    until: Instant,
) -> Result<bool> {
    let socket = PollFd::new(socket, ready);
    let Some(watched) = watched else {
        return poll(&mut [socket], Some(until)).map_err(cannot_wait);
    };
    let mut both = [socket, PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    poll(&mut both, Some(until)).map_err(cannot_wait)?;
    Ok(both[0].any() == Some(true))
}

fn cannot_wait(error: io::Error) -> Error {
    Error::os("wait for a pipe", error)
}

fn refused(attempt: &str, errno: Errno) -> Error {
    Error::os(attempt, errno)
}

impl<S, R> Drop for Connection<S, R> {
    fn drop(&mut self) {
        // An end that this process did not use was perhaps moved to another, which will use it.
        let mine = Identity::mine().word();
        let user = &self.pair.users.ends[self.side];
        let _ = user.compare_exchange(mine, GONE, SeqCst, SeqCst);
        self.pair.sockets[self.side].write().unwrap().take();
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = &self.pair.sockets[self.side];
        f.debug_struct("Connection")
            .field("socket", socket)
            .finish_non_exhaustive()
    }
}

/// To hand an end to another process.
impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let socket = self.pair.sockets[self.side].read().unwrap();
        let given_up = || Z::Error::custom("the connection was given up");
        let socket = Descriptor(socket.as_ref().ok_or_else(given_up)?);
        (socket, &self.pair.users, self.side as u8).serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Descriptor(socket), users, side) =
            <(Descriptor<OwnedFd>, Shared<Users>, u8)>::deserialize(deserializer)?;
        let side = usize::from(side & 1);
        let mut sockets = [None, None];
        sockets[side] = Some(socket);
        Ok(Self::new(Arc::new(Pair::new(sockets, users)), side))
    }
}
