//! A process that sleeps where it also hears that another has ended: at descriptors.
//!
//! Whoever makes a change looks for the sleeper's mark, and wakes it by an eventfd(2). As long as
//! nobody sleeps, that costs a load.

use std::{
    array, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Instant,
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::eventfd::{EfdFlags, EventFd},
    unistd,
};
use serde::{Deserialize, Serialize};

use crate::{
    fd_passing::Descriptor,
    sys::{poll::poll, shm::shareable},
};

shareable! {
    /// The mark of a sleeper: 0, or a number that is another each time it sleeps.
    pub(crate) struct SleepMark {
        mark: AtomicU32,
        /// How often it has slept; written by the sleeper alone.
        sleeps: AtomicU32,
    }
}

/// What wakes the sleeper. Each process of the pool has it.
#[derive(Serialize, Deserialize)]
pub(super) struct WakeFd(Descriptor<OwnedFd>);

impl WakeFd {
    pub(super) fn new() -> io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Descriptor(fd.into())))
    }

    /// Wakes the sleeper, if it sleeps. The change must have been stored with `SeqCst` before: then
    /// either the sleeper sees it after its announcement, or the announcement is seen here.
    #[inline]
    pub(super) fn wake(&self, sleeper: &SleepMark) {
        let mark = sleeper.mark.load(SeqCst);
        if mark != 0 {
            self.write(sleeper, mark);
        }
    }

    #[cold]
    fn write(&self, sleeper: &SleepMark, mark: u32) {
        // It is refused only when the count is at its end, and then the descriptor is readable.
        let _ = unistd::write(&self.0.0, &1_u64.to_ne_bytes());
        // Nobody else need write for this sleep. After the write, since whoever is killed between the
        // two leaves a sleeper that is woken; and only this mark, since the sleeper may be up already
        // and sleep again.
        let _ = sleeper.mark.compare_exchange(mark, 0, SeqCst, SeqCst);
    }

    /// Sleeps until it is woken, or one of `others` is readable, or the deadline; does not sleep if
    /// `ready`, which must load what it looks at with `SeqCst`. Returns which others are readable.
    pub(super) fn sleep<const N: usize>(
        &self,
        sleeper: &SleepMark,
        others: [BorrowedFd<'_>; N],
        deadline: Option<Instant>,
        ready: impl Fn() -> bool,
    ) -> io::Result<[bool; N]> {
        let sleep = sleeper.sleeps.load(SeqCst).wrapping_add(1);
        sleeper.sleeps.store(sleep, SeqCst);
        sleeper.mark.store(sleep.max(1), SeqCst);
        // Looked at after the announcement: whoever makes a change later sees the mark.
        let deadline = if ready() {
            Some(Instant::now())
        } else {
            deadline
        };
        let mut fds = vec![PollFd::new(self.0.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(others.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let slept = poll(&mut fds, deadline);
        sleeper.mark.store(0, SeqCst);
        if fds[0].any() == Some(true) {
            // Set back to 0. What is written after this wakes the next sleep for nothing.
            let _ = unistd::read(&self.0.0, &mut [0; 8]);
        }
        slept?;
        Ok(array::from_fn(|place| fds[place + 1].any() == Some(true)))
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, thread, time::Duration};

    use super::*;
    use crate::sys::shm::Shared;

    shareable! {
        struct Header {
            sleeper: SleepMark,
            changes: AtomicU32,
        }
    }

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn no_wake_is_lost_between_the_look_and_the_sleep() {
        let shared = Shared::<Header>::create("test", 0).expect("there is memory");
        let wake = WakeFd::new().expect("there is a descriptor");
        let changes = || shared.changes.load(SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    shared.changes.fetch_add(1, SeqCst);
                    wake.wake(&shared.sleeper);
                }
            });
            let begin = Instant::now();
            while changes() < 20_000 {
                let before = changes();
                let ready = || changes() != before;
                wake.sleep(&shared.sleeper, [], Some(begin + SOON), ready)
                    .expect("a poll");
                assert!(begin.elapsed() < SOON, "a wake was lost");
            }
        });
    }

    #[test]
    fn another_descriptor_wakes_the_sleeper() {
        let shared = Shared::<Header>::create("test", 0).expect("there is memory");
        let wake = WakeFd::new().expect("there is a descriptor");
        let (ours, theirs) = UnixStream::pair().expect("there are descriptors");
        drop(theirs);
        let begin = Instant::now();
        let others = [ours.as_fd()];
        let readable = wake.sleep(&shared.sleeper, others, Some(begin + SOON), || false);
        assert_eq!(readable.expect("a poll"), [true]);
        assert_eq!(shared.sleeper.mark.load(SeqCst), 0);
    }

    #[test]
    fn who_is_ready_does_not_sleep() {
        let shared = Shared::<Header>::create("test", 0).expect("there is memory");
        let wake = WakeFd::new().expect("there is a descriptor");
        let begin = Instant::now();
        let slept = wake.sleep(&shared.sleeper, [], Some(begin + SOON), || true);
        assert!(slept.is_ok() && begin.elapsed() < SOON);
    }

    #[test]
    fn a_wake_that_comes_late_leaves_the_mark_of_the_next_sleep() {
        let shared = Shared::<Header>::create("test", 0).expect("there is memory");
        let wake = WakeFd::new().expect("there is a descriptor");
        let (mark, late) = (2, 1);
        shared.sleeper.mark.store(mark, SeqCst);
        wake.write(&shared.sleeper, late);
        assert_eq!(shared.sleeper.mark.load(SeqCst), mark);
        wake.wake(&shared.sleeper);
        assert_eq!(
            shared.sleeper.mark.load(SeqCst),
            0,
            "nobody else need wake it"
        );
    }
}
