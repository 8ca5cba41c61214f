//! `Lock`, `RLock`, `Semaphore` and `BoundedSemaphore`: permits, who holds them, and who waits.
//!
//! The holder is a connection, which in CPython is a thread of a process. What a connection holds
//! that ends is free at once, and goes to whoever waits longest. Whoever has it from then on can ask
//! who died with it, until one says that all is well again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::call::ObjectCall;
use super::step::CallStep;
use crate::server::waiter::{Waiter, WaiterSender};
use crate::wire::protocol::Fault;

/// The methods, as a proxy is told of them.
pub(super) const EXPOSED: &[&str] = &["acquire", "clear_owner_died", "owner_died", "release"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcquirerKind {
    Lock,
    RLock,
    Semaphore,
    BoundedSemaphore,
}

pub(super) struct Acquirer {
    kind: AcquirerKind,
    free: u64,
    /// How many permits there were at first.
    initial: u64,
    /// How much of it each connection holds; of an `RLock`, how often.
    holders: BTreeMap<u64, u64>,
    waiters: VecDeque<AcquireWaiter>,
    /// The last one that ended with some of it, until one says that what it left is mended.
    owner_died: Option<Arc<str>>,
    /// Which connections have begun to hold something of it or have ceased to, since it was asked.
    changes: Vec<(u64, bool)>,
}

struct AcquireWaiter {
    ticket: u64,
    since: Instant,
    connection: u64,
    count: u64,
    /// How it goes on when it is served.
    then: CallStep,
    send: WaiterSender<CallStep>,
}

impl Acquirer {
    pub(super) fn new(kind: AcquirerKind, initial: u64) -> Acquirer {
        Acquirer {
            kind,
            free: initial,
            initial,
            holders: BTreeMap::new(),
            waiters: VecDeque::new(),
            owner_died: None,
            changes: Vec::new(),
        }
    }

    /// Python's `Semaphore(value=1)`.
    pub(super) fn semaphore(kind: AcquirerKind, call: &ObjectCall) -> Result<Acquirer, Fault> {
        let [value] = call.request.bind(["value"], 0)?;
        let value = value.map_or(Ok(1), |value| call.request.int("value", value))?;
        let value = u64::try_from(value)
            .map_err(|_| Fault::new("ValueError", "semaphore initial value must be >= 0"))?;
        Ok(Acquirer::new(kind, value))
    }

    pub(super) fn is_lock(&self) -> bool {
        matches!(self.kind, AcquirerKind::Lock | AcquirerKind::RLock)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            AcquirerKind::Lock => "Lock",
            AcquirerKind::RLock => "RLock",
            AcquirerKind::Semaphore => "Semaphore",
            AcquirerKind::BoundedSemaphore => "BoundedSemaphore",
        }
    }

    /// Takes a permit, if there is one; of an `RLock`, `count` times.
    pub(super) fn try_acquire(&mut self, connection: u64, count: u64) -> bool {
        if self.kind == AcquirerKind::RLock
            && let Some(held) = self.holders.get_mut(&connection)
        {
            *held += count;
            return true;
        }
        if self.free == 0 {
            return false;
        }
        self.free -= 1;
        *self.holders.entry(connection).or_insert(0) += count;
        self.changes.push((connection, true));
        true
    }

    pub(super) fn wait(
        &mut self,
        ticket: u64,
        connection: u64,
        count: u64,
        then: CallStep,
    ) -> Waiter<CallStep> {
        let (send, waiter) = Waiter::new(ticket);
        self.waiters.push_back(AcquireWaiter {
            ticket,
            since: Instant::now(),
            connection,
            count,
            then,
            send,
        });
        waiter
    }

    /// Gives permits back. Anyone may, but of an `RLock` only who holds it.
    pub(super) fn release(&mut self, connection: u64, permits: u64) -> Result<(), Fault> {
        match self.kind {
            AcquirerKind::Lock => {
                // Another thread may release what one has acquired, as in Python.
                let (holder, _) = self
                    .holders
                    .pop_first()
                    .ok_or_else(|| Fault::new("RuntimeError", "release unlocked lock"))?;
                self.changes.push((holder, false));
                self.free = 1;
            }
            AcquirerKind::RLock => {
                let missing = || Fault::new("RuntimeError", "cannot release un-acquired lock");
                let held = self.holders.get_mut(&connection).ok_or_else(missing)?;
                *held -= 1;
                if *held == 0 {
                    self.release_all(connection);
                }
            }
            AcquirerKind::BoundedSemaphore if self.free.saturating_add(permits) > self.initial => {
                let text = "Semaphore released too many times";
                return Err(Fault::new("ValueError", text));
            }
            AcquirerKind::Semaphore | AcquirerKind::BoundedSemaphore => {
                self.free = self.free.saturating_add(permits);
                let mut left = permits;
                while left > 0 && self.unhold(connection) {
                    left -= 1;
                }
            }
        }
        self.serve();
        Ok(())
    }

    /// One permit less that a connection holds: the one that gives it back, or, if it has none, the
    /// one that has been there longest. Whether there was any.
    fn unhold(&mut self, connection: u64) -> bool {
        let holder = match self.holders.contains_key(&connection) {
            true => Some(connection),
            false => self.holders.keys().next().copied(),
        };
        let Some(holder) = holder else {
            return false;
        };
        if let Some(held) = self.holders.get_mut(&holder) {
            *held -= 1;
            if *held == 0 {
                self.holders.remove(&holder);
                self.changes.push((holder, false));
            }
        }
        true
    }

    /// Whether this connection may wait in a condition of this lock, and notify others there.
    pub(super) fn is_owned(&self, connection: u64) -> bool {
        match self.kind {
            AcquirerKind::RLock => self.holders.contains_key(&connection),
            _ => self.free == 0,
        }
    }

    /// Lets a lock go, however often it was acquired. How often.
    pub(super) fn release_all(&mut self, connection: u64) -> u64 {
        let held = match self.kind {
            AcquirerKind::RLock => self.holders.remove_entry(&connection),
            _ => self.holders.pop_first(),
        };
        let (holder, count) = held.unwrap_or((connection, 1));
        self.changes.push((holder, false));
        self.free = 1;
        self.serve();
        count
    }

    /// A connection has ended, which was `client`'s: what it held is free. Whether it held any that
    /// another can have in its place.
    pub(super) fn end(&mut self, connection: u64, client: &Arc<str>) -> bool {
        let Some(held) = self.holders.remove(&connection) else {
            return false;
        };
        let before = self.free;
        self.free = match self.is_lock() {
            true => 1,
            // A semaphore that counts what happened does not get more than it began with: who has
            // taken from it need not give back.
            false => (self.free + held).min(self.initial.max(self.free)),
        };
        let is_left = self.free > before;
        if is_left {
            self.owner_died = Some(Arc::clone(client));
        }
        self.serve();
        is_left
    }

    /// Who died with some of it, as far as nobody has said that what it left is mended.
    pub(super) fn owner_died(&self) -> Option<&str> {
        self.owner_died.as_deref()
    }

    pub(super) fn clear_owner_died(&mut self) {
        self.owner_died = None;
    }

    fn serve(&mut self) {
        while self.free > 0
            && let Some(waiter) = self.waiters.pop_front()
        {
            if waiter.send.send(waiter.then).is_ok() {
                self.try_acquire(waiter.connection, waiter.count);
            }
        }
    }

    /// Takes a waiter out, if it has not been served.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        self.waiters.retain(|waiter| waiter.ticket != ticket);
    }

    /// Which connections have begun to hold something of it, or have ceased to, since last asked.
    pub(super) fn changes(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.changes)
    }

    /// Which connections wait for it, and since when.
    pub(super) fn waits(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.waiters
            .iter()
            .map(|waiter| (waiter.connection, waiter.since))
    }

    pub(super) fn shown(&self) -> String {
        let (name, free, initial) = (self.name(), self.free, self.initial);
        let waiting = self.waiters.len();
        match self.is_lock() {
            true => {
                let state = if free == 0 { "locked" } else { "unlocked" };
                format!("<{state} {name}, {waiting} waiting>")
            }
            false => format!("<{name} of {free}/{initial}, {waiting} waiting>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::reply;

    fn wait(acquirer: &mut Acquirer, connection: u64) -> Waiter<CallStep> {
        acquirer.wait(connection, connection, 1, CallStep::Reply(reply::none()))
    }

    fn is_served(waiter: &mut Waiter<CallStep>) -> bool {
        waiter.receive.try_recv().is_ok()
    }

    #[test]
    fn what_a_connection_held_goes_to_who_waits_longest() {
        let mut lock = Acquirer::new(AcquirerKind::Lock, 1);
        assert!(lock.try_acquire(1, 1) && !lock.try_acquire(2, 1));
        let (mut second, mut third) = (wait(&mut lock, 2), wait(&mut lock, 3));
        assert!(lock.end(1, &"first".into()));
        assert!(is_served(&mut second) && !is_served(&mut third));
        // One that has left before its turn is passed over.
        drop(third);
        let mut fourth = wait(&mut lock, 4);
        lock.release(9, 1).expect("anyone may release a lock");
        assert!(is_served(&mut fourth));
        lock.release(4, 1).expect("it is held");
        assert!(lock.release(4, 1).is_err());
    }

    #[test]
    fn who_died_with_a_lock_is_known_until_one_says_that_it_is_mended() {
        let mut lock = Acquirer::new(AcquirerKind::RLock, 1);
        assert!(lock.try_acquire(1, 1) && lock.try_acquire(1, 1));
        // One that does not hold it leaves nothing.
        assert!(!lock.end(9, &"another".into()));
        assert_eq!(lock.owner_died(), None);
        assert!(lock.end(1, &"first".into()));
        assert!(lock.try_acquire(2, 1));
        lock.release(2, 1).expect("it is held");
        // One that did not ask has mended nothing.
        assert!(lock.try_acquire(3, 1));
        assert_eq!(lock.owner_died(), Some("first"));
        assert!(lock.end(3, &"third".into()));
        assert_eq!(lock.owner_died(), Some("third"));
        lock.clear_owner_died();
        assert_eq!(lock.owner_died(), None);
    }

    #[test]
    fn an_rlock_is_free_after_as_many_releases_as_acquires() {
        let mut lock = Acquirer::new(AcquirerKind::RLock, 1);
        assert!(lock.try_acquire(1, 1) && lock.try_acquire(1, 1) && !lock.try_acquire(2, 1));
        assert!(lock.release(2, 1).is_err());
        lock.release(1, 1).expect("it is held twice");
        assert!(!lock.try_acquire(2, 1));
        lock.release(1, 1).expect("it is held once");
        assert!(lock.try_acquire(2, 1));
    }

    #[test]
    fn permits_of_the_dead_come_back_and_signals_do_not() {
        let mut slots = Acquirer::new(AcquirerKind::Semaphore, 2);
        assert!(slots.try_acquire(1, 1) && slots.try_acquire(1, 1) && !slots.try_acquire(2, 1));
        assert!(slots.end(1, &"first".into()));
        assert_eq!(slots.owner_died(), Some("first"));
        slots.clear_owner_died();
        assert!(slots.try_acquire(2, 1) && slots.try_acquire(3, 1) && !slots.try_acquire(4, 1));
        // One gives back what another has taken, and the other dies: no permit comes of it.
        slots.release(4, 1).expect("it has no bound");
        assert!(!slots.end(2, &"second".into()));
        assert_eq!(slots.owner_died(), None);
        assert!(slots.try_acquire(5, 1) && !slots.try_acquire(5, 1));
        // From 0 on it tells of events, and an event that was heard is over.
        let mut events = Acquirer::new(AcquirerKind::Semaphore, 0);
        events.release(1, 1).expect("it has no bound");
        assert!(events.try_acquire(2, 1));
        assert!(!events.end(2, &"second".into()));
        assert!(!events.try_acquire(3, 1));
        let mut bounded = Acquirer::new(AcquirerKind::BoundedSemaphore, 1);
        assert!(bounded.release(1, 1).is_err());
    }
}
