//! `Condition`: those who wait until they are notified.

use std::collections::VecDeque;
use std::sync::Arc;

use super::acquirer::Acquirer;
use super::step::CallStep;
use crate::server::waiter::WaiterSender;

/// `Condition`: a lock, and those who wait until one who holds it notifies them.
pub(super) struct SharedCondition {
    pub(super) lock: ConditionLock,
    pub(super) waiters: VecDeque<(u64, WaiterSender<CallStep>, u64)>,
}

pub(super) enum ConditionLock {
    Own(Acquirer),
    /// Another object, by its name or ident.
    Other(Arc<str>),
}

impl SharedCondition {
    pub(super) const EXPOSED: &[&str] = &[
        "acquire",
        "clear_owner_died",
        "notify",
        "notify_all",
        "owner_died",
        "release",
        "wait",
    ];

    /// The lock that it shares with others.
    pub(super) fn other_lock(&self) -> Option<&Arc<str>> {
        match &self.lock {
            ConditionLock::Own(_) => None,
            ConditionLock::Other(lock) => Some(lock),
        }
    }

    /// Lets so many go on, those first who wait longest.
    pub(super) fn notify(&mut self, most: usize) {
        let mut left = most;
        while left > 0
            && let Some((_, send, count)) = self.waiters.pop_front()
        {
            let notified = true;
            // One that has left is not counted.
            left -= usize::from(send.send(CallStep::Reacquire { count, notified }).is_ok());
        }
    }
}
