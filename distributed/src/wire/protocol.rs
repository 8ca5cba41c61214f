//! Requests and replies, as Python's `multiprocessing.managers` words them.
//!
//! A request is `(ident, method, args, kwargs)`, a reply `(kind, value)`.

use std::borrow::Cow;

use super::frame;
use super::number::number;
use super::pickle::{Encoder, Malformed, Pickle, Scalar, Span, Value, ValueKind};

/// The most that a server keeps of why an item failed, in bytes, and that a client tells.
pub(crate) const REASON_MAX: usize = 1000;

/// A request, read in place.
pub(crate) struct Request<'a> {
    pub(crate) pickle: Pickle<'a>,
    /// Which object; none for the manager itself.
    pub(crate) ident: Option<&'a str>,
    pub(crate) method: &'a str,
    args: Vec<Span>,
    kwargs: Vec<(&'a str, Span)>,
}

impl<'a> Request<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Request<'a>, Fault> {
        let pickle = Pickle::read(body)?;
        let malformed = || Fault::new("TypeError", "a request is (ident, method, args, kwargs)");
        let parts: [Option<Span>; 5] = {
            let mut parts = pickle.inside(pickle.root());
            std::array::from_fn(|_| parts.next())
        };
        let (ValueKind::Tuple, [Some(ident), Some(method), Some(args), Some(kwargs), None]) =
            (pickle.kind(pickle.root()), parts)
        else {
            return Err(malformed());
        };
        let is_dict = pickle.kind(kwargs.value) == ValueKind::Dict;
        if pickle.kind(args.value) != ValueKind::Tuple || !is_dict {
            return Err(malformed());
        }
        let method = pickle.text(method.value).ok_or_else(malformed)?;
        let pairs: Vec<Span> = pickle.inside(kwargs.value).collect();
        let named = |pair: &[Span]| Some((pickle.text(pair[0].value)?, pair[1]));
        let kwargs = pairs.chunks_exact(2).map(named).collect::<Option<_>>();
        Ok(Request {
            ident: pickle.text(ident.value),
            method,
            args: pickle.inside(args.value).collect(),
            kwargs: kwargs.ok_or_else(malformed)?,
            pickle,
        })
    }

    /// The arguments by the names of the parameters, of which the first `required` must be there.
    pub(crate) fn bind<const N: usize>(
        &self,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Span>; N], Fault> {
        let method = self.method;
        let wrong = |text: String| Fault::new("TypeError", format!("{method}() {text}"));
        if self.args.len() > N {
            let given = self.args.len();
            return Err(wrong(format!("takes {N} arguments but {given} were given")));
        }
        let mut bound = [None; N];
        for (place, arg) in bound.iter_mut().zip(&self.args) {
            *place = Some(*arg);
        }
        for (name, value) in &self.kwargs {
            let Some(at) = names.iter().position(|known| known == name) else {
                return Err(wrong(format!(
                    "got an unexpected keyword argument '{name}'"
                )));
            };
            if at < self.args.len() {
                return Err(wrong(format!("got multiple values for argument '{name}'")));
            }
            bound[at] = Some(*value);
        }
        match bound[..required].iter().position(Option::is_none) {
            Some(missing) => {
                let name = names[missing];
                Err(wrong(format!(
                    "missing 1 required positional argument: '{name}'"
                )))
            }
            None => Ok(bound),
        }
    }

    /// Python's truth of an argument.
    pub(crate) fn truth(&self, arg: Option<Span>, default: bool) -> bool {
        let Some(Span { value, .. }) = arg else {
            return default;
        };
        match self.pickle.scalar(value) {
            Some(Scalar::None | Scalar::EmptyTuple) => false,
            Some(Scalar::Bool(truth)) => truth,
            Some(Scalar::Int(number)) => number != 0,
            Some(Scalar::Float(number)) => number != 0.0,
            Some(Scalar::Digits(digits)) => {
                digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit))
            }
            Some(Scalar::BigInt(bytes)) => bytes.iter().any(|byte| *byte != 0),
            Some(Scalar::Str(bytes) | Scalar::ByteStr(bytes) | Scalar::Bytes(bytes)) => {
                !bytes.is_empty()
            }
            Some(Scalar::Global(..)) => true,
            None => {
                self.pickle.kind(value) == ValueKind::Object
                    || self.pickle.inside(value).next().is_some()
            }
        }
    }

    /// A number of seconds, or none. Not a number but infinite is as good as none.
    pub(crate) fn seconds(&self, arg: Option<Span>) -> Result<Option<f64>, Fault> {
        let Some(arg) = arg.filter(|arg| self.pickle.kind(arg.value) != ValueKind::None) else {
            return Ok(None);
        };
        let Some(seconds) = number(&self.pickle, arg.value) else {
            return Err(Fault::new(
                "TypeError",
                "'timeout' must be a number or None",
            ));
        };
        // It compares with nothing, so that no wait for it would end.
        if seconds.is_nan() {
            return Err(Fault::new("ValueError", "Invalid value NaN (not a number)"));
        }
        match seconds < 0.0 {
            true => Err(Fault::new(
                "ValueError",
                "'timeout' must be a non-negative number",
            )),
            false => Ok(Some(seconds)),
        }
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str, arg: Span) -> Result<i64, Fault> {
        let wrong = || Fault::new("TypeError", format!("'{name}' must be an int of 64 bits"));
        match self.pickle.scalar(arg.value) {
            Some(Scalar::Int(number)) => Ok(number),
            Some(Scalar::Bool(truth)) => Ok(truth.into()),
            // So Python 2 writes those of more than 32 bits.
            Some(Scalar::Digits(digits)) => digits.parse().map_err(|_| wrong()),
            Some(Scalar::BigInt(bytes)) if bytes.len() <= 8 => {
                let is_negative = bytes.last().is_some_and(|last| *last >= 0x80);
                let mut wide = [if is_negative { 0xff } else { 0 }; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                Ok(i64::from_le_bytes(wide))
            }
            _ => Err(wrong()),
        }
    }

    /// Text.
    pub(crate) fn text(&self, name: &str, arg: Span) -> Result<&'a str, Fault> {
        let text = self.pickle.text(arg.value);
        text.ok_or_else(|| Fault::new("TypeError", format!("'{name}' must be a str")))
    }

    /// A text that is only shown to somebody, whatever is in it.
    pub(crate) fn text_lossy(&self, name: &str, arg: Span) -> Result<String, Fault> {
        let text = self.pickle.text_lossy(arg.value).map(Cow::into_owned);
        text.ok_or_else(|| Fault::new("TypeError", format!("'{name}' must be a str")))
    }

    /// The arguments by position, for what takes them as they come.
    pub(crate) fn args(&self) -> &[Span] {
        &self.args
    }

    /// The arguments by name.
    pub(crate) fn kwargs(&self) -> &[(&'a str, Span)] {
        &self.kwargs
    }

    /// All but the first argument, as another method's own.
    pub(crate) fn tail(mut self) -> Request<'a> {
        self.args = self.args.split_off(1.min(self.args.len()));
        self
    }

    /// The ident in a `Token`, the state of which is (typeid, address, ident).
    pub(crate) fn token(&self, arg: Span) -> Option<&'a str> {
        let state: Value = self.pickle.inside(arg.value).last()?.value;
        self.pickle.text(self.pickle.inside(state).nth(2)?.value)
    }
}

/// The class of what a client is told when the server ends.
pub(crate) const FAREWELL: &str = "EOFError";

/// How the text of the `OSError` begins that a client hears which has the key and finds no place.
pub(crate) const NO_PLACE: &str = "no place is left for a client";

/// What goes wrong in a call: an exception that the caller is to raise.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) class: &'static str,
    pub(crate) text: String,
    /// An item that is the exception's argument in place of the text.
    item: Option<Vec<u8>>,
}

impl Fault {
    pub(crate) fn new(class: &'static str, text: impl Into<String>) -> Fault {
        Fault {
            class,
            text: text.into(),
            item: None,
        }
    }

    /// The exception that Python raises for a key that is not there: its argument is the key.
    pub(crate) fn no_key(item: Vec<u8>) -> Fault {
        Fault {
            item: Some(item),
            ..Fault::new("KeyError", "there is no such key")
        }
    }

    pub(crate) fn empty() -> Fault {
        Fault::new("Empty", "")
    }

    pub(crate) fn full() -> Fault {
        Fault::new("Full", "")
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        Fault::new("ValueError", malformed.to_string())
    }
}

/// Replies. Each is a message with room for its frame's header.
pub(crate) mod reply {
    use super::*;

    fn of(kind: &str, value: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut message = Encoder::after(frame::HEAD);
        message.mark().str(kind);
        value(&mut message);
        message.tuple();
        message.finish()
    }

    /// What the method returns.
    pub(crate) fn value(value: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        of("#RETURN", value)
    }

    pub(crate) fn none() -> Vec<u8> {
        value(|to| _ = to.none())
    }

    /// What the method raises. The names are Python 2's: under protocol 2 every Python knows them,
    /// while none of the newer ones is known to all.
    pub(crate) fn raise(fault: &Fault) -> Vec<u8> {
        let module = match fault.class {
            "Empty" | "Full" => "Queue",
            "BrokenBarrierError" => "threading",
            _ => "exceptions",
        };
        of("#ERROR", |to| {
            to.call(module, fault.class, |to| match &fault.item {
                Some(item) => _ = to.item(item),
                None if module == "Queue" => {}
                None => _ = to.str(&fault.text),
            });
        })
    }

    /// An object that the method made, for which the client is to have a proxy.
    pub(crate) fn proxy(exposed: &[&str], typeid: &str, ident: &str) -> Vec<u8> {
        of("#PROXY", |to| {
            to.mark().mark();
            exposed.iter().for_each(|method| _ = to.str(method));
            to.tuple();
            // The client knows the address: it is where it has asked.
            to.instance("multiprocessing.managers", "Token", |to| {
                to.mark().native_str(typeid).none().str(ident).tuple();
            });
            to.tuple();
        })
    }

    /// What the server says of a request that reached no method; the client raises `RemoteError`,
    /// and of Python 2 checks that the text is a `str`.
    pub(crate) fn traceback(fault: &Fault) -> Vec<u8> {
        let text = format!("{}: {}\n", fault.class, fault.text);
        of("#TRACEBACK", |to| _ = to.native_str(&text))
    }

    /// What a client is told when the server ends, in place of its reply or ahead of its next one.
    /// Python raises what it raises when a server goes without a word.
    pub(crate) fn farewell() -> Vec<u8> {
        raise(&Fault::new(FAREWELL, "the server has been shut down"))
    }

    /// What cannot be sent.
    pub(crate) fn unserializable(text: &str) -> Vec<u8> {
        of("#UNSERIALIZABLE", |to| _ = to.native_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_no_number_is_refused_as_in_python() {
        let with = |seconds: f64| {
            let mut body = b"\x80\x02(NX\x03\0\0\0get(G".to_vec();
            body.extend(seconds.to_be_bytes());
            body.extend(b"t}t.");
            let request = Request::read(&body).expect("it is a request");
            request.seconds(request.args().first().copied())
        };
        assert!(matches!(with(0.5), Ok(Some(0.5))));
        let fault = with(f64::NAN).expect_err("it would wait for ever");
        let said = (fault.class, fault.text.as_str());
        assert_eq!(said, ("ValueError", "Invalid value NaN (not a number)"));
    }
}
