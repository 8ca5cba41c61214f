//! ipc-channel: one reader, and its ends inherited by a forked process.

use std::error::Error;
use std::hint::black_box;

use ipc_channel::ipc;
use multiprocess::Process;

use crate::{MIB, Measured, micros, per_second, unknown};

pub(crate) fn measure(row: &str) -> Measured {
    match row {
        "queue/u64/1p1c" => per_second(one_to_one),
        "queue/roundtrip" => micros(round_trips),
        "queue/1MiB" => per_second(mebibytes),
        _ => unknown(row),
    }
}

fn one_to_one(count: u64) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = ipc::channel::<u64>()?;
    let write = || (0..count).try_for_each(|n| sender.send(n));
    let writer = Process::spawn(|| write().map_err(|error| error.to_string()))?;
    for _ in 0..count {
        black_box(receiver.recv()?);
    }
    Ok(writer.join()??)
}

fn round_trips(count: u64) -> Result<(), Box<dyn Error>> {
    let (there, from_here) = ipc::channel::<u64>()?;
    let (back, from_there) = ipc::channel::<u64>()?;
    let echo = || -> Result<(), Box<dyn Error>> {
        for _ in 0..count {
            back.send(from_here.recv()?)?;
        }
        Ok(())
    };
    let echo = Process::spawn(|| echo().map_err(|error| error.to_string()))?;
    for n in 0..count {
        there.send(n)?;
        from_there.recv()?;
    }
    Ok(echo.join()??)
}

/// By the channel that it has for bytes: the faster one, since nothing is serialised.
fn mebibytes(count: u64) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = ipc::bytes_channel()?;
    let message = vec![7; MIB];
    let write = || (0..count).try_for_each(|_| sender.send(&message));
    let writer = Process::spawn(|| write().map_err(|error| error.to_string()))?;
    for _ in 0..count {
        black_box(receiver.recv()?);
    }
    Ok(writer.join()??)
}
