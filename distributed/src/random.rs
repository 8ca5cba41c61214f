//! Random numbers, from the system.

use std::time::Duration;

/// So many random bytes.
///
/// # Panics
///
/// Where a sandbox forbids the system's call for them: then no key could be proved.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// Between half of a pause and all of it, so that clients do not come back at the same moment.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let share = f64::from(u32::from_ne_bytes(bytes())) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
