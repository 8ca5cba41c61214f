//! The child's side of a process: from its start to its report and its exit.

use std::{io::Write, os::unix::net::UnixStream, sync::Arc};

use crate::{
    Error, Result, Serializable, codec, output,
    panics::Panics,
    sys::{fork, fork_private::ForkPrivate},
};

/// The exit code of a process whose function panicked: that of a Rust program that panics.
const PANICKED: i32 = 101;

/// The exit code of a process whose value could not be sent.
const NOT_SENT: i32 = 1;

/// How a report begins whose value follows.
const RETURNED: u8 = 0;

/// How a report begins whose error follows.
const FAILED: u8 = 1;

/// Does `work`, reports its value or its failure over `stream`, and ends the process.
///
/// Nothing of the parent's runs at this end: its destructors, its `atexit` handlers and whatever
/// else it means to do once are its own.
pub(crate) fn run<T: Serializable>(stream: UnixStream, work: impl FnOnce() -> Result<T>) -> ! {
    // Private, so that no process forked by this one keeps it open.
    let stream = Arc::new(ForkPrivate::new(stream));
    let panics = Panics::watch({
        let stream = Arc::clone(&stream);
        move |error| send(&stream, &failure(&error))
    });
    let outcome = panics.catch(|| {
        let mut report = vec![RETURNED];
        codec::append(&work()?, &mut report)?;
        Ok(report)
    });
    let (code, report) = match outcome.map_err(|error| *error) {
        Ok(report) => (0, report),
        Err(error @ Error::Panicked { .. }) => (PANICKED, failure(&error)),
        Err(error) => (NOT_SENT, failure(&error)),
    };
    send(&stream, &report);
    fork::exit_now(code)
}

/// What the report of a process says that ended with this exit code, if it is whole. `read` reads the
/// value.
pub(crate) fn outcome<T>(
    code: i32,
    report: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T>,
) -> Option<Result<T>> {
    // The child writes its report in one piece, as its last act, so a report is whole if the child
    // came to its end. A panic in a program built to abort ends it by a signal.
    match (report.split_first()?, code) {
        ((&RETURNED, value), 0) => Some(read(value)),
        ((&FAILED, error), _) => match codec::decode(error).ok()? {
            error @ Error::Panicked { .. } => Some(Err(error)),
            error => (code == NOT_SENT).then_some(Err(error)),
        },
        _ => None,
    }
}

/// The exit code of a process that ended after this report.
pub(crate) fn exitcode(report: &[u8]) -> Option<i32> {
    match report.split_first()? {
        (&RETURNED, _) => Some(0),
        (_, error) => match codec::decode(error).ok()? {
            Error::Panicked { .. } => Some(PANICKED),
            _ => Some(NOT_SENT),
        },
    }
}

fn failure(error: &Error) -> Vec<u8> {
    let mut report = vec![FAILED];
    codec::append_unread(error, &mut report).expect("text and numbers have a binary form");
    report
}

fn send(stream: &ForkPrivate<UnixStream>, report: &[u8]) {
    // The output first: whoever has the value may rely on it.
    output::flush();
    // A parent that has dropped its handle does not ask: then nobody reads, and that is no error.
    if let Ok(mut stream) = stream.get() {
        let _ = stream.write_all(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_process_that_ended_otherwise_is_not_its_outcome() {
        let report = failure(&Error::Empty);
        let read = codec::decode::<()>;
        let failed = outcome(NOT_SENT, &report, read);
        assert_eq!(failed, Some(Err(Error::Empty)));
        for code in [0, -9, 3] {
            assert_eq!(outcome(code, &report, read), None);
        }
    }
}
