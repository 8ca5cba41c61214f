//! The items of one queue that wait: a line for each priority, the most urgent first.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::item_queue::QueuedItem;
use super::objects::Datum;
use crate::Priority;

/// How many cancelled tasks stay in their lines at least, so that a line is gone through seldom.
const CANCELLED_MIN: usize = 64;

/// Items that wait. A task that is cancelled stays in its line until it is at the front, or half of
/// all that wait are such: so a cancellation costs the same however many wait.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: [VecDeque<QueuedItem>; Priority::ALL.len()],
    cancelled: usize,
}

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.stored() - self.cancelled
    }

    /// With those that are cancelled.
    fn stored(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lane(&mut self, item: &QueuedItem) -> &mut VecDeque<QueuedItem> {
        // The most urgent is the last of them, and has the first lane.
        &mut self.lanes[Priority::ALL.len() - 1 - item.priority() as usize]
    }

    pub(super) fn push_back(&mut self, item: QueuedItem) {
        self.lane(&item).push_back(item);
    }

    pub(super) fn push_front(&mut self, item: QueuedItem) {
        self.lane(&item).push_front(item);
    }

    /// Puts an item behind those of its priority that stand `before` it by their values.
    pub(super) fn insert(&mut self, item: QueuedItem, before: fn(Ordering) -> bool) {
        let lane = self.lane(&item);
        let datum = Datum::of_item(&item.code);
        let order = |other: &QueuedItem| Datum::of_item(&other.code).order(&datum, &mut None);
        let at = lane.partition_point(|other| before(order(other)));
        lane.insert(at, item);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedItem> {
        let all = self.lanes.iter().flatten();
        all.filter(|item| !item.is_cancelled())
    }

    /// Takes the first ones out, at most so many.
    pub(super) fn take(&mut self, most: usize) -> Vec<QueuedItem> {
        let mut taken = Vec::with_capacity(most.min(self.len()));
        for lane in &mut self.lanes {
            while taken.len() < most
                && let Some(item) = lane.pop_front()
            {
                match item.is_cancelled() {
                    true => self.cancelled -= 1,
                    false => taken.push(item),
                }
            }
        }
        taken
    }

    /// A task that waits here has been cancelled.
    pub(super) fn note_cancelled(&mut self) {
        self.cancelled += 1;
        if self.cancelled > CANCELLED_MIN && 2 * self.cancelled > self.stored() {
            let lanes = self.lanes.iter_mut();
            lanes.for_each(|lane| lane.retain(|item| !item.is_cancelled()));
            self.cancelled = 0;
        }
    }
}
