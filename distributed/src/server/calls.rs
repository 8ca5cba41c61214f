//! Calls of a queue's methods: which there are, and how their arguments are read.

use std::sync::Arc;
use std::time::Duration;

use super::item_queue::Delivery;
use super::memory::{Charge, Code, NewItem};
use super::objects::CallStep;
use super::state::ServerState;
use super::task_calls::{self, TaskCall};
use super::waiter::duration;
use crate::wire::pickle::{Encoder, Span, ValueKind};
use crate::wire::protocol::{Fault, Request, reply};

/// The methods of a queue, as Python's proxies are told. The last ones are ours: a proxy builds
/// itself from this list, so an unmodified Python client has them too.
pub(super) const METHODS: [&str; 25] = [
    "empty",
    "full",
    "get",
    "get_nowait",
    "join",
    "put",
    "put_nowait",
    "qsize",
    "task_done",
    "ack",
    "cancel",
    "fail",
    "finish",
    "get_many",
    "get_outcome",
    "get_result",
    "known",
    "lease",
    "put_and_take",
    "put_many",
    "put_tasks",
    "release",
    "submit",
    "take",
    "take_task",
];

/// The timeout of a call that does not wait.
pub(super) const NO_WAIT: Option<Duration> = Some(Duration::ZERO);

/// An item that is shorter, in bytes, is copied into its reply, which then leaves in one write.
const COPIED_MAX: usize = 16 << 10;

/// A call of a queue.
pub(super) struct Call {
    pub(super) ident: String,
    pub(super) method: Method,
    /// What a long answer costs until it is sent.
    pub(super) _answer: Option<Charge>,
}

/// A method with its arguments. Without a timeout it waits for ever.
pub(super) enum Method {
    /// As in Python, a timeout that makes no sense matters only to a queue with a `maxsize`.
    Put(Vec<NewItem>, Result<Option<Duration>, Fault>),
    /// The result of what the connection holds, and the queue for it; then the next item.
    PutAndTake(NewItem, String),
    /// Tasks, and the queue for their results.
    PutTasks(Vec<NewItem>, String),
    Get(DeliveryFormat, Option<Duration>),
    /// A task by name, for the worker that calls itself so.
    TakeTask(String, Option<Duration>),
    Task(TaskCall),
    Join,
    TaskDone,
    Acknowledge(u64),
    Release(u64),
    /// Of an object that is no queue: how it goes on.
    Object(CallStep),
    Fail(Failed, String),
    Len,
    IsEmpty,
    IsFull,
    /// Python's `__str__` and `__repr__`.
    Describe,
    /// A proxy asks for the queue itself.
    Value,
}

/// What it is that has failed.
#[derive(Clone, Copy)]
pub(super) enum Failed {
    Lease(u64),
    /// All that the connection holds.
    Held,
    /// Of the items that it holds, the one at this place, if it holds so many.
    OneOf(usize, usize),
}

/// How a `get` wants its items.
#[derive(Clone, Copy)]
pub(super) enum DeliveryFormat {
    One,
    /// One that comes back if the client is gone, whatever its queue says.
    Taken,
    /// With the id of its task, and how often and why that failed, if so.
    Identified,
    /// What became of a task by name.
    Outcome,
    /// A task by name, with its lease.
    Task,
    /// A list of at most so many.
    Many(usize),
    /// With the lease, which, if a time is said, ends after it and not with the connection.
    Leased(Option<Duration>),
}

impl DeliveryFormat {
    /// The most items that it has a place for.
    pub(super) fn most(self) -> usize {
        match self {
            DeliveryFormat::Many(most) => most,
            _ => 1,
        }
    }

    /// A reply, and the items that are not in it but belong to it, each with its place.
    pub(super) fn reply(self, deliveries: &[Delivery]) -> (Vec<u8>, Vec<(usize, Code)>) {
        let mut apart = Vec::new();
        let mut item = |to: &mut Encoder, code: &Code| match code.len() {
            ..COPIED_MAX => _ = to.item(code),
            _ => apart.push((to.len(), Arc::clone(code))),
        };
        let message = reply::value(|to| match (self, deliveries) {
            (DeliveryFormat::One | DeliveryFormat::Taken, [one]) => item(to, &one.code),
            (DeliveryFormat::Leased(_), [one]) => {
                let lease = one.lease.unwrap_or_default();
                to.mark().int(lease.into());
                item(to, &one.code);
                to.tuple();
            }
            (DeliveryFormat::Identified, [one]) => identified(to, one),
            (DeliveryFormat::Task, [one]) => task_calls::task(to, one, item),
            (DeliveryFormat::Outcome, [one]) => task_calls::outcome(to, one, item),
            (_, many) => {
                to.list();
                many.iter().for_each(|delivery| item(to, &delivery.code));
                to.appends();
            }
        });
        (message, apart)
    }
}

/// How the call of an object goes on.
pub(super) struct ObjectStep {
    pub(super) step: CallStep,
    /// What a long answer in it costs until it is sent.
    pub(super) answer: Option<Charge>,
}

/// The most bytes that the items of a message of so many bytes may take. Text in a short form is delivered in its
/// older form, which takes less than twice as much, and a value that many items share is copied to
/// each.
fn items_max(message: usize) -> usize {
    message.saturating_mul(4).max(1 << 20)
}

impl Call {
    /// Reads a request. An error is the reply that says what is wrong with it.
    ///
    /// The arguments may be long, and no lock is held while they are read.
    pub(super) fn read(state: &ServerState, connection: u64, body: &[u8]) -> Result<Call, Vec<u8>> {
        let traceback = |fault: Fault| reply::traceback(&fault);
        let request = Request::read(body).map_err(traceback)?;
        let ident = request.ident.unwrap_or_default();
        // As in Python, an unknown object and an unknown method are errors of the server, and what
        // is wrong with the arguments is raised by the method.
        let items_max = items_max(body.len());
        let proxies = request.pickle.proxies();
        let mut queues = state.queues();
        let holds = queues.hold(&proxies);
        let message_max = state.limits.message;
        let object = queues.call_object(&request, connection, message_max, &holds);
        drop(queues);
        let mut answer = None;
        let method = match object {
            Some(step) => step.map(|step| {
                step.map(|object| {
                    answer = object.answer;
                    Method::Object(object.step)
                })
            }),
            None => {
                {
                    let mut queues = state.queues();
                    queues.queue(ident).map_err(traceback)?;
                    queues.note_use(ident, connection);
                }
                Method::read(&request, items_max)
            }
        };
        let mut method = method.map_err(|fault| reply::raise(&fault))?;
        let items = match &mut method {
            Some(Method::Put(items, _) | Method::PutTasks(items, _)) => &mut items[..],
            Some(Method::Task(TaskCall::Submit { calls, .. })) => &mut calls[..],
            Some(Method::PutAndTake(item, _) | Method::Task(TaskCall::Finish(_, item))) => {
                std::slice::from_mut(item)
            }
            _ => &mut [],
        };
        let items = items.iter_mut();
        items.for_each(|item| item.holds.clone_from(&holds));
        Ok(Call {
            ident: ident.to_string(),
            method: method.ok_or_else(|| {
                let text = format!("'{}'", request.method);
                reply::traceback(&Fault::new("KeyError", text))
            })?,
            _answer: answer,
        })
    }
}

impl Method {
    /// The method that a request names, or none if there is no such method.
    fn read(request: &Request, items_max: usize) -> Result<Option<Method>, Fault> {
        Ok(Some(match request.method {
            "put" => {
                let [item, block, timeout] = request.bind(["item", "block", "timeout"], 1)?;
                Method::Put(
                    vec![one_item(request, item, items_max)?],
                    wait_limit(request, block, timeout),
                )
            }
            "put_nowait" => {
                let [item] = request.bind(["item"], 1)?;
                Method::Put(vec![one_item(request, item, items_max)?], Ok(NO_WAIT))
            }
            "put_many" => {
                let [items, block, timeout] = request.bind(["items", "block", "timeout"], 1)?;
                Method::Put(
                    many_items(request, items, items_max)?,
                    wait_limit(request, block, timeout),
                )
            }
            "get" => {
                let [block, timeout] = request.bind(["block", "timeout"], 0)?;
                Method::Get(DeliveryFormat::One, wait_limit(request, block, timeout)?)
            }
            "get_nowait" => {
                let [] = request.bind([], 0)?;
                Method::Get(DeliveryFormat::One, NO_WAIT)
            }
            "__str__" | "__repr__" => Method::Describe,
            "#GETVALUE" => Method::Value,
            name => {
                let method = match name {
                    "join" => Method::Join,
                    "task_done" => Method::TaskDone,
                    "qsize" => Method::Len,
                    "empty" => Method::IsEmpty,
                    "full" => Method::IsFull,
                    name => return Method::read_ours(name, request, items_max),
                };
                let [] = request.bind([], 0)?;
                method
            }
        }))
    }

    /// A method that Python's queues do not have.
    fn read_ours(name: &str, request: &Request, items_max: usize) -> Result<Option<Method>, Fault> {
        Ok(Some(match name {
            "take" => {
                let [block, timeout] = request.bind(["block", "timeout"], 0)?;
                Method::Get(DeliveryFormat::Taken, wait_limit(request, block, timeout)?)
            }
            "get_result" => {
                let [block, timeout] = request.bind(["block", "timeout"], 0)?;
                Method::Get(
                    DeliveryFormat::Identified,
                    wait_limit(request, block, timeout)?,
                )
            }
            "put_and_take" => {
                let [item, results] = request.bind(["item", "results"], 2)?;
                let results = request.text("results", required(results))?;
                Method::PutAndTake(one_item(request, item, items_max)?, results.to_string())
            }
            "put_tasks" => put_tasks(request, items_max)?,
            "get_many" => {
                let [n, timeout] = request.bind(["n", "timeout"], 1)?;
                let n = request.int("n", required(n))?;
                let n = usize::try_from(n).ok().filter(|n| *n > 0);
                let n = n.ok_or_else(|| Fault::new("ValueError", "'n' must be at least 1"))?;
                Method::Get(DeliveryFormat::Many(n), wait_limit(request, None, timeout)?)
            }
            "lease" => {
                let names = ["block", "timeout", "expires"];
                let [block, timeout, expires] = request.bind(names, 0)?;
                let expires = request.seconds(expires)?.and_then(duration);
                Method::Get(
                    DeliveryFormat::Leased(expires),
                    wait_limit(request, block, timeout)?,
                )
            }
            "ack" => Method::Acknowledge(lease(request)?),
            "release" => Method::Release(lease(request)?),
            "fail" => failure(request)?,
            name => return TaskCall::read(name, request, items_max),
        }))
    }
}

/// How long a call may wait, by its arguments `block` and `timeout`.
pub(super) fn wait_limit(
    request: &Request,
    block: Option<Span>,
    timeout: Option<Span>,
) -> Result<Option<Duration>, Fault> {
    if !request.truth(block, true) {
        return Ok(NO_WAIT);
    }
    Ok(request.seconds(timeout)?.and_then(duration))
}

pub(super) fn one_item(
    request: &Request,
    item: Option<Span>,
    items_max: usize,
) -> Result<NewItem, Fault> {
    Ok(request.pickle.item(required(item), items_max)?.into())
}

pub(super) fn many_items(
    request: &Request,
    items: Option<Span>,
    items_max: usize,
) -> Result<Vec<NewItem>, Fault> {
    let items = required(items).value;
    if !matches!(
        request.pickle.kind(items),
        ValueKind::List | ValueKind::Tuple | ValueKind::Set
    ) {
        return Err(Fault::new("TypeError", "'items' must be a list"));
    }
    // A value that many items share is copied to each, and every copy counts.
    let mut left = items_max;
    let mut codes = Vec::new();
    for item in request.pickle.inside(items) {
        let code = request.pickle.item(item, left)?;
        left = left.saturating_sub(code.len());
        codes.push(code.into());
    }
    Ok(codes)
}

/// The number of the lease that a call is to end.
fn lease(request: &Request) -> Result<u64, Fault> {
    let [lease] = request.bind(["lease"], 1)?;
    let lease = request.int("lease", required(lease))?;
    // No lease has the number 0.
    Ok(u64::try_from(lease).unwrap_or(0))
}

fn put_tasks(request: &Request, items_max: usize) -> Result<Method, Fault> {
    let [items, reply] = request.bind(["items", "reply"], 2)?;
    let items = many_items(request, items, items_max)?;
    let reply = request.text("reply", required(reply))?;
    Ok(Method::PutTasks(items, reply.to_string()))
}

/// `(id, None or (tries, reason), item)`
fn identified(to: &mut Encoder, delivery: &Delivery) {
    to.mark();
    match &delivery.task {
        Some(task) => to.str(&task.id),
        None => to.none(),
    };
    match &delivery.death {
        Some(death) => to.mark().int(death.tries.into()).str(&death.reason).tuple(),
        None => to.none(),
    };
    to.item(&delivery.code).tuple();
}

/// What has failed, and why.
fn failure(request: &Request) -> Result<Method, Fault> {
    let names = ["reason", "lease", "place", "held"];
    let [reason, lease, place, held] = request.bind(names, 1)?;
    let reason = request.text_lossy("reason", required(reason))?;
    let number = |name: &str, arg: Option<Span>| {
        let arg = arg.filter(|arg| request.pickle.kind(arg.value) != ValueKind::None);
        let number = arg.map(|arg| request.int(name, arg)).transpose()?;
        Ok::<_, Fault>(number.map(|number| u64::try_from(number).unwrap_or(0)))
    };
    let place = (number("place", place)?, number("held", held)?);
    let failed = match (number("lease", lease)?, place) {
        (Some(lease), _) => Failed::Lease(lease),
        (None, (Some(place), Some(held))) => Failed::OneOf(place as usize, held as usize),
        _ => Failed::Held,
    };
    Ok(Method::Fail(failed, reason))
}

pub(super) fn required(arg: Option<Span>) -> Span {
    arg.expect("bind has seen to it that a required argument is there")
}
