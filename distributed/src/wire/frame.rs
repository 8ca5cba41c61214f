//! Frames: a length and so many bytes, as Python's `multiprocessing.connection` sends them.
//!
//! The length is an `i32`, big endian; -1 announces a `u64` that holds it instead.

/// Space for the longest header. A message is built behind it, so that both leave in one write:
/// in two, the second would wait for the receiver's delayed acknowledgement of the first.
pub(crate) const HEAD: usize = 12;

/// Puts the header in front of a message that was built after [`HEAD`] free bytes.
pub(crate) fn seal(message: &mut [u8]) -> &[u8] {
    let start = seal_longer(message, 0);
    &message[start..]
}

/// As [`seal`], for a message that so many more bytes belong to; where the frame starts.
pub(crate) fn seal_longer(message: &mut [u8], more: usize) -> usize {
    let len = message.len() - HEAD + more;
    match i32::try_from(len) {
        Ok(short) => {
            message[HEAD - 4..HEAD].copy_from_slice(&short.to_be_bytes());
            HEAD - 4
        }
        Err(_) => {
            message[..4].copy_from_slice(&(-1_i32).to_be_bytes());
            message[4..HEAD].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    }
}

/// A frame around `body`, for short ones.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; HEAD];
    message.extend(body);
    seal(&mut message).to_vec()
}

/// What the bytes received so far hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// So many more bytes are needed to tell.
    Partial(usize),
    /// The body begins at `start` and ends at `end`, which may not be there yet.
    Frame { start: usize, end: usize },
    /// A length that no peer sends.
    Invalid,
}

/// Reads the header at the beginning of `bytes`.
pub(crate) fn head(bytes: &[u8]) -> Head {
    let Some((short, rest)) = bytes.split_first_chunk() else {
        return Head::Partial(4 - bytes.len());
    };
    let frame = |start: usize, len: u64| match usize::try_from(len) {
        Ok(len) if len < usize::MAX - start => Head::Frame {
            start,
            end: start + len,
        },
        _ => Head::Invalid,
    };
    match i32::from_be_bytes(*short) {
        -1 => match rest.first_chunk() {
            Some(long) => frame(HEAD, u64::from_be_bytes(*long)),
            None => Head::Partial(HEAD - bytes.len()),
        },
        len => u64::try_from(len).map_or(Head::Invalid, |len| frame(4, len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_length_and_its_bytes() {
        assert_eq!(framed(b"abc"), b"\0\0\0\x03abc");
        assert_eq!(head(b"\0\0"), Head::Partial(2));
        assert_eq!(head(b"\0\0\0\x03ab"), Head::Frame { start: 4, end: 7 });
        assert_eq!(head(b"\0\0\0\0"), Head::Frame { start: 4, end: 4 });
    }

    #[test]
    fn the_long_form_may_hold_any_length_and_other_negative_ones_are_refused() {
        let long = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x05";
        assert_eq!(head(long), Head::Frame { start: 12, end: 17 });
        assert_eq!(head(&long[..7]), Head::Partial(5));
        assert_eq!(head(b"\xff\xff\xff\xfe"), Head::Invalid);
        assert_eq!(head(&[0xff; 12]), Head::Invalid);
        assert_eq!(head(&[0x80, 0, 0, 0]), Head::Invalid);
    }
}
