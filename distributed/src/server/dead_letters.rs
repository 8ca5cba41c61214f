//! Items whose work fails: tried again later, and dead letters in the end.

use std::sync::Arc;

use super::calls::Failed;
use super::item_queue::{Death, QueuedItem};
use super::leases::LeaseRecord;
use super::queues::{DEAD, Queues, over};
use super::tasks::TaskStage;
use super::traced;
use crate::wire::protocol::{Fault, REASON_MAX};
use crate::{DeadLetter, random};

/// What is said of an item whose workers said nothing.
const UNFINISHED: &str = "it was handed out as often as it may be, and not finished";

impl Queues {
    /// The work on what the connection holds, on one part of it, or on what the lease holds, has
    /// failed.
    pub(super) fn fail(
        &mut self,
        connection: u64,
        failed: Failed,
        reason: &str,
    ) -> Result<(), Fault> {
        let held = || self.leases.implicit_of(connection);
        let leases = match failed {
            Failed::Lease(lease) => vec![lease],
            Failed::Held => held(),
            Failed::OneOf(place, count) => {
                let held = held();
                let one = held.get(place).filter(|_| held.len() == count);
                one.copied().into_iter().collect()
            }
        };
        if leases.is_empty() {
            let text = "there is nothing that could come back: take it with take(), or from a queue \
                        that redelivers";
            return Err(Fault::new("ValueError", text));
        }
        // Each goes to the front, so the last one first.
        for lease in leases.into_iter().rev() {
            self.give_back(lease, Some(reason))?;
        }
        Ok(())
    }

    /// Ends a lease because the item is not done. It goes back to the front of its queue, after a
    /// pause if the work on it failed, or to the dead queue.
    pub(super) fn give_back(&mut self, lease: u64, failure: Option<&str>) -> Result<(), Fault> {
        let ended = self.leases.end(lease).ok_or_else(|| over(lease))?;
        let LeaseRecord {
            ident,
            item,
            holder,
            ..
        } = ended;
        let worker = self.worker_of(holder);
        let Ok(queue) = self.queue(&ident) else {
            return Ok(());
        };
        let deliveries = item.deliveries;
        // The end of a pause is no return.
        if holder.taker().is_some() {
            traced::given_back(&item.code, failure);
        }
        if failure.is_some() && !queue.is_spent(&item) {
            let pause = match item.submitted() {
                Some(task) => task.rules.pause(deliveries),
                None => random::retry_pause(deliveries),
            };
            self.delay(&ident, item, pause);
            return Ok(());
        }
        let Err(item) = queue.redeliver(item) else {
            self.serve(&ident);
            return Ok(());
        };
        // For `join` the item is done, or whoever waits there would wait for ever. It may be so
        // already, if its worker called `task_done` and died before its next call.
        let _ = queue.finish();
        let mut reason = failure.unwrap_or(UNFINISHED).to_string();
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        traced::died(&item.code, &reason);
        let death = Arc::new(Death {
            tries: deliveries,
            reason,
            worker,
            is_cancelled: false,
        });
        if let Some(submitted) = item.submitted() {
            submitted.set(TaskStage::Over);
        }
        let task = item.task.clone();
        if let Some(task) = task
            && self.tell_of_death(Arc::clone(&task), &death)
            && task.submitted.is_some()
        {
            // Who submitted it has it.
            return Ok(());
        }
        let reason = death.reason.as_str();
        tracing::warn!(
            queue = &*ident,
            deliveries,
            reason,
            "an item is a dead letter"
        );
        let dead = format!("{ident}{DEAD}");
        self.queue(&dead)?.adopt(item, Some(death));
        self.serve(&dead);
        Ok(())
    }

    /// The dead letters of a queue that nobody has taken.
    pub(super) fn dead_letters(&mut self, ident: &str) -> Result<Vec<DeadLetter>, Fault> {
        let dead = self.queue(&format!("{ident}{DEAD}"))?;
        Ok(dead.letters().collect())
    }

    /// Puts the dead letters of a queue at its end, as if they had never been tried. How many.
    pub(super) fn retry_dead(&mut self, ident: &str) -> Result<u64, Fault> {
        // Before anything is taken out that had nowhere to go.
        self.queue(ident)?;
        let items = self.emptied(&format!("{ident}{DEAD}"))?;
        let (count, queue) = (items.len() as u64, self.queue(ident)?);
        for item in items {
            // Its time was over when it was tried.
            if let Some(item) = queue.adopt(item, None) {
                queue.line_up(item);
            }
        }
        self.serve(ident);
        Ok(count)
    }

    /// Drops what waits in a queue. How many that were.
    pub(super) fn purge(&mut self, ident: &str) -> Result<u64, Fault> {
        let items = self.emptied(ident)?;
        let count = items.len() as u64;
        for item in items {
            if let Some(submitted) = item.submitted() {
                submitted.set(TaskStage::Cancelled);
                self.tell_of_cancellation(item.task.as_ref().expect("it has"), item.deliveries);
            }
        }
        Ok(count)
    }

    /// Takes out all that waits in a queue. Nobody will say of it that it is done.
    fn emptied(&mut self, ident: &str) -> Result<Vec<QueuedItem>, Fault> {
        let queue = self.queue(ident)?;
        let items = queue.drain();
        for _ in &items {
            let _ = queue.finish();
        }
        self.serve(ident);
        Ok(items)
    }
}
