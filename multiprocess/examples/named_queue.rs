//! Programs that share nothing but the name of a queue: some put jobs in it, others do them.
//!
//! ```sh
//! cargo run -p multiprocess --example named_queue -- work jobs &
//! cargo run -p multiprocess --example named_queue -- put jobs "resize a.png" "resize b.png"
//! ```
//!
//! In whatever order they start, they meet. `put` leaves when all is done. When the last of them ends,
//! however it ends, nothing is left of the queue.

use std::env;
use std::process::{self, ExitCode};

use multiprocess::{Queue, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["put", name, ref jobs @ ..] if !jobs.is_empty() => put(name, jobs),
        ["work", name] => work(name),
        _ => {
            eprintln!("usage: named_queue put NAME JOB...\n       named_queue work NAME");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn put(name: &str, jobs: &[&str]) -> Result<()> {
    let queue = Queue::named(name)?;
    for job in jobs {
        queue.put(&job.to_string())?;
    }
    // An error says that a worker was killed with a job in its hand.
    queue.join()
}

fn work(name: &str) -> Result<()> {
    let queue = Queue::<String>::named(name)?;
    loop {
        let job = queue.get()?;
        println!("{} does {job}", process::id());
        queue.task_done()?;
    }
}
