//! Calls of objects that wait, and what follows when a connection ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::acquirer::{Acquirer, AcquirerKind};
use super::call::{ObjectCall, text, truth};
use super::condition::{ConditionLock, SharedCondition};
use super::datum::Datum;
use super::step::{CallStep, ObjectWait};
use super::{ObjectState, Objects};
use crate::server::waiter::{Waiter, duration};
use crate::wire::pickle::Span;
use crate::wire::protocol::{Fault, reply};

impl Objects {
    /// Python's `Condition(lock=None)`, where the lock is a proxy of a `Lock` or `RLock` here.
    pub(super) fn condition(&mut self, call: &ObjectCall) -> Result<SharedCondition, Fault> {
        let [lock] = call.request.bind(["lock"], 0)?;
        let lock = lock.filter(|lock| !matches!(call.datum(*lock), Datum::None));
        let lock = match lock {
            None => ConditionLock::Own(Acquirer::new(AcquirerKind::RLock, 1)),
            Some(lock) => {
                let ident = proxy_ident(call, lock).and_then(|ident| self.resolve(ident));
                let ident = ident.filter(|ident| {
                    let record = self.records.get(ident);
                    matches!(
                        record.map(|record| &record.state),
                        Some(ObjectState::Acquirer(lock)) if lock.is_lock()
                    )
                });
                let text = "the lock of a condition is a proxy of a Lock or RLock of this server";
                let ident = ident.ok_or_else(|| Fault::new("TypeError", text))?;
                self.refer(&ident);
                ConditionLock::Other(ident)
            }
        };
        Ok(SharedCondition {
            lock,
            waiters: VecDeque::new(),
        })
    }

    /// The lock that is this object, or that this condition has, with the ident of its owner.
    fn acquirer(&mut self, ident: &Arc<str>) -> Option<(Arc<str>, &mut Acquirer)> {
        let other = match &self.records.get(ident)?.state {
            ObjectState::Condition(condition) => condition.other_lock().map(Arc::clone),
            _ => None,
        };
        let ident = other.unwrap_or_else(|| Arc::clone(ident));
        match &mut self.records.get_mut(&ident)?.state {
            ObjectState::Acquirer(acquirer) => Some((ident, acquirer)),
            ObjectState::Condition(SharedCondition {
                lock: ConditionLock::Own(acquirer),
                ..
            }) => Some((ident, acquirer)),
            _ => None,
        }
    }

    /// Does something with the lock of an object, and notes who holds it after that.
    fn with_lock<T>(
        &mut self,
        ident: &Arc<str>,
        act: impl FnOnce(&mut Acquirer) -> T,
    ) -> Result<T, Fault> {
        let gone = || Fault::new("RuntimeError", "the lock is gone with its last proxy");
        let (owner, acquirer) = self.acquirer(ident).ok_or_else(gone)?;
        let done = act(acquirer);
        for (connection, holds) in acquirer.changes() {
            let held = (connection, Arc::clone(&owner));
            match holds {
                true => _ = self.held.entry(held).or_insert_with(Instant::now),
                false => _ = self.held.remove(&held),
            }
        }
        Ok(done)
    }

    /// A call of a lock, a semaphore or a condition; none if there is no such method.
    pub(super) fn call_lock(
        &mut self,
        ident: &Arc<str>,
        call: &ObjectCall,
    ) -> Result<Option<CallStep>, Fault> {
        let is_condition = matches!(
            self.records.get(ident).map(|record| &record.state),
            Some(ObjectState::Condition(_))
        );
        Ok(Some(match call.request.method {
            "acquire" | "__enter__" => self.acquire(ident, call)?,
            "release" | "__exit__" => {
                let [permits] = call.request.bind(["n"], 0)?;
                let permits = permits.map_or(Ok(1), |permits| call.request.int("n", permits))?;
                let permits = u64::try_from(permits).ok().filter(|permits| *permits > 0);
                let wrong = || Fault::new("ValueError", "n must be one or more");
                let permits = permits.ok_or_else(wrong)?;
                self.with_lock(ident, |lock| lock.release(call.connection, permits))??;
                CallStep::Reply(reply::none())
            }
            "owner_died" => {
                call.none()?;
                let died = self.with_lock(ident, |lock| lock.owner_died().map(text))?;
                CallStep::Reply(died.unwrap_or_else(reply::none))
            }
            "clear_owner_died" => {
                call.none()?;
                self.with_lock(ident, Acquirer::clear_owner_died)?;
                CallStep::Reply(reply::none())
            }
            "wait" if is_condition => self.wait(ident, call)?,
            "notify" if is_condition => {
                let [most] = call.request.bind(["n"], 0)?;
                let most = most.map_or(Ok(1), |most| call.request.int("n", most))?;
                self.notify(ident, call, usize::try_from(most).unwrap_or(0))?
            }
            "notify_all" | "notifyAll" if is_condition => {
                call.none()?;
                self.notify(ident, call, usize::MAX)?
            }
            "__str__" | "__repr__" => {
                let shown = self.with_lock(ident, |lock| lock.shown())?;
                CallStep::Reply(text(&match self.condition_of(ident) {
                    Some(condition) => {
                        let waiting = condition.waiters.len();
                        format!("<Condition({shown}), {waiting} wait for notice>")
                    }
                    None => shown,
                }))
            }
            _ => return Ok(None),
        }))
    }

    fn acquire(&mut self, ident: &Arc<str>, call: &ObjectCall) -> Result<CallStep, Fault> {
        let [blocking, timeout] = call.request.bind(["blocking", "timeout"], 0)?;
        let blocks = call.request.truth(blocking, true);
        let seconds = call.signed_seconds(timeout)?;
        let is_lock = self.with_lock(ident, |lock| lock.is_lock())?;
        // A lock says "for ever" by -1, and a semaphore by None.
        let seconds = seconds.filter(|seconds| !(is_lock && *seconds == -1.0));
        if !blocks && seconds.is_some() {
            let text = "can't specify a timeout for a non-blocking call";
            return Err(Fault::new("ValueError", text));
        }
        if is_lock && seconds.is_some_and(|seconds| seconds < 0.0) {
            let text = "timeout value must be a non-negative number";
            return Err(Fault::new("ValueError", text));
        }
        let timeout = match blocks {
            true => seconds.and_then(|seconds| duration(seconds.max(0.0))),
            false => Some(Duration::ZERO),
        };
        let then = CallStep::Reply(truth(true));
        self.acquire_or_wait(ident, call.ticket, call.connection, (1, timeout), then)
    }

    /// Acquires, and goes on with `then`; or waits for it, and says that it has not if that is late.
    fn acquire_or_wait(
        &mut self,
        ident: &Arc<str>,
        ticket: u64,
        connection: u64,
        (count, timeout): (u64, Option<Duration>),
        then: CallStep,
    ) -> Result<CallStep, Fault> {
        self.with_lock(ident, |lock| {
            if lock.try_acquire(connection, count) {
                return then;
            }
            if timeout == Some(Duration::ZERO) {
                return CallStep::Reply(truth(false));
            }
            CallStep::Wait(ObjectWait {
                waiter: lock.wait(ticket, connection, count, then),
                timeout,
                late: Box::new(CallStep::Reply(truth(false))),
            })
        })
    }

    fn check_owned(&mut self, ident: &Arc<str>, call: &ObjectCall) -> Result<(), Fault> {
        if self.with_lock(ident, |lock| lock.is_owned(call.connection))? {
            return Ok(());
        }
        let method = call.request.method.replace("_all", "");
        let text = format!("cannot {method} on un-acquired lock");
        Err(Fault::new("RuntimeError", text))
    }

    fn wait(&mut self, ident: &Arc<str>, call: &ObjectCall) -> Result<CallStep, Fault> {
        let [timeout] = call.request.bind(["timeout"], 0)?;
        let timeout = call.wait_time(timeout)?;
        self.check_owned(ident, call)?;
        let count = self.with_lock(ident, |lock| lock.release_all(call.connection))?;
        let (send, waiter) = Waiter::new(call.ticket);
        if let Some(condition) = self.condition_of(ident) {
            condition.waiters.push_back((call.ticket, send, count));
        }
        let notified = false;
        Ok(CallStep::Wait(ObjectWait {
            waiter,
            timeout,
            late: Box::new(CallStep::Reacquire { count, notified }),
        }))
    }

    fn notify(
        &mut self,
        ident: &Arc<str>,
        call: &ObjectCall,
        most: usize,
    ) -> Result<CallStep, Fault> {
        self.check_owned(ident, call)?;
        if let Some(condition) = self.condition_of(ident) {
            condition.notify(most);
        }
        Ok(CallStep::Reply(reply::none()))
    }

    fn condition_of(&mut self, ident: &str) -> Option<&mut SharedCondition> {
        match &mut self.records.get_mut(ident)?.state {
            ObjectState::Condition(condition) => Some(condition),
            _ => None,
        }
    }

    /// Who has waited in a condition takes the lock again.
    pub(in crate::server) fn reacquire(
        &mut self,
        ident: &str,
        ticket: u64,
        connection: u64,
        (count, notified): (u64, bool),
    ) -> Result<CallStep, Fault> {
        let gone = || Fault::new("RuntimeError", "the condition is gone with its last proxy");
        let ident = self.resolve(ident).ok_or_else(gone)?;
        let then = CallStep::Reply(truth(notified));
        self.acquire_or_wait(&ident, ticket, connection, (count, None), then)
    }

    /// Passes a notification on, since the one that it went to has left.
    pub(in crate::server) fn pass_on(&mut self, ident: &str) {
        if let Some(ident) = self.resolve(ident)
            && let Some(condition) = self.condition_of(&ident)
        {
            condition.notify(1);
        }
    }

    /// Takes a waiter out, if it has not been served.
    pub(in crate::server) fn withdraw(&mut self, ident: &str, ticket: u64) {
        let Some(ident) = self.resolve(ident) else {
            return;
        };
        match self.records.get_mut(&ident).map(|record| &mut record.state) {
            Some(ObjectState::Event(event)) => event.withdraw(ticket),
            Some(ObjectState::Barrier(barrier)) => barrier.withdraw(&ident, ticket),
            Some(ObjectState::Condition(condition)) => {
                condition.waiters.retain(|(waiter, ..)| *waiter != ticket);
            }
            _ => {}
        }
        if let Some((_, lock)) = self.acquirer(&ident) {
            lock.withdraw(ticket);
        }
    }

    /// `(name, type, connection, since)` of the locks that connections hold.
    pub(in crate::server) fn held(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &'static str, u64, Instant)> {
        self.held.iter().filter_map(|((connection, ident), since)| {
            let record = self.records.get(ident)?;
            Some((ident, record.state.name(), *connection, *since))
        })
    }

    /// The same of those who wait for locks.
    pub(in crate::server) fn acquiring(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &'static str, u64, Instant)> {
        self.records.iter().flat_map(|(ident, record)| {
            let acquirer = match &record.state {
                ObjectState::Acquirer(acquirer)
                | ObjectState::Condition(SharedCondition {
                    lock: ConditionLock::Own(acquirer),
                    ..
                }) => Some(acquirer),
                _ => None,
            };
            let waits = acquirer.into_iter().flat_map(Acquirer::waits);
            waits.map(move |(connection, since)| (ident, "acquire", connection, since))
        })
    }

    /// A connection has ended, which was `client`'s: what it held is free.
    pub(in crate::server) fn end(&mut self, connection: u64, client: &Arc<str>) {
        let from = (connection, Arc::from(""));
        let held: Vec<Arc<str>> = self
            .held
            .range(from..)
            .take_while(|((holder, _), _)| *holder == connection)
            .map(|((_, ident), _)| Arc::clone(ident))
            .collect();
        for ident in held {
            self.held.remove(&(connection, Arc::clone(&ident)));
            let ended = self.with_lock(&ident, |lock| {
                lock.end(connection, client).then(|| lock.name())
            });
            if let Ok(Some(kind)) = ended {
                warn!(
                    kind,
                    ident = &*ident,
                    holder = &**client,
                    "its holder is gone, and it is free: what it protects may be half done"
                );
            }
        }
    }
}

/// The ident in a proxy that is an argument.
fn proxy_ident<'c>(call: &'c ObjectCall, span: Span) -> Option<&'c str> {
    let pickle = &call.request.pickle;
    let (class, arguments) = pickle.instance(span.value)?;
    let token = pickle.inside(arguments).nth(1)?;
    let token = call.request.token(token);
    token.filter(|_| class == ("multiprocessing.managers", "RebuildProxy"))
}
