//! A panic of a function of the user's, as an error that tells where it was.

use std::{
    any::Any,
    mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{Error, Result};

/// Knows where the latest panic of this process was.
pub(crate) struct Panics {
    location: Arc<Mutex<String>>,
}

impl Panics {
    /// Notes from now on where a panic is, beside what the program's own hook does with it. In a
    /// program that is built to abort, nothing runs after the hook: there `before_abort` gets the
    /// error.
    pub(crate) fn watch(before_abort: impl Fn(Error) + Send + Sync + 'static) -> Self {
        let location = Arc::new(Mutex::new("an unknown place".to_string()));
        let latest = Arc::clone(&location);
        // The hook cannot be changed during a panic, that is if a destructor forked this process.
        if !thread::panicking() {
            let print = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if let Some(place) = info.location() {
                    *latest.lock().unwrap_or_else(PoisonError::into_inner) = place.to_string();
                }
                print(info);
                if cfg!(panic = "abort") {
                    before_abort(panicked(info.payload(), &latest));
                }
            }));
        }
        Self { location }
    }

    /// Does `work`, and makes an error of its panic. Errors are boxed, since they are long to move.
    #[inline]
    pub(crate) fn catch<T>(
        &self,
        work: impl FnOnce() -> Result<T, Box<Error>>,
    ) -> Result<T, Box<Error>> {
        match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done,
            Err(payload) => Err(self.caught(payload)),
        }
    }

    #[cold]
    fn caught(&self, payload: Box<dyn Any + Send>) -> Box<Error> {
        let error = panicked(&*payload, &self.location);
        // Its destructor could panic again.
        mem::forget(payload);
        Box::new(error)
    }
}

fn panicked(payload: &(dyn Any + Send), location: &Mutex<String>) -> Error {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied());
    Error::Panicked {
        message: text.unwrap_or("a value that is not text").to_string(),
        location: location
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
    }
}
