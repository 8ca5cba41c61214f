//! Panics of code that is not ours.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the code returns, or what it says when it panics.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        // Its own destructor may panic again.
        mem::forget(panic);
        text.unwrap_or_else(|| "without a text".to_string())
    })
}
