//! Futures that wait at a queue.
//!
//! A future cannot sleep at a futex. While some wait, one thread of the process sleeps in the place
//! of them all, at each of the two ends of a queue, and wakes as many as there are changes. It takes
//! no item itself, so that nothing is lost with it or with a future that is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::raw::RawQueue;
use crate::event_count::{AdaptiveSpin, EventCount};
use crate::sys::futex::looks;
use crate::{Error, Result};

/// How long the thread waits for the next future, once none waits.
const LINGER: Duration = Duration::from_secs(1);

/// How long the thread sleeps before all futures look for themselves: one that was woken may never
/// have been polled, and a lock may have been held by a process that was stopped.
const LOOK: Duration = Duration::from_secs(2);

/// What a future waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueChange {
    Item,
    Room,
}

impl RawQueue {
    fn wakers(&self, awaited: QueueChange) -> &Wakers {
        match awaited {
            QueueChange::Item => &self.getters,
            QueueChange::Room => &self.putters,
        }
    }

    fn event(&self, awaited: QueueChange) -> &EventCount {
        match awaited {
            QueueChange::Item => &self.header().items,
            QueueChange::Room => &self.header().room,
        }
    }

    /// How often there was something to wake a future for. It only grows.
    fn changes(&self, awaited: QueueChange) -> u64 {
        match awaited {
            QueueChange::Item => self.put_count(),
            QueueChange::Room => self.taken(),
        }
    }
}

/// The futures of this process that wait at one end of a queue.
#[derive(Default)]
pub(super) struct Wakers {
    state: Mutex<State>,
    /// A future waits, where none did.
    entered: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they came, by their places.
    waiting: BTreeMap<u64, Waker>,
    last_place: u64,
    /// The changes that futures were woken for, or that they found by themselves.
    seen: u64,
    /// Whether the thread runs. No forked child has this set: one is not made beside a thread.
    has_thread: bool,
}

impl State {
    /// Takes out the first futures.
    fn take(&mut self, count: u64) -> Vec<Waker> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < count
            && let Some((_, waker)) = self.waiting.pop_first()
        {
            taken.push(waker);
        }
        taken
    }
}

impl Wakers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A future's wait at a queue.
pub(super) struct Waiting {
    queue: Arc<RawQueue>,
    awaited: QueueChange,
    /// Its place, from its first wait on.
    place: Option<u64>,
}

impl Waiting {
    pub(super) fn new(queue: &Arc<RawQueue>, awaited: QueueChange) -> Self {
        Self {
            queue: Arc::clone(queue),
            awaited,
            place: None,
        }
    }

    /// Makes attempts until one has an outcome, or nothing has changed since: then the future is
    /// woken when something does.
    pub(super) fn poll<T>(
        &mut self,
        context: &Context<'_>,
        mut attempt: impl FnMut(&RawQueue) -> Option<Result<T>>,
    ) -> Poll<Result<T>> {
        loop {
            let seen = self.queue.changes(self.awaited);
            if let Some(outcome) = attempt(&self.queue) {
                self.leave(outcome.is_err());
                return Poll::Ready(outcome);
            }
            if let Err(error) = self.enter(context.waker(), seen) {
                return Poll::Ready(Err(error));
            }
            // Looked at after the entry: a later change finds the future there.
            if self.queue.changes(self.awaited) == seen && !self.queue.is_closed() {
                return Poll::Pending;
            }
        }
    }

    /// Takes a place among those that wait, or the same as before.
    fn enter(&mut self, waker: &Waker, seen: u64) -> Result<()> {
        let wakers = self.queue.wakers(self.awaited);
        let mut state = wakers.state();
        let is_first = state.waiting.is_empty();
        if is_first {
            state.seen = seen;
        }
        let place = *self.place.get_or_insert_with(|| {
            state.last_place += 1;
            state.last_place
        });
        let replaced = state.waiting.insert(place, waker.clone());
        if !state.has_thread {
            let (queue, awaited) = (Arc::clone(&self.queue), self.awaited);
            let thread = thread::Builder::new().name("queue futures".to_string());
            let started = thread.spawn(move || sleep_for_futures(&queue, awaited));
            if let Err(error) = started {
                state.waiting.remove(&place);
                drop(state);
                return Err(Error::os("start the thread that futures wait by", error));
            }
            state.has_thread = true;
        }
        drop(state);
        // Without the lock: a runtime may do anything when it drops a waker.
        drop(replaced);
        if is_first {
            wakers.entered.notify_one();
        }
        Ok(())
    }

    /// Gives the place up. If the future was woken for something that it does not take, the next one
    /// is woken.
    fn leave(&mut self, took_nothing: bool) {
        let Some(place) = self.place.take() else {
            return;
        };
        let mut state = self.queue.wakers(self.awaited).state();
        let own = state.waiting.remove(&place);
        let passes_on = own.is_none() && took_nothing;
        let next = if passes_on { state.take(1).pop() } else { None };
        drop(state);
        match next {
            Some(next) => next.wake(),
            // Another process may sleep, and would have been woken in the place of this one.
            None if passes_on => self.queue.event(self.awaited).notify_one(),
            None => {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave(true);
    }
}

/// Sleeps in the place of all futures that wait, until none has waited for a while.
fn sleep_for_futures(queue: &RawQueue, awaited: QueueChange) {
    let wakers = queue.wakers(awaited);
    let spin = AdaptiveSpin::new();
    let mut state = wakers.state();
    loop {
        // Not at the futex, where it would be woken in the place of one that waits.
        let none_waits = |state: &mut State| state.waiting.is_empty();
        let entered = wakers.entered.wait_timeout_while(state, LINGER, none_waits);
        state = entered.unwrap_or_else(PoisonError::into_inner).0;
        if state.waiting.is_empty() {
            state.has_thread = false;
            return;
        }
        let seen = state.seen;
        drop(state);
        let has_changed = || queue.changes(awaited) != seen || queue.is_closed();
        let deadline = Instant::now() + looks::first(LOOK);
        let changed = queue
            .event(awaited)
            .wait(&spin, Some(deadline), has_changed);
        state = wakers.state();
        let changes = queue.changes(awaited);
        let count = match changed && !queue.is_closed() {
            true => changes.wrapping_sub(state.seen),
            false => u64::MAX,
        };
        state.seen = changes;
        let woken = state.take(count);
        drop(state);
        if woken.is_empty() {
            // All have left meanwhile: the wake was another process's.
            queue.event(awaited).notify_one();
        }
        woken.into_iter().for_each(Waker::wake);
        state = wakers.state();
    }
}
