//! What a program does at its normal end: atexit(3).

/// Has `handler` called when the program returns from `main` or calls `std::process::exit`, and not
/// when a signal ends it. A fork of the program has the handler too.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of this image, which stays loaded. That it could not be
    // registered, for want of memory, means only that it is not called.
    unsafe { libc::atexit(handler) };
}
