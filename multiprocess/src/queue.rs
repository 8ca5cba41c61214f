//! `Queue`: Python's `multiprocessing.Queue`, kill-proof.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Result, Serializable};
pub use batch::Batch;
pub use loan::{Borrowed, Loan};
use raw::{RawQueue, Wait};
#[cfg(feature = "stream")]
pub use stream::QueueStream;

mod batch;
mod blocks;
mod futures;
pub(crate) mod layout;
pub(crate) mod lending;
mod loan;
mod memory;
#[cfg(test)]
mod model;
mod named;
#[cfg(test)]
pub(crate) mod orderings;
pub(crate) mod raw;
mod readers;
mod ring;
mod sizing;
pub(crate) mod step;
#[cfg(feature = "stream")]
mod stream;
mod wakers;

/// A queue between processes that no `kill -9` can break: Python's `multiprocessing.Queue` and
/// `JoinableQueue`.
///
/// Any number of processes and threads may put and get. Items come out in the order they went in,
/// each to one reader. A clone is another handle of the same queue. A forked child has its parent's
/// handles; any other process gets a queue as an argument, for a queue can be serialised into the
/// arguments of a new process, and into nothing else.
///
/// Items travel through shared memory in serialised form. An item may be any serde type that holds
/// no live resource, of any size up to half of the machine's memory. Strings, bytes and vectors of
/// numbers from 64 KiB on, wherever they stand in an item, are copied once on their way in and once
/// on their way out. A `Queue<Vec<N>>` of [plain data](crate::sync::Plain) also lends its memory, so
/// that nothing is copied: [`loan`](Self::loan), [`get_ref`](Self::get_ref).
///
/// The memory of items that were taken goes back to the system, except for some 16 MiB, and for at
/// most 128 MiB as long as others of such a size are on their way.
///
/// # When a process is killed
/// A process may be killed at any instruction. A put or a get that it was in has then either
/// happened or not; no one else waits for it, loses an item or sees half of one. What a killed
/// reader had taken is gone with it, exactly that, and [`join`](Self::join) says so. Memory that a
/// killed process was lent is taken back.
///
/// A process that is *stopped* (SIGSTOP) in the middle of a call holds up the others until it
/// continues, for nobody may go on with its change while it may do so itself. Of their calls only
/// those with a timeout return meanwhile, and `try_put` and `try_get` after a second. Of 400 stops of
/// processes that did nothing but put and get, one in eight held up another, which went on 2 ms after
/// the stop was over (median), or 19 ms (most).
///
/// A call that waits is woken at once. If the process that should wake it was killed in that
/// moment, or another that was woken in its place, the call looks by itself: after 20 ms at first,
/// and after two seconds if it has waited for long. [`join`](Self::join) notices the death of a
/// reader by the same looks.
///
/// All this costs 10 to 16 of the 53 ns that an item of 8 bytes takes, as a build has shown that does
/// without it: its locks were in no list for the kernel, and its readers' items were not counted. In
/// batches, round trips and larger items the two builds were alike.
///
/// A process that writes over the shared memory can take the queue from the others, but their calls
/// return: with an error, or with whatever now stands there.
///
/// # Different from Python
/// There is no feeder thread: `put` returns when the item is in the queue, so it can be neither
/// lost at exit nor reordered, and an item that cannot be serialised fails in `put`. The memory has
/// no name and cannot be left behind.
///
/// # Examples
/// ```
/// let queue = multiprocess::Queue::new()?;
/// queue.put(&"A".to_string())?;
/// queue.put(&"B".to_string())?;
/// assert_eq!(queue.get()?, "A");
/// assert_eq!(queue.get()?, "B");
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Queue<T> {
    raw: Arc<RawQueue>,
    items: PhantomData<fn(T) -> T>,
}

impl<T: Serializable> Queue<T> {
    /// A queue without a limit of items: `Queue()`.
    ///
    /// `put` waits for readers once items take half of the machine's memory. Before large items
    /// take more than a few MiB, it waits for a moment only: a nanosecond for each byte.
    ///
    /// A queue reserves address space, 48 GiB or more, and takes memory only for what it holds.
    /// Under `ulimit -v` it reserves some tenth of the address space that is left, and under
    /// `ulimit -f` no more than that; it then holds less.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) if the system refuses the shared memory or the one file
    /// descriptor that the queue takes, or if a limit leaves no room; it names the limit.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&7)?;
    /// assert_eq!((queue.get()?, queue.maxsize()), (7, None));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        Self::bounded(0)
    }

    /// A queue that holds at most `maxsize` items: `Queue(maxsize)`. As in Python, 0 is no limit.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, Queue};
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.put(&"first".to_string())?;
    /// assert!(matches!(queue.try_put(&"second".to_string()), Err(Error::Full)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn bounded(maxsize: usize) -> Result<Self> {
        Ok(Self {
            raw: Arc::new(RawQueue::new(maxsize)?),
            items: PhantomData,
        })
    }

    /// The queue that other programs of this user know by this name, without a limit of items; or a
    /// new one, if none has it.
    ///
    /// Programs meet in it that share nothing else, in whatever order they start. The name belongs to
    /// the processes that have called this, and goes with the last of their handles: when all have
    /// ended, however they ended, neither the queue nor its name is left, nor any file. A process that
    /// was given the queue by one of them, by a fork or as an argument, has it too, and does not keep
    /// its name.
    ///
    /// A name has 1 to 32 of the characters `A-Z a-z 0-9 . _ -`. It is one of this user, in the network
    /// and process namespaces of this process, so of one container. Programs have to agree on `T`: an
    /// item of another type is an error of [`get`](Self::get). They have to be built with the same
    /// version of this crate's memory and the same C library; others do not see them, nor they others.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) for another name, if `/proc` cannot be read, if another process
    /// has been opening the queue for 10 s, and as for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::Queue;
    ///
    /// # let name = format!("example-{}", std::process::id());
    /// # let name = &name;
    /// let jobs = Queue::named(name)?;
    /// jobs.put(&"resize a.png".to_string())?;
    ///
    /// // In another program:
    /// let jobs = Queue::<String>::named(name)?;
    /// assert_eq!(jobs.get()?, "resize a.png");
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        Self::named_bounded(name, 0)
    }

    /// As [`named`](Self::named), and a new one holds at most `maxsize` items; 0 is no limit. One that
    /// is there keeps the limit that it has.
    ///
    /// # Errors
    /// As for [`named`](Self::named).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::Queue;
    ///
    /// # let name = format!("bounded-{}", std::process::id());
    /// # let name = &name;
    /// let jobs = Queue::<u32>::named_bounded(name, 8)?;
    /// assert_eq!(Queue::<u32>::named(name)?.maxsize(), Some(8));
    /// # drop(jobs);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn named_bounded(name: &str, maxsize: usize) -> Result<Self> {
        Ok(Self {
            raw: Arc::new(RawQueue::named(name, maxsize)?),
            items: PhantomData,
        })
    }

    /// Puts an item at the end, and waits for room if the queue is full: `put(item)`.
    ///
    /// The item is only borrowed, so one that is refused is still the caller's.
    ///
    /// # Errors
    /// [`Closed`](crate::Error::Closed) after [`close`](Self::close),
    /// [`TooLarge`](crate::Error::TooLarge) for an item that the queue could not hold even if it were
    /// empty, [`Serial`](crate::Error::Serial) if the
    /// item cannot be serialised. The queue is then as it was.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&(1, "one".to_string()))?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_within(item, Wait::Forever)
    }

    /// Puts an item at the end if there is room now: `put(item, block=False)`.
    ///
    /// # Errors
    /// [`Full`](crate::Error::Full), and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::bounded(1)?;
    /// assert!(queue.try_put(&1).is_ok());
    /// assert!(queue.try_put(&2).is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_within(item, Wait::No)
    }

    /// Puts an item at the end, and waits for room so long: `put(item, timeout=…)`.
    ///
    /// # Errors
    /// [`Full`](crate::Error::Full) when the time is over, and those of [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.put(&1)?;
    /// let refused = queue.put_timeout(&2, Duration::from_millis(10));
    /// assert!(matches!(refused, Err(Error::Full)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_within(item, Wait::lasting(timeout))
    }

    #[inline]
    fn put_within(&self, item: &T, wait: Wait) -> Result<()> {
        self.raw.put_value(item, wait)
    }

    /// Takes the first item, and waits for one if there is none: `get()`.
    ///
    /// # Errors
    /// [`Closed`](crate::Error::Closed) when the queue is closed and drained;
    /// [`Serial`](crate::Error::Serial) if the item does not read as a `T`: of a queue by its name,
    /// another program may have put another type.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// let other_end = queue.clone();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || other_end.put(&42));
    ///     assert_eq!(queue.get().unwrap(), 42);
    /// });
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get(&self) -> Result<T> {
        self.get_within(Wait::Forever)
    }

    /// Takes the first item if there is one now: `get(block=False)`.
    ///
    /// # Errors
    /// [`Empty`](crate::Error::Empty), and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<u32>::new()?;
    /// assert!(matches!(queue.try_get(), Err(multiprocess::Error::Empty)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T> {
        self.get_within(Wait::No)
    }

    /// Takes the first item, and waits for one so long: `get(timeout=…)`.
    ///
    /// # Errors
    /// [`Empty`](crate::Error::Empty) when the time is over, and those of [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = multiprocess::Queue::<u32>::new()?;
    /// let nothing = queue.get_timeout(Duration::from_millis(10));
    /// assert!(matches!(nothing, Err(multiprocess::Error::Empty)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_within(Wait::lasting(timeout))
    }

    #[inline]
    fn get_within(&self, wait: Wait) -> Result<T> {
        self.raw.get_value(wait)
    }

    /// Gets items, waiting for each, until the queue is closed and drained.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&1)?;
    /// queue.put(&2)?;
    /// queue.close();
    /// let items: Vec<i32> = queue.iter().collect::<Result<_, _>>()?;
    /// assert_eq!(items, [1, 2]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }
}

impl<T> Queue<T> {
    /// How many items are in the queue at this moment: `qsize()`.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&'x')?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no item at this moment: `empty()`.
    ///
    /// # Examples
    /// ```
    /// assert!(multiprocess::Queue::<u32>::new()?.is_empty());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the limit of items is reached at this moment: `full()`.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::bounded(1)?;
    /// queue.put(&'x')?;
    /// assert!(queue.is_full());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.maxsize().is_some_and(|maxsize| self.len() >= maxsize)
    }

    /// The limit of items, if there is one.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(multiprocess::Queue::<u32>::bounded(8)?.maxsize(), Some(8));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn maxsize(&self) -> Option<usize> {
        Some(self.raw.maxsize()).filter(|&maxsize| maxsize > 0)
    }

    /// Says that an item which was taken is dealt with: `task_done()` of `JoinableQueue`.
    ///
    /// The process that took the item should say so. From another process it counts as well, but
    /// then [`join`](Self::join) may notice a loss only when both have ended.
    ///
    /// # Errors
    /// [`NothingInHand`](crate::Error::NothingInHand) if it was called for every item taken so far;
    /// Python raises `ValueError`.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&1)?;
    /// queue.get()?;
    /// queue.task_done()?;
    /// assert!(queue.task_done().is_err());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<()> {
        self.raw.task_done()
    }

    /// Waits until every item put was taken and reported by [`task_done`](Self::task_done):
    /// `join()` of `JoinableQueue`.
    ///
    /// # Errors
    /// [`ItemsLost`](crate::Error::ItemsLost) when the queue is empty and everything that is missing
    /// had been taken by processes that ended without saying `task_done`; Python waits for ever.
    /// Whoever has made good for the lost items calls `task_done` for each; until then `join` goes
    /// on saying so.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&1)?;
    /// queue.get()?;
    /// queue.task_done()?;
    /// queue.join()?;
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn join(&self) -> Result<()> {
        self.raw.join(Wait::Forever)
    }

    /// [`join`](Self::join) with a limit of time, which Python does not have.
    ///
    /// # Errors
    /// [`TimedOut`](crate::Error::TimedOut), and that of [`join`](Self::join).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::new()?;
    /// queue.put(&1)?;
    /// let waited = queue.join_timeout(Duration::from_millis(10));
    /// assert!(matches!(waited, Err(Error::TimedOut)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        self.raw.join(Wait::lasting(timeout))
    }

    /// Closes the queue in all processes: puts fail from now on, gets drain what is there and then
    /// fail; whoever waits is woken. What Python 3.13 calls `shutdown()`, for threads only; its
    /// `multiprocessing.Queue.close()` concerns one process.
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, Queue};
    ///
    /// let queue = Queue::new()?;
    /// queue.put(&1)?;
    /// queue.close();
    /// assert!(matches!(queue.put(&2), Err(Error::Closed)));
    /// assert_eq!(queue.get()?, 1);
    /// assert!(matches!(queue.get(), Err(Error::Closed)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close(&self) {
        self.raw.close();
    }

    /// Whether the queue was closed. Items may still be in it.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<u32>::new()?;
    /// queue.close();
    /// assert!(queue.is_closed());
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.raw.is_closed()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            raw: Arc::clone(&self.raw),
            items: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("maxsize", &self.maxsize())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// To hand the queue to another process, as [`Descriptor`](crate::Descriptor) says.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            raw: Arc::new(RawQueue::deserialize(deserializer)?),
            items: PhantomData,
        })
    }
}

/// The items of a queue, each waited for: made by [`Queue::iter`], or by a `for` over `&queue`.
///
/// It ends when the queue is closed and drained. An item that does not read as a `T` is an error
/// and not the end.
///
/// # Examples
/// ```
/// let queue = multiprocess::Queue::new()?;
/// queue.put(&"only".to_string())?;
/// queue.close();
/// for item in &queue {
///     assert_eq!(item?, "only");
/// }
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T: Serializable> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.queue.get() {
            Err(crate::Error::Closed) => None,
            item => Some(item),
        }
    }
}

impl<'a, T: Serializable> IntoIterator for &'a Queue<T> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
