//! Numbers for workers in Python to square. A worker is a program that uses `BaseManager` as it is,
//! here [worker.py](../docs/worker.py), and one that is killed loses no number:
//! `cargo run -p distributed --example python_workers -- python3 distributed/docs/worker.py`.
//!
//! In Python: the master of a `BaseManager`, with two queues.

use std::process::{self, Command};
use std::{env, time::Duration};

use anyhow::{Context, ensure};
use distributed::{Client, QueueOptions, Server};

const WORKERS: usize = 2;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [python, script] = &arguments[..] else {
        eprintln!("usage: python_workers PYTHON SCRIPT");
        process::exit(2);
    };
    // A task whose worker is killed goes to another one.
    let server = Server::builder()
        .queue(QueueOptions::new("get_task_queue").redeliver(true))
        .queue("get_result_queue")
        .serve("127.0.0.1:0", b"abc")?;
    let start = |_| {
        let mut command = Command::new(python);
        let command = command.arg(script).arg(server.address().to_string());
        command.spawn().with_context(|| format!("start {python}"))
    };
    let workers: Vec<_> = (0..WORKERS).map(start).collect::<Result<_, _>>()?;

    let manager = Client::connect(server.address(), b"abc")?;
    // Python's None is None here, and tells this worker to leave.
    let tasks = manager.queue::<Option<u64>>("get_task_queue")?;
    let results = manager.queue::<String>("get_result_queue")?;
    for n in 1..=10 {
        tasks.put(&Some(n))?;
    }
    for _ in 1..=10 {
        let result = results.get_timeout(Duration::from_secs(30));
        println!("{}", result.context("wait for a worker's result")?);
    }
    tasks.put_many(&[None; WORKERS])?;
    for mut worker in workers {
        let status = worker.wait()?;
        ensure!(status.success(), "a worker ended with {status}");
    }
    Ok(())
}
