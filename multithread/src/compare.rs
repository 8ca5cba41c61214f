//! Threads against processes, measured: chapter 4, a heading without a cell in the notebook.
//!
//! Each function measures one difference on this machine, now, with threads of std and with forked
//! processes of [`multiprocess`]. A [`Figure`] is the median of many rounds, so that a round in which something
//! else had the processor does not decide, with the range that holds nine of ten.
//!
//! All of them fork, and so must be called while the program has one thread; threads that were
//! joined do not count.
//!
//! # Errors
//!
//! Every function fails with [`Error::Threaded`] when the program has other threads, with
//! [`Error::Os`] when the system refuses a thread, a process or a look into `/proc`, and with what
//! [`Process::join`](multiprocess::Process::join) says of a process that something else ended.

use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use multiprocess::{Error, Result};

mod conclusion;
mod costs;
mod failures;
mod messages;

pub use conclusion::Findings;
pub use costs::{LeftOut, cpu_work, memory_of_one_more, start_and_join};
pub use failures::{
    Ends, a_panic_ends, a_sigsegv_ends, a_write_is_seen, an_abort_ends, can_be_stopped,
};
pub use messages::{round_trip, throughput};

/// What was found for a thread and for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Both<T> {
    /// For a thread.
    pub thread: T,
    /// For a forked process.
    pub process: T,
}

impl<T> Both<T> {
    /// Both, each put through `f`.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Both<U> {
        Both {
            thread: f(self.thread),
            process: f(self.process),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Both<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Both { thread, process } = self;
        write!(f, "thread {thread}    process {process}")
    }
}

/// How one more is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A thread of std.
    Thread,
    /// A process that is forked, with a copy of all memory.
    Fork,
    /// A process that is forked from the zygote, see [`multiprocess::init`].
    Zygote,
    /// Another program, in a process that begins with nothing.
    Spawn,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Thread => "thread",
            Way::Fork => "fork",
            Way::Zygote => "zygote",
            Way::Spawn => "spawn",
        })
    }
}

/// What was measured in several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Half of the rounds were below.
    pub median: f64,
    /// One of twenty was below.
    pub low: f64,
    /// One of twenty was above.
    pub high: f64,
    /// How many rounds.
    pub rounds: usize,
}

impl Figure {
    /// The figure of these rounds; of none, not a number.
    fn of(mut rounds: Vec<f64>) -> Figure {
        rounds.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (part * rounds.len() as f64) as usize;
            rounds
                .get(place.min(rounds.len().saturating_sub(1)))
                .copied()
                .unwrap_or(f64::NAN)
        };
        Figure {
            median: at(0.5),
            low: at(0.05),
            high: at(0.95),
            rounds: rounds.len(),
        }
    }
}

/// A figure, and of what it is.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of how many MiB, bytes or processors, as the function says that measured it.
    pub size: usize,
    /// Of which way.
    pub way: Way,
    /// What was measured.
    pub figure: Figure,
}

/// How long the rounds of one figure may take, where they take so long that fewer must do.
const PATIENCE: Duration = Duration::from_millis(350);

/// Does a round so often, or until patience is over; three times at least.
fn repeat(rounds: usize, mut round: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    for done in 0..rounds {
        if done >= 3 && begun.elapsed() > PATIENCE {
            break;
        }
        round()?;
    }
    Ok(())
}

/// With how many decimals the microseconds of [`start_and_join`] are said.
pub const START_DECIMALS: usize = 0;

/// With how many decimals the microseconds of [`round_trip`] are said.
pub const TRIP_DECIMALS: usize = 2;

/// The rows as lines for a reader: `what` is said first, with the row's size for `{}`.
pub fn lines(rows: &[Row], what: &str, unit: &str, decimals: usize) -> String {
    let line = |row: &Row| {
        let (what, way) = (what.replace("{}", &row.size.to_string()), row.way);
        let Figure {
            median,
            low,
            high,
            rounds,
        } = row.figure;
        format!(
            "{what}\t{way}\t{median:.decimals$}\t{unit}  ({low:.decimals$} to {high:.decimals$}, N {rounds})\n"
        )
    };
    rows.iter().map(line).collect()
}

fn start_thread(f: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .spawn(f)
        .map_err(|error| Error::os("start a thread", error))
}

/// Waits until the kernel has forgotten the threads that were joined: a join returns a moment
/// earlier, and a fork in that moment would be refused. Other threads it leaves to the refusal.
fn await_joined_threads() {
    let deadline = Instant::now() + Duration::from_secs(1);
    let threads = || fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    while threads() > 1 && Instant::now() < deadline {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_one_wild_round() {
        let figure = Figure::of(vec![3.0, 1.0, 1000.0, 2.0, 4.0]);
        assert_eq!((figure.median, figure.rounds), (3.0, 5));
        assert_eq!(Figure::of(vec![0.5]).high, 0.5);
    }

    #[test]
    fn nine_of_ten_rounds_are_between_low_and_high() {
        let figure = Figure::of((0..100).map(f64::from).collect());
        assert_eq!((figure.low, figure.median, figure.high), (5.0, 50.0, 95.0));
    }
}
