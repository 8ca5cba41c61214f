//! Calls of tasks by name: how their arguments are read, and what they do.

use std::sync::Arc;
use std::time::Duration;

use super::calls::{DeliveryFormat, Method, many_items, one_item, required, wait_limit};
use super::failure::Failure;
use super::item_queue::Delivery;
use super::memory::{Code, NewItem};
use super::session::Session;
use super::tasks::TaskRules;
use super::waiter::duration;
use crate::wire::pickle::{Encoder, Span, ValueKind};
use crate::wire::protocol::{Fault, Request, reply};
use crate::{Priority, random};

/// The longest name of a worker, in bytes.
const NAME_MAX: usize = 100;

/// A call of a task by name, beside those that hand something out.
pub(super) enum TaskCall {
    Submit {
        calls: Vec<NewItem>,
        ids: Vec<String>,
        /// The queue for the outcomes; empty if nobody wants them.
        reply: String,
        rules: TaskRules,
    },
    Finish(u64, NewItem),
    Cancel(String),
    /// Which of the tasks of these ids the server has.
    Known(Vec<String>),
}

impl TaskCall {
    /// The call that a request names, or none if there is no such method.
    pub(super) fn read(
        name: &str,
        request: &Request,
        items_max: usize,
    ) -> Result<Option<Method>, Fault> {
        Ok(Some(match name {
            "submit" => Method::Task(submission(request, items_max)?),
            "finish" => {
                let [lease, result] = request.bind(["lease", "result"], 2)?;
                let lease = request.int("lease", required(lease))?;
                let lease = u64::try_from(lease).unwrap_or(0);
                Method::Task(TaskCall::Finish(
                    lease,
                    one_item(request, result, items_max)?,
                ))
            }
            "cancel" => {
                let [id] = request.bind(["id"], 1)?;
                let id = request.text("id", required(id))?;
                Method::Task(TaskCall::Cancel(id.to_string()))
            }
            "known" => {
                let [ids] = request.bind(["ids"], 1)?;
                let ids = request.pickle.inside(required(ids).value);
                let ids = ids.map(|id| Ok(request.text("ids", id)?.to_string()));
                Method::Task(TaskCall::Known(ids.collect::<Result<_, Fault>>()?))
            }
            "take_task" => {
                let [worker, block, timeout] = request.bind(["worker", "block", "timeout"], 0)?;
                let worker = worker.map(|worker| request.text("worker", worker));
                let worker = worker.transpose()?.unwrap_or_default();
                if worker.len() > NAME_MAX {
                    let text = format!("the name of a worker has at most {NAME_MAX} bytes");
                    return Err(Fault::new("ValueError", text));
                }
                Method::TakeTask(worker.to_string(), wait_limit(request, block, timeout)?)
            }
            "get_outcome" => {
                let [block, timeout] = request.bind(["block", "timeout"], 0)?;
                Method::Get(
                    DeliveryFormat::Outcome,
                    wait_limit(request, block, timeout)?,
                )
            }
            _ => return Ok(None),
        }))
    }
}

fn submission(request: &Request, items_max: usize) -> Result<TaskCall, Fault> {
    let names = [
        "calls",
        "reply",
        "ids",
        "priority",
        "delay",
        "retries",
        "backoff",
        "backoff_max",
        "time_limit",
    ];
    let bound = request.bind(names, 1)?;
    let [
        calls,
        reply,
        ids,
        priority,
        delay,
        retries,
        backoff,
        backoff_max,
        time_limit,
    ] = bound.map(|arg| arg.filter(|arg| request.pickle.kind(arg.value) != ValueKind::None));
    let seconds = |name: &str, arg: Option<Span>| {
        let renamed = |fault: Fault| Fault::new(fault.class, fault.text.replace("timeout", name));
        let time = request.seconds(arg).map_err(renamed)?;
        Ok::<_, Fault>(time.and_then(duration))
    };
    check_calls(request, calls)?;
    let calls = many_items(request, calls, items_max)?;
    let reply = reply
        .map(|reply| request.text("reply", reply))
        .transpose()?;
    let priority = priority.map_or(Ok(0), |priority| request.int("priority", priority))?;
    let priority = Priority::try_from(priority).map_err(|text| Fault::new("ValueError", text))?;
    let retries = retries.map(|retries| request.int("retries", retries));
    let retries = retries.transpose()?.map(|retries| {
        let wrong = || format!("'retries' must be at least 0 and at most {}", u32::MAX);
        u32::try_from(retries).map_err(|_| Fault::new("ValueError", wrong()))
    });
    let first = seconds("backoff", backoff)?.unwrap_or(random::BACKOFF.0);
    let longest = seconds("backoff_max", backoff_max)?.unwrap_or(random::BACKOFF.1.max(first));
    Ok(TaskCall::Submit {
        ids: ids_of(request, ids, calls.len())?,
        calls,
        reply: reply.unwrap_or_default().to_string(),
        rules: TaskRules {
            priority,
            delay: seconds("delay", delay)?.filter(|delay| *delay > Duration::ZERO),
            retries: retries.transpose()?,
            backoff: (first, longest),
            time_limit: seconds("time_limit", time_limit)?,
        },
    })
}

/// No worker could run what is no call.
fn check_calls(request: &Request, calls: Option<Span>) -> Result<(), Fault> {
    let pickle = &request.pickle;
    let is_call = |call: Span| {
        let name = pickle.entry(call.value, "task");
        name.is_some_and(|name| pickle.text(name.value).is_some())
            && pickle.entry(call.value, "args").is_some()
    };
    let mut calls = calls.iter().flat_map(|calls| pickle.inside(calls.value));
    match calls.all(is_call) {
        true => Ok(()),
        false => {
            let text = "a call is {'task': NAME, 'args': ARGUMENTS}, with a str for a name";
            Err(Fault::new("TypeError", text))
        }
    }
}

/// The ids of so many tasks: the client's, or ones drawn at random.
fn ids_of(request: &Request, ids: Option<Span>, count: usize) -> Result<Vec<String>, Fault> {
    let Some(ids) = ids else {
        return Ok((0..count).map(|_| random::id()).collect());
    };
    let ids = request.pickle.inside(ids.value);
    let ids = ids.map(|id| Ok(request.text("ids", id)?.to_string()));
    let ids = ids.collect::<Result<Vec<String>, Fault>>()?;
    match ids.len() == count {
        true => Ok(ids),
        false => {
            let text = format!("{} ids for {count} calls", ids.len());
            Err(Fault::new("ValueError", text))
        }
    }
}

/// A task as its worker is handed it: `{"lease": …, "id": …, "attempt": …, "call": …}`.
pub(super) fn task(to: &mut Encoder, delivery: &Delivery, item: impl FnOnce(&mut Encoder, &Code)) {
    to.dict();
    to.str("lease")
        .int(delivery.lease.unwrap_or_default().into());
    to.str("id");
    match &delivery.task {
        Some(task) => to.str(&task.id),
        None => to.none(),
    };
    to.str("attempt").int(delivery.deliveries.into());
    to.str("call");
    item(to, &delivery.code);
    to.setitems();
}

/// What became of a task, as its submitter is told: `{"id": …, "state": …}`, with the `result` of one
/// that is `done`, or the `error`, `tries` and `worker` of one that is `failed` or `cancelled`.
pub(super) fn outcome(
    to: &mut Encoder,
    delivery: &Delivery,
    item: impl FnOnce(&mut Encoder, &Code),
) {
    to.dict().str("id");
    match &delivery.task {
        Some(task) => to.str(&task.id),
        None => to.none(),
    };
    to.str("state");
    match &delivery.death {
        None => {
            to.str("done").str("result");
            item(to, &delivery.code);
        }
        Some(death) => {
            let state = ["failed", "cancelled"][usize::from(death.is_cancelled)];
            to.str(state).str("error").str(&death.reason);
            to.str("tries").int(death.tries.into()).str("worker");
            match &death.worker {
                Some(worker) => to.str(worker),
                None => to.none(),
            };
        }
    }
    to.setitems();
}

impl Session {
    /// Does what a call of a task asks for; the reply.
    pub(super) async fn task(&mut self, ident: &str, call: TaskCall) -> Result<Vec<u8>, Failure> {
        Ok(match call {
            TaskCall::Submit {
                mut calls,
                ids,
                reply,
                rules,
            } => {
                let tasks = self.state.queues().submitted(ident, &reply, &ids, rules)?;
                let mut is_new = tasks.iter().map(Option::is_some);
                calls.retain(|_| is_new.next().unwrap_or(false));
                let tasks: Vec<Arc<_>> = tasks.into_iter().flatten().collect();
                if !tasks.is_empty() {
                    self.put(ident, calls, tasks, Ok(None)).await?;
                }
                reply::value(|to| {
                    to.list();
                    ids.iter().for_each(|id| _ = to.str(id));
                    to.appends();
                })
            }
            TaskCall::Finish(lease, result) => {
                self.state.queues().finish_task(lease, result)?;
                reply::none()
            }
            TaskCall::Cancel(id) => {
                let is_cancelled = self.state.queues().cancel(&id);
                reply::value(|to| _ = to.bool(is_cancelled))
            }
            TaskCall::Known(ids) => {
                let queues = self.state.queues();
                reply::value(|to| {
                    to.list();
                    ids.iter()
                        .for_each(|id| _ = to.bool(queues.tasks.find(id).is_some()));
                    to.appends();
                })
            }
        })
    }
}
