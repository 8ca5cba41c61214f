//! Tasks from end to end: put, taken by workers that are processes of their own, and their results
//! collected. On a manager, and on an engine that is started for it.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::nats_server::NatsServer;
use common::program::Program;
use distributed::{Client, QueueOptions, Server, Worker};

use crate::Measured;

/// Enough for half a second. The peers, which are far slower, do a fifth of them.
const TASKS: usize = 10_000;
/// How many results the master takes at a time.
const BATCH: usize = 256;
const WAIT: Duration = Duration::from_secs(20);

/// `distributed/PLACE-NUMBERw`, with `-single` for workers that fetch one task at a time.
pub(crate) fn measure(row: &str) -> Measured {
    let (row, prefetch) = match row.strip_suffix("-single") {
        Some(row) => (row, "1"),
        None => (row, "32"),
    };
    let (place, workers) = row
        .trim_start_matches("distributed/")
        .split_once('-')
        .ok_or("no place")?;
    let workers: usize = workers.trim_end_matches('w').parse()?;
    let options = || {
        [
            QueueOptions::new("tasks").redeliver(true),
            QueueOptions::new("results"),
        ]
    };
    if place == "manager" {
        let [tasks, results] = options();
        let builder = Server::builder().queue(tasks).queue(results);
        let server = builder.serve("127.0.0.1:0", b"abc")?;
        let url = format!("tcp://{}", server.address());
        return run(&url, workers, prefetch);
    }
    let folder = std::env::temp_dir().join(format!("bench-engine-{}", std::process::id()));
    let (_server, url) = engine(&folder)?;
    let client = distributed::connect(&url)?;
    for queue in options() {
        client.create(queue)?;
    }
    let measured = run(&url, workers, prefetch);
    let _ = std::fs::remove_dir_all(folder);
    measured
}

/// A client of the manager or engine that the URL names.
fn client(url: &str) -> distributed::Result<Client> {
    match url.strip_prefix("tcp://") {
        Some(address) => Client::connect(address, b"abc"),
        None => distributed::connect(url),
    }
}

fn run(url: &str, workers: usize, prefetch: &str) -> Measured {
    let client = client(url)?;
    // Each says by a result that it is there, so that its start is not measured.
    let workers = (0..workers).map(|_| {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.args(["worker", url, prefetch]);
        Program::start(command.stdin(Stdio::null()))
    });
    let workers = workers.collect::<std::io::Result<Vec<_>>>()?;
    let results = client.queue::<u64>("results")?;
    for _ in &workers {
        results.get_timeout(WAIT)?;
    }
    let start = Instant::now();
    let tasks = client.queue::<u64>("tasks")?;
    let putting = std::thread::spawn(move || {
        let all: Vec<u64> = (0..TASKS as u64).collect();
        all.chunks(BATCH)
            .try_for_each(|chunk| tasks.put_many(chunk))
    });
    let mut sum = 0;
    let mut got = 0;
    while got < TASKS {
        let some = results.get_many(BATCH, Some(WAIT))?;
        got += some.len();
        sum += some.iter().sum::<u64>();
    }
    let took = start.elapsed();
    putting.join().expect("no panic")?;
    if sum != (0..TASKS as u64).map(|n| n * n).sum::<u64>() {
        return Err("the results are wrong".into());
    }
    Ok(TASKS as f64 / took.as_secs_f64())
}

/// The process of a worker.
pub(crate) fn work(url: &str, prefetch: &str) -> Result<(), Box<dyn Error>> {
    let client = client(url)?;
    client.queue("results")?.put(&0u64)?;
    let square = |n: &u64| Ok::<u64, String>(n * n);
    Worker::new()
        .prefetch(prefetch.parse()?)
        .run(&client, "tasks", "results", square)?;
    Ok(())
}

/// Starts nats-server on a free port.
fn engine(folder: &Path) -> Result<(NatsServer, String), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"]);
    let server = NatsServer::start(command.arg(folder), &folder.join("log"))?;
    let port = server.port().ok_or("nats-server does not say its port")?;
    Ok((server, format!("nats://127.0.0.1:{port}")))
}
