//! Takes a value out of a message as code of its own.
//!
//! The opcodes are copied as they stand, so whatever Python wrote, its readers find: classes that
//! nobody here knows, shared and recursive values, floats to the last bit. Only three things
//! change. Memo indices are counted anew, for the value alone. What was memoized elsewhere in the
//! message is copied to where it is first needed. Opcodes that have an older form of the same
//! meaning take it, so that more readers understand them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::opcode::*;
use super::{Edit, Malformed, Pickle, Span};

/// A stretch of code that is being copied.
struct Stretch {
    at: u32,
    end: u32,
    /// The memo entry that it defines, if it is not the value itself.
    memo: Option<u32>,
}

struct Excerpt<'p, 'a> {
    pickle: &'p Pickle<'a>,
    code: Vec<u8>,
    /// The protocol that its readers must know: no higher than need be, and for what Python 2
    /// wrote not over 2, under which Python 3 translates its names of classes.
    protocol: u8,
    /// New memo indices, by entry.
    indices: BTreeMap<u32, u32>,
    /// What was copied from elsewhere: where it begins, where it ends, which entry it is.
    moved: BTreeMap<u32, (u32, u32)>,
    limit: usize,
}

impl Pickle<'_> {
    /// The code of one value: a header, and what pushes the value, without an end.
    ///
    /// Refuses one that contains the message around it, or would take more than `limit` bytes, as
    /// a value that many others share may.
    pub(crate) fn item(&self, span: Span, limit: usize) -> Result<Vec<u8>, Malformed> {
        let mut excerpt = Excerpt {
            pickle: self,
            code: Vec::with_capacity((span.end - span.start) as usize + 2),
            protocol: 2,
            indices: BTreeMap::new(),
            moved: BTreeMap::new(),
            limit,
        };
        excerpt.code.extend([PROTO, 0]);
        excerpt.run(Stretch {
            at: span.start,
            end: span.end,
            memo: None,
        })?;
        excerpt.code[1] = excerpt.protocol;
        // Only a program that Python does not write could come apart at the wrong place here. It is
        // its sender's own fault, and must not be its reader's.
        if self.drops || !excerpt.moved.is_empty() {
            excerpt.code.push(STOP);
            Pickle::read(&excerpt.code)?;
            excerpt.code.pop();
        }
        Ok(excerpt.code)
    }
}

impl Pickle<'_> {
    /// A value as a pickle of its own.
    pub(crate) fn part(&self, span: Span) -> Result<Vec<u8>, Malformed> {
        let mut code = self.item(span, 2 * self.bytes.len() + 64)?;
        code.push(STOP);
        Ok(code)
    }
}

impl Excerpt<'_, '_> {
    fn run(&mut self, value: Stretch) -> Result<(), Malformed> {
        let mut stack = vec![value];
        // Where the stretches below the last one stand, so that a long chain of definitions does
        // not ask each of them at each step.
        let mut interrupted = BTreeSet::new();
        while let Some(stretch) = stack.last_mut() {
            if self.code.len() > self.limit {
                return Err(Malformed::at(
                    stretch.at as usize,
                    "taken apart, it would be over the limit for a message",
                ));
            }
            let edits = &self.pickle.edits;
            let next = edits.partition_point(|(at, ..)| *at < stretch.at);
            let edit = edits
                .get(next)
                .filter(|(at, ..)| *at < stretch.end)
                .copied();
            let plain_end = edit.map_or(stretch.end, |(at, ..)| at);
            if let Some((&start, &(end, memo))) = self.moved.range(stretch.at..=plain_end).next()
                && start < stretch.end
            {
                self.copy(stretch.at, start);
                self.get(self.indices[&memo]);
                stretch.at = end;
                continue;
            }
            self.copy(stretch.at, plain_end);
            stretch.at = plain_end;
            let Some((_, edit_end, edit)) = edit else {
                let done = stack.pop().expect("it is the last");
                if let Some(below) = stack.last() {
                    interrupted.remove(&below.at);
                }
                if let Some(memo) = done.memo {
                    let start = self.pickle.memos[memo as usize].start;
                    self.moved.insert(start, (done.end, memo));
                }
                continue;
            };
            if let Edit::Get(memo) = edit
                && !self.indices.contains_key(&memo)
            {
                let definition = self.definition(memo, plain_end, &interrupted)?;
                stretch.at = edit_end;
                interrupted.insert(edit_end);
                stack.push(definition);
                continue;
            }
            stretch.at = edit_end;
            self.apply(edit, plain_end, edit_end);
        }
        Ok(())
    }

    fn definition(
        &self,
        memo: u32,
        at: u32,
        interrupted: &BTreeSet<u32>,
    ) -> Result<Stretch, Malformed> {
        let entry = &self.pickle.memos[memo as usize];
        let end = match entry.value {
            super::Value::Compound(compound) => match self.pickle.compounds[compound as usize] {
                super::Compound { start, end, .. } if start == entry.start => end.max(entry.end),
                _ => entry.end,
            },
            super::Value::At(_) => entry.end,
        };
        let encloses_one =
            |range: Range<u32>| range.contains(&at) || interrupted.range(range).next().is_some();
        if end == u32::MAX || encloses_one(entry.start..end) {
            return Err(Malformed::at(
                entry.start as usize,
                "an item refers to the list that it came in",
            ));
        }
        Ok(Stretch {
            at: entry.start,
            end,
            memo: Some(memo),
        })
    }

    fn apply(&mut self, edit: Edit, at: u32, end: u32) {
        match edit {
            Edit::Skip => {}
            Edit::Put(memo) => {
                if self.pickle.memos[memo as usize].used {
                    let next = self.indices.len() as u32;
                    let index = *self.indices.entry(memo).or_insert(next);
                    self.indexed(BINPUT, LONG_BINPUT, index);
                }
            }
            Edit::Get(memo) => self.get(self.indices[&memo]),
            Edit::ShortText(len) => {
                self.code.push(BINUNICODE);
                self.code.extend(len.to_le_bytes());
                self.copy(end - len, end);
            }
            Edit::Needs(protocol) => {
                self.protocol = self.protocol.max(protocol);
                self.copy(at, end);
            }
        }
    }

    fn copy(&mut self, from: u32, to: u32) {
        let bytes = &self.pickle.bytes[from as usize..to as usize];
        self.code.extend_from_slice(bytes);
    }

    fn get(&mut self, index: u32) {
        self.indexed(BINGET, LONG_BINGET, index);
    }

    fn indexed(&mut self, short: u8, long: u8, index: u32) {
        match u8::try_from(index) {
            Ok(index) => self.code.extend([short, index]),
            Err(_) => {
                self.code.push(long);
                self.code.extend(index.to_le_bytes());
            }
        }
    }
}
