//! One queue: its items, and the clients that wait for items, for room, or for the work to be done.
//!
//! It decides who is next and does not wait itself: a waiter is the sending end of a channel.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::wire::protocol::Fault;
use crate::{QueueOptions, QueueStatus};

/// The code of an item, see [`Pickle::item`](crate::wire::pickle::Pickle::item).
pub(super) type Code = Arc<[u8]>;

pub(super) struct QueuedItem {
    pub(super) code: Code,
    /// How often it was delivered.
    pub(super) deliveries: u32,
}

/// An item as a consumer is handed it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) code: Code,
    /// The lease under which the item can come back.
    pub(super) lease: Option<u64>,
    pub(super) deliveries: u32,
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

pub(super) struct Getter {
    ticket: u64,
    pub(super) consumer: Consumer,
    pub(super) send: oneshot::Sender<Vec<Delivery>>,
}

pub(super) struct Putter {
    ticket: u64,
    pub(super) connection: u64,
    items: Vec<Code>,
    send: oneshot::Sender<()>,
}

/// What a client waits on. The queue keeps the other end, under the ticket.
pub(super) struct Waiter<T> {
    pub(super) ticket: u64,
    pub(super) receive: oneshot::Receiver<T>,
}

#[derive(Default)]
pub(super) struct ItemQueue {
    pub(super) ident: Arc<str>,
    pub(super) options: QueueOptions,
    /// Made by a call, and gone with its last reference; else it has a name and stays.
    pub(super) is_made: bool,
    /// How many proxies of clients refer to it, as far as clients tell.
    pub(super) references: u64,
    items: VecDeque<QueuedItem>,
    /// Items that were put and are not done: what `join` waits for.
    unfinished: u64,
    getters: VecDeque<Getter>,
    putters: VecDeque<Putter>,
    joiners: Vec<(u64, oneshot::Sender<()>)>,
    put: u64,
    delivered: u64,
    redelivered: u64,
}

impl ItemQueue {
    pub(super) fn new(ident: Arc<str>, options: QueueOptions, is_made: bool) -> ItemQueue {
        ItemQueue {
            ident,
            options,
            is_made,
            ..ItemQueue::default()
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
        self.maxsize() > 0 && self.items.len() >= self.maxsize()
    }

    fn has_room_for(&self, count: usize) -> bool {
        self.maxsize() == 0 || self.items.len() + count <= self.maxsize()
    }

    /// Whether so many items may be put now: who waits for room is first.
    pub(super) fn may_put(&self, count: usize) -> bool {
        self.putters.is_empty() && self.has_room_for(count)
    }

    /// Whether there is an item to get now: who waits for one is first.
    pub(super) fn may_get(&self) -> bool {
        self.getters.is_empty() && !self.items.is_empty()
    }

    pub(super) fn push(&mut self, items: Vec<Code>) {
        self.unfinished += items.len() as u64;
        self.put += items.len() as u64;
        let queued = |code| QueuedItem {
            code,
            deliveries: 0,
        };
        self.items.extend(items.into_iter().map(queued));
    }

    /// Takes the first items out, at most so many, for delivery.
    pub(super) fn take(&mut self, most: usize) -> impl Iterator<Item = QueuedItem> {
        let count = most.min(self.items.len());
        self.delivered += count as u64;
        self.items.drain(..count).map(|mut item| {
            item.deliveries = item.deliveries.saturating_add(1);
            item
        })
    }

    /// Puts an item back in front, as if it had never been delivered.
    pub(super) fn undeliver(&mut self, code: Code, deliveries: u32) {
        self.delivered -= 1;
        self.items.push_front(QueuedItem {
            code,
            deliveries: deliveries - 1,
        });
    }

    /// Puts an item back in front that nobody finished. The item comes back itself if it has been
    /// delivered as often as it may be.
    pub(super) fn redeliver(&mut self, item: QueuedItem) -> Result<(), QueuedItem> {
        // A queue that a call made has no dead queue beside it.
        if !self.is_made && item.deliveries >= self.options.max_deliveries {
            return Err(item);
        }
        self.redelivered += 1;
        self.items.push_front(item);
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
        let (send, receive) = oneshot::channel();
        self.getters.push_back(Getter {
            ticket,
            consumer,
            send,
        });
        Waiter { ticket, receive }
    }

    pub(super) fn wait_to_put(
        &mut self,
        ticket: u64,
        connection: u64,
        items: Vec<Code>,
    ) -> Waiter<()> {
        let (send, receive) = oneshot::channel();
        self.putters.push_back(Putter {
            ticket,
            connection,
            items,
            send,
        });
        Waiter { ticket, receive }
    }

    pub(super) fn wait_to_join(&mut self, ticket: u64) -> Waiter<()> {
        let (send, receive) = oneshot::channel();
        self.joiners.push((ticket, send));
        Waiter { ticket, receive }
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

    /// Puts the items of the putter that waits longest, if there is room for all of them. Its
    /// connection.
    pub(super) fn admit_putter(&mut self) -> Option<u64> {
        let needed = self.putters.front()?.items.len();
        if !self.has_room_for(needed) {
            return None;
        }
        let putter = self.putters.pop_front()?;
        self.push(putter.items);
        // Put is put: a putter that has left meanwhile finds out by its own connection.
        let _ = putter.send.send(());
        Some(putter.connection)
    }

    pub(super) fn status(&self, leases: u64) -> QueueStatus {
        QueueStatus {
            name: self.ident.to_string(),
            len: self.len() as u64,
            maxsize: self.maxsize() as u64,
            redeliver: self.options.redeliver,
            waiting: self.getters.len() as u64,
            leases,
            put: self.put,
            delivered: self.delivered,
            redelivered: self.redelivered,
            unfinished: self.unfinished,
        }
    }
}
