//! The variables `PACE` and `SEED`, at the start of a cell.

use std::path::Path;
use std::process::Command;

use crate::{draw, pace};

/// Ends the program with exit code 2 and a sentence if `PACE` or `SEED` is set to what it cannot be.
/// A cell that heeds them calls this first.
pub fn check() {
    if let Err(sentence) = pace::read().map(drop).and(draw::seed().map(drop)) {
        eprintln!("error: {sentence}");
        std::process::exit(2);
    }
}

/// Runs a cell with such values, for its test.
///
/// # Panics
///
/// Panics when the cell does anything but to refuse them.
pub fn assert_checks(cell: &Path) {
    for (name, value) in [
        ("PACE", "abc"),
        ("PACE", "-1"),
        ("PACE", ""),
        ("SEED", "xyz"),
    ] {
        let output = Command::new(cell).env(name, value).output();
        let output = output.unwrap_or_else(|error| panic!("run {}: {error}", cell.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        let cell = cell.display();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{cell}, {name}={value}: {said}"
        );
        assert!(
            said.starts_with(&format!("error: {name}={value} is no ")),
            "{cell}: {said}"
        );
        assert!(output.stdout.is_empty(), "{cell} has begun");
    }
}
