//! Vectors of plain data that are written and read where they lie: `Loan` and `Borrowed`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use super::lending::Lent;
use super::memory::PAGE;
use super::raw::{RawQueue, Wait};
use crate::codec::leaves::Leaf;
use crate::codec::{self, Buffer, numbers};
use crate::sync::Plain;
use crate::sys::plain_slice;
use crate::{Result, Serializable};

/// Vectors of [`Plain`] data may be lent: an item is then written and read where it lies, in the
/// queue's shared memory, and never copied.
///
/// A writer takes a [`Loan`], fills it and publishes it; a reader takes a [`Borrowed`] and reads it.
/// At most 1024 loans, published items and borrowed ones have memory of their own at a time; a loan
/// beyond that waits. Loans and plain puts, and both ways to get, may be mixed in one queue. It is what iceoryx2 calls
/// `loan_slice` and `send`, and what Python programs build of `shared_memory` and a queue of names.
///
/// Items of other types have no such calls:
///
/// ```compile_fail
/// let queue = multiprocess::Queue::<String>::new()?;
/// queue.loan(100)?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
impl<N: Plain> Queue<Vec<N>>
where
    Vec<N>: Serializable,
{
    /// Lends memory for an item of so many values, and waits for room.
    ///
    /// The values are whatever stood there before; write them all. What is lent counts as an item
    /// once it is [published](Loan::publish).
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) if there could never be room, and
    /// [`Closed`](crate::Error::Closed) after [`close`](Queue::close).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<Vec<f64>>::new()?;
    /// let mut loan = queue.loan(1000)?;
    /// loan.fill(0.5);
    /// loan.publish()?;
    /// let borrowed = queue.get_ref()?;
    /// assert_eq!(borrowed.iter().sum::<f64>(), 500.0);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn loan(&self, len: usize) -> Result<Loan<N>> {
        self.loan_within(len, Wait::Forever)
    }

    /// Lends memory for an item if there is room now.
    ///
    /// # Errors
    /// [`Full`](crate::Error::Full), and those of [`loan`](Self::loan).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
    /// assert_eq!(queue.try_loan(100)?.len(), 100);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_loan(&self, len: usize) -> Result<Loan<N>> {
        self.loan_within(len, Wait::No)
    }

    /// Lends memory for an item, and waits for room so long.
    ///
    /// # Errors
    /// [`Full`](crate::Error::Full) when the time is over, and those of [`loan`](Self::loan).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
    /// assert_eq!(queue.loan_timeout(100, Duration::from_secs(1))?.len(), 100);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn loan_timeout(&self, len: usize, timeout: Duration) -> Result<Loan<N>> {
        self.loan_within(len, Wait::lasting(timeout))
    }

    fn loan_within(&self, len: usize, wait: Wait) -> Result<Loan<N>> {
        // A block begins at a page, so that every value lies at an address that is its own.
        const { assert!(align_of::<N>() <= PAGE as usize) };
        let bytes = (len as u64).saturating_mul(size_of::<N>() as u64);
        let lease = self.raw.lend(bytes, wait)?;
        Ok(Loan {
            lent: Lent::new(Arc::clone(&self.raw), lease),
            len,
            values: PhantomData,
        })
    }

    /// Takes the first item where it lies, and waits for one if there is none.
    ///
    /// An item that was put, if it is small, does not lie in memory of its own: it is copied.
    ///
    /// # Errors
    /// Those of [`get`](Queue::get).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::new()?;
    /// queue.put(&vec![1u32, 2, 3])?;
    /// assert_eq!(*queue.get_ref()?, [1, 2, 3]);
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get_ref(&self) -> Result<Borrowed<N>> {
        self.get_ref_within(Wait::Forever)
    }

    /// Takes the first item where it lies, if there is one now.
    ///
    /// # Errors
    /// [`Empty`](crate::Error::Empty), and those of [`get`](Queue::get).
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
    /// assert!(matches!(queue.try_get_ref(), Err(multiprocess::Error::Empty)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn try_get_ref(&self) -> Result<Borrowed<N>> {
        self.get_ref_within(Wait::No)
    }

    /// Takes the first item where it lies, and waits for one so long.
    ///
    /// # Errors
    /// [`Empty`](crate::Error::Empty) when the time is over, and those of [`get`](Queue::get).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
    /// let nothing = queue.get_ref_timeout(Duration::from_millis(10));
    /// assert!(matches!(nothing, Err(multiprocess::Error::Empty)));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn get_ref_timeout(&self, timeout: Duration) -> Result<Borrowed<N>> {
        self.get_ref_within(Wait::lasting(timeout))
    }

    fn get_ref_within(&self, wait: Wait) -> Result<Borrowed<N>> {
        let mut buffer = Buffer::to_read();
        let mut block = None;
        let nothing = |_, _: &[u8]| ();
        let (_, len) = self
            .raw
            .get_with_block(buffer.bytes(), &mut block, wait, nothing)?;
        let bytes = &buffer.bytes()[..len];
        let Some((lease, used)) = block else {
            let values = BorrowedValues::Copied(codec::decode(bytes)?);
            return Ok(Borrowed { values });
        };
        let lent = Lent::new(Arc::clone(&self.raw), lease);
        let leaf = Leaf::only(bytes, numbers::kind_of::<N>());
        let range = leaf.and_then(|leaf| leaf.range(used));
        let range = range.filter(|range| lies_as_values::<N>(&lent.bytes()[range.clone()]));
        let values = match range {
            Some(range) => BorrowedValues::Lent {
                start: range.start,
                len: range.len().checked_div(size_of::<N>()).unwrap_or(0),
                lent,
            },
            // A part of an item that serde has made of it, or of one that is not of this type.
            None => BorrowedValues::Copied(codec::decode_with_block(bytes, &lent.bytes()[..used])?),
        };
        Ok(Borrowed { values })
    }
}

/// Whether all of the bytes are values of `N`.
fn lies_as_values<N: Plain>(bytes: &[u8]) -> bool {
    let len = bytes.len().checked_div(size_of::<N>()).unwrap_or(0);
    len * size_of::<N>() == bytes.len() && plain_slice::values::<N>(bytes, len).is_some()
}

/// Memory of a queue, lent to be written: a `&mut [N]` that becomes an item by
/// [`publish`](Self::publish).
///
/// Made by [`Queue::loan`]. Dropped, it gives the memory back, and nobody sees what was written. A
/// loan belongs to the process that took it: if that is killed, the queue takes the memory back before
/// it takes more from the system, and at the next put if it is much. A child that is forked meanwhile cannot publish it.
///
/// # Examples
/// ```
/// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
/// let mut loan = queue.loan(3)?;
/// loan.copy_from_slice(b"abc");
/// loan.publish()?;
/// assert_eq!(queue.get()?, b"abc");
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[must_use = "a loan that is dropped is never published"]
pub struct Loan<N> {
    lent: Lent<Arc<RawQueue>>,
    /// How many values.
    len: usize,
    values: PhantomData<N>,
}

impl<N: Plain> Loan<N> {
    /// Puts what was written at the end of the queue, and waits if that has all its items.
    ///
    /// # Errors
    /// [`Closed`](crate::Error::Closed) after [`close`](Queue::close), and
    /// [`Os`](crate::Error::Os) in a child that was forked after the loan.
    ///
    /// # Examples
    /// ```
    /// let queue = multiprocess::Queue::<Vec<u64>>::new()?;
    /// let mut loan = queue.loan(2)?;
    /// loan.copy_from_slice(&[1, 2]);
    /// loan.publish()?;
    /// assert_eq!((queue.len(), queue.get()?), (1, vec![1, 2]));
    /// # Ok::<(), multiprocess::Error>(())
    /// ```
    pub fn publish(mut self) -> Result<()> {
        self.put(Wait::Forever)
    }

    /// Puts what was written at the end of the queue, and waits so long if that has all its items.
    ///
    /// # Errors
    /// The loan comes back with the error: [`Full`](crate::Error::Full) when the time is over, and
    /// those of [`publish`](Self::publish).
    ///
    /// # Examples
    /// ```
    /// use multiprocess::{Error, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::<Vec<u8>>::bounded(1)?;
    /// queue.put(&vec![1])?;
    /// let (loan, error) = queue.loan(10)?.publish_timeout(Duration::ZERO).unwrap_err();
    /// assert!(matches!(error, Error::Full));
    /// queue.get()?;
    /// loan.publish()?;
    /// # Ok::<(), Error>(())
    /// ```
    #[expect(
        clippy::result_large_err,
        reason = "who comes too late has the loan again, and no memory is taken for that"
    )]
    pub fn publish_timeout(
        mut self,
        timeout: Duration,
    ) -> std::result::Result<(), (Self, crate::Error)> {
        match self.put(Wait::lasting(timeout)) {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }

    fn put(&mut self, wait: Wait) -> Result<()> {
        let used = self.len * size_of::<N>();
        let mut item = Vec::new();
        Leaf::whole(numbers::kind_of::<N>(), used as u64).push(&mut item);
        self.lent.put(&item, used, wait).map(drop)
    }
}

impl<N: Plain> Deref for Loan<N> {
    type Target = [N];

    #[inline]
    fn deref(&self) -> &[N] {
        let values = plain_slice::values(self.lent.bytes(), self.len);
        values.expect("a block begins at a page and is long enough")
    }
}

impl<N: Plain> DerefMut for Loan<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [N] {
        let values = plain_slice::values_mut(self.lent.bytes_mut(), self.len);
        values.expect("a block begins at a page and is long enough")
    }
}

impl<N: Plain> fmt::Debug for Loan<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("len", &self.len).finish()
    }
}

/// An item that was taken and is read where it lies: a `&[N]`.
///
/// Made by [`Queue::get_ref`]. Dropped, it gives the memory back to the queue, for the next item. It
/// belongs to the process that took it: if that is killed, the queue takes the memory back, as that
/// of a [`Loan`]; the item itself is gone, as any that a killed reader had taken.
///
/// Nobody writes the item meanwhile, unless a process writes over memory of a queue that it was not
/// lent. A child that is forked meanwhile reads the same memory, and may do so for as long as its
/// parent has the item.
///
/// # Examples
/// ```
/// let queue = multiprocess::Queue::<Vec<u8>>::new()?;
/// queue.put(&vec![7; 1 << 20])?;
/// let borrowed = queue.get_ref()?;
/// assert!(borrowed.iter().all(|&byte| byte == 7));
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub struct Borrowed<N> {
    values: BorrowedValues<N>,
}

enum BorrowedValues<N> {
    /// So many, from this byte of the block on.
    Lent {
        lent: Lent<Arc<RawQueue>>,
        start: usize,
        len: usize,
    },
    Copied(Vec<N>),
}

impl<N: Plain> Deref for Borrowed<N> {
    type Target = [N];

    #[inline]
    fn deref(&self) -> &[N] {
        match &self.values {
            BorrowedValues::Lent { lent, start, len } => {
                let values = plain_slice::values(&lent.bytes()[*start..], *len);
                values.expect("the item was looked at when it was taken")
            }
            BorrowedValues::Copied(values) => values,
        }
    }
}

impl<N: Plain> fmt::Debug for Borrowed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
