//! Counts the words of text files in worker processes, with a progress bar, and prints the ten that
//! are used most: `cargo run -p multiprocess --example word_count -- README.md CHANGELOG.md`.
//!
//! In Python: `Pool().imap_unordered(count, files)` under tqdm.

use std::collections::HashMap;
use std::process::ExitCode;
use std::{env, fs};

use indicatif::ProgressBar;
use multiprocess::{Error, Pool, Result};

fn main() -> Result<ExitCode> {
    let files: Vec<String> = env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: word_count FILE...");
        return Ok(ExitCode::from(2));
    }
    let pool = Pool::builder().build()?;
    let bar = ProgressBar::new(files.len() as u64);
    let mut total = HashMap::<String, u64>::new();
    let mut code = ExitCode::SUCCESS;
    // In the order in which they are done. A file that fails is no reason to stop.
    for counts in bar.wrap_iter(pool.imap_unordered(count, files)) {
        match counts.flatten() {
            Ok(counts) => {
                for (word, n) in counts {
                    *total.entry(word).or_default() += n;
                }
            }
            Err(error) => {
                bar.suspend(|| eprintln!("word_count: {error}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    pool.join()?;
    let mut words: Vec<_> = total.into_iter().collect();
    words.sort_by(|(one, n), (other, m)| m.cmp(n).then(one.cmp(other)));
    for (word, n) in words.iter().take(10) {
        println!("{n:7} {word}");
    }
    Ok(code)
}

/// Runs in a worker.
fn count(file: String) -> Result<HashMap<String, u64>> {
    let text = fs::read_to_string(&file).map_err(|e| Error::os(format!("read {file}"), e))?;
    let words = text.split(|c: char| !c.is_alphanumeric());
    let mut counts = HashMap::new();
    for word in words.filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(counts)
}
