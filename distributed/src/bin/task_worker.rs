//! `In [16]`: a worker takes tasks from the master's queue and puts results in the other one.

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::pace::pause;
use distributed::{Client, Error, Manager, Result, options::Worker};

fn main() {
    if let Err(error) = run(&Worker::parse()) {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn run(options: &Worker) -> anyhow::Result<()> {
    let key = options.authkey.read()?;
    println!("Connect to server {}...", options.host());
    let manager = Manager::connect_within(Duration::from_secs(10), &options.address, &key)
        .context("no master to join (start it with cargo run -p distributed --bin task_master)")?;
    match work(&manager, options.idle) {
        Err(Error::Empty | Error::Closed) => println!("worker exit."),
        outcome => outcome?,
    }
    Ok(())
}

fn work(manager: &Client, idle: Duration) -> Result<()> {
    let tasks = manager.queue::<i32>("get_task_queue")?;
    let results = manager.queue("get_result_queue")?;
    loop {
        let n = i64::from(tasks.get_timeout(idle)?);
        println!("run task {n} * {n}...");
        pause(0.1);
        results.put(&format!("{n} * {n} = {}", n * n))?;
    }
}
