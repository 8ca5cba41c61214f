//! `set`, with the methods that a proxy of CPython 3.15 has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{ObjectCall, int, text, truth};
use super::datum::Datum;
use super::dict::{item, list};
use crate::server::memory::{Charge, Code};
use crate::wire::pickle::Span;
use crate::wire::pickle::repr;
use crate::wire::protocol::{Fault, reply};

/// The methods, as a proxy is told of them.
pub(super) const EXPOSED: &[&str] = &[
    "__and__",
    "__contains__",
    "__ge__",
    "__gt__",
    "__iand__",
    "__ior__",
    "__isub__",
    "__iter__",
    "__ixor__",
    "__le__",
    "__len__",
    "__lt__",
    "__or__",
    "__rand__",
    "__ror__",
    "__rsub__",
    "__rxor__",
    "__sub__",
    "__xor__",
    "add",
    "clear",
    "copy",
    "difference",
    "difference_update",
    "discard",
    "intersection",
    "intersection_update",
    "isdisjoint",
    "issubset",
    "issuperset",
    "pop",
    "remove",
    "symmetric_difference",
    "symmetric_difference_update",
    "union",
    "update",
];

/// Elements by what makes them equal.
type Elements = BTreeMap<Box<[u8]>, Arc<SetElement>>;

pub(super) struct SharedSet {
    elements: Elements,
}

struct SetElement {
    code: Code,
    /// What its place costs.
    _charge: Charge,
}

/// What two sets make.
#[derive(Clone, Copy)]
enum Combination {
    Union,
    Intersection,
    Difference,
    SymmetricDifference,
}

/// How a method combines the set with its argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// `a & b`, where `a` is the set.
    Left,
    /// `b & a`
    Right,
    /// `a &= b`
    InPlace,
}

impl SharedSet {
    /// Python's `set(…)`.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedSet, Fault> {
        let [elements] = call.request.bind(["iterable"], 0)?;
        let elements = match elements {
            Some(elements) => elements_of(call, elements)?,
            None => Elements::new(),
        };
        Ok(SharedSet { elements })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(match call.request.method {
            "__contains__" => truth(self.elements.contains_key(&key(call)?)),
            "__len__" => int(self.elements.len()),
            "add" => {
                let place = key(call)?;
                if !self.elements.contains_key(&place) {
                    let code = call.store_argument(call.one("element")?)?;
                    self.elements
                        .insert(place.clone(), element(call, &place, code)?);
                }
                reply::none()
            }
            "discard" => {
                self.elements.remove(&key(call)?);
                reply::none()
            }
            "remove" => match self.elements.remove(&key(call)?) {
                Some(_) => reply::none(),
                None => return Err(Fault::no_key(call.item(call.one("element")?)?)),
            },
            "pop" => {
                call.none()?;
                let missing = || Fault::new("KeyError", "pop from an empty set");
                let (_, element) = self.elements.pop_first().ok_or_else(missing)?;
                item(&element.code)
            }
            "clear" => {
                call.none()?;
                self.elements.clear();
                reply::none()
            }
            "copy" | "#GETVALUE" => set(call, "set", &self.elements)?,
            // As Python sends an iterator: the elements that are there, and what goes through them.
            "__iter__" => call.reply(codes(&self.elements), |to| {
                to.call("__builtin__", "iter", |to| list(to, codes(&self.elements)));
            })?,
            "__str__" | "__repr__" => text(&self.shown()),
            _ => return self.combine(call),
        }))
    }

    fn shown(&self) -> String {
        if self.elements.is_empty() {
            return "set()".into();
        }
        let mut shown = String::new();
        let codes = codes(&self.elements).map(|code| &code[..]);
        repr::write_all(&mut shown, ["{", "}"], codes);
        shown
    }

    /// The methods that take other sets.
    fn combine(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        let method = call.request.method;
        if let Some((combination, operator)) = operator(method) {
            return self.operate(call, combination, operator).map(Some);
        }
        let combination = match method.strip_suffix("_update").unwrap_or(method) {
            "union" | "update" => Combination::Union,
            "intersection" => Combination::Intersection,
            "difference" => Combination::Difference,
            "symmetric_difference" => {
                call.one("other")?;
                Combination::SymmetricDifference
            }
            _ => return self.compare(call),
        };
        if let Some((name, _)) = call.request.kwargs().first() {
            let text = format!("set.{method}() takes no keyword arguments, and there is '{name}'");
            return Err(Fault::new("TypeError", text));
        }
        // All of them, or none.
        let others = call.request.args().iter();
        let others = others.map(|other| elements_of(call, *other));
        let others = others.collect::<Result<Vec<Elements>, Fault>>()?;
        if method.ends_with("update") {
            others
                .into_iter()
                .for_each(|other| combination.apply(&mut self.elements, other));
            return Ok(Some(reply::none()));
        }
        let mut result = self.elements.clone();
        others
            .into_iter()
            .for_each(|other| combination.apply(&mut result, other));
        set(call, "set", &result).map(Some)
    }

    /// `a & b` and the like, which Python has of sets only, and whose result is what the left one is.
    fn operate(
        &mut self,
        call: &ObjectCall,
        combination: Combination,
        operator: Operator,
    ) -> Result<Vec<u8>, Fault> {
        let other = call.one("value")?;
        let Some(class) = set_class(call, other) else {
            return Ok(not_implemented());
        };
        let mut left = self.elements.clone();
        let mut right = elements_of(call, other)?;
        let mut result_class = "set";
        if operator == Operator::Right {
            std::mem::swap(&mut left, &mut right);
            result_class = class;
        }
        combination.apply(&mut left, right);
        let reply = set(call, result_class, &left)?;
        if operator == Operator::InPlace {
            self.elements = left;
        }
        Ok(reply)
    }

    fn compare(&self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        let method = call.request.method;
        let of_sets = matches!(method, "__ge__" | "__gt__" | "__le__" | "__lt__");
        if !of_sets && !matches!(method, "isdisjoint" | "issubset" | "issuperset") {
            return Ok(None);
        }
        let other = call.one("other")?;
        if of_sets && set_class(call, other).is_none() {
            return Ok(Some(not_implemented()));
        }
        let other = elements_of(call, other)?;
        let is_inside = |some: &Elements, all: &Elements| {
            some.len() <= all.len() && some.keys().all(|key| all.contains_key(key))
        };
        let is_longer = self.elements.len() > other.len();
        let is_shorter = self.elements.len() < other.len();
        Ok(Some(truth(match method {
            "issubset" | "__le__" => is_inside(&self.elements, &other),
            "issuperset" | "__ge__" => is_inside(&other, &self.elements),
            "__lt__" => is_shorter && is_inside(&self.elements, &other),
            "__gt__" => is_longer && is_inside(&other, &self.elements),
            _ => !other.keys().any(|key| self.elements.contains_key(key)),
        })))
    }
}

impl Combination {
    /// Makes of `elements` what it and another make.
    fn apply(self, elements: &mut Elements, other: Elements) {
        match self {
            Combination::Union => {
                for (key, element) in other {
                    elements.entry(key).or_insert(element);
                }
            }
            Combination::Intersection => elements.retain(|key, _| other.contains_key(key)),
            Combination::Difference => {
                for key in other.keys() {
                    elements.remove(key);
                }
            }
            Combination::SymmetricDifference => {
                for (key, element) in other {
                    if elements.remove(&key).is_none() {
                        elements.insert(key, element);
                    }
                }
            }
        }
    }
}

/// What a method such as `__rand__` does.
fn operator(method: &str) -> Option<(Combination, Operator)> {
    let name = method.strip_prefix("__")?.strip_suffix("__")?;
    let combination = |name| match name {
        "and" => Some(Combination::Intersection),
        "or" => Some(Combination::Union),
        "sub" => Some(Combination::Difference),
        "xor" => Some(Combination::SymmetricDifference),
        _ => None,
    };
    let (left, rest) = (combination(name), name.get(1..).and_then(combination));
    let operator = match name.as_bytes().first()? {
        _ if left.is_some() => Operator::Left,
        b'r' => Operator::Right,
        b'i' => Operator::InPlace,
        _ => return None,
    };
    Some((left.or(rest)?, operator))
}

/// The class of an argument that is a set or a frozenset, in each of the ways that Python writes it.
fn set_class(call: &ObjectCall, span: Span) -> Option<&'static str> {
    let set = call.request.pickle.set(span.value);
    set.map(|(name, _)| name)
}

/// What makes the argument equal to others.
fn key(call: &ObjectCall) -> Result<Box<[u8]>, Fault> {
    call.datum(call.one("element")?).key()
}

/// What Python iterates over, each element once: the first of those that are equal.
fn elements_of(call: &ObjectCall, span: Span) -> Result<Elements, Fault> {
    let mut elements = Elements::new();
    for code in call.elements(span)? {
        let key = Datum::of_item(&code).key()?;
        if !elements.contains_key(&key) {
            elements.insert(key.clone(), element(call, &key, code)?);
        }
    }
    Ok(elements)
}

fn element(call: &ObjectCall, key: &[u8], code: Code) -> Result<Arc<SetElement>, Fault> {
    let _charge = call.charge(key.len() as u64)?;
    Ok(Arc::new(SetElement { code, _charge }))
}

fn codes(elements: &Elements) -> impl Iterator<Item = &Code> {
    elements.values().map(|element| &element.code)
}

/// The reply of a set of this class, in a form that every Python reads.
fn set(call: &ObjectCall, class: &str, elements: &Elements) -> Result<Vec<u8>, Fault> {
    call.reply(codes(elements), |to| {
        to.call("__builtin__", class, |to| list(to, codes(elements)));
    })
}

/// What a method says that has no answer for such an argument: Python then asks the other side.
fn not_implemented() -> Vec<u8> {
    reply::value(|to| _ = to.global("__builtin__", "NotImplemented"))
}
