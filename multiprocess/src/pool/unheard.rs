//! Failures of tasks whose handles were dropped before anyone asked.

use super::{chunk::Part, open_tasks::Task};
use crate::{Error, Result};

/// What [`Pool::join`](crate::Pool::join) says of them.
#[derive(Default)]
pub(super) struct UnheardFailures {
    count: u64,
    /// The ticket of the first task, by the order of tasks, and how it failed.
    first: Option<(u64, Error)>,
    /// The numbers of further tries, which rise. They lie among the tickets and are none.
    tries: Vec<u64>,
}

impl UnheardFailures {
    /// Notes that a number is no ticket.
    pub(super) fn skip(&mut self, number: u64) {
        self.tries.push(number);
    }

    /// Notes what nobody has heard of a task that goes.
    pub(super) fn note(&mut self, ticket: u64, task: &Task) {
        for error in unheard(task) {
            self.count += 1;
            if self.first.as_ref().is_none_or(|(first, _)| ticket < *first) {
                self.first = Some((ticket, error.clone()));
            }
        }
    }

    pub(super) fn as_result(&self) -> Result<()> {
        let Some((ticket, error)) = &self.first else {
            return Ok(());
        };
        let tries = self.tries.partition_point(|number| number < ticket) as u64;
        Err(Error::TasksFailed {
            count: self.count,
            task: ticket - tries,
            error: Box::new(error.clone()),
        })
    }
}

/// The failures of a task, and of the items in it, that nobody has heard of and nobody wanted.
fn unheard(task: &Task) -> impl Iterator<Item = &Error> {
    let chunk = task.more.as_ref().and_then(|more| more.chunk.as_ref());
    let parts = chunk.map_or(&[][..], |chunk| &chunk.parts);
    let of_items = parts.iter().filter_map(|part| match part {
        Part::Failed(error) => Some(error),
        Part::Results(..) => None,
    });
    let own = task
        .outcome
        .iter()
        .filter_map(|outcome| outcome.as_ref().err());
    let failures = of_items.chain(own.map(AsRef::as_ref));
    failures.filter(|error| !task.heard && !matches!(error, Error::Cancelled))
}
