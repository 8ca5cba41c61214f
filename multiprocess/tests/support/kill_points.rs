//! Processes that end themselves between two stores of their choice, and waits that nobody ends but
//! those who make the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use multiprocess::{on_step, put_off_timed_looks, timed_looks_that_found_something};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::{Child, kills};

/// Runs `work` in a process that is killed when it comes to a step for the n-th time.
pub(crate) fn dying_at(step: &'static str, occurrence: u64, work: impl FnOnce()) -> Child {
    Child::fork(|| {
        let mut seen = 0;
        on_step(move |name| {
            seen += u64::from(name == step);
            if seen == occurrence {
                kill(Pid::this(), Signal::SIGKILL).unwrap();
            }
        });
        work();
    })
}

/// A step for each of so many kills, one after the other, and at which of its occurrences.
pub(crate) fn each_of<'a>(
    steps: &'a [&'static str],
    few: u64,
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    let count = steps.len() as u64;
    let occurrences = [1, 2, 20];
    (0..kills(few)).map(move |round| {
        let (step, occurrence) = (round % count, round / count % 3);
        (steps[step as usize], occurrences[occurrence as usize])
    })
}

/// Waits for the end of a process that may die at a step; returns whether it came so far.
#[track_caller]
pub(crate) fn has_died(victim: &Child) -> bool {
    match victim.wait() {
        Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)) => true,
        Some(WaitStatus::Exited(_, 0)) => false,
        status => panic!("ended with {status:?}"),
    }
}

/// Does `change` when this thread first comes to a step.
pub(crate) fn once_at(step: &'static str, change: impl Fn() + 'static) -> Arc<AtomicBool> {
    let came = Arc::new(AtomicBool::new(false));
    let coming = Arc::clone(&came);
    on_step(move |name| {
        if name == step && !coming.swap(true, SeqCst) {
            change();
        }
    });
    came
}

/// A process whose waits are ended by others, and by nothing else.
pub(crate) fn woken_child(work: impl FnOnce()) -> Child {
    Child::fork(|| {
        put_off_timed_looks();
        work();
        assert_eq!(timed_looks_that_found_something(), 0);
    })
}

/// The same, once it sleeps.
pub(crate) fn asleep(work: impl FnOnce()) -> Child {
    let child = woken_child(work);
    child.wait_until_asleep();
    child
}
