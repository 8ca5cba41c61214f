//! Cells: the table, the programs on disk, their tests and the rows of the READMEs.

use std::collections::BTreeSet;

use common::notebook::{CELLS, Cell};

use crate::{read, root, rust_files};

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
fn every_hint_is_tried_by_a_test_that_begins_with_the_name_of_its_cell() {
    for cell in CELLS {
        let own = format!("{}/tests/hints.rs", cell.package);
        let tests = [read(&own), read("xtask/tests/hints.rs")];
        let named = format!("#[test]\nfn {}_", cell.bin);
        let is_tried = tests.iter().any(|tests| tests.contains(&named));
        assert!(is_tried, "{own} has no test for: {}", cell.hint);
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
            .filter(|line| {
                ["| In", "| ch", "| 第"]
                    .iter()
                    .any(|row| line.starts_with(row))
            })
            .collect();
        let want: Vec<String> = CELLS.iter().map(|cell| row(cell, chinese)).collect();
        assert_eq!(rows, want, "{file}");
    }
}

fn row(cell: &Cell, chinese: bool) -> String {
    let Cell {
        package,
        bin,
        chapter,
        ..
    } = cell;
    let (idea, python) = match chinese {
        true => (cell.idea_zh, cell.python_zh),
        false => (cell.idea, cell.python),
    };
    let label = match cell.number {
        None if chinese => format!("第 {chapter} 章"),
        _ => cell.label(),
    };
    let file = cell.source(root(), bin);
    let (_, shown) = file.split_once("/src/bin/").expect("a program is there");
    format!(
        "| {label} | {idea} | `{python}` | [{shown}]({file}) | `cargo run -p {package} --bin {bin}` |"
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
