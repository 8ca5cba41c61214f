//! A call of an object: its arguments as the methods take them, and what it may store.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::datum::Datum;
use crate::server::keeping::Holds;
use crate::server::memory::Code;
use crate::server::memory::{Budget, Charge, NewItem, StoredItem, cost};
use crate::server::waiter::duration;
use crate::wire::pickle::{Encoder, Span, ValueKind};
use crate::wire::protocol::{Fault, Request, reply};

/// The most elements that a call makes of a few bytes, as of a `range`.
const ELEMENTS_MAX: usize = 1 << 20;

/// The most bytes that a short call makes of values that its elements share: everybody waits meanwhile.
const COPIES_MAX: usize = 64 << 20;

/// The longest answer that costs its client nothing.
const FREE_ANSWER: u64 = 1 << 20;

/// A call of one object, under the lock of the queues.
pub(in crate::server) struct ObjectCall<'c> {
    pub(in crate::server) request: &'c Request<'c>,
    pub(in crate::server) connection: u64,
    /// A number that nothing else has, for a call that has to wait.
    pub(in crate::server) ticket: u64,
    /// The most bytes that the items of a message may take, either way.
    pub(in crate::server) message_max: usize,
    /// What a long answer costs until it is sent.
    pub(in crate::server) answer: Cell<Option<Charge>>,
    /// What the arguments have proxies of.
    pub(in crate::server) holds: Holds,
    pub(in crate::server) budget: Arc<Budget>,
}

impl ObjectCall<'_> {
    /// The method that takes no arguments.
    pub(super) fn none(&self) -> Result<(), Fault> {
        self.request.bind([], 0).map(|[]| ())
    }

    /// The method that takes one argument.
    pub(super) fn one(&self, name: &str) -> Result<Span, Fault> {
        self.request.bind([name], 1).map(|[arg]| required(arg))
    }

    pub(super) fn datum(&self, span: Span) -> Datum<'_> {
        Datum::of(&self.request.pickle, span.value)
    }

    pub(super) fn item(&self, span: Span) -> Result<Vec<u8>, Fault> {
        Ok(self.request.pickle.item(span, self.message_max)?)
    }

    /// An item in the budget of what is stored.
    pub(super) fn store(&self, code: Vec<u8>) -> Result<Code, Fault> {
        self.check_room(cost(&code))?;
        let mut item = NewItem::from(code);
        item.holds.clone_from(&self.holds);
        Ok(Arc::new(StoredItem::new(item, &self.budget)))
    }

    pub(super) fn store_argument(&self, span: Span) -> Result<Code, Fault> {
        self.store(self.item(span)?)
    }

    /// Counts bytes that are stored beside an item.
    pub(super) fn charge(&self, bytes: u64) -> Result<Charge, Fault> {
        self.check_room(bytes)?;
        Ok(self.budget.charge(bytes))
    }

    fn check_room(&self, bytes: u64) -> Result<(), Fault> {
        if self.budget.has_room_for(bytes) {
            return Ok(());
        }
        let limit = self.budget.limit();
        let text = format!(
            "no room for {bytes} bytes: the objects of the server may store {limit} bytes \
             (max_memory of the server, --max-memory)"
        );
        Err(Fault::new("MemoryError", text))
    }

    /// The elements of what Python iterates over, as items. All of them, or none.
    pub(super) fn elements(&self, span: Span) -> Result<Vec<Code>, Fault> {
        let codes = self.element_codes(span)?;
        codes.into_iter().map(|code| self.store(code)).collect()
    }

    fn element_codes(&self, span: Span) -> Result<Vec<Vec<u8>>, Fault> {
        let pickle = &self.request.pickle;
        let kind = pickle.kind(span.value);
        let step = match kind {
            ValueKind::List | ValueKind::Tuple | ValueKind::Set | ValueKind::FrozenSet => 1,
            // Its keys.
            ValueKind::Dict => 2,
            ValueKind::Str | ValueKind::ByteStr => {
                let text = self.request.text("text", span)?;
                let letter = |c: char| encoded(|to| _ = to.str(c.encode_utf8(&mut [0; 4])));
                return Ok(text.chars().map(letter).collect());
            }
            ValueKind::Object => return self.range(span),
            _ => return Err(not_iterable()),
        };
        // A value that many elements share is copied to each, and every copy counts.
        let copies = pickle.len().saturating_mul(4).max(COPIES_MAX);
        let mut left = copies.min(self.message_max);
        let mut codes = Vec::new();
        for element in pickle.inside(span.value).step_by(step) {
            let code = pickle.item(element, left)?;
            left = left.saturating_sub(code.len());
            codes.push(code);
        }
        Ok(codes)
    }

    /// The numbers of a `range` or `xrange`, and the elements of a `set` as Python 2 writes it.
    fn range(&self, span: Span) -> Result<Vec<Vec<u8>>, Fault> {
        let pickle = &self.request.pickle;
        let ((module, name), arguments) = pickle.instance(span.value).ok_or_else(not_iterable)?;
        let arguments: Vec<Span> = pickle.inside(arguments).collect();
        match (module, name, arguments.as_slice()) {
            ("builtins" | "__builtin__", "set" | "frozenset", [list]) => self.element_codes(*list),
            ("builtins" | "__builtin__", "range" | "xrange", [start, stop, step]) => {
                let [start, stop, step] = [("start", start), ("stop", stop), ("step", step)]
                    .map(|(name, span)| self.request.int(name, *span));
                let (start, stop, step) = (start?, stop?, step?);
                let more = |at: &i64| if step > 0 { *at < stop } else { *at > stop };
                let next = |at: &i64| at.checked_add(step);
                let numbers = std::iter::successors(Some(start), next).take_while(more);
                let numbers: Vec<i64> = numbers.take(ELEMENTS_MAX + 1).collect();
                if numbers.len() > ELEMENTS_MAX {
                    let text = format!("a range of more than {ELEMENTS_MAX} numbers");
                    return Err(Fault::new("ValueError", text));
                }
                let code = |number: i64| encoded(|to| _ = to.int(number.into()));
                Ok(numbers.into_iter().map(code).collect())
            }
            _ => Err(not_iterable()),
        }
    }

    /// How long a call may wait by an argument of which a number below 0 means no time.
    pub(super) fn wait_time(&self, arg: Option<Span>) -> Result<Option<Duration>, Fault> {
        let seconds = self.signed_seconds(arg)?;
        Ok(seconds.and_then(|seconds| duration(seconds.max(0.0))))
    }

    /// A number of seconds, which may be below 0, or none.
    pub(super) fn signed_seconds(&self, arg: Option<Span>) -> Result<Option<f64>, Fault> {
        match arg.map(|arg| self.datum(arg)) {
            Some(Datum::Int(seconds)) => Ok(Some(seconds as f64)),
            Some(Datum::Float(seconds)) => Ok(Some(seconds)),
            _ => self.request.seconds(arg),
        }
    }

    /// A reply of items, unless it would be over the limit of a message.
    pub(super) fn reply<'i>(
        &self,
        items: impl Iterator<Item = &'i Code>,
        write: impl FnOnce(&mut Encoder),
    ) -> Result<Vec<u8>, Fault> {
        self.reply_of(items.map(|item| item.len() as u64).sum(), write)
    }

    /// As [`reply`](ObjectCall::reply), of items of so many bytes. A long one counts, like what is
    /// stored, until it is sent: its reader may be slow.
    pub(super) fn reply_of(
        &self,
        bytes: u64,
        write: impl FnOnce(&mut Encoder),
    ) -> Result<Vec<u8>, Fault> {
        let limit = self.message_max;
        if bytes > limit as u64 {
            let text = format!(
                "the answer would take {bytes} bytes, over the limit of {limit} for a message, which \
                 max_message and max_memory of the server set (--max-message and --max-memory): ask \
                 for a part of it"
            );
            return Err(Fault::new("ValueError", text));
        }
        if bytes > FREE_ANSWER {
            self.answer.set(Some(self.charge(bytes)?));
        }
        Ok(reply::value(write))
    }
}

/// An item that the server writes itself.
pub(super) fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut code = Encoder::after(0);
    write(&mut code);
    let mut code = code.finish();
    code.pop();
    code
}

pub(super) fn required(arg: Option<Span>) -> Span {
    arg.expect("bind has seen to it that a required argument is there")
}

fn not_iterable() -> Fault {
    let text = "the server iterates over list, tuple, set, dict, str and range: pass one of them, \
                as list(...) makes it";
    Fault::new("TypeError", text)
}

/// The reply of a number.
pub(super) fn int(number: usize) -> Vec<u8> {
    reply::value(|to| _ = to.int(number as i128))
}

pub(super) fn truth(truth: bool) -> Vec<u8> {
    reply::value(|to| _ = to.bool(truth))
}

pub(super) fn text(text: &str) -> Vec<u8> {
    reply::value(|to| _ = to.str(text))
}
