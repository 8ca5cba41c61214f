//! `In [16]`: a worker takes tasks from the master's queue and puts results in the other one.

use clap::Parser;
use common::pace::pause;
use distributed::Error;
use options::Worker;

mod options;

fn main() {
    if let Err(error) = run(&Worker::parse()) {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn run(options: &Worker) -> anyhow::Result<()> {
    println!("Connect to server {}...", options.host());
    let manager = options.connect()?;
    let worker = options.worker()?;
    match worker.run(&manager, "get_task_queue", "get_result_queue", square) {
        Ok(_) | Err(Error::Closed) => println!("worker exit."),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn square(n: &i32) -> Result<String, Error> {
    let n = i64::from(*n);
    println!("run task {n} * {n}...");
    pause(0.1);
    Ok(format!("{n} * {n} = {}", n * n))
}
