//! The file that this program runs.

use std::{fs, io, ops::Range, os::unix::fs::MetadataExt, path::Path, slice, sync::OnceLock};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Header;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Header;
use libc::{PT_INTERP, PT_LOAD, PT_PHDR};

/// The file, also when it was removed or replaced since.
pub(crate) const PATH: &str = "/proc/self/exe";

/// What it means that a file of `/proc` is not there.
pub(crate) fn explain_no_proc(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound || fs::symlink_metadata(PATH).is_ok() {
        return error;
    }
    let reason = "there is no `/proc` here, by which the program is executed again and its threads are \
                  counted: mount it, or call `multiprocess::init` while there is one and use \
                  `spawn_with`";
    io::Error::other(reason)
}

/// Whether this crate is part of the program's own file, and not of a library that was loaded.
pub(crate) fn holds_this_crate() -> bool {
    static HERE: u8 = 0;
    addresses().contains(&(&raw const HERE as usize))
}

/// Whether the system has another file for that of the program, the dynamic loader: it was executed, and
/// has loaded the program, as some bundles of programs do.
pub(crate) fn is_started_by_loader() -> bool {
    // SAFETY: the call takes an integer.
    let is_loader_executed = unsafe { libc::getauxval(libc::AT_BASE) } == 0;
    // A program without a loader has none that could have been executed.
    is_loader_executed && headers().iter().any(|header| header.p_type == PT_INTERP)
}

/// Whether what lies at this address lies in each process of the program, at the same distance from
/// this crate. Libraries are loaded elsewhere each time the file is executed.
#[inline]
pub(crate) fn holds(address: usize) -> bool {
    // Where the file is not executed again, processes are forks, in which nothing moves.
    addresses().contains(&address) || !holds_this_crate()
}

/// Where the program's own file was loaded.
fn addresses() -> &'static Range<usize> {
    static ADDRESSES: OnceLock<Range<usize>> = OnceLock::new();
    ADDRESSES.get_or_init(|| {
        let all = headers();
        // The headers say where they themselves were meant to lie, unless the file moves nowhere.
        let own = all.iter().find(|header| header.p_type == PT_PHDR);
        let moved = own.map_or(0, |own| {
            (all.as_ptr() as usize).wrapping_sub(own.p_vaddr as usize)
        });
        let loaded = || all.iter().filter(|header| header.p_type == PT_LOAD);
        let start = loaded()
            .map(|part| part.p_vaddr as usize)
            .min()
            .unwrap_or(0);
        let end = loaded()
            .map(|part| (part.p_vaddr + part.p_memsz) as usize)
            .max()
            .unwrap_or(0);
        moved.wrapping_add(start)..moved.wrapping_add(end)
    })
}

/// The headers of the program's own file.
fn headers() -> &'static [Header] {
    // SAFETY: the call takes an integer.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as *const Header;
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    // SAFETY: the kernel tells every program where its headers lie and how many they are. They are part
    // of the loaded file, which nobody writes or unloads.
    unsafe { slice::from_raw_parts(headers, count) }
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
