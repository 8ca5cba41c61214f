//! `In [11]`: a thread with a name, waited for.

use std::{io, thread};

use common::{environment, pace};

fn main() -> io::Result<()> {
    environment::check();
    // Rust calls its main thread `main`; `MainThread` is Python's name for it, and the notebook's.
    println!("thread MainThread is running...");
    let looping = thread::Builder::new()
        .name("LoopThread".to_owned())
        .spawn(run)?;
    looping.join().expect("the loop does not panic");
    println!("thread MainThread ended.");
    Ok(())
}

fn run() {
    let thread = thread::current();
    let name = thread.name().expect("the builder gave it a name");
    println!("thread {name} is running...");
    for n in 1..=5 {
        println!("thread {name} >>> {n}");
        pace::pause(1.0);
    }
    println!("thread {name} ended.");
}
