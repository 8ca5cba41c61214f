//! What a pool takes: memory for items of any size and number, and processor time while it is idle.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};

use multiprocess::{Error, Pool};
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::{
    healthy, notes, sleep_long, square,
    support::{NOW, SOON},
    with_notes, workers,
};

tests![
    a_map_over_large_items_and_results_works_although_no_queue_holds_them_together,
    an_argument_that_is_too_large_is_refused_before_the_work_with_size_and_limit,
    a_result_that_is_too_large_is_told_with_size_and_limit,
    a_large_item_leaves_no_large_buffer_behind,
    handles_dropped_without_a_look_leave_no_results_behind,
    a_pool_that_works_on_and_on_takes_no_more_than_when_it_was_warm,
    an_idle_pool_hardly_wakes,
    a_supervisors_end_is_noticed_by_who_has_waited_long,
];

pub(crate) const MIB: usize = 1 << 20;

fn text(len: usize) -> String {
    "x".repeat(len)
}

/// The queues that are made from now on take items of less than 64 MiB.
fn limit_queues() {
    let limit = 256 << 20;
    setrlimit(Resource::RLIMIT_FSIZE, limit, limit).expect("a limit may be lowered");
}

fn a_map_over_large_items_and_results_works_although_no_queue_holds_them_together() {
    limit_queues();
    for retries in [0, 1] {
        let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
        // One chunk of these, or of their results, would be of 180 MiB.
        let items = (0..9).map(|n| text(20 * MIB + n));
        let results = pool.map_chunked(|item: String| item + "!", items, 9);
        let lengths: Vec<usize> = results.unwrap().iter().map(String::len).collect();
        assert!(lengths.into_iter().eq((0..9).map(|n| 20 * MIB + n + 1)));
        healthy(&pool);
    }
}

fn an_argument_that_is_too_large_is_refused_before_the_work_with_size_and_limit() {
    limit_queues();
    let pool = Pool::new(2).unwrap();
    let is_told = |error: &Error| match *error {
        Error::TooLarge { len, max } => {
            let text = error.to_string();
            assert!(text.contains(&len.to_string()) && text.contains(&max.to_string()));
            len > 100 * MIB as u64 && max < 64 * MIB as u64
        }
        _ => false,
    };
    let refused = pool.apply_async(|item: String| item.len(), text(100 * MIB));
    assert!(is_told(&refused.unwrap_err()));
    let items = [1, 2, 100].map(|mib| text(mib * MIB));
    let refused = pool.map_chunked(|item: String| item.len(), items, 1);
    let Err(Error::MapFailed { item: 2, error, .. }) = refused else {
        panic!("another outcome");
    };
    assert!(is_told(&error), "{error}");
    healthy(&pool);
}

fn a_result_that_is_too_large_is_told_with_size_and_limit() {
    limit_queues();
    for retries in [0, 1] {
        let pool = Pool::builder().workers(1).retries(retries).build().unwrap();
        let refused = pool.apply(text, 100 * MIB).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
        let refused = pool.map_chunked(text, [1, 2, 100 * MIB, 3], 4).unwrap_err();
        let Error::MapFailed { item: 2, error, .. } = refused else {
            panic!("{refused}");
        };
        assert!(matches!(*error, Error::TooLarge { .. }), "{error}");
        healthy(&pool);
    }
}

/// The memory of a process that is not shared with a file, in bytes.
fn private_memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.expect("the system tells it") << 10
}

fn a_large_item_leaves_no_large_buffer_behind() {
    let pool = Pool::new(1).unwrap();
    healthy(&pool);
    let worker = workers(&pool)[0];
    let processes = [worker, std::process::id(), pool.supervisor_pid()];
    let before = processes.map(private_memory);
    assert_eq!(
        pool.apply(|s: String| s, text(300 * MIB)).unwrap().len(),
        300 * MIB
    );
    assert_eq!(
        pool.map(|s: String| s, [text(300 * MIB)]).unwrap()[0].len(),
        300 * MIB
    );
    let mut imap = pool.imap(|s: String| s, [text(300 * MIB), String::new()]);
    assert_eq!(imap.next().unwrap().unwrap().len(), 300 * MIB);
    assert_eq!(imap.next().unwrap().unwrap(), "");
    assert_eq!(workers(&pool), [worker]);
    let grown: Vec<usize> = processes
        .iter()
        .zip(before)
        .map(|(&pid, before)| private_memory(pid).saturating_sub(before) / MIB)
        .collect();
    assert!(grown.iter().all(|&mib| mib < 16), "grown by {grown:?} MiB");
}

/// The memory that this process's queues hold, in bytes.
pub(crate) fn queue_memory() -> u64 {
    let files = fs::read_dir("/proc/self/fd").expect("a process sees its files");
    let paths = files.map(|file| file.expect("a file is seen").path());
    let queues = paths.filter(|path| {
        fs::read_link(path).is_ok_and(|it| it.to_string_lossy().contains("multiprocess-queue"))
    });
    queues
        .map(|path| fs::metadata(path).expect("the file is open").blocks() * 512)
        .sum()
}

fn handles_dropped_without_a_look_leave_no_results_behind() {
    let pool = with_notes(1).build().unwrap();
    let submit = |n: u32| {
        let task = |n: u32| {
            if n == 9_999 {
                notes().put(&n).unwrap();
            }
            text(10 << 10)
        };
        pool.apply_async(task, n).unwrap()
    };
    let taken = || queue_memory() / MIB as u64;
    (0..10_000).for_each(|n| drop(submit(n)));
    notes().get_timeout(SOON).unwrap();
    // Before anybody has looked for a result.
    assert!(taken() < 20, "{} MiB are taken", taken());
    let handles: Vec<_> = (0..10_000).map(submit).collect();
    notes().get_timeout(SOON).unwrap();
    drop(handles);
    assert!(taken() < 20, "{} MiB are taken", taken());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    let progress = pool.progress();
    assert_eq!((progress.done, progress.total), (20_001, 20_001));
}

/// Descriptors, processes and memory of a pool and its application.
fn taken(pool: &Pool) -> [usize; 3] {
    // Each worker has begun to work, so that none is still a copy of the supervisor.
    let task = |_: u64| thread::sleep(NOW);
    pool.map_chunked(task, 0..4 * pool.workers() as u64, 1)
        .unwrap();
    let mut pids = workers(pool);
    pids.extend([pool.supervisor_pid(), std::process::id()]);
    let descriptors = pids.iter().map(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"));
        files.expect("the process runs").count()
    });
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children"));
    let children = children.expect("the system tells it").split(' ').count();
    let memory = pids.iter().map(|&pid| private_memory(pid)).sum();
    [descriptors.sum(), pids.len() + children, memory]
}

/// The short form of `cargo xtask chaos growth`.
fn a_pool_that_works_on_and_on_takes_no_more_than_when_it_was_warm() {
    let pool = Pool::new(2).unwrap();
    let work = || {
        assert_eq!(pool.apply(text, 16 * MIB).unwrap().len(), 16 * MIB);
        assert_eq!(pool.map(square, 0..20_000).unwrap().len(), 20_000);
        for n in 0..500 {
            drop(pool.apply_async(|n: u64| vec![n; 1000], n).unwrap());
        }
        let ends = pool.imap_unordered(|code: i32| std::process::exit(code), [1; 20]);
        assert!(
            ends.into_iter()
                .all(|end| matches!(end, Err::<(), _>(Error::Exited { code: 1, .. })))
        );
    };
    (0..4).for_each(|_| work());
    let before = taken(&pool);
    (0..20).for_each(|_| work());
    let after = taken(&pool);
    let [descriptors, processes, memory] = after;
    assert!(
        descriptors <= before[0] && processes <= before[1],
        "{before:?} {after:?}"
    );
    assert!(
        memory <= before[2] + before[2] / 10 + 4 * MIB,
        "{before:?} {after:?}"
    );
}

/// How often each thread of these processes went to sleep.
fn sleeps(pids: &[u32]) -> Vec<u64> {
    let of_thread = |status: String| {
        let name = "voluntary_ctxt_switches:";
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<u64>().ok())
    };
    let mut sleeps = Vec::new();
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs") {
            let status = thread.expect("a thread is seen").path().join("status");
            let status = fs::read_to_string(status).expect("the thread runs");
            sleeps.push(of_thread(status).expect("the system tells it"));
        }
    }
    sleeps
}

fn an_idle_pool_hardly_wakes() {
    let limit = Duration::from_millis(50);
    let timed = Pool::builder().workers(4).task_timeout(limit);
    let timed = timed.max_memory_per_task(1 << 40).build();
    let (plain, timed) = (Pool::new(4).unwrap(), timed.unwrap());
    healthy(&plain);
    healthy(&timed);
    let mut pids: Vec<u32> = [&plain, &timed].into_iter().flat_map(workers).collect();
    pids.extend([plain.supervisor_pid(), timed.supervisor_pid()]);
    let endless = plain.apply_async(|()| sleep_long(), ()).unwrap();
    thread::scope(|scope| {
        // Two threads of the application that wait.
        for _ in 0..2 {
            scope.spawn(|| assert!(matches!(endless.get(), Err(Error::Cancelled))));
        }
        // Whoever has waited so long is idle.
        thread::sleep(Duration::from_secs(3));
        let measured = Instant::now();
        let before = sleeps(&pids);
        let mine = sleeps(&[std::process::id()]);
        thread::sleep(Duration::from_secs(4));
        let wakes = |after: Vec<u64>, before: Vec<u64>| {
            let pairs = after.into_iter().zip(before);
            pairs
                .map(|(after, before)| after - before)
                .collect::<Vec<_>>()
        };
        let wakes = [
            wakes(sleeps(&pids), before),
            wakes(sleeps(&[std::process::id()]), mine),
        ];
        let most = measured.elapsed().as_secs() + 2;
        let all = wakes.concat();
        assert!(all.iter().all(|&count| count <= most), "{wakes:?}");
        endless.cancel();
    });
    // A time limit holds for a task that comes after the rest.
    let late = timed.apply_async(|()| sleep_long(), ()).unwrap();
    let late = late.get_timeout(SOON);
    assert_eq!(late, Err(Error::TaskTimedOut { timeout: limit }));
}

fn a_supervisors_end_is_noticed_by_who_has_waited_long() {
    let pool = with_notes(2).build().unwrap();
    let endless = pool.apply_async(|()| sleep_long(), ()).unwrap();
    assert_eq!(endless.get_timeout(10 * NOW), Err(Error::TimedOut));
    thread::scope(|scope| {
        let waits = scope.spawn(|| (endless.get(), Instant::now()));
        thread::sleep(10 * NOW);
        let supervisor = Pid::from_raw(pool.supervisor_pid().cast_signed());
        let killed = Instant::now();
        kill(supervisor, Signal::SIGKILL).unwrap();
        let (outcome, noticed) = waits.join().unwrap();
        assert_eq!(outcome, Err(Error::PoolBroken));
        assert!(noticed - killed < SOON);
        println!("noticed after {:?}", noticed - killed);
    });
}
