//! The file that this program runs.

use std::{fs, mem::MaybeUninit, os::unix::fs::MetadataExt, path::Path};

/// The file, also when it was removed or replaced since.
pub(crate) const PATH: &str = "/proc/self/exe";

/// Whether this crate is part of the program's own file, and not of a library that was loaded.
pub(crate) fn holds_this_crate() -> bool {
    static HERE: u8 = 0;
    // SAFETY: the call takes an integer.
    let program_headers = unsafe { libc::getauxval(libc::AT_PHDR) } as *const libc::c_void;
    file_at((&raw const HERE).cast()) == file_at(program_headers)
}

/// Where the file was loaded that has `address`; `None` in a program without loaded libraries.
fn file_at(address: *const libc::c_void) -> Option<usize> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked for, and `info` has the right type and outlives the call.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) } != 0;
    // SAFETY: all zeros are a valid value of it, over which the call may have written.
    let info = unsafe { info.assume_init() };
    found.then_some(info.dli_fbase as usize)
}

/// Whether whoever executes the file gets rights by it: those of its owner, its group, or its
/// capabilities.
pub(crate) fn gives_rights() -> bool {
    const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
    // SAFETY: the call takes an integer.
    let gave_rights = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let mode = fs::metadata(Path::new(PATH)).map_or(0, |file| file.mode());
    gave_rights || mode & SET_ID != 0 || has_capabilities()
}

fn has_capabilities() -> bool {
    let (path, name) = (c"/proc/self/exe", c"security.capability");
    // SAFETY: both are strings of C, and a size of 0 asks for the length alone.
    let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    len > 0
}
