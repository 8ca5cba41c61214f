//! What the engine says of its queues, and of what it survives.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{Info, State};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::engine::{Engine, REQUEST_TIME};
use super::layout::{self, DEAD};
use super::{presence, task_streams};
use crate::{Durability, Priority, QueueStatus, Result, Status};

#[derive(Deserialize)]
struct Page {
    streams: Option<Vec<Info>>,
    total: usize,
}

pub(super) async fn status(engine: &Engine) -> Result<Status> {
    let namespace = &engine.address.namespace;
    let attempt = "ask for the queues";
    let mut queues: Vec<String> = Vec::new();
    let mut tasks = BTreeMap::new();
    let mut offset = 0;
    loop {
        let request = serde_json::json!({ "offset": offset });
        let asked = layout::ask::<Page>(
            engine,
            attempt,
            "STREAM.LIST".into(),
            &request,
            REQUEST_TIME,
        );
        let page = asked.await?.map_err(|error| engine.error(attempt, error))?;
        let streams = page.streams.unwrap_or_default();
        offset += streams.len();
        let is_last = streams.is_empty() || offset >= page.total;
        for stream in streams {
            let name = stream.config.name;
            if let Some(queue) = name.strip_prefix(&format!("{namespace}-queue-")) {
                queues.push(queue.to_string());
            } else if let Some(queue) = name.strip_prefix(&format!("{namespace}-dead-")) {
                queues.push(format!("{queue}{DEAD}"));
            } else if let Some(queue) = name.strip_prefix(&format!("{namespace}-tasks-")) {
                tasks.insert(queue.to_string(), (name.clone(), stream.state));
            }
        }
        if is_last {
            break;
        }
    }
    queues.sort();
    let mut found = Vec::new();
    for name in queues {
        let there = layout::find(engine, &name, REQUEST_TIME).await?;
        let info = there.consumer.cached_info();
        let mut status = QueueStatus {
            name,
            len: info.num_pending,
            maxsize: there.options.maxsize as u64,
            bytes: there.info.state.bytes,
            max_bytes: 0,
            redeliver: there.options.redeliver,
            waiting: info.num_waiting as u64,
            leases: info.num_ack_pending as u64,
            put: there.info.state.last_sequence,
            delivered: info.delivered.consumer_sequence,
            redelivered: info.num_redelivered as u64,
            unfinished: there.info.state.messages,
            putters: 0,
            oldest_lease: None,
            factory: String::new(),
        };
        if let Some((stream, state)) = tasks.get(&status.name) {
            add_tasks(engine, &mut status, stream, state).await?;
        }
        found.push(status);
    }
    Ok(Status {
        connections: presence::count(engine).await,
        queues: found,
        ..Status::default()
    })
}

/// Counts the tasks by name of a queue among its items.
async fn add_tasks(
    engine: &Engine,
    queue: &mut QueueStatus,
    stream: &str,
    state: &State,
) -> Result<()> {
    queue.bytes += state.bytes;
    queue.put += state.last_sequence;
    queue.unfinished += state.messages;
    for priority in Priority::ALL {
        let name = task_streams::consumer_name(priority);
        let consumer: PullConsumer = engine
            .context
            .get_consumer_from_stream(name, stream)
            .await
            .map_err(|error| engine.error("ask for the tasks by name", error))?;
        let info = consumer.cached_info();
        queue.len += info.num_pending;
        queue.waiting += info.num_waiting as u64;
        queue.leases += info.num_ack_pending as u64;
        queue.delivered += info.delivered.consumer_sequence;
        queue.redelivered += info.num_redelivered as u64;
    }
    Ok(())
}

pub(super) async fn durability(
    engine: &Engine,
    queue: &str,
    retry_time: Duration,
) -> Result<Durability> {
    let replicas = layout::find(engine, queue, retry_time)
        .await?
        .options
        .replicas;
    let is_synchronous = match &engine.address.monitor {
        Some(monitor) => asked(monitor).await.map_err(|reason| {
            engine.error(
                &format!("ask {monitor} how it writes, for the queues"),
                reason,
            )
        })?,
        None => false,
    };
    Ok(match (is_synchronous, replicas) {
        (true, _) => Durability::Synchronous,
        (false, 2..) => Durability::Replicated(replicas),
        (false, _) => Durability::Late,
    })
}

/// Whether the server behind the monitor writes each item to disk before it says so. Those that do
/// not leave the field out.
//
// Written by hand: it is one request, without encryption or redirection. An asynchronous client of
// HTTP would bring ten crates or more for these 25 lines.
async fn asked(monitor: &str) -> std::result::Result<bool, String> {
    let host = monitor
        .strip_prefix("http://")
        .ok_or("expected http://HOST:PORT")?
        .trim_end_matches('/');
    let request = format!("GET /jsz?config=1 HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let answer = timeout(REQUEST_TIME, async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(1 << 20).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = match answer.await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err("no answer".to_string()),
    };
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("expected HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the answer is {status}"));
    }
    let value: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let config = value["config"].as_object();
    let config = config.ok_or("the answer says nothing of JetStream's configuration")?;
    Ok(config.get("sync_always") == Some(&true.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is made of a monitor that answers so.
    fn said(status: &'static str, body: &'static str) -> std::result::Result<bool, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let monitor = format!(
            "http://{}",
            listener.local_addr().expect("it has an address")
        );
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client comes");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request has an end");
                request.extend(byte);
            }
            write!(stream, "{status}\r\n\r\n{body}").expect("the client reads");
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let said = runtime.expect("a runtime").block_on(asked(&monitor));
        server.join().expect("no panic");
        said
    }

    #[test]
    fn a_server_writes_synchronously_only_if_it_says_so() {
        let ok = "HTTP/1.0 200 OK";
        assert_eq!(said(ok, r#"{"config":{"sync_always":true}}"#), Ok(true));
        assert_eq!(said(ok, r#"{"config":{"max_memory":1}}"#), Ok(false));
    }

    #[test]
    fn a_monitor_that_answers_with_an_error_is_no_answer() {
        for (status, body) in [
            (
                "HTTP/1.0 404 Not Found",
                r#"{"config":{"sync_always":true}}"#,
            ),
            ("HTTP/1.0 200 OK", r#"{"error":"no JetStream"}"#),
            ("HTTP/1.0 200 OK", "<html>"),
            ("220 mail.example ESMTP", r#"{"config":{}}"#),
        ] {
            assert!(said(status, body).is_err(), "{status}: {body}");
        }
    }
}
