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

/// The pause after the first try that fails, and the longest.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// An id that nothing else has.
pub(crate) fn id() -> String {
    format!("{:032x}", u128::from_ne_bytes(bytes()))
}

/// How long an item waits before it is tried again, after so many tries that failed: from 1 s to 5
/// minutes.
pub(crate) fn retry_pause(tries: u32) -> Duration {
    backoff(BACKOFF.0, BACKOFF.1, tries)
}

/// The same, from a first pause, which doubles with each try, to a longest one.
pub(crate) fn backoff(first: Duration, longest: Duration, tries: u32) -> Duration {
    let pause = first.saturating_mul(2u32.pow(tries.saturating_sub(1).min(31)));
    jitter(pause.min(longest))
}

/// Between half of a pause and all of it, so that clients do not come back at the same moment.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let share = f64::from(u32::from_ne_bytes(bytes())) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
