//! Functions that run before `main`: the executable lists them in its section `.init_array`.

use std::ffi::{c_char, c_int};

/// An entry of the list, as the C library calls it.
pub(crate) type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Calls the constructors of the list that follow `this`.
///
/// # Safety
///
/// `this` is an entry of the list, and the C library has just called it with these arguments.
pub(crate) unsafe fn call_those_after(
    this: &'static Constructor,
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    unsafe extern "C" {
        /// The end of the list, a place that the linker defines.
        static __init_array_end: [Constructor; 0];
    }
    let end = (&raw const __init_array_end).cast::<Option<Constructor>>();
    // SAFETY: `this` lies in the list, so what follows it is in the list as well or its end.
    let mut next = unsafe { (&raw const *this).cast::<Option<Constructor>>().add(1) };
    while next < end {
        // SAFETY: `next` lies before the end of the list.
        if let Some(constructor) = unsafe { *next } {
            constructor(argc, argv, envp);
        }
        // SAFETY: at most the end of the list.
        next = unsafe { next.add(1) };
    }
}

/// Has a function called before `main`. It is given another function, which calls all constructors
/// that would come after it: for one that does not return.
macro_rules! before_main {
    ($function:path) => {
        const _: () = {
            use std::ffi::{c_char, c_int};

            use $crate::sys::constructor::{Constructor, call_those_after};

            // The linker keeps it, since the program's start code reads the section.
            #[used]
            #[expect(unsafe_code, reason = "the section lists functions of this very type")]
            #[unsafe(link_section = ".init_array")]
            static ENTRY: Constructor = constructor;

            extern "C" fn constructor(
                argc: c_int,
                argv: *const *const c_char,
                envp: *const *const c_char,
            ) {
                $function(|| {
                    // SAFETY: the C library calls the entry, with these arguments.
                    #[expect(unsafe_code, reason = "only the entry knows that it is one")]
                    unsafe {
                        call_those_after(&ENTRY, argc, argv, envp)
                    }
                });
            }
        };
    };
}
pub(crate) use before_main;
