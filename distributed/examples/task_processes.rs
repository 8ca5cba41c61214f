//! A worker whose tasks run in processes: one that crashes costs its try, and not the worker. With
//! `MANAGER_AUTHKEY` set, `task_processes URL --processes 4` works for the example `named_tasks`,
//! which has `serve 127.0.0.1:5000` and `ask tcp://127.0.0.1:5000 one two crash`.

use std::{env, hint, process, sync::Arc, time::Duration};

use distributed::{Worker, connect_within};
use multiprocess::Pool;

const TIME: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (url, processes) = match arguments[..] {
        [url] => (url, Some(2)),
        [url, "--processes", n] => (url, n.parse().ok()),
        _ => ("", None),
    };
    let Some(processes) = processes else {
        eprintln!("usage: task_processes URL [--processes N]");
        process::exit(2);
    };
    let pool = Arc::new(Pool::new(processes)?);
    let worker = Worker::new().task_in_pool("count", &pool, count);
    worker.serve(&connect_within(TIME, url)?, "tasks")?;
    Ok(())
}

/// Counts letters as a library would whose bug one text brings out.
fn count(text: String) -> Result<usize, String> {
    match text.as_str() {
        "" => Err("there is nothing to count".to_string()),
        "crash" => Ok(overflow(1)),
        _ => Ok(text.chars().count()),
    }
}

/// Calls itself until its stack is full, which is a segfault.
fn overflow(depth: usize) -> usize {
    let frame = hint::black_box([depth; 1024]);
    match depth {
        usize::MAX => 0,
        _ => overflow(depth + 1) + frame[0],
    }
}
