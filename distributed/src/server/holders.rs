//! Who holds what, and who waits for what, for those who look.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::queues::Queues;
use crate::{HoldStatus, WaitStatus};

/// The most that are named. The numbers of leases and of those who wait count all.
const NAMED_MAX: usize = 1000;

impl Queues {
    /// Items and locks that clients hold, those first that are held longest.
    pub(super) fn holds(&self, now: Instant) -> Vec<HoldStatus> {
        let mut leases: Vec<_> = self.leases.iter().collect();
        longest(&mut leases, |lease| lease.since);
        let items = leases.into_iter().map(|lease| HoldStatus {
            name: lease.ident.to_string(),
            kind: "item".to_string(),
            client: self.client(lease.holder.taker()),
            time: now.saturating_duration_since(lease.since),
            expires: lease
                .expires
                .map(|expires| expires.saturating_duration_since(now)),
            deliveries: lease.item.deliveries,
            task: lease.item.task.as_ref().map(|task| task.id.clone()),
        });
        let mut locks: Vec<_> = self.objects.held().collect();
        longest(&mut locks, |(_, _, _, since)| *since);
        let locks = locks
            .into_iter()
            .map(|(name, kind, connection, since)| HoldStatus {
                name: name.to_string(),
                kind: kind.to_string(),
                client: self.client(Some(connection)),
                time: now.saturating_duration_since(since),
                expires: None,
                deliveries: 0,
                task: None,
            });
        let mut holds: Vec<HoldStatus> = items.chain(locks).collect();
        holds.sort_by_key(|hold| Reverse(hold.time));
        holds.truncate(NAMED_MAX);
        holds
    }

    /// Clients that wait, those first that wait longest.
    pub(super) fn waits(&self, now: Instant) -> Vec<WaitStatus> {
        let of_queues = self.iter().flat_map(|queue| {
            let waits = queue.waits();
            waits.map(|(connection, kind, since)| (&queue.ident, kind, connection, since))
        });
        let mut waits: Vec<_> = of_queues.chain(self.objects.acquiring()).collect();
        longest(&mut waits, |(_, _, _, since)| *since);
        let status =
            |(name, kind, connection, since): (&Arc<str>, &str, u64, Instant)| WaitStatus {
                name: name.to_string(),
                kind: kind.to_string(),
                client: self.client(Some(connection)),
                time: now.saturating_duration_since(since),
            };
        waits.into_iter().map(status).collect()
    }

    /// What the client of a connection calls itself; nothing if it has left.
    fn client(&self, connection: Option<u64>) -> String {
        let client = connection.and_then(|connection| self.clients.get(&connection));
        client.map_or(String::new(), |client| client.to_string())
    }
}

/// Leaves those that are there longest, in the order in which they came. Of very many it does not
/// sort all: the server does nothing else meanwhile.
fn longest<T>(all: &mut Vec<T>, since: impl Fn(&T) -> Instant) {
    if all.len() > NAMED_MAX {
        all.select_nth_unstable_by_key(NAMED_MAX, &since);
        all.truncate(NAMED_MAX);
    }
    all.sort_by_key(since);
}
