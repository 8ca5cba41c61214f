//! What the engine says of its queues, and of what it survives.

use std::time::Duration;

use async_nats::jetstream::stream::Info;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::engine::{Engine, REQUEST_TIME};
use super::layout::{self, DEAD};
use super::presence;
use crate::{Durability, QueueStatus, Result, Status};

#[derive(Deserialize)]
struct Page {
    streams: Option<Vec<Info>>,
    total: usize,
}

pub(super) async fn status(engine: &Engine) -> Result<Status> {
    let namespace = &engine.address.namespace;
    let attempt = "ask for the queues";
    let mut queues: Vec<String> = Vec::new();
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
        found.push(QueueStatus {
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
        });
    }
    Ok(Status {
        connections: presence::count(engine).await,
        memory: 0,
        max_memory: 0,
        queues: found,
    })
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
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = &answer[body.map_or(0, |start| start + 4)..];
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(value["config"]["sync_always"].as_bool().unwrap_or(false))
}
