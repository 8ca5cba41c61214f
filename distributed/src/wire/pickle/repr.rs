//! What Python's `repr` says of an item.

use std::fmt::Write;

use super::{Pickle, Scalar, Span, Value, ValueKind};

/// How deep values may lie in each other before dots stand for them.
const DEPTH_MAX: usize = 32;
/// The longest text, in bytes, after which dots stand for the rest.
const TEXT_MAX: usize = 1 << 20;

/// Writes an item as Python 3 shows it. An instance is its class in angle brackets.
pub(crate) fn write(to: &mut String, code: &[u8]) {
    match Pickle::read_item(code) {
        Ok(pickle) => nested(to, &pickle, pickle.root(), DEPTH_MAX),
        Err(_) => to.push('?'),
    }
}

/// A value of a pickle, likewise.
pub(crate) fn of(pickle: &Pickle, value: Value) -> String {
    let mut to = String::new();
    nested(&mut to, pickle, value, DEPTH_MAX);
    to
}

/// Items between brackets.
pub(crate) fn write_all<'c>(
    to: &mut String,
    [open, close]: [&str; 2],
    codes: impl Iterator<Item = &'c [u8]>,
) {
    to.push_str(open);
    for (at, code) in codes.enumerate() {
        to.push_str(if at == 0 { "" } else { ", " });
        if to.len() > TEXT_MAX {
            to.push_str("...");
            break;
        }
        write(to, code);
    }
    to.push_str(close);
}

fn nested(to: &mut String, pickle: &Pickle, value: Value, depth: usize) {
    if depth == 0 || to.len() > TEXT_MAX {
        to.push_str("...");
        return;
    }
    if let Some(scalar) = pickle.scalar(value) {
        write_scalar(to, scalar);
        return;
    }
    let set = pickle.set(value);
    let inside = set.map_or(value, |(_, elements)| elements);
    let spans: Vec<Span> = pickle.inside(inside).collect();
    let mut all = |open: &str, spans: &[Span], close: &str| {
        to.push_str(open);
        for (at, span) in spans.iter().enumerate() {
            to.push_str(if at == 0 { "" } else { ", " });
            nested(to, pickle, span.value, depth - 1);
        }
        to.push_str(close);
    };
    match set {
        // Braces with nothing in them are a dict.
        Some((name, _)) if spans.is_empty() => return to.push_str(&format!("{name}()")),
        Some(("set", _)) => return all("{", &spans, "}"),
        Some(_) => return all("frozenset({", &spans, "})"),
        None => {}
    }
    match pickle.kind(value) {
        ValueKind::Tuple if spans.len() == 1 => all("(", &spans, ",)"),
        ValueKind::Tuple => all("(", &spans, ")"),
        ValueKind::List => all("[", &spans, "]"),
        ValueKind::Dict => {
            to.push('{');
            for (at, pair) in spans.chunks_exact(2).enumerate() {
                to.push_str(if at == 0 { "" } else { ", " });
                nested(to, pickle, pair[0].value, depth - 1);
                to.push_str(": ");
                nested(to, pickle, pair[1].value, depth - 1);
            }
            to.push('}');
        }
        _ => {
            let class = pickle.instance(value).map(|(class, _)| class);
            match class.or_else(|| pickle.global(value)) {
                Some((module, name)) => _ = write!(to, "<{module}.{name}>"),
                None => to.push_str("<object>"),
            }
        }
    }
}

fn write_scalar(to: &mut String, scalar: Scalar) {
    match scalar {
        Scalar::None => to.push_str("None"),
        Scalar::Bool(truth) => to.push_str(if truth { "True" } else { "False" }),
        Scalar::Int(number) => _ = write!(to, "{number}"),
        Scalar::Digits(digits) => to.push_str(digits),
        Scalar::BigInt(bytes) => write_big(to, bytes),
        Scalar::Float(number) => write_float(to, number),
        Scalar::Str(text) => write_str(to, text),
        Scalar::ByteStr(text) if std::str::from_utf8(text).is_ok() => write_str(to, text),
        Scalar::ByteStr(bytes) | Scalar::Bytes(bytes) => {
            let text: String = bytes.escape_ascii().to_string();
            let _ = write!(to, "b'{}'", text.replace("\\\"", "\""));
        }
        Scalar::EmptyTuple => to.push_str("()"),
        Scalar::Global(module, name) => _ = write!(to, "<{module}.{name}>"),
    }
}

/// A number of up to 128 bits in digits; a longer one as hexadecimal, which costs no division.
fn write_big(to: &mut String, bytes: &[u8]) {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    if bytes.len() <= 16 {
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        let _ = write!(to, "{}", i128::from_le_bytes(wide));
        return;
    }
    to.push_str("int.from_bytes(bytes.fromhex('");
    bytes.iter().for_each(|byte| _ = write!(to, "{byte:02x}"));
    to.push_str("'), 'little', signed=True)");
}

pub(crate) fn write_float(to: &mut String, number: f64) {
    if number.is_nan() {
        to.push_str("nan");
    } else if number.is_infinite() {
        to.push_str(if number > 0.0 { "inf" } else { "-inf" });
    } else if number != 0.0 && !(1e-4..1e16).contains(&number.abs()) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').expect("it has an exponent");
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        let _ = write!(to, "{mantissa}e{sign}{digits:0>2}");
    } else {
        let _ = write!(to, "{number:?}");
    }
}

fn write_str(to: &mut String, text: &[u8]) {
    let quote = match text.contains(&b'\'') && !text.contains(&b'"') {
        true => '"',
        false => '\'',
    };
    to.push(quote);
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => to.push_str("\\n"),
                '\r' => to.push_str("\\r"),
                '\t' => to.push_str("\\t"),
                '\\' => to.push_str("\\\\"),
                c if c == quote => {
                    to.push('\\');
                    to.push(c);
                }
                c if c.is_control() => _ = write!(to, "\\x{:02x}", u32::from(c)),
                c => to.push(c),
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| _ = write!(to, "\\x{byte:02x}"));
    }
    to.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pickle::to_item;

    #[test]
    fn values_look_as_python_shows_them() {
        let shown = |value: &dyn Fn() -> Vec<u8>| {
            let mut text = String::new();
            write(&mut text, &value());
            text
        };
        macro_rules! assert_shown {
            ($($value:expr => $text:expr),* $(,)?) => {$(
                assert_eq!(shown(&|| to_item(&$value).expect("it is a value")), $text);
            )*};
        }
        assert_shown! {
            (1, -2i128.pow(100), true, ()) => "(1, -1267650600228229401496703205376, True, None)",
            (0.5, 1e16, 1e-5, 1e22, 123456.0, -0.0) => "(0.5, 1e+16, 1e-05, 1e+22, 123456.0, -0.0)",
            ["it's", "\"", "a\n\u{1}é"] => r#"("it's", '"', 'a\n\x01é')"#,
            std::collections::BTreeMap::from([("a", vec![1])]) => "{'a': [1]}",
            (7,) => "(7,)",
        }
    }
}
