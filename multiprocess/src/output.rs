//! The standard output of std, which belongs to the program.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::sys::fork;

/// How long to wait for another thread's lock.
const FLUSH_WITHIN: Duration = Duration::from_millis(100);

/// Writes out what was printed and is still held back. If another thread keeps the output locked, it
/// stays there: what that thread prints has no order with what this one does.
pub(crate) fn flush() {
    // The lock is open to the thread that holds it.
    if fork::has_one_thread() {
        let _ = io::stdout().flush();
        return;
    }
    let (done, flushed) = mpsc::channel();
    let flusher = thread::Builder::new().spawn(move || {
        let _ = io::stdout().flush();
        let _ = done.send(());
    });
    if flusher.is_ok() {
        let _ = flushed.recv_timeout(FLUSH_WITHIN);
    }
}
