//! Shared memory that a process writes over, as any process can that was given it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A small generator of numbers, so that a failure can be repeated by its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// A word of any kind: small, large, near a border, or none of these.
    pub(crate) fn word(&mut self, before: u64) -> u64 {
        match self.below(10) {
            0 => 0,
            1 => u64::MAX,
            2 => before.wrapping_add(self.below(16)).wrapping_sub(8),
            3 => before ^ 1 << self.below(64),
            4 => self.below(1 << 20),
            5 => 1 << self.below(64),
            6 => (1u64 << self.below(64)).wrapping_sub(1),
            7 => self.next() & 0xffff_ffff,
            8 => self.next() << 32,
            _ => self.next(),
        }
    }

    /// Writes a word of any kind over the one at this place, in bytes.
    pub(crate) fn scribble(&mut self, memory: &File, place: u64) {
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, place).unwrap();
        let word = self.word(u64::from_le_bytes(word));
        memory.write_all_at(&word.to_le_bytes(), place).unwrap();
    }
}

/// The shared memory of the one object of this kind that this process has.
pub(crate) fn memory(name: &str) -> File {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_it = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains(name))
    };
    let path = files.find(is_it).expect("its memory is an open file");
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}
