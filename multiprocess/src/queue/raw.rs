//! The queue of byte strings under [`Queue`](super::Queue) and the pool.

use std::cell;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::batch::Frames;
use super::layout::{Header, Reader};
use super::memory::{Memory, Unread};
use super::readers::{self, JoinState, ReaderSlot};
use super::ring::{PutItem, Rings, TakenBlock};
use super::sizing;
use super::step::step;
use super::wakers::Wakers;
use crate::event_count::AdaptiveSpin;
use crate::sys::fork_private::ForkPrivate;
use crate::sys::mutex::Guard;
use crate::sys::shm::Shared;
use crate::{Error, Result};

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until this moment.
    Until(Instant),
    /// For ever.
    Forever,
}

impl Wait {
    /// From now for so long; for ever if the clock does not reach so far.
    pub(crate) fn lasting(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or(Self::Forever, Self::Until)
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::No | Self::Forever => None,
        }
    }

    /// The deadline of the lock, which is held for moments only: who does not want to wait for an
    /// item still waits for that, but not for an owner that is stopped.
    pub(crate) fn lock_deadline(self) -> Option<Instant> {
        match self {
            Self::No => Some(Instant::now() + LOCK_WITHIN),
            _ => self.deadline(),
        }
    }
}

/// How many items go in or out under one lock: others wait for it so long.
const BATCH_ITEMS: usize = 256;

/// How long one waits for a lock who does not want to wait.
const LOCK_WITHIN: Duration = Duration::from_secs(1);

/// An item of this length, in bytes, waits a little for readers that are at work, a nanosecond for
/// each byte, before it takes memory that must be got from the system: that would take about as
/// long, and for each item that follows.
const LARGE: usize = 64 << 10;

/// A queue of byte strings in shared memory. It is serialised for a process that is being started.
pub(crate) struct RawQueue {
    pub(super) rings: Rings,
    slot: ReaderSlot,
    for_items: AdaptiveSpin,
    pub(super) for_room: AdaptiveSpin,
    pub(super) getters: Wakers,
    pub(super) putters: Wakers,
    /// What makes one that was opened by a name known to others.
    pub(super) _registration: Option<ForkPrivate<UnixDatagram>>,
}

impl RawQueue {
    /// A queue that holds at most `maxsize` items; 0 for no limit.
    pub(crate) fn new(maxsize: usize) -> Result<Self> {
        let created = Self::create(maxsize);
        created.map_err(|e| Error::os("create the shared memory of a queue", e))
    }

    pub(super) fn create(maxsize: usize) -> io::Result<Self> {
        let memory = Memory::create(sizing::allowed()?, maxsize as u64)?;
        Ok(Self::over(memory))
    }

    pub(super) fn over(memory: Memory) -> Self {
        Self {
            rings: Rings::new(memory),
            slot: ReaderSlot::default(),
            for_items: AdaptiveSpin::new(),
            for_room: AdaptiveSpin::new(),
            getters: Wakers::default(),
            putters: Wakers::default(),
            _registration: None,
        }
    }

    pub(super) fn header(&self) -> &Header {
        self.rings.header()
    }

    /// Puts `item` at the end and returns its number in the order of puts, counted from 0.
    pub(crate) fn put(&self, item: &[u8], wait: Wait) -> Result<u64> {
        self.put_item(PutItem::without_block(item), wait)
    }

    /// As [`put`](Self::put), of an item that may have a block. After an error the block is the
    /// caller's still.
    #[inline(always)]
    pub(super) fn put_item(&self, item: PutItem<'_>, wait: Wait) -> Result<u64> {
        let (len, max) = (item.bytes.len() as u64, self.item_max());
        if len > max {
            return Err(Error::TooLarge { len, max });
        }
        let header = self.header();
        let is_large = item.bytes.len() >= LARGE && !matches!(wait, Wait::No);
        let mut crowded_until = None;
        // Known only after the first failure: a look at it costs the consumers a cache miss.
        let mut taken_before = None;
        loop {
            let held = self.lock_to_put(wait)?;
            if is_large && self.rings.is_crowded(item.bytes.len()) {
                let moment = Duration::from_nanos(len);
                let until = *crowded_until.get_or_insert_with(|| Instant::now() + moment);
                if Instant::now() < until {
                    let before = self.taken();
                    drop(held);
                    let something_taken = || self.taken() != before || self.is_closed();
                    let room = &header.room;
                    room.wait(&self.for_room, Some(until), something_taken);
                    continue;
                }
            }
            let ordinal = self.rings.put_item(item);
            drop(held);
            if let Some(ordinal) = ordinal {
                header.items.notify_one();
                return Ok(ordinal);
            }
            let Some(before) = taken_before.replace(self.taken()) else {
                continue;
            };
            let something_taken = || self.taken() != before || self.is_closed();
            if matches!(wait, Wait::No)
                || !header
                    .room
                    .wait(&self.for_room, wait.deadline(), something_taken)
            {
                return Err(Error::Full);
            }
            self.for_room.found(self.taken().wrapping_sub(before));
        }
    }

    /// The producers' lock of a queue that is open.
    #[inline(always)]
    pub(super) fn lock_to_put(&self, wait: Wait) -> Result<Guard<'_>> {
        let repair = || self.rings.clear_half_written();
        let lock = &self.header().producers.lock;
        let Some(held) = lock.lock(|| wait.lock_deadline(), repair) else {
            return Err(Error::Full);
        };
        self.rings.look_through();
        match self.is_closed() {
            true => Err(Error::Closed),
            false => Ok(held),
        }
    }

    /// Puts all items in their order. After an error, the items that were put are no longer in
    /// `items`.
    pub(crate) fn put_many(&self, items: &mut Frames, wait: Wait) -> Result<()> {
        loop {
            let put = self.put_with_room(items, wait)?;
            items.advance(put);
            // The next one, if any, waits for room as every item does.
            let Some(item) = items.iter().next() else {
                return Ok(());
            };
            self.put(item, wait)?;
            items.advance(1);
        }
    }

    /// Puts the first items that there is room for, under one lock; returns how many.
    fn put_with_room(&self, items: &mut Frames, wait: Wait) -> Result<usize> {
        let held = self.lock_to_put(wait)?;
        let put = self.rings.put_many(items.iter().take(BATCH_ITEMS));
        drop(held);
        self.header().items.notify_many(put);
        Ok(put)
    }

    /// Appends to `items` what is there, at most `max` items; waits for one if there is none.
    pub(crate) fn get_many(&self, items: &mut Frames, max: usize, wait: Wait) -> Result<()> {
        self.get_with_items(items, max)?;
        if items.len() == 0 && max > 0 {
            let (buffer, start) = items.room();
            let (_, len) = self.get_to(buffer, start, wait)?;
            items.push(len);
            self.get_with_items(items, max)?;
        }
        self.trim_if_idle();
        Ok(())
    }

    /// Appends to `items` what is there now, until they are `max`.
    fn get_with_items(&self, items: &mut Frames, max: usize) -> Result<()> {
        let header = self.header();
        // No more than at first: the writers may be faster.
        let mut left = self.len().min(max - items.len());
        while left > 0 {
            let repair = || self.rings.repair();
            let lock = header
                .consumers
                .lock
                .lock(|| Wait::No.lock_deadline(), repair);
            // Whoever has it may be stopped: the caller has items, or waits as it wants to.
            let Some(held) = lock else { break };
            let reader = self.slot.reader(header);
            let most = left.min(BATCH_ITEMS);
            let taken = self.rings.take_many(items, most, || reader.count_taken());
            drop(held);
            match taken {
                Ok(0) => break,
                Ok(taken) => {
                    header.room.notify_many(taken);
                    left -= taken;
                }
                Err(reason) if items.len() == 0 => return Err(unread(reason)),
                // The next call says so; these items are taken.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes the first item into `buffer`, whose length only grows, and its block, if it has one, into
    /// `block`; returns the item's number and its length. `before_commit` is called with the number and
    /// the item when all but the commit is done: if the caller is killed, the item is its own only if
    /// that call was made, and it was taken only if [`taken`](Self::taken) then is more than the number.
    #[inline]
    pub(crate) fn get_with_block(
        &self,
        buffer: &mut Vec<u8>,
        block: &mut Option<TakenBlock>,
        wait: Wait,
        mut before_commit: impl FnMut(u64, &[u8]),
    ) -> Result<(u64, usize)> {
        self.get_by(
            wait,
            || false,
            |reader| {
                self.rings.take_with_block(buffer, block, |ordinal, item| {
                    before_commit(ordinal, item);
                    reader.count_taken();
                })
            },
        )
    }

    /// As [`get_with_block`](Self::get_with_block), for as long as it takes; but [`Error::Empty`] once
    /// the caller `gives_up`, which [`wake_readers`](Self::wake_readers) has it asked.
    pub(crate) fn get_unless(
        &self,
        buffer: &mut Vec<u8>,
        block: &mut Option<TakenBlock>,
        gives_up: impl Fn() -> bool,
        mut before_commit: impl FnMut(u64, &[u8]),
    ) -> Result<(u64, usize)> {
        self.get_by(Wait::Forever, gives_up, |reader| {
            self.rings.take_with_block(buffer, block, |ordinal, item| {
                before_commit(ordinal, item);
                reader.count_taken();
            })
        })
    }

    /// As [`get_with_block`](Self::get_with_block), all of it into `buffer` from `start` on.
    #[inline]
    fn get_to(&self, buffer: &mut Vec<u8>, start: usize, wait: Wait) -> Result<(u64, usize)> {
        let taken = self.get_by(
            wait,
            || false,
            |reader| self.rings.take(buffer, start, |_, _| reader.count_taken()),
        )?;
        self.trim_if_idle();
        Ok(taken)
    }

    /// Takes the first item by `take`, with the consumers' lock held.
    #[inline]
    fn get_by(
        &self,
        wait: Wait,
        gives_up: impl Fn() -> bool,
        mut take: impl FnMut(&Reader) -> Result<Option<(u64, usize)>, Unread>,
    ) -> Result<(u64, usize)> {
        let header = self.header();
        loop {
            if gives_up() {
                return Err(Error::Empty);
            }
            // Read before the last look: what was put before the close will still be found.
            let closed = self.is_closed();
            let lock = header
                .consumers
                .lock
                .lock(|| wait.lock_deadline(), || self.rings.repair());
            let Some(held) = lock else {
                return Err(Error::Empty);
            };
            let taken = take(self.slot.reader(header));
            drop(held);
            if let Some(taken) = taken.map_err(unread)? {
                header.room.notify_one();
                return Ok(taken);
            }
            step("get: nothing was there");
            if closed {
                return Err(Error::Closed);
            }
            let found = cell::Cell::new(0);
            let has_item = || {
                found.set(self.put_count().saturating_sub(self.taken()));
                found.get() > 0 || self.is_closed()
            };
            let is_over = || has_item() || gives_up();
            if matches!(wait, Wait::No)
                || !header.items.wait(&self.for_items, wait.deadline(), is_over)
            {
                return Err(Error::Empty);
            }
            self.for_items.found(found.get());
        }
    }

    /// Wakes all readers that sleep, who then look whether to give up.
    pub(crate) fn wake_readers(&self) {
        self.header().items.notify_all();
    }

    /// Wakes a reader that sleeps, in the place of one that was woken and killed.
    pub(crate) fn wake_reader(&self) {
        self.header().items.notify_one();
    }

    /// Writes over the first item, as a process that has gone wrong may.
    #[cfg(test)]
    pub(crate) fn damage_first(&self, word: u64) {
        self.rings.damage_first(word);
    }

    /// The longest item that the queue takes, in bytes.
    #[inline]
    pub(crate) fn item_max(&self) -> u64 {
        self.rings.item_max()
    }

    /// How many items were ever taken.
    pub(crate) fn taken(&self) -> u64 {
        self.header().progress.taken.load(SeqCst)
    }

    /// How many items were ever put.
    pub(super) fn put_count(&self) -> u64 {
        self.header().put.load(SeqCst)
    }

    pub(crate) fn len(&self) -> usize {
        // In this order, so that the difference is never negative.
        let taken = self.taken();
        self.put_count().saturating_sub(taken) as usize
    }

    /// The most items the queue holds at a time; 0 for no limit.
    pub(crate) fn maxsize(&self) -> usize {
        self.header().fixed.maxsize.load(Relaxed) as usize
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.header().fixed.closed.load(SeqCst) != 0
    }

    /// Refuses items from now on.
    pub(crate) fn close(&self) {
        let header = self.header();
        // With the lock, a put is either done before or sees the mark: nobody puts an item after a
        // consumer has seen the queue closed and empty.
        let repair = || self.rings.clear_half_written();
        let held = header.producers.lock.lock(|| None, repair);
        header.fixed.closed.store(1, SeqCst);
        drop(held);
        header.items.notify_all();
        header.room.notify_all();
    }

    pub(crate) fn task_done(&self) -> Result<()> {
        let header = self.header();
        let count = |done| (done < self.taken()).then(|| done + 1);
        if header.done.fetch_update(SeqCst, SeqCst, count).is_err() {
            return Err(Error::NothingInHand);
        }
        let reader = self.slot.claimed(header).unwrap_or_else(|| {
            let _held = header.consumers.lock.lock(|| None, || self.rings.repair());
            self.slot.reader(header)
        });
        reader.done.fetch_add(1, SeqCst);
        if header.done.load(SeqCst) == header.put.load(SeqCst) {
            header.all_done.notify_all();
        }
        Ok(())
    }

    pub(crate) fn join(&self, wait: Wait) -> Result<()> {
        let header = self.header();
        let lost = cell::Cell::new(0);
        let over = || match readers::join_state(header) {
            JoinState::AllDone => true,
            JoinState::Lost(count) => {
                lost.set(count);
                true
            }
            JoinState::Waiting => false,
        };
        match (
            header
                .all_done
                .wait(&AdaptiveSpin::new(), wait.deadline(), over),
            lost.get(),
        ) {
            (true, 0) => Ok(()),
            (true, count) => Err(Error::ItemsLost(count)),
            (false, _) => Err(Error::TimedOut),
        }
    }
}

/// The item stays where it is.
#[cold]
fn unread(reason: Unread) -> Error {
    let (kind, reason) = match reason {
        Unread::Damaged => (
            io::ErrorKind::InvalidData,
            "the queue's shared memory is damaged, since a process that has the queue wrote over \
             it; make another queue"
                .to_string(),
        ),
        Unread::NoMemory { len } => (
            io::ErrorKind::OutOfMemory,
            format!("this process has no memory for its {len} bytes (RLIMIT_AS, `ulimit -v`)"),
        ),
    };
    Error::os("take an item from a queue", io::Error::new(kind, reason))
}

/// To hand the queue to another process, as [`Descriptor`](crate::Descriptor) says.
impl Serialize for RawQueue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rings.memory().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawQueue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Memory::new(Shared::deserialize(deserializer)?)
            .map(Self::over)
            .map_err(D::Error::custom)
    }
}
