use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{AckKind, Message};
use tokio::time::timeout;

use super::attempts;
use super::engine::{Engine, new_id};
use super::layout::{self, DEAD, DELIVERIES, DUPLICATE_WINDOW, REASON, RESULT_OF};
use super::leases::Leases;
use super::publish::{Publication, publish_all};
use super::pull::Pull;
use super::seen::Seen;
use crate::backend::{Codec, Encoded, LeaseBackend, QueueBackend, Read};
use crate::{Error, QueueOptions, Result, random};

/// A queue: a stream, of which each handle takes by requests of its own.
pub(super) struct NatsQueue {
    engine: Arc<Engine>,
    subject: String,
    options: QueueOptions,
    retry_time: Duration,
    leases: Leases,
    state: Mutex<State>,
}

struct State {
    pull: Pull,
    /// What was got and is not done, where the queue redelivers.
    open: VecDeque<u64>,
    seen: Seen,
}

/// How many items a queue has.
struct ItemCounts {
    waiting: usize,
    out: usize,
    /// Both together, where the nodes of the engine agree.
    stored: usize,
}

impl QueueBackend for NatsQueue {
    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn put(&self, items: Vec<Vec<u8>>, timeout: Option<Duration>) -> Result<()> {
        let room = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let items = items.into_iter();
        let publications = items.map(|item| self.publication(&new_id(), item));
        // Nobody but the engine knows these by their ids, and it does so no longer than that.
        let retry_time = self.retry_time.min(DUPLICATE_WINDOW);
        let stored = publish_all(&self.engine, publications.collect(), retry_time, room);
        self.engine.wait(stored)
    }

    /// The reader of a result knows it by the id of its item too; those of a manager have none.
    fn put_results(&self, results: Vec<(Option<String>, Vec<u8>)>) -> Result<()> {
        let publications = results.into_iter().map(|(id, result)| match id {
            Some(id) => {
                let mut publication = self.publication(&id, result);
                publication.message = publication.message.header(RESULT_OF, id.as_str());
                publication
            }
            None => self.publication(&new_id(), result),
        });
        self.publish(publications.collect())
    }

    fn get(&self, n: usize, timeout: Option<Duration>, read: Read) -> Result<()> {
        let open = mem::take(&mut self.state.lock().unwrap().open);
        for number in open {
            self.acknowledge(number);
        }
        for mut held in self.take_all(n, timeout, None, read)? {
            held.begin()?;
            let number = held.number.take().expect("it was begun just now");
            match self.options.redeliver {
                true => self.state.lock().unwrap().open.push_back(number),
                false => _ = self.acknowledge(number),
            }
        }
        Ok(())
    }

    fn take(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>> {
        let held = self.take_all(n, timeout, expires, read)?.into_iter();
        Ok(held.map(|held| Box::new(held) as _).collect())
    }

    fn ask_ahead(&self, n: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        let asked = state.pull.ask_ahead(&self.engine, self.most(n));
        self.engine.wait(asked).is_ok()
    }

    /// When each is begun, only the caller knows: here all are.
    fn lease(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<Box<dyn LeaseBackend + '_>>> {
        let leases = self.take(n, timeout, expires, read)?;
        for lease in &leases {
            lease.begin()?;
        }
        Ok(leases)
    }

    fn task_done(&self) -> Result<()> {
        let open = self.state.lock().unwrap().open.pop_front();
        if let Some(number) = open {
            self.acknowledge(number);
        }
        Ok(())
    }

    fn join(&self) -> Result<()> {
        let mut stuck_since = None;
        loop {
            let counts = self.counts()?;
            if counts.stored == 0 {
                return Ok(());
            }
            // Nodes that disagree on what is done will do so for ever. For a moment they all may.
            let since = match counts.waiting + counts.out {
                0 => *stuck_since.get_or_insert_with(Instant::now),
                _ => {
                    stuck_since = None;
                    Instant::now()
                }
            };
            if since.elapsed() > self.retry_time {
                let attempt = format!("join the queue `{}`", self.options.name);
                let reason = format!(
                    "{} items stay that the engine gives to nobody: nodes of nats-server 2.9 may \
                     disagree after one was killed; purge the queue",
                    counts.stored
                );
                return Err(self.engine.error(&attempt, reason));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn len(&self) -> Result<usize> {
        Ok(self.counts()?.waiting)
    }

    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    fn is_full(&self) -> Result<bool> {
        let maxsize = self.options.maxsize;
        Ok(maxsize > 0 && self.counts()?.stored >= maxsize)
    }
}

impl NatsQueue {
    pub(super) fn open(
        engine: &Arc<Engine>,
        name: &str,
        retry_time: Duration,
    ) -> Result<NatsQueue> {
        let (_, subject) = layout::names(engine, name)?;
        let found = engine.wait(layout::find(engine, name, retry_time))?;
        Ok(NatsQueue {
            engine: engine.clone(),
            subject,
            retry_time,
            leases: Leases::new(engine, found.options.lease),
            options: found.options,
            state: Mutex::new(State {
                pull: Pull::new(found.consumer),
                open: VecDeque::new(),
                seen: Seen::default(),
            }),
        })
    }

    /// How many of `n` may be taken at a time. Where the first try is the last, none may be taken
    /// down by another.
    fn most(&self, n: usize) -> usize {
        match self.options.max_deliveries {
            1 => 1,
            _ => n.max(1),
        }
    }

    fn publication(&self, id: &str, item: Vec<u8>) -> Publication {
        let message = PublishMessage::build().payload(item.into());
        Publication {
            subject: self.subject.clone(),
            message: message.message_id(id),
        }
    }

    /// Reads up to `n` items, and returns what holds each: at least one, or an error.
    fn take_all(
        &self,
        n: usize,
        timeout: Option<Duration>,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Vec<NatsLease<'_>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let n = self.most(n);
        loop {
            let messages = {
                let mut state = self.state.lock().unwrap();
                let pull = &mut state.pull;
                let taken = pull.take(&self.engine, n, deadline, self.retry_time);
                self.engine.wait(taken)?
            };
            let mut leases = Vec::with_capacity(messages.len());
            let mut wrong = None;
            for message in messages {
                match self.receive(message, expires, read) {
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

    /// The item of a message, unless it was handed out before or is a dead letter.
    fn receive(
        &self,
        message: async_nats::Message,
        expires: Option<Duration>,
        read: Read,
    ) -> Result<Option<NatsLease<'_>>> {
        let context = self.engine.context.clone();
        let message = Arc::new(Message { message, context });
        let info = message.info();
        let info = info.map_err(|error| self.engine.error("get an item", error))?;
        let given = || format!("{}.{}", info.stream, info.stream_sequence);
        let id = header(&message, NATS_MESSAGE_ID.as_ref()).map_or_else(given, String::from);
        let key = key(&message, &id, info.stream_sequence);
        let number = self.leases.hold(message.clone(), key, expires);
        if self.state.lock().unwrap().seen.has(key) {
            self.acknowledge(number);
            return Ok(None);
        }
        let held = NatsLease {
            id,
            key,
            deliveries: u32::try_from(info.delivered).unwrap_or(u32::MAX),
            death: death(&message),
            number: Some(number),
            queue: self,
        };
        let max = self.options.max_deliveries;
        if max > 0 && held.deliveries > max {
            let tries = held.tries()?;
            if tries >= max {
                held.move_to_dead("it was begun again and again, and not finished", tries)?;
                return Ok(None);
            }
        }
        match read(Encoded::Json(&message.payload)) {
            Ok(()) => Ok(Some(held)),
            Err(error) => {
                held.begin()?;
                Box::new(held).fail(&wrong(&error))?;
                Err(error)
            }
        }
    }

    fn counts(&self) -> Result<ItemCounts> {
        self.flush();
        let found = layout::find(&self.engine, &self.options.name, self.retry_time);
        let found = self.engine.wait(found)?;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let consumer = found.consumer.cached_info();
        Ok(ItemCounts {
            waiting: count(consumer.num_pending),
            out: consumer.num_ack_pending,
            stored: count(found.info.state.messages),
        })
    }

    fn publish(&self, publications: Vec<Publication>) -> Result<()> {
        let stored = publish_all(&self.engine, publications, self.retry_time, None);
        self.engine.wait(stored)
    }

    /// Ends a lease: the item is worked off. False when it was over before.
    ///
    /// Not confirmed: it is the next that the server hears of us, and one that is lost brings back
    /// an item that was seen.
    fn acknowledge(&self, number: u64) -> bool {
        let Some((message, key)) = self.leases.end(number) else {
            return false;
        };
        // The key is kept before the engine hears of the end: if that word is lost, the item comes
        // again and is known.
        self.state.lock().unwrap().seen.insert(key);
        self.engine.wait(message.ack()).is_ok()
    }

    fn give_back(&self, number: u64, pause: Option<Duration>) {
        if let Some((message, _)) = self.leases.end(number) {
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

impl Drop for NatsQueue {
    fn drop(&mut self) {
        let open = self.state.get_mut().map(|state| mem::take(&mut state.open));
        for number in open.unwrap_or_default() {
            self.give_back(number, None);
        }
        self.flush();
    }
}

impl fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = &self.options.name;
        f.debug_struct("NatsQueue")
            .field("name", name)
            .finish_non_exhaustive()
    }
}

/// What the engine knows of an item that is out. Dropped, the item goes back.
#[derive(Debug)]
struct NatsLease<'q> {
    id: String,
    key: u128,
    deliveries: u32,
    death: Option<(u32, String)>,
    number: Option<u64>,
    queue: &'q NatsQueue,
}

impl LeaseBackend for NatsLease<'_> {
    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn deliveries(&self) -> Option<u32> {
        Some(self.deliveries)
    }

    fn death(&self) -> Option<(u32, &str)> {
        let (deliveries, reason) = self.death.as_ref()?;
        Some((*deliveries, reason))
    }

    fn done(mut self: Box<Self>) -> Result<()> {
        let number = self.number.take().expect("it ends once");
        match self.queue.acknowledge(number) {
            true => Ok(()),
            false => Err(Error::LeaseOver),
        }
    }

    /// Says that the work on it begins; false when the lease is over, and another may have it.
    fn begin(&self) -> Result<bool> {
        let queue = self.queue;
        if self
            .number
            .and_then(|number| queue.leases.message(number))
            .is_none()
        {
            return Ok(false);
        }
        if self.deliveries > 1 && queue.options.max_deliveries > 0 {
            let (engine, name) = (&queue.engine, &queue.options.name);
            let noted = attempts::note(engine, name, self.key, queue.retry_time);
            engine.wait(noted)?;
        }
        Ok(true)
    }

    fn fail(mut self: Box<Self>, reason: &str) -> Result<()> {
        let max = self.queue.options.max_deliveries;
        let tries = if max > 0 {
            self.tries()?
        } else {
            self.deliveries
        };
        if max > 0 && tries >= max {
            return self.move_to_dead(reason, tries);
        }
        if let Some(number) = self.number.take() {
            self.queue
                .give_back(number, Some(random::retry_pause(tries)));
        }
        Ok(())
    }
}

impl NatsLease<'_> {
    /// How often the work on it was begun.
    fn tries(&self) -> Result<u32> {
        if self.deliveries == 1 {
            return Ok(1);
        }
        let queue = self.queue;
        let (engine, name) = (&queue.engine, &queue.options.name);
        engine.wait(attempts::count(engine, name, self.key, queue.retry_time))
    }

    /// Moves the item to the dead letters. If that fails, it goes back.
    fn move_to_dead(mut self, reason: &str, tries: u32) -> Result<()> {
        let queue = self.queue;
        let (_, subject) = layout::names(&queue.engine, &format!("{}{DEAD}", queue.options.name))?;
        let Some(message) = self.number.and_then(|number| queue.leases.message(number)) else {
            return Ok(());
        };
        let letter = PublishMessage::build()
            .payload(message.payload.clone())
            .message_id(&self.id)
            .header(REASON, reason.replace(['\r', '\n'], " ").as_str())
            .header(DELIVERIES, tries.to_string().as_str());
        let publication = Publication {
            subject,
            message: letter,
        };
        // The letter is stored before the item ends: a crash between the two leaves both, and the
        // item's id keeps a second letter out.
        queue.publish(vec![publication])?;
        // `Term` tells the engine to deliver the item to nobody else.
        if let Some((message, _)) = self
            .number
            .take()
            .and_then(|number| queue.leases.end(number))
        {
            let ended = queue.engine.wait(message.ack_with(AckKind::Term));
            ended.map_err(|error| queue.engine.error("end an item", error))?;
        }
        Ok(())
    }
}

impl Drop for NatsLease<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.queue.give_back(number, None);
        }
    }
}

pub(super) fn header<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    let value = message.headers.as_ref()?.get(name)?.as_str();
    (!value.is_empty()).then_some(value)
}

/// What the headers of a dead letter say.
fn death(message: &Message) -> Option<(u32, String)> {
    let deliveries = header(message, DELIVERIES)?.parse().ok()?;
    Some((deliveries, header(message, REASON)?.to_string()))
}

/// By what an item is known that comes again. A result is its item's, in however many messages. Any
/// other is its message's: one that was put a second time under its id, which the engine lets pass
/// once it has forgotten the first, is meant.
fn key(message: &Message, id: &str, sequence: u64) -> u128 {
    match header(message, RESULT_OF) {
        Some(item) => number(item),
        None => number(&format!("{id} {sequence}")),
    }
}

/// A text as a number: our own ids are, and of others two hashes are as good as the text.
pub(super) fn number(text: &str) -> u128 {
    if let (32, Ok(number)) = (text.len(), u128::from_str_radix(text, 16)) {
        return number;
    }
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// Why an item that could not be read is a dead letter.
fn wrong(error: &Error) -> String {
    match error {
        Error::Json { item_type, source } => format!("it is not a {item_type}: {source}"),
        error => error.to_string(),
    }
}
