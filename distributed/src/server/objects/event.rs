//! `Event` and `Barrier`: many wait, and all go on at once.

use std::mem;
use std::time::Duration;

use tracing::warn;

use super::call::{ObjectCall, int, required, text, truth};
use super::datum::Datum;
use super::step::{CallStep, ObjectWait};
use crate::server::waiter::{Waiter, WaiterSender};
use crate::wire::protocol::{Fault, reply};

#[derive(Default)]
pub(super) struct SharedEvent {
    is_set: bool,
    waiters: Vec<(u64, WaiterSender<CallStep>)>,
}

impl SharedEvent {
    pub(super) const EXPOSED: &[&str] = &["clear", "is_set", "set", "wait"];

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<CallStep>, Fault> {
        Ok(Some(CallStep::Reply(match call.request.method {
            "is_set" | "isSet" => truth(self.is_set),
            "set" => {
                self.is_set = true;
                for (_, waiter) in self.waiters.drain(..) {
                    // One that has left needs no answer.
                    let _ = waiter.send(CallStep::Reply(truth(true)));
                }
                reply::none()
            }
            "clear" => {
                self.is_set = false;
                reply::none()
            }
            "wait" => {
                let [timeout] = call.request.bind(["timeout"], 0)?;
                let timeout = call.wait_time(timeout)?;
                if self.is_set || timeout == Some(Duration::ZERO) {
                    return Ok(Some(CallStep::Reply(truth(self.is_set))));
                }
                let (send, waiter) = Waiter::new(call.ticket);
                self.waiters.push((call.ticket, send));
                return Ok(Some(CallStep::Wait(ObjectWait {
                    waiter,
                    timeout,
                    late: Box::new(CallStep::Reply(truth(false))),
                })));
            }
            "__str__" | "__repr__" => {
                let state = if self.is_set { "set" } else { "unset" };
                text(&format!("<Event: {state}, {} waiting>", self.waiters.len()))
            }
            _ => return Ok(None),
        })))
    }

    pub(super) fn withdraw(&mut self, ticket: u64) {
        self.waiters.retain(|(waiter, _)| *waiter != ticket);
    }
}

pub(super) struct SharedBarrier {
    parties: usize,
    /// How long each waits, if its call does not say.
    timeout: Option<Duration>,
    arrived: Vec<Party>,
    /// Why it is broken, if it is.
    broken: Option<String>,
}

struct Party {
    ticket: u64,
    connection: u64,
    send: WaiterSender<CallStep>,
}

impl SharedBarrier {
    /// A barrier in Python has `__getattribute__` too, for its properties. A proxy that builds itself
    /// from this list could not look up its own if it were among them.
    pub(super) const EXPOSED: &[&str] = &["abort", "reset", "wait"];

    /// Python's `Barrier(parties, action=None, timeout=None)`, without an action: that is code.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedBarrier, Fault> {
        let names = ["parties", "action", "timeout"];
        let [parties, action, timeout] = call.request.bind(names, 1)?;
        if action.is_some_and(|action| !matches!(call.datum(action), Datum::None)) {
            let text =
                "the server runs no code: let the party that gets 0 from wait() do the action";
            return Err(Fault::new("TypeError", text));
        }
        let parties = call.request.int("parties", required(parties))?;
        let parties = usize::try_from(parties).ok().filter(|parties| *parties > 0);
        Ok(SharedBarrier {
            parties: parties.ok_or_else(|| Fault::new("ValueError", "parties must be > 0"))?,
            timeout: call.wait_time(timeout)?,
            arrived: Vec::new(),
            broken: None,
        })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<CallStep>, Fault> {
        Ok(Some(CallStep::Reply(match call.request.method {
            "wait" => {
                let [timeout] = call.request.bind(["timeout"], 0)?;
                let timeout = call.wait_time(timeout)?.or(self.timeout);
                return self.wait(call, timeout).map(Some);
            }
            "abort" => {
                self.break_for_all("it was aborted".into());
                reply::none()
            }
            "reset" => {
                if !self.arrived.is_empty() {
                    self.break_for_all("it was reset".into());
                }
                self.broken = None;
                reply::none()
            }
            "__getattribute__" => match call.request.text("name", call.one("name")?)? {
                "parties" => int(self.parties),
                "n_waiting" => int(self.arrived.len()),
                "broken" => truth(self.broken.is_some()),
                name => {
                    let text = format!("'Barrier' object has no attribute '{name}'");
                    return Err(Fault::new("AttributeError", text));
                }
            },
            "__str__" | "__repr__" => {
                let (arrived, parties) = (self.arrived.len(), self.parties);
                text(&format!("<Barrier: {arrived} of {parties} wait>"))
            }
            _ => return Ok(None),
        })))
    }

    fn wait(&mut self, call: &ObjectCall, timeout: Option<Duration>) -> Result<CallStep, Fault> {
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        if self.arrived.len() + 1 == self.parties {
            for (index, party) in mem::take(&mut self.arrived).into_iter().enumerate() {
                let _ = party.send.send(CallStep::Reply(int(index)));
            }
            return Ok(CallStep::Reply(int(self.parties - 1)));
        }
        let (ticket, connection) = (call.ticket, call.connection);
        let (send, waiter) = Waiter::new(ticket);
        self.arrived.push(Party {
            ticket,
            connection,
            send,
        });
        Ok(CallStep::Wait(ObjectWait {
            waiter,
            timeout,
            late: Box::new(CallStep::Raise(broken("the time of this party was over"))),
        }))
    }

    /// A party has left, or its time is over: the others would wait for ever.
    pub(super) fn withdraw(&mut self, ident: &str, ticket: u64) {
        let Some(at) = self.arrived.iter().position(|party| party.ticket == ticket) else {
            return;
        };
        let Party { connection, .. } = self.arrived.remove(at);
        warn!(
            barrier = ident,
            connection, "a barrier is broken: a party has left, or its time was over"
        );
        self.break_for_all(format!(
            "a party has left, or its time was over (connection {connection})"
        ));
    }

    fn break_for_all(&mut self, why: String) {
        for party in self.arrived.drain(..) {
            let _ = party.send.send(CallStep::Raise(broken(&why)));
        }
        self.broken = Some(why);
    }
}

fn broken(why: &str) -> Fault {
    Fault::new("BrokenBarrierError", why)
}
