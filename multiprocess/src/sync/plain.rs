//! What may lie in shared memory.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Plain data: any bytes are a value of it, it has no padding, and no change behind a reference.
///
/// Integers, floats, arrays of them and `()` are plain; structs become so by a derive of
/// [`zerocopy`](crate::zerocopy). A `bool` or a `char` is not, since not all bytes are one: take a
/// `u8` or a `u32`. Whatever a process that was killed, or has gone wrong, leaves in the memory then
/// is some value.
///
/// # Examples
/// ```
/// multiprocess::sync::Mutex::new([1.5, 2.5])?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
///
/// ```compile_fail
/// multiprocess::sync::Mutex::new("no plain data".to_string())?;
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot lie in shared memory",
    label = "it must be plain data",
    note = "derive `Clone`, `Copy` and `FromBytes`, `IntoBytes`, `Immutable` of `multiprocess::zerocopy` for it"
)]
pub trait Plain: Copy + Send + FromBytes + IntoBytes + Immutable + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Copy + Send + FromBytes + IntoBytes + Immutable + 'static> Plain for T {}

/// An integer, which several processes may change at once without a lock.
///
/// The operations are those of [`std::sync::atomic`] in the order of all threads, `SeqCst`.
pub trait Integer: Plain + private::Sealed {
    /// The sum, wrapping around at the borders of the type.
    #[doc(hidden)]
    fn plus(self, other: Self) -> Self;
}

mod private {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl private::Sealed for $type {}

        impl Integer for $type {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        }
    )*};
}

integers! { u8, u16, u32, u64, usize, i8, i16, i32, i64, isize }
