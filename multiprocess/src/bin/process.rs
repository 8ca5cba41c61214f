//! `In [2]`: a function in a process of its own, waited for.

use std::process;

use multiprocess::{Process, Result};

fn main() -> Result<()> {
    println!("Parent process {}.", process::id());
    println!("Child process will start.");
    let child = Process::spawn(|| run("test"))?;
    child.join()?;
    println!("Child process end.");
    Ok(())
}

fn run(name: &str) {
    println!("Run child process {name} ({})...", process::id());
}
