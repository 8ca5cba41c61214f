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

/// How long an item waits before it is tried again, after so many tries that failed: from 1 s to 5
/// minutes.
pub(crate) fn retry_pause(tries: u32) -> Duration {
    let seconds = 2u64.pow(tries.saturating_sub(1).min(16)).min(300);
    jitter(Duration::from_secs(seconds))
}

/// Between half of a pause and all of it, so that clients do not come back at the same moment.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let share = f64::from(u32::from_ne_bytes(bytes())) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
