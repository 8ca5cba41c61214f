//! `dict`: its items by their keys, in the order in which the keys came.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::call::{ObjectCall, int, required, text, truth};
use crate::server::memory::Charge;
use crate::server::memory::Code;
use crate::wire::pickle::repr;
use crate::wire::pickle::{Encoder, Span, ValueKind, to_item};
use crate::wire::protocol::{Fault, Request, reply};

/// The methods, as a proxy is told of them.
pub(super) const EXPOSED: &[&str] = &[
    "__contains__",
    "__delitem__",
    "__getitem__",
    "__iter__",
    "__len__",
    "__setitem__",
    "clear",
    "copy",
    "get",
    "has_key",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];

pub(super) struct SharedDict {
    /// Where each key has its entry.
    places: HashMap<Box<[u8]>, u64>,
    /// In the order of their arrival.
    entries: BTreeMap<u64, DictEntry>,
    last: u64,
}

struct DictEntry {
    key: Code,
    value: Code,
    /// What its place costs.
    _charge: Charge,
}

impl SharedDict {
    /// Python's `dict(…)`, with the arguments of the call that makes it.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedDict, Fault> {
        let mut dict = SharedDict {
            places: HashMap::new(),
            entries: BTreeMap::new(),
            last: 0,
        };
        dict.update(call)?;
        Ok(dict)
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        let done = |()| reply::none();
        Ok(Some(match call.request.method {
            "__contains__" | "has_key" => truth(self.entry(call, call.one("key")?)?.is_some()),
            "__getitem__" => {
                let key = call.one("key")?;
                match self.entry(call, key)? {
                    Some(entry) => item(&entry.value),
                    None => return Err(Fault::no_key(call.item(key)?)),
                }
            }
            "__setitem__" => {
                let [key, value] = call.request.bind(["key", "value"], 2)?;
                let value = call.store_argument(required(value))?;
                self.insert(call, required(key), value).map(done)?
            }
            "__delitem__" => {
                let key = call.one("key")?;
                match self.remove(call, key)? {
                    Some(_) => reply::none(),
                    None => return Err(Fault::no_key(call.item(key)?)),
                }
            }
            "get" => {
                let [key, default] = call.request.bind(["key", "default"], 1)?;
                match self.entry(call, required(key))? {
                    Some(entry) => item(&entry.value),
                    None => given_back(call, default)?,
                }
            }
            "setdefault" => self.set_default(call)?,
            "pop" => self.pop(call)?,
            "popitem" => self.pop_last()?,
            "update" => self.update(call).map(done)?,
            "clear" => {
                self.places.clear();
                self.entries.clear();
                reply::none()
            }
            "__len__" => int(self.entries.len()),
            _ => return self.whole(call),
        }))
    }

    /// The methods that tell of all items.
    fn whole(&self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        let keys = || self.entries.values().map(|entry| &entry.key);
        let values = || self.entries.values().map(|entry| &entry.value);
        Ok(Some(match call.request.method {
            "keys" => call.reply(keys(), |to| list(to, keys()))?,
            "values" => call.reply(values(), |to| list(to, values()))?,
            "items" => call.reply(keys().chain(values()), |to| {
                to.list();
                for entry in self.entries.values() {
                    to.mark().item(&entry.key).item(&entry.value).tuple();
                }
                to.appends();
            })?,
            "copy" | "#GETVALUE" => call.reply(keys().chain(values()), |to| {
                to.dict();
                for entry in self.entries.values() {
                    to.item(&entry.key).item(&entry.value);
                }
                to.setitems();
            })?,
            "__str__" | "__repr__" => text(&self.shown()),
            _ => return Ok(None),
        }))
    }

    /// Its keys as they are now, for who iterates over them.
    pub(super) fn keys(&self) -> impl Iterator<Item = Code> + '_ {
        self.entries.values().map(|entry| Code::clone(&entry.key))
    }

    fn shown(&self) -> String {
        let mut shown = String::from("{");
        for (at, entry) in self.entries.values().enumerate() {
            shown.push_str(if at == 0 { "" } else { ", " });
            repr::write(&mut shown, &entry.key);
            shown.push_str(": ");
            repr::write(&mut shown, &entry.value);
        }
        shown.push('}');
        shown
    }

    fn entry(&self, call: &ObjectCall, key: Span) -> Result<Option<&DictEntry>, Fault> {
        let place = self.places.get(&call.datum(key).key()?);
        Ok(place.and_then(|place| self.entries.get(place)))
    }

    fn insert(&mut self, call: &ObjectCall, key: Span, value: Code) -> Result<(), Fault> {
        let place = call.datum(key).key()?;
        if let Some(entry) = self
            .places
            .get(&place)
            .and_then(|place| self.entries.get_mut(place))
        {
            // The key stays as it was first written, as in Python.
            entry.value = value;
            return Ok(());
        }
        self.insert_new(call, place, call.item(key)?, value)
    }

    fn insert_new(
        &mut self,
        call: &ObjectCall,
        place: Box<[u8]>,
        key: Vec<u8>,
        value: Code,
    ) -> Result<(), Fault> {
        let entry = DictEntry {
            _charge: call.charge(place.len() as u64)?,
            key: call.store(key)?,
            value,
        };
        self.last += 1;
        self.places.insert(place, self.last);
        self.entries.insert(self.last, entry);
        Ok(())
    }

    fn remove(&mut self, call: &ObjectCall, key: Span) -> Result<Option<DictEntry>, Fault> {
        let place = self.places.remove(&call.datum(key).key()?);
        Ok(place.and_then(|place| self.entries.remove(&place)))
    }

    fn set_default(&mut self, call: &ObjectCall) -> Result<Vec<u8>, Fault> {
        let [key, default] = call.request.bind(["key", "default"], 1)?;
        let key = required(key);
        if let Some(entry) = self.entry(call, key)? {
            return Ok(item(&entry.value));
        }
        let value = match default {
            Some(default) => call.store_argument(default)?,
            None => call.store(super::call::encoded(|to| _ = to.none()))?,
        };
        let reply = item(&value);
        self.insert(call, key, value)?;
        Ok(reply)
    }

    fn pop(&mut self, call: &ObjectCall) -> Result<Vec<u8>, Fault> {
        let [key, default] = call.request.bind(["key", "default"], 1)?;
        let key = required(key);
        match (self.remove(call, key)?, default) {
            (Some(entry), _) => Ok(item(&entry.value)),
            (None, Some(_)) => given_back(call, default),
            (None, None) => Err(Fault::no_key(call.item(key)?)),
        }
    }

    fn pop_last(&mut self) -> Result<Vec<u8>, Fault> {
        let Some((_, entry)) = self.entries.pop_last() else {
            let text = "popitem(): dictionary is empty";
            return Err(Fault::new("KeyError", text));
        };
        self.places
            .remove(&super::datum::Datum::of_item(&entry.key).key()?);
        Ok(reply::value(|to| {
            to.mark().item(&entry.key).item(&entry.value).tuple();
        }))
    }

    /// Python's `update(…)`: a dict or pairs, and what has a name.
    fn update(&mut self, call: &ObjectCall) -> Result<(), Fault> {
        let given = match call.request.args() {
            [] => Vec::new(),
            [pairs] => pairs_of(call.request, *pairs)?,
            args => {
                let text = format!("expected at most 1 argument, got {}", args.len());
                return Err(Fault::new("TypeError", text));
            }
        };
        // All of them, or none.
        let values = given
            .iter()
            .map(|(key, value)| {
                call.datum(*key).key()?;
                call.store_argument(*value)
            })
            .collect::<Result<Vec<Code>, Fault>>()?;
        for ((key, _), value) in given.into_iter().zip(values) {
            self.insert(call, key, value)?;
        }
        for (name, value) in call.request.kwargs() {
            let name = to_item(name).expect("text is a pickle");
            let value = call.store_argument(*value)?;
            let place = super::datum::Datum::of_item(&name).key()?;
            match self.places.get(&place).copied() {
                Some(at) => _ = self.entries.get_mut(&at).map(|entry| entry.value = value),
                None => self.insert_new(call, place, name, value)?,
            }
        }
        Ok(())
    }
}

/// The pairs of a dict, or of a list of pairs.
fn pairs_of(request: &Request, span: Span) -> Result<Vec<(Span, Span)>, Fault> {
    let pickle = &request.pickle;
    let pair = |parts: &[Span]| match parts {
        [key, value] => Some((*key, *value)),
        _ => None,
    };
    let inside: Vec<Span> = pickle.inside(span.value).collect();
    let pairs: Option<Vec<_>> = match pickle.kind(span.value) {
        ValueKind::Dict => inside.chunks(2).map(pair).collect(),
        ValueKind::List | ValueKind::Tuple => {
            let parts = |span: &Span| pickle.inside(span.value).collect::<Vec<Span>>();
            inside.iter().map(|span| pair(&parts(span))).collect()
        }
        _ => None,
    };
    pairs.ok_or_else(|| {
        let text = "expected a dict or a list of pairs: pass dict(...) of anything else, and of a proxy its copy()";
        Fault::new("TypeError", text)
    })
}

/// The reply of an item.
pub(super) fn item(code: &[u8]) -> Vec<u8> {
    reply::value(|to| _ = to.item(code))
}

pub(super) fn list<'c>(to: &mut Encoder, items: impl Iterator<Item = &'c Code>) {
    to.list();
    items.for_each(|item| _ = to.item(item));
    to.appends();
}

/// The argument itself as the reply, which is None if there is none.
fn given_back(call: &ObjectCall, argument: Option<Span>) -> Result<Vec<u8>, Fault> {
    match argument {
        Some(argument) => Ok(item(&call.item(argument)?)),
        None => Ok(reply::none()),
    }
}

/// What `iter` of a dict gives: the keys that were there, one after the other.
pub(super) struct KeyIterator {
    keys: VecDeque<Code>,
    _charge: Charge,
}

impl KeyIterator {
    pub(super) const EXPOSED: &[&str] = &["__next__", "next", "send", "throw", "close"];

    pub(super) fn new(dict: &SharedDict, call: &ObjectCall) -> Result<KeyIterator, Fault> {
        Ok(KeyIterator {
            _charge: call.charge(16 * dict.entries.len() as u64)?,
            keys: dict.keys().collect(),
        })
    }

    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(match call.request.method {
            "__next__" | "next" => match self.keys.pop_front() {
                Some(key) => item(&key),
                None => return Err(Fault::new("StopIteration", "")),
            },
            "close" => {
                self.keys.clear();
                reply::none()
            }
            "__str__" | "__repr__" => text("<dict_keyiterator object>"),
            _ => return Ok(None),
        }))
    }
}
