//! [`Imap`]: results as they come, and arguments as they are needed.

use std::{collections::VecDeque, marker::PhantomData, num::NonZeroU64, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::client::Office;
use crate::{Error, Result, codec, sys::call::Function};

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
    office: Arc<Office>,
    function: Function,
    arguments: I,
    /// The tasks under way, in the order of their arguments.
    tickets: VecDeque<u64>,
    /// The line where finished tasks stand, if the order does not matter.
    line: Option<NonZeroU64>,
    /// An argument that could not be handed in; it is told when its turn comes.
    refused: Option<Error>,
    task: Vec<u8>,
    value: PhantomData<fn() -> R>,
}

impl<I, R> Imap<I, R> {
    pub(super) fn new(
        office: &Arc<Office>,
        function: Function,
        arguments: I,
        ordered: bool,
    ) -> Self {
        Self {
            office: Arc::clone(office),
            function,
            arguments,
            tickets: VecDeque::new(),
            line: (!ordered).then(|| office.open_line()),
            refused: None,
            task: Vec::new(),
            value: PhantomData,
        }
    }

    /// The next task that is done, or the first.
    fn next_ticket(&mut self) -> Result<Option<u64>> {
        let Some(line) = self.line else {
            return Ok(self.tickets.pop_front());
        };
        if self.tickets.is_empty() {
            return Ok(None);
        }
        let ticket = self.office.next_in_line(line)?;
        // When the pool has ended, each of the tasks says so.
        let place = self.tickets.iter().position(|&t| Some(t) == ticket);
        Ok(self.tickets.remove(place.unwrap_or(0)))
    }
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Serialize>,
{
    fn hand_in(&mut self) {
        let ahead = AHEAD * self.office.shop.workers;
        while self.tickets.len() < ahead && self.refused.is_none() {
            let Some(argument) = self.arguments.next() else {
                return;
            };
            self.task.clear();
            self.task.extend_from_slice(&self.function.to_bytes());
            let put = codec::append(&argument, &mut self.task)
                .and_then(|()| self.office.submit(&self.task, 1, self.line));
            match put {
                Ok(ticket) => self.tickets.push_back(ticket),
                Err(error) => self.refused = Some(error),
            }
        }
    }
}

impl<I, R> Iterator for Imap<I, R>
where
    I: Iterator<Item: Serialize>,
    R: DeserializeOwned,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.hand_in();
        let ticket = match self.next_ticket() {
            Ok(Some(ticket)) => ticket,
            Ok(None) => return self.refused.take().map(Err),
            Err(error) => return Some(Err(error)),
        };
        let value = self.office.outcome(ticket, None, codec::decode);
        self.office.forget(ticket);
        Some(value.and_then(|value| value.ok_or(Error::TimedOut)))
    }
}

impl<I, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            self.office.forget(ticket);
        }
        if let Some(line) = self.line {
            self.office.close_line(line);
        }
    }
}
