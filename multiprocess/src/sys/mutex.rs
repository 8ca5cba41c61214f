//! A mutex in shared memory that outlives its owner: `PTHREAD_PROCESS_SHARED` and
//! `PTHREAD_MUTEX_ROBUST` of pthread_mutexattr_setrobust(3).
//!
//! The kernel gives the mutex of a killed owner to the next one who asks, and says so. The thread
//! must have been born by pthread_create or fork: a raw clone leaves glibc with the parent's thread
//! id, by which the kernel could not recognise the dead owner.

use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

unsafe extern "C" {
    /// glibc 2.30; the libc crate does not declare it.
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        deadline: *const libc::timespec,
    ) -> libc::c_int;
}

/// A robust mutex, to be placed in memory that several processes map.
#[repr(C)]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a process-shared pthread mutex is made to be used from any thread of any process; the
// cell is passed to the pthread functions and never read or written here.
unsafe impl Sync for RobustMutex {}

/// The mutex is held; dropping it unlocks.
#[must_use]
pub(crate) struct Guard<'a> {
    mutex: &'a RobustMutex,
    /// A pthread mutex is unlocked by the thread that locked it.
    not_send: PhantomData<*const ()>,
}

impl RobustMutex {
    /// Makes the mutex ready, once, before any other process or thread can see it.
    pub(crate) fn init(&self) -> io::Result<()> {
        let mut attr = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attr = attr.as_mut_ptr();
        // SAFETY: `attr` points to memory for an attribute object, which this call initialises.
        check(unsafe { libc::pthread_mutexattr_init(attr) })?;
        // SAFETY: `attr` was initialised above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attr, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: `attr` was initialised above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attr, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: nobody else sees the mutex yet, and `attr` was initialised above.
        check(unsafe { libc::pthread_mutex_init(self.0.get(), attr) })
    }

    /// Locks. If the last owner died in possession, `repair` runs first, with the mutex held; should
    /// it be killed there, the next owner runs it again.
    ///
    /// Gives `None` when `deadline` passes first.
    #[inline]
    pub(crate) fn lock(
        &self,
        deadline: Option<Instant>,
        repair: impl FnOnce(),
    ) -> Option<Guard<'_>> {
        // SAFETY: the mutex was initialised by its creator before it was shared.
        let mut status = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
        if status == libc::EBUSY {
            status = self.lock_contended(deadline);
        }
        match status {
            0 => {}
            libc::EOWNERDEAD => {
                repair();
                // SAFETY: this thread holds the mutex, in the inconsistent state.
                unsafe { libc::pthread_mutex_consistent(self.0.get()) };
            }
            _ => return None,
        }
        Some(Guard {
            mutex: self,
            not_send: PhantomData,
        })
    }

    /// The owner needs a fraction of a microsecond, if it runs at all: look again a few times, let
    /// others run, and only then sleep in the kernel, which makes the owner's unlock slow as well.
    #[cold]
    fn lock_contended(&self, deadline: Option<Instant>) -> libc::c_int {
        for attempt in 0..12 {
            if attempt < 6 {
                for _ in 0..1 << attempt {
                    std::hint::spin_loop();
                }
            } else {
                std::thread::yield_now();
            }
            // SAFETY: the mutex was initialised by its creator before it was shared.
            let status = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
            if status != libc::EBUSY {
                return status;
            }
        }
        let Some(deadline) = deadline else {
            // SAFETY: the mutex was initialised by its creator before it was shared.
            return unsafe { libc::pthread_mutex_lock(self.0.get()) };
        };
        let until = monotonic(deadline);
        // SAFETY: the mutex was initialised, and `until` outlives the call.
        unsafe { pthread_mutex_clocklock(self.0.get(), libc::CLOCK_MONOTONIC, &raw const until) }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread holds the mutex.
        unsafe { libc::pthread_mutex_unlock(self.mutex.0.get()) };
    }
}

/// The deadline on the clock that the kernel counts by; `Instant` is that clock, but opaque.
fn monotonic(deadline: Instant) -> libc::timespec {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32);
    let until = now + deadline.saturating_duration_since(Instant::now());
    libc::timespec {
        tv_sec: until.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: until.subsec_nanos().into(),
    }
}

fn check(status: libc::c_int) -> io::Result<()> {
    match status {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
