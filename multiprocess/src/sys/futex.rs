//! Sleeping until a word in shared memory changes: futex(2), shared between processes.

use std::time::Duration;

use nix::errno::Errno;

#[cfg(test)]
use super::simulated;
use super::word::AtomicU32;

/// Sleeps while `word` is `expected`, at most for `timeout`; false if the time is over. May return
/// early for no reason: a signal arrived, or the word had changed before the kernel looked at it.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> bool {
    #[cfg(test)]
    if let Some(woken) = simulated::sleep(word, expected) {
        return woken;
    }
    let time = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `word` and `time` outlive the call, which reads both and writes neither; every
    // error it can report (EAGAIN, EINTR, ETIMEDOUT) is an early return, which is allowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const time,
        )
    };
    answer == 0 || Errno::last() != Errno::ETIMEDOUT
}

/// Wakes at most `count` of those who sleep on `word`, in any process; returns how many.
pub(crate) fn wake(word: &AtomicU32, count: i32) -> usize {
    #[cfg(test)]
    if let Some(woken) = simulated::wake(word, count) {
        return woken;
    }
    // SAFETY: the call uses the word's address only to find its sleepers.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}

/// The looks by which a waiter finds what nobody woke it for.
#[cfg(not(any(test, feature = "kill-points")))]
pub(crate) mod looks {
    use std::time::Duration;

    #[inline(always)]
    pub(crate) fn first(usual: Duration) -> Duration {
        usual
    }

    #[inline(always)]
    pub(crate) fn found(_woken: bool) {}
}

/// The same with a count, and put off if a test wants to see that nobody needs them.
#[cfg(any(test, feature = "kill-points"))]
pub(crate) mod looks {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    static FOUND: AtomicU64 = AtomicU64::new(0);
    static PUT_OFF: AtomicBool = AtomicBool::new(false);

    pub(crate) fn first(usual: Duration) -> Duration {
        match PUT_OFF.load(Relaxed) {
            true => Duration::from_secs(3600),
            false => usual,
        }
    }

    pub(crate) fn found(woken: bool) {
        FOUND.fetch_add(u64::from(!woken), Relaxed);
    }

    /// From now on, nobody who waits in this process looks by itself before its deadline.
    #[cfg(feature = "kill-points")]
    pub(crate) fn put_off() {
        PUT_OFF.store(true, Relaxed);
    }

    /// How many waiters of this process found something that nobody had woken them for.
    #[cfg(feature = "kill-points")]
    pub(crate) fn count() -> u64 {
        FOUND.load(Relaxed)
    }
}
