//! Named moments between the stores of an operation, at which a test can end the process.

#[cfg(not(any(test, feature = "kill-points")))]
#[inline(always)]
pub(crate) fn step(_name: &'static str) {}

#[cfg(any(test, feature = "kill-points"))]
pub(crate) use hooked::*;

#[cfg(any(test, feature = "kill-points"))]
mod hooked {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&'static str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Calls `hook` at every step that this thread makes from now on, but not for steps that the
    /// hook itself makes.
    pub(crate) fn on_step(hook: impl FnMut(&'static str) + 'static) {
        HOOK.set(Some(Box::new(hook)));
    }

    /// Ends the calls.
    #[cfg(test)]
    pub(crate) fn no_step() {
        HOOK.set(None);
    }

    pub(crate) fn step(name: &'static str) {
        let Some(mut hook) = HOOK.take() else { return };
        hook(name);
        HOOK.set(Some(hook));
    }
}
