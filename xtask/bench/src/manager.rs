//! The server of `distributed`, with clients of CPython that are the same for every server, and with
//! its own.

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::thread;

use distributed::{Client, ObjectType, Server};
use nix::sys::resource::{UsageWho, getrusage};

use crate::{Measured, per_second};

/// How many items go in one message.
const BATCH: u64 = 256;

pub(crate) fn measure(row: &str) -> Measured {
    let server = Server::builder()
        .queue("get_queue")
        .object("get_dict", ObjectType::Dict)
        .object("get_lock", ObjectType::Lock)
        .object("get_value", ObjectType::Value)
        .serve("127.0.0.1:0", b"abc")?;
    match row {
        "manager/items" => per_second(|count| items(&server, count)),
        row if row.ends_with("-cpu") => {
            let start = processor_micros()?;
            let calls = python(row, &server)?;
            Ok((processor_micros()? - start) / calls)
        }
        _ => python(row, &server),
    }
}

/// What a client of CPython measures here.
fn python(row: &str, server: &Server) -> Measured {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peer.py"))
        .args([row, &server.address().to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// What this process has used of a processor; its clients are others.
fn processor_micros() -> Measured {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    Ok(times
        .iter()
        .map(|time| 1e6 * time.tv_sec() as f64 + time.tv_usec() as f64)
        .sum())
}

/// A writer and a reader, each with a connection of its own.
fn items(server: &Server, count: u64) -> Result<(), Box<dyn Error>> {
    let manager = Client::connect(server.address(), b"abc")?;
    let (writer, reader) = (
        manager.queue::<u64>("get_queue")?,
        manager.queue::<u64>("get_queue")?,
    );
    thread::scope(|s| {
        let writer = s.spawn(move || {
            let mut batches = (0..count).step_by(BATCH as usize);
            batches.try_for_each(|n| {
                let batch: Vec<u64> = (n..count.min(n + BATCH)).collect();
                writer.put_many(&batch)
            })
        });
        let mut got = 0;
        while got < count {
            got += black_box(reader.get_many(BATCH as usize, None)?).len() as u64;
        }
        Ok(writer.join().expect("no panic")?)
    })
}
