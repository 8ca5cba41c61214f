//! All queues of a server and their leases, behind its one lock: no I/O, nothing that waits, and of
//! the clock only the time at which a lease begins.
//!
//! Whoever changes a queue also serves those who wait for the change, in the order of their arrival
//! and before the lock is released. So whoever takes the lock finds no waiter that could be served,
//! and a waiter that is no longer in its queue has its answer in its channel.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::calls::ObjectStep;
use super::item_queue::{Consumer, Delivery, ItemQueue, TaskOrigin};
use super::keeping::{Holds, KeptList};
use super::leases::{Holder, LeaseTable};
use super::memory::{Budget, NewItem, QUEUE_OVERHEAD};
use super::objects::{ObjectCall, Objects};
use super::tasks::SubmittedTasks;
use super::traced;
use super::waiter::Waiter;
use crate::wire::protocol::{Fault, Request};
use crate::{QueueOptions, QueueStatus};

/// What follows the name of a queue in the name of its dead queue, which has the items that were
/// delivered as often as they may be and that nobody finished.
pub(crate) const DEAD: &str = ".dead";
/// The most leases that expire before others have their turn with the lock.
const EXPIRED_AT_ONCE: usize = 1000;

/// All queues of a server.
pub(super) struct Queues {
    queues: BTreeMap<Arc<str>, ItemQueue>,
    pub(super) leases: LeaseTable,
    pub(super) tasks: SubmittedTasks,
    /// What else clients share.
    pub(super) objects: Objects,
    /// The last number given.
    last: u64,
    pub(super) connections: u64,
    /// What those call themselves that have proved the key and call queues, by their connections.
    pub(super) clients: BTreeMap<u64, Arc<str>>,
    /// The queues that calls have made, that have no proxy but inside items.
    kept: KeptList,
    /// How many of the queues calls have made.
    pub(super) made: usize,
    /// Which of these each open connection has called.
    pub(super) used_by: BTreeMap<u64, Vec<Arc<str>>>,
    /// How many of them have the results of a master.
    pub(super) replies: usize,
    pub(super) memory: Arc<Budget>,
}

impl Queues {
    pub(super) fn new(memory: Arc<Budget>) -> Queues {
        Queues {
            queues: BTreeMap::new(),
            leases: LeaseTable::default(),
            tasks: SubmittedTasks::default(),
            objects: Objects::new(&memory),
            last: 0,
            connections: 0,
            clients: BTreeMap::new(),
            kept: KeptList::default(),
            made: 0,
            used_by: BTreeMap::new(),
            replies: 0,
            memory,
        }
    }

    /// A number that nothing else has: of a waiter or a connection.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a queue under its name. The name is its ident too, so that a client that had it open
    /// before the server was restarted finds it again.
    pub(super) fn add(&mut self, options: QueueOptions) {
        let ident: Arc<str> = options.name.as_str().into();
        let queue = ItemQueue::new(Arc::clone(&ident), options, false, &self.memory);
        self.queues.insert(ident, queue);
    }

    /// Adds a queue that lives as long as there is a proxy of it.
    pub(super) fn make(&mut self, ident: &str, options: QueueOptions) -> Result<(), Fault> {
        if !self.memory.has_room_for(QUEUE_OVERHEAD) {
            let limit = self.memory.limit();
            let text = format!("no room for a queue: the server's {limit} bytes are in use");
            return Err(Fault::new("RuntimeError", text));
        }
        let ident: Arc<str> = ident.into();
        let queue = ItemQueue::new(Arc::clone(&ident), options, true, &self.memory);
        self.queues.insert(ident, queue);
        self.made += 1;
        Ok(())
    }

    pub(super) fn queue(&mut self, ident: &str) -> Result<&mut ItemQueue, Fault> {
        // A dead queue is there from its first mention, so that one may wait in it.
        if !self.queues.contains_key(ident)
            && let Some(of) = ident.strip_suffix(DEAD)
            && self.queues.get(of).is_some_and(ItemQueue::has_dead_queue)
        {
            // What is dead stays here, however often it is looked at.
            self.add(QueueOptions::new(ident).max_deliveries(u32::MAX));
        }
        if !self.queues.contains_key(ident) {
            self.add_reply_queue(ident);
        }
        self.queues
            .get_mut(ident)
            .ok_or_else(|| Fault::new("KeyError", format!("'{ident}'")))
    }

    /// The queue, if it is there.
    pub(super) fn get(&self, ident: &str) -> Option<&ItemQueue> {
        self.queues.get(ident)
    }

    pub(super) fn get_mut(&mut self, ident: &str) -> Option<&mut ItemQueue> {
        self.queues.get_mut(ident)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let named = self.queues.values().filter(|queue| !queue.is_made);
        named.map(|queue| queue.options.name.as_str()).collect()
    }

    /// Python's `incref`. For a queue with a name it only counts.
    pub(super) fn refer(&mut self, ident: &str) -> Result<(), Fault> {
        let queue = self.queue(ident)?;
        queue.presence.references += 1;
        queue.used = Instant::now();
        Ok(())
    }

    /// Python's `decref`, after which a queue that a call made may be gone.
    pub(super) fn unrefer(&mut self, ident: &str) -> Result<(), Fault> {
        let queue = self.queue(ident)?;
        if queue.presence.unrefer() && queue.is_made {
            let ident = Arc::clone(&queue.ident);
            match self.queues.get_mut(&ident) {
                Some(queue) if queue.presence.is_inside() => {
                    self.kept.keep(ident, &mut queue.presence);
                    self.leases.sooner.notify_one();
                }
                _ => self.drop_made(&ident),
            }
        } else if self.is_left_reply(ident) {
            self.drop_reply(ident);
        }
        Ok(())
    }

    /// Drops the queue of a master or of a worker.
    pub(super) fn drop_reply(&mut self, ident: &str) {
        if self.queues.get(ident).is_some_and(|queue| queue.is_reply) {
            self.queues.remove(ident);
            self.replies -= 1;
        }
    }

    /// Drops a queue that a call has made.
    pub(super) fn drop_made(&mut self, ident: &Arc<str>) {
        self.queues.remove(ident);
        self.made -= 1;
        self.leases.forget(ident);
    }

    /// Drops the one that is kept longest without a proxy but inside items.
    pub(super) fn forget_one(&mut self) {
        let queues = &mut self.queues;
        if let Some(ident) = self.kept.first(queues, |queue| &mut queue.presence) {
            self.drop_made(&ident);
        }
    }

    /// What keeps alive what these proxies are of.
    pub(super) fn hold(&mut self, idents: &[&str]) -> Holds {
        let hold = |ident: &&str| match self.queues.get_mut(*ident) {
            Some(queue) => queue.is_made.then(|| queue.presence.hold()),
            None => self.objects.hold(ident),
        };
        let holds: Vec<Arc<()>> = idents.iter().filter_map(hold).collect();
        (!holds.is_empty()).then(|| holds.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ItemQueue> {
        self.queues.values()
    }

    pub(super) fn number_of_objects(&self) -> usize {
        let objects = self
            .queues
            .values()
            .filter(|queue| queue.presence.references > 0);
        objects.count() + self.objects.number_of_objects()
    }

    /// Python's text: an object and its references on one line, what it is on the next.
    pub(super) fn debug_info(&self) -> String {
        let lines = self.queues.values().map(|queue| {
            let (ident, references, len) = (&queue.ident, queue.presence.references, queue.len());
            format!("  {ident}:       refcount={references}\n    <queue of {len} items>")
        });
        lines
            .chain(self.objects.debug_info())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Whether these items may be put now.
    pub(super) fn may_put(
        &mut self,
        ident: &str,
        connection: u64,
        items: &[NewItem],
    ) -> Result<bool, Fault> {
        // The put ends the leases of what the client was handed before, and thus frees its bytes.
        let freed = self.leases.implicit_cost(connection);
        let queue = self.queue(ident)?;
        queue.check_order(items)?;
        Ok(queue.may_put(items, freed))
    }

    /// Puts items for which [`Queues::may_put`] says that there is room.
    pub(super) fn put(
        &mut self,
        ident: &str,
        connection: u64,
        items: Vec<NewItem>,
        tasks: Vec<Arc<TaskOrigin>>,
    ) -> Result<(), Fault> {
        let queue = self.queue(ident)?;
        let queue_ident = Arc::clone(&queue.ident);
        let delayed = queue.push(items, tasks);
        self.delay_all(&queue_ident, delayed);
        // Under the same lock, so that a worker's death loses neither the result nor its task: the
        // result is in its queue and the task is done, or neither.
        self.leases.acknowledge_implicit(connection);
        self.serve(ident);
        Ok(())
    }

    /// What a put waits on for which there is no room now.
    pub(super) fn wait_to_put(
        &mut self,
        ident: &str,
        ticket: u64,
        connection: u64,
        items: Vec<NewItem>,
        tasks: Vec<Arc<TaskOrigin>>,
    ) -> Result<Waiter<()>, Fault> {
        let queue = self.queue(ident)?;
        let waiter = queue.wait_to_put(ticket, connection, items, tasks);
        // If it waits for memory, it says so: some may have become free in this moment.
        self.serve(ident);
        Ok(waiter)
    }

    /// The items that are there for the consumer, which may be none.
    pub(super) fn take(&mut self, ident: &str, consumer: Consumer) -> Result<Vec<Delivery>, Fault> {
        // Who asks for the next item is done with the one before, even if there is no next one.
        self.leases.acknowledge_implicit(consumer.connection);
        if !self.queue(ident)?.may_get() {
            return Ok(Vec::new());
        }
        let deliveries = self.deliver(ident, consumer);
        // There may be room now for those who wait to put.
        self.serve(ident);
        Ok(deliveries)
    }

    /// Does what a request asks of an object that is no queue. None if there is no such object;
    /// inside, an error is one that the method raises, and none that there is no such method.
    pub(super) fn call_object(
        &mut self,
        request: &Request,
        connection: u64,
        message_max: usize,
        holds: &Holds,
    ) -> Option<Result<Option<ObjectStep>, Fault>> {
        let ident = self.objects.resolve(request.ident?)?;
        let call = ObjectCall {
            request,
            connection,
            ticket: self.number(),
            message_max,
            answer: Cell::default(),
            holds: holds.clone(),
            budget: Arc::clone(self.objects.budget()),
        };
        let step = self.objects.call(&ident, &call)?;
        let answer = call.answer.take();
        Some(step.map(|step| step.map(|step| ObjectStep { step, answer })))
    }

    pub(super) fn task_done(&mut self, ident: &str, connection: u64) -> Result<(), Fault> {
        self.leases.acknowledge_implicit(connection);
        self.queue(ident)?.finish()
    }

    /// What `join` waits on, unless every item is done.
    pub(super) fn join(&mut self, ident: &str) -> Result<Option<Waiter<()>>, Fault> {
        let ticket = self.number();
        let queue = self.queue(ident)?;
        Ok((!queue.is_finished()).then(|| queue.wait_to_join(ticket)))
    }

    /// Takes a waiter out, if it has not been served.
    pub(super) fn withdraw(&mut self, ident: &str, ticket: u64) {
        if let Some(queue) = self.queues.get_mut(ident) {
            queue.withdraw(ticket);
        }
        self.objects.withdraw(ident, ticket);
        // It may have been a put of many items, behind which a put of fewer waits that fits.
        self.serve(ident);
    }

    /// Puts back, in front, what could not be handed over: it counts as never delivered.
    pub(super) fn take_back(&mut self, ident: &str, deliveries: Vec<Delivery>) {
        self.undeliver(ident, deliveries);
        self.serve(ident);
    }

    /// Ends a lease because the item is done: the call `ack`.
    pub(super) fn acknowledge(&mut self, lease: u64) -> Result<(), Fault> {
        match self.leases.end(lease) {
            Some(_) => Ok(()),
            None => Err(over(lease)),
        }
    }

    /// Gives back what was out for too long, or a part of it. When to come again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..EXPIRED_AT_ONCE {
            let Some(lease) = self.leases.expired(now) else {
                break;
            };
            let _ = self.lapse(lease);
        }
        let due = |queues: &mut Queues| {
            let (kept, queues) = (&mut queues.kept, &mut queues.queues);
            kept.due(now, queues, |queue| &mut queue.presence)
        };
        while let Some(ident) = due(self) {
            self.drop_made(&ident);
        }
        let kept = [self.kept.next(), self.objects.expire(now)];
        let next = kept.into_iter().chain([self.leases.next_expiry()]);
        next.flatten().min()
    }

    /// Ends a lease because the item is not done.
    pub(super) fn release(&mut self, lease: u64) -> Result<(), Fault> {
        self.give_back(lease, None)
    }

    /// A connection has ended, which was `client`'s: what it held goes back.
    pub(super) fn end(&mut self, connection: u64, client: &Arc<str>) {
        self.clients.remove(&connection);
        self.objects.end(connection, client);
        self.forget_user(connection);
        // Each goes to the front, so the last one first: then they stand there in their old order.
        for lease in self.leases.of_connection(connection).into_iter().rev() {
            let _ = self.release(lease);
        }
        self.forget_worker(connection);
    }

    /// Takes the first items out of their queue, at most as many as the consumer takes, and leases
    /// them if they can come back.
    fn deliver(&mut self, ident: &str, consumer: Consumer) -> Vec<Delivery> {
        let Some(queue) = self.queues.get_mut(ident) else {
            return Vec::new();
        };
        let ident = Arc::clone(&queue.ident);
        let is_task = !queue.is_reply;
        let is_leased = consumer.may_return || queue.options.redeliver;
        let time = consumer.expires.or(queue.options.visibility_timeout);
        // From here on, and not from when it has arrived: a client may be frozen before it reads.
        let expires = time.and_then(|time| Instant::now().checked_add(time));
        let holder = match (consumer.explicit, consumer.expires) {
            (false, _) => Holder::Implicit(consumer.connection),
            (true, None) => Holder::Explicit(consumer.connection),
            (true, Some(_)) => Holder::Anyone(Some(consumer.connection)),
        };
        let client = self.clients.get(&consumer.connection).map(|name| &**name);
        let items = queue.take(consumer.most);
        for item in &items {
            traced::handed_out(&item.code, client, item.deliveries);
        }
        let mut deliveries = Vec::new();
        for item in items {
            let mut delivery = Delivery {
                code: Arc::clone(&item.code),
                lease: None,
                deliveries: item.deliveries,
                death: item.death.clone(),
                task: item.task.clone(),
            };
            // Where a result goes is known from who has its task.
            if is_leased || is_task && item.task.is_some() && item.death.is_none() {
                let limit = item.submitted().and_then(|task| task.rules.time_limit);
                let limit = limit.filter(|_| is_task);
                let limit = limit.and_then(|limit| Instant::now().checked_add(limit));
                let lease = self.grant(&ident, item, holder, limit.or(expires));
                delivery.lease = Some(lease);
            }
            deliveries.push(delivery);
        }
        deliveries
    }

    fn undeliver(&mut self, ident: &str, deliveries: Vec<Delivery>) {
        // Each goes to the front, so the last one first.
        for delivery in deliveries.into_iter().rev() {
            // Its time may have been over before, and then it has gone back.
            if let Some(lease) = delivery.lease
                && self.leases.end(lease).is_none()
            {
                continue;
            }
            if let Some(queue) = self.queues.get_mut(ident) {
                queue.undeliver(delivery);
            }
        }
    }

    /// Serves those who wait, as far as there are items for them and room.
    ///
    /// Getters and putters take turns: a getter that is served makes room, and a putter that is
    /// served brings items.
    pub(super) fn serve(&mut self, ident: &str) {
        while let Some(queue) = self.queues.get_mut(ident) {
            let freed = |connection| self.leases.implicit_cost(connection);
            if let Some(getter) = queue.next_getter() {
                let deliveries = self.deliver(ident, getter.consumer);
                if let Err(deliveries) = getter.send.send(deliveries) {
                    // The getter has left without a word: the next one has them.
                    self.undeliver(ident, deliveries);
                }
            } else if let Some((connection, delayed)) = queue.admit_putter(freed) {
                let ident = Arc::clone(&queue.ident);
                self.leases.acknowledge_implicit(connection);
                self.delay_all(&ident, delayed);
            } else {
                return;
            }
        }
    }

    /// Serves those who wait for memory, which has become free somewhere. Who waits longest is
    /// first.
    pub(super) fn serve_putters(&mut self) {
        let waiting = self.queues.iter();
        let waiting = waiting.filter_map(|(ident, queue)| Some((queue.first_putter()?, ident)));
        let mut waiting: Vec<(u64, Arc<str>)> = waiting
            .map(|(ticket, ident)| (ticket, Arc::clone(ident)))
            .collect();
        waiting.sort_unstable();
        for (_, ident) in waiting {
            self.serve(&ident);
        }
    }

    pub(super) fn status(&self, now: Instant) -> Vec<QueueStatus> {
        let leases = self.leases.counts(now);
        let status =
            |(ident, queue): (&Arc<str>, &ItemQueue)| queue.status(leases.get(&**ident).copied());
        self.queues.iter().map(status).collect()
    }
}

pub(super) fn over(lease: u64) -> Fault {
    let text = format!("lease {lease} is over, or is none: its item may be with another");
    Fault::new("ValueError", text)
}

#[cfg(test)]
mod tests;
