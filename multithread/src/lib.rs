//! Chapters 2 and 4: threads, locks, and threads against processes.
//!
//! The cells are in `src/bin`: `thread`, `race`, `lock` and `process_vs_thread`. Most of Python's
//! `threading` is in std, under the same names: `Thread(name=…)` is [`std::thread::Builder`],
//! `Lock` is [`std::sync::Mutex`]. Two things are not, and are here: [`workers`] shares tasks
//! among threads, and [`compare`] measures what chapter 4 of the notebook only asks.
//!
//! # The race that does not compile
//!
//! The notebook's `In [13]` loses money because two threads change one plain variable. In Rust that
//! program ends at the compiler, since only one of the two may borrow the balance mutably:
//!
//! ```compile_fail,E0499
//! let mut balance = 0_i64;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| balance += 5);
//!     scope.spawn(|| balance -= 5);
//! });
//! assert_eq!(balance, 0);
//! ```
//!
//! Behind a lock it compiles, and is right:
//!
//! ```
//! let balance = std::sync::Mutex::new(0_i64);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| *balance.lock().unwrap() += 5);
//!     scope.spawn(|| *balance.lock().unwrap() -= 5);
//! });
//! assert_eq!(balance.into_inner().unwrap(), 0);
//! ```
//!
//! What the compiler rules out is the data race, not every race: the cell `race` loads and stores
//! an atomic in two steps, which is lawful, and still loses money.

pub mod compare;
pub mod workers;
