//! What it costs to hand something over: there and back, and as fast as it goes.

use std::thread;
use std::time::Instant;

use crossbeam::channel;
use multiprocess::{Error, Process, Queue, Result};

use super::{Figure, Row, Way, await_joined_threads, repeat};

/// The sizes of the messages, in bytes.
const SIZES: [usize; 2] = [64, 1 << 20];

/// How long a message takes there and back, in microseconds.
///
/// Between threads it goes through two channels of crossbeam, which move a pointer; between
/// processes through two [`Queue`]s, which copy it into shared memory and out again. Of a small
/// message most is the time in which the one who waits is woken up, and that is the same for both.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn round_trip(rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in SIZES {
        let rounds = if size > 1000 { rounds } else { 20 * rounds };
        rows.push(row(size, Way::Thread, trips_by_thread(size, rounds)?));
        rows.push(row(size, Way::Fork, trips_by_process(size, rounds)?));
    }
    rows.sort_by_key(|row| row.way);
    Ok(rows)
}

fn row(size: usize, way: Way, found: Vec<f64>) -> Row {
    let figure = Figure::of(found);
    Row { size, way, figure }
}

fn message(size: usize) -> String {
    "m".repeat(size)
}

/// Times each of so many trips, after one that warms up.
fn trips(rounds: usize, mut trip: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    trip()?;
    let mut found = Vec::new();
    repeat(rounds, || {
        let begun = Instant::now();
        trip()?;
        found.push(begun.elapsed().as_secs_f64() * 1e6);
        Ok(())
    })?;
    Ok(found)
}

fn trips_by_thread(size: usize, rounds: usize) -> Result<Vec<f64>> {
    let (there, taken) = channel::unbounded::<String>();
    let (back, given) = channel::unbounded();
    let echo = thread::Builder::new().spawn(move || {
        for message in taken {
            let _ = back.send(message);
        }
    });
    let echo = echo.map_err(|error| Error::os("start a thread", error))?;
    let mut held = Some(message(size));
    let found = trips(rounds, || {
        let _ = there.send(held.take().expect("it came back"));
        held = given.recv().ok();
        Ok(())
    });
    drop(there);
    echo.join().expect("it only passes on");
    found
}

fn trips_by_process(size: usize, rounds: usize) -> Result<Vec<f64>> {
    await_joined_threads();
    let (there, back) = (Queue::<String>::new()?, Queue::<String>::new()?);
    let echo = Process::spawn(|| {
        while let Ok(message) = there.get() {
            if back.put(&message).is_err() {
                break;
            }
        }
    })?;
    let message = message(size);
    let found = trips(rounds, || {
        there.put(&message)?;
        back.get().map(drop)
    });
    there.close();
    echo.join()?;
    found
}

/// How much goes from one to the other, each byte of it read there, in MB/s.
///
/// The same channels and queues as in [`round_trip`], as full as the writer makes them. A message
/// is made before the clock starts.
///
/// # Errors
///
/// See the [module](super#errors).
pub fn throughput(rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in SIZES {
        let count = if size > 1000 { 16 } else { 20_000 };
        rows.push(row(
            size,
            Way::Thread,
            rates_by_thread(size, count, rounds)?,
        ));
        rows.push(row(size, Way::Fork, rates_by_process(size, count, rounds)?));
    }
    rows.sort_by_key(|row| row.way);
    Ok(rows)
}

/// Reads every byte, as whoever wants a message does.
fn read(message: &str) -> u64 {
    message.bytes().map(u64::from).sum()
}

/// Times so many rounds, of `count` messages each. A round returns when it began, and the sum of all
/// bytes that were read.
fn rates(
    size: usize,
    count: usize,
    rounds: usize,
    mut round: impl FnMut() -> Result<(Instant, u64)>,
) -> Result<Vec<f64>> {
    let bytes = size * count;
    let mut found = Vec::new();
    repeat(rounds, || {
        let (begun, sum) = round()?;
        assert_eq!(sum, u64::from(b'm') * bytes as u64, "every byte arrived");
        found.push(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
        Ok(())
    })?;
    Ok(found)
}

fn rates_by_thread(size: usize, count: usize, rounds: usize) -> Result<Vec<f64>> {
    let (there, taken) = channel::unbounded::<String>();
    let (back, given) = channel::unbounded();
    let reader = thread::Builder::new().spawn(move || {
        for sum in taken.iter().map(|message| read(&message)) {
            let _ = back.send(sum);
        }
    });
    let reader = reader.map_err(|error| Error::os("start a thread", error))?;
    let found = rates(size, count, rounds, || {
        let messages: Vec<String> = (0..count).map(|_| message(size)).collect();
        let begun = Instant::now();
        for message in messages {
            let _ = there.send(message);
        }
        Ok((begun, given.iter().take(count).sum()))
    });
    drop(there);
    reader.join().expect("it only reads");
    found
}

fn rates_by_process(size: usize, count: usize, rounds: usize) -> Result<Vec<f64>> {
    await_joined_threads();
    let (there, back) = (Queue::<String>::new()?, Queue::<u64>::new()?);
    let reader = Process::spawn(|| {
        while let Ok(message) = there.get() {
            if back.put(&read(&message)).is_err() {
                break;
            }
        }
    })?;
    let message = message(size);
    let found = rates(size, count, rounds, || {
        let begun = Instant::now();
        for _ in 0..count {
            there.put(&message)?;
        }
        let mut sum = 0;
        for _ in 0..count {
            sum += back.get()?;
        }
        Ok((begun, sum))
    });
    there.close();
    reader.join()?;
    found
}
