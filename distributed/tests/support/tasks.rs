//! What the tests of tasks by name share: on a manager, on an engine and in processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use distributed::{Client, Error, Result, TaskFailed, TaskOptions, Worker};

use super::LONG;

/// A pause that is over before anybody looks.
const SOON: Duration = Duration::from_millis(1);

/// A task that is tried again at once.
pub(crate) fn quick() -> TaskOptions {
    TaskOptions::new().backoff(SOON, SOON)
}

/// Why a task failed, which it has to.
pub(crate) fn failure<R>(outcome: Result<R>) -> TaskFailed {
    match outcome {
        Err(Error::TaskFailed(failed)) => failed,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it succeeds"),
    }
}

/// Sees that a task which fails three times waits longer each time, and is done in the end.
pub(crate) fn assert_waits_longer_each_time(client: &Client) -> Result<()> {
    let (first, longest) = (Duration::from_millis(60), Duration::from_secs(10));
    let options = TaskOptions::new().retries(3).backoff(first, longest);
    let tasks = client.task_queue("tasks")?;
    let fourth = tasks.submit_with::<u32>("fourth", &(), options)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (begins, begun) = mpsc::channel();
    let worker = Worker::new().stop(Arc::clone(&stop));
    let worker = worker.task_with("fourth", move |task, (): ()| {
        let _ = begins.send(Instant::now());
        match task.attempt() {
            4 => Ok(4),
            n => Err(format!("not yet: {n}")),
        }
    });
    let result = thread::scope(|scope| {
        let serving = scope.spawn(|| worker.serve(client, "tasks"));
        let result = fourth.result(Some(LONG));
        stop.store(true, SeqCst);
        serving.join().expect("no panic").and(result)
    });
    assert_eq!(result?, 4);
    let times: Vec<Instant> = begun.try_iter().collect();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 3, "{pauses:?}");
    // Each is cut short by a half at most.
    for (pause, least) in pauses.iter().zip([first, 2 * first, 4 * first]) {
        assert!(*pause >= least / 2, "{pauses:?}");
    }
    Ok(())
}
