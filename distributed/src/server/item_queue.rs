//! One queue: its items, and the clients that wait for items, for room, or for the work to be done.
//!
//! It decides who is next and does not wait itself: a waiter is the sending end of a channel.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeping::Presence;
use super::lanes::Lanes;
use super::memory::{
    Budget, Charge, Code, ITEM_OVERHEAD, NewItem, QUEUE_OVERHEAD, StoredItem, cost,
};
use super::objects::Datum;
use super::replies::OF;
use super::tasks::{SubmittedTask, TaskStage};
use super::traced;
use super::waiter::{Waiter, WaiterSender};
use crate::wire::protocol::Fault;
use crate::{DeadLetter, Priority, QueueOptions, QueueOrder, QueueStatus};

pub(super) struct QueuedItem {
    pub(super) code: Code,
    /// How often it was delivered.
    pub(super) deliveries: u32,
    /// Of a dead letter, how it became one.
    pub(super) death: Option<Arc<Death>>,
    /// Of a task that has a master, and of its result, which task it is.
    pub(super) task: Option<Arc<TaskOrigin>>,
}

impl QueuedItem {
    /// Of a task that was submitted by name and has no outcome yet: what is known of it.
    pub(super) fn submitted(&self) -> Option<&SubmittedTask> {
        let task = self.task.as_ref().filter(|_| self.death.is_none())?;
        task.submitted.as_ref()
    }

    pub(super) fn priority(&self) -> Priority {
        let submitted = self.submitted();
        submitted.map_or(Priority::Normal, |submitted| submitted.rules.priority)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        let submitted = self.submitted();
        submitted.is_some_and(|submitted| submitted.stage() == TaskStage::Cancelled)
    }
}

/// A task that has a master.
#[derive(Debug)]
pub(super) struct TaskOrigin {
    pub(super) id: String,
    /// The queue of its master, for its result; empty for none.
    pub(super) reply: Arc<str>,
    /// Of one that was submitted by name.
    pub(super) submitted: Option<SubmittedTask>,
}

/// How an item became a dead letter.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) tries: u32,
    pub(super) reason: String,
    /// What the last worker calls itself.
    pub(super) worker: Option<Arc<str>>,
    /// Whether its submitter wanted that.
    pub(super) is_cancelled: bool,
}

/// An item as a consumer is handed it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) code: Code,
    /// The lease under which the item can come back.
    pub(super) lease: Option<u64>,
    pub(super) deliveries: u32,
    pub(super) death: Option<Arc<Death>>,
    pub(super) task: Option<Arc<TaskOrigin>>,
}

/// Who asks for items, and on what terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer {
    pub(super) connection: u64,
    /// The most items it takes at once.
    pub(super) most: usize,
    /// Whether it wants a lease that it will end itself.
    pub(super) explicit: bool,
    /// Whether what it takes may come back, whatever its queue says.
    pub(super) may_return: bool,
    /// The time of that lease, if it is to end with its time and not with the connection.
    pub(super) expires: Option<Duration>,
}

pub(super) struct Getter {
    ticket: u64,
    since: Instant,
    pub(super) consumer: Consumer,
    pub(super) send: WaiterSender<Vec<Delivery>>,
}

pub(super) struct Putter {
    ticket: u64,
    since: Instant,
    pub(super) connection: u64,
    items: Vec<NewItem>,
    tasks: Vec<Arc<TaskOrigin>>,
    /// What the items cost while they wait, if there was room for that.
    charge: Option<Charge>,
    send: WaiterSender<()>,
}

pub(super) struct ItemQueue {
    pub(super) ident: Arc<str>,
    pub(super) options: QueueOptions,
    /// Made by a call, and gone with its last reference; else it has a name and stays.
    pub(super) is_made: bool,
    /// Has the results of one master, and is gone when that has left and nothing is in it.
    pub(super) is_reply: bool,
    /// Of one that is made: the open connections that have called it, and when it was used last.
    pub(super) users: BTreeSet<u64>,
    pub(super) used: Instant,
    /// Which proxies of it there are.
    pub(super) presence: Presence,
    items: Lanes,
    /// Items that were put and are not done: what `join` waits for.
    unfinished: u64,
    getters: VecDeque<Getter>,
    putters: VecDeque<Putter>,
    joiners: Vec<(u64, WaiterSender<()>)>,
    put: u64,
    delivered: u64,
    redelivered: u64,
    pub(super) budget: Arc<Budget>,
    /// What a queue costs that a client had made.
    _charge: Option<Charge>,
}

impl ItemQueue {
    pub(super) fn new(
        ident: Arc<str>,
        options: QueueOptions,
        is_made: bool,
        memory: &Arc<Budget>,
    ) -> ItemQueue {
        ItemQueue {
            ident,
            is_made,
            is_reply: false,
            users: BTreeSet::new(),
            used: Instant::now(),
            presence: Presence::new(),
            items: Lanes::default(),
            unfinished: 0,
            getters: VecDeque::new(),
            putters: VecDeque::new(),
            joiners: Vec::new(),
            put: 0,
            delivered: 0,
            redelivered: 0,
            budget: Budget::within(memory, options.max_bytes),
            _charge: is_made.then(|| memory.charge(QUEUE_OVERHEAD)),
            options,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The most items that may wait; 0 is any number.
    pub(super) fn maxsize(&self) -> usize {
        self.options.maxsize
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_place_for(1) || !self.budget.has_room_for(ITEM_OVERHEAD)
    }

    fn has_place_for(&self, count: usize) -> bool {
        self.maxsize() == 0 || self.items.len() + count <= self.maxsize()
    }

    /// Whether these items may be put now, as this put will free so many bytes: who waits for room
    /// is first.
    pub(super) fn may_put(&self, items: &[NewItem], freed: u64) -> bool {
        self.putters.is_empty()
            && self.has_place_for(items.len())
            && self.budget.may_exchange(freed, total_cost(items))
    }

    /// Why these items will never have room, if so.
    pub(super) fn never_fits(&self, items: &[NewItem], server: &Budget) -> Option<String> {
        let (count, maxsize, bytes) = (items.len(), self.maxsize(), total_cost(items));
        if maxsize > 0 && count > maxsize {
            return Some(format!("{count} items never fit in a queue of {maxsize}"));
        }
        let limit = self.budget.limit().min(server.limit());
        (bytes > limit).then(|| {
            let option = match self.options.max_bytes {
                Some(own) if own <= limit => "max_bytes of its options",
                _ => "by max_memory of the server, --max-memory",
            };
            format!("{bytes} bytes never fit: the queue may store {limit} bytes ({option})")
        })
    }

    /// Whether there is an item to get now: who waits for one is first.
    pub(super) fn may_get(&self) -> bool {
        self.getters.is_empty() && !self.items.is_empty()
    }

    /// Puts items: tasks or results of the ones named, each of one, or of none. Those whose time has
    /// not come are returned: they count, and do not wait here yet.
    pub(super) fn push(
        &mut self,
        items: Vec<NewItem>,
        tasks: Vec<Arc<TaskOrigin>>,
    ) -> Vec<QueuedItem> {
        let tasks = tasks.into_iter().map(Some).chain(iter::repeat(None));
        let mut delayed = Vec::new();
        for (item, task) in items.into_iter().zip(tasks) {
            let mut item = StoredItem::new(item, &self.budget);
            item.span = traced::begin(&self.ident, task.as_deref(), item.len());
            let code = Arc::new(item);
            delayed.extend(self.push_stored(code, None, task));
        }
        delayed
    }

    /// Puts the word that a task has failed in place of its result.
    pub(super) fn push_notice(&mut self, task: Arc<TaskOrigin>, death: Arc<Death>) {
        let none = Arc::new(StoredItem::new(b"N".to_vec().into(), &self.budget));
        self.push_stored(none, Some(death), Some(task));
    }

    /// Whether nobody refers to it, nobody waits, and nothing is there.
    pub(super) fn is_unused(&self) -> bool {
        self.presence.references == 0
            && self.items.is_empty()
            && self.getters.is_empty()
            && self.putters.is_empty()
    }

    /// Puts an item that another queue gives up.
    pub(super) fn adopt(
        &mut self,
        QueuedItem { mut code, task, .. }: QueuedItem,
        death: Option<Arc<Death>>,
    ) -> Option<QueuedItem> {
        // One that is still on its way to a client counts where it was until it has arrived.
        if let Some(item) = Arc::get_mut(&mut code) {
            item.move_to(&self.budget);
        }
        self.push_stored(code, death, task)
    }

    fn push_stored(
        &mut self,
        code: Code,
        death: Option<Arc<Death>>,
        task: Option<Arc<TaskOrigin>>,
    ) -> Option<QueuedItem> {
        let item = QueuedItem {
            code,
            deliveries: 0,
            death,
            task,
        };
        if item.is_cancelled() {
            return None;
        }
        self.unfinished += 1;
        self.put += 1;
        let delay = item.submitted().and_then(|task| task.rules.delay);
        if delay.is_some() && !self.is_reply {
            return Some(item);
        }
        self.line_up(item);
        None
    }

    /// Puts an item behind all that are to be handed out before it.
    pub(super) fn line_up(&mut self, item: QueuedItem) {
        self.note_waiting(&item);
        match self.options.order {
            QueueOrder::Fifo => self.items.push_back(item),
            QueueOrder::Lifo => self.items.push_front(item),
            QueueOrder::Priority => self.items.insert(item, Ordering::is_le),
        }
    }

    /// Puts an item back in front of all that are not to be handed out before it.
    fn push_back_in_front(&mut self, item: QueuedItem) {
        self.note_waiting(&item);
        match self.options.order {
            QueueOrder::Fifo | QueueOrder::Lifo => self.items.push_front(item),
            QueueOrder::Priority => self.items.insert(item, Ordering::is_lt),
        }
    }

    fn note_waiting(&self, item: &QueuedItem) {
        if let Some(submitted) = item.submitted().filter(|_| !self.is_reply) {
            submitted.set(TaskStage::Waiting);
        }
    }

    /// A task that waits here has been cancelled, and is done.
    pub(super) fn note_cancelled(&mut self) {
        self.items.note_cancelled();
        let _ = self.finish();
    }

    /// Refuses items that have no order among each other and with the first one that waits.
    pub(super) fn check_order(&self, items: &[NewItem]) -> Result<(), Fault> {
        if self.options.order != QueueOrder::Priority {
            return Ok(());
        }
        let first = self.items.iter().next().map(|item| &item.code[..]);
        let mut all = first.into_iter().chain(items.iter().map(|item| &item[..]));
        let first = all.next().map(Datum::of_item);
        for item in all {
            let mut refusal = None;
            if let Some(first) = &first {
                Datum::of_item(item).order(first, &mut refusal);
            }
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Takes the first items out, at most so many, for delivery.
    pub(super) fn take(&mut self, most: usize) -> Vec<QueuedItem> {
        let mut items = self.items.take(most);
        self.delivered += items.len() as u64;
        for item in &mut items {
            item.deliveries = item.deliveries.saturating_add(1);
        }
        items
    }

    /// Puts an item back in front, as if it had never been delivered.
    pub(super) fn undeliver(&mut self, delivery: Delivery) {
        self.delivered -= 1;
        self.push_back_in_front(QueuedItem {
            code: delivery.code,
            deliveries: delivery.deliveries - 1,
            death: delivery.death,
            task: delivery.task,
        });
    }

    /// Takes all items out that wait, not for delivery.
    pub(super) fn drain(&mut self) -> Vec<QueuedItem> {
        self.items.take(usize::MAX)
    }

    /// What waits here as dead letters.
    pub(super) fn letters(&self) -> impl Iterator<Item = DeadLetter> {
        self.items.iter().filter_map(|item| {
            let death = item.death.as_ref()?;
            Some(DeadLetter {
                tries: death.tries,
                reason: death.reason.clone(),
                bytes: item.code.len() as u64,
            })
        })
    }

    /// Whether items that are delivered too often go to another queue. A queue that a call made has
    /// none beside it, and a dead queue no other.
    pub(super) fn has_dead_queue(&self) -> bool {
        !self.is_made && self.options.max_deliveries < u32::MAX
    }

    /// Whether an item was delivered as often as it may be.
    pub(super) fn is_spent(&self, item: &QueuedItem) -> bool {
        let retries = item.submitted().and_then(|task| task.rules.retries);
        let most = retries.map_or(self.options.max_deliveries, |retries| {
            retries.saturating_add(1)
        });
        self.has_dead_queue() && item.deliveries >= most
    }

    /// Puts an item back in front that nobody finished. The item comes back itself if it has been
    /// delivered as often as it may be.
    pub(super) fn redeliver(&mut self, item: QueuedItem) -> Result<(), QueuedItem> {
        if self.is_spent(&item) {
            return Err(item);
        }
        self.redelivered += 1;
        self.push_back_in_front(item);
        Ok(())
    }

    /// Counts one item as done. The last one lets those go who wait in `join`.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let Some(left) = self.unfinished.checked_sub(1) else {
            let text = "task_done() called too many times";
            return Err(Fault::new("ValueError", text));
        };
        self.unfinished = left;
        if left == 0 {
            for (_, joiner) in self.joiners.drain(..) {
                // A joiner that has left needs no answer.
                let _ = joiner.send(());
            }
        }
        Ok(())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    pub(super) fn wait_to_get(&mut self, ticket: u64, consumer: Consumer) -> Waiter<Vec<Delivery>> {
        let (send, waiter) = Waiter::new(ticket);
        self.getters.push_back(Getter {
            ticket,
            since: Instant::now(),
            consumer,
            send,
        });
        waiter
    }

    pub(super) fn wait_to_put(
        &mut self,
        ticket: u64,
        connection: u64,
        items: Vec<NewItem>,
        tasks: Vec<Arc<TaskOrigin>>,
    ) -> Waiter<()> {
        let (send, waiter) = Waiter::new(ticket);
        let bytes = total_cost(&items);
        let has_room = self.budget.has_room_for(bytes);
        self.putters.push_back(Putter {
            ticket,
            since: Instant::now(),
            connection,
            items,
            tasks,
            charge: has_room.then(|| self.budget.charge(bytes)),
            send,
        });
        waiter
    }

    pub(super) fn wait_to_join(&mut self, ticket: u64) -> Waiter<()> {
        let (send, waiter) = Waiter::new(ticket);
        self.joiners.push((ticket, send));
        waiter
    }

    /// Takes a waiter out. One that is no longer there has been served.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        self.getters.retain(|getter| getter.ticket != ticket);
        self.putters.retain(|putter| putter.ticket != ticket);
        self.joiners.retain(|(joiner, _)| *joiner != ticket);
    }

    /// The getter that waits longest, if there is an item for it.
    pub(super) fn next_getter(&mut self) -> Option<Getter> {
        let has_items = !self.items.is_empty();
        self.getters.pop_front_if(|_| has_items)
    }

    /// Puts the items of the putter that waits longest, if there is room for all of them, with what
    /// a put of that connection will have `freed`. Its connection, and those of the items whose time
    /// has not come.
    pub(super) fn admit_putter(
        &mut self,
        freed: impl Fn(u64) -> u64,
    ) -> Option<(u64, Vec<QueuedItem>)> {
        let first = self.putters.front()?;
        if !self.has_place_for(first.items.len()) {
            return None;
        }
        if first.charge.is_none() {
            let bytes = total_cost(&first.items);
            let has_room = || self.budget.may_exchange(freed(first.connection), bytes);
            if !has_room() {
                self.budget.await_room();
                // Some may have become free before that, and nobody was told.
                if !has_room() {
                    return None;
                }
            }
        }
        let mut putter = self.putters.pop_front()?;
        putter.charge = None;
        let delayed = self.push(putter.items, putter.tasks);
        // Put is put: a putter that has left meanwhile finds out by its own connection.
        let _ = putter.send.send(());
        Some((putter.connection, delayed))
    }

    /// The ticket of the putter that waits longest.
    pub(super) fn first_putter(&self) -> Option<u64> {
        self.putters.front().map(|putter| putter.ticket)
    }

    /// What its items take, with those that wait to be put, in bytes.
    fn bytes(&self) -> u64 {
        let uncharged = self.putters.iter().filter(|putter| putter.charge.is_none());
        let waiting: u64 = uncharged.map(|putter| total_cost(&putter.items)).sum();
        self.budget.used() + waiting
    }

    /// `(connection, kind, since)` of those who wait for items or room.
    pub(super) fn waits(&self) -> impl Iterator<Item = (u64, &'static str, Instant)> {
        let get = |getter: &Getter| (getter.consumer.connection, "get", getter.since);
        let put = |putter: &Putter| (putter.connection, "put", putter.since);
        let putters = self.putters.iter().map(put);
        self.getters.iter().map(get).chain(putters)
    }

    /// With how many leases it has, and how old the oldest is.
    pub(super) fn status(&self, leases: Option<(u64, Duration)>) -> QueueStatus {
        let factory = match (self.is_made, self.ident.split_once(OF)) {
            (true, _) => &self.options.name,
            (_, Some((results, _))) if self.is_reply => results,
            _ => "",
        };
        QueueStatus {
            name: self.ident.to_string(),
            len: self.len() as u64,
            maxsize: self.maxsize() as u64,
            bytes: self.bytes(),
            max_bytes: self.options.max_bytes.unwrap_or(0),
            redeliver: self.options.redeliver,
            waiting: self.getters.len() as u64,
            leases: leases.map_or(0, |(count, _)| count),
            put: self.put,
            delivered: self.delivered,
            redelivered: self.redelivered,
            unfinished: self.unfinished,
            putters: self.putters.len() as u64,
            oldest_lease: leases.map(|(_, oldest)| oldest),
            factory: factory.to_string(),
        }
    }
}

fn total_cost(items: &[NewItem]) -> u64 {
    items.iter().map(|code| cost(code)).sum()
}
