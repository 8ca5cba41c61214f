//! A program in an async runtime. What waits for a process waits in a thread for such work.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use multiprocess::{Error, Pool, Process};
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

/// A panic ends its worker in the build for release, as its profile says. Its task is told all the
/// same, and not tried again.
fn panics_are_told() -> multiprocess::Result<()> {
    let is_told =
        |error: &Error| matches!(error, Error::Panicked { message, .. } if message == "odd");
    let pool = Pool::builder().workers(1).retries(2).build()?;
    let half = |n: u64| if n % 2 == 0 { n / 2 } else { panic!("odd") };
    let error = pool.apply(half, 3).expect_err("it panics");
    assert!(is_told(&error), "{error}");
    assert_eq!(pool.apply(half, 4)?, 2);
    let halves: Vec<_> = pool.imap_chunked(half, 0..6, 6).collect();
    for (n, half) in (0..).zip(halves) {
        match half {
            Ok(half) => assert_eq!(2 * half, n),
            Err(error) => assert!(n % 2 == 1 && is_told(&error), "{n}: {error}"),
        }
    }
    let Err(Error::MapFailed { item: 3, error, .. }) = pool.map(half, [0, 2, 4, 5]) else {
        panic!("the map has not failed at its last item");
    };
    assert!(is_told(&error), "{error}");
    // One that a task has left behind is not the next one's, which is tried again.
    pool.apply(|()| LEFT.leave_one_that_panics(), ())?;
    let wait = |n: u64| {
        LEFT.let_it_panic();
        n
    };
    assert_eq!(pool.apply(wait, 5)?, 5);
    let failing = Pool::builder()
        .workers(1)
        .initializer(|| panic!("no database"));
    let error = failing
        .build()?
        .apply(half, 2)
        .expect_err("no worker starts");
    assert!(error.to_string().contains("no database"), "{error}");
    Ok(())
}

/// A thread that a task leaves in its worker.
struct LeftThread {
    is_there: AtomicBool,
    panics: AtomicBool,
}

static LEFT: LeftThread = LeftThread {
    is_there: AtomicBool::new(false),
    panics: AtomicBool::new(false),
};

impl LeftThread {
    fn leave_one_that_panics(&'static self) {
        self.is_there.store(true, SeqCst);
        thread::spawn(|| {
            while !self.panics.load(SeqCst) {
                thread::yield_now();
            }
            panic!("of an earlier task");
        });
    }

    /// Waits for that, if there is such a thread.
    fn let_it_panic(&self) {
        // Elsewhere it ends alone.
        if cfg!(panic = "abort") && self.is_there.load(SeqCst) {
            self.panics.store(true, SeqCst);
            thread::sleep(Duration::from_secs(600));
        }
    }
}

fn in_a_pool() -> multiprocess::Result<u64> {
    let pool = Pool::new(2)?;
    let squares = pool.map(|n: u64| n * n, 0..4)?;
    let one = Process::spawn_with(|n: u64| n + 1, 0)?.join()?;
    panics_are_told()?;
    Ok(squares.into_iter().sum::<u64>() + one)
}
