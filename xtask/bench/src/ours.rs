//! `multiprocess` and `distributed`, by their public names and with their default settings.

use std::error::Error;
use std::hint::black_box;

use multiprocess::{Pool, Process, Queue, init};

use crate::large::{self, Large};
use crate::{Measured, gibibyte, locks, manager, micros, per_second, tasks, unknown};

/// As many as Python's pool is measured with.
const WORKERS: usize = 2;

pub(crate) fn measure(row: &str) -> Measured {
    match row {
        "queue/u64/1p1c" => per_second(one_to_one),
        "queue/u64/4p4c" => per_second(four_to_four),
        "queue/u64/batch64" => per_second(in_batches),
        "queue/roundtrip" => micros(round_trips),
        _ if Large::of(row).is_some() || row.starts_with("queue/hand-over/") => large::measure(row),
        "pool/single" => {
            let pool = Pool::new(WORKERS)?;
            per_second(|count| singles(&pool, count))
        }
        "pool/roundtrip" => {
            let pool = Pool::new(WORKERS)?;
            micros(|count| (0..count).try_for_each(|n| call(&pool, n)))
        }
        "pool/map" => {
            let pool = Pool::new(WORKERS)?;
            Ok(200_000.0 * per_second(|count| (0..count).try_for_each(|_| map(&pool)))?)
        }
        "pool/imap" => {
            let pool = Pool::new(WORKERS)?;
            Ok(200_000.0 * per_second(|count| (0..count).try_for_each(|_| imap(&pool)))?)
        }
        "pool/map-1MiB" => {
            let pool = Pool::new(WORKERS)?;
            large::mapped(|items| Ok(pool.map(|item: Vec<u8>| item, items)?))
        }
        "process/spawn" => micros(spawn),
        "process/spawn-1GiB" => {
            init()?;
            let resident = gibibyte();
            let measured = micros(spawn_from_zygote);
            black_box(resident);
            measured
        }
        _ if row.starts_with("distributed/") => tasks::measure(row),
        _ if row.starts_with("manager/") => manager::measure(row),
        _ if row.starts_with("sync/") => locks::measure(row),
        _ => unknown(row),
    }
}

fn one_to_one(count: u64) -> Result<(), Box<dyn Error>> {
    let queue = Queue::new()?;
    let writer = Process::spawn(|| put(&queue, count))?;
    get(&queue, count)?;
    Ok(writer.join()??)
}

fn four_to_four(count: u64) -> Result<(), Box<dyn Error>> {
    let queue = Queue::new()?;
    let share = count / 4;
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Process::spawn(|| put(&queue, share))?);
        processes.push(Process::spawn(|| get(&queue, share))?);
    }
    for process in processes {
        process.join()??;
    }
    Ok(())
}

/// How many items go in and out at a time.
const BATCH: usize = 64;

fn in_batches(count: u64) -> Result<(), Box<dyn Error>> {
    let queue = Queue::new()?;
    let write = || {
        let items = [0; BATCH];
        (0..count)
            .step_by(BATCH)
            .try_for_each(|start| queue.put_many(&items[..BATCH.min((count - start) as usize)]))
    };
    let writer = Process::spawn(|| write().map_err(|error| error.to_string()))?;
    let mut left = count as usize;
    while left > 0 {
        let batch = queue.get_many(BATCH)?;
        left -= batch.len();
        for item in batch {
            black_box(item?);
        }
    }
    Ok(writer.join()??)
}

fn put(queue: &Queue<u64>, count: u64) -> Result<(), String> {
    (0..count)
        .try_for_each(|n| queue.put(&n))
        .map_err(|error| error.to_string())
}

fn get(queue: &Queue<u64>, count: u64) -> Result<(), String> {
    (0..count)
        .try_for_each(|_| queue.get().map(|n| _ = black_box(n)))
        .map_err(|error| error.to_string())
}

fn round_trips(count: u64) -> Result<(), Box<dyn Error>> {
    let (there, back) = (Queue::<u64>::new()?, Queue::<u64>::new()?);
    let echo = || (0..count).try_for_each(|_| back.put(&there.get()?));
    let echo = Process::spawn(|| echo().map_err(|error| error.to_string()))?;
    for n in 0..count {
        there.put(&n)?;
        back.get()?;
    }
    Ok(echo.join()??)
}

fn singles(pool: &Pool, count: u64) -> Result<(), Box<dyn Error>> {
    let mut handles = Vec::new();
    for n in 0..count {
        handles.push(pool.apply_async(|n: u64| n, n)?);
    }
    for handle in handles {
        black_box(handle.get()?);
    }
    Ok(())
}

fn call(pool: &Pool, n: u64) -> Result<(), Box<dyn Error>> {
    black_box(pool.apply_async(|n: u64| n, n)?.get()?);
    Ok(())
}

fn map(pool: &Pool) -> Result<(), Box<dyn Error>> {
    black_box(pool.map(|n: u64| n, 0..200_000)?);
    Ok(())
}

fn imap(pool: &Pool) -> Result<(), Box<dyn Error>> {
    for result in pool.imap_chunked(|n: u64| n, 0..200_000, 1000) {
        black_box(result?);
    }
    Ok(())
}

fn spawn(count: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        Process::spawn(|| ())?.join()?;
    }
    Ok(())
}

fn spawn_from_zygote(count: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        Process::spawn_with(|()| (), ())?.join()?;
    }
    Ok(())
}
