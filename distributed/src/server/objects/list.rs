//! `list`.

use std::collections::VecDeque;

use super::call::{ObjectCall, int, required, text, truth};
use super::datum::Datum;
use super::dict::{item, list};
use super::slice::{SliceRange, Subscript, index, place};
use crate::server::memory::Code;
use crate::wire::pickle::Span;
use crate::wire::pickle::repr;
use crate::wire::protocol::{Fault, reply};

/// The methods, as a proxy is told of them.
pub(super) const EXPOSED: &[&str] = &[
    "__add__",
    "__contains__",
    "__delitem__",
    "__delslice__",
    "__getitem__",
    "__getslice__",
    "__imul__",
    "__len__",
    "__mul__",
    "__reversed__",
    "__rmul__",
    "__setitem__",
    "__setslice__",
    "append",
    "clear",
    "copy",
    "count",
    "extend",
    "index",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
];

pub(super) struct SharedList {
    /// Either end may be the one that much happens at.
    items: VecDeque<Code>,
}

impl SharedList {
    /// Python's `list(…)`.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedList, Fault> {
        let [elements] = call.request.bind(["iterable"], 0)?;
        let items = match elements {
            Some(elements) => call.elements(elements)?.into(),
            None => VecDeque::new(),
        };
        Ok(SharedList { items })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        match call.request.method {
            "append" => self
                .items
                .push_back(call.store_argument(call.one("object")?)?),
            "extend" | "__iadd__" => self.items.extend(call.elements(call.one("iterable")?)?),
            "insert" => {
                let [at, value] = call.request.bind(["index", "object"], 2)?;
                let at =
                    SliceRange::new(Some(index(call, required(at))?), None, 1, self.items.len());
                let value = call.store_argument(required(value))?;
                self.items.insert(at.start, value);
            }
            "remove" => {
                let at = self.position(call, call.one("value")?, 0..self.items.len())?;
                let missing = || Fault::new("ValueError", "list.remove(x): x not in list");
                self.items.remove(at.ok_or_else(missing)?);
            }
            "clear" => self.items.clear(),
            "reverse" => self.items.make_contiguous().reverse(),
            "sort" => self.sort(call)?,
            "__imul__" => {
                let (times, bytes) = self.times(call)?;
                let places = (256 * self.items.len() as u64).saturating_mul(times);
                // Room is asked for at once: each copy counts as one that a client sends.
                drop(call.charge(bytes.saturating_add(places))?);
                let copy = |item: &Code| Code::new(item.copied(&call.budget));
                let all = (0..times).flat_map(|_| self.items.iter());
                self.items = all.map(copy).collect();
            }
            "__setitem__" => {
                let [at, value] = call.request.bind(["key", "value"], 2)?;
                self.set(call, Subscript::read(call, required(at))?, required(value))?;
            }
            "__setslice__" => {
                let (slice, value) = Subscript::of_python_2(call)?;
                let missing = || Fault::new("TypeError", "a value is required");
                self.set(call, slice, value.ok_or_else(missing)?)?;
            }
            "__delitem__" => {
                let at = Subscript::read(call, call.one("key")?)?;
                self.delete(at)?;
            }
            "__delslice__" => self.delete(Subscript::of_python_2(call)?.0)?,
            _ => return self.read(call),
        }
        Ok(Some(reply::none()))
    }

    /// The methods that answer with something.
    fn read(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(match call.request.method {
            "__len__" => int(self.items.len()),
            "__getitem__" => match Subscript::read(call, call.one("key")?)? {
                Subscript::Index(at) => {
                    item(&self.items[place(at, self.items.len(), "list index")?])
                }
                slice => self.slice(call, slice)?,
            },
            "__getslice__" => self.slice(call, Subscript::of_python_2(call)?.0)?,
            "pop" => {
                let [at] = call.request.bind(["index"], 0)?;
                let at = at.map_or(Ok(-1), |at| index(call, at))?;
                if self.items.is_empty() {
                    return Err(Fault::new("IndexError", "pop from empty list"));
                }
                let at = place(at, self.items.len(), "pop index")?;
                item(&self.items.remove(at).expect("it is below the length"))
            }
            "__contains__" => {
                let at = self.position(call, call.one("value")?, 0..self.items.len())?;
                truth(at.is_some())
            }
            "index" => self.index(call)?,
            "count" => int(self.count(call)?),
            "copy" | "#GETVALUE" => call.reply(self.items.iter(), |to| {
                list(to, self.items.iter());
            })?,
            "__add__" => {
                let others = call.elements(call.one("value")?)?;
                let all = || self.items.iter().chain(&others);
                call.reply(all(), |to| list(to, all()))?
            }
            "__mul__" | "__rmul__" => {
                let (times, bytes) = self.times(call)?;
                let all = || (0..times).flat_map(|_| self.items.iter());
                call.reply_of(bytes, |to| list(to, all()))?
            }
            "__reversed__" => call.reply(self.items.iter(), |to| {
                to.call("__builtin__", "reversed", |to| list(to, self.items.iter()));
            })?,
            "__str__" | "__repr__" => {
                let mut shown = String::new();
                let codes = self.items.iter().map(|item| &item[..]);
                repr::write_all(&mut shown, ["[", "]"], codes);
                text(&shown)
            }
            _ => return Ok(None),
        }))
    }

    fn slice(&self, call: &ObjectCall, slice: Subscript) -> Result<Vec<u8>, Fault> {
        let places = self.places(slice)?;
        let items = || places.iter().map(|at| &self.items[at]);
        call.reply(items(), |to| list(to, items()))
    }

    fn places(&self, slice: Subscript) -> Result<SliceRange, Fault> {
        let len = self.items.len();
        match slice {
            Subscript::Slice { start, stop, step } => Ok(SliceRange::new(start, stop, step, len)),
            Subscript::Index(at) => {
                let at = place(at, len, "list assignment index")? as i64;
                Ok(SliceRange::new(Some(at), Some(at + 1), 1, len))
            }
        }
    }

    fn set(&mut self, call: &ObjectCall, at: Subscript, value: Span) -> Result<(), Fault> {
        let is_index = matches!(at, Subscript::Index(_));
        let places = self.places(at)?;
        if is_index {
            self.items[places.start] = call.store_argument(value)?;
            return Ok(());
        }
        let values = call.elements(value)?;
        if places.is_plain() {
            let mut after = self.items.split_off(places.start);
            after.drain(..places.count);
            self.items.extend(values);
            self.items.append(&mut after);
            return Ok(());
        }
        places.check_size(values.len())?;
        for (at, value) in places.iter().zip(values) {
            self.items[at] = value;
        }
        Ok(())
    }

    fn delete(&mut self, at: Subscript) -> Result<(), Fault> {
        let mut gone: Vec<usize> = self.places(at)?.iter().collect();
        if let [at] = gone[..] {
            self.items.remove(at);
            return Ok(());
        }
        gone.sort_unstable();
        let mut gone = gone.into_iter().peekable();
        let mut at = 0;
        self.items.retain(|_| {
            let stays = gone.next_if_eq(&at).is_none();
            at += 1;
            stays
        });
        Ok(())
    }

    /// How often its items are wanted, and how many bytes they are then.
    fn times(&self, call: &ObjectCall) -> Result<(u64, u64), Fault> {
        let times = call.request.int("value", call.one("value")?)?;
        let times = match self.items.is_empty() {
            true => 0,
            false => u64::try_from(times).unwrap_or(0),
        };
        let bytes: u64 = self.items.iter().map(|item| item.len() as u64).sum();
        Ok((times, bytes.saturating_mul(times)))
    }

    /// The first place of a value.
    fn position(
        &self,
        call: &ObjectCall,
        value: Span,
        places: std::ops::Range<usize>,
    ) -> Result<Option<usize>, Fault> {
        let value = call.datum(value);
        for at in places {
            if Datum::of_item(&self.items[at]).equals(&value)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn index(&self, call: &ObjectCall) -> Result<Vec<u8>, Fault> {
        let [value, start, stop] = call.request.bind(["value", "start", "stop"], 1)?;
        let value = required(value);
        let bound = |arg: Option<Span>| arg.map(|arg| index(call, arg)).transpose();
        let places = SliceRange::new(bound(start)?, bound(stop)?, 1, self.items.len());
        let places = places.start..places.start + places.count;
        match self.position(call, value, places)? {
            Some(at) => Ok(int(at)),
            None => {
                let mut shown = String::new();
                repr::write(&mut shown, &call.item(value)?);
                Err(Fault::new("ValueError", format!("{shown} is not in list")))
            }
        }
    }

    fn count(&self, call: &ObjectCall) -> Result<usize, Fault> {
        let value = call.datum(call.one("value")?);
        let mut count = 0;
        for item in &self.items {
            count += usize::from(Datum::of_item(item).equals(&value)?);
        }
        Ok(count)
    }

    /// Python's `sort`, with `reverse` and without a `key`, which would be code to run.
    fn sort(&mut self, call: &ObjectCall) -> Result<(), Fault> {
        let [key, reverse] = call.request.bind(["key", "reverse"], 0)?;
        if key.is_some_and(|key| !matches!(call.datum(key), Datum::None)) {
            let text = "the server runs no code: sort(key=...) is for a list of the client's own";
            return Err(Fault::new("TypeError", text));
        }
        let is_reverse = call.request.truth(reverse, false);
        let items = self.items.make_contiguous();
        let data: Vec<Datum> = items.iter().map(|item| Datum::of_item(item)).collect();
        let mut order: Vec<usize> = (0..data.len()).collect();
        let mut refusal = None;
        order.sort_by(|at, other| {
            let (at, other) = (&data[*at], &data[*other]);
            match is_reverse {
                // Equal ones keep their order in either direction.
                true => other.order(at, &mut refusal),
                false => at.order(other, &mut refusal),
            }
        });
        match refusal {
            Some(fault) => Err(fault),
            None => {
                let sorted = order
                    .into_iter()
                    .map(|at| Code::clone(&items[at]))
                    .collect();
                self.items = sorted;
                Ok(())
            }
        }
    }
}
