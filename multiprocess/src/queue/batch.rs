//! Several items in one call: what `put_many` and `get_many` hold.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::time::Duration;

use super::Queue;
use super::raw::Wait;
use crate::codec::{self, Buffer};
use crate::{Error, Result, Serializable};

/// The length that stands before each item, in bytes.
const LEN: usize = size_of::<u64>();

/// Items in serialised form, one behind the other, each behind its length.
pub(crate) struct Frames {
    buffer: Buffer,
    /// Where the first item's length stands.
    start: usize,
    /// Where the last item ends. The buffer may be longer.
    end: usize,
    count: usize,
}

impl Frames {
    /// None yet, to be filled by a reader.
    pub(super) fn to_read() -> Self {
        Self::in_buffer(Buffer::to_read())
    }

    fn in_buffer(buffer: Buffer) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
            count: 0,
        }
    }

    /// All of these values; none is refused later.
    pub(super) fn of<T: Serializable>(values: &[T], item_max: u64) -> Result<Self> {
        let mut frames = Self::in_buffer(Buffer::to_write());
        for value in values {
            let bytes = frames.buffer.bytes();
            let start = bytes.len() + LEN;
            bytes.resize(start, 0);
            codec::append(value, bytes)?;
            let len = bytes.len() - start;
            if len as u64 > item_max {
                return Err(Error::TooLarge {
                    len: len as u64,
                    max: item_max,
                });
            }
            frames.push(len);
        }
        Ok(frames)
    }

    /// Where the next item is to be written: from this place of the buffer on.
    #[inline]
    pub(super) fn room(&mut self) -> (&mut Vec<u8>, usize) {
        let start = self.end + LEN;
        let bytes = self.buffer.bytes();
        if bytes.len() < start {
            bytes.resize(start, 0);
        }
        (bytes, start)
    }

    /// Takes in the item of this length that was written there.
    #[inline]
    pub(super) fn push(&mut self, len: usize) {
        let start = self.end + LEN;
        self.buffer.bytes()[self.end..start].copy_from_slice(&(len as u64).to_ne_bytes());
        self.end = start + len;
        self.count += 1;
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&mut self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.buffer.bytes()[self.start..self.end];
        std::iter::from_fn(move || {
            let (item, after) = split_first(rest)?;
            rest = after;
            Some(item)
        })
    }

    /// The first item, which is then no longer here.
    #[inline]
    fn pop(&mut self) -> Option<&[u8]> {
        let (item, _) = split_first(&self.buffer.bytes()[self.start..self.end])?;
        self.start += LEN + item.len();
        self.count -= 1;
        Some(item)
    }

    /// Forgets the first items.
    pub(super) fn advance(&mut self, count: usize) {
        let bytes: usize = self.iter().take(count).map(|item| LEN + item.len()).sum();
        self.start += bytes;
        self.count -= count;
    }
}

/// The first item and what follows it.
#[inline]
fn split_first(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = frames.split_first_chunk::<LEN>()?;
    Some(rest.split_at(u64::from_ne_bytes(*len) as usize))
}

impl<T: Serializable> Queue<T> {
    /// Puts items at the end in their order, and waits for room for each: one call for many.
    ///
    /// As many as find room go in under one lock, some hundred at a time; items of others may come
    /// between. Readers find each as soon as it is in. Whoever is killed in here has put the first
    /// ones and not the others. Python has no such call.
    ///
    /// # Errors
    /// Those of [`put`](Queue::put). An item that cannot be serialised, or is too large, is found
    /// before any is put. After [`Closed`](crate::Error::Closed), the first items may be in the
    /// queue; [`try_put_many`](Queue::try_put_many) says how many.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put_many(&[1, 2, 3])?;
    /// assert_eq!((queue.len(), queue.get()?), (3, 1));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn put_many(&self, items: &[T]) -> Result<()> {
        let mut frames = Frames::of(items, self.raw.item_max())?;
        self.raw.put_many(&mut frames, Wait::Forever)
    }

    /// Puts the first items, as many as there is room for now, and returns how many that is.
    ///
    /// # Errors
    /// [`Full`](crate::Error::Full) or [`Closed`](crate::Error::Closed) if not even the first was
    /// put, and [`Serial`](crate::Error::Serial) and [`TooLarge`](crate::Error::TooLarge) as for
    /// [`put_many`](Queue::put_many).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::bounded(2)?;
    /// assert_eq!(queue.try_put_many(&[1, 2, 3])?, 2);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_put_many(&self, items: &[T]) -> Result<usize> {
        let mut frames = Frames::of(items, self.raw.item_max())?;
        let put = self.raw.put_many(&mut frames, Wait::No);
        match (put, items.len() - frames.len()) {
            (Err(error), 0) => Err(error),
            (_, count) => Ok(count),
        }
    }

    /// Takes what is there, at most `max` items, and waits for one if there is none: one call for
    /// many.
    ///
    /// The items are taken under one lock, some hundred at a time. They are then in this process's
    /// hands: if it is killed, or drops the [`Batch`], those that it had not dealt with are gone, and
    /// [`join`](Queue::join) counts each for which nobody says `task_done`. Python has no such call.
    ///
    /// # Errors
    /// [`Closed`](crate::Error::Closed) when the queue is closed and drained. An item that does not
    /// read as a `T` is an error of the [`Batch`], in its place.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put_many(&[1, 2, 3])?;
    /// let items: Vec<i32> = queue.get_many(2)?.collect::<Result<_, _>>()?;
    /// assert_eq!((items, queue.len()), (vec![1, 2], 1));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get_many(&self, max: usize) -> Result<Batch<T>> {
        self.get_many_within(max, Wait::Forever)
    }

    /// [`get_many`](Queue::get_many), which waits for the first item so long.
    ///
    /// # Errors
    /// [`Empty`](crate::Error::Empty) when the time is over, and those of
    /// [`get_many`](Queue::get_many).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = multiprocess::Queue::<u32>::new()?;
    /// let nothing = queue.get_many_timeout(8, Duration::from_millis(10));
    /// assert!(matches!(nothing, Err(multiprocess::Error::Empty)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Batch<T>> {
        self.get_many_within(max, Wait::lasting(timeout))
    }

    /// Takes all items that are there now, without waiting; there may be none.
    ///
    /// # Errors
    /// [`Os`](crate::Error::Os) if the shared memory is damaged, or there is no memory for the items.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put_many(&['a', 'b'])?;
    /// assert_eq!((queue.drain()?.len(), queue.drain()?.len()), (2, 0));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn drain(&self) -> Result<Batch<T>> {
        match self.get_many_within(usize::MAX, Wait::No) {
            Err(Error::Empty | Error::Closed) => self.get_many_within(0, Wait::No),
            batch => batch,
        }
    }

    fn get_many_within(&self, max: usize, wait: Wait) -> Result<Batch<T>> {
        let mut frames = Frames::to_read();
        self.raw.get_many(&mut frames, max, wait)?;
        Ok(Batch {
            frames,
            items: PhantomData,
        })
    }
}

/// Items that were taken together, by [`Queue::get_many`] or [`Queue::drain`].
///
/// Each is read when its turn comes. An item that does not read as a `T` is an error, and the next
/// ones follow. Those that are left when the batch is dropped are gone.
///
/// # Examples
/// ```
/// let queue = multiprocess::Queue::new()?;
/// queue.put_many(&["A".to_string(), "B".to_string()])?;
/// for item in queue.get_many(64)? {
///     println!("{}", item?);
///     queue.task_done()?;
/// }
/// queue.join()?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Batch<T> {
    frames: Frames,
    items: PhantomData<fn() -> T>,
}

impl<T: Serializable> Iterator for Batch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        codec::decode_next(self.frames.pop())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.frames.len(), Some(self.frames.len()))
    }
}

impl<T: Serializable> ExactSizeIterator for Batch<T> {}
impl<T: Serializable> FusedIterator for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.frames.len())
            .finish_non_exhaustive()
    }
}
