//! Which items a queue has handed out, to hand none out twice.

use std::collections::{HashSet, VecDeque};

/// How many items are remembered.
const SEEN_MAX: usize = 1 << 20;

/// The keys of what was handed out and is done, as far as they are remembered.
#[derive(Default)]
pub(super) struct Seen {
    keys: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    pub(super) fn has(&self, key: u128) -> bool {
        self.keys.contains(&key)
    }

    pub(super) fn insert(&mut self, key: u128) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}
