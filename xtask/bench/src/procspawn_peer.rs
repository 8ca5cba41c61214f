//! procspawn: processes that start the program again, and a pool of them.

use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;

use crate::{Measured, gibibyte, micros, per_second, unknown};

const WORKERS: usize = 2;
/// With more in its queue its pool is no faster: each of its threads waits for one worker.
const IN_FLIGHT: usize = 16;

pub(crate) fn measure(row: &str) -> Measured {
    // A child comes here too, with the same arguments, and stays in this call.
    procspawn::init();
    match row {
        "pool/single" => {
            let pool = procspawn::Pool::new(WORKERS)?;
            per_second(|count| singles(&pool, count))
        }
        "pool/roundtrip" => {
            let pool = procspawn::Pool::new(WORKERS)?;
            micros(|count| (0..count).try_for_each(|n| call(&pool, n)))
        }
        "process/spawn" => micros(spawn),
        "process/spawn-1GiB" => {
            let resident = gibibyte();
            let measured = micros(spawn);
            black_box(resident);
            measured
        }
        _ => unknown(row),
    }
}

fn singles(pool: &procspawn::Pool, count: u64) -> Result<(), Box<dyn Error>> {
    let mut waiting = VecDeque::new();
    for n in 0..count {
        waiting.push_back(procspawn::spawn!(in pool, (n) || n));
        if waiting.len() == IN_FLIGHT {
            let oldest = waiting.pop_front().expect("some are waiting");
            black_box(oldest.join()?);
        }
    }
    for handle in waiting {
        black_box(handle.join()?);
    }
    Ok(())
}

fn call(pool: &procspawn::Pool, n: u64) -> Result<(), Box<dyn Error>> {
    black_box(procspawn::spawn!(in pool, (n) || n).join()?);
    Ok(())
}

fn spawn(count: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        procspawn::spawn((), |()| ()).join()?;
    }
    Ok(())
}
