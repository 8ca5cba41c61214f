//! Bytes seen as the plain values that they are.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// So many values from the start of `bytes` on; `None` if they do not fit, or not at this address.
#[inline]
pub(crate) fn values<T: FromBytes + Immutable>(bytes: &[u8], count: usize) -> Option<&[T]> {
    let start = bytes.as_ptr().cast::<T>();
    if !fits::<T>(bytes, count) {
        return None;
    }
    // SAFETY: so many values lie in `bytes`, at an address that is theirs; any bytes are a value,
    // and none changes behind a shared reference.
    Some(unsafe { std::slice::from_raw_parts(start, count) })
}

/// As [`values`], to be written.
#[inline]
pub(crate) fn values_mut<T: FromBytes + IntoBytes>(
    bytes: &mut [u8],
    count: usize,
) -> Option<&mut [T]> {
    let start = bytes.as_mut_ptr().cast::<T>();
    if !fits::<T>(bytes, count) {
        return None;
    }
    // SAFETY: as in `values`; and the bytes of a value are all initialised, so that `bytes` are
    // bytes afterwards too.
    Some(unsafe { std::slice::from_raw_parts_mut(start, count) })
}

fn fits<T>(bytes: &[u8], count: usize) -> bool {
    let needed = count.checked_mul(size_of::<T>());
    needed.is_some_and(|needed| needed <= bytes.len()) && bytes.as_ptr().cast::<T>().is_aligned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fit_are_none() {
        let words = [1u64, 2];
        let bytes = words.as_bytes();
        assert_eq!(values::<u64>(bytes, 2), Some(&words[..]));
        assert_eq!(values::<u64>(bytes, 3), None);
        assert_eq!(values::<u64>(bytes, usize::MAX / 4), None);
        assert_eq!(values::<u64>(&bytes[4..], 1), None);
        assert_eq!(values::<()>(bytes, 5), Some(&[(); 5][..]));
    }
}
