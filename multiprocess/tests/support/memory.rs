//! Who has shared memory without a name. When nobody has it, the system has taken it back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The shared memory of this crate that a process has open, by its numbers.
pub(crate) fn shared_memory_of(pid: u32) -> Vec<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let paths = open.flatten().map(|entry| entry.path());
    let ours = paths.filter(|path| {
        let is_ours = |file: &Path| file.to_string_lossy().starts_with("/memfd:multiprocess-");
        fs::read_link(path).is_ok_and(|file| is_ours(&file))
    });
    let files = ours.filter_map(|path| fs::metadata(path).ok());
    files.map(|file| file.ino()).collect()
}

/// Whether a process has any of it, open or mapped.
pub(crate) fn is_in_use(memory: &[u64]) -> bool {
    let processes = fs::read_dir("/proc").expect("there is one").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().any(|pid| {
        let mapped = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let ours = mapped
            .lines()
            .filter(|line| line.contains("/memfd:multiprocess-"));
        let numbers = ours.filter_map(|line| line.split_ascii_whitespace().nth(4)?.parse().ok());
        let mut all = numbers.chain(shared_memory_of(pid));
        all.any(|number| memory.contains(&number))
    })
}
