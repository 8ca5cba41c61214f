//! What a cell draws at random, so that a replay can draw the same again.

use std::env;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A generator for one stream of draws: a task, a process, whatever draws by itself.
///
/// With the environment variable `SEED` set to a number, each stream repeats itself from run to
/// run; without it, all of them start from the operating system's randomness. A forked child
/// inherits its parent's memory and with it a generator's state, so each child takes a stream of
/// its own.
///
/// # Examples
///
/// ```
/// use rand::RngExt;
///
/// let seconds = 3.0 * common::draw::stream(0).random::<f64>();
/// assert!((0.0..3.0).contains(&seconds));
/// ```
pub fn stream(number: u64) -> StdRng {
    match env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok())
    {
        Some(seed) => StdRng::seed_from_u64(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed),
        None => rand::make_rng(),
    }
}
