//! Tasks by name on three nodes that have all of them, of which nodes are killed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, Error, QueueOptions, Result, TaskOptions, Worker};

use crate::server::{Again, DEADLINE, Server, again};

const URL: &str = "TEST_CLUSTER_URL";
/// Nodes of older servers may disagree, once one was killed, on which tasks are done.
const AGREEING: [u32; 2] = [2, 10];
const NODES: usize = 3;
const SUBMITTERS: u64 = 2;
const WORKERS: usize = 2;
/// How many tasks a submitter has out at a time.
const BATCH: u64 = 20;

struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Option<Cluster> {
        // Free at this moment: each node has to be told all of them before it starts.
        let free = [(); NODES].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = free.map(|socket| socket.local_addr().expect("it is bound").port());
        let routes = ports
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .join(", ");
        let node = |(number, port)| {
            Server::configured(&format!(
                "server_name: node{number}\nhttp: \"127.0.0.1:-1\"\njetstream {{}}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
            ))
        };
        let nodes = ports.into_iter().enumerate().map(node);
        nodes.collect::<Option<Vec<_>>>().map(Cluster)
    }

    fn url(&self) -> String {
        let places: Vec<_> = self
            .0
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("nats://{}", places.join(","))
    }

    fn client(&self) -> Client {
        distributed::connect(&self.url()).expect("one of them answers")
    }

    /// The node that leads a stream, as soon as there is one.
    fn leader(&self, stream: &str) -> usize {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut told = self.0.iter().filter_map(|node| leader_by(node, stream));
            if let Some(leader) = told.next() {
                return leader;
            }
            assert!(Instant::now() < deadline, "{stream} has no leader");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Which node leads a stream, by the word of one.
fn leader_by(node: &Server, stream: &str) -> Option<usize> {
    let mut monitor = TcpStream::connect(("127.0.0.1", node.monitor())).ok()?;
    monitor.set_read_timeout(Some(DEADLINE)).ok()?;
    monitor
        .write_all(b"GET /jsz?streams=true HTTP/1.0\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    monitor.read_to_string(&mut answer).ok()?;
    let told: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let streams = told["account_details"][0]["stream_detail"].as_array()?;
    let found = streams.iter().find(|found| found["name"] == stream)?;
    found["cluster"]["leader"]
        .as_str()?
        .strip_prefix("node")?
        .parse()
        .ok()
}

/// Submits tasks one batch after the other until it is told to stop. Each has its result, but the last of
/// a batch, if its submitter was told that it is cancelled.
fn submit(
    client: &Client,
    own: u64,
    stop: &mpsc::Receiver<()>,
    progress: &mpsc::Sender<()>,
) -> Result<()> {
    let tasks = client.task_queue("tasks")?;
    for batch in own.. {
        if stop.try_recv().is_ok() {
            break;
        }
        let numbers: Vec<u64> = (0..BATCH).map(|n| batch * BATCH + n).collect();
        let handles = tasks.submit_many::<u64>("square", &numbers, TaskOptions::new())?;
        let is_cancelled = handles[BATCH as usize - 1].cancel()?;
        for (handle, n) in handles.iter().zip(&numbers) {
            let is_cancelled = is_cancelled && n % BATCH == BATCH - 1;
            match (handle.result(Some(DEADLINE)), is_cancelled) {
                (Err(Error::TaskCancelled), true) => {}
                (Ok(square), false) => assert_eq!(square, n * n),
                (outcome, _) => panic!("task {n}, cancelled: {is_cancelled}: {outcome:?}"),
            }
        }
        progress.send(()).expect("the test waits");
    }
    Ok(())
}

/// What a worker does, which is a program of its own.
fn work(url: &str) -> Result<()> {
    let client = distributed::connect(url)?;
    let worker = Worker::new().concurrency(2).task("square", |n: u64| {
        thread::sleep(Duration::from_millis(10));
        Ok::<_, Error>(n * n)
    });
    worker.serve(&client, "tasks").map(drop)
}

/// Waits until nothing of a task is left. A word that was lost with a node is said again when the lease
/// of its task has ended.
fn all_end(client: &Client) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match client.status() {
            Ok(status) => match status.queues.iter().map(|queue| queue.unfinished).sum() {
                0_u64 => return Ok(()),
                left => assert!(Instant::now() < deadline, "{left} tasks stay"),
            },
            // A cluster that finds itself again has no answer for a moment.
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn each_task_has_one_outcome_when_the_node_that_leads_them_is_killed() -> Result<()> {
    if let Ok(url) = std::env::var(URL) {
        return work(&url);
    }
    let Some(mut cluster) = Cluster::start() else {
        return Ok(());
    };
    if cluster.0[0].version() < AGREEING {
        println!("skipped: a cluster needs nats-server 2.10 or newer");
        return Ok(());
    }
    let kills = std::env::var("KILLS").map_or(1, |kills| kills.parse().expect("a number"));
    let client = cluster.client();
    let lease = Duration::from_secs(2);
    client.create(QueueOptions::new("tasks").replicas(NODES).lease(lease))?;
    client.task_queue("tasks")?;
    let mut workers: Vec<Again> = (0..WORKERS).map(|_| again(URL, &cluster.url())).collect();
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|own| {
            let (stop, stops) = mpsc::channel();
            let (progress, progresses) = mpsc::channel();
            let client = cluster.client();
            let submitter =
                thread::spawn(move || submit(&client, own * 1_000_000, &stops, &progress));
            (stop, progresses, submitter)
        })
        .collect();
    let go_on = || {
        for (_, progress, _) in &submitters {
            // What was there before tells nothing of what is.
            while progress.try_recv().is_ok() {}
            for _ in 0..2 {
                progress.recv_timeout(DEADLINE).expect("its batch is done");
            }
        }
    };
    go_on();
    for kill in 0..kills {
        let stream = ["tm-tasks-tasks", "tm-outcomes-tasks"][kill % 2];
        let leader = cluster.leader(stream);
        cluster.0[leader].kill();
        go_on();
        cluster.0[leader].start_again();
        go_on();
    }
    for (stop, ..) in &submitters {
        stop.send(()).expect("it waits for it");
    }
    for (.., submitter) in submitters {
        submitter.join().expect("all outcomes are right")?;
    }
    all_end(&client)?;
    assert!(
        !workers.iter_mut().any(Again::is_over),
        "a worker has ended"
    );
    Ok(())
}
