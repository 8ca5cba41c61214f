//! Vectors of numbers, which are written and read as a whole: the same bytes as one by one, many
//! times faster.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::copy;
use super::leaves::{Kind, LEAF_MIN, Leaf, Leaves};
use super::tag;
use crate::sys::same_type;

/// Calls a macro with the numbers that can be packed, and their tags.
macro_rules! for_each_number {
    ($apply:ident) => {
        $apply!(
            u8 as U8, u16 as U16, u32 as U32, u64 as U64, i8 as I8, i16 as I16, i32 as I32,
            i64 as I64, f32 as F32, f64 as F64
        )
    };
}

/// Appends a vector of numbers; false if the value is none, or has no number in it.
#[inline(always)]
pub(super) fn write<T: ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    leaves: Option<&mut Leaves<'_>>,
) -> bool {
    macro_rules! write {
        ($($type:ty as $tag:ident),*) => {$(
            if let Some(numbers) = same_type::as_vec::<T, $type>(value) {
                if numbers.is_empty() {
                    return false;
                }
                let bytes = size_of_val(numbers.as_slice());
                if let Some(leaves) = leaves
                    && bytes >= LEAF_MIN
                    && cfg!(target_endian = "little")
                    && Leaf::write(out, leaves, Kind::Packed(tag::$tag), numbers.as_bytes())
                {
                    return true;
                }
                out.extend([tag::PACKED, tag::$tag]);
                out.extend((numbers.len() as u64).to_le_bytes());
                match cfg!(target_endian = "little") {
                    true => copy::append(out, numbers.as_bytes()),
                    false => numbers.iter().for_each(|n| out.extend(n.to_le_bytes())),
                }
                return true;
            }
        )*};
    }
    for_each_number!(write);
    false
}

/// Reads a `T` from the start of `bytes`, if it is a vector of numbers and stands there as a whole.
/// Otherwise `bytes` are as they were.
#[inline(always)]
pub(super) fn read<T>(bytes: &mut &[u8], block: &[u8]) -> Option<T> {
    macro_rules! read {
        ($($type:ty as $tag:ident),*) => {$(
            if same_type::is::<T, Vec<$type>>() {
                if let Some(rest) = bytes.strip_prefix(&[tag::LEAF]) {
                    return read_leaf::<T, $type>(bytes, rest, tag::$tag, block);
                }
                let rest = bytes.strip_prefix(&[tag::PACKED, tag::$tag])?;
                let (count, rest) = rest.split_first_chunk()?;
                let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
                let (numbers, rest) = rest.split_at_checked(count.checked_mul(size_of::<$type>())?)?;
                // They may lie anywhere, so only bytes are always where such numbers can be.
                let vec = match <[$type]>::ref_from_bytes(numbers) {
                    Ok(numbers) if cfg!(target_endian = "little") => copy::to_vec(numbers),
                    _ => {
                        let numbers = numbers.as_chunks().0.iter();
                        numbers.map(|bytes| <$type>::from_le_bytes(*bytes)).collect()
                    }
                };
                *bytes = rest;
                return same_type::from_vec(vec);
            }
        )*};
    }
    for_each_number!(read);
    None
}

#[cold]
fn read_leaf<'b, T, N>(bytes: &mut &'b [u8], mut rest: &'b [u8], tag: u8, block: &[u8]) -> Option<T>
where
    N: same_type::Primitive + FromBytes + Immutable + KnownLayout,
{
    let leaf = Leaf::read(&mut rest).ok()?;
    if leaf.kind != Kind::Packed(tag) {
        return None;
    }
    let vec = leaf.numbers::<N>(block).ok()?;
    *bytes = rest;
    same_type::from_vec(vec)
}

/// How vectors of `N` lie in a block that is lent.
pub(crate) fn kind_of<N>() -> Kind {
    macro_rules! kind {
        ($($type:ty as $tag:ident),*) => {$(
            if same_type::is::<N, $type>() {
                return Kind::Packed(tag::$tag);
            }
        )*};
    }
    for_each_number!(kind);
    Kind::Plain
}

#[cfg(test)]
mod tests {
    use crate::codec;

    fn bytes<T: crate::Serializable>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::append(value, &mut bytes).expect("it can be written");
        bytes
    }

    #[test]
    fn a_vector_has_the_bytes_of_its_numbers_one_by_one() {
        assert_eq!(bytes(&vec![1u8, 200]), bytes(&Box::<[u8]>::from([1, 200])));
        let numbers = [-1.5, f64::NAN];
        assert_eq!(
            bytes(&numbers.to_vec()),
            bytes(&Box::<[f64]>::from(numbers))
        );
        assert_eq!(bytes(&Vec::<u8>::new()), bytes(&Box::<[u8]>::from([])));
    }

    #[test]
    fn a_vector_reads_whatever_numbers_fit_into_it() {
        let small = bytes(&vec![1u8, 200]);
        assert_eq!(codec::decode::<Vec<u64>>(&small).unwrap(), [1, 200]);
        let large = bytes(&vec![1u64, 300]);
        assert!(codec::decode::<Vec<u8>>(&large).is_err());
        let negative = bytes(&vec![-1i8]);
        assert!(codec::decode::<Vec<u8>>(&negative).is_err());
    }

    #[test]
    fn a_vector_that_is_cut_off_or_miscounted_is_an_error() {
        let whole = bytes(&vec![7u32; 5]);
        for len in 0..whole.len() {
            assert!(codec::decode::<Vec<u32>>(&whole[..len]).is_err(), "{len}");
        }
        for count in [4, 6, u64::MAX / 4 + 1, u64::MAX] {
            let mut wrong = whole.clone();
            wrong[2..10].copy_from_slice(&count.to_le_bytes());
            assert!(codec::decode::<Vec<u32>>(&wrong).is_err(), "{count}");
        }
    }
}
