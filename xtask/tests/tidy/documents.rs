//! What the documents name: files on the map, commands in the READMEs.

use std::collections::BTreeSet;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;

use crate::{read, sources};

/// The files that the tables of ARCHITECTURE name: a path from the folder of the table, or a
/// file beside a folder that the row names.
fn on_the_map() -> BTreeSet<String> {
    let mut folder = String::new();
    let mut files = BTreeSet::new();
    for line in read("ARCHITECTURE.md").lines() {
        let mut quoted = line.split('`').skip(1).step_by(2);
        if line.starts_with("In `") {
            folder = quoted.next().expect("a folder is named").to_string();
        } else if line.starts_with("## ") {
            folder.clear();
        } else if line.starts_with("| `") && !folder.is_empty() {
            let mut rooms = vec![folder.clone()];
            for name in quoted {
                match name.strip_suffix('/') {
                    Some(room) => rooms.push(format!("{folder}/{room}")),
                    None if name.ends_with(".rs") => {
                        files.extend(rooms.iter().map(|room| format!("{room}/{name}")));
                    }
                    None => {}
                }
            }
        }
    }
    files
}

#[test]
fn every_file_of_some_length_is_on_the_map() {
    let map = on_the_map();
    let missing: Vec<String> = sources()
        .iter()
        .filter(|file| read(file).lines().count() >= 50)
        .map(|file| file.display().to_string())
        .filter(|file| !map.contains(file))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md has no row for:\n{}",
        missing.join("\n")
    );
}

/// The commands that `cargo xtask` names in its help, and below each its own.
fn commands() -> Vec<String> {
    let of = |words: &[&str]| -> Vec<String> {
        let output = Command::new(cargo_bin("xtask"))
            .args(words)
            .arg("--help")
            .output()
            .expect("xtask runs");
        let help = String::from_utf8(output.stdout).expect("help is text");
        let Some((_, list)) = help.split_once("Commands:\n") else {
            return Vec::new();
        };
        list.lines()
            .take_while(|line| line.starts_with("  "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_string)
            .collect()
    };
    let mut all = Vec::new();
    for command in of(&[]) {
        let below = of(&[&command]);
        all.extend(below.iter().map(|name| format!("{command} {name}")));
        all.push(command);
    }
    all
}

#[test]
fn both_readmes_name_every_command() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for file in ["README.md", "README.zh-CN.md"] {
        let readme = read(file);
        for command in &commands {
            let named = |end| readme.contains(&format!("`cargo xtask {command}{end}"));
            assert!(named("`") || named(" "), "{file}: `cargo xtask {command}`");
        }
    }
}
