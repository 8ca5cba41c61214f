//! Handing descriptors to another process.
//!
//! A queue is a descriptor, and bytes cannot carry one. While an argument or a message is serialised,
//! the descriptors within it are collected here and travel beside the bytes, which hold their places;
//! in the other process they are provided while the bytes are read.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;
use crate::pool::stored_descriptor;
use crate::sys::shm::{Shareable, Shared};

/// What a descriptor says that is serialised where none can go along.
pub(crate) const NOT_AT_START: &str = "no descriptor can go along";

/// The places from this one on are unique in the process that gave them, see [`collect_unique`].
const UNIQUE: u64 = 1 << 63;

thread_local! {
    /// What is looked at for each value that is serialised.
    static COLLECTING: Cell<Collecting> = const { Cell::new(Collecting::NOTHING) };
    static COLLECTED: Undropped<(u64, OwnedFd)> = const { undropped() };
    static PROVIDED: Undropped<Option<OwnedFd>> = const { undropped() };
}

/// Of a thread, which may end: a destructor of its own may still send something. So it is never
/// dropped, and has no memory between two uses.
type Undropped<T> = RefCell<ManuallyDrop<Vec<T>>>;

const fn undropped<T>() -> Undropped<T> {
    RefCell::new(ManuallyDrop::new(Vec::new()))
}

/// What is being collected.
#[derive(Clone, Copy)]
struct Collecting {
    /// Whether descriptors may be given at all.
    allowed: bool,
    unique: bool,
    /// How many were collected around this.
    start: usize,
    /// How many were collected, those around this among them.
    count: usize,
}

impl Collecting {
    const NOTHING: Self = Self {
        allowed: false,
        unique: false,
        start: 0,
        count: 0,
    };
}

/// Runs `work`, within which descriptors may be given, and returns them in the order of their
/// places.
pub(crate) fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
    let (result, given) = collect_as(false, work);
    (result, given.into_iter().map(|(_, fd)| fd).collect())
}

/// As [`collect`], with places that are unique in this process: another process may ask for each
/// descriptor by its place.
#[inline]
pub(crate) fn collect_unique<R>(work: impl FnOnce() -> R) -> (R, Vec<(u64, OwnedFd)>) {
    collect_as(true, work)
}

#[inline]
fn collect_as<R>(unique: bool, work: impl FnOnce() -> R) -> (R, Vec<(u64, OwnedFd)>) {
    /// Puts back what was there before, also when `work` panics.
    struct Outer(Collecting);
    impl Drop for Outer {
        #[inline]
        fn drop(&mut self) {
            if COLLECTING.get().count > self.0.count {
                drop(uncollect_from(self.0.count));
            }
            COLLECTING.set(self.0);
        }
    }
    let outer = Outer(COLLECTING.get());
    let start = outer.0.count;
    COLLECTING.set(Collecting {
        allowed: true,
        unique,
        start,
        count: start,
    });
    let result = work();
    let given = match COLLECTING.get().count > start {
        true => uncollect_from(start),
        false => Vec::new(),
    };
    (result, given)
}

#[cold]
fn uncollect_from(start: usize) -> Vec<(u64, OwnedFd)> {
    let given = COLLECTED.with_borrow_mut(|collected| match start {
        0 => mem::take(&mut **collected),
        _ => collected.split_off(start),
    });
    let collecting = COLLECTING.get();
    COLLECTING.set(Collecting {
        count: start,
        ..collecting
    });
    given
}

/// Runs `work`, within which each of these descriptors may be taken once.
pub(crate) fn provide<R>(descriptors: Vec<OwnedFd>, work: impl FnOnce() -> R) -> R {
    struct Outer(Vec<Option<OwnedFd>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            swap_provided(&mut self.0);
        }
    }
    let mut provided = descriptors.into_iter().map(Some).collect();
    swap_provided(&mut provided);
    let _outer = Outer(provided);
    work()
}

fn swap_provided(with: &mut Vec<Option<OwnedFd>>) {
    PROVIDED.with_borrow_mut(|provided| mem::swap(&mut **provided, with));
}

/// A file or a socket that goes to another process: Python's `multiprocessing.reduction` of a socket.
///
/// `F` is whatever std makes of a descriptor and has one: `File`, `TcpListener`, `TcpStream`,
/// `UdpSocket`, `UnixListener`, `UnixStream`, `UnixDatagram`, `PipeReader`, `PipeWriter`, `OwnedFd`.
/// It may be or be part of
///
/// * the argument of [`Process::spawn_with`](crate::Process::spawn_with);
/// * the argument of a task of a [`Pool`](crate::Pool), or an item of a map, at any time;
/// * the argument of [`initializer_with`](crate::pool::Builder::initializer_with);
/// * a message of a [`Connection`](crate::Connection).
///
/// It arrives as a duplicate, as by dup(2): both processes have the same open file with one position,
/// and the same socket, which closes when the last of them has dropped it. A process that is forked,
/// by [`Process::spawn`](crate::Process::spawn), has the files of its parent as they are.
///
/// An item of a [`Queue`](crate::Queue) lies in memory, and so does the value of a process or a task:
/// there it is refused with [`Error::NotAtStart`](crate::Error::NotAtStart).
///
/// # Examples
///
/// ```
/// use multiprocess::{Descriptor, Pool, Process};
/// use std::{
///     io::{Read, Write},
///     net::{TcpListener, TcpStream},
/// };
///
/// let os = |error| multiprocess::Error::os("use a socket", error);
/// let listener = TcpListener::bind("127.0.0.1:0").map_err(os)?;
/// let address = listener.local_addr().map_err(os)?;
/// let greet = |Descriptor(listener): Descriptor<TcpListener>| {
///     listener.accept().unwrap().0.write_all(b"hello").unwrap();
/// };
/// let server = Process::spawn_with(greet, Descriptor(listener))?;
///
/// // A connection that this program has made is read by a worker.
/// let stream = TcpStream::connect(address).map_err(os)?;
/// let read = |Descriptor(mut stream): Descriptor<TcpStream>| {
///     let mut text = String::new();
///     stream.read_to_string(&mut text).unwrap();
///     text
/// };
/// assert_eq!(Pool::new(1)?.apply(read, Descriptor(stream))?, "hello");
/// server.join()?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor<F>(pub F);

/// To hand it to another process. Elsewhere it fails.
impl<F: AsFd> Serialize for Descriptor<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = give(self.0.as_fd());
        let place = place.map_err(|error| S::Error::custom(limits::explained(&error)))?;
        serializer.serialize_u64(place)
    }
}

/// Takes what was handed over with the bytes, once.
impl<'de, F: From<OwnedFd>> Deserialize<'de> for Descriptor<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let descriptor = take(u64::deserialize(deserializer)?);
        descriptor
            .map(|it| Self(it.into()))
            .map_err(D::Error::custom)
    }
}

impl<H: Shareable> Serialize for Shared<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Descriptor(self).serialize(serializer)
    }
}

impl<'de, H: Shareable> Deserialize<'de> for Shared<H> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Descriptor(file) = Descriptor::deserialize(deserializer)?;
        Self::map(file).map_err(D::Error::custom)
    }
}

/// Adds a duplicate of the descriptor to those collected and returns its place; fails outside of
/// [`collect`].
fn give(descriptor: BorrowedFd<'_>) -> io::Result<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(UNIQUE);
    let collecting = COLLECTING.get();
    if !collecting.allowed {
        return Err(io::Error::other(NOT_AT_START));
    }
    let descriptor = descriptor.try_clone_to_owned()?;
    let place = match collecting.unique {
        true => NEXT.fetch_add(1, Relaxed),
        false => collected() as u64,
    };
    collect_again(vec![(place, descriptor)]);
    Ok(place)
}

/// How many descriptors were collected so far.
#[inline]
pub(crate) fn collected() -> usize {
    let Collecting { start, count, .. } = COLLECTING.get();
    count - start
}

/// Takes the descriptors back that were collected after so many.
pub(crate) fn uncollect(after: usize) -> Vec<(u64, OwnedFd)> {
    match collected() > after {
        true => uncollect_from(COLLECTING.get().start + after),
        false => Vec::new(),
    }
}

/// Adds descriptors to those collected that have their places.
pub(crate) fn collect_again(given: Vec<(u64, OwnedFd)>) {
    let collecting = COLLECTING.get();
    COLLECTING.set(Collecting {
        count: collecting.count + given.len(),
        ..collecting
    });
    COLLECTED.with_borrow_mut(|collected| collected.extend(given));
}

/// Takes the descriptor at this place. Fails outside of [`provide`], or if it was taken.
fn take(place: u64) -> io::Result<OwnedFd> {
    if place >= UNIQUE {
        return stored_descriptor(place);
    }
    let provided = PROVIDED.with_borrow_mut(|provided| provided.get_mut(place as usize)?.take());
    provided.ok_or_else(|| io::Error::other("its descriptor was not handed over with these bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::{Error, Queue, codec};

    fn bytes_of(queue: &Queue<u32>) -> crate::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        codec::append_unread(queue, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn a_queue_is_no_item() {
        let queues = Queue::<Queue<u32>>::new().unwrap();
        let refused = queues.put(&Queue::new().unwrap());
        assert!(matches!(refused, Err(Error::NotAtStart)));
        assert!(queues.is_empty());
    }

    #[test]
    fn a_descriptor_is_given_only_while_a_process_is_started_and_taken_once() {
        let queue = Queue::<u32>::new().unwrap();
        let (bytes, descriptors) = collect(|| bytes_of(&queue).unwrap());
        assert!(bytes_of(&queue).is_err());
        assert!(codec::decode::<Queue<u32>>(&bytes).is_err());
        provide(descriptors, || {
            codec::decode::<Queue<u32>>(&bytes)
                .unwrap()
                .put(&7)
                .unwrap();
            assert!(codec::decode::<Queue<u32>>(&bytes).is_err(), "it was taken");
        });
        assert_eq!(queue.get().unwrap(), 7);
    }

    #[test]
    fn a_descriptor_of_something_else_is_no_queue() {
        let queue = Queue::<u32>::new().unwrap();
        let (bytes, _) = collect(|| bytes_of(&queue).unwrap());
        let no_queue = File::open("/dev/null").unwrap().into();
        provide(vec![no_queue], || {
            assert!(codec::decode::<Queue<u32>>(&bytes).is_err());
        });
    }
}
