use std::any;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::layout::{self, DEAD, DELIVERIES, Layout, REASON};
use super::leases::Leases;
use super::publish::{Publication, publish_all};
use super::pull::Pull;
use super::{Engine, id_of};
use crate::{Error, Result};

/// How many items a queue remembers that it has handed out, to hand none out twice.
const SEEN_MAX: usize = 1 << 20;
/// The pause before a failed item is tried again, and the longest that it grows to.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// A queue on an engine.
///
/// First in, first out, but for items that come back. Items are JSON. Threads may share a queue,
/// but a call waits for the one before; a thread that waits in `get` takes a queue of its own.
pub struct Queue<T> {
    engine: Arc<Engine>,
    name: String,
    subject: String,
    layout: Layout,
    patience: Duration,
    leases: Leases,
    state: Mutex<State>,
    items: PhantomData<fn(T) -> T>,
}

struct State {
    pull: Pull,
    /// What was got and is not done, where the queue redelivers.
    open: VecDeque<u64>,
    seen: Seen,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub(super) fn open(engine: &Arc<Engine>, name: &str, patience: Duration) -> Result<Queue<T>> {
        let (_, subject) = layout::names(engine, name)?;
        let found = engine.wait(layout::find(engine, name, patience))?;
        Ok(Queue {
            engine: engine.clone(),
            name: name.to_string(),
            subject,
            patience,
            leases: Leases::new(engine, found.layout.lease),
            layout: found.layout,
            state: Mutex::new(State {
                pull: Pull::new(found.consumer),
                open: VecDeque::new(),
                seen: Seen::default(),
            }),
            items: PhantomData,
        })
    }

    /// Puts an item at the end, and waits for room as long as it takes. When it returns, the
    /// engine has it on as many nodes as the queue has replicas.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when JSON cannot carry it, [`Error::TooLong`] when it is over the engine's
    /// limit, [`Error::Engine`] when it cannot store it or is away for too long.
    pub fn put(&self, item: &T) -> Result<()> {
        self.put_all(std::slice::from_ref(item), None)
    }

    /// As [`put`](Queue::put), but waits no longer than `timeout` for room: `put(…, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when there was no room in time; else those of `put`.
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<()> {
        self.put_all(
            std::slice::from_ref(item),
            Instant::now().checked_add(timeout),
        )
    }

    /// As [`put_timeout`](Queue::put_timeout) without any wait: Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `put_timeout`.
    pub fn try_put(&self, item: &T) -> Result<()> {
        self.put_timeout(item, Duration::ZERO)
    }

    /// Puts all items at the end, several at a time. Others may put between them, and one that had
    /// to be put again is behind those after it.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Queue::put); some of the items are stored then.
    pub fn put_many(&self, items: &[T]) -> Result<()> {
        self.put_all(items, None)
    }

    fn put_all(&self, items: &[T], room: Option<Instant>) -> Result<()> {
        let publications = items
            .iter()
            .map(|item| self.publication(item, &new_id()))
            .collect::<Result<Vec<_>>>()?;
        self.engine
            .wait(publish_all(&self.engine, publications, self.patience, room))
    }

    fn publication(&self, item: &T, id: &str) -> Result<Publication> {
        let payload = serde_json::to_vec(item).map_err(wrong_item::<T>)?;
        Ok(Publication {
            subject: self.subject.clone(),
            message: PublishMessage::build()
                .payload(payload.into())
                .message_id(id),
        })
    }

    /// Takes the first item, and waits for one as long as it takes.
    ///
    /// Where the queue redelivers, it stays ours until the next `get` or
    /// [`task_done`](Queue::task_done), and goes back if neither comes: by the end of the process,
    /// or of this handle.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when the item is not a `T`: it comes back later, and is a dead letter in the
    /// end. [`Error::Engine`] when the engine is away for too long.
    pub fn get(&self) -> Result<T> {
        self.get_within(None)
    }

    /// As [`get`](Queue::get), but waits no longer than `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when there was none in time; else those of `get`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_within(Some(timeout))
    }

    /// As [`get_timeout`](Queue::get_timeout) without any wait: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// Those of `get_timeout`.
    pub fn try_get(&self) -> Result<T> {
        self.get_within(Some(Duration::ZERO))
    }

    fn get_within(&self, timeout: Option<Duration>) -> Result<T> {
        let mut items = self.get_many(1, timeout)?;
        Ok(items.pop().expect("there is one, or it is Empty"))
    }

    /// Takes up to `n` items: those that there are, or, if there are none, the first that comes.
    /// Waits for it no longer than `timeout`, and without limit if `None`.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Queue::get_timeout).
    pub fn get_many(&self, n: usize, timeout: Option<Duration>) -> Result<Vec<T>> {
        self.finish_open();
        let leases = self.lease_many(n, timeout, None)?;
        let redeliver = self.layout.redeliver;
        let mut items = Vec::with_capacity(leases.len());
        for mut lease in leases {
            let number = lease.number.take().expect("it was begun just now");
            if redeliver {
                self.state.lock().unwrap().open.push_back(number);
            } else {
                self.acknowledge(number);
            }
            items.push(lease.item.take().expect("it is taken once"));
        }
        Ok(items)
    }

    /// Takes the first item under a lease: it goes back to the queue unless it is
    /// [`done`](Lease::done), whatever happens to this process. The lease is renewed while the
    /// process runs, but no longer than `expires`, for work that hangs.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Queue::get_timeout).
    pub fn lease(
        &self,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Lease<'_, T>> {
        let mut leases = self.lease_many(1, timeout, expires)?;
        Ok(leases.pop().expect("there is one, or it is Empty"))
    }

    /// As [`lease`](Queue::lease), but up to `n` of those that there are.
    ///
    /// # Errors
    ///
    /// Those of `lease`.
    pub fn lease_many(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
    ) -> Result<Vec<Lease<'_, T>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let messages = {
                let mut state = self.state.lock().unwrap();
                let taken = state
                    .pull
                    .take(&self.engine, n.max(1), deadline, self.patience);
                self.engine.wait(taken)?
            };
            let mut leases = Vec::with_capacity(messages.len());
            let mut wrong = None;
            for message in messages {
                match self.receive(message, expires) {
                    Ok(lease) => leases.extend(lease),
                    Err(error) => wrong = Some(error),
                }
            }
            match wrong {
                Some(error) if leases.is_empty() => return Err(error),
                _ if leases.is_empty() => {}
                // What was wrong comes again, and is told then.
                _ => return Ok(leases),
            }
        }
    }

    /// The lease of a message, unless it was handed out before or is a dead letter.
    fn receive(
        &self,
        message: async_nats::Message,
        expires: Option<Duration>,
    ) -> Result<Option<Lease<'_, T>>> {
        let context = self.engine.context.clone();
        let message = Arc::new(Message { message, context });
        let info = message
            .info()
            .map_err(|error| self.engine.error("get an item", error))?;
        let deliveries = u32::try_from(info.delivered).unwrap_or(u32::MAX);
        let id =
            id_of(&message).unwrap_or_else(|| format!("{}.{}", info.stream, info.stream_sequence));
        let number = self.leases.hold(message.clone(), expires);
        if self.state.lock().unwrap().seen.has(&id) {
            self.acknowledge(number);
            return Ok(None);
        }
        let mut lease = Lease {
            item: None,
            id,
            deliveries,
            death: death(&message),
            number: Some(number),
            queue: self,
        };
        let max = self.layout.max_deliveries;
        if max > 0 && deliveries > max {
            let reason = "it was delivered again and again, and not finished";
            lease.bury(reason, deliveries - 1)?;
            return Ok(None);
        }
        match serde_json::from_slice(&message.payload) {
            Ok(item) => lease.item = Some(item),
            Err(error) => {
                lease.fail(&format!("it is not a {}: {error}", any::type_name::<T>()))?;
                return Err(wrong_item::<T>(error));
            }
        }
        Ok(Some(lease))
    }

    /// Puts the results of items in another queue, each under the id of its item, and then ends the
    /// leases. If that happens twice, the reader gets the result once.
    ///
    /// The answer is how many leases were over before; their results are there all the same.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Queue::put), when all items go back.
    pub fn finish<R: Serialize + DeserializeOwned>(
        &self,
        results: &Queue<R>,
        finished: Vec<(Lease<'_, T>, R)>,
    ) -> Result<usize> {
        let publications = finished
            .iter()
            .map(|(lease, result)| results.publication(result, &lease.id))
            .collect::<Result<Vec<_>>>()?;
        self.engine.wait(publish_all(
            &self.engine,
            publications,
            results.patience,
            None,
        ))?;
        let done = finished.into_iter().map(|(lease, _)| lease.done());
        Ok(done.filter(|done| done.is_err()).count())
    }

    /// Counts the item that was got first as worked off: Python's `task_done`. Where the queue
    /// does not redeliver, every item is, as it is got.
    ///
    /// # Errors
    ///
    /// None; a call more than items were got does nothing.
    pub fn task_done(&self) -> Result<()> {
        let open = self.state.lock().unwrap().open.pop_front();
        if let Some(number) = open {
            self.acknowledge(number);
        }
        Ok(())
    }

    /// Waits until every item that was put has been worked off or is a dead letter: Python's
    /// `join`. It asks ten times in a second.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the engine is away for too long.
    pub fn join(&self) -> Result<()> {
        while self.counts()?.2 > 0 {
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// How many items wait: Python's `qsize`. Others may change that at any moment.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the engine is away for too long.
    pub fn len(&self) -> Result<usize> {
        Ok(self.counts()?.0)
    }

    /// Whether no item waits: Python's `empty`.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether there is no room for another item: Python's `full`. Items that are out count too.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Queue::len).
    pub fn is_full(&self) -> Result<bool> {
        let maxsize = self.layout.maxsize;
        Ok(maxsize > 0 && self.counts()?.2 >= maxsize)
    }

    /// Items that wait, that are out, and both.
    fn counts(&self) -> Result<(usize, usize, usize)> {
        self.flush();
        let found = layout::find(&self.engine, &self.name, self.patience);
        let found = self.engine.wait(found)?;
        let info = found.consumer.cached_info();
        let stored = found.info.state.messages;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok((count(info.num_pending), info.num_ack_pending, count(stored)))
    }
}

impl<T> Queue<T> {
    /// Acknowledges what was got before.
    fn finish_open(&self) {
        let open = std::mem::take(&mut self.state.lock().unwrap().open);
        for number in open {
            self.acknowledge(number);
        }
    }

    /// Ends a lease: the item is worked off. False when it was over before.
    ///
    /// Not confirmed: it is the next that the server hears of us, and one that is lost brings back
    /// an item that was seen.
    fn acknowledge(&self, number: u64) -> bool {
        let Some(message) = self.leases.end(number) else {
            return false;
        };
        if let Some(id) = id_of(&message) {
            self.state.lock().unwrap().seen.insert(&id);
        }
        self.engine.wait(message.ack()).is_ok()
    }

    fn give_back(&self, number: u64, pause: Duration) {
        if let Some(message) = self.leases.end(number) {
            let pause = (!pause.is_zero()).then_some(pause);
            let _ = self.engine.wait(message.ack_with(AckKind::Nak(pause)));
        }
    }

    /// Sees to it that all that was said to the server is on its way.
    fn flush(&self) {
        let client = &self.engine.client;
        // One that cannot be flushed is away, and finds out what it missed.
        let _ = self
            .engine
            .wait(async { timeout(Duration::from_secs(1), client.flush()).await });
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        let open = self
            .state
            .get_mut()
            .map(|state| std::mem::take(&mut state.open));
        for number in open.unwrap_or_default() {
            self.give_back(number, Duration::ZERO);
        }
        self.flush();
    }
}

/// An item that is out of its queue until it is known whether it was worked off; from
/// [`Queue::lease`]. Dropped, it goes back.
pub struct Lease<'q, T> {
    item: Option<T>,
    id: String,
    deliveries: u32,
    death: Option<(u32, String)>,
    number: Option<u64>,
    queue: &'q Queue<T>,
}

impl<T> Lease<'_, T> {
    /// The item.
    pub fn item(&self) -> &T {
        self.item.as_ref().expect("it is there until it is taken")
    }

    /// What tells the item from all others, and makes its result count once.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How often it was handed out, with this time.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Of a dead letter: how often it had been handed out, and why it is one.
    pub fn death(&self) -> Option<(u32, &str)> {
        let (deliveries, reason) = self.death.as_ref()?;
        Some((*deliveries, reason))
    }

    /// Ends the lease: the item is worked off.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseOver`] when it is over by our own clock, and the item may have been given to
    /// another.
    pub fn done(mut self) -> Result<()> {
        let number = self.number.take().expect("it ends once");
        match self.queue.acknowledge(number) {
            true => Ok(()),
            false => Err(Error::LeaseOver),
        }
    }

    /// Says that the work failed: the item comes back after a pause that grows with each time, and
    /// after the queue's `max_deliveries` it is a dead letter with this reason.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the dead letter cannot be stored.
    pub fn fail(&mut self, reason: &str) -> Result<()> {
        let max = self.queue.layout.max_deliveries;
        if max > 0 && self.deliveries >= max {
            return self.bury(reason, self.deliveries);
        }
        if let Some(number) = self.number.take() {
            let doubled = RETRY[0] * 2u32.saturating_pow(self.deliveries.saturating_sub(1).min(16));
            let pause = doubled.min(RETRY[1]).mul_f64(rand::random_range(0.5..1.0));
            self.queue.give_back(number, pause);
        }
        Ok(())
    }

    /// Moves the item to the dead letters.
    fn bury(&mut self, reason: &str, deliveries: u32) -> Result<()> {
        let Some(number) = self.number.take() else {
            return Ok(());
        };
        let queue = self.queue;
        let Some(message) = queue.leases.end(number) else {
            return Ok(());
        };
        let (_, subject) = layout::names(&queue.engine, &format!("{}{DEAD}", queue.name))?;
        let letter = PublishMessage::build()
            .payload(message.payload.clone())
            .message_id(&self.id)
            .header(REASON, reason.replace(['\r', '\n'], " ").as_str())
            .header(DELIVERIES, deliveries.to_string().as_str());
        let publication = Publication {
            subject,
            message: letter,
        };
        let engine = &queue.engine;
        engine.wait(async {
            publish_all(engine, vec![publication], queue.patience, None).await?;
            let ended = message.ack_with(AckKind::Term).await;
            ended.map_err(|error| engine.error("end an item", error))
        })
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.queue.give_back(number, Duration::ZERO);
        }
    }
}

/// The ids of what was handed out, as far as they are remembered.
#[derive(Default)]
struct Seen {
    ids: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    fn has(&self, id: &str) -> bool {
        self.ids.contains(&number(id))
    }

    fn insert(&mut self, id: &str) {
        let id = number(id);
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// What the headers of a dead letter say.
fn death(message: &Message) -> Option<(u32, String)> {
    let headers = message.headers.as_ref()?;
    let reason = headers.get(REASON)?.as_str();
    let deliveries = headers.get(DELIVERIES)?.as_str().parse().ok()?;
    Some((deliveries, reason.to_string()))
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The id as a number: our own ids are, and of others two hashes are as good as the text.
fn number(id: &str) -> u128 {
    if let (32, Ok(number)) = (id.len(), u128::from_str_radix(id, 16)) {
        return number;
    }
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, id).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn wrong_item<T>(source: serde_json::Error) -> Error {
    Error::Json {
        item_type: any::type_name::<T>(),
        source,
    }
}
