//! A service that runs tasks by name, on as many machines as it takes. With `MANAGER_AUTHKEY` set,
//! its three roles are `named_tasks serve 127.0.0.1:5000`, `named_tasks work tcp://127.0.0.1:5000`
//! and `named_tasks ask tcp://127.0.0.1:5000 one two three`.
//! A worker that is killed loses no task. Who asked is told why a task failed, and where.

use std::{env, process, time::Duration};

use distributed::{Priority, Server, TaskOptions, Worker, connect_within};

const TIME: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["serve", address] => serve(address),
        ["work", url] => work(url),
        ["ask", url, texts @ ..] if !texts.is_empty() => ask(url, texts),
        _ => {
            eprintln!("usage: named_tasks serve HOST:PORT | work URL | ask URL TEXT...");
            process::exit(2);
        }
    }
}

fn serve(address: &str) -> anyhow::Result<()> {
    let key = env::var("MANAGER_AUTHKEY")?;
    let builder = Server::builder().queue("tasks");
    let server = builder.serve(address, key.as_bytes())?;
    println!("serving on {}", server.address());
    server.wait();
    Ok(())
}

fn count(text: String) -> Result<usize, &'static str> {
    match text.chars().count() {
        0 => Err("there is nothing to count"),
        letters => Ok(letters),
    }
}

fn work(url: &str) -> anyhow::Result<()> {
    let worker = Worker::new().task("count", count);
    worker.serve(&connect_within(TIME, url)?, "tasks")?;
    Ok(())
}

fn ask(url: &str, texts: &[&str]) -> anyhow::Result<()> {
    let tasks = connect_within(TIME, url)?.task_queue("tasks")?;
    let options = TaskOptions::new().priority(Priority::High).retries(0);
    let handles = tasks.submit_many::<usize>("count", texts, options)?;
    for (text, handle) in texts.iter().zip(handles) {
        match handle.result(Some(TIME)) {
            Ok(letters) => println!("{text}: {letters} letters"),
            Err(error) => println!("{text}: {error}"),
        }
    }
    Ok(())
}
