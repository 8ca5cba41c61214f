//! Finds the processes of a program by a mark in their environment, which all descendants inherit,
//! also those in process groups and sessions of their own.

use std::fs;

/// The running processes that have an environment variable, written `NAME=value`, that starts so.
///
/// A process that has ended and was not waited for has no environment, and is not among them. Nor is
/// another user's.
#[must_use]
pub fn marked(mark: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_marked(*pid, mark))
        .collect()
}

/// Whether [`marked`] would find this process.
#[must_use]
pub fn is_marked(pid: i32, mark: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environ.split(|byte| *byte == 0);
    variables.any(|variable| variable.starts_with(mark.as_bytes()))
}
