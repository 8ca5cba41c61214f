//! What the program computes: the library of a program, as its tests see it.

use std::sync::LazyLock;

use multiprocess::{Pool, Process, Queue, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// One pool for the whole program, made when it is first used, in whatever thread that is.
pub static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).expect("the system has processes"));

pub fn square(job: Job) -> Job {
    Job {
        id: job.id * job.id,
        ..job
    }
}

/// Squares the jobs, in workers that take them from a queue and put them into another.
pub fn through_queues(jobs: &[Job]) -> Result<Vec<Job>> {
    let (todo, done) = (Queue::new()?, Queue::new()?);
    let work = |(todo, done): (Queue<Job>, Queue<Job>)| -> Result<()> {
        for job in &todo {
            done.put(&square(job?))?;
        }
        Ok(())
    };
    let workers = [(); 2].map(|()| Process::spawn_with(work, (todo.clone(), done.clone())));
    for job in jobs {
        todo.put(job)?;
    }
    todo.close();
    let squares: Result<Vec<Job>> = jobs.iter().map(|_| done.get()).collect();
    for worker in workers {
        worker?.join()??;
    }
    squares
}
