//! What a request asks for, done under the server's lock as far as it goes without waiting.

use std::time::Duration;

use tokio::sync::oneshot;

use super::ServerState;
use super::queues::{Answer, Code, Consumer, Delivery, Queues};
use crate::wire::pickle::{Span, ValueKind};
use crate::wire::protocol::{Fault, Request, reply};

/// The methods of a queue, as Python's proxies are told. The last ones are ours: a proxy builds
/// itself from this list, so an unmodified Python client has them too.
const METHODS: [&str; 14] = [
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
    "get_many",
    "lease",
    "put_many",
    "release",
];
/// What Python's proxies call without being told of it.
const PSEUDO_METHODS: [&str; 3] = ["__str__", "__repr__", "#GETVALUE"];
/// The most queues that calls may have made at one time.
const MADE_MAX: usize = 65_536;

/// How a request is answered.
pub(super) enum Outcome {
    Reply(Vec<u8>),
    /// Items, which go back to their queue if they cannot be sent.
    Deliver(String, Vec<Delivery>, Shape),
    Wait(Wait),
    /// From now on the connection carries calls of objects.
    Accepted,
    /// The server is to end.
    Shutdown,
}

/// What a connection waits for, and for how long.
pub(super) struct Wait {
    pub(super) ident: String,
    pub(super) ticket: u64,
    pub(super) limit: Option<Duration>,
    pub(super) what: Awaited,
}

pub(super) enum Awaited {
    Get(oneshot::Receiver<Vec<Delivery>>, Shape),
    Put(oneshot::Receiver<()>),
    Join(oneshot::Receiver<()>),
}

/// How items are put in the reply.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    One,
    Many,
    /// With the lease, which ends after so long if the client has not ended it.
    Leased(Option<Duration>),
}

impl Shape {
    pub(super) fn reply(self, deliveries: &[Delivery]) -> Vec<u8> {
        reply::value(|to| match (self, deliveries) {
            (Shape::One, [one]) => _ = to.item(&one.code),
            (Shape::Leased(_), [one]) => {
                let lease = one.lease.unwrap_or_default();
                to.mark().int(lease.into()).item(&one.code).tuple();
            }
            (_, many) => {
                to.list();
                for delivery in many {
                    to.item(&delivery.code);
                }
                to.appends();
            }
        })
    }
}

/// The outcome of a call that failed: `raise` if the method did, else `traceback`.
type Called = Result<Outcome, Vec<u8>>;

impl ServerState {
    /// A request of a connection that carries one request: about the manager itself.
    pub(super) fn manage(&self, body: &[u8]) -> Outcome {
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(fault) => return Outcome::Reply(reply::traceback(&fault)),
        };
        let done = self.manager_method(request);
        done.unwrap_or_else(|fault| Outcome::Reply(reply::traceback(&fault)))
    }

    fn manager_method(&self, request: Request) -> Result<Outcome, Fault> {
        let mut queues = self.queues.lock().unwrap();
        let reply = match request.method {
            "dummy" => reply::none(),
            "accept_connection" => return Ok(Outcome::Accepted),
            "shutdown" => return Ok(Outcome::Shutdown),
            "create" => {
                let [typeid] = *request.args().get(..1).unwrap_or_default() else {
                    return Err(Fault::new("TypeError", "create() needs a typeid"));
                };
                let name = request.text("typeid", typeid)?;
                let ident = self.create(&mut queues, name, request.tail())?;
                reply::value(|to| {
                    to.mark().str(&ident).mark();
                    METHODS.iter().for_each(|method| _ = to.str(method));
                    to.tuple().tuple();
                })
            }
            "incref" | "decref" => {
                let [Some(ident)] = request.bind(["ident"], 1)? else {
                    return Err(Fault::new("TypeError", "an ident is required"));
                };
                let ident = request.text("ident", ident)?;
                match request.method {
                    "incref" => queues.refer(ident)?,
                    _ => queues.unrefer(ident)?,
                }
                reply::none()
            }
            "get_methods" => {
                let [token] = request.bind(["token"], 1)?;
                let ident = token.and_then(|token| request.token(token));
                queues.queue(ident.unwrap_or_default())?;
                reply::value(|to| {
                    to.mark();
                    METHODS.iter().for_each(|method| _ = to.str(method));
                    to.tuple();
                })
            }
            "number_of_objects" => {
                reply::value(|to| _ = to.int(queues.number_of_objects() as i128))
            }
            "debug_info" => reply::value(|to| _ = to.str(&queues.debug_info())),
            "status" => {
                let code = crate::wire::pickle::to_item(&queues.status());
                let code = code.map_err(|error| Fault::new("RuntimeError", error.to_string()))?;
                reply::value(|to| _ = to.item(&code))
            }
            method => {
                return Err(Fault::new(
                    "AssertionError",
                    format!("'{method}' unrecognized"),
                ));
            }
        };
        Ok(Outcome::Reply(reply))
    }

    fn create(&self, queues: &mut Queues, typeid: &str, request: Request) -> Result<String, Fault> {
        if !self.factories.contains(typeid) {
            return match queues.refer(typeid) {
                Ok(()) => Ok(typeid.to_string()),
                Err(_) => {
                    let known = [
                        queues.names(),
                        self.factories.iter().map(String::as_str).collect(),
                    ];
                    let text = format!("'{typeid}' (there are: {})", known.concat().join(", "));
                    Err(Fault::new("KeyError", text))
                }
            };
        }
        if queues.number_of_made() >= MADE_MAX {
            return Err(Fault::new("RuntimeError", "there are too many queues"));
        }
        let [maxsize] = request.bind(["maxsize"], 0)?;
        let maxsize = maxsize.map_or(Ok(0), |maxsize| request.int("maxsize", maxsize))?;
        // At random, so that an ident from before a restart is no other's after it.
        let ident = format!("{typeid}-{:016x}", rand::random::<u64>());
        let maxsize = usize::try_from(maxsize).unwrap_or(0);
        queues.make(&ident, crate::QueueOptions::new(typeid).maxsize(maxsize));
        queues.refer(&ident)?;
        Ok(ident)
    }

    /// A request of a connection that carries calls of objects.
    pub(super) fn call(&self, connection: u64, body: &[u8]) -> Outcome {
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(fault) => return Outcome::Reply(reply::traceback(&fault)),
        };
        let done = self.queue_method(connection, &request);
        done.unwrap_or_else(Outcome::Reply)
    }

    fn queue_method(&self, connection: u64, request: &Request) -> Called {
        let ident = request.ident.unwrap_or_default();
        let method = request.method;
        if !METHODS.contains(&method) && !PSEUDO_METHODS.contains(&method) {
            return Err(reply::traceback(&Fault::new(
                "KeyError",
                format!("'{method}'"),
            )));
        }
        let raise = |fault: Fault| reply::raise(&fault);
        let prepared = self.prepare(request).map_err(raise)?;
        let mut queues = self.queues.lock().unwrap();
        let queue = queues
            .queue(ident)
            .map_err(|fault| reply::traceback(&fault))?;
        let value = match request.method {
            "qsize" => reply::value(|to| _ = to.int(queue.len() as i128)),
            "empty" => reply::value(|to| _ = to.bool(queue.len() == 0)),
            "full" => reply::value(|to| _ = to.bool(queue.is_full())),
            "__str__" | "__repr__" => {
                let text = format!("<queue '{ident}' of {} items>", queue.len());
                reply::value(|to| _ = to.str(&text))
            }
            "#GETVALUE" => reply::unserializable("a queue stays where it is"),
            "task_done" => {
                queues.task_done(ident, connection).map_err(raise)?;
                reply::none()
            }
            "join" => match queues.join(ident).map_err(raise)? {
                Answer::Now(()) => reply::none(),
                Answer::Later(ticket, join) => {
                    return Ok(wait(ident, ticket, None, Awaited::Join(join)));
                }
            },
            _ => {
                let done = perform(&mut queues, ident, connection, prepared).map_err(raise)?;
                return Ok(done);
            }
        };
        Ok(Outcome::Reply(value))
    }

    /// Reads the arguments, which may be long, before the lock is taken.
    fn prepare(&self, request: &Request) -> Result<Prepared, Fault> {
        let method = request.method;
        Ok(match method {
            "put" => {
                let [item, block, timeout] = request.bind(["item", "block", "timeout"], 1)?;
                let item = self.item(request, item)?;
                Prepared::Put(vec![item], patience(request, block, timeout))
            }
            "put_nowait" => {
                let [item] = request.bind(["item"], 1)?;
                Prepared::Put(vec![self.item(request, item)?], Ok(Patience::None))
            }
            "put_many" => {
                let [items, block, timeout] = request.bind(["items", "block", "timeout"], 1)?;
                Prepared::Put(
                    self.items(request, items)?,
                    patience(request, block, timeout),
                )
            }
            "get" => {
                let [block, timeout] = request.bind(["block", "timeout"], 0)?;
                Prepared::Get(1, Shape::One, patience(request, block, timeout)?)
            }
            "get_nowait" => {
                let [] = request.bind([], 0)?;
                Prepared::Get(1, Shape::One, Patience::None)
            }
            "get_many" => {
                let [n, timeout] = request.bind(["n", "timeout"], 1)?;
                let n = request.int("n", n.expect("it is required"))?;
                let n = usize::try_from(n).ok().filter(|n| *n > 0);
                let n = n.ok_or_else(|| Fault::new("ValueError", "'n' must be at least 1"))?;
                Prepared::Get(n, Shape::Many, patience(request, None, timeout)?)
            }
            "lease" => {
                let names = ["block", "timeout", "expires"];
                let [block, timeout, expires] = request.bind(names, 0)?;
                let expires = request.seconds(expires)?.and_then(duration);
                Prepared::Get(
                    1,
                    Shape::Leased(expires),
                    patience(request, block, timeout)?,
                )
            }
            "ack" | "release" => {
                let [lease] = request.bind(["lease"], 1)?;
                let lease = request.int("lease", lease.expect("it is required"))?;
                let lease = u64::try_from(lease).unwrap_or_default();
                match method {
                    "ack" => Prepared::Acknowledge(lease),
                    _ => Prepared::Release(lease),
                }
            }
            "qsize" | "empty" | "full" | "task_done" | "join" => {
                let [] = request.bind([], 0)?;
                Prepared::Nothing
            }
            _ => Prepared::Nothing,
        })
    }

    /// The most that the items of one message may take. Short texts grow by their older form, to less
    /// than twice their length.
    fn items_max(&self) -> usize {
        self.limits.message.saturating_mul(2)
    }

    fn item(&self, request: &Request, item: Option<Span>) -> Result<Code, Fault> {
        let item = item.expect("it is required");
        Ok(request.pickle.item(item, self.items_max())?.into())
    }

    fn items(&self, request: &Request, items: Option<Span>) -> Result<Vec<Code>, Fault> {
        let items = items.expect("it is required").value;
        if !matches!(
            request.pickle.kind(items),
            ValueKind::List | ValueKind::Tuple | ValueKind::Set
        ) {
            return Err(Fault::new("TypeError", "'items' must be a list"));
        }
        // A value that many items share is copied to each, and all of it counts.
        let mut left = self.items_max();
        let mut codes = Vec::new();
        for item in request.pickle.inside(items) {
            let code = request.pickle.item(item, left)?;
            left = left.saturating_sub(code.len());
            codes.push(code.into());
        }
        Ok(codes)
    }
}

/// A call with its arguments read.
enum Prepared {
    /// As Python does it, a timeout that makes no sense only matters where there could be a wait.
    Put(Vec<Code>, Result<Patience, Fault>),
    Get(usize, Shape, Patience),
    Acknowledge(u64),
    Release(u64),
    Nothing,
}

/// How long a call may wait.
#[derive(Clone, Copy, PartialEq)]
enum Patience {
    None,
    For(Option<Duration>),
}

impl Patience {
    fn limit(self) -> Option<Duration> {
        match self {
            Patience::None => Some(Duration::ZERO),
            Patience::For(limit) => limit,
        }
    }
}

fn patience(
    request: &Request,
    block: Option<Span>,
    timeout: Option<Span>,
) -> Result<Patience, Fault> {
    if !request.truth(block, true) {
        return Ok(Patience::None);
    }
    Ok(Patience::For(request.seconds(timeout)?.and_then(duration)))
}

/// So many seconds; none where that is beyond the end of time.
fn duration(seconds: f64) -> Option<Duration> {
    const FOREVER: f64 = 1e9;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| seconds < FOREVER)
}

fn wait(ident: &str, ticket: u64, limit: Option<Duration>, what: Awaited) -> Outcome {
    Outcome::Wait(Wait {
        ident: ident.to_string(),
        ticket,
        limit,
        what,
    })
}

fn perform(
    queues: &mut Queues,
    ident: &str,
    connection: u64,
    prepared: Prepared,
) -> Result<Outcome, Fault> {
    Ok(Outcome::Reply(match prepared {
        Prepared::Put(items, patience) => {
            let is_bounded = queues.queue(ident)?.is_bounded();
            let patience = if is_bounded {
                patience?
            } else {
                Patience::None
            };
            match queues.put(ident, connection, items, patience != Patience::None)? {
                Answer::Now(()) => reply::none(),
                Answer::Later(ticket, put) => {
                    return Ok(wait(ident, ticket, patience.limit(), Awaited::Put(put)));
                }
            }
        }
        Prepared::Get(most, shape, patience) => {
            let consumer = Consumer {
                connection,
                most,
                explicit: matches!(shape, Shape::Leased(_)),
            };
            match queues.get(ident, consumer, patience != Patience::None)? {
                Answer::Now(deliveries) => {
                    return Ok(Outcome::Deliver(ident.to_string(), deliveries, shape));
                }
                Answer::Later(ticket, get) => {
                    return Ok(wait(
                        ident,
                        ticket,
                        patience.limit(),
                        Awaited::Get(get, shape),
                    ));
                }
            }
        }
        Prepared::Acknowledge(lease) => {
            queues.acknowledge(lease)?;
            reply::none()
        }
        Prepared::Release(lease) => match queues.release(lease) {
            true => reply::none(),
            false => return Err(Fault::new("ValueError", format!("lease {lease} is over"))),
        },
        Prepared::Nothing => reply::none(),
    }))
}
