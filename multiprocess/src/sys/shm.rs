//! Memory shared between processes, without a name: memfd_create(2), freed by the kernel with the
//! last process that has it.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;

use super::{memfd, word};
use crate::limits;

/// A type that may lie in shared memory, where other processes write it at any time.
///
/// A struct is made one by [`shareable!`], which asks it of each field.
///
/// # Safety
/// All bits, zeroes among them, are a value of it; its layout is the same in every process; and it
/// may be written through a shared reference while others read it.
pub(crate) unsafe trait Shareable: Sync {}

// SAFETY: an atomic has the layout of its integer, of which all bits are a value.
unsafe impl Shareable for AtomicU32 {}

// SAFETY: as for `AtomicU32`.
unsafe impl Shareable for AtomicU64 {}

// SAFETY: an array is its elements, one after the other.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Defines structs that are [`Shareable`]: `repr(C)`, with fields that are all `Shareable`. A field
/// that is not does not compile.
macro_rules! shareable {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(<$parameter:ident>)? {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
        }
    )+) => {$(
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name $(<$parameter>)? {
            $($(#[$field_attribute])* $field_visibility $field: $type),+
        }

        // SAFETY: the struct is `repr(C)`, so its layout is the same in every process, and what
        // holds for each of its fields by the bounds holds for the whole.
        #[expect(unsafe_code, reason = "the bounds on the fields prove what it asks for")]
        unsafe impl $(<$parameter>)? $crate::sys::shm::Shareable for $name $(<$parameter>)?
        where
            $($type: $crate::sys::shm::Shareable),+
        {
        }
    )+};
}
pub(crate) use shareable;

/// Words of a mapping in the hands of one holder; see [`Shared::hold`].
pub(crate) struct HeldWords {
    words: Range<usize>,
}

/// A mapping of shared memory: an `H`, and after it words up to the length. The pages are there
/// once they are written, so a mapping may be far larger than the memory of the machine.
pub(crate) struct Shared<H: Shareable> {
    file: OwnedFd,
    base: NonNull<c_void>,
    len: NonZeroUsize,
    header: PhantomData<H>,
}

// SAFETY: the memory is handed out as `&H` and as atomic words, and both are `Sync`.
unsafe impl<H: Shareable> Send for Shared<H> {}
// SAFETY: as above.
unsafe impl<H: Shareable> Sync for Shared<H> {}

impl<H: Shareable> Shared<H> {
    /// Where the words start, in bytes from the start of the mapping.
    pub(crate) const WORDS: usize = size_of::<H>().next_multiple_of(4096);

    /// New memory, all zeroes, with room for `words` words behind the header.
    pub(crate) fn create(name: &str, words: usize) -> io::Result<Self> {
        let len = Self::WORDS + words * size_of::<u64>();
        limits::require_file_size(len)?;
        let file = memfd::create(name)?;
        ftruncate(&file, len.try_into().map_err(io::Error::other)?)?;
        // Whoever reads behind the end of a file is killed, so nobody may move it.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Self::map(file)
    }

    /// The memory behind `file`, which another process had created with the same `H`.
    pub(crate) fn map(file: OwnedFd) -> io::Result<Self> {
        let len = fstat(&file)?
            .st_size
            .try_into()
            .ok()
            .and_then(NonZeroUsize::new);
        let len = len
            .filter(|len| len.get() >= Self::WORDS)
            .ok_or(io::ErrorKind::InvalidData)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing one.
        let base = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0) };
        let base = base.map_err(|errno| refused_mapping(len.get(), errno))?;
        let shared = Self {
            file,
            base,
            len,
            header: PhantomData,
        };
        // A core dump would otherwise read through the whole reservation. Where a sandbox does not take
        // the advice, it does.
        // SAFETY: the advice changes what a core dump holds, not the memory.
        let _ = unsafe { madvise(base, len.get(), MmapAdvise::MADV_DONTDUMP) };
        Ok(shared)
    }

    /// The words behind the header.
    #[inline]
    pub(crate) fn words(&self) -> &[word::AtomicU64] {
        let count = (self.len.get() - Self::WORDS) / size_of::<u64>();
        // SAFETY: the offset is inside the mapping, as `map` has checked.
        let start = unsafe { self.base.as_ptr().byte_add(Self::WORDS) };
        // SAFETY: the mapping is aligned to a page, `count` words long from here, and stays for as
        // long as `self`; any bits are an atomic's value.
        unsafe { std::slice::from_raw_parts(start.cast(), count) }
    }

    /// Where it is in this process.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let start = self.base.as_ptr().addr();
        start..start + self.len.get()
    }

    /// These words for one holder; `None` if they are not there.
    ///
    /// The caller sees to it that nobody else writes them, in this process or in another, while
    /// there is a [`HeldWords`] of them, and that nobody reads them while it is borrowed to be written.
    pub(crate) fn hold(&self, words: Range<usize>) -> Option<HeldWords> {
        let is_there = words.start <= words.end && words.end <= self.words().len();
        is_there.then_some(HeldWords { words })
    }

    /// What stands in the words.
    pub(crate) fn bytes<'a>(&'a self, held: &'a HeldWords) -> &'a [u8] {
        let words = &self.words()[held.words.clone()];
        // SAFETY: the words are there for as long as `self`, and a byte may have any bits. Who has
        // made `held` sees to it that nobody writes them meanwhile.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
    }

    /// What stands in the words, to be written.
    pub(crate) fn bytes_mut<'a>(&'a self, held: &'a mut HeldWords) -> &'a mut [u8] {
        let words = &self.words()[held.words.clone()];
        let start = words.as_ptr().cast_mut().cast();
        // SAFETY: the words are there for as long as `self`, atomics may be written behind a shared
        // reference, and a byte may have any bits. Who has made `held` sees to it that nobody else
        // reads or writes them meanwhile; it is borrowed mutably, so that there is one borrow.
        unsafe { std::slice::from_raw_parts_mut(start, size_of_val(words)) }
    }

    /// Copies `bytes` to the words from `start` on, which may lie behind pages that are not there
    /// yet. Returns whether the system did; if not, any part may have been written.
    pub(crate) fn write(&self, start: usize, mut bytes: &[u8]) -> bool {
        let mut offset = Self::offset(start);
        // A write beyond the limit is a signal; a store into the mapping is none.
        if offset as u64 + bytes.len() as u64 > limits::file_size() {
            return false;
        }
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, offset) {
                Ok(count @ 1..) => {
                    offset += count as i64;
                    bytes = &bytes[count..];
                }
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Copies the words from `start` on to `bytes`. Returns whether the system did; if not, any part
    /// may have been read.
    pub(crate) fn read(&self, start: usize, mut bytes: &mut [u8]) -> bool {
        let mut offset = Self::offset(start);
        while !bytes.is_empty() {
            match pread(&self.file, bytes, offset) {
                Ok(count @ 1..) => {
                    offset += count as i64;
                    bytes = &mut bytes[count..];
                }
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Where a word is in the file.
    fn offset(word: usize) -> i64 {
        (Self::WORDS + word * size_of::<u64>()) as i64
    }

    /// How much memory it takes, in bytes.
    pub(crate) fn allocated(&self) -> u64 {
        let blocks = fstat(&self.file).map_or(0, |file| file.st_blocks);
        blocks.unsigned_abs() * 512
    }

    /// Gives the memory of these words back to the system; they read as 0 afterwards. Only whole
    /// pages are given, so the borders should lie on 512 words.
    pub(crate) fn discard(&self, words: Range<usize>) {
        let len = (words.len() * size_of::<u64>()) as i64;
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // A refusal leaves the memory taken, which is no reason to fail a queue.
        let _ = fallocate(&self.file, punch, Self::offset(words.start), len);
    }
}

/// Says why a mapping of `len` bytes was refused, and what to do.
fn refused_mapping(len: usize, errno: Errno) -> io::Error {
    if errno != Errno::ENOMEM {
        return errno.into();
    }
    let (used, limit) = (limits::address_space_used(), limits::address_space());
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "it takes {len} bytes of address space, and {used} of {limit} are in use (RLIMIT_AS, \
             `ulimit -v`): raise the limit of this process, or make the queue under the same limit"
        ),
    )
}

impl<H: Shareable> AsFd for Shared<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl<H: Shareable> Deref for Shared<H> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        // SAFETY: the mapping starts with an `H`, as its creator has made it, and stays for as long
        // as `self`; `Shareable` says that sharing it is sound.
        unsafe { self.base.cast().as_ref() }
    }
}

impl<H: Shareable> Drop for Shared<H> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every borrow of it has ended.
        let _ = unsafe { munmap(self.base, self.len.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_that_has_no_addresses_names_the_limit() {
        let file = memfd::create("test").expect("a file");
        ftruncate(&file, 1 << 47).expect("a file without contents takes nothing");
        let refused = Shared::<AtomicU64>::map(file).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("`ulimit -v`"), "{refused}");
    }

    #[test]
    fn memory_that_is_shorter_than_its_header_is_not_mapped() {
        let file = memfd::create("test").expect("a file");
        ftruncate(&file, 100).expect("a short file");
        assert!(Shared::<AtomicU64>::map(file).is_err());
    }

    #[test]
    fn nobody_moves_the_end_of_the_memory() {
        let memory = Shared::<AtomicU64>::create("test", 512).expect("a page");
        for len in [0, 4096, 1 << 20] {
            assert_eq!(ftruncate(&memory, len), Err(Errno::EPERM));
        }
    }
}
