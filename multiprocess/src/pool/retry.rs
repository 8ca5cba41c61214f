//! Tasks whose worker has died, tried again.

use super::{
    chunk::{self, Mode, Part},
    open_tasks::More,
    slot::Step,
    table::TaskTable,
};
use crate::Error;

/// Whether the error of a task or an item says that its worker is dead.
pub(super) fn worker_died(error: &Error) -> bool {
    matches!(
        error,
        Error::Killed { .. }
            | Error::OomKilled { .. }
            | Error::Exited { .. }
            | Error::TaskTimedOut { .. }
            | Error::OutOfMemory { .. }
    )
}

impl TaskTable {
    /// Notes how the worker of a task panics, which is about to die with it.
    pub(super) fn note_panic(&mut self, ticket: u64, error: Error) {
        if let Some(task) = self.tasks.get_mut(ticket) {
            task.more.get_or_insert_default().panicked = Some(error);
        }
    }

    /// Puts a task again whose worker has died, or what is left of it. Returns the error if that is
    /// not to be.
    pub(super) fn survive(
        &mut self,
        ticket: u64,
        at: Step,
        error: Error,
        put_again: impl Fn(&[u8]) -> Option<u64>,
    ) -> Option<Error> {
        let task = self.tasks.get_mut(ticket)?;
        let (number, items) = (task.number, task.items);
        let Some(More {
            chunk,
            retry,
            panicked,
            ..
        }) = task.more.as_deref_mut()
        else {
            return Some(error);
        };
        let error = panicked.take().unwrap_or(error);
        let Some(retry) = retry else {
            return Some(error);
        };
        // It would go the same way again.
        let may_try_again = !matches!(
            error,
            Error::TaskTimedOut { .. } | Error::OutOfMemory { .. } | Error::Panicked { .. }
        );
        let rest = match chunk {
            None => {
                if !(may_try_again && retry.allows(0)) {
                    return Some(error);
                }
                None
            }
            Some(chunk) if chunk.stopped => return Some(error),
            Some(chunk) => {
                // An item whose result has come was not lost, and the next one had not begun.
                let lost = at.is_in_item() && at.done() == chunk.have;
                if lost && !(may_try_again && retry.allows(chunk.have)) {
                    if chunk.mode != Mode::Each {
                        return Some(error);
                    }
                    chunk.parts.push(Part::Failed(error.clone()));
                    self.progress.done += 1;
                    chunk.have += 1;
                    if chunk.have == items {
                        self.finish(ticket, Ok([].into()));
                        return None;
                    }
                }
                chunk::from_item(&retry.task, chunk.have)
            }
        };
        let Some(next) = put_again(rest.as_deref().unwrap_or(&retry.task)) else {
            return Some(error);
        };
        task.number = next;
        self.unheard.skip(next);
        self.retried.remove(&number);
        self.retried.insert(next, ticket);
        None
    }
}
