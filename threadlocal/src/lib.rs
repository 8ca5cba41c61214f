//! Chapter 3: a global that each thread sees its own value of.
//!
//! The cell is `src/bin/local.rs`. Python's `threading.local()` is an object that takes any
//! attribute; Rust's [`thread_local!`] declares one typed value per `static`, a
//! [`LocalKey`](std::thread::LocalKey), and what it starts from in every thread. So there is no
//! `AttributeError` for a thread that has not set its own yet: it sees the start value, here `None`.
//! As in Python, what a thread has set ends with the thread; in Rust it is dropped right then, on
//! that thread, and is gone when the join returns.
//!
//! ```
//! use std::cell::RefCell;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::thread;
//!
//! struct Student(&'static str);
//!
//! static LEFT: AtomicBool = AtomicBool::new(false);
//!
//! impl Drop for Student {
//!     fn drop(&mut self) {
//!         LEFT.store(true, Ordering::Relaxed);
//!     }
//! }
//!
//! thread_local! {
//!     static STUDENT: RefCell<Option<Student>> = const { RefCell::new(None) };
//! }
//!
//! let thread = thread::spawn(|| {
//!     STUDENT.set(Some(Student("Alice")));
//!     // The value stays in its slot: a function borrows it, and no reference can leave the thread.
//!     STUDENT.with_borrow(|student| assert_eq!(student.as_ref().map(|s| s.0), Some("Alice")));
//!     assert!(!LEFT.load(Ordering::Relaxed));
//! });
//! thread.join().expect("Alice is there");
//!
//! assert!(LEFT.load(Ordering::Relaxed), "dropped with its thread");
//! assert!(STUDENT.with_borrow(Option::is_none), "main's own was never set");
//! ```
//!
//! A thread of a pool lives on between tasks, and so does what a task has set: set it anew at the
//! start of each task, or pass it as an argument.
