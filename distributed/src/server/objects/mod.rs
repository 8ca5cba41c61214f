//! The objects that clients share beside queues: the types of Python's `SyncManager`.
//!
//! An object is made under a name when the server starts, and stays, or is made by a call, and is
//! gone some time after its last proxy. Each proxy that a client opens has an ident of its own,
//! also where many point at one object: a client of Python closes the connection on which it holds
//! a lock when one of two proxies with the same ident goes away (cpython#71936).
//!
//! Values stay the pickles that they came as. Only keys, and what is compared, is read.
//!
//! - `types`: which there are.
//! - `call`: a call, its arguments and what it may store.
//! - `datum`, `repr`, `slice`: what the server reads of values, how it shows them, and indices.
//! - `dict`, `list`, `set`, `namespace`, `array`: the objects that hold values.
//! - `step`: the steps of calls that wait.
//! - `acquirer`, `event`, `condition`: locks and semaphores; events and barriers; conditions.
//! - `wait`: calls that wait, and the ends of connections.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::keeping::{KeptList, Presence};
use super::memory::{Budget, Charge, QUEUE_OVERHEAD};
use crate::random;
use crate::wire::pickle::Encoder;
use crate::wire::protocol::{Fault, Request, reply};

mod acquirer;
mod array;
mod call;
mod condition;
mod datum;
mod dict;
mod event;
mod list;
mod namespace;
mod set;
mod slice;
mod step;
mod types;
mod wait;

use acquirer::{Acquirer, AcquirerKind};
use array::SharedArray;
pub(super) use call::ObjectCall;
use condition::SharedCondition;
pub(super) use datum::Datum;
use dict::{KeyIterator, SharedDict};
use event::{SharedBarrier, SharedEvent};
use list::SharedList;
use namespace::{SharedNamespace, SharedValue};
use set::SharedSet;
pub(super) use step::{CallStep, ObjectWait};
pub use types::ObjectType;
pub(super) use types::SYNC_MANAGER;

/// The most objects that calls may have made at one time.
const MADE_MAX: usize = 65_536;

/// All objects of a server.
pub(super) struct Objects {
    /// By name, or by the ident of what a call made.
    records: BTreeMap<Arc<str>, ObjectRecord>,
    /// Those without a proxy.
    kept: KeptList,
    /// How many of the objects calls have made.
    made: usize,
    /// Which connection holds something of which lock, and since when.
    held: BTreeMap<(u64, Arc<str>), Instant>,
    budget: Arc<Budget>,
}

struct ObjectRecord {
    state: ObjectState,
    is_made: bool,
    presence: Presence,
    /// What an object costs that a client had made.
    _charge: Option<Charge>,
}

enum ObjectState {
    Dict(SharedDict),
    List(SharedList),
    Set(SharedSet),
    Namespace(SharedNamespace),
    Value(SharedValue),
    Array(SharedArray),
    Iterator(KeyIterator),
    Acquirer(Acquirer),
    Condition(SharedCondition),
    Event(SharedEvent),
    Barrier(SharedBarrier),
}

impl Objects {
    pub(super) fn new(memory: &Arc<Budget>) -> Objects {
        Objects {
            records: BTreeMap::new(),
            kept: KeptList::default(),
            made: 0,
            held: BTreeMap::new(),
            budget: Budget::within(memory, None),
        }
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Adds an object under its name.
    pub(super) fn add(&mut self, name: &str, object: ObjectType) -> Result<(), Fault> {
        // As if a client had asked for it, in the words of a request.
        let body = object.request();
        let request = Request::read(&body)?;
        let call = self.call_of(&request);
        let state = self.new_state(object, &call)?;
        let record = ObjectRecord::new(state, None);
        self.records.insert(name.into(), record);
        Ok(())
    }

    /// A call that does not wait.
    fn call_of<'c>(&self, request: &'c Request<'c>) -> ObjectCall<'c> {
        ObjectCall {
            request,
            connection: 0,
            ticket: 0,
            message_max: usize::MAX,
            answer: Cell::default(),
            holds: None,
            budget: Arc::clone(&self.budget),
        }
    }

    /// Opens the object of this name. The ident of a proxy of it, and the methods.
    pub(super) fn open(&mut self, name: &str) -> Option<(String, &'static [&'static str])> {
        let record = self.records.get_mut(name)?;
        record.presence.references += 1;
        let ident = format!("{name}#{:016x}", u64::from_ne_bytes(random::bytes()));
        Some((ident, record.state.exposed()))
    }

    /// Makes an object, as the call of a client asks for it.
    pub(super) fn make(
        &mut self,
        typeid: &str,
        object: ObjectType,
        request: &Request,
        message_max: usize,
    ) -> Result<(String, &'static [&'static str]), Fault> {
        let call = ObjectCall {
            message_max,
            ..self.call_of(request)
        };
        let state = self.new_state(object, &call)?;
        self.insert(typeid, state)
    }

    fn insert(
        &mut self,
        typeid: &str,
        state: ObjectState,
    ) -> Result<(String, &'static [&'static str]), Fault> {
        if self.made >= MADE_MAX {
            self.forget_one();
        }
        if self.made >= MADE_MAX {
            return Err(Fault::new("RuntimeError", "there are too many objects"));
        }
        if !self.budget.has_room_for(QUEUE_OVERHEAD) {
            let text = "no room for an object: what the server may store is in use";
            return Err(Fault::new("MemoryError", text));
        }
        // At random, so that an ident from before a restart is no other's after it.
        let ident = format!("{typeid}-{:016x}", u64::from_ne_bytes(random::bytes()));
        let exposed = state.exposed();
        let charge = self.budget.charge(QUEUE_OVERHEAD);
        let mut record = ObjectRecord::new(state, Some(charge));
        record.presence.references = 1;
        self.records.insert(ident.as_str().into(), record);
        self.made += 1;
        Ok((ident, exposed))
    }

    /// The name or ident of the object of this proxy. That of an object with a name says which, so
    /// a proxy from before a restart finds it too.
    pub(super) fn resolve(&self, ident: &str) -> Option<Arc<str>> {
        let name = || ident.rsplit_once('#').map(|(name, _)| name);
        let found = self.records.get_key_value(ident);
        let found = found.or_else(|| self.records.get_key_value(name()?));
        found.map(|(ident, _)| Arc::clone(ident))
    }

    fn record(&mut self, ident: &str) -> Option<&mut ObjectRecord> {
        let ident = self.resolve(ident)?;
        self.records.get_mut(&ident)
    }

    /// The methods of the object of this proxy.
    pub(super) fn methods(&mut self, ident: &str) -> Option<&'static [&'static str]> {
        Some(self.record(ident)?.state.exposed())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.records.iter().filter(|(_, record)| !record.is_made);
        named.map(|(name, _)| &**name)
    }

    /// Python's `incref`; whether there is such an object.
    pub(super) fn refer(&mut self, ident: &str) -> bool {
        let record = self.record(ident);
        record
            .map(|record| record.presence.references += 1)
            .is_some()
    }

    /// Python's `decref`, after which an object that a call made is kept for a while only. Whether
    /// there is such an object.
    pub(super) fn unrefer(&mut self, ident: &str) -> bool {
        let Some(ident) = self.resolve(ident) else {
            return false;
        };
        let Some(record) = self.records.get_mut(&ident) else {
            return false;
        };
        if record.presence.unrefer() && record.is_made {
            match record.state {
                // Nobody hands it on.
                ObjectState::Iterator(_) => self.forget(&ident),
                _ => self.kept.keep(ident, &mut record.presence),
            }
        }
        true
    }

    fn forget(&mut self, ident: &str) {
        let record = self.records.remove(ident);
        self.made -= 1;
        if let Some(ObjectState::Condition(condition)) = record.map(|record| record.state)
            && let Some(lock) = condition.other_lock()
        {
            self.unrefer(lock);
        }
    }

    /// Lets the object go that is kept longest, whose time is not over.
    fn forget_one(&mut self) {
        let records = &mut self.records;
        if let Some(ident) = self.kept.first(records, |record| &mut record.presence) {
            self.forget(&ident);
        }
    }

    /// Lets those go that are kept for long enough. When to come again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let due = |objects: &mut Objects| {
            let (kept, records) = (&mut objects.kept, &mut objects.records);
            kept.due(now, records, |record| &mut record.presence)
        };
        while let Some(ident) = due(self) {
            self.forget(&ident);
        }
        self.kept.next()
    }

    /// What keeps the object of this proxy alive, if a call made it.
    pub(super) fn hold(&mut self, ident: &str) -> Option<Arc<()>> {
        let record = self.record(ident).filter(|record| record.is_made)?;
        Some(record.presence.hold())
    }

    fn in_use(&self) -> impl Iterator<Item = (&Arc<str>, &ObjectRecord)> {
        self.records
            .iter()
            .filter(|(_, record)| record.presence.references > 0)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn number_of_objects(&self) -> usize {
        self.in_use().count()
    }

    /// Python's text: an object and its references on one line, what it is on the next.
    pub(super) fn debug_info(&self) -> impl Iterator<Item = String> {
        self.in_use().map(|(ident, record)| {
            let (references, name) = (record.presence.references, record.state.name());
            format!("  {ident}:       refcount={references}\n    <{name}>")
        })
    }

    /// Does what a call asks of an object. None if there is no such object; inside, an error is one
    /// that the method raises, and none that there is no such method.
    pub(super) fn call(
        &mut self,
        ident: &Arc<str>,
        call: &ObjectCall,
    ) -> Option<Result<Option<CallStep>, Fault>> {
        let record = self.records.get_mut(ident)?;
        let reply = match &mut record.state {
            ObjectState::Acquirer(_) | ObjectState::Condition(_) => {
                return Some(self.call_lock(ident, call));
            }
            ObjectState::Event(event) => return Some(event.call(call)),
            ObjectState::Barrier(barrier) => return Some(barrier.call(call)),
            ObjectState::Dict(dict) if call.request.method == "__iter__" => {
                let iterator = KeyIterator::new(dict, call).map(ObjectState::Iterator);
                iterator.and_then(|iterator| {
                    let (ident, exposed) = self.insert("Iterator", iterator)?;
                    Ok(Some(reply::proxy(exposed, "Iterator", &ident)))
                })
            }
            ObjectState::Dict(dict) => dict.call(call),
            ObjectState::List(list) => list.call(call),
            ObjectState::Set(set) => set.call(call),
            ObjectState::Namespace(namespace) => namespace.call(call),
            ObjectState::Value(value) => value.call(call),
            ObjectState::Array(array) => array.call(call),
            ObjectState::Iterator(iterator) => iterator.call(call),
        };
        Some(reply.map(|reply| reply.map(CallStep::Reply)))
    }

    fn new_state(&mut self, object: ObjectType, call: &ObjectCall) -> Result<ObjectState, Fault> {
        let lock = |kind| call.none().map(|()| Acquirer::new(kind, 1));
        let semaphore = |kind| Acquirer::semaphore(kind, call);
        Ok(match object {
            ObjectType::Dict => ObjectState::Dict(SharedDict::new(call)?),
            ObjectType::List => ObjectState::List(SharedList::new(call)?),
            ObjectType::Set => ObjectState::Set(SharedSet::new(call)?),
            ObjectType::Namespace => ObjectState::Namespace(SharedNamespace::new(call)?),
            ObjectType::Value => ObjectState::Value(SharedValue::new(call)?),
            ObjectType::Array(_) => ObjectState::Array(SharedArray::new(call)?),
            ObjectType::Lock => ObjectState::Acquirer(lock(AcquirerKind::Lock)?),
            ObjectType::RLock => ObjectState::Acquirer(lock(AcquirerKind::RLock)?),
            ObjectType::Semaphore(_) => ObjectState::Acquirer(semaphore(AcquirerKind::Semaphore)?),
            ObjectType::BoundedSemaphore(_) => {
                ObjectState::Acquirer(semaphore(AcquirerKind::BoundedSemaphore)?)
            }
            ObjectType::Condition => ObjectState::Condition(self.condition(call)?),
            ObjectType::Event => {
                call.none()?;
                ObjectState::Event(SharedEvent::default())
            }
            ObjectType::Barrier(_) => ObjectState::Barrier(SharedBarrier::new(call)?),
        })
    }
}

impl ObjectRecord {
    /// An object that a call made has a charge.
    fn new(state: ObjectState, charge: Option<Charge>) -> ObjectRecord {
        ObjectRecord {
            state,
            is_made: charge.is_some(),
            presence: Presence::new(),
            _charge: charge,
        }
    }
}

impl ObjectState {
    fn exposed(&self) -> &'static [&'static str] {
        match self {
            ObjectState::Dict(_) => dict::EXPOSED,
            ObjectState::List(_) => list::EXPOSED,
            ObjectState::Set(_) => set::EXPOSED,
            ObjectState::Namespace(_) => SharedNamespace::EXPOSED,
            ObjectState::Value(_) => SharedValue::EXPOSED,
            ObjectState::Array(_) => array::EXPOSED,
            ObjectState::Iterator(_) => KeyIterator::EXPOSED,
            ObjectState::Acquirer(_) => acquirer::EXPOSED,
            ObjectState::Condition(_) => SharedCondition::EXPOSED,
            ObjectState::Event(_) => SharedEvent::EXPOSED,
            ObjectState::Barrier(_) => SharedBarrier::EXPOSED,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            ObjectState::Dict(_) => "dict",
            ObjectState::List(_) => "list",
            ObjectState::Set(_) => "set",
            ObjectState::Namespace(_) => "Namespace",
            ObjectState::Value(_) => "Value",
            ObjectState::Array(_) => "Array",
            ObjectState::Iterator(_) => "iterator of a dict",
            ObjectState::Acquirer(acquirer) => acquirer.name(),
            ObjectState::Condition(_) => "Condition",
            ObjectState::Event(_) => "Event",
            ObjectState::Barrier(_) => "Barrier",
        }
    }
}

impl ObjectType {
    /// The request that makes one.
    fn request(self) -> Vec<u8> {
        let mut to = Encoder::after(0);
        to.mark().none().str("create").mark();
        match self {
            ObjectType::Value => _ = to.str("i").int(0),
            ObjectType::Array(len) => {
                to.str("q").list();
                (0..len).for_each(|_| _ = to.int(0));
                to.appends();
            }
            ObjectType::Semaphore(number)
            | ObjectType::BoundedSemaphore(number)
            | ObjectType::Barrier(number) => _ = to.int(number.into()),
            _ => {}
        }
        to.tuple().dict().setitems().tuple();
        to.finish()
    }
}
