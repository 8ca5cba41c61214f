//! Tasks from end to end: put, taken by workers that are processes of their own, and their results
//! collected. On a manager, and on an engine that is started for it.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use distributed::{Client, QueueOptions, Server, Worker};

use crate::Measured;

/// Enough for half a second. The peers, which are far slower, do a fifth of them.
const TASKS: usize = 10_000;
/// How many results the master takes at a time.
const BATCH: usize = 256;
const WAIT: Duration = Duration::from_secs(20);

/// Killed at the end.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
        Ok(Program(
            command
                .args(["worker", url, prefetch])
                .stdin(Stdio::null())
                .spawn()?,
        ))
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
fn engine(folder: &std::path::Path) -> Result<(Program, String), Box<dyn Error>> {
    let mut server = Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
        .arg(folder)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("run nats-server (apt-get install nats-server): {error}"))?;
    let log = server.stderr.take().ok_or("its log is piped")?;
    let server = Program(server);
    let mut url = String::new();
    let mut lines = BufReader::new(log).lines();
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("client connections on ") {
            url = format!("nats://{}", address.trim());
        }
        if line.contains("Server is ready") {
            // Read on, lest it stand still at a full pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((server, url));
        }
    }
    Err("nats-server ends before it is ready".into())
}
