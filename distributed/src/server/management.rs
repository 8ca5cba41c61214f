//! Requests to the manager itself: to make, to open and to close queues, and to tell of them.

use super::calls::METHODS;
use super::queues::Queues;
use super::state::{Factory, ServerState};
use crate::wire::pickle::{Encoder, to_item};
use crate::wire::protocol::{Fault, Request, reply};
use crate::{QueueOptions, QueueOrder, random};

/// The most queues that calls may have made at one time.
const MADE_MAX: usize = 65_536;
/// The longest name that is kept of a client, in characters.
const NAME_MAX: usize = 100;

/// How a session goes on after its first request.
pub(super) enum FirstReply {
    /// This is the reply, and the session is over.
    Last(Vec<u8>),
    /// Calls of queues follow, of a client that calls itself so.
    Accept(String),
    /// The server is to end.
    Shutdown,
}

/// Does what the first request of a connection asks for.
pub(super) fn manage(state: &ServerState, body: &[u8]) -> FirstReply {
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(fault) => return FirstReply::Last(reply::traceback(&fault)),
    };
    match request.method {
        "accept_connection" => FirstReply::Accept(client_name(&request)),
        "shutdown" => FirstReply::Shutdown,
        _ => {
            let reply = method(state, request);
            FirstReply::Last(reply.unwrap_or_else(|fault| reply::traceback(&fault)))
        }
    }
}

/// What a client calls itself: of CPython its process and thread, `Process-1|Thread-2`.
fn client_name(request: &Request) -> String {
    let name = request.args().first();
    let name = name.and_then(|name| request.text("name", *name).ok());
    let name = name.unwrap_or("a client").chars();
    name.filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

fn method(state: &ServerState, request: Request) -> Result<Vec<u8>, Fault> {
    let mut queues = state.queues();
    Ok(match request.method {
        "dummy" => reply::none(),
        "create" => {
            let [typeid] = *request.args().get(..1).unwrap_or_default() else {
                return Err(Fault::new("TypeError", "create() needs a typeid"));
            };
            let name = request.text("typeid", typeid)?;
            let (ident, exposed) = create(state, &mut queues, name, request.tail())?;
            reply::value(|to| {
                to.mark().str(&ident);
                methods(to, exposed);
                to.tuple();
            })
        }
        "incref" | "decref" => {
            let [Some(ident)] = request.bind(["ident"], 1)? else {
                return Err(Fault::new("TypeError", "an ident is required"));
            };
            let ident = request.text("ident", ident)?;
            match request.method {
                "incref" if queues.objects.refer(ident) => {}
                "incref" => queues.refer(ident)?,
                _ if queues.objects.unrefer(ident) => queues.leases.sooner.notify_one(),
                _ => queues.unrefer(ident)?,
            }
            reply::none()
        }
        "get_methods" => {
            let [token] = request.bind(["token"], 1)?;
            let ident = token.and_then(|token| request.token(token));
            let ident = ident.unwrap_or_default();
            let exposed = match queues.objects.methods(ident) {
                Some(exposed) => exposed,
                None => queues.queue(ident).map(|_| &METHODS[..])?,
            };
            reply::value(|to| methods(to, exposed))
        }
        "dead_letters" | "retry_dead" | "purge" => {
            let [Some(name)] = request.bind(["name"], 1)? else {
                return Err(Fault::new("TypeError", "the name of a queue is required"));
            };
            let name = request.text("name", name)?;
            let done = match request.method {
                "dead_letters" => queues.dead_letters(name).map(|letters| to_item(&letters)),
                "retry_dead" => queues.retry_dead(name).map(|count| to_item(&count)),
                _ => queues.purge(name).map(|count| to_item(&count)),
            };
            let code = done.map_err(|_| unknown(state, &queues, name))?;
            let code = code.map_err(|error| Fault::new("RuntimeError", error.to_string()))?;
            reply::value(|to| _ = to.item(&code))
        }
        "number_of_objects" => reply::value(|to| _ = to.int(queues.number_of_objects() as i128)),
        "debug_info" => reply::value(|to| _ = to.str(&queues.debug_info())),
        "status" => {
            let code = to_item(&state.status(&queues));
            let code = code.map_err(|error| Fault::new("RuntimeError", error.to_string()))?;
            reply::value(|to| _ = to.item(&code))
        }
        method => {
            let text = format!("'{method}' unrecognized");
            return Err(Fault::new("AssertionError", text));
        }
    })
}

/// The tuple of the names of an object's methods.
fn methods(to: &mut Encoder, exposed: &[&str]) {
    to.mark();
    exposed.iter().for_each(|method| _ = to.str(method));
    to.tuple();
}

/// Opens the queue or object of this name, or makes one if it is the name of a factory. Its ident
/// and its methods.
fn create(
    state: &ServerState,
    queues: &mut Queues,
    typeid: &str,
    request: Request,
) -> Result<(String, &'static [&'static str]), Fault> {
    match state.factories.get(typeid) {
        Some(Factory::Object(object)) => {
            let message_max = state.limits.message;
            queues.objects.make(typeid, *object, &request, message_max)
        }
        Some(Factory::Queue(order)) => make_queue(*order, queues, typeid, &request),
        None => {
            let is_there = queues.queue(typeid).is_ok() || queues.objects.methods(typeid).is_some();
            if is_there && request.bind([], 0).is_err() {
                let text = format!("'{typeid}' is there already, and takes no arguments");
                return Err(Fault::new("TypeError", text));
            }
            if let Some(opened) = queues.objects.open(typeid) {
                return Ok(opened);
            }
            if queues.refer(typeid).is_err() {
                return Err(unknown(state, queues, typeid));
            }
            Ok((typeid.to_string(), &METHODS))
        }
    }
}

/// That there is nothing of this name, and what there is.
fn unknown(state: &ServerState, queues: &Queues, name: &str) -> Fault {
    let mut known = queues.names();
    known.extend(queues.objects.names());
    known.extend(state.factories.keys().map(String::as_str));
    let text = format!("'{name}' (there are: {})", known.join(", "));
    Fault::new("KeyError", text)
}

fn make_queue(
    order: QueueOrder,
    queues: &mut Queues,
    typeid: &str,
    request: &Request,
) -> Result<(String, &'static [&'static str]), Fault> {
    if queues.made >= MADE_MAX {
        queues.forget_one();
    }
    if queues.made >= MADE_MAX {
        return Err(Fault::new("RuntimeError", "there are too many queues"));
    }
    let [maxsize] = request.bind(["maxsize"], 0)?;
    let maxsize = maxsize.map_or(Ok(0), |maxsize| request.int("maxsize", maxsize))?;
    // Below 0 is any number, as in Python.
    let maxsize = usize::try_from(maxsize).unwrap_or(0);
    // At random, so that an ident from before a restart is no other's after it.
    let ident = format!("{typeid}-{:016x}", u64::from_ne_bytes(random::bytes()));
    queues.make(
        &ident,
        QueueOptions::new(typeid).maxsize(maxsize).order(order),
    )?;
    queues.refer(&ident)?;
    Ok((ident, &METHODS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use tokio::sync::{Semaphore, watch};

    use super::super::memory::Budget;
    use super::super::objects::ObjectType;
    use super::super::state::Limits;
    use super::*;

    fn state() -> ServerState {
        let memory = Budget::new(1 << 30);
        ServerState {
            key: Vec::new(),
            factories: BTreeMap::from([
                ("Queue".to_string(), Factory::Queue(QueueOrder::Fifo)),
                ("Event".to_string(), Factory::Object(ObjectType::Event)),
            ]),
            messages: Arc::new(tokio::sync::Semaphore::new(0)),
            limits: Limits {
                message: 1024,
                connections: 1,
                handshake: Duration::ZERO,
                peer_timeout: Duration::ZERO,
                requires_sha256: false,
                factory_timeout: None,
            },
            queues: Mutex::new(Queues::new(Arc::clone(&memory))),
            max_memory: 1 << 30,
            memory,
            strangers: Arc::default(),
            refusals: super::super::refusals::Refusals::default(),
            calls: super::super::call_clock::CallClock::default(),
            places: Arc::new(Semaphore::new(1)),
            stop: watch::Sender::new(false),
        }
    }

    /// With a count of all queues for each one it takes half a minute.
    #[test]
    fn the_sixty_thousandth_queue_costs_what_the_first_one_does() {
        let state = state();
        // pickle.dumps((None, 'create', ('Queue',), {}), 2)
        let create = b"\x80\x02(NX\x06\0\0\0createX\x05\0\0\0Queue\x85}t.";
        let start = Instant::now();
        for _ in 0..60_000 {
            manage(&state, create);
        }
        let queues = state.queues();
        assert_eq!(queues.made, 60_000);
        assert_eq!(queues.number_of_objects(), 60_000);
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn there_are_so_many_objects_at_one_time_and_those_without_a_proxy_make_room() {
        let state = state();
        // pickle.dumps((None, 'create', ('Event',), {}), 2)
        let create = b"\x80\x02(NX\x06\0\0\0createX\x05\0\0\0Event\x85}t.";
        let said = || match manage(&state, create) {
            FirstReply::Last(reply) => String::from_utf8_lossy(&reply).into_owned(),
            _ => panic!("to create is all that is asked for"),
        };
        let first = said();
        (1..MADE_MAX).for_each(|_| _ = said());
        assert_eq!(state.queues().number_of_objects(), MADE_MAX);
        assert!(said().contains("there are too many objects"));
        let from = first.find("Event-").expect("its ident");
        let ident = &first[from..][.."Event-".len() + 16];
        assert!(state.queues().objects.unrefer(ident));
        assert!(said().contains("Event-"));
        assert!(said().contains("there are too many objects"));
    }
}
