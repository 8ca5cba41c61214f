//! The table of the cells, the programs on disk, the tests and the READMEs tell the same story.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use common::notebook::{CELLS, Cell};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

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

fn parsed(file: &Path) -> syn::File {
    syn::parse_file(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The functions of a file that take more than a page, with their lines.
#[derive(Default)]
struct LongFunctions(Vec<(String, usize)>);

impl LongFunctions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = last - first + 1;
        if lines > 70 {
            self.0.push((signature.ident.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn a_function_is_read_without_turning_the_page() {
    let mut found = Vec::new();
    for file in rust_files() {
        let mut long = LongFunctions::default();
        long.visit_file(&parsed(&file));
        for (name, lines) in long.0 {
            found.push(format!("{}: {name} has {lines} lines", file.display()));
        }
    }
    assert!(
        found.is_empty(),
        "a function has at most 70 lines:\n{}",
        found.join("\n")
    );
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

/// Names that two types have, each with the reason.
const SHARED_NAMES: [(&str, &str); 21] = [
    (
        "Builder",
        "as in std, each type that is built has one in its own module",
    ),
    (
        "Connection",
        "a pipe's end, as in Python, and a socket to a manager",
    ),
    ("Encoder", "each of the two formats has one"),
    (
        "Error",
        "each library has one, and so has the pickle format",
    ),
    (
        "Event",
        "that processes wait for, as in Python, and what a printed line says",
    ),
    (
        "Failure",
        "why a call of a session or a step of the codec has no value",
    ),
    (
        "Form",
        "of the last run that is exported, and of the tasks of an imap",
    ),
    (
        "Head",
        "of a message to a manager, and of Linux's list of robust locks",
    ),
    ("Out", "an item that is out, on each backend"),
    (
        "Party",
        "one thread's part in a barrier, and a client that waits at one of the manager's",
    ),
    (
        "Parts",
        "the parts of a value: the codec writes them and reads them",
    ),
    (
        "Master",
        "of tasks with ids, and the options of the program",
    ),
    (
        "Queue",
        "between processes and over the network, as in Python",
    ),
    ("Result", "each library has one, of its error"),
    ("Submitted", "what is under way of an imap, and of a map"),
    ("Step", "of a handshake, and of a worker in its chunk"),
    (
        "Thread",
        "of a worker of tasks, and as a robust lock sees its owner",
    ),
    ("State", "what a lock holds, on each backend"),
    (
        "Value",
        "in memory that processes share, as in Python, and what a pickle says",
    ),
    (
        "Variant",
        "of a cell in the table, and of an enum in the codec",
    ),
    ("Worker", "of a pool, and of a queue of tasks"),
];

/// The names of the types of a module and its inner modules, but for its tests.
fn types_of(items: &[syn::Item], names: &mut BTreeSet<String>) {
    for item in items {
        let name = match item {
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Union(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Mod(module) if module.ident != "tests" => {
                let inner = module.content.as_ref();
                types_of(inner.map_or(&[], |(_, items)| items), names);
                continue;
            }
            _ => continue,
        };
        names.insert(name.to_string());
    }
}

#[test]
fn one_type_has_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        let mut names = BTreeSet::new();
        types_of(&parsed(&file).items, &mut names);
        for name in names {
            places
                .entry(name)
                .or_default()
                .push(file.display().to_string());
        }
    }
    places.retain(|_, files| files.len() > 1);
    let allowed: BTreeMap<&str, &str> = SHARED_NAMES.into();
    for (name, why) in &allowed {
        assert!(
            places.remove(*name).is_some(),
            "{name} is no name of two types; take it off the list ({why})"
        );
    }
    let found: Vec<String> = places
        .iter()
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(
        found.is_empty(),
        "two types have one name, and the list has no reason for it:\n{}",
        found.join("\n")
    );
}

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

/// Notes the macros that print, and what ends the program: `process::exit`, clap's `exit`.
fn note_prints_and_exits(tokens: TokenStream, found: &mut Vec<String>) {
    const PRINTS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let sign = |at: usize, signs: &[char]| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) => signs.contains(&punct.as_char()),
        _ => false,
    };
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => note_prints_and_exits(group.stream(), found),
            TokenTree::Ident(name) => {
                let prints = PRINTS.iter().any(|print| name == print) && sign(at + 1, &['!']);
                let exits = name == "exit" && at > 0 && sign(at - 1, &['.', ':']);
                if prints || exits {
                    found.push(format!("{}: {name}", name.span().start().line));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn no_library_prints_or_exits() {
    let of_a_library = |file: &PathBuf| {
        let package = file.iter().next().expect("a file is in a package");
        root().join(package).join("src/lib.rs").exists()
            && !file.iter().any(|part| part == "bin" || part == "bench")
            // The usage errors of the cells, which have no options of their own.
            && file != Path::new("common/src/environment.rs")
    };
    let mut all = Vec::new();
    for file in sources().into_iter().filter(of_a_library) {
        let mut found = Vec::new();
        let tokens: TokenStream = read(&file).parse().expect("Rust is made of tokens");
        note_prints_and_exits(tokens, &mut found);
        let file = file.display();
        all.extend(found.into_iter().map(|place| format!("{file}:{place}")));
    }
    assert!(
        all.is_empty(),
        "a library leaves to the program what is printed and when it ends:\n{}",
        all.join("\n")
    );
}

/// The crates that a user of a library's own features compiles, beside the library.
fn crates_of(library: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--no-default-features",
        ])
        .args(["--prefix", "none", "--format", "{p}", "--package", library])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("names are text");
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut crates: BTreeSet<String> = names.map(str::to_string).collect();
    assert!(
        crates.remove(library),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    crates
}

#[test]
fn a_library_brings_few_crates_along() {
    for (library, most) in [("multiprocess", 14), ("distributed", 30)] {
        let crates = crates_of(library);
        assert!(
            crates.len() <= most,
            "{library} needs {}: {crates:?}",
            crates.len()
        );
    }
}

#[test]
fn a_package_has_what_its_readers_want_and_no_other_package() {
    for package in [
        "multiprocess",
        "multithread",
        "threadlocal",
        "distributed",
        "common",
    ] {
        let manifest = read(format!("{package}/Cargo.toml"));
        for key in [
            "description = ",
            "readme = ",
            "keywords = ",
            "categories = ",
        ] {
            assert!(manifest.contains(&format!("\n{key}")), "{package}: {key}");
        }
        let output = Command::new(env!("CARGO"))
            .args([
                "package",
                "--list",
                "--allow-dirty",
                "--offline",
                "--package",
                package,
            ])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        let files = String::from_utf8(output.stdout).expect("names are text");
        let files: BTreeSet<&str> = files.lines().collect();
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"] {
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(files.contains(file), "{package} has no {file}: {err}");
        }
        let strange =
            |file: &&&str| file.starts_with("other-program/") || file.starts_with("fuzz/");
        assert_eq!(files.iter().find(strange), None, "{package}");
    }
}
