//! The raw mechanisms: what would be left if a library cost nothing.
#![expect(
    unsafe_code,
    reason = "a bare fork and bare shared memory are what is measured"
)]

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use nix::libc::{self, _exit};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use rustix::thread::futex;

use crate::{MIB, Measured, gibibyte, large, micros, per_second, unknown};

pub(crate) fn measure(row: &str) -> Measured {
    match row {
        "queue/roundtrip" => micros(futex_ping_pong),
        "queue/1MiB" => copies(),
        "pool/map-1MiB" => copies_in_and_out(),
        "process/spawn" => micros(forks),
        "process/spawn-1GiB" => {
            let resident = gibibyte();
            let measured = micros(forks);
            black_box(resident);
            measured
        }
        "sync/lock" => pthread_locks(),
        _ => unknown(row),
    }
}

/// A mutex of pthreads that is shared between processes and robust, which nobody else wants.
fn pthread_locks() -> Measured {
    let succeeded = |code: i32| match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    };
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    let mutex = Box::leak(Box::new(MaybeUninit::<libc::pthread_mutex_t>::uninit())).as_mut_ptr();
    // SAFETY: it writes the attributes, which are read only after it.
    succeeded(unsafe { libc::pthread_mutexattr_init(attributes) })?;
    let shared = libc::PTHREAD_PROCESS_SHARED;
    // SAFETY: the attributes were initialised above.
    succeeded(unsafe { libc::pthread_mutexattr_setpshared(attributes, shared) })?;
    let robust = libc::PTHREAD_MUTEX_ROBUST;
    // SAFETY: the attributes were initialised above.
    succeeded(unsafe { libc::pthread_mutexattr_setrobust(attributes, robust) })?;
    // SAFETY: the memory is never freed, and nobody has the mutex yet.
    succeeded(unsafe { libc::pthread_mutex_init(mutex, attributes) })?;
    per_second(|count| {
        for _ in 0..count {
            // SAFETY: the mutex was initialised above, and this thread has not locked it.
            succeeded(unsafe { libc::pthread_mutex_lock(mutex) })?;
            // SAFETY: this thread has just locked it.
            succeeded(unsafe { libc::pthread_mutex_unlock(mutex) })?;
        }
        Ok(())
    })
}

/// A word of shared memory with the number of the last signal, and the kernel to wait for it.
struct Signal(AtomicU32);

impl Signal {
    fn send(&self, number: u32) -> rustix::io::Result<()> {
        self.0.store(number, SeqCst);
        futex::wake(&self.0, futex::Flags::empty(), 1).map(drop)
    }

    fn await_number(&self, number: u32) -> rustix::io::Result<()> {
        loop {
            let seen = self.0.load(SeqCst);
            if seen == number {
                return Ok(());
            }
            match futex::wait(&self.0, futex::Flags::empty(), seen, None) {
                Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Two words in memory that a forked child shares: the smallest round trip without spinning.
fn futex_ping_pong(count: u64) -> Result<(), Box<dyn Error>> {
    let length = NonZeroUsize::new(4096).expect("it is not 0");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh mapping at a place of the kernel's choice touches no other memory.
    let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
    // SAFETY: the page is zeroed, aligned, never unmapped, and holds nothing but these two words,
    // which are atomic, since another process writes them as well.
    let [there, back] = unsafe { page.cast::<[Signal; 2]>().as_ref() };
    let last = u32::try_from(count)?;
    // SAFETY: this program has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let echo = |n| there.await_number(n).and_then(|()| back.send(n));
            let code = i32::from((1..=last).try_for_each(echo).is_err());
            // SAFETY: ends the child; nothing of it runs after this.
            unsafe { _exit(code) }
        }
        ForkResult::Parent { child } => {
            for n in 1..=last {
                there.send(n)?;
                back.await_number(n)?;
            }
            waitpid(child, None)?;
            Ok(())
        }
    }
}

/// One copy of each message, from cache to cache where it fits: memcpy at its best.
fn copies() -> Measured {
    let source = vec![7_u8; MIB];
    let mut target = vec![0_u8; MIB];
    per_second(|count| {
        for _ in 0..count {
            target.copy_from_slice(black_box(&source));
            black_box(&mut target);
        }
        Ok(())
    })
}

/// One copy of each item to where a worker would read it, and one of each result to memory of its own.
fn copies_in_and_out() -> Measured {
    let mut shared = vec![0_u8; MIB];
    large::mapped(|items| {
        let copied = items.into_iter().map(|item| {
            shared.copy_from_slice(&item);
            drop(item);
            black_box(&shared).clone()
        });
        Ok(copied.collect())
    })
}

fn forks(count: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        // SAFETY: this program has one thread.
        match unsafe { fork() }? {
            // SAFETY: ends the child; nothing of it runs after this.
            ForkResult::Child => unsafe { _exit(0) },
            ForkResult::Parent { child } => drop(waitpid(child, None)?),
        }
    }
    Ok(())
}
