//! The life of an item as a span of OpenTelemetry, as a collector gets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::program::Program;
use distributed::{Client, Result, TASK_SPANS, Worker};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::LONG;
use support::tasks::quick;
use tracing_subscriber::fmt::format::FmtSpan;

mod support;

/// A collector: where it listens, and the spans that it was sent.
fn collector() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (send, spans) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client connects");
            let mut reader = BufReader::new(stream.try_clone().expect("descriptors are left"));
            let (mut line, mut length) = (String::new(), 0);
            let mut head = String::new();
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("it is a length");
                }
                head.push_str(&line);
                line.clear();
            }
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            let mut body = vec![0; length];
            reader
                .read_exact(&mut body)
                .expect("it is as long as it says");
            let body: Value = serde_json::from_slice(&body).expect("it is JSON");
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).expect("it reads");
            let scopes = body["resourceSpans"].as_array().into_iter().flatten();
            let scopes = scopes.flat_map(|resource| resource["scopeSpans"].as_array());
            let all = scopes.flatten().flat_map(|scope| scope["spans"].as_array());
            for span in all.flatten() {
                let _ = send.send(span.clone());
            }
        }
    });
    (format!("http://{address}"), spans)
}

/// What a subscriber writes, an event in each message.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What an attribute says, as text.
fn attribute(of: &Value, key: &str) -> Option<String> {
    let attributes = of["attributes"].as_array()?;
    let found = attributes
        .iter()
        .find(|attribute| attribute["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

/// Ends a manager as its administrator does.
#[track_caller]
fn ends(manager: &mut Program) {
    kill(Pid::from_raw(manager.pid()), Signal::SIGTERM).expect("it runs");
    let end = manager.wait(Instant::now() + LONG).expect("it is ours");
    assert!(end.expect("it ends in time").success());
}

#[test]
fn a_collector_is_sent_the_life_of_each_item_from_its_put_until_it_is_done() -> Result<()> {
    let (collector, spans) = collector();
    let (mut manager, address) = support::manager(&[
        "--queue=tasks",
        "--redeliver=tasks",
        "--max-deliveries=2",
        &format!("--traces={collector}"),
    ]);
    let client = Client::connect(&address, b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put(&7)?;
    tasks.lease()?.fail("no database")?;
    tasks.lease()?.done()?;
    drop((tasks, client));
    // Its end sends what it has.
    ends(&mut manager);
    let span = spans.recv_timeout(LONG).expect("a span is sent");
    assert_eq!(span["name"], "item");
    assert_eq!(attribute(&span, "queue").as_deref(), Some("tasks"));
    let events = span["events"].as_array().expect("there are events");
    let named: Vec<&str> = events
        .iter()
        .filter_map(|event| event["name"].as_str())
        .collect();
    assert_eq!(named, ["handed out", "given back", "handed out"]);
    assert_eq!(
        attribute(&events[1], "reason").as_deref(),
        Some("no database")
    );
    assert_eq!(attribute(&events[2], "deliveries").as_deref(), Some("2"));
    let time = |key: &str| span[key].as_str().and_then(|time| time.parse::<u64>().ok());
    assert!(
        time("startTimeUnixNano") < time("endTimeUnixNano"),
        "{span}"
    );
    Ok(())
}

#[test]
fn each_try_of_a_task_is_a_span_with_what_its_function_says_inside() -> Result<()> {
    let (send, lines) = mpsc::channel();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || Lines(send.clone()));
    // A worker has threads of its own.
    tracing::subscriber::set_global_default(subscriber.finish()).expect("it is the only one");
    let (_server, client) = support::task_server()?;
    let task = client.task_queue("tasks")?;
    let task = task.submit_with::<u32>("halve", &7, quick().retries(1))?;
    let worker = Worker::new().task_with("halve", |task, n: u32| match task.attempt() {
        1 => Err("it is odd"),
        _ => {
            tracing::info!("rounds down");
            Ok(n / 2)
        }
    });
    let worker = worker.idle(Duration::from_millis(200));
    worker.serve(&client, "tasks")?;
    assert_eq!(task.result(Some(LONG))?, 3);
    let said: Vec<String> = lines.try_iter().collect();
    let id = task.id();
    let closed = said.iter().filter(|line| line.contains(TASK_SPANS));
    let closed: Vec<&String> = closed.filter(|line| line.contains(": close ")).collect();
    let span = |attempt: u32| format!("task{{task=\"{id}\" attempt={attempt} function=\"halve\"");
    assert_eq!(closed.len(), 2, "{said:?}");
    assert!(closed[0].contains(&format!("{} error=\"it is odd\"}}", span(1))));
    assert!(closed[1].contains(&format!("{}}}", span(2))), "{closed:?}");
    let inside = said.iter().find(|line| line.contains("rounds down"));
    assert!(inside.is_some_and(|line| line.contains(&span(2))));
    Ok(())
}

#[test]
fn without_its_collector_a_manager_serves_and_ends_all_the_same() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = closed.local_addr().expect("it is bound");
    drop(closed);
    let (mut manager, address) =
        support::manager(&["--queue=tasks", &format!("--traces=http://{address}")]);
    let client = Client::connect(&address, b"abc")?;
    let tasks = client.queue::<u32>("tasks")?;
    tasks.put(&7)?;
    assert_eq!(tasks.get()?, 7);
    ends(&mut manager);
    Ok(())
}
