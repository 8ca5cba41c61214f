//! [`Imap`]: results as they come, and arguments as they are needed.

use std::{collections::VecDeque, marker::PhantomData, num::NonZeroU64, sync::Arc};

use super::{client::PoolClient, table::Submission};
use crate::{Error, Result, Serializable, codec, sys::call::Function};

/// How many tasks a worker gets in advance: enough to be never idle.
const AHEAD: usize = 4;

/// The results of a function over an iterator: made by [`Pool::imap`](super::Pool::imap) and
/// [`Pool::imap_unordered`](super::Pool::imap_unordered).
///
/// It takes arguments from the iterator only as far ahead as the workers need. Each item is a
/// result of its own: one task that fails does not end the others.
///
/// # Examples
///
/// ```
/// let pool = multiprocess::Pool::new(2)?;
/// let (halves, odd): (Vec<_>, Vec<_>) = pool
///     .imap(|n: u32| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") }, 0..4)
///     .partition(Result::is_ok);
/// assert_eq!((halves.len(), odd.len()), (2, 2));
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[must_use = "nothing is run until the iterator is asked"]
pub struct Imap<I, R> {
    client: Arc<PoolClient>,
    function: Function,
    arguments: I,
    /// The tasks under way, in the order of their arguments.
    tickets: VecDeque<u64>,
    /// The completion queue where finished tasks stand, if the order does not matter.
    completion_queue: Option<NonZeroU64>,
    /// An argument that could not be handed in; it is told when its turn comes.
    refused: Option<Error>,
    task: Vec<u8>,
    value: PhantomData<fn() -> R>,
}

impl<I, R> Imap<I, R> {
    pub(super) fn new(
        client: &Arc<PoolClient>,
        function: Function,
        arguments: I,
        ordered: bool,
    ) -> Self {
        Self {
            client: Arc::clone(client),
            function,
            arguments,
            tickets: VecDeque::new(),
            completion_queue: (!ordered).then(|| client.open_completion_queue()),
            refused: None,
            task: Vec::new(),
            value: PhantomData,
        }
    }

    /// The next task that is done, or the first.
    fn next_ticket(&mut self) -> Result<Option<u64>> {
        let Some(completion_queue) = self.completion_queue else {
            return Ok(self.tickets.pop_front());
        };
        if self.tickets.is_empty() {
            return Ok(None);
        }
        let ticket = self.client.next_completed(completion_queue)?;
        // When the pool has ended, each of the tasks says so.
        let place = self.tickets.iter().position(|&t| Some(t) == ticket);
        Ok(self.tickets.remove(place.unwrap_or(0)))
    }
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serializable>,
{
    fn hand_in(&mut self) {
        let ahead = AHEAD * self.client.shared.workers;
        while self.tickets.len() < ahead && self.refused.is_none() {
            let Some(argument) = self.arguments.next() else {
                return;
            };
            self.task.clear();
            self.task.extend_from_slice(&self.function.to_bytes());
            let put = codec::append(&argument, &mut self.task).and_then(|()| {
                let completion_queue = self.completion_queue;
                let submission = Submission {
                    completion_queue,
                    ..Submission::ONE
                };
                self.client.submit(&self.task, submission)
            });
            match put {
                Ok(ticket) => self.tickets.push_back(ticket),
                Err(error) => self.refused = Some(error),
            }
        }
    }
}

impl<I, R> Iterator for Imap<I, R>
where
    I: Iterator<Item: Serializable>,
    R: Serializable,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.hand_in();
        let ticket = match self.next_ticket() {
            Ok(Some(ticket)) => ticket,
            Ok(None) => return self.refused.take().map(Err),
            Err(error) => return Some(Err(error)),
        };
        let value = self.client.outcome(ticket, None, codec::decode);
        self.client.forget(ticket);
        Some(value.and_then(|value| value.ok_or(Error::TimedOut)))
    }
}

impl<I, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            self.client.forget(ticket);
        }
        if let Some(completion_queue) = self.completion_queue {
            self.client.close_completion_queue(completion_queue);
        }
    }
}
