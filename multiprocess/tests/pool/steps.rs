//! A worker that ends itself between two stores of its choice: what then becomes of its task.

use std::{cell::Cell, iter};

use multiprocess::{Error, Pool, Queue, on_step, pool::Builder, put_off_timed_looks};

use crate::{
    healthy, kill_myself,
    large::all_memory_comes_back,
    notes,
    resources::MIB,
    set_notes,
    support::{SOON, all_end, wait_until_asleep},
    workers,
};

tests![
    a_worker_killed_at_any_step_costs_at_most_the_task_in_progress,
    a_worker_killed_at_any_step_of_a_chunk_costs_at_most_the_item_in_progress,
    a_worker_killed_at_any_step_of_large_results_costs_at_most_the_item_in_progress,
    a_worker_killed_after_the_put_of_a_large_result_costs_no_item,
    without_retries_a_map_tells_the_item_in_progress,
    a_worker_killed_at_any_step_of_a_large_task_costs_that_alone_and_keeps_no_memory,
    idle_workers_are_woken_to_leave,
];

/// A step, and at which occurrence of it a worker dies.
type Death = (String, u32);

/// A pool of one worker, the first of which kills itself there; its successors do not. All note what
/// they do.
fn dying(step: &str, occurrence: u32) -> Builder {
    let arm = |(notes, deaths): (Queue<u32>, Queue<Death>)| {
        set_notes(notes);
        let Ok((at, occurrence)) = deaths.try_get() else {
            return;
        };
        let seen = Cell::new(0);
        on_step(move |step| {
            seen.set(seen.get() + u32::from(step == at));
            if seen.get() == occurrence {
                kill_myself();
            }
        });
    };
    let deaths = Queue::new().unwrap();
    deaths.put(&(step.to_string(), occurrence)).unwrap();
    let argument = (notes().clone(), deaths);
    Pool::builder().workers(1).initializer_with(arm, argument)
}

fn worker(pool: &Pool) -> u32 {
    workers(pool)[0]
}

fn square(n: u32) -> u32 {
    n * n
}

/// The steps of a worker with a task, and whether its death there costs the task.
const STEPS: [(&str, bool); 8] = [
    ("take: the item is read", false),
    ("take: the position is written", false),
    ("take: committed", true),
    ("put: the record is written", true),
    ("put: the position is written", true),
    ("put: committed", false),
    ("task: reported", false),
    ("task: released", false),
];

fn a_worker_killed_at_any_step_costs_at_most_the_task_in_progress() {
    for (step, costs) in STEPS {
        let pool = dying(step, 3).build().unwrap();
        let first = worker(&pool);
        for (n, result) in pool.imap(square, 0..10).enumerate() {
            match result {
                Err(Error::Killed { signal: 9, pid }) => {
                    assert!(costs && n == 2 && pid == first, "{step}: item {n}");
                }
                result => {
                    assert!(!(costs && n == 2), "{step}: item {n} was not lost");
                    assert_eq!(result, Ok((n * n) as u32), "{step}");
                }
            }
        }
        assert_ne!(worker(&pool), first, "{step}: nobody was killed");
    }
}

/// The steps of a worker with an item of a chunk, and whether its death there costs the item.
const ITEM_STEPS: [(&str, bool); 5] = [
    ("item: run", true),
    ("item: published", true),
    ("item: finished", false),
    ("task: reported", false),
    ("task: released", false),
];

fn note_and_square(n: u32) -> u32 {
    notes().put(&n).unwrap();
    n * n
}

/// Each item was noted once, but for this one, if it was done twice.
fn assert_noted(twice: Option<u32>, step: &str) {
    let mut noted: Vec<u32> = iter::from_fn(|| notes().try_get().ok()).collect();
    noted.sort_unstable();
    let mut expected = Vec::from_iter((0..20).chain(twice));
    expected.sort_unstable();
    assert_eq!(noted, expected, "{step}");
}

fn a_worker_killed_at_any_step_of_a_chunk_costs_at_most_the_item_in_progress() {
    for (step, costs) in ITEM_STEPS {
        let (occurrence, item) = if step.starts_with("item") {
            (8, 7)
        } else {
            (1, 0)
        };
        let pool = dying(step, occurrence).retries(1).build().unwrap();
        let first = worker(&pool);
        let squares = pool.map_chunked(note_and_square, 0..20, 20).unwrap();
        assert!(squares.into_iter().eq((0..20).map(|n| n * n)), "{step}");
        assert_noted(costs.then_some(item), step);
        // Also one that is killed when the map has its results already.
        pool.apply(|()| (), ()).unwrap();
        assert_ne!(worker(&pool), first, "{step}: nobody was killed");
    }
}

fn a_worker_killed_at_any_step_of_large_results_costs_at_most_the_item_in_progress() {
    let task = |n: u32| "x".repeat(note_and_square(n) as usize % 7 * 40_000);
    let costs = [("item: put", false), ("items: put", true)];
    for (step, costs) in costs {
        for occurrence in 1..4 {
            let pool = dying(step, occurrence).retries(1).build().unwrap();
            let first = worker(&pool);
            let texts = pool.map_chunked(task, 0..20, 20).unwrap();
            let lengths = (0..20).map(|n| n * n % 7 * 40_000);
            assert!(texts.iter().map(String::len).eq(lengths), "{step}");
            assert_ne!(worker(&pool), first, "{step}: nobody was killed");
            let noted = iter::from_fn(|| notes().try_get().ok()).count();
            assert_eq!(noted, 20 + usize::from(costs), "{step}, {occurrence}");
        }
    }
}

fn a_worker_killed_after_the_put_of_a_large_result_costs_no_item() {
    let task = |n: u32| "x".repeat(note_and_square(n) as usize % 7 * 40_000);
    // The fourth result is more than a worker may keep back, with nothing before it.
    let deaths = [
        ("item: put", 1),
        ("item: finished", 1),
        ("item: finished", 4),
        ("task: reported", 1),
    ];
    for (step, occurrence) in deaths {
        let pool = dying(step, occurrence).build().unwrap();
        let first = worker(&pool);
        let texts: Vec<_> = pool.imap_chunked(task, 0..20, 20).collect();
        for (text, n) in texts.into_iter().zip(0..) {
            assert_eq!(text.map(|it| it.len()), Ok(n * n % 7 * 40_000), "{step}");
        }
        assert_noted(None, step);
        pool.apply(|()| (), ()).unwrap();
        assert_ne!(worker(&pool), first, "{step}: nobody was killed");
    }
}

fn without_retries_a_map_tells_the_item_in_progress() {
    let pool = dying("item: run", 8).task_timeout(SOON).build().unwrap();
    let error = pool.map_chunked(note_and_square, 0..20, 20).unwrap_err();
    let Error::MapFailed {
        item: 7,
        ran,
        error,
    } = error
    else {
        panic!("{error}");
    };
    assert!(matches!(*error, Error::Killed { signal: 9, .. }), "{error}");
    assert!(ran.into_iter().flatten().eq(0..8));
    healthy(&pool);
}

/// The steps of a worker whose argument and result lie in memory that is lent, and whether its death
/// there costs the task.
const LARGE_STEPS: [(&str, bool); 14] = [
    ("take: the item is read", false),
    ("take: the position is written", false),
    ("take: committed", true),
    ("take: the block is handed on", true),
    ("lend: the block's memory is given back", true),
    ("lend: the block is free", true),
    ("lend: the place is written", true),
    ("lend: the block is lent", true),
    ("put: the record is written", true),
    ("put: the position is written", true),
    ("put: the block is the item's", true),
    ("put: committed", false),
    ("task: reported", false),
    ("task: released", false),
];

fn a_worker_killed_at_any_step_of_a_large_task_costs_that_alone_and_keeps_no_memory() {
    let item = |n: u32| vec![n; 3 * MIB / 4];
    for (step, costs) in LARGE_STEPS {
        for retries in [0, 1] {
            let pool = dying(step, 2).retries(retries).build().unwrap();
            let first = worker(&pool);
            for (result, n) in pool.imap(|it: Vec<u32>| it, (0..4).map(item)).zip(0..) {
                match result {
                    Err(Error::Killed { signal: 9, .. }) => {
                        assert!(costs && n == 1 && retries == 0, "{step}: item {n}");
                    }
                    result => {
                        let is_lost = costs && n == 1 && retries == 0;
                        assert!(!is_lost, "{step}: item {n} was not lost");
                        assert!(result.unwrap() == item(n), "{step}: item {n}");
                    }
                }
            }
            assert_ne!(worker(&pool), first, "{step}: nobody was killed");
            if retries == 0 {
                all_memory_comes_back(&pool, step);
            }
        }
    }
}

/// Not only by their own looks, which come late.
fn idle_workers_are_woken_to_leave() {
    let builder = Pool::builder().workers(3).initializer(put_off_timed_looks);
    let pool = builder.build().unwrap();
    let before = workers(&pool);
    before.iter().for_each(|&pid| wait_until_asleep(pid));
    pool.resize(1).unwrap();
    all_end(&before[1..]);
    healthy(&pool);
}
