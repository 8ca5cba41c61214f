//! Stand-ins for programs of the outside world, for machines that lack them.
//!
//! A stand-in is a script in `common/stand-in/`, under the name of the program that it plays. The
//! replay puts that folder in front of `PATH` and says so beside the cell; a cell that is started
//! by hand gets it from [`command`].

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the stand-ins.
pub fn dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/stand-in"))
}

/// Where on `PATH` the program is, if it is there.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The program, or its stand-in where `PATH` has no such program.
///
/// # Examples
///
/// ```
/// let out = common::stand_in::command("nslookup").arg("localhost").output()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn command(program: &str) -> Command {
    match find(program) {
        Some(file) => Command::new(file),
        None => Command::new(dir().join(program)),
    }
}
