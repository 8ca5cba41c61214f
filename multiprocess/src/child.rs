//! The child's side of a process: from the fork to its exit.

use std::{
    any::Any,
    io::{self, Write},
    mem,
    os::unix::net::UnixStream,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex},
    thread,
};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, codec,
    sys::{fork, fork_private::ForkPrivate},
};

/// What a child reports over its stream, in the codec's form, as the last thing that it does.
#[derive(Serialize, Deserialize)]
pub(crate) enum Outcome<T> {
    /// The function returned.
    Value(T),
    /// The function panicked.
    Panicked { message: String, location: String },
    /// The arguments or the value have no binary form.
    Unserialisable {
        attempt: String,
        source: postcard::Error,
    },
}

/// The exit code of a process whose function panicked: that of a Rust program that panics.
const PANICKED: i32 = 101;

/// Where a report goes, shared with the panic hook.
struct Report {
    /// Private, so that no process forked by this one keeps it open.
    stream: ForkPrivate<UnixStream>,
    /// Where the latest panic was.
    location: Mutex<String>,
}

/// Does `work`, which returns an encoded [`Outcome`], reports it over `stream` and ends the
/// process.
///
/// Nothing of the parent's runs at this end: its destructors, its `atexit` handlers and whatever
/// else it means to do once are its own.
pub(crate) fn run(stream: UnixStream, work: impl FnOnce() -> Result<Vec<u8>>) -> ! {
    let (stream, location) = (ForkPrivate::new(stream), Mutex::default());
    let report = Arc::new(Report { stream, location });
    watch_panics(Arc::clone(&report));
    let (code, outcome) = match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(outcome)) => (0, outcome),
        Ok(Err(error)) => (1, report.failure(error)),
        Err(payload) => {
            let outcome = report.panic(&*payload);
            // Its destructor could panic again.
            mem::forget(payload);
            (PANICKED, outcome)
        }
    };
    // The output first: whoever has the value may rely on it.
    let _ = io::stdout().flush();
    report.send(&outcome);
    fork::exit_now(code)
}

/// Notes where a panic was, beside what the program's own hook does with it.
fn watch_panics(report: Arc<Report>) {
    // The hook cannot be changed during a panic, that is if a destructor forked this process.
    if thread::panicking() {
        return;
    }
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        *report.location.lock().unwrap() = match info.location() {
            Some(location) => location.to_string(),
            None => "an unknown place".to_string(),
        };
        print(info);
        // In a program built to abort, nothing runs after the hook.
        if cfg!(panic = "abort") {
            let _ = io::stdout().flush();
            report.send(&report.panic(info.payload()));
        }
    }));
}

impl Report {
    fn panic(&self, payload: &(dyn Any + Send)) -> Vec<u8> {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        let message = text.unwrap_or("a value that is not text").to_string();
        let location = self.location.lock().unwrap().clone();
        encode(&Outcome::Panicked { message, location })
    }

    fn failure(&self, error: Error) -> Vec<u8> {
        match error {
            Error::Serial { attempt, source } => {
                encode(&Outcome::Unserialisable { attempt, source })
            }
            error => self.panic(&error.to_string()),
        }
    }

    /// A parent that has dropped its handle does not ask: then nobody reads, and that is no error.
    fn send(&self, outcome: &[u8]) {
        if let Ok(mut stream) = self.stream.get() {
            let _ = stream.write_all(outcome);
        }
    }
}

fn encode(outcome: &Outcome<()>) -> Vec<u8> {
    codec::to_vec(outcome).expect("text and plain enums have a binary form")
}
