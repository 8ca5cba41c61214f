//! What one does to the others: a write, a panic, a crash; and whether it can be stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, panic, process, thread};

use multiprocess::{Error, Process, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};

use super::{Both, await_joined_threads, start_thread};

/// What a failure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Not even the thread or process that it happened in.
    Nothing,
    /// The thread or process that it happened in; whoever joined it was told, and went on.
    Itself,
    /// The whole program, with whoever would have joined.
    All,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ends::Nothing => "nothing",
            Ends::Itself => "itself",
            Ends::All => "all",
        })
    }
}

/// Whether the program sees what one writes to a `static`.
///
/// # Errors
///
/// See the [module](super#errors).
///
/// # Examples
///
/// ```standalone_crate
/// let seen = multithread::compare::a_write_is_seen()?;
/// assert!(seen.thread);
/// assert!(!seen.process, "a process writes to a copy");
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn a_write_is_seen() -> Result<Both<bool>> {
    static WRITTEN: AtomicBool = AtomicBool::new(false);
    let write = || WRITTEN.store(true, Ordering::Relaxed);

    await_joined_threads();
    WRITTEN.store(false, Ordering::Relaxed);
    Process::spawn(write)?.join()?;
    let process = WRITTEN.swap(false, Ordering::Relaxed);
    start_thread(write)?.join().expect("a store does not panic");
    let thread = WRITTEN.load(Ordering::Relaxed);
    Ok(Both { thread, process })
}

/// What a panic in one ends.
///
/// The panic happens in a program forked for it, whose panic hook is silent: nothing is printed,
/// and the caller's hook stays. In a build with `panic = "abort"` a panic in a thread ends all.
///
/// # Errors
///
/// See the [module](super#errors).
///
/// # Examples
///
/// ```standalone_crate
/// use multithread::compare::{self, Ends};
///
/// let panic = compare::a_panic_ends()?;
/// assert_eq!(panic.thread, Ends::Itself);
/// assert_eq!(panic.process, Ends::Itself);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn a_panic_ends() -> Result<Both<Ends>> {
    ends(|| panic!("wanted"))
}

/// What an abort in one ends, as a crash in C code would: [`std::process::abort`].
///
/// It happens in a program forked for it, which leaves no core dump.
///
/// # Errors
///
/// See the [module](super#errors).
///
/// # Examples
///
/// ```standalone_crate
/// use multithread::compare::{self, Ends};
///
/// let abort = compare::an_abort_ends()?;
/// assert_eq!(abort.thread, Ends::All);
/// assert_eq!(abort.process, Ends::Itself);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn an_abort_ends() -> Result<Both<Ends>> {
    ends(|| process::abort())
}

/// What a SIGSEGV in one ends, which a wrong pointer in C code gets.
///
/// It happens in a program forked for it, which leaves no core dump.
///
/// # Errors
///
/// See the [module](super#errors).
///
/// # Examples
///
/// ```standalone_crate
/// use multithread::compare::{self, Ends};
///
/// let crash = compare::a_sigsegv_ends()?;
/// assert_eq!(crash.thread, Ends::All);
/// assert_eq!(crash.process, Ends::Itself);
/// # Ok::<(), multiprocess::Error>(())
/// ```
pub fn a_sigsegv_ends() -> Result<Both<Ends>> {
    // Rust's own handler takes the first one for a stack overflow, sees that it is none, and leaves
    // the next one to the system.
    ends(|| while raise(Signal::SIGSEGV).is_ok() {})
}

/// Whether one that never ends by itself can be stopped from outside.
///
/// A process is terminated, and joined. For a thread there is no such call, in std as in Python: it
/// must look at a flag of its own accord, so the answer for it is not measured.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn can_be_stopped() -> Result<Both<bool>> {
    await_joined_threads();
    let endless = Process::spawn(|| {
        loop {
            thread::sleep(Duration::from_secs(60));
        }
    })?;
    endless.terminate()?;
    let process = match endless.join() {
        Err(Error::Killed { signal, .. }) => signal == Signal::SIGTERM as i32,
        Err(other) => return Err(other),
        Ok(()) => false,
    };
    Ok(Both {
        thread: false,
        process,
    })
}

/// Lets `fail` happen in a thread and in a process of a program that joins them.
fn ends(fail: fn()) -> Result<Both<Ends>> {
    await_joined_threads();
    Ok(Both {
        thread: program_ends(move || start_thread(fail).map(|thread| thread.join().is_err()))?,
        process: program_ends(move || Process::spawn(fail).map(|process| process.join().is_err()))?,
    })
}

/// Runs a program that says whether its join failed, and sees whether it comes to say so.
fn program_ends(program: impl FnOnce() -> Result<bool>) -> Result<Ends> {
    let program = Process::spawn(|| {
        panic::set_hook(Box::new(|_| {}));
        // Where it cannot be had, a core dump is untidy and no more.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        program()
    })?;
    match program.join() {
        Ok(Ok(true)) => Ok(Ends::Itself),
        Ok(Ok(false)) => Ok(Ends::Nothing),
        Ok(Err(error)) => Err(error),
        Err(Error::Killed { signal, .. })
            if [Signal::SIGABRT as i32, Signal::SIGSEGV as i32].contains(&signal) =>
        {
            Ok(Ends::All)
        }
        Err(other) => Err(other),
    }
}
