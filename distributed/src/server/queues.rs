//! The queues themselves, behind the server's one lock: no I/O, no clock, nothing that waits.
//!
//! Who has to wait leaves the sending end of a channel and gets what it waits for through it, in
//! the order of arrival. Whoever changes a queue serves those who wait for the change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::wire::protocol::Fault;
use crate::{QueueOptions, QueueStatus, Status};

/// What comes after the name of a queue in the name of the queue for what nobody could finish.
const DEAD: &str = ".dead";

/// The code of an item, see [`Pickle::item`](crate::pickle::Pickle::item).
pub(super) type Code = Arc<[u8]>;

struct QueuedItem {
    code: Code,
    /// How often it was handed out.
    deliveries: u32,
}

/// What a `get` was handed.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) code: Code,
    /// The lease under which the item can come back.
    pub(super) lease: Option<u64>,
    deliveries: u32,
}

/// Who asks for items, and on what terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer {
    pub(super) connection: u64,
    /// The most items it takes at once.
    pub(super) most: usize,
    /// Whether it wants a lease that it will end itself.
    pub(super) explicit: bool,
}

struct Getter {
    ticket: u64,
    consumer: Consumer,
    send: oneshot::Sender<Vec<Delivery>>,
}

struct Putter {
    ticket: u64,
    connection: u64,
    items: Vec<Code>,
    send: oneshot::Sender<()>,
}

/// An item that is out of its queue and may come back.
struct LeaseRecord {
    ident: Arc<str>,
    item: QueuedItem,
    connection: u64,
    explicit: bool,
}

/// The answer to who wants something: at once, or through the channel.
pub(super) enum Answer<T> {
    Now(T),
    Later(u64, oneshot::Receiver<T>),
}

#[derive(Default)]
pub(super) struct ItemQueue {
    options: QueueOptions,
    /// Made by a call, and gone with its last reference; else it has a name and stays.
    is_made: bool,
    references: u64,
    items: VecDeque<QueuedItem>,
    unfinished: u64,
    getters: VecDeque<Getter>,
    putters: VecDeque<Putter>,
    joiners: Vec<(u64, oneshot::Sender<()>)>,
    put: u64,
    delivered: u64,
    redelivered: u64,
}

impl ItemQueue {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.options.maxsize > 0 && self.items.len() >= self.options.maxsize
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.options.maxsize > 0
    }

    fn has_room_for(&self, count: usize) -> bool {
        self.options.maxsize == 0 || self.items.len() + count <= self.options.maxsize
    }

    fn push(&mut self, items: Vec<Code>) {
        self.unfinished += items.len() as u64;
        self.put += items.len() as u64;
        let fresh = |code| QueuedItem {
            code,
            deliveries: 0,
        };
        self.items.extend(items.into_iter().map(fresh));
    }

    /// Counts one item as worked off, and lets those go who wait in `join`.
    fn finish(&mut self) -> Result<(), Fault> {
        let Some(left) = self.unfinished.checked_sub(1) else {
            return Err(Fault::new(
                "ValueError",
                "task_done() called too many times",
            ));
        };
        self.unfinished = left;
        if left == 0 {
            for (_, joiner) in self.joiners.drain(..) {
                let _ = joiner.send(());
            }
        }
        Ok(())
    }
}

/// All queues of a server.
#[derive(Default)]
pub(super) struct Queues {
    queues: BTreeMap<Arc<str>, ItemQueue>,
    leases: BTreeMap<u64, LeaseRecord>,
    /// The leases of each connection that has some.
    held: BTreeMap<u64, Vec<u64>>,
    /// The last number given to a waiter, a lease or a connection.
    last: u64,
    pub(super) connections: u64,
}

impl Queues {
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a queue under its name, which is its ident too: a client that held it before the server
    /// was restarted finds it again.
    pub(super) fn add(&mut self, options: QueueOptions) {
        let ident: Arc<str> = options.name.as_str().into();
        self.queues.entry(ident).or_default().options = options;
    }

    /// Adds a queue that lives as long as it is referred to.
    pub(super) fn make(&mut self, ident: &str, options: QueueOptions) {
        let queue = ItemQueue {
            options,
            is_made: true,
            ..ItemQueue::default()
        };
        self.queues.insert(ident.into(), queue);
    }

    pub(super) fn queue(&mut self, ident: &str) -> Result<&mut ItemQueue, Fault> {
        if !self.queues.contains_key(ident)
            && let Some(of) = ident.strip_suffix(DEAD)
            && self.queues.get(of).is_some_and(|queue| !queue.is_made)
        {
            self.add(QueueOptions::new(ident));
        }
        self.queues
            .get_mut(ident)
            .ok_or_else(|| Fault::new("KeyError", format!("'{ident}'")))
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let named = self.queues.values().filter(|queue| !queue.is_made);
        named.map(|queue| queue.options.name.as_str()).collect()
    }

    /// Python's `incref`. For a queue with a name it only counts.
    pub(super) fn refer(&mut self, ident: &str) -> Result<(), Fault> {
        self.queue(ident)?.references += 1;
        Ok(())
    }

    /// Python's `decref`, after which a queue that a call made may be gone.
    pub(super) fn unrefer(&mut self, ident: &str) -> Result<(), Fault> {
        let queue = self.queue(ident)?;
        queue.references = queue.references.saturating_sub(1);
        if queue.is_made && queue.references == 0 {
            self.queues.remove(ident);
            self.leases.retain(|_, lease| &*lease.ident != ident);
        }
        Ok(())
    }

    pub(super) fn number_of_made(&self) -> usize {
        self.queues.values().filter(|queue| queue.is_made).count()
    }

    pub(super) fn number_of_objects(&self) -> usize {
        self.queues
            .values()
            .filter(|queue| queue.references > 0)
            .count()
    }

    /// Python's text: an object and its references on one line, what it is on the next.
    pub(super) fn debug_info(&self) -> String {
        let line = |(ident, queue): (&Arc<str>, &ItemQueue)| {
            let (references, len) = (queue.references, queue.len());
            format!("  {ident}:       refcount={references}\n    <queue of {len} items>")
        };
        self.queues.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn put(
        &mut self,
        ident: &str,
        connection: u64,
        items: Vec<Code>,
        may_wait: bool,
    ) -> Result<Answer<()>, Fault> {
        let ticket = self.number();
        let queue = self.queue(ident)?;
        if queue.putters.is_empty() && queue.has_room_for(items.len()) {
            queue.push(items);
            self.progress(connection);
            self.serve(ident);
            return Ok(Answer::Now(()));
        }
        let maxsize = queue.options.maxsize;
        if items.len() > maxsize {
            let text = format!("{} items never fit in a queue of {maxsize}", items.len());
            return Err(Fault::new("ValueError", text));
        }
        if !may_wait {
            return Err(Fault::full());
        }
        let (send, receive) = oneshot::channel();
        queue.putters.push_back(Putter {
            ticket,
            connection,
            items,
            send,
        });
        Ok(Answer::Later(ticket, receive))
    }

    pub(super) fn get(
        &mut self,
        ident: &str,
        consumer: Consumer,
        may_wait: bool,
    ) -> Result<Answer<Vec<Delivery>>, Fault> {
        self.progress(consumer.connection);
        let ticket = self.number();
        let queue = self.queue(ident)?;
        if queue.getters.is_empty() && !queue.items.is_empty() {
            let taken = self.hand_out(ident, consumer);
            self.serve(ident);
            return Ok(Answer::Now(taken));
        }
        if !may_wait {
            return Err(Fault::empty());
        }
        let (send, receive) = oneshot::channel();
        queue.getters.push_back(Getter {
            ticket,
            consumer,
            send,
        });
        Ok(Answer::Later(ticket, receive))
    }

    pub(super) fn task_done(&mut self, ident: &str, connection: u64) -> Result<(), Fault> {
        self.progress(connection);
        self.queue(ident)?.finish()
    }

    pub(super) fn join(&mut self, ident: &str) -> Result<Answer<()>, Fault> {
        let ticket = self.number();
        let queue = self.queue(ident)?;
        if queue.unfinished == 0 {
            return Ok(Answer::Now(()));
        }
        let (send, receive) = oneshot::channel();
        queue.joiners.push((ticket, send));
        Ok(Answer::Later(ticket, receive))
    }

    /// Takes a waiter out. False when it was served meanwhile, and the channel holds the answer.
    pub(super) fn withdraw(&mut self, ident: &str, ticket: u64) -> bool {
        let Some(queue) = self.queues.get_mut(ident) else {
            return true;
        };
        let waiters =
            |queue: &ItemQueue| queue.getters.len() + queue.putters.len() + queue.joiners.len();
        let before = waiters(queue);
        queue.getters.retain(|getter| getter.ticket != ticket);
        queue.putters.retain(|putter| putter.ticket != ticket);
        queue.joiners.retain(|(joiner, _)| *joiner != ticket);
        let was_there = waiters(queue) < before;
        // A putter of many may have held up others for whom there is room.
        self.serve(ident);
        was_there
    }

    /// Puts back, in front, what could not be handed over: it counts as never delivered.
    pub(super) fn take_back(&mut self, ident: &str, deliveries: Vec<Delivery>) {
        for Delivery {
            code,
            lease,
            deliveries,
        } in deliveries.into_iter().rev()
        {
            if let Some(lease) = lease {
                self.end_lease(lease);
            }
            if let Some(queue) = self.queues.get_mut(ident) {
                queue.delivered -= 1;
                queue.items.push_front(QueuedItem {
                    code,
                    deliveries: deliveries - 1,
                });
            }
        }
        self.serve(ident);
    }

    /// Ends a lease because the item is done: Python's `ack`.
    pub(super) fn acknowledge(&mut self, lease: u64) -> Result<(), Fault> {
        let over = || Fault::new("ValueError", format!("lease {lease} is over"));
        self.end_lease(lease).map(drop).ok_or_else(over)
    }

    /// Ends a lease because the item is not done. False when it was over already.
    pub(super) fn release(&mut self, lease: u64) -> bool {
        let Some(LeaseRecord { ident, item, .. }) = self.end_lease(lease) else {
            return false;
        };
        let Some(queue) = self.queues.get_mut(&ident) else {
            return true;
        };
        if queue.is_made || item.deliveries < queue.options.max_deliveries {
            queue.redelivered += 1;
            queue.items.push_front(item);
            self.serve(&ident);
            return true;
        }
        tracing::warn!(
            queue = &*ident,
            deliveries = item.deliveries,
            "an item goes to the dead queue"
        );
        // For `join` it is over, or who waits there would wait for ever.
        let _ = queue.finish();
        let dead = format!("{ident}{DEAD}");
        if let Ok(queue) = self.queue(&dead) {
            queue.push(vec![item.code]);
            self.serve(&dead);
        }
        true
    }

    /// A connection has ended: what it held goes back, in the order in which it was handed out.
    pub(super) fn end(&mut self, connection: u64) {
        for lease in self
            .held
            .remove(&connection)
            .unwrap_or_default()
            .into_iter()
            .rev()
        {
            self.release(lease);
        }
    }

    /// A connection shows that it is done with what it was handed without an explicit lease.
    fn progress(&mut self, connection: u64) {
        let Some(held) = self.held.get_mut(&connection) else {
            return;
        };
        let leases = &mut self.leases;
        held.retain(|lease| match leases.get(lease) {
            Some(LeaseRecord { explicit: true, .. }) => true,
            _ => {
                leases.remove(lease);
                false
            }
        });
        if held.is_empty() {
            self.held.remove(&connection);
        }
    }

    fn end_lease(&mut self, lease: u64) -> Option<LeaseRecord> {
        let ended = self.leases.remove(&lease)?;
        if let Some(held) = self.held.get_mut(&ended.connection) {
            held.retain(|other| *other != lease);
        }
        Some(ended)
    }

    /// Hands out what there is, up to what is asked for.
    fn hand_out(&mut self, ident: &str, consumer: Consumer) -> Vec<Delivery> {
        let Some((ident, queue)) = self
            .queues
            .get_key_value(ident)
            .map(|(key, _)| Arc::clone(key))
            .and_then(|key| Some((Arc::clone(&key), self.queues.get_mut(&key)?)))
        else {
            return Vec::new();
        };
        let count = consumer.most.min(queue.items.len());
        let leased = consumer.explicit || queue.options.redeliver;
        let mut handed = Vec::with_capacity(count);
        for mut item in queue.items.drain(..count) {
            item.deliveries += 1;
            queue.delivered += 1;
            let (code, deliveries) = (Arc::clone(&item.code), item.deliveries);
            let lease = leased.then(|| {
                self.last += 1;
                self.held
                    .entry(consumer.connection)
                    .or_default()
                    .push(self.last);
                let lease = LeaseRecord {
                    ident: Arc::clone(&ident),
                    item,
                    connection: consumer.connection,
                    explicit: consumer.explicit,
                };
                self.leases.insert(self.last, lease);
                self.last
            });
            handed.push(Delivery {
                code,
                lease,
                deliveries,
            });
        }
        handed
    }

    /// Serves those who wait, as far as there are items for them and room.
    fn serve(&mut self, ident: &str) {
        while let Some(queue) = self.queues.get_mut(ident) {
            let has_items = !queue.items.is_empty();
            if let Some(getter) = queue.getters.pop_front_if(|_| has_items) {
                let handed = self.hand_out(ident, getter.consumer);
                if let Err(handed) = getter.send.send(handed) {
                    self.take_back(ident, handed);
                }
                continue;
            }
            let fits = queue
                .putters
                .front()
                .is_some_and(|putter| queue.has_room_for(putter.items.len()));
            let Some(putter) = queue.putters.pop_front_if(|_| fits) else {
                return;
            };
            queue.push(putter.items);
            let _ = putter.send.send(());
            self.progress(putter.connection);
        }
    }

    pub(super) fn status(&self) -> Status {
        let of = |(ident, queue): (&Arc<str>, &ItemQueue)| QueueStatus {
            name: ident.to_string(),
            len: queue.len() as u64,
            maxsize: queue.options.maxsize as u64,
            redeliver: queue.options.redeliver,
            waiting: queue.getters.len() as u64,
            leases: self
                .leases
                .values()
                .filter(|lease| lease.ident == *ident)
                .count() as u64,
            put: queue.put,
            delivered: queue.delivered,
            redelivered: queue.redelivered,
            unfinished: queue.unfinished,
        };
        Status {
            connections: self.connections,
            queues: self.queues.iter().map(of).collect(),
        }
    }
}
