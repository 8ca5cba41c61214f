//! `In [16]`: a worker takes tasks from the master's queue and puts results in the other one.

use common::environment;
use common::pace::pause;
use distributed::Error;
use options::Worker;

mod options;

fn main() {
    environment::check();
    if let Err(error) = run(&options::parse::<Worker>()) {
        options::fail(&error);
    }
}

fn run(options: &Worker) -> anyhow::Result<()> {
    println!("Connect to server {}...", options.host());
    let manager = options.connect()?;
    let worker = options.worker()?;
    // Python's own server, which does not tell this, ends without a word.
    let tells_its_end = manager.status().is_ok();
    match worker.run(&manager, "get_task_queue", "get_result_queue", square) {
        Err(Error::Closed { .. }) if !tells_its_end => {}
        Ok(_) | Err(Error::ShutDown { .. }) => {}
        Err(error) => return Err(options.explain(error)),
    }
    println!("worker exit.");
    Ok(())
}

fn square(n: &i32) -> Result<String, Error> {
    let n = i64::from(*n);
    println!("run task {n} * {n}...");
    pause(0.1);
    Ok(format!("{n} * {n} = {}", n * n))
}
