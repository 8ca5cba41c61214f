//! `In [3]`: four workers share five tasks.

use std::process;
use std::time::Instant;

use common::{draw, environment, pace};
use multiprocess::{Pool, Result};
use rand::RngExt;

fn main() -> Result<()> {
    environment::check();
    println!("Parent process {}.", process::id());
    let pool = Pool::new(4)?;
    for task in 0..5 {
        pool.apply_async(long_time_task, task)?;
    }
    println!("Waiting for all subprocesses done...");
    pool.join()?;
    println!("All subprocesses done.");
    Ok(())
}

fn long_time_task(task: u64) {
    println!("Run task {task} ({})...", process::id());
    let start = Instant::now();
    pace::pause(3.0 * draw::stream(task).random::<f64>());
    println!(
        "Task {task} runs {:.2} seconds.",
        start.elapsed().as_secs_f64()
    );
}
