//! SIGKILL at random moments: for tests of your own that want to know what survives it.

use std::{
    os::fd::AsFd,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::sys::pidfd;

/// Kills processes, one after the other, while work runs that should survive it.
///
/// # Examples
///
/// A pool with retries gives every result, whoever of its workers is killed:
///
/// ```
/// use multiprocess::{Pool, chaos::Chaos};
/// use std::{thread, time::Duration};
///
/// let pool = Pool::builder().workers(2).retries(50).build()?;
/// let task = |n: u64| {
///     thread::sleep(Duration::from_millis(1));
///     n * n
/// };
/// let chaos = Chaos::new(7).every(Duration::from_millis(5));
/// let (squares, _kills) = chaos.run(|| pool.worker_pids(), || pool.map_chunked(task, 0..50, 1));
/// assert!(squares?.into_iter().eq((0..50).map(|n| n * n)));
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chaos {
    seed: u64,
    every: Duration,
}

impl Chaos {
    /// Kills every 100 ms. The same seed draws the same victims and pauses; what these meet is the
    /// system's choice.
    pub fn new(seed: u64) -> Self {
        let every = Duration::from_millis(100);
        Self { seed, every }
    }

    /// Kills so often: a pause is drawn from 0 to twice this time.
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Does `work`, and meanwhile kills one of the `victims`, who are asked for each time, again and
    /// again. Returns what the work gave, and how many were killed.
    ///
    /// The killing is done by a thread, so that `work` cannot fork by
    /// [`Process::spawn`](crate::Process::spawn). A number is killed only if it is still a
    /// victim's when its process is held by a pidfd.
    ///
    /// # Panics
    ///
    /// If `work` or `victims` does.
    pub fn run<T>(
        &self,
        victims: impl Fn() -> Vec<u32> + Send,
        work: impl FnOnce() -> T,
    ) -> (T, u64) {
        thread::scope(|scope| {
            let (going, over) = mpsc::channel::<()>();
            let killer = scope.spawn(move || {
                let mut dice = StdRng::seed_from_u64(self.seed);
                let mut kills = 0;
                loop {
                    let pause = self.every.mul_f64(dice.random_range(0.0..2.0));
                    if over.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                    let victim = victims().choose(&mut dice).copied();
                    kills += u64::from(victim.is_some_and(|pid| kill(pid, &victims)));
                }
                kills
            });
            let result = work();
            drop(going);
            (
                result,
                killer.join().expect("the victims are told without a panic"),
            )
        })
    }
}

fn kill(pid: u32, victims: &impl Fn() -> Vec<u32>) -> bool {
    let Ok(process) = pidfd::open(pid.cast_signed()) else {
        return false;
    };
    // The number may have become another's before it was opened.
    victims().contains(&pid) && pidfd::signal(process.as_fd(), libc::SIGKILL).is_ok()
}
