//! A service that works on texts, on as many machines as it takes. With `MANAGER_AUTHKEY` set, its
//! three roles are `task_service serve 127.0.0.1:5000`, `task_service work tcp://127.0.0.1:5000`
//! and `task_service ask tcp://127.0.0.1:5000 one two three`.
//!
//! A task has an id and so has its result, for results come in any order. A task whose worker is
//! killed goes to another. With the feature `nats`, `work` and `ask` take `nats://HOST:PORT` too.

use std::{collections::BTreeMap, env, process, time::Duration};

use anyhow::Context;
use distributed::{Error, QueueOptions, Server, Worker, connect_within};

const TIME: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", address] => serve(address),
        ["work", url] => work(url),
        ["ask", url, ref texts @ ..] if !texts.is_empty() => ask(url, texts),
        _ => {
            eprintln!("usage: task_service serve HOST:PORT | work URL | ask URL TEXT...");
            process::exit(2);
        }
    }
}

fn serve(address: &str) -> anyhow::Result<()> {
    let key = env::var("MANAGER_AUTHKEY").context("read MANAGER_AUTHKEY, the key of all roles")?;
    let tasks = QueueOptions::new("tasks").redeliver(true);
    let builder = Server::builder().queue(tasks).queue("results");
    let server = builder.serve(address, key.as_bytes())?;
    println!("serving on {}", server.address());
    server.wait();
    Ok(())
}

fn work(url: &str) -> anyhow::Result<()> {
    let client = connect_within(TIME, url)?;
    let count = |(id, text): &(usize, String)| Ok::<_, Error>((*id, text.chars().count()));
    Worker::new().run(&client, "tasks", "results", count)?;
    Ok(())
}

fn ask(url: &str, texts: &[&str]) -> anyhow::Result<()> {
    let client = connect_within(TIME, url)?;
    let tasks = texts.iter().map(|text| text.to_string()).enumerate();
    client.queue("tasks")?.put_many(&Vec::from_iter(tasks))?;
    let results = client.queue::<(usize, usize)>("results")?;
    let mut lengths = BTreeMap::new();
    while lengths.len() < texts.len() {
        lengths.extend([results.get_timeout(TIME).context("wait for a result")?]);
    }
    lengths
        .iter()
        .for_each(|(id, n)| println!("{}: {n} letters", texts[*id]));
    Ok(())
}
