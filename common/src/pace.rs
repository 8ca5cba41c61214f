//! How fast a cell goes: its pauses, scaled by the environment variable `PACE`.
//!
//! `PACE=1` is the notebook's own pace, for readers; a test runs at `PACE=0`, where a cell that
//! used a sleep for a lock's work breaks.

use std::time::Duration;
use std::{env, thread};

/// The factor on all pauses: the value of `PACE`, and 1 where that is unset.
///
/// # Errors
///
/// A sentence, where the value is no number from 0 to 1000.
pub fn read() -> Result<f64, String> {
    let Some(text) = env::var_os("PACE") else {
        return Ok(1.0);
    };
    let pace = text.to_str().and_then(|text| text.parse().ok());
    pace.filter(|pace| (0.0..=1000.0).contains(pace))
        .ok_or_else(|| {
            format!(
                "PACE={} is no factor on pauses: it is a number from 0 to 1000",
                text.display()
            )
        })
}

/// The same; 1 too where [`read`] gives an error, which a program's start has reported by then
/// ([`check`](crate::environment::check)).
pub fn factor() -> f64 {
    read().unwrap_or(1.0)
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
