//! crossbeam's bounded channel, between threads: what a queue between processes would like to be.

use std::error::Error;
use std::hint::black_box;
use std::thread;

use crossbeam::channel::{Receiver, RecvError, Sender, bounded};

use crate::{MIB, Measured, micros, per_second, unknown};

const CAPACITY: usize = 1024;

pub(crate) fn measure(row: &str) -> Measured {
    match row {
        // One by one in both: it has no call for many.
        "queue/u64/1p1c" | "queue/u64/batch64" => per_second(|count| many_to_many(1, count)),
        "queue/u64/4p4c" => per_second(|count| many_to_many(4, count / 4)),
        "queue/roundtrip" => micros(round_trips),
        "queue/1MiB" => per_second(mebibytes),
        _ => unknown(row),
    }
}

fn many_to_many(threads: usize, share: u64) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = bounded(CAPACITY);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| put(&sender, share));
        }
        let readers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| get(&receiver, share)))
            .collect();
        for reader in readers {
            reader.join().expect("a reader does not panic")?;
        }
        Ok(())
    })
}

fn put(sender: &Sender<u64>, count: u64) {
    for n in 0..count {
        // The receiver outlives the scope, so that it is never gone.
        let _ = sender.send(n);
    }
}

fn get(receiver: &Receiver<u64>, count: u64) -> Result<(), RecvError> {
    (0..count).try_for_each(|_| receiver.recv().map(|n| _ = black_box(n)))
}

fn round_trips(count: u64) -> Result<(), Box<dyn Error>> {
    let (there, from_here) = bounded(CAPACITY);
    let (back, from_there) = bounded(CAPACITY);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in &from_here {
                let _ = back.send(n);
            }
        });
        let there = there;
        for n in 0..count {
            there.send(n)?;
            from_there.recv()?;
        }
        Ok(())
    })
}

/// Each message is copied once, into memory of its own, as one that crosses to a process must be.
fn mebibytes(count: u64) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = bounded(CAPACITY.ilog2() as usize);
    let message = vec![7_u8; MIB];
    thread::scope(|scope| {
        scope.spawn(|| (0..count).try_for_each(|_| sender.send(message.clone())));
        for _ in 0..count {
            black_box(receiver.recv()?);
        }
        Ok(())
    })
}
