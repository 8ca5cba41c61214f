//! `In [10]`: a writer and a reader share a queue.

use std::{process, time::Duration};

use common::{draw, environment, pace};
use multiprocess::{Error, Process, Queue, Result};
use rand::RngExt;

fn main() -> Result<()> {
    environment::check();
    let queue = Queue::new()?;
    let writer = Process::spawn(|| write(&queue))?;
    // A daemon, so that it ends with this program even if an error ends that first.
    let reader = Process::builder().daemon(true).spawn(|| read(&queue))?;
    writer.join()??;
    // The reader never ends by itself. It is ended when it has worked on the last item.
    let moment = Duration::from_millis(50);
    while reader.is_alive() && queue.join_timeout(moment) == Err(Error::TimedOut) {}
    reader.terminate()?;
    // If it was killed before that, items are left, and it says how it ended.
    queue.join_timeout(moment).or(reader.join().flatten())
}

fn write(queue: &Queue<String>) -> Result<()> {
    println!("Process to write: {}", process::id());
    for (n, value) in (0..).zip(["A", "B", "C"]) {
        println!("Put {value} to queue...");
        queue.put(&value.to_string())?;
        pace::pause(draw::stream(n).random::<f64>());
    }
    Ok(())
}

fn read(queue: &Queue<String>) -> Result<()> {
    println!("Process to read {}", process::id());
    loop {
        println!("Get {} from queue.", queue.get()?);
        queue.task_done()?;
    }
}
