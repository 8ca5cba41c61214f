//! Copies of some KiB, at the speed of the others.
//!
//! From 2 KiB on, the C library copies by `rep movsb` where the processor says that it is fast. On
//! AMD's Zen 3 and Zen 4 it is not, up to the size of a core's second cache: 3 GB/s instead of 50
//! where the target lies in its page up to 31 bytes behind the source (bug 30994 of glibc, mended in
//! 2.40), and half the speed of other stores where another processor has read the target. The first
//! is no rare case: a vector of whole pages and the buffer that was allocated behind it always lie so.

/// The C library copies so many bytes, and fewer, without that instruction.
const PIECE: usize = 2 << 10;

/// It copies so many bytes, and more, without that instruction; then better as a whole.
const LARGE: usize = 1 << 20;

/// Copies `from` to `to`, which is as long.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let piece = piece(from);
    let pieces = to.chunks_mut(piece).zip(from.chunks(piece));
    pieces.for_each(|(to, from)| to.copy_from_slice(from));
}

/// Appends `from` to `to`.
#[inline]
pub(crate) fn append<N: Clone>(to: &mut Vec<N>, from: &[N]) {
    match size_of_val(from) {
        ..=PIECE => to.extend_from_slice(from),
        _ => append_many(to, from),
    }
}

#[inline(never)]
fn append_many<N: Clone>(to: &mut Vec<N>, from: &[N]) {
    to.reserve(from.len());
    let pieces = from.chunks(piece(from));
    pieces.for_each(|piece| to.extend_from_slice(piece));
}

/// A vector of the same elements.
#[inline]
pub(crate) fn to_vec<N: Clone>(from: &[N]) -> Vec<N> {
    let mut copy = Vec::with_capacity(from.len());
    append(&mut copy, from);
    copy
}

/// How many elements are copied at a time.
fn piece<N>(from: &[N]) -> usize {
    match size_of_val(from) < LARGE {
        true => (PIECE / size_of::<N>().max(1)).max(1),
        false => from.len(),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn a_copy_has_every_element_whatever_its_length_is() {
        let all: Vec<u32> = (0..LARGE as u32).collect();
        let border = |bytes: usize| bytes / 4 - 1..=bytes / 4 + 1;
        let lens = (0..3).chain([PIECE, 2 * PIECE, LARGE].into_iter().flat_map(border));
        for len in lens {
            let from = &all[..len];
            let mut to = vec![7];
            append(&mut to, from);
            assert!(to[0] == 7 && to[1..] == *from, "{len} elements");
            assert!(to_vec(from) == from, "{len} elements");
            let bytes = from.as_bytes();
            let mut to = vec![0; bytes.len()];
            copy(&mut to, bytes);
            assert!(to == bytes, "{len} elements");
        }
    }

    #[test]
    fn an_element_longer_than_a_piece_is_copied_as_a_whole() {
        let from = vec![[7u8; 2 * PIECE]; 3];
        assert!(to_vec(&from) == from);
        assert_eq!(to_vec(&[(); 3]), [(); 3]);
    }
}
