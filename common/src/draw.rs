//! What a cell draws at random, so that a replay can draw the same again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::env;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng, TryRng};

/// The environment variable with draws that were made elsewhere, as [`written`] writes them.
pub const DRAWS: &str = "DRAWS";

/// The draws of one stream: the recorded ones first, then its own.
#[derive(Debug)]
pub struct Draws {
    recorded: VecDeque<f64>,
    own: StdRng,
}

/// A generator for one stream of draws: a task, a process, whatever draws by itself.
///
/// With the environment variable `SEED` set to a number, each stream repeats itself from run to
/// run; without it, all of them start from the operating system's randomness. A forked child
/// inherits its parent's memory and with it a generator's state, so each child takes a stream of
/// its own.
///
/// With [`DRAWS`] set, a stream makes the draws that stand there first. That is how the notebook's
/// own draws are made again, which stand in its printed lines and which no seed would give.
///
/// # Examples
///
/// ```
/// use rand::RngExt;
///
/// let seconds = 3.0 * common::draw::stream(0).random::<f64>();
/// assert!((0.0..3.0).contains(&seconds));
/// ```
pub fn stream(number: u64) -> Draws {
    Draws {
        recorded: env::var(DRAWS).map_or(VecDeque::new(), |text| Draws::read(&text, number)),
        own: match seed() {
            Ok(Some(seed)) => {
                StdRng::seed_from_u64(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed)
            }
            _ => rand::make_rng(),
        },
    }
}

/// The value of `SEED`; none where that is unset.
///
/// # Errors
///
/// A sentence, where the value is no number that a seed can be.
pub fn seed() -> Result<Option<u64>, String> {
    let Some(text) = env::var_os("SEED") else {
        return Ok(None);
    };
    let seed = text.to_str().and_then(|text| text.parse().ok());
    seed.map(Some).ok_or_else(|| {
        let text = text.display();
        format!(
            "SEED={text} is no seed: it is a whole number from 0 to {}",
            u64::MAX
        )
    })
}

/// The text of these draws for [`DRAWS`]: a list for each stream, each draw as a fraction of its range.
pub fn written(streams: &[&[f64]]) -> String {
    let list = |draws: &&[f64]| {
        let draws: Vec<String> = draws.iter().map(f64::to_string).collect();
        draws.join(" ")
    };
    streams.iter().map(list).collect::<Vec<_>>().join(";")
}

impl Draws {
    /// The recorded draws of one stream in a text such as `0.25 0.5;0.75`: fractions from 0 up to,
    /// and without, 1, with a semicolon between two streams. Anything else is left out.
    fn read(text: &str, number: u64) -> VecDeque<f64> {
        let list = usize::try_from(number)
            .ok()
            .and_then(|number| text.split(';').nth(number));
        let fractions = list.unwrap_or_default().split(' ');
        fractions
            .filter_map(|fraction| fraction.parse().ok())
            .filter(|fraction| (0.0..1.0).contains(fraction))
            .collect()
    }
}

/// A fraction becomes the integer that stands as far up in its range. All that rand makes of an
/// integer keeps the proportion, be it a fraction again or a number from a range.
impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(match self.recorded.pop_front() {
            Some(fraction) => (fraction * 2_f64.powi(32)) as u32,
            None => self.own.next_u32(),
        })
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(match self.recorded.pop_front() {
            Some(fraction) => (fraction * 2_f64.powi(64)) as u64,
            None => self.own.next_u64(),
        })
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.own.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn draws(fractions: &[f64]) -> Draws {
        let text = written(&[&[], fractions]);
        Draws {
            recorded: Draws::read(&text, 1),
            own: StdRng::seed_from_u64(7),
        }
    }

    #[test]
    fn a_stream_makes_the_recorded_draws() {
        let seconds = 3.0 * draws(&[0.906 / 3.0]).random::<f64>();
        assert!((seconds - 0.906).abs() < 1e-9, "{seconds}");
        // The middle of a number's share of the range is that number, in whatever width.
        for n in [0, 2062, 6910, 10_000] {
            let fraction = (f64::from(n) + 0.5) / 10_001.0;
            assert_eq!(draws(&[fraction]).random_range(0..=10_000_i32), n);
            assert_eq!(
                draws(&[fraction]).random_range(0..=10_000_i64),
                i64::from(n)
            );
        }
    }

    #[test]
    fn a_stream_that_has_made_its_recorded_draws_goes_on_by_itself() {
        let mut draws = draws(&[0.5]);
        draws.next_u64();
        assert_eq!(draws.next_u64(), StdRng::seed_from_u64(7).next_u64());
        assert!(Draws::read("nonsense 1.5;NaN", 0).is_empty());
    }
}
