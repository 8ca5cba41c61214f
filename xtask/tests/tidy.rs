//! The table of the cells, the programs on disk, the tests and the READMEs tell the same story.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::notebook::{CELLS, Cell};

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

#[test]
fn the_table_has_every_program_on_disk_and_no_other() {
    let table: BTreeSet<String> = CELLS
        .iter()
        .flat_map(|cell| cell.bins().map(|bin| cell.source(root(), bin)))
        .collect();
    let on_disk: BTreeSet<String> = rust_files()
        .iter()
        .filter_map(|file| file.to_str())
        .filter(|file| is_program(file))
        .map(str::to_string)
        .collect();
    assert_eq!(table, on_disk);
}

/// Whether cargo takes the file for a program: one in `src/bin`, or the `main.rs` of a folder there.
fn is_program(file: &str) -> bool {
    let below = file.split_once("/src/bin/").map(|(_, below)| below);
    below.is_some_and(|below| !below.contains('/') || below.ends_with("/main.rs"))
}

#[test]
fn no_two_programs_share_a_name() {
    let bins: Vec<&str> = CELLS.iter().flat_map(|cell| cell.bins()).collect();
    let different: BTreeSet<&str> = bins.iter().copied().collect();
    assert_eq!(
        bins.len(),
        different.len(),
        "one would overwrite the other: {bins:?}"
    );
}

#[test]
fn every_cell_has_a_test_of_its_name() {
    for cell in CELLS {
        let tests = read(format!("{}/tests/cells.rs", cell.package));
        let named = format!("#[test]\nfn {}", cell.bin);
        assert!(
            tests.contains(&named),
            "{}/tests/cells.rs has no fn {}",
            cell.package,
            cell.bin
        );
    }
}

#[test]
fn both_readmes_have_a_row_for_every_cell_and_no_other() {
    for (file, chinese) in [("README.md", false), ("README.zh-CN.md", true)] {
        let readme = read(file);
        let table = readme
            .split_once("<!-- cells -->")
            .expect("the table is marked")
            .1;
        let table = table
            .split_once("<!-- /cells -->")
            .expect("the table ends")
            .0;
        let rows: Vec<&str> = table
            .lines()
            .filter(|line| line.starts_with("| In") || line.starts_with("| ch"))
            .collect();
        let want: Vec<String> = CELLS.iter().map(|cell| row(cell, chinese)).collect();
        assert_eq!(rows, want, "{file}");
    }
}

fn row(cell: &Cell, chinese: bool) -> String {
    let Cell {
        package,
        bin,
        python,
        ..
    } = cell;
    let idea = if chinese { cell.idea_zh } else { cell.idea };
    let file = cell.source(root(), bin);
    let (_, shown) = file.split_once("/src/bin/").expect("a program is there");
    format!(
        "| {} | {idea} | `{python}` | [{shown}]({file}) | `cargo run -p {package} --bin {bin}` |",
        cell.label()
    )
}

#[test]
fn a_cell_fits_on_a_screen() {
    for cell in CELLS {
        for bin in cell.bins() {
            let lines = read(cell.source(root(), bin)).lines().count();
            assert!(lines <= 40, "{bin} has {lines} lines, a screen has 40");
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest
        .split_once("[workspace.dependencies]")
        .expect("there are some")
        .1;
    let dependencies = dependencies.split_once("\n[").expect("something follows").0;
    let from_elsewhere = |line: &&str| line.contains(" = ") && !line.contains("path = ");
    for line in dependencies.lines().filter(from_elsewhere) {
        assert!(line.contains(" # "), "{line}");
    }
}

#[test]
fn unsafe_stays_where_it_belongs() {
    let unsafe_block = concat!("un", "safe {");
    for file in rust_files() {
        let path = file.to_str().expect("our paths are text");
        // The limits that `bench` measures are bare system calls, in a package of their own.
        let allowed = path.starts_with("multiprocess/src/sys/")
            || ["multiprocess/src/bin/fork.rs", "xtask/bench/src/limit.rs"].contains(&path);
        assert!(allowed || !read(&file).contains(unsafe_block), "{path}");
    }
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for file in rust_files() {
        let code = |line: &&str| !line.trim_start().starts_with("//");
        let lines = read(&file).lines().filter(code).count();
        // A test file is a list of claims, and read one claim at a time.
        let most = if file.iter().any(|part| part == "tests") {
            650
        } else {
            500
        };
        assert!(
            lines <= most,
            "{} has {lines} lines of code",
            file.display()
        );
    }
}
