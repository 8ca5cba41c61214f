//! Locks, events and shared values of `multiprocess::sync`.

use std::error::Error;

use multiprocess::Process;
use multiprocess::sync::{Array, Condvar, Event, Mutex, Semaphore, Value};

use crate::{Measured, micros, per_second, unknown};

/// How many elements are counted up, one after the other, each with the array locked.
const ELEMENTS: usize = 1000;

/// How many processes want one lock.
const PROCESSES: u64 = 4;

pub(crate) fn measure(row: &str) -> Measured {
    match row {
        "sync/lock" => {
            let mutex = Mutex::new(())?;
            per_second(|count| {
                for _ in 0..count {
                    drop(mutex.lock().map_err(multiprocess::Error::from)?);
                }
                Ok(())
            })
        }
        "sync/lock-4p" => per_second(contended),
        "sync/semaphore" => {
            let semaphore = Semaphore::new(1)?;
            per_second(|count| {
                (0..count).for_each(|_| drop(semaphore.acquire()));
                Ok(())
            })
        }
        "sync/value" => {
            let value = Value::new(0u64)?;
            per_second(|count| {
                for _ in 0..count {
                    value.fetch_add(1);
                }
                Ok(())
            })
        }
        "sync/array" => {
            let array = Array::new(&[0u64; ELEMENTS])?;
            per_second(|count| {
                for n in 0..count as usize {
                    let guard = array.lock().map_err(multiprocess::Error::from)?;
                    guard.set(n % ELEMENTS, guard.get(n % ELEMENTS) + 1);
                }
                Ok(())
            })
        }
        "sync/event" => micros(events),
        "sync/condvar" => micros(notifications),
        _ => unknown(row),
    }
}

/// Each process locks for its share, to count up what the lock guards.
fn contended(count: u64) -> Result<(), Box<dyn Error>> {
    let mutex = Mutex::new(0u64)?;
    let work = || {
        (0..count / PROCESSES).try_for_each(|_| {
            *mutex.lock().map_err(|error| error.to_string())? += 1;
            Ok::<_, String>(())
        })
    };
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Process::spawn(work)?);
    }
    for process in processes {
        process.join()??;
    }
    Ok(())
}

/// Two processes that set an event for each other in turns.
fn events(count: u64) -> Result<(), Box<dyn Error>> {
    let (there, back) = (Event::new()?, Event::new()?);
    let answer = |mine: &Event, other: &Event| {
        mine.wait();
        mine.clear();
        other.set();
    };
    let echo = Process::spawn(|| (0..count).for_each(|_| answer(&there, &back)))?;
    for _ in 0..count {
        there.set();
        back.wait();
        back.clear();
    }
    Ok(echo.join()?)
}

/// Two processes that count up in turns, each for its parity.
fn notifications(count: u64) -> Result<(), Box<dyn Error>> {
    let (number, changed) = (Mutex::new(0u64)?, Condvar::new()?);
    let turns = |me: u64| {
        for _ in 0..count {
            let guard = number.lock().map_err(|error| error.to_string())?;
            let waited = changed.wait_while(guard, |number| *number % 2 != me);
            *waited.map_err(|error| error.to_string())? += 1;
            changed.notify_one();
        }
        Ok::<_, String>(())
    };
    let other = Process::spawn(|| turns(1))?;
    turns(0)?;
    Ok(other.join()??)
}
