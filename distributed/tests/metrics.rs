//! What Prometheus and load balancers are told, over HTTP as they ask for it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use common::program::Program;
use distributed::{Client, Error, QueueOptions, Result, Server};

use support::raw::{Raw, request};
use support::{LONG, eventually, line, start};

mod support;

/// What is answered to a request.
fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("60 s is a time");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is text");
    answer
}

/// The text of a page that is there.
#[track_caller]
fn page(address: &str, path: &str) -> String {
    let answer = asked(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head has an end");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
    body.to_string()
}

#[track_caller]
fn says(text: &str, lines: &[&str]) {
    let all: BTreeSet<&str> = text.lines().collect();
    let missing: Vec<_> = lines.iter().filter(|line| !all.contains(**line)).collect();
    assert!(missing.is_empty(), "{missing:?} not in:\n{text}");
}

/// The program `manager` with metrics; its address and theirs.
fn manager(arguments: &[&str]) -> (Program, String, String) {
    let mut all = vec!["--metrics=127.0.0.1:0"];
    all.extend(arguments);
    let (manager, address) = support::manager(&all);
    let metrics = line(&manager);
    let metrics = metrics.strip_prefix("http://");
    let metrics = metrics.and_then(|address| address.strip_suffix("/metrics"));
    let metrics = metrics.expect("it says where").to_string();
    (manager, address, metrics)
}

#[test]
fn what_is_in_the_queues_is_told_as_prometheus_reads_it() -> Result<()> {
    let (_manager, address, metrics) = manager(&[
        "--queue=tasks:9",
        "--queue=results",
        "--redeliver=tasks",
        "--max-deliveries=1",
    ]);
    let client = Client::connect(&address, b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put_many(&[1, 2, 3, 4])?;
    tasks.lease()?.fail("no database")?;
    let lease = tasks.lease()?;
    says(
        &page(&metrics, "/metrics"),
        &[
            "# TYPE distributed_queue_length gauge",
            "distributed_queue_length{queue=\"tasks\"} 2",
            "distributed_queue_length{queue=\"results\"} 0",
            "distributed_queue_maxsize{queue=\"tasks\"} 9",
            "distributed_queue_leases{queue=\"tasks\"} 1",
            "distributed_queue_unfinished{queue=\"tasks\"} 3",
            "# TYPE distributed_queue_put_total counter",
            "distributed_queue_put_total{queue=\"tasks\"} 4",
            "distributed_queue_delivered_total{queue=\"tasks\"} 2",
            "distributed_queue_redelivered_total{queue=\"tasks\"} 0",
            "distributed_queue_dead_letters{queue=\"tasks\"} 1",
            "distributed_queue_dead_lettered_total{queue=\"tasks\"} 1",
            "distributed_queue_dead_letters{queue=\"results\"} 0",
            "distributed_clients 1",
        ],
    );
    drop(lease);
    Ok(())
}

#[test]
fn those_who_wait_and_those_who_hold_a_lock_are_counted() -> Result<()> {
    let (_manager, address, metrics) =
        manager(&["--queue=tasks:1", "--queue=results", "--object=gate:Lock"]);
    let client = Client::connect(&address, b"abc")?;
    let queue = |name| client.queue::<u32>(name);
    let (tasks, results) = (queue("tasks")?, queue("results")?);
    tasks.put(&1)?;
    // They end with the manager, if not before.
    let getter = thread::spawn(move || results.get());
    let putter = thread::spawn(move || tasks.put(&2));
    let mut holder = Raw::accepted(&address);
    holder.call(&request("gate", "acquire", b""));
    let mut waiter = Raw::accepted(&address);
    waiter.send(&request("gate", "acquire", b""));
    let wanted = [
        "distributed_queue_waiting_getters{queue=\"results\"} 1",
        "distributed_queue_waiting_putters{queue=\"tasks\"} 1",
        "distributed_lock_holders{lock=\"gate\"} 1",
        "distributed_lock_waiting{lock=\"gate\"} 1",
        "distributed_objects 1",
    ];
    let mut text = String::new();
    let told = eventually(|| {
        text = page(&metrics, "/metrics");
        wanted
            .iter()
            .all(|line| text.lines().any(|said| said == *line))
    });
    assert!(told, "{text}");
    assert!(
        text.contains("distributed_lock_held_seconds{lock=\"gate\"} "),
        "{text}"
    );
    // Both have waited, and their time is none of the server's.
    queue("results")?.put(&3)?;
    queue("tasks")?.get()?;
    putter.join().expect("no panic")?;
    assert_eq!(getter.join().expect("no panic")?, 3);
    let waited = "distributed_calls_waited_total 2";
    assert!(eventually(|| page(&metrics, "/metrics")
        .lines()
        .any(|line| line == waited)));
    Ok(())
}

#[test]
fn those_who_are_refused_are_counted_by_the_reason() {
    let (_manager, address, metrics) = manager(&["--queue=tasks"]);
    let other = Client::connect(&address, b"another");
    assert!(matches!(other, Err(Error::Auth { .. })), "{other:?}");
    let mut stranger = TcpStream::connect(&address).expect("it listens");
    stranger
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("it reads");
    let told = eventually(|| {
        let text = page(&metrics, "/metrics");
        let of = |line: &str| text.lines().any(|said| said == line);
        of("distributed_refused_total{reason=\"key\"} 1")
            && of("distributed_refused_total{reason=\"protocol\"} 1")
            && of("distributed_refused_total{reason=\"late\"} 0")
    });
    assert!(told, "{}", page(&metrics, "/metrics"));
}

#[test]
fn calls_are_a_histogram_whose_buckets_add_up() -> Result<()> {
    let server = Server::builder().queue("tasks").metrics("127.0.0.1:0");
    let server = server.serve("127.0.0.1:0", b"abc")?;
    let tasks = Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?;
    for n in 0..50 {
        tasks.put(&n)?;
    }
    // The time of a call is counted after its reply, and so before its connection has ended.
    drop(tasks);
    assert!(eventually(|| server.status().clients == 0));
    let text = server.status().to_prometheus();
    let buckets = text
        .lines()
        .filter(|line| line.starts_with("distributed_call_seconds_bucket"));
    let counts: Vec<u64> = buckets
        .map(|line| {
            line.rsplit(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a count")
        })
        .collect();
    assert!(counts.is_sorted() && counts.len() == 15, "{text}");
    says(
        &text,
        &[
            "distributed_call_seconds_bucket{le=\"+Inf\"} 50",
            "distributed_call_seconds_count 50",
        ],
    );
    Ok(())
}

#[test]
fn queues_that_calls_made_are_summed_up_and_any_name_is_a_label() -> Result<()> {
    let server = Server::builder().factory("Queue");
    let server = server
        .queue(QueueOptions::new("a\"b\\c\n"))
        .serve("127.0.0.1:0", b"abc")?;
    // pickle.dumps((None, 'create', ('Queue',), {}), 2)
    let create = b"\x80\x02(NX\x06\0\0\0createX\x05\0\0\0Queue\x85}t.";
    for _ in 0..3 {
        Raw::connect(&server.address().to_string()).call(create);
    }
    let text = server.status().to_prometheus();
    says(
        &text,
        &[
            "distributed_made_queues{factory=\"Queue\"} 3",
            "distributed_queue_length{queue=\"a\\\"b\\\\c\\n\"} 0",
        ],
    );
    let lengths = text
        .lines()
        .filter(|line| line.starts_with("distributed_queue_length{"));
    assert_eq!(lengths.count(), 1, "{text}");
    Ok(())
}

#[test]
fn health_is_answered_and_what_else_is_asked_for_is_refused() {
    let (_manager, _, metrics) = manager(&["--queue=tasks"]);
    assert_eq!(page(&metrics, "/health"), "ok\n");
    assert_eq!(page(&metrics, "/health?verbose"), "ok\n");
    let head = asked(&metrics, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("\r\n\r\n", "405"),
    ] {
        let answer = asked(&metrics, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
    // One that says nothing does not keep others out, and one that says too much has no answer.
    let _silent = TcpStream::connect(&metrics).expect("it listens");
    let mut long = TcpStream::connect(&metrics).expect("it listens");
    long.set_read_timeout(Some(LONG)).expect("60 s is a time");
    let _ = long.write_all(&[b'x'; 9 << 10]);
    assert!(!matches!(long.read(&mut [0; 9]), Ok(1..)));
    assert_eq!(page(&metrics, "/health"), "ok\n");
}

#[test]
fn metrics_of_a_manager_that_runs_are_printed_or_served_for_it() {
    let (manager, address) = support::manager(&["--queue=tasks"]);
    let program = || {
        let mut program = std::process::Command::new(cargo_bin("manager"));
        program
            .env("MANAGER_AUTHKEY", "abc")
            .args(["metrics", &address]);
        program
    };
    let printed = support::run(&mut program());
    says(&printed, &["distributed_queue_length{queue=\"tasks\"} 0"]);
    let beside = start(program().args(["--bind", "127.0.0.1:0"]));
    let metrics = line(&beside);
    says(
        &page(&metrics, "/metrics"),
        &["distributed_queue_length{queue=\"tasks\"} 0"],
    );
    assert_eq!(page(&metrics, "/health"), "ok\n");
    drop(manager);
    let answer = asked(&metrics, "GET /health HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\n\r\nno status: "), "{answer}");
}

#[test]
fn a_metrics_address_that_is_taken_is_an_error_that_names_it() {
    let (_manager, _, metrics) = manager(&["--queue=tasks"]);
    let mut second = Command::new(cargo_bin("manager"));
    let second = second.env("MANAGER_AUTHKEY", "abc").timeout(LONG);
    let options = ["--bind=127.0.0.1:0", "--queue=tasks", "--metrics", &metrics];
    let output = second.args(options).assert().code(1);
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        said.contains(&format!("listen on {metrics} for metrics")),
        "{said}"
    );
}
