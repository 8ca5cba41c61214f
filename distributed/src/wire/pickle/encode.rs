//! Writes opcodes that every Python from 2.7 on reads.

use super::opcode::*;

/// A message under construction: protocol 2, and whatever an item inside brings with it.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Begins a pickle after `head` bytes that are left free.
    pub(crate) fn after(head: usize) -> Encoder {
        let mut bytes = Vec::with_capacity(head + 60);
        bytes.resize(head, 0);
        bytes.extend([PROTO, 2]);
        Encoder { bytes }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(STOP);
        self.bytes
    }

    pub(crate) fn none(&mut self) -> &mut Encoder {
        self.op(NONE)
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Encoder {
        self.op(if value { NEWTRUE } else { NEWFALSE })
    }

    pub(crate) fn int(&mut self, value: i128) -> &mut Encoder {
        if let Ok(small) = u8::try_from(value) {
            self.bytes.extend([BININT1, small]);
        } else if let Ok(small) = i32::try_from(value) {
            self.bytes.push(BININT);
            self.bytes.extend(small.to_le_bytes());
        } else if let Ok(small) = i64::try_from(value) {
            self.long(&small.to_le_bytes());
        } else {
            self.long(&value.to_le_bytes());
        }
        self
    }

    /// A number in two's complement, little endian, of at most 255 bytes.
    pub(crate) fn long(&mut self, digits: &[u8]) -> &mut Encoder {
        self.bytes.extend([LONG1, digits.len() as u8]);
        self.bytes.extend(digits);
        self
    }

    pub(crate) fn float(&mut self, value: f64) -> &mut Encoder {
        self.bytes.push(BINFLOAT);
        self.bytes.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Encoder {
        self.counted(BINUNICODE, BINUNICODE8, text.as_bytes())
    }

    /// Text that is a `str` to every Python, where Python 2 insists on that: ASCII, as any reader of
    /// Python 3 takes it for. What is not is escaped.
    pub(crate) fn native_str(&mut self, text: &str) -> &mut Encoder {
        let ascii: String = text
            .chars()
            .flat_map(|c| {
                if c.is_ascii() {
                    vec![c]
                } else {
                    c.escape_unicode().collect()
                }
            })
            .collect();
        self.bytes.push(BINSTRING);
        self.bytes.extend((ascii.len() as u32).to_le_bytes());
        self.bytes.extend(ascii.bytes());
        self
    }

    /// Bytes of Python 3, which Python 2 cannot read.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Encoder {
        self.counted(BINBYTES, BINBYTES8, bytes)
    }

    fn counted(&mut self, short: u8, long: u8, bytes: &[u8]) -> &mut Encoder {
        match u32::try_from(bytes.len()) {
            Ok(len) => {
                self.bytes.push(short);
                self.bytes.extend(len.to_le_bytes());
            }
            Err(_) => {
                self.bytes.push(long);
                self.bytes.extend((bytes.len() as u64).to_le_bytes());
            }
        }
        self.bytes.extend(bytes);
        self
    }

    /// How long the message is by now, with the bytes that were left free.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A value that is code already, as [`item`](super::Pickle::item) takes it out.
    pub(crate) fn item(&mut self, code: &[u8]) -> &mut Encoder {
        self.bytes.extend(code);
        self
    }

    pub(crate) fn mark(&mut self) -> &mut Encoder {
        self.op(MARK)
    }

    /// A tuple of what came since the mark.
    pub(crate) fn tuple(&mut self) -> &mut Encoder {
        self.op(TUPLE)
    }

    /// An empty list, to which `appends` adds.
    pub(crate) fn list(&mut self) -> &mut Encoder {
        self.op(EMPTY_LIST).op(MARK)
    }

    pub(crate) fn appends(&mut self) -> &mut Encoder {
        self.op(APPENDS)
    }

    /// An empty dict, to which `setitems` adds.
    pub(crate) fn dict(&mut self) -> &mut Encoder {
        self.op(EMPTY_DICT).op(MARK)
    }

    pub(crate) fn setitems(&mut self) -> &mut Encoder {
        self.op(SETITEMS)
    }

    /// An instance, of the class by this name, made of arguments. A name of Python 2 suits all:
    /// Python 3 translates.
    pub(crate) fn call(
        &mut self,
        module: &str,
        name: &str,
        arguments: impl FnOnce(&mut Encoder),
    ) -> &mut Encoder {
        self.global(module, name).mark();
        arguments(self);
        self.tuple().op(REDUCE)
    }

    /// An instance that has this state and was made without a call of its class.
    pub(crate) fn instance(
        &mut self,
        module: &str,
        name: &str,
        state: impl FnOnce(&mut Encoder),
    ) -> &mut Encoder {
        self.global(module, name).op(EMPTY_TUPLE).op(NEWOBJ);
        state(self);
        self.op(BUILD)
    }

    pub(crate) fn global(&mut self, module: &str, name: &str) -> &mut Encoder {
        // What came before may have raised the protocol, under which nothing is translated.
        self.bytes.extend([PROTO, 2, GLOBAL]);
        self.bytes.extend(format!("{module}\n{name}\n").bytes());
        self
    }

    fn op(&mut self, code: u8) -> &mut Encoder {
        self.bytes.push(code);
        self
    }
}
