//! One client's session, from its first byte to its last: a tokio task.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::calls::{Call, DeliveryFormat, Method, NO_WAIT};
use super::failure::{Failure, over};
use super::frame_stream::{FrameStream, GivenUp};
use super::item_queue::{Consumer, Delivery, TaskOrigin};
use super::listener::{ClientStream, Peer};
use super::management::{FirstReply, manage};
use super::memory::NewItem;
use super::objects::{CallStep, ObjectWait};
use super::refusals::RefusalReason;
use super::state::ServerState;
use super::strangers::Stranger;
use super::waiter::{self, Waiter};
use crate::wire::handshake::{FRAME_MAX, Handshake, Step};
use crate::wire::protocol::{Fault, NO_PLACE, reply};

/// A message of at most so many bytes is read where it is: that takes less than a millisecond.
const READ_HERE_MAX: usize = 64 << 10;

/// Serves a client until it leaves, breaks the rules, or the server ends.
pub(super) async fn serve(
    stream: ClientStream,
    peer: Peer,
    state: Arc<ServerState>,
    stranger: Stranger,
) {
    let number = {
        let mut queues = state.queues();
        queues.connections += 1;
        queues.number()
    };
    let mut client = peer.to_string().into();
    let end = run(stream, peer, &state, stranger, (number, &mut client)).await;
    if let Err(error) = end
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        debug!(connection = number, %error, "a connection breaks off");
    }
    let mut queues = state.queues();
    queues.connections -= 1;
    queues.end(number, &client);
}

async fn run(
    stream: ClientStream,
    peer: Peer,
    state: &Arc<ServerState>,
    stranger: Stranger,
    (number, client): (u64, &mut Arc<str>),
) -> io::Result<()> {
    let mut session = Session {
        number,
        peer,
        stream: FrameStream::new(stream, state.limits.peer_timeout, &state.messages)?,
        state: Arc::clone(state),
        stopping: state.stop.subscribe(),
        is_known: false,
        place: None,
        has_waited: false,
    };
    let first = match timeout(state.limits.handshake, session.introduce(stranger)).await {
        Ok(Err(error)) if session.is_known && error.kind() == ErrorKind::FileTooLarge => {
            let fault = Fault::new("ValueError", error.to_string());
            return session.turn_away(reply::traceback(&fault)).await;
        }
        Ok(first) => first?,
        Err(_) if session.is_known && session.place.is_none() => {
            session.refuse(RefusalReason::Full);
            let most = state.limits.connections;
            let text = format!("{NO_PLACE}: `max_connections` allows {most}");
            // A client of Python's hears an error of the kind that a lost connection is.
            let fault = Fault::new("OSError", text);
            return session.turn_away(reply::raise(&fault)).await;
        }
        Err(_) => {
            session.refuse(RefusalReason::Late);
            return Ok(());
        }
    };
    match manage(state, session.stream.message(first)) {
        FirstReply::Last(reply) => session.stream.send(reply).await,
        FirstReply::Accept(name) => {
            *client = format!("{name} at {peer}").into();
            state.queues().clients.insert(number, Arc::clone(client));
            session.calls().await
        }
        FirstReply::Shutdown => {
            debug!(connection = number, "a client shuts the server down");
            // Python's server answers this request twice, once on each of its ways out.
            session.stream.send(reply::none()).await?;
            session.stream.send(reply::none()).await?;
            state.stop.send_replace(true);
            Ok(())
        }
    }
}

pub(super) struct Session {
    pub(super) number: u64,
    peer: Peer,
    stream: FrameStream,
    pub(super) state: Arc<ServerState>,
    stopping: watch::Receiver<bool>,
    /// Whether it has proved the key.
    is_known: bool,
    /// Its place among those who have.
    place: Option<OwnedSemaphorePermit>,
    /// Whether the call under way has waited for another client.
    has_waited: bool,
}

impl Session {
    /// The handshake, a place and the first request, which belong together: a stranger has one
    /// deadline for all.
    async fn introduce(&mut self, mut stranger: Stranger) -> io::Result<Range<usize>> {
        tokio::select! {
            biased;
            proved = self.prove() => proved?,
            () = stranger.evicted() => {
                self.refuse(RefusalReason::Evicted);
                return Err(over());
            }
        }
        drop(stranger);
        self.is_known = true;
        let places = Arc::clone(&self.state.places);
        self.place = places.acquire_owned().await.ok();
        self.stream.acknowledge_quickly();
        self.next().await
    }

    /// Tells a client that has the key why it is not served.
    async fn turn_away(&mut self, reply: Vec<u8>) -> io::Result<()> {
        self.stream.send(reply).await?;
        // What it sends is read past, for else it would not hear that.
        let _ = timeout(self.state.limits.handshake, self.next()).await;
        Ok(())
    }

    fn refuse(&self, reason: RefusalReason) {
        self.state.refusals.note(self.peer, reason);
    }

    /// Lets the client prove that it has the key.
    async fn prove(&mut self) -> io::Result<()> {
        let (mut handshake, challenge) = Handshake::accept(&self.state.key);
        if self.state.limits.requires_sha256 {
            handshake = handshake.require_sha256();
        }
        self.stream.send_short(&challenge).await?;
        loop {
            self.stream.acknowledge_quickly();
            let body = self.stream.receive(FRAME_MAX).await.inspect_err(|error| {
                // As the length of a message, the words of a browser or of TLS are no good one.
                if matches!(
                    error.kind(),
                    ErrorKind::FileTooLarge | ErrorKind::InvalidData
                ) {
                    self.refuse(RefusalReason::Protocol);
                }
            })?;
            match handshake.receive(self.stream.message(body)) {
                Step::Send(frame) => self.stream.send_short(&frame).await?,
                Step::Done(frame) => {
                    if let Some(frame) = frame {
                        self.stream.send_short(&frame).await?;
                    }
                    return Ok(());
                }
                Step::Refused(frame) => {
                    self.refuse(RefusalReason::Key);
                    self.stream.send_short(&frame.unwrap_or_default()).await?;
                    return Err(over());
                }
                Step::Garbage => {
                    self.refuse(RefusalReason::Protocol);
                    return Err(over());
                }
            }
        }
    }

    /// The next message. An end of the server is an end of the stream.
    async fn next(&mut self) -> io::Result<Range<usize>> {
        let limit = self.state.limits.message;
        tokio::select! {
            // A request that is there already is still served.
            biased;
            message = self.stream.receive(limit) => message,
            _ = self.stopping.wait_for(|is_stopping| *is_stopping) => Err(over()),
        }
    }

    /// Calls of queues, until the client leaves.
    async fn calls(&mut self) -> io::Result<()> {
        self.stream.send(reply::none()).await?;
        loop {
            let next = self.next().await;
            let begin = Instant::now();
            self.has_waited = false;
            let done = match next {
                Ok(body) => match self.read_call(body).await {
                    Ok(call) => self.call(call).await,
                    Err(reply) => Ok(self.stream.send(reply).await?),
                },
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    Err(Fault::new("ValueError", error.to_string()).into())
                }
                // What is so long is put.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    Err(Fault::full().into())
                }
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(()) => {}
                Err(Failure::Raised(fault)) => self.stream.send(reply::raise(&fault)).await?,
                Err(Failure::Over(error)) => {
                    if *self.stopping.borrow() {
                        let _ = self.stream.send(reply::farewell()).await;
                    }
                    return Err(error);
                }
                Err(Failure::GivenUp) => debug!(connection = self.number, "a call is given up"),
            }
            self.state.calls.note(begin.elapsed(), self.has_waited);
            // Who sends many calls at once has no more turns than the others.
            if self.stream.is_ahead() {
                yield_now().await;
            }
        }
    }

    /// Reads a call, in another thread if that may take long: the other clients are served meanwhile.
    async fn read_call(&mut self, body: Range<usize>) -> Result<Call, Vec<u8>> {
        if body.len() <= READ_HERE_MAX {
            return Call::read(&self.state, self.number, self.stream.message(body));
        }
        let (state, number) = (Arc::clone(&self.state), self.number);
        let buffer = self.stream.take_buffer();
        let read = spawn_blocking(move || (Call::read(&state, number, &buffer[body]), buffer));
        let (call, buffer) = read.await.expect("what a client sends makes no panic");
        self.stream.restore(buffer);
        call
    }

    /// Does what a call asks for, and replies.
    async fn call(&mut self, Call { ident, method, .. }: Call) -> Result<(), Failure> {
        // What a long answer costs, the rest of the call, is kept to the end of this.
        // A call may wait long: the message that it came in is not needed for that.
        self.stream.release();
        let ident = ident.as_str();
        let queues = || self.state.queues();
        let none = |()| reply::none();
        let reply = match method {
            Method::Put(items, timeout) => self.put_results(ident, items, timeout).await?,
            Method::PutAndTake(item, results) => {
                self.put_results(&results, vec![item], Ok(None)).await?;
                return self.get(ident, DeliveryFormat::Taken, NO_WAIT).await;
            }
            Method::PutTasks(items, reply) => {
                let tasks = queues().task_origins(&reply, items.len())?;
                self.put(ident, items, tasks.clone(), Ok(None)).await?;
                reply::value(|to| {
                    to.list();
                    tasks.iter().for_each(|task| _ = to.str(&task.id));
                    to.appends();
                })
            }
            Method::Get(format, timeout) => return self.get(ident, format, timeout).await,
            Method::TakeTask(worker, timeout) => {
                queues().note_worker(ident, self.number, &worker);
                return self.get(ident, DeliveryFormat::Task, timeout).await;
            }
            Method::Task(call) => self.task(ident, call).await?,
            Method::Join => self.join(ident).await?,
            Method::TaskDone => queues().task_done(ident, self.number).map(none)?,
            Method::Acknowledge(lease) => queues().acknowledge(lease).map(none)?,
            Method::Release(lease) => queues().release(lease).map(none)?,
            Method::Object(step) => self.object(ident, step).await?,
            Method::Fail(failed, reason) => {
                let told = queues().fail(self.number, failed, &reason);
                told.map(none)?
            }
            Method::Len => {
                let len = queues().queue(ident)?.len();
                reply::value(|to| _ = to.int(len as i128))
            }
            Method::IsEmpty => {
                let is_empty = queues().queue(ident)?.len() == 0;
                reply::value(|to| _ = to.bool(is_empty))
            }
            Method::IsFull => {
                let is_full = queues().queue(ident)?.is_full();
                reply::value(|to| _ = to.bool(is_full))
            }
            Method::Describe => {
                let len = queues().queue(ident)?.len();
                reply::value(|to| _ = to.str(&format!("<queue '{ident}' of {len} items>")))
            }
            Method::Value => reply::unserializable("a queue stays where it is"),
        };
        // Who was served by this call has waited, and goes on first: its reply need not wait for this
        // one, which takes most of the time of a call.
        if waiter::has_served() {
            yield_now().await;
        }
        Ok(self.stream.send(reply).await?)
    }

    /// Puts items, which are the results of a task if that is what the connection holds.
    async fn put_results(
        &mut self,
        ident: &str,
        items: Vec<NewItem>,
        timeout: Result<Option<Duration>, Fault>,
    ) -> Result<Vec<u8>, Failure> {
        let task = self.state.queues().result_of(self.number, ident);
        let ident = task.as_ref().map_or(ident, |task| &task.reply).to_string();
        let tasks = task.map_or(Vec::new(), |task| vec![task; items.len()]);
        self.put(&ident, items, tasks, timeout).await
    }

    pub(super) async fn put(
        &mut self,
        ident: &str,
        items: Vec<NewItem>,
        tasks: Vec<Arc<TaskOrigin>>,
        timeout: Result<Option<Duration>, Fault>,
    ) -> Result<Vec<u8>, Failure> {
        let (waiter, timeout) = {
            let mut queues = self.state.queues();
            if queues.leases.was_late(self.number) {
                let text = "what was taken before is with another, for its time is over: the put \
                            after it is refused";
                return Err(Fault::new("RuntimeError", text).into());
            }
            let queue = queues.queue(ident)?;
            // Without a `maxsize` Python asks for the timeout of no put; ours do if one must wait.
            let timeout = match queue.maxsize() {
                0 => timeout,
                _ => Ok(timeout?),
            };
            if queues.may_put(ident, self.number, &items)? {
                queues.put(ident, self.number, items, tasks)?;
                return Ok(reply::none());
            }
            let memory = Arc::clone(&queues.memory);
            if let Some(text) = queues.queue(ident)?.never_fits(&items, &memory) {
                return Err(Fault::new("ValueError", text).into());
            }
            let timeout = timeout?;
            if timeout == NO_WAIT {
                return Err(Fault::full().into());
            }
            // The one that waits is done with its tasks when these items are in the queue, not now.
            let ticket = queues.number();
            (
                queues.wait_to_put(ident, ticket, self.number, items, tasks)?,
                timeout,
            )
        };
        match self.wait(ident, waiter, timeout).await {
            (Some(()), None) => Ok(reply::none()),
            (None, None) => Err(Fault::full().into()),
            (_, Some(given_up)) => Err(given_up.into()),
        }
    }

    async fn join(&mut self, ident: &str) -> Result<Vec<u8>, Failure> {
        let waiter = self.state.queues().join(ident)?;
        let Some(waiter) = waiter else {
            return Ok(reply::none());
        };
        match self.wait(ident, waiter, None).await {
            (_, None) => Ok(reply::none()),
            (_, Some(given_up)) => Err(given_up.into()),
        }
    }

    /// Goes on with a call of an object, as far as to its reply.
    async fn object(&mut self, ident: &str, mut step: CallStep) -> Result<Vec<u8>, Failure> {
        loop {
            step = match step {
                CallStep::Reply(reply) => return Ok(reply),
                CallStep::Raise(fault) => return Err(fault.into()),
                CallStep::Reacquire { count, notified } => {
                    let mut queues = self.state.queues();
                    let ticket = queues.number();
                    let objects = &mut queues.objects;
                    objects.reacquire(ident, ticket, self.number, (count, notified))?
                }
                CallStep::Wait(ObjectWait {
                    waiter,
                    timeout,
                    late,
                }) => match self.wait(ident, waiter, timeout).await {
                    // What is a lock's goes back with the connection; what was told of a condition
                    // would not, and the kernel may know that the client is gone before its stream
                    // has told so.
                    (Some(step), None)
                        if !matches!(step, CallStep::Reacquire { .. }) || self.stream.is_open() =>
                    {
                        step
                    }
                    (None, None) => *late,
                    (None, Some(given_up)) => return Err(given_up.into()),
                    // What came is of nobody's use, and goes back with the connection.
                    (came, _) => {
                        if let Some(CallStep::Reacquire { .. }) = came {
                            self.state.queues().objects.pass_on(ident);
                        }
                        return Err(over().into());
                    }
                },
            };
        }
    }

    async fn get(
        &mut self,
        ident: &str,
        format: DeliveryFormat,
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        let consumer = Consumer {
            connection: self.number,
            most: format.most(),
            explicit: matches!(format, DeliveryFormat::Leased(_) | DeliveryFormat::Task),
            may_return: matches!(
                format,
                DeliveryFormat::Leased(_)
                    | DeliveryFormat::Taken
                    | DeliveryFormat::Task
                    | DeliveryFormat::Outcome
            ),
            expires: match format {
                DeliveryFormat::Leased(expires) => expires,
                _ => None,
            },
        };
        let mut deliveries;
        let waiter = {
            let mut queues = self.state.queues();
            deliveries = queues.take(ident, consumer)?;
            if !deliveries.is_empty() {
                None
            } else if timeout == NO_WAIT {
                return Err(Fault::empty().into());
            } else {
                let ticket = queues.number();
                Some(queues.queue(ident)?.wait_to_get(ticket, consumer))
            }
        };
        if let Some(waiter) = waiter {
            deliveries = match self.wait(ident, waiter, timeout).await {
                // The kernel may know that the client is gone before its stream has told so.
                (Some(deliveries), None) if self.stream.is_open() => deliveries,
                (Some(deliveries), given_up) => {
                    self.state.queues().take_back(ident, deliveries);
                    return Err(given_up.unwrap_or(GivenUp::Left).into());
                }
                (None, None) => return Err(Fault::empty().into()),
                (None, Some(given_up)) => return Err(given_up.into()),
            };
        }
        Ok(self.deliver(ident, deliveries, format).await?)
    }

    /// Sends items to the client. They go back to their queue if that fails.
    async fn deliver(
        &mut self,
        ident: &str,
        deliveries: Vec<Delivery>,
        format: DeliveryFormat,
    ) -> io::Result<()> {
        let (message, items) = format.reply(&deliveries);
        let sent = self.stream.send_with(message, &items).await;
        if sent.is_err() {
            self.state.queues().take_back(ident, deliveries);
            return sent;
        }
        // From here on the client may have the items, so only a lease brings them back.
        Ok(())
    }

    /// Waits for so long, or for ever: what came, and whether the client waits no longer.
    async fn wait<T>(
        &mut self,
        ident: &str,
        mut waiter: Waiter<T>,
        timeout: Option<Duration>,
    ) -> (Option<T>, Option<GivenUp>) {
        self.has_waited = true;
        let late = async {
            match timeout {
                Some(timeout) => sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let given_up = tokio::select! {
            // A client that has left is noticed first, so that it takes nothing with it.
            biased;
            how = self.stream.given_up() => Some(how),
            _ = self.stopping.wait_for(|is_stopping| *is_stopping) => Some(GivenUp::Left),
            came = &mut waiter.receive => match came {
                // What the end of the server sets free, as a lock, is nobody's any more. The session
                // may hear of that end later than the one whose lock it was.
                Ok(came) if *self.state.stop.borrow() => return (Some(came), Some(GivenUp::Left)),
                Ok(came) => return (Some(came), None),
                // The queue is gone with its last reference.
                Err(_) => Some(GivenUp::Left),
            },
            () = late => None,
        };
        // It may be served until it is withdrawn. What it was served then is in the channel.
        self.state.queues().withdraw(ident, waiter.ticket);
        (waiter.receive.try_recv().ok(), given_up)
    }
}
