//! The span of each item, from when it was put until it is done, for whoever subscribes to
//! [`ITEM_SPANS`](crate::ITEM_SPANS) at the level of debug. Where nobody does, none is made.

use tracing::{Span, debug, debug_span, field};

use super::item_queue::TaskOrigin;
use super::memory::StoredItem;
use crate::ITEM_SPANS;

/// The span of an item that is put into a queue: a task or a result of the one named, or neither.
pub(super) fn begin(queue: &str, task: Option<&TaskOrigin>, bytes: usize) -> Option<Box<Span>> {
    let span = debug_span!(
        target: ITEM_SPANS, parent: None, "item", queue, bytes, task = field::Empty,
    );
    if span.is_disabled() {
        return None;
    }
    if let Some(task) = task {
        span.record("task", task.id.as_str());
    }
    Some(Box::new(span))
}

/// A consumer is handed the item for so many times.
pub(super) fn handed_out(item: &StoredItem, client: Option<&str>, deliveries: u32) {
    if let Some(span) = &item.span {
        debug!(target: ITEM_SPANS, parent: &**span, client, deliveries, "handed out");
    }
}

/// The item comes back, for the reason that its worker gave, if any.
pub(super) fn given_back(item: &StoredItem, reason: Option<&str>) {
    if let Some(span) = &item.span {
        debug!(target: ITEM_SPANS, parent: &**span, reason, "given back");
    }
}

/// The item becomes a dead letter.
pub(super) fn died(item: &StoredItem, reason: &str) {
    if let Some(span) = &item.span {
        debug!(target: ITEM_SPANS, parent: &**span, reason, "dead letter");
    }
}
