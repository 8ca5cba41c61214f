//! What the hint of chapter 3 tells a reader to try, tried.

use std::path::Path;
use std::process::Command;

use common::program::edited;

fn changed(edits: &[(&str, &str)], folder: &str) -> Result<Command, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/local.rs");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    edited(&source, edits, &folder)
}

#[test]
fn local_read_in_a_thread_that_stored_nothing_holds_what_was_said_at_the_declaration() {
    let stores = "STUDENT.set(student.to_owned());";
    let said = "const { RefCell::new(String::new()) }";
    let other = "RefCell::new(\"nobody\".to_owned())";
    let edits = [(stores, "let _ = student;"), (said, other)];
    let mut local = changed(&edits, "unstored").expect("it compiles");
    let output = local.output().expect("it starts");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("Hello, nobody (in Thread-A)"), "{out}");
    assert!(out.contains("Hello, nobody (in Thread-B)"), "{out}");
}

#[test]
fn local_without_a_first_value_does_not_compile() {
    let edits = [(" = const { RefCell::new(String::new()) }", "")];
    let error = changed(&edits, "unsaid").expect_err("it has no value");
    assert!(
        error.contains("static STUDENT: RefCell<String>;"),
        "{error}"
    );
}
