//! A program in an async runtime. What waits for a process waits in a thread for such work.

use multiprocess::{Pool, Process};
use other_program::{Job, through_queues};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let jobs = vec![
        Job {
            id: 3,
            priority: None,
        },
        Job {
            id: 4,
            priority: Some(1),
        },
    ];
    let squares = tokio::task::spawn_blocking(move || through_queues(&jobs)).await??;
    let sum: u64 = squares.iter().map(|job| job.id).sum();
    let more = tokio::task::spawn_blocking(in_a_pool);
    println!("{}", sum + more.await??);
    Ok(())
}

fn in_a_pool() -> multiprocess::Result<u64> {
    let pool = Pool::new(2)?;
    let squares = pool.map(|n: u64| n * n, 0..4)?;
    let one = Process::spawn_with(|n: u64| n + 1, 0)?.join()?;
    Ok(squares.into_iter().sum::<u64>() + one)
}
