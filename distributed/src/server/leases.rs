//! The leases: the items that were delivered and may come back, each under a number.
//!
//! A connection that ends gives back all that it holds. One that goes on says so of what it was
//! handed without asking for a lease, so those leases are apart from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::item_queue::QueuedItem;
use super::memory::cost;

/// An item that is out of its queue.
pub(super) struct LeaseRecord {
    /// The queue to which it comes back.
    pub(super) ident: Arc<str>,
    pub(super) item: QueuedItem,
    pub(super) connection: u64,
    /// Whether the client asked for the lease, and will end it by its number.
    pub(super) explicit: bool,
    pub(super) expiry: Option<Expiry>,
}

/// The task that waits until a lease expires. It ends with the lease: a worker that leases for an
/// hour and is done in a moment would else leave an hour's tasks behind.
pub(super) struct Expiry(AbortHandle);

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All leases of a server.
#[derive(Default)]
pub(super) struct LeaseTable {
    records: BTreeMap<u64, LeaseRecord>,
    /// `(connection, explicit, lease)`: the leases of one connection stand together, and among them
    /// those that it did not ask for come first, so that either are one range.
    held: BTreeSet<(u64, bool, u64)>,
}

impl LeaseTable {
    pub(super) fn grant(&mut self, lease: u64, record: LeaseRecord) {
        self.held
            .insert((record.connection, record.explicit, lease));
        self.records.insert(lease, record);
    }

    pub(super) fn expire_by(&mut self, lease: u64, task: AbortHandle) {
        let expiry = Expiry(task);
        if let Some(record) = self.records.get_mut(&lease) {
            record.expiry = Some(expiry);
        }
    }

    /// Ends a lease; none if it is over already, by its expiry or by the end of its connection.
    pub(super) fn end(&mut self, lease: u64) -> Option<LeaseRecord> {
        let record = self.records.remove(&lease)?;
        self.held
            .remove(&(record.connection, record.explicit, lease));
        Some(record)
    }

    /// Ends the leases that the connection did not ask for: it has gone on to its next call, so it
    /// is done with what it was handed.
    pub(super) fn acknowledge_implicit(&mut self, connection: u64) {
        while let Some(&held) = self.held.range((connection, false, 0)..).next()
            && held.0 == connection
            && !held.1
        {
            self.held.remove(&held);
            self.records.remove(&held.2);
        }
    }

    /// What becomes free with the leases that the connection did not ask for, in bytes.
    pub(super) fn implicit_cost(&self, connection: u64) -> u64 {
        let held = self
            .held
            .range((connection, false, 0)..=(connection, false, u64::MAX));
        let records = held.filter_map(|(_, _, lease)| self.records.get(lease));
        records.map(|record| cost(&record.item.code)).sum()
    }

    /// The leases of a connection, in the order in which they were granted.
    pub(super) fn of_connection(&self, connection: u64) -> Vec<u64> {
        let held = self
            .held
            .range((connection, false, 0)..=(connection, true, u64::MAX));
        let mut leases: Vec<u64> = held.map(|(_, _, lease)| *lease).collect();
        leases.sort_unstable();
        leases
    }

    /// Drops the leases of a queue that is gone: there is nowhere for their items to come back to.
    pub(super) fn forget(&mut self, ident: &str) {
        self.records.retain(|_, record| &*record.ident != ident);
        let records = &self.records;
        self.held
            .retain(|(_, _, lease)| records.contains_key(lease));
    }

    /// How many leases each queue has.
    pub(super) fn counts(&self) -> BTreeMap<Arc<str>, u64> {
        let mut counts = BTreeMap::new();
        for record in self.records.values() {
            *counts.entry(Arc::clone(&record.ident)).or_default() += 1;
        }
        counts
    }
}
