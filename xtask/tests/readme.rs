//! The commands of the README, one after the other as a reader would type them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use common::notebook::CELLS;
use common::program::write_program;
use serde_json::Value;
use support::xtask;
use tempfile::TempDir;

mod support;

/// The first commands of the rows of the table, in their order.
fn commands(readme: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(readme);
    let text = fs::read_to_string(file).expect("it is there");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `cargo xtask "));
    let commands = rows.filter_map(|row| row.split_once('`'));
    commands.map(|(command, _)| command.to_string()).collect()
}

/// A target folder of its own with the programs, and a browser that opens nothing.
struct Clone {
    folder: TempDir,
}

impl Clone {
    fn new() -> Clone {
        // This builds the cells.
        let (code, out, err) = xtask(&["all", "--fast", "-q"]);
        assert_eq!(code, 0, "{out}{err}");
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (bins, path) = (folder.path().join("debug"), folder.path().join("path"));
        fs::create_dir(&bins).expect("a folder for the programs");
        fs::create_dir(&path).expect("a folder for the browser");
        let built = cargo_bin("xtask");
        let of_cells = CELLS.iter().flat_map(|cell| cell.bins());
        for bin in of_cells.chain(["xtask"]) {
            let built = fs::read(built.with_file_name(bin)).expect("it was built");
            write_program(&bins.join(bin), &built).expect("there is room");
        }
        let opener = path.join("xdg-open");
        write_program(&opener, b"#!/bin/sh\n").expect("it can be written");
        symlink(&opener, path.join("open")).expect("it can be made");
        Clone { folder }
    }

    /// Runs a command line, and gives its exit code and what it printed.
    fn run(&self, command: &str) -> (i32, String) {
        let path = std::env::var("PATH").expect("there is a PATH");
        let path = format!("{}:{path}", self.folder.path().join("path").display());
        // The programs are there: cargo has nothing to do.
        let output = Command::new(self.folder.path().join("debug/xtask"))
            .args(command.split(' '))
            .envs([("CARGO", "true"), ("LC_ALL", "C"), ("PATH", &path)])
            .output();
        let output = output.expect("xtask starts");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("it prints text");
        (output.status.code().unwrap_or(-1), text)
    }

    /// Every view shows every cell.
    fn is_whole(&self, after: &str) {
        let variants: usize = CELLS.iter().map(|cell| cell.variants.len()).sum();
        let (code, page) = self.run("report");
        assert_eq!(code, 0, "{after}: {page}");
        let page = fs::read_to_string(page.trim()).expect("it was written");
        assert_eq!(page.matches("<article").count(), variants, "{after}");
        for cell in CELLS {
            let (code, shown) = self.run(&format!("show {}", cell.bin));
            assert_eq!(code, 0, "{after}: {shown}");
            assert!(shown.contains("the last run printed"), "{after}: {shown}");
            let (code, compared) = self.run(&format!("diff {}", cell.bin));
            // Process numbers and draws are as they are drawn.
            assert!(code == 0 || code == 1, "{after}: {compared}");
        }
        let (code, book) = self.run("export ipynb -o -");
        assert_eq!(code, 0, "{after}: {book}");
        let book: Value = serde_json::from_str(&book).expect("it is JSON");
        let code_cells = book["cells"].as_array().expect("it has cells");
        let code_cells = code_cells.iter().filter(|cell| cell["cell_type"] == "code");
        assert_eq!(code_cells.count(), variants, "{after}");
    }
}

#[test]
fn the_commands_of_the_readme_in_their_order_leave_every_view_whole() {
    let commands = commands("README.md");
    assert!(commands.len() > 12, "{commands:?}");
    assert_eq!(commands[0], "all");
    let clone = Clone::new();
    let mut typed = Vec::new();
    for command in &commands {
        let name = command.split(' ').next().unwrap_or_default();
        // As it stands there, but for how long it takes.
        let shortened = match name {
            "all" | "run" => format!("{command} --fast"),
            "race" => command.replace("200", "5"),
            "chaos" => "chaos pool-retries --rounds 1".to_string(),
            // They build, start servers on fixed ports, and run these tests.
            "bench" | "cluster" | "ci" => continue,
            _ => command.clone(),
        };
        let (code, said) = clone.run(&shortened);
        // A race of five may come to 0 each time, and other draws than the notebook's differ from it.
        let may_fail = ["race", "diff"].contains(&name) && code == 1;
        assert!(code == 0 || may_fail, "{shortened}: {code}: {said}");
        typed.push(shortened);
        if ["all", "run", "race"].contains(&name) {
            clone.is_whole(&typed.join("; "));
        }
    }
    clone.is_whole(&typed.join("; "));
}

#[test]
fn both_readmes_have_the_same_commands_in_the_same_order() {
    assert_eq!(commands("README.md"), commands("README.zh-CN.md"));
}
