//! Tasks that have a master: their results go to a queue of that master's own.

use std::sync::Arc;

use super::item_queue::{Death, TaskOrigin};
use super::queues::Queues;
use crate::wire::protocol::Fault;
use crate::{QueueOptions, random};

/// What stands between the name of a queue of results and that of a master.
pub(super) const OF: char = '@';
/// The most queues of masters at one time, and the longest name of a master, in bytes.
const REPLIES_MAX: usize = 10_000;
const NAME_MAX: usize = 100;

impl Queues {
    /// Adds the queue of a master when it is first mentioned: `results@master`.
    pub(super) fn add_reply_queue(&mut self, ident: &str) {
        let Some((results, master)) = ident.split_once(OF) else {
            return;
        };
        let has_results = self.get(results).is_some_and(|queue| !queue.is_made);
        let has_room = self.replies < REPLIES_MAX;
        if has_results && has_room && !master.is_empty() && master.len() <= NAME_MAX {
            self.add(QueueOptions::new(ident).max_deliveries(u32::MAX));
            if let Some(queue) = self.get_mut(ident) {
                queue.is_reply = true;
            }
            self.replies += 1;
        }
    }

    /// Whether a queue is that of a master who has left, with nothing in it.
    pub(super) fn is_left_reply(&self, ident: &str) -> bool {
        let queue = self.get(ident);
        queue.is_some_and(|queue| queue.is_reply && queue.is_unused())
    }

    /// What tasks are known by whose results go to this queue: each has an id.
    pub(super) fn task_origins(
        &mut self,
        reply: &str,
        count: usize,
    ) -> Result<Vec<Arc<TaskOrigin>>, Fault> {
        let reply = self.reply_queue(reply)?;
        let origin = |_| {
            Arc::new(TaskOrigin {
                id: random::id(),
                reply: Arc::clone(&reply),
                submitted: None,
            })
        };
        Ok((0..count).map(origin).collect())
    }

    /// The queue of a master, by its name.
    pub(super) fn reply_queue(&mut self, reply: &str) -> Result<Arc<str>, Fault> {
        if !reply.contains(OF) {
            let text = format!("'{reply}' is not RESULTS{OF}MASTER");
            return Err(Fault::new("ValueError", text));
        }
        Ok(Arc::clone(&self.queue(reply)?.ident))
    }

    /// Of which task the connection puts a result when it puts into this queue: of the one that it
    /// has taken, if that is one alone.
    pub(super) fn result_of(&self, connection: u64, ident: &str) -> Option<Arc<TaskOrigin>> {
        let task = self.leases.task_of(connection)?;
        let (results, _) = task.reply.split_once(OF)?;
        (results == ident).then_some(task)
    }

    /// Tells a master that a task is a dead letter, or why one by name has no result. False when
    /// nobody is there to be told.
    pub(super) fn tell_of_death(&mut self, task: Arc<TaskOrigin>, death: &Arc<Death>) -> bool {
        let reply = Arc::clone(&task.reply);
        let queue = match task.submitted {
            // Who submitted it has made the queue, and has left if it is gone.
            Some(_) => self.get_mut(&reply),
            None => self.queue(&reply).ok(),
        };
        let Some(queue) = queue else {
            return false;
        };
        queue.push_notice(task, Arc::clone(death));
        self.serve(&reply);
        true
    }
}
