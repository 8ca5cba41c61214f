//! Sleeping until a word in shared memory changes: futex(2), shared between processes.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

/// Sleeps while `word` is `expected`, at most for `timeout`; false if the time is over. May return
/// early for no reason: a signal arrived, or the word had changed before the kernel looked at it.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> bool {
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
    // SAFETY: the call uses the word's address only to find its sleepers.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}
