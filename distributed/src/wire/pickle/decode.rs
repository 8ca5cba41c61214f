//! A stack machine that reads a pickle as data: it keeps what was built, and runs nothing.
//!
//! Nothing in it recurses. Values stay in the pickle's bytes, and containers are entries of one
//! table, so nesting costs no stack and a value that contains itself is no cycle of owners.

use super::opcode::*;
use super::{Compound, Edit, Group, Malformed, Memo, Pickle, Span, Value, ValueKind};

/// The most opcodes of one message. It bounds what a message can cost in memory, whatever it says.
const OPS_MAX: usize = 8 << 20;
/// How far ahead of the ones before a memo index may be. Python counts them up by one.
const MEMO_GAP_MAX: usize = 256;

impl<'a> Pickle<'a> {
    /// Reads `bytes`, which must be one pickle and no more.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Pickle<'a>, Malformed> {
        Pickle::read_until(bytes, true)
    }

    /// Reads an item, as [`item`](Pickle::item) takes it out: a pickle without its end.
    pub(crate) fn read_item(code: &'a [u8]) -> Result<Pickle<'a>, Malformed> {
        Pickle::read_until(code, false)
    }

    fn read_until(bytes: &'a [u8], has_end: bool) -> Result<Pickle<'a>, Malformed> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Malformed::at(0, "it is over 4 GiB"));
        }
        let mut unpickler = Unpickler::new(bytes);
        let mut at = 0;
        for _ in 0..OPS_MAX {
            if !has_end && at == bytes.len() {
                return unpickler.stop(at);
            }
            let op = Op::read(bytes, at)?;
            unpickler.at = at as u32;
            if op.code == STOP {
                return unpickler.stop(op.end);
            }
            unpickler.step(&op)?;
            at = op.end;
        }
        Err(Malformed::at(
            at,
            "it has more than 8388608 values and marks: put fewer at once",
        ))
    }
}

#[derive(Clone, Copy)]
struct StackEntry {
    value: Value,
    start: u32,
}

struct Mark {
    height: usize,
    start: u32,
}

struct Unpickler<'a> {
    pickle: Pickle<'a>,
    stack: Vec<StackEntry>,
    marks: Vec<Mark>,
    /// By memo index, the entry of `pickle.memos`.
    memo: Vec<Option<u32>>,
    /// Where code began whose value was thrown away at this height: it belongs to the value that
    /// comes next there, as Python writes values that contain themselves in this way.
    dropped: Option<(usize, u32)>,
    /// The opcode at hand.
    at: u32,
}

impl<'a> Unpickler<'a> {
    fn new(bytes: &'a [u8]) -> Unpickler<'a> {
        // Enough for a usual request, so that none of the tables grows while one is read.
        let few = bytes.len().min(8);
        Unpickler {
            pickle: Pickle {
                bytes,
                root: Value::At(0),
                protocol: 0,
                drops: false,
                compounds: Vec::with_capacity(few),
                groups: Vec::with_capacity(few),
                spans: Vec::with_capacity(few),
                memos: Vec::with_capacity(few),
                edits: Vec::with_capacity(2 * few),
            },
            stack: Vec::with_capacity(few),
            marks: Vec::new(),
            memo: Vec::with_capacity(few),
            dropped: None,
            at: 0,
        }
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed::at(self.at as usize, what))
    }

    fn stop(mut self, end: usize) -> Result<Pickle<'a>, Malformed> {
        if end != self.pickle.bytes.len() {
            return self.wrong("something follows its end");
        }
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return self.wrong("values are left over at its end");
        }
        self.pickle.root = root.value;
        Ok(self.pickle)
    }

    fn step(&mut self, op: &Op<'a>) -> Result<(), Malformed> {
        if op.is_scalar() {
            self.scalar(op);
            return Ok(());
        }
        match op.code {
            MARK => {
                let start = self.begin(self.at);
                let height = self.stack.len();
                self.marks.push(Mark { height, start });
            }
            POP => self.discard()?,
            POP_MARK => {
                let mark = self.pop_mark()?;
                self.stack.truncate(mark.height);
                self.pickle.drops = true;
                self.dropped = Some((mark.height, mark.start));
            }
            PROTO | FRAME | BINPUT | LONG_BINPUT | MEMOIZE | BINGET | LONG_BINGET => {
                self.bookkeeping(op)?;
            }
            EMPTY_LIST => self.create(ValueKind::List, self.at),
            EMPTY_DICT => self.create(ValueKind::Dict, self.at),
            EMPTY_SET => {
                self.needs(op);
                self.create(ValueKind::Set, self.at);
            }
            TUPLE1 => self.collect(ValueKind::Tuple, 1)?,
            TUPLE2 => self.collect(ValueKind::Tuple, 2)?,
            TUPLE3 => self.collect(ValueKind::Tuple, 3)?,
            TUPLE => self.collect_marked(ValueKind::Tuple)?,
            LIST => self.collect_marked(ValueKind::List)?,
            DICT => self.collect_marked(ValueKind::Dict)?,
            FROZENSET => {
                self.needs(op);
                self.collect_marked(ValueKind::FrozenSet)?;
            }
            OBJ => self.collect_marked(ValueKind::Object)?,
            STACK_GLOBAL | REDUCE | NEWOBJ | NEWOBJ_EX => self.construct(op)?,
            APPEND => self.add(1, ValueKind::List)?,
            SETITEM => self.add(2, ValueKind::Dict)?,
            BUILD => self.add(1, ValueKind::Object)?,
            APPENDS => self.add_marked(ValueKind::List)?,
            SETITEMS => self.add_marked(ValueKind::Dict)?,
            ADDITEMS => {
                self.needs(op);
                self.add_marked(ValueKind::Set)?;
            }
            _ => return self.wrong("an opcode that protocols 2 to 5 do not use"),
        }
        Ok(())
    }

    fn scalar(&mut self, op: &Op<'a>) {
        match (op.code, op.arg) {
            // Readers of protocol 2 know the long form, and it is all that keeps text from them.
            (SHORT_BINUNICODE, Arg::Bytes(text)) => {
                self.edit(op.end, Edit::ShortText(text.len() as u32))
            }
            // Under a header of protocol 2, Python 3 would rename what Python 2 had named otherwise.
            (GLOBAL, _) if self.pickle.protocol > 2 => {
                self.edit(self.at as usize + 1, Edit::Needs(3))
            }
            _ => self.needs(op),
        }
        self.push(Value::At(self.at), self.at);
    }

    /// What moves no value: the header, frames and the memo.
    fn bookkeeping(&mut self, op: &Op<'a>) -> Result<(), Malformed> {
        match (op.code, op.arg) {
            (PROTO, Arg::Number(protocol)) => {
                if protocol > PROTO_MAX.into() {
                    return self.wrong("a protocol over 5");
                }
                // An item of ours comes with a header of its own, in the midst of a message.
                self.pickle.protocol = protocol as u8;
                self.edit(op.end, Edit::Skip);
            }
            (FRAME, Arg::Number(len)) => {
                if len as u64 > (self.pickle.bytes.len() - op.end) as u64 {
                    return self.wrong("a frame goes beyond the end");
                }
                self.edit(op.end, Edit::Skip);
            }
            (BINGET | LONG_BINGET, Arg::Number(index)) => {
                let memo = self.memo.get(index as usize).copied().flatten();
                let Some(memo) = memo else {
                    return self.wrong("a memo entry that there is not");
                };
                self.pickle.memos[memo as usize].used = true;
                self.edit(op.end, Edit::Get(memo));
                self.push(self.pickle.memos[memo as usize].value, self.at);
                let start = self.stack.last().map_or(self.at, |top| top.start);
                let entry = &mut self.pickle.memos[memo as usize];
                if start < self.at && start <= entry.start {
                    // So Python ends a tuple that contains itself: only all of it defines the tuple.
                    (entry.start, entry.end) = (start, op.end as u32);
                }
            }
            (BINPUT | LONG_BINPUT, Arg::Number(index)) => {
                self.memoize(index as usize, op.end)?;
            }
            _ => self.memoize(self.memo.len(), op.end)?,
        }
        Ok(())
    }

    fn memoize(&mut self, index: usize, end: usize) -> Result<(), Malformed> {
        let top = *self.top()?;
        if index > self.memo.len() + MEMO_GAP_MAX {
            return self.wrong("a memo index far ahead of the others");
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        let entry = self.pickle.memos.len() as u32;
        self.memo[index] = Some(entry);
        self.pickle.memos.push(Memo {
            value: top.value,
            start: top.start,
            end: end as u32,
            used: false,
        });
        self.edit(end, Edit::Put(entry));
        Ok(())
    }

    fn edit(&mut self, end: usize, edit: Edit) {
        self.pickle.edits.push((self.at, end as u32, edit));
    }

    /// Notes an opcode that older readers do not know.
    fn needs(&mut self, op: &Op<'a>) {
        if op.generation() > 2 {
            self.edit(self.at as usize + 1, Edit::Needs(op.generation()));
        }
    }

    fn begin(&mut self, start: u32) -> u32 {
        match self.dropped.take() {
            Some((height, dropped)) if height == self.stack.len() => dropped.min(start),
            _ => start,
        }
    }

    fn push(&mut self, value: Value, start: u32) {
        let start = self.begin(start);
        self.stack.push(StackEntry { value, start });
    }

    /// Where the values above the last mark begin: none below it can be had.
    fn floor(&self) -> usize {
        self.marks.last().map_or(0, |mark| mark.height)
    }

    fn top(&self) -> Result<&StackEntry, Malformed> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.floor() => Ok(top),
            _ => self.wrong("nothing is on the stack"),
        }
    }

    fn pop(&mut self) -> Result<StackEntry, Malformed> {
        let top = *self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Mark, Malformed> {
        match self.marks.pop() {
            Some(mark) => Ok(mark),
            None => self.wrong("there is no mark"),
        }
    }

    fn discard(&mut self) -> Result<(), Malformed> {
        let start = match self.marks.last() {
            Some(mark) if mark.height == self.stack.len() => self.pop_mark()?.start,
            _ => self.pop()?.start,
        };
        self.pickle.drops = true;
        self.dropped = Some((self.stack.len(), start));
        Ok(())
    }

    fn create(&mut self, kind: ValueKind, start: u32) {
        let compound = self.pickle.compounds.len() as u32;
        let start = self.begin(start);
        self.pickle.compounds.push(Compound {
            kind,
            hashes: false,
            start,
            end: self.at + 1,
            first: u32::MAX,
            last: u32::MAX,
        });
        self.stack.push(StackEntry {
            value: Value::Compound(compound),
            start,
        });
    }

    /// Makes a container of the values from `from` up, whose code began at `start`.
    fn build(&mut self, kind: ValueKind, from: usize, start: u32) -> Result<(), Malformed> {
        self.check(kind, from)?;
        let hashes = match kind {
            ValueKind::Tuple => self.stack[from..]
                .iter()
                .all(|stacked| self.pickle.hashes(stacked.value)),
            _ => !matches!(kind, ValueKind::List | ValueKind::Dict),
        };
        let group = self.group(from);
        self.stack.truncate(from);
        self.create(kind, start);
        let compound = self.pickle.compounds.last_mut().expect("it was pushed");
        compound.hashes = hashes;
        (compound.first, compound.last) = (group, group);
        Ok(())
    }

    fn collect(&mut self, kind: ValueKind, count: usize) -> Result<(), Malformed> {
        let from = self.topmost(count)?;
        self.build(kind, from, self.stack[from].start)
    }

    fn collect_marked(&mut self, kind: ValueKind) -> Result<(), Malformed> {
        let mark = self.pop_mark()?;
        if kind == ValueKind::Object && !self.has_callable(mark.height) {
            return self.wrong("an instance of nothing that could be a class");
        }
        self.build(kind, mark.height, mark.start)
    }

    fn topmost(&self, count: usize) -> Result<usize, Malformed> {
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= self.floor() => Ok(from),
            _ => self.wrong("too little is on the stack"),
        }
    }

    fn has_callable(&self, at: usize) -> bool {
        self.stack.get(at).is_some_and(|callable| {
            matches!(
                self.kind(callable.value),
                ValueKind::Global | ValueKind::Object
            )
        })
    }

    fn construct(&mut self, op: &Op<'a>) -> Result<(), Malformed> {
        self.needs(op);
        let count = if op.code == NEWOBJ_EX { 3 } else { 2 };
        let from = self.topmost(count)?;
        let kinds: Vec<ValueKind> = self.stack[from..]
            .iter()
            .map(|stacked| self.kind(stacked.value))
            .collect();
        let (kind, fits) = match op.code {
            STACK_GLOBAL => (ValueKind::Global, kinds == [ValueKind::Str, ValueKind::Str]),
            NEWOBJ_EX => (
                ValueKind::Object,
                kinds[1..] == [ValueKind::Tuple, ValueKind::Dict],
            ),
            _ => (ValueKind::Object, kinds[1] == ValueKind::Tuple),
        };
        if !fits || (kind == ValueKind::Object && !self.has_callable(from)) {
            return self.wrong("an instance of nothing that could be a class");
        }
        self.build(kind, from, self.stack[from].start)
    }

    fn add(&mut self, count: usize, to: ValueKind) -> Result<(), Malformed> {
        let from = self.topmost(count)?;
        self.extend(from, to)
    }

    fn add_marked(&mut self, to: ValueKind) -> Result<(), Malformed> {
        let mark = self.pop_mark()?;
        self.extend(mark.height, to)
    }

    /// Adds the values from `from` up to the container below them.
    fn extend(&mut self, from: usize, to: ValueKind) -> Result<(), Malformed> {
        self.check(to, from)?;
        let Some(below) = from.checked_sub(1).filter(|below| *below >= self.floor()) else {
            return self.wrong("no container is on the stack");
        };
        let StackEntry { value, start } = self.stack[below];
        let Value::Compound(compound) = value else {
            return self.wrong("what takes no values is given some");
        };
        let kind = self.pickle.compounds[compound as usize].kind;
        // An instance may have append and the like, which only its reader can know.
        if kind != to && kind != ValueKind::Object {
            return self.wrong("what takes no values is given some");
        }
        let group = self.group(from);
        self.stack.truncate(from);
        let compound = &mut self.pickle.compounds[compound as usize];
        match compound.last {
            u32::MAX => compound.first = group,
            last => self.pickle.groups[last as usize].next = group,
        }
        compound.last = group;
        // Changed through a later mention, its own code no longer tells all of it.
        let in_place = compound.start == start && compound.end != u32::MAX;
        compound.end = if in_place { self.at + 1 } else { u32::MAX };
        Ok(())
    }

    /// What dict and set refuse, their reader would refuse too.
    fn check(&self, to: ValueKind, from: usize) -> Result<(), Malformed> {
        let values = &self.stack[from..];
        if to == ValueKind::Dict && values.len() % 2 == 1 {
            return self.wrong("a key without a value");
        }
        let step = match to {
            ValueKind::Dict => 2,
            ValueKind::Set | ValueKind::FrozenSet => 1,
            _ => return Ok(()),
        };
        let mut keys = values.iter().step_by(step);
        match keys.all(|stacked| self.pickle.hashes(stacked.value)) {
            true => Ok(()),
            false => self.wrong("a key that cannot be hashed"),
        }
    }

    fn group(&mut self, from: usize) -> u32 {
        let first = self.pickle.spans.len() as u32;
        for at in from..self.stack.len() {
            let end = self.stack.get(at + 1).map_or(self.at, |next| next.start);
            let StackEntry { value, start } = self.stack[at];
            self.pickle.spans.push(Span { value, start, end });
        }
        self.pickle.groups.push(Group {
            first,
            len: (self.stack.len() - from) as u32,
            next: u32::MAX,
        });
        (self.pickle.groups.len() - 1) as u32
    }

    fn kind(&self, value: Value) -> ValueKind {
        self.pickle.kind(value)
    }
}
