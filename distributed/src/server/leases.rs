//! The leases: the items that were delivered and may come back, each under an id.
//!
//! An id is drawn at random, and who knows it may end the lease, on whatever connection: a Python
//! client has a connection for each thread. Nobody can guess what another holds.
//!
//! A connection that ends gives back all that it holds. One that goes on says so of what it was
//! handed without asking for a lease, so those leases are apart from the others. A lease for which
//! a client asked with a time belongs to no connection: its time alone brings the item back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::item_queue::{QueuedItem, TaskOrigin};
use super::memory::cost;
use crate::random;

/// An item that is out of its queue.
pub(super) struct LeaseRecord {
    /// The queue to which it comes back.
    pub(super) ident: Arc<str>,
    pub(super) item: QueuedItem,
    pub(super) holder: Holder,
    pub(super) expires: Option<Instant>,
    pub(super) since: Instant,
    /// Which of all leases it is, in the order in which they were granted.
    number: u64,
}

/// Whose end, or whose next call, ends a lease.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// This connection's; with its next call the item is done.
    Implicit(u64),
    /// This connection's, which asked for it and will end it by its id.
    Explicit(u64),
    /// Of whoever knows its id; with the connection that has taken it, if any has.
    Anyone(Option<u64>),
}

impl Holder {
    /// `(connection, explicit)`
    pub(super) fn connection(self) -> Option<(u64, bool)> {
        match self {
            Holder::Implicit(connection) => Some((connection, false)),
            Holder::Explicit(connection) => Some((connection, true)),
            Holder::Anyone(_) => None,
        }
    }

    /// The connection that has the item, which may have ended.
    pub(super) fn taker(self) -> Option<u64> {
        match self {
            Holder::Implicit(connection) | Holder::Explicit(connection) => Some(connection),
            Holder::Anyone(taker) => taker,
        }
    }
}

/// All leases of a server, found by all that ends them, so that each call costs the same however
/// many there are.
#[derive(Default)]
pub(super) struct LeaseTable {
    records: BTreeMap<u64, LeaseRecord>,
    /// `(connection, explicit, number)` and the id: the leases of one connection stand together,
    /// and among them those that it did not ask for come first, so that either are one range.
    held: BTreeMap<(u64, bool, u64), u64>,
    by_queue: BTreeSet<(Arc<str>, u64)>,
    by_expiry: BTreeSet<(Instant, u64)>,
    /// The connections from which an item was taken back because its time was over, and that have
    /// made no call since.
    late: BTreeSet<u64>,
    /// The last number given.
    last: u64,
    /// Told when the first expiry is another, and sooner.
    pub(super) sooner: Arc<Notify>,
}

impl LeaseTable {
    /// Notes that an item is out, for a client that may end the lease by the id.
    pub(super) fn grant(
        &mut self,
        ident: &Arc<str>,
        item: QueuedItem,
        holder: Holder,
        expires: Option<Instant>,
    ) -> u64 {
        self.last += 1;
        let (ident, number) = (Arc::clone(ident), self.last);
        let id = self.new_id();
        if let Some((connection, explicit)) = holder.connection() {
            self.held.insert((connection, explicit, number), id);
        }
        self.by_queue.insert((Arc::clone(&ident), id));
        if let Some(expires) = expires {
            self.by_expiry.insert((expires, id));
            if self.by_expiry.first() == Some(&(expires, id)) {
                self.sooner.notify_one();
            }
        }
        let record = LeaseRecord {
            ident,
            item,
            holder,
            expires,
            since: Instant::now(),
            number,
        };
        self.records.insert(id, record);
        id
    }

    /// An id that no lease has. Above 0, and small enough for an `int` of 64 bits.
    fn new_id(&self) -> u64 {
        loop {
            let id = u64::from_ne_bytes(random::bytes()) >> 1;
            if id > 0 && !self.records.contains_key(&id) {
                return id;
            }
        }
    }

    /// A lease that is not over.
    pub(super) fn get(&self, id: u64) -> Option<&LeaseRecord> {
        self.records.get(&id)
    }

    /// Ends a lease; none if it is over already, by its expiry or by the end of its connection, or
    /// if there was no such lease.
    pub(super) fn end(&mut self, id: u64) -> Option<LeaseRecord> {
        let record = self.records.remove(&id)?;
        if let Some((connection, explicit)) = record.holder.connection() {
            self.held.remove(&(connection, explicit, record.number));
        }
        self.by_queue.remove(&(Arc::clone(&record.ident), id));
        if let Some(expires) = record.expires {
            self.by_expiry.remove(&(expires, id));
        }
        Some(record)
    }

    /// Ends the leases that the connection did not ask for: it has gone on to its next call, so it
    /// is done with what it was handed.
    pub(super) fn acknowledge_implicit(&mut self, connection: u64) {
        while let Some((_, &id)) = self
            .held
            .range((connection, false, 0)..=(connection, false, u64::MAX))
            .next()
        {
            self.end(id);
        }
        self.late.remove(&connection);
    }

    /// The leases that the connection did not ask for, in the order in which they were granted.
    pub(super) fn implicit_of(&self, connection: u64) -> Vec<u64> {
        let held = self
            .held
            .range((connection, false, 0)..=(connection, false, u64::MAX));
        held.map(|(_, id)| *id).collect()
    }

    /// The task that the connection has taken, if it is one alone.
    pub(super) fn task_of(&self, connection: u64) -> Option<Arc<TaskOrigin>> {
        match self.implicit_of(connection)[..] {
            [only] => self.records.get(&only)?.item.task.clone(),
            _ => None,
        }
    }

    /// What becomes free with the leases that the connection did not ask for, in bytes.
    pub(super) fn implicit_cost(&self, connection: u64) -> u64 {
        let held = self
            .held
            .range((connection, false, 0)..=(connection, false, u64::MAX));
        let records = held.filter_map(|(_, id)| self.records.get(id));
        records.map(|record| cost(&record.item.code)).sum()
    }

    /// Whether an item was taken back from the connection, and it has made no call since. Asking is
    /// that call.
    pub(super) fn was_late(&mut self, connection: u64) -> bool {
        self.late.remove(&connection)
    }

    /// Takes the leases of a connection that has ended, in the order in which they were granted.
    pub(super) fn of_connection(&mut self, connection: u64) -> Vec<u64> {
        self.late.remove(&connection);
        let held = self
            .held
            .range((connection, false, 0)..=(connection, true, u64::MAX));
        let mut leases: Vec<(u64, u64)> = held.map(|((_, _, number), id)| (*number, *id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }

    /// A lease whose time is over at `now`, of which its holder is noted to be late.
    pub(super) fn expired(&mut self, now: Instant) -> Option<u64> {
        let &(_, id) = self
            .by_expiry
            .first()
            .filter(|(expires, _)| *expires <= now)?;
        if let Some(LeaseRecord {
            holder: Holder::Implicit(connection),
            ..
        }) = self.records.get(&id)
        {
            self.late.insert(*connection);
        }
        Some(id)
    }

    /// When the next lease expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|(expires, _)| *expires)
    }

    /// Drops the leases of a queue that is gone: there is nowhere for their items to come back to.
    pub(super) fn forget(&mut self, ident: &Arc<str>) {
        while let Some(&(_, id)) = self
            .by_queue
            .range((Arc::clone(ident), 0)..=(Arc::clone(ident), u64::MAX))
            .next()
        {
            self.end(id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.records.values()
    }

    /// How many leases each queue has, and how long it has had the oldest of them.
    pub(super) fn counts(&self, now: Instant) -> BTreeMap<&str, (u64, Duration)> {
        let mut counts: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
        for record in self.iter() {
            let (count, oldest) = counts.entry(&record.ident).or_default();
            *count += 1;
            *oldest = now.saturating_duration_since(record.since).max(*oldest);
        }
        counts
    }
}
