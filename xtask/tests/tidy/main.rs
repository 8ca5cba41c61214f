//! The table of the cells, the programs on disk, the tests and the READMEs tell the same story, and the
//! code keeps the rules of the house.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

mod cells;
mod code;
mod documents;
mod names;
mod packages;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is in the workspace")
}

fn read(file: impl AsRef<Path>) -> String {
    let file = root().join(file);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()))
}

fn packages() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let members = manifest
        .split_once("members = [")
        .expect("the workspace has members")
        .1;
    let members = members.split_once(']').expect("the list of members ends").0;
    members
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_string)
        .collect()
}

/// All Rust files of the workspace, with their paths from the root.
fn rust_files() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = packages().into_iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder can be read") {
            let path = folder.join(entry.expect("a folder can be read").file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn parsed(file: &Path) -> syn::File {
    syn::parse_file(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The sources of the workspace: what is built, without tests and fixtures.
fn sources() -> Vec<PathBuf> {
    rust_files()
        .into_iter()
        .filter(|file| file.iter().any(|part| part == "src"))
        // A program of somebody else's is no source of ours.
        .filter(|file| {
            !file.iter().any(|part| {
                ["tests", "fuzz", "other-program"]
                    .map(OsStr::new)
                    .contains(&part)
            })
        })
        .collect()
}
