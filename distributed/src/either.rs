//! A call that managers and engines both have.

macro_rules! either {
    ($either:expr, $place:ident, $there:ident => $call:expr) => {
        match $either {
            $place::Manager($there) => $call,
            #[cfg(feature = "nats")]
            $place::Engine($there) => $call,
        }
    };
}
pub(crate) use either;
