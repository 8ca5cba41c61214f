//! The child's side of a process: from its start to its report and its exit.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::Arc,
};

use crate::{
    Error, Result, Serializable, codec, limits, output,
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

/// Does `work`, writes its value or its failure into the empty file `report`, and ends the process.
///
/// Nothing of the parent's runs at this end: its destructors, its `atexit` handlers and whatever
/// else it means to do once are its own.
pub(crate) fn run<T: Serializable>(report: OwnedFd, work: impl FnOnce() -> Result<T>) -> ! {
    // Private, so that no process forked by this one keeps its memory.
    let file = Arc::new(ForkPrivate::new(File::from(report)));
    let panics = Panics::watch({
        let file = Arc::clone(&file);
        move |error| drop(write(&file, &failure(&error)))
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
    fork::exit_now(match write(&file, &report) {
        Ok(()) => code,
        Err(error) => {
            let error = Error::os("hand over what the function returned", error);
            // Over the part for which there was room.
            let _ = file.get().and_then(|file| file.set_len(0));
            let _ = write(&file, &failure(&error));
            NOT_SENT
        }
    })
}

/// What the report of a process says that ended with this exit code, if it is whole. `read` reads the
/// value.
pub(crate) fn outcome<T>(
    code: i32,
    report: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T>,
) -> Option<Result<T>> {
    // The child writes its report as its last act, so a report is whole if the child came to its
    // end. A panic in a program built to abort ends it by a signal.
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

fn write(file: &ForkPrivate<File>, report: &[u8]) -> io::Result<()> {
    // The output first: whoever has the value may rely on it.
    output::flush();
    limits::require_file_size(report.len())?;
    file.get()?.write_all_at(report, 0)
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
