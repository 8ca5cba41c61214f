#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! [`Pool`], [`Process`] and [`Queue`] are what most programs need.
//! [`coming_from_python`] maps all names of Python's, and [`failures`] lists what goes wrong there
//! and not here. [`tests_of_python`] lists CPython's own tests with the tests that make the same
//! claims here. [`in_your_program`] says how to depend on the crate, and what to know in tests, async
//! runtimes, servers and containers.
//!
//! | Python | here |
//! |---|---|
//! | `Process(target=f).start()`, `join`, `terminate`, `kill` | [`Process`] |
//! | `Pool(4)`, `apply_async`, `map`, `close`, `join` | [`Pool`], [`AsyncResult`] |
//! | `Queue()`, `put`, `get`, `task_done`, `join` | [`Queue`] |
//! | `Lock()`, `Semaphore()`, `Event()`, `Condition()`, `Barrier()`, `Value()`, `Array()` | [`sync`]: [`Mutex`](sync::Mutex), [`Semaphore`](sync::Semaphore), [`Event`](sync::Event), [`Condvar`](sync::Condvar), [`Barrier`](sync::Barrier), [`Value`](sync::Value), [`Array`](sync::Array) |
//! | `subprocess.call`, `Popen.communicate` | [`subprocess`] |
//!
//! Processes are made in two ways. [`Process::spawn`] forks the program with all its memory, for a
//! closure that may capture anything; that needs a program with one thread. Pools and
//! [`Process::spawn_with`] take a function and its argument, and make a fresh image of the program;
//! that works in any thread, in tests and in async runtimes ([`init`] says how). What comes back from
//! a child is serialised.

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!(
    "multiprocess needs Linux with glibc: fork, pidfd, parent-death signals, robust process-shared mutexes, futexes and memfd; it has not been run elsewhere"
);

#[cfg(feature = "testing")]
pub mod chaos;
mod child;
mod codec;
mod error;
mod event_count;
mod fd_passing;
mod handle;
mod limits;
mod oom_kills;
mod output;
mod panics;
mod pipe;
pub mod pool;
pub mod process;
mod queue;
mod serializable;
mod spawn_request;
pub mod subprocess;
pub mod sync;
#[expect(
    unsafe_code,
    reason = "the system's calls and shared memory need it; nothing else does"
)]
mod sys;
mod zygote;

pub use error::{Error, Result};
pub use fd_passing::Descriptor;
pub use pipe::{Connection, pipe};
#[doc(inline)]
pub use pool::{AsyncResult, Pool};
#[doc(inline)]
pub use process::{Process, active_children};
#[cfg(feature = "stream")]
pub use queue::QueueStream;
pub use queue::{Batch, Borrowed, Iter, Loan, Queue};
pub use serializable::Serializable;
pub use zerocopy;
pub use zygote::init;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub use sys::for_tests::{deny_for_tests, fork_for_tests, ignore_for_tests};

/// Calls `hook` at each step between the stores of a queue's operations in this thread.
#[cfg(feature = "kill-points")]
#[doc(hidden)]
pub fn on_step(hook: impl FnMut(&'static str) + 'static) {
    queue::step::on_step(hook);
}

/// From now on, who waits at a queue in this process is woken by others or not at all: the looks
/// that find what the dead left unsaid are put off.
#[cfg(feature = "kill-points")]
#[doc(hidden)]
pub fn put_off_timed_looks() {
    sys::futex::looks::put_off();
}

/// How many waits at a queue in this process found something that nobody had woken them for.
#[cfg(feature = "kill-points")]
#[doc(hidden)]
pub fn timed_looks_that_found_something() -> u64 {
    sys::futex::looks::count()
}

#[doc = include_str!("coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("in_your_program.md")]
pub mod in_your_program {}

#[doc = include_str!("tests_of_python.md")]
pub mod tests_of_python {}

/// The programs of the first page run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod first_page {}

#[cfg(doctest)]
#[doc = include_str!("../../README.zh-CN.md")]
mod first_page_in_chinese {}
