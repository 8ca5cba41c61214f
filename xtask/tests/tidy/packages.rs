//! Packages: what they depend on, and what is in them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{read, root};

/// What others may depend on, or run.
const PACKAGES: [&str; 5] = [
    "common",
    "multiprocess",
    "multithread",
    "threadlocal",
    "distributed",
];

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
fn what_a_library_brings_along_is_said_as_it_is() {
    let [multiprocess, distributed] =
        ["multiprocess", "distributed"].map(|library| crates_of(library).len());
    let said = [
        (
            "README.md",
            format!("link {multiprocess} and {distributed} other crates"),
        ),
        (
            "README.zh-CN.md",
            format!("{multiprocess} 个和 {distributed} 个其他 crate"),
        ),
        (
            "multiprocess/src/in_your_program.md",
            format!("the crate links {multiprocess} others"),
        ),
    ];
    for (file, sentence) in said {
        assert!(
            read(file).contains(&sentence),
            "{file} does not say: {sentence}"
        );
    }
}

#[test]
fn each_feature_of_a_library_is_in_the_table_of_its_page() {
    let tables = [
        ("multiprocess", "multiprocess/src/in_your_program.md"),
        ("distributed", "distributed/src/lib.rs"),
    ];
    for (library, page) in tables {
        let manifest = read(format!("{library}/Cargo.toml"));
        let features = manifest
            .split("[features]")
            .nth(1)
            .expect("it has features");
        let features = features
            .lines()
            .skip(1)
            .take_while(|line| !line.starts_with('['));
        let names = features.filter_map(|line| line.split_once(" = ").map(|(name, _)| name));
        let page = read(page);
        let row = |name: &str| format!("| `{name}` |");
        let missing: Vec<&str> = names
            .filter(|name| *name != "default" && !page.contains(&row(name)))
            .collect();
        assert!(missing.is_empty(), "{library} has no row for {missing:?}");
    }
}

#[test]
fn a_package_has_what_its_readers_want_and_no_other_package() {
    for package in PACKAGES {
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

#[test]
fn each_package_can_be_made() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    // A lock file would need the packages of this workspace that it depends on to be published.
    let output = Command::new(env!("CARGO"))
        .args(["package", "--no-verify", "--offline", "--exclude-lockfile"])
        .args(["--allow-dirty", "--target-dir"])
        .arg(folder.path())
        .args(PACKAGES.map(|package| format!("--package={package}")))
        .current_dir(root())
        .output();
    let output = output.expect("cargo runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    for package in PACKAGES {
        let made = format!("package/{package}-{}.crate", env!("CARGO_PKG_VERSION"));
        assert!(folder.path().join(&made).exists(), "{made}: {err}");
    }
}

#[test]
fn an_example_is_short_and_run_by_a_test() {
    let mut examples = 0;
    for package in ["multiprocess", "distributed"] {
        let tests = read(format!("{package}/tests/examples.rs"));
        let folder = fs::read_dir(root().join(package).join("examples"));
        for entry in folder.expect("it can be read") {
            let file = entry.expect("it can be read").path();
            let lines = fs::read_to_string(&file)
                .expect("it is text")
                .lines()
                .count();
            assert!(lines < 60, "{} has {lines} lines", file.display());
            let name = file.file_stem().and_then(|name| name.to_str());
            let named = format!("{:?}", name.expect("our names are text"));
            assert!(tests.contains(&named), "{package}: no test runs {named}");
            examples += 1;
        }
    }
    assert!(examples > 4, "{examples} examples");
}
