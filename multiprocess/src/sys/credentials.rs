//! What a process may do: its users and groups, credentials(7).

use std::fs;

use nix::unistd::{getgroups, getresgid, getresuid};

/// The real, effective and saved users and groups, and the supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    users: [u32; 3],
    groups: [u32; 3],
    supplementary: Vec<u32>,
}

impl Credentials {
    /// Those of this process.
    pub(crate) fn mine() -> nix::Result<Self> {
        let (users, groups) = (getresuid()?, getresgid()?);
        let supplementary = getgroups()?.into_iter().map(|group| group.as_raw());
        Ok(Self {
            users: [users.real, users.effective, users.saved].map(|user| user.as_raw()),
            groups: [groups.real, groups.effective, groups.saved].map(|group| group.as_raw()),
            supplementary: supplementary.collect(),
        })
    }

    /// Those of another process, from `/proc/<pid>/status`; `None` if the system does not let us
    /// see them.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace()
                .map(|number| number.parse().ok())
                .collect()
        };
        Some(Self {
            users: *numbers("Uid:")?.first_chunk()?,
            groups: *numbers("Gid:")?.first_chunk()?,
            supplementary: numbers("Groups:")?,
        })
    }
}
