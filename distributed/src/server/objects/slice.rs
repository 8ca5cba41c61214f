//! Indices and slices, as Python counts them.

use super::call::ObjectCall;
use crate::wire::pickle::{Scalar, Span};
use crate::wire::protocol::Fault;

/// What stands between the brackets of `a[…]`.
pub(super) enum Subscript {
    Index(i64),
    Slice {
        start: Option<i64>,
        stop: Option<i64>,
        step: i64,
    },
}

impl Subscript {
    pub(super) fn read(call: &ObjectCall, span: Span) -> Result<Subscript, Fault> {
        let pickle = &call.request.pickle;
        let slice = pickle
            .instance(span.value)
            .filter(|(class, _)| matches!(class, ("builtins" | "__builtin__", "slice")));
        let Some((_, arguments)) = slice else {
            return index(call, span).map(Subscript::Index);
        };
        let parts: Vec<Span> = pickle.inside(arguments).collect();
        let [start, stop, step] = parts[..] else {
            return Err(Fault::new("TypeError", "a slice has three parts"));
        };
        let step = bound(call, step)?.unwrap_or(1);
        if step == 0 {
            return Err(Fault::new("ValueError", "slice step cannot be zero"));
        }
        Ok(Subscript::Slice {
            start: bound(call, start)?,
            stop: bound(call, stop)?,
            step,
        })
    }

    /// The slice `[i:j]` of the methods of Python 2 that end in `slice__`, and what follows it.
    pub(super) fn of_python_2(call: &ObjectCall) -> Result<(Subscript, Option<Span>), Fault> {
        let [start, stop, value] = call.request.bind(["i", "j", "value"], 2)?;
        let [start, stop] = [start, stop].map(super::call::required);
        let slice = Subscript::Slice {
            start: bound(call, start)?,
            stop: bound(call, stop)?,
            step: 1,
        };
        Ok((slice, value))
    }
}

/// Which places a slice of a sequence of `len` elements takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceRange {
    pub(super) start: usize,
    step: i64,
    pub(super) count: usize,
}

impl SliceRange {
    pub(super) fn new(start: Option<i64>, stop: Option<i64>, step: i64, len: usize) -> SliceRange {
        let len = len as i64;
        let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let place = |bound: Option<i64>, default: i64| match bound {
            None => default,
            Some(at) if at < 0 => at.saturating_add(len).max(low),
            Some(at) => at.min(high),
        };
        let (from, to) = if step > 0 { (low, high) } else { (high, low) };
        let (start, stop) = (place(start, from), place(stop, to));
        let distance = if step > 0 { stop - start } else { start - stop };
        let step_len = step.unsigned_abs();
        let count = u64::try_from(distance).map_or(0, |distance| distance.div_ceil(step_len));
        SliceRange {
            start: start.max(0) as usize,
            step,
            count: count as usize,
        }
    }

    /// The places, in the order of the slice.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let place = move |n: usize| self.start as i64 + n as i64 * self.step;
        (0..self.count).map(move |n| place(n) as usize)
    }

    /// Whether they stand together, so that as many as one likes may take their place.
    pub(super) fn is_plain(self) -> bool {
        self.step == 1
    }

    /// Refuses another number of elements for places that do not stand together.
    pub(super) fn check_size(self, given: usize) -> Result<(), Fault> {
        if given == self.count {
            return Ok(());
        }
        let text = format!(
            "attempt to assign sequence of size {given} to extended slice of size {}",
            self.count
        );
        Err(Fault::new("ValueError", text))
    }
}

/// An index, where one below 0 counts from the end.
pub(super) fn place(index: i64, len: usize, what: &str) -> Result<usize, Fault> {
    let at = if index < 0 { index + len as i64 } else { index };
    let at = usize::try_from(at).ok().filter(|at| *at < len);
    at.ok_or_else(|| Fault::new("IndexError", format!("{what} out of range")))
}

/// An index. One of more than 64 bits is beyond any sequence all the same.
pub(super) fn index(call: &ObjectCall, span: Span) -> Result<i64, Fault> {
    match call.request.pickle.scalar(span.value) {
        Some(Scalar::BigInt(bytes)) if bytes.len() > 8 => {
            let negative = bytes.last().is_some_and(|last| *last >= 0x80);
            Ok(if negative { i64::MIN } else { i64::MAX })
        }
        _ => call
            .request
            .int("index", span)
            .map_err(|_| Fault::new("TypeError", "indices must be integers or slices")),
    }
}

fn bound(call: &ObjectCall, span: Span) -> Result<Option<i64>, Fault> {
    match call.request.pickle.scalar(span.value) {
        Some(Scalar::None) => Ok(None),
        _ => index(call, span).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_takes_the_places_that_python_takes() {
        let places = |start, stop, step, len| -> Vec<usize> {
            SliceRange::new(start, stop, step, len).iter().collect()
        };
        assert_eq!(places(None, None, 1, 3), [0, 1, 2]);
        assert_eq!(places(None, None, -1, 3), [2, 1, 0]);
        assert_eq!(places(Some(-2), None, 1, 3), [1, 2]);
        assert_eq!(places(Some(1), Some(-1), 1, 4), [1, 2]);
        assert_eq!(places(Some(9), Some(0), -2, 4), [3, 1]);
        assert_eq!(places(Some(-9), Some(9), 2, 4), [0, 2]);
        assert!(places(Some(2), Some(1), 1, 4).is_empty());
        assert_eq!(places(Some(i64::MIN), Some(i64::MAX), i64::MAX, 4), [0]);
        assert_eq!(places(Some(0), Some(i64::MIN), -1, 4), [0]);
        assert_eq!(places(None, None, i64::MIN, 4), [3]);
        assert!(places(Some(3), Some(5), 1, 0).is_empty());
    }
}
