//! A generic value seen as the vector that it is: what specialisation would do.

use std::any::TypeId;
use std::mem::{self, ManuallyDrop};

/// A primitive number.
///
/// # Safety
/// The type has no lifetime parameter. A [`TypeId`] says nothing of lifetimes.
pub(crate) unsafe trait Primitive: Copy + 'static {}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        // SAFETY: a primitive type has no lifetime parameter.
        unsafe impl Primitive for $type {}
    )*};
}

numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

/// Whether two types are the same but for lifetimes.
#[inline(always)]
pub(crate) fn is<T: ?Sized, U: ?Sized>() -> bool {
    typeid::of::<T>() == typeid::of::<U>()
}

/// The value, if it is a vector of such numbers.
#[inline(always)]
pub(crate) fn as_vec<T: ?Sized, N: Primitive>(value: &T) -> Option<&Vec<N>> {
    let is_vec = typeid::of::<T>() == TypeId::of::<Vec<N>>();
    // SAFETY: `T` is `Vec<N>`, for the two are the same but for lifetimes, and that has none.
    is_vec.then(|| unsafe { &*(&raw const *value).cast::<Vec<N>>() })
}

/// The vector as a `T`, if that is its type.
#[inline(always)]
pub(crate) fn from_vec<T, N: Primitive>(vec: Vec<N>) -> Option<T> {
    if typeid::of::<T>() != TypeId::of::<Vec<N>>() {
        return None;
    }
    let vec = ManuallyDrop::new(vec);
    // SAFETY: `T` is `Vec<N>`, as above. The original is not dropped, so that there is one owner.
    Some(unsafe { mem::transmute_copy::<Vec<N>, T>(&vec) })
}
