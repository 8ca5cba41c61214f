//! Numbers of every type that Python's queues take as a time: also fractions, and those of NumPy.
//!
//! Their classes are names here, as everywhere: what a number is stands in its arguments.

use super::pickle::{Pickle, Scalar, Value, ValueKind};

/// The number, if it is one.
pub(super) fn number(pickle: &Pickle, value: Value) -> Option<f64> {
    match pickle.scalar(value) {
        Some(Scalar::Bool(truth)) => Some(f64::from(u8::from(truth))),
        Some(Scalar::Int(number)) => Some(number as f64),
        Some(Scalar::BigInt(bytes)) => Some(signed(bytes.iter().copied().rev())),
        Some(Scalar::Digits(digits)) => whole(digits),
        Some(Scalar::Float(number)) => Some(number),
        Some(_) => None,
        None => instance(pickle, value),
    }
}

fn instance(pickle: &Pickle, value: Value) -> Option<f64> {
    let (class, arguments) = pickle.instance(value)?;
    let mut arguments = pickle.inside(arguments).map(|argument| argument.value);
    let (first, second) = (arguments.next()?, arguments.next());
    match class {
        ("fractions", "Fraction") => match second {
            // 3, 2
            Some(second) => quotient(number(pickle, first)?, number(pickle, second)?),
            // "3/2"
            None => {
                let text = pickle.text(first)?;
                let (above, below) = text.split_once('/').unwrap_or((text, "1"));
                quotient(whole(above)?, whole(below)?)
            }
        },
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => {
            numpy(pickle, first, second?)
        }
        _ => None,
    }
}

fn quotient(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| above / below)
}

/// A whole number in decimal digits.
fn whole(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| text.parse().ok())?
}

/// A whole number in two's complement, its highest byte first.
fn signed(bytes: impl Iterator<Item = u8> + Clone) -> f64 {
    let is_negative = bytes.clone().next().is_some_and(|highest| highest >= 0x80);
    // Of a number below zero all bits are those of its distance to -1, turned over.
    let flip = if is_negative { 0xff } else { 0 };
    let distance = bytes.fold(0.0, |sum, byte| sum * 256.0 + f64::from(byte ^ flip));
    if is_negative {
        -1.0 - distance
    } else {
        distance
    }
}

/// A scalar of NumPy: its `dtype`, which names type and order of bytes, and its bytes.
fn numpy(pickle: &Pickle, dtype: Value, bytes: Value) -> Option<f64> {
    let (("numpy", "dtype"), arguments) = pickle.instance(dtype)? else {
        return None;
    };
    let code = pickle.text(pickle.inside(arguments).next()?.value)?;
    // What was added to the instance: (version, order, …).
    let state = pickle.inside(dtype).last()?.value;
    let order = pickle.text(pickle.inside(state).nth(1)?.value)?;
    let mut bytes = raw_bytes(pickle, bytes)?;
    // Now the highest byte is first.
    if order != ">" {
        bytes.reverse();
    }
    let unsigned = || {
        let add = |sum: f64, byte: &u8| sum * 256.0 + f64::from(*byte);
        bytes.iter().fold(0.0, add)
    };
    match (code, bytes.as_slice()) {
        ("f8", bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        ("f4", bytes) => Some(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        ("b1" | "u1", [_]) | ("u2", [_, _]) | ("u4", [_, _, _, _]) => Some(unsigned()),
        ("u8", all) if all.len() == 8 => Some(unsigned()),
        ("i1" | "i2" | "i4" | "i8", all) if !all.is_empty() => Some(signed(all.iter().copied())),
        _ => None,
    }
}

/// Bytes; under protocol 2 Python 3 writes them as text that is to be encoded.
fn raw_bytes(pickle: &Pickle, value: Value) -> Option<Vec<u8>> {
    if let Some(Scalar::Bytes(bytes) | Scalar::ByteStr(bytes)) = pickle.scalar(value) {
        return Some(bytes.to_vec());
    }
    let (("_codecs", "encode"), arguments) = pickle.instance(value)? else {
        return None;
    };
    let text = pickle.inside(arguments).next()?.value;
    if pickle.kind(text) != ValueKind::Str {
        return None;
    }
    let text = pickle.text(text)?;
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<f64> {
        let pickle = Pickle::read(bytes).expect("a pickle");
        number(&pickle, pickle.root())
    }

    /// `pickle.dumps(scalar, 4)` of NumPy 1.26.
    fn numpy_scalar(module: &str, code: &str, order: u8, bytes: &[u8]) -> Vec<u8> {
        let mut pickle = vec![0x80, 4, 0x8c, module.len() as u8];
        pickle.extend(module.bytes());
        pickle.extend(b"\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94");
        pickle.extend(b"\x8c\x02");
        pickle.extend(code.bytes());
        pickle.extend(b"\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01");
        pickle.push(order);
        pickle.extend(b"\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC");
        pickle.push(bytes.len() as u8);
        pickle.extend(bytes);
        pickle.extend(b"\x94\x86\x94R\x94.");
        pickle
    }

    #[test]
    fn numbers_are_those_of_python() {
        for (bytes, want) in [
            (&b"\x80\x02\x88."[..], Some(1.0)),
            (b"\x80\x02K\x07.", Some(7.0)),
            (b"\x80\x02G?\xf8\0\0\0\0\0\0.", Some(1.5)),
            // 5L and -1L of Python 2, and what is too long for 64 bits.
            (b"\x80\x02\x8a\x01\x05.", Some(5.0)),
            (b"\x80\x02\x8a\x01\xff.", Some(-1.0)),
            (
                b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01.",
                Some(2f64.powi(64)),
            ),
            (b"I17\n.", Some(17.0)),
            // Fraction(3, 2), and the same as older ones write it.
            (
                b"\x80\x02cfractions\nFraction\nq\x00K\x03K\x02\x86q\x01Rq\x02.",
                Some(1.5),
            ),
            (
                b"\x80\x02cfractions\nFraction\nX\x03\0\0\x003/2\x85R.",
                Some(1.5),
            ),
            (
                b"\x80\x02cfractions\nFraction\nX\x03\0\0\x003/0\x85R.",
                None,
            ),
            // Decimal("1.5"): Python adds no Decimal to a float.
            (b"\x80\x02cdecimal\nDecimal\nX\x03\0\0\x001.5\x85R.", None),
            (b"\x80\x02X\x01\0\0\x001.", None),
            (b"\x80\x02N.", None),
        ] {
            assert_eq!(read(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_of_numpy_are_read_from_their_bytes() {
        let module = "numpy.core.multiarray";
        for (code, order, bytes, want) in [
            ("f8", b'<', &1.5_f64.to_le_bytes()[..], Some(1.5)),
            ("f8", b'>', &1.5_f64.to_be_bytes(), Some(1.5)),
            ("f4", b'<', &1.5_f32.to_le_bytes(), Some(1.5)),
            ("i8", b'<', &(-2_i64).to_le_bytes(), Some(-2.0)),
            ("i4", b'<', &70_000_i32.to_le_bytes(), Some(70_000.0)),
            ("u1", b'|', &[255], Some(255.0)),
            ("b1", b'|', &[1], Some(1.0)),
            ("f8", b'<', &[0; 7], None),
            ("M8", b'<', &[0; 8], None),
        ] {
            let scalar = numpy_scalar(module, code, order, bytes);
            assert_eq!(read(&scalar), want, "{code}");
        }
        let of_2 = numpy_scalar("numpy._core.multiarray", "f8", b'<', &1.5_f64.to_le_bytes());
        assert_eq!(read(&of_2), Some(1.5));
        // pickle.dumps(numpy.float64(1.5), 2), by Python 3.
        let old = b"\x80\x02cnumpy.core.multiarray\nscalar\nq\x00cnumpy\ndtype\nq\x01X\x02\0\0\0f8q\x02\x89\x88\x87q\x03Rq\x04(K\x03X\x01\0\0\0<q\x05NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x06bc_codecs\nencode\nq\x07X\x09\0\0\0\0\0\0\0\0\0\xc3\xb8?q\x08X\x06\0\0\0latin1q\x09\x86q\nRq\x0b\x86q\x0cRq\r.";
        assert_eq!(read(old), Some(1.5));
    }
}
