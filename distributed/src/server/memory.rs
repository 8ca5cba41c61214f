//! The budgets of memory: what clients store may take so many bytes, in one queue and in all.
//!
//! What is stored carries its [`Charge`], which counts it until it is dropped: in a queue, out on a
//! lease, or on its way to a client that does not read. So nothing that keeps an item can forget to
//! count it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;
use tracing::Span;

use super::keeping::Holds;

/// What an item costs beside its bytes: its place in a queue, or its lease.
pub(super) const ITEM_OVERHEAD: u64 = 256;
/// What a queue costs beside its items.
pub(super) const QUEUE_OVERHEAD: u64 = 1024;

/// A budget of bytes: the server's, or that of a queue within it.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
    server: Option<Arc<Budget>>,
    /// Whether someone waits for bytes to become free.
    is_awaited: AtomicBool,
    freed: Notify,
}

impl Budget {
    /// The budget of a server.
    pub(super) fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicU64::new(0),
            server: None,
            is_awaited: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// The budget of a queue, within that of its server; three quarters of it if not said. So one
    /// queue that nobody empties leaves room: for the results, if it has the tasks.
    pub(super) fn within(server: &Arc<Budget>, limit: Option<u64>) -> Arc<Budget> {
        Arc::new(Budget {
            limit: limit.unwrap_or(server.limit / 4 * 3),
            used: AtomicU64::new(0),
            server: Some(Arc::clone(server)),
            is_awaited: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// This budget and the one around it, if there is one.
    fn each(&self) -> impl Iterator<Item = &Budget> {
        [Some(self), self.server.as_deref()].into_iter().flatten()
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        self.may_exchange(0, bytes)
    }

    /// Whether so many bytes may come when others are freed, which may be another queue's.
    pub(super) fn may_exchange(&self, freed: u64, bytes: u64) -> bool {
        let has_room = |budget: &Budget, bytes| budget.used().saturating_add(bytes) <= budget.limit;
        let server = self.server.as_deref();
        has_room(self, bytes)
            && server.is_none_or(|server| has_room(server, bytes.saturating_sub(freed)))
    }

    /// Counts so many bytes, whether there is room or not. Only who holds the lock of the queues
    /// charges, so between the question for room and this only more room may have come.
    pub(super) fn charge(self: &Arc<Budget>, bytes: u64) -> Charge {
        for budget in self.each() {
            budget.used.fetch_add(bytes, SeqCst);
        }
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Asks of the server's budget to be told by [`freed`](Budget::freed) when bytes become free.
    /// Who asks must look for room once more after that.
    pub(super) fn await_room(&self) {
        let server = self.server.as_deref().unwrap_or(self);
        server.is_awaited.store(true, SeqCst);
    }

    /// Returns when bytes of the server's budget became free for which someone waits.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        for budget in self.budget.each() {
            budget.used.fetch_sub(self.bytes, SeqCst);
        }
        let server = self.budget.server.as_deref().unwrap_or(&self.budget);
        if server.is_awaited.swap(false, SeqCst) {
            server.freed.notify_one();
        }
    }
}

/// The code of an item, see [`Pickle::item`](crate::wire::pickle::Pickle::item), and its charge.
#[derive(Debug)]
pub(super) struct StoredItem {
    code: Vec<u8>,
    charge: Charge,
    /// What it has proxies of lives as long as it does.
    holds: Holds,
    /// From when it was put until it is gone, where somebody traces items: see [`traced`].
    ///
    /// [`traced`]: super::traced
    pub(super) span: Option<Box<Span>>,
}

/// An item that is to be stored.
#[derive(Debug)]
pub(super) struct NewItem {
    code: Vec<u8>,
    pub(super) holds: Holds,
}

impl From<Vec<u8>> for NewItem {
    fn from(code: Vec<u8>) -> NewItem {
        NewItem { code, holds: None }
    }
}

impl Deref for NewItem {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.code
    }
}

/// An item, shared by its queue or lease and the client that it is written to.
pub(super) type Code = Arc<StoredItem>;

impl StoredItem {
    pub(super) fn new(item: NewItem, budget: &Arc<Budget>) -> StoredItem {
        let NewItem { code, holds } = item;
        StoredItem {
            charge: budget.charge(cost(&code)),
            code,
            holds,
            span: None,
        }
    }

    /// The same item once more.
    pub(super) fn copied(&self, budget: &Arc<Budget>) -> StoredItem {
        let (code, holds) = (self.code.clone(), self.holds.clone());
        StoredItem::new(NewItem { code, holds }, budget)
    }

    /// Counts it in another budget from now on.
    pub(super) fn move_to(&mut self, budget: &Arc<Budget>) {
        self.charge = budget.charge(self.charge.bytes);
    }
}

impl Deref for StoredItem {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.code
    }
}

/// What an item costs, in bytes.
pub(super) fn cost(code: &[u8]) -> u64 {
    code.len() as u64 + ITEM_OVERHEAD
}

/// The budget of a server that was given none: half of what the machine has, or of what its cgroup
/// may have, which is what a container is given.
pub(super) fn half_of_the_machine() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let of_machine = read("/proc/meminfo").and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    });
    let mut least = of_machine.unwrap_or(2 << 30);
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        // `0::/path` for version 2, `4:memory:/path` for version 1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(mut path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // What is said of a group holds for those below it. In a container the path may be one of
        // the outside, of which only the root is there.
        loop {
            let limit = read(&format!("{root}{}/{file}", path.trim_end_matches('/')));
            let limit = limit.and_then(|text| text.trim().parse().ok());
            least = least.min(limit.unwrap_or(u64::MAX));
            match path.rsplit_once('/') {
                Some((above, _)) if !path.trim_end_matches('/').is_empty() => path = above,
                _ => break,
            }
        }
    }
    least / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_stores_counts_in_both_budgets_until_it_is_dropped() {
        let server = Budget::new(1000);
        let queue = Budget::within(&server, Some(600));
        let other = Budget::within(&server, None);
        let charge = queue.charge(500);
        assert_eq!((server.used(), queue.used(), other.used()), (500, 500, 0));
        assert!(!queue.has_room_for(101) && other.has_room_for(500));
        assert!(!other.has_room_for(501) && other.may_exchange(1, 501));
        assert!(other.limit() < server.limit());
        drop(charge);
        assert!(queue.has_room_for(600) && server.used() == 0);
    }

    #[test]
    fn a_server_that_is_told_nothing_takes_half_of_what_there_is_at_most() {
        let half = half_of_the_machine();
        assert!(half > 16 << 20 && half < 1 << 50, "{half}");
    }
}
