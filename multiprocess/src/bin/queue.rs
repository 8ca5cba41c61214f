//! `In [10]`: a writer and a reader share a queue.

use std::process;

use common::{draw, environment, pace};
use multiprocess::{Process, Queue, Result};
use rand::RngExt;

fn main() -> Result<()> {
    environment::check();
    let queue = Queue::new()?;
    let writer = Process::spawn(|| write(&queue))?;
    // A daemon, so that it ends with this program even if an error ends that first.
    let reader = Process::builder().daemon(true).spawn(|| read(&queue))?;
    writer.join()??;
    // The reader never ends by itself. It is ended when it has worked on the last item.
    queue.join()?;
    reader.terminate()?;
    let _ = reader.join();
    Ok(())
}

fn write(queue: &Queue<String>) -> Result<()> {
    println!("Process to write: {}", process::id());
    for value in ["A", "B", "C"] {
        println!("Put {value} to queue...");
        queue.put(&value.to_string())?;
        pace::pause(draw::stream(0).random::<f64>());
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
