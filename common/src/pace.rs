//! How fast a cell goes: its pauses, scaled by the environment variable `PACE`.
//!
//! `PACE=1` is the notebook's own pace, for readers; a test runs at `PACE=0`, where a cell that
//! used a sleep for a lock's work breaks.

use std::time::Duration;
use std::{env, thread};

/// The factor on all pauses: the value of `PACE`, and 1 where that is unset or not a number ≥ 0.
pub fn factor() -> f64 {
    let pace = env::var("PACE").ok().and_then(|pace| pace.parse().ok());
    pace.filter(|pace| (0.0..=1000.0).contains(pace))
        .unwrap_or(1.0)
}

/// Sleeps for so many seconds, times [`factor`]: Python's `time.sleep`.
///
/// # Panics
///
/// Panics when `seconds` is negative or not finite, as [`Duration::from_secs_f64`] does.
///
/// # Examples
///
/// ```
/// common::pace::pause(0.01);
/// ```
pub fn pause(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds * factor()));
}
