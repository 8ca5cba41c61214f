//! `Namespace`, values by name, and `Value`, one value.

use std::collections::BTreeMap;

use super::call::{ObjectCall, required, text};
use super::dict::item;
use crate::server::memory::Code;
use crate::wire::pickle::Encoder;
use crate::wire::pickle::repr;
use crate::wire::protocol::{Fault, reply};

pub(super) struct SharedNamespace {
    attributes: BTreeMap<String, Code>,
}

impl SharedNamespace {
    /// A proxy of Python has its own methods for attributes. One that builds itself from this list
    /// could not look up its own if these were among them.
    pub(super) const EXPOSED: &[&str] = &[];

    /// Python's `Namespace(name=value, …)`.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedNamespace, Fault> {
        if !call.request.args().is_empty() {
            let text = "Namespace() takes keyword arguments only";
            return Err(Fault::new("TypeError", text));
        }
        let given = call.request.kwargs().iter();
        let stored =
            given.map(|(name, value)| Ok((name.to_string(), call.store_argument(*value)?)));
        Ok(SharedNamespace {
            attributes: stored.collect::<Result<_, Fault>>()?,
        })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        let missing = |name: &str| {
            let text = format!("'Namespace' object has no attribute '{name}'");
            Fault::new("AttributeError", text)
        };
        Ok(Some(match call.request.method {
            "__getattribute__" => {
                let name = call.request.text("name", call.one("name")?)?;
                item(self.attributes.get(name).ok_or_else(|| missing(name))?)
            }
            "__setattr__" => {
                let [name, value] = call.request.bind(["name", "value"], 2)?;
                let name = call.request.text("name", required(name))?;
                let value = call.store_argument(required(value))?;
                self.attributes.insert(name.to_string(), value);
                reply::none()
            }
            "__delattr__" => {
                let name = call.request.text("name", call.one("name")?)?;
                self.attributes.remove(name).ok_or_else(|| missing(name))?;
                reply::none()
            }
            "__str__" | "__repr__" => text(&self.shown()),
            "#GETVALUE" => call.reply(self.attributes.values(), |to| self.copy(to))?,
            _ => return Ok(None),
        }))
    }

    fn copy(&self, to: &mut Encoder) {
        to.instance("multiprocessing.managers", "Namespace", |to| {
            to.dict();
            for (name, value) in &self.attributes {
                to.str(name).item(value);
            }
            to.setitems();
        });
    }

    fn shown(&self) -> String {
        let mut shown = String::from("Namespace(");
        let public = self.attributes.iter();
        let public = public.filter(|(name, _)| !name.starts_with('_'));
        for (at, (name, value)) in public.enumerate() {
            shown.push_str(if at == 0 { "" } else { ", " });
            shown.push_str(name);
            shown.push('=');
            repr::write(&mut shown, value);
        }
        shown.push(')');
        shown
    }
}

pub(super) struct SharedValue {
    /// Any item, as in Python, where it is not checked.
    typecode: Code,
    value: Code,
}

impl SharedValue {
    pub(super) const EXPOSED: &[&str] = &["get", "set"];

    /// Python's `Value(typecode, value, lock=True)`. A call is a step of its own with or without a
    /// lock.
    pub(super) fn new(call: &ObjectCall) -> Result<SharedValue, Fault> {
        let [typecode, value, _lock] = call.request.bind(["typecode", "value", "lock"], 2)?;
        Ok(SharedValue {
            typecode: call.store_argument(required(typecode))?,
            value: call.store_argument(required(value))?,
        })
    }

    /// The reply, or none if there is no such method.
    pub(super) fn call(&mut self, call: &ObjectCall) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(match call.request.method {
            "get" => {
                call.none()?;
                item(&self.value)
            }
            "set" => {
                self.value = call.store_argument(call.one("value")?)?;
                reply::none()
            }
            "__str__" | "__repr__" => {
                let mut shown = String::new();
                let parts = [&self.typecode, &self.value];
                let parts = parts.iter().map(|part| &part[..]);
                repr::write_all(&mut shown, ["Value(", ")"], parts);
                text(&shown)
            }
            "#GETVALUE" => reply::value(|to| {
                to.instance("multiprocessing.managers", "Value", |to| {
                    to.dict();
                    to.str("_typecode").item(&self.typecode);
                    to.str("_value").item(&self.value);
                    to.setitems();
                });
            }),
            _ => return Ok(None),
        }))
    }
}
