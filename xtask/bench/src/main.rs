//! `bench WHO ROW` measures one thing once and prints a number in the row's unit.
//!
//! `cargo xtask bench` builds and runs it, in turns with its peers, and takes the best of several.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

#[cfg(feature = "cloudtoid")]
mod cloudtoid_peer;
mod crossbeam_peer;
#[cfg(feature = "iceoryx2")]
mod iceoryx2_peer;
mod ipc_channel_peer;
mod large;
mod limit;
mod locks;
mod manager;
mod ours;
mod procspawn_peer;
mod tasks;

/// Long enough that the start of the processes does not count.
const LONG_ENOUGH: Duration = Duration::from_millis(200);
const MIB: usize = 1 << 20;

type Measured = Result<f64, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [who, url, prefetch] = arguments.as_slice()
        && who == "worker"
    {
        // It ends with its server, which is killed.
        return tasks::work(url, prefetch).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let [who, row] = arguments.as_slice() else {
        eprintln!("error: usage: bench WHO ROW, as in: bench ours queue/roundtrip");
        return ExitCode::from(2);
    };
    let row = match row.strip_suffix("/one-core") {
        Some(row) => {
            if let Err(error) = stay_on_one_core() {
                eprintln!("error: stay on one core: {error}");
                return ExitCode::FAILURE;
            }
            row
        }
        None => row,
    };
    let measured = match who.as_str() {
        "ours" => ours::measure(row),
        "procspawn" => procspawn_peer::measure(row),
        "ipc-channel" => ipc_channel_peer::measure(row),
        "crossbeam" => crossbeam_peer::measure(row),
        #[cfg(feature = "cloudtoid")]
        "cloudtoid" => cloudtoid_peer::measure(row),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2" => iceoryx2_peer::measure(row),
        "limit" => limit::measure(row),
        _ => unknown(row),
    };
    match measured {
        Ok(number) => {
            println!("{number}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn unknown(row: &str) -> Measured {
    Err(format!("there is no {row} of it").into())
}

/// This program and all that it starts run on the first core that it may use.
fn stay_on_one_core() -> nix::Result<()> {
    let mine = sched_getaffinity(Pid::this())?;
    let first = (0..CpuSet::count()).find(|core| mine.is_set(*core) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.ok_or(Errno::EINVAL)?)?;
    sched_setaffinity(Pid::this(), &one)
}

/// How many a second. `run` does so many; it is given more until that takes long enough.
fn per_second(mut run: impl FnMut(u64) -> Result<(), Box<dyn Error>>) -> Measured {
    let mut count = 64;
    loop {
        let start = Instant::now();
        run(count)?;
        let took = start.elapsed();
        if took >= LONG_ENOUGH {
            return Ok(count as f64 / took.as_secs_f64());
        }
        count *= if took < LONG_ENOUGH / 8 { 8 } else { 2 };
    }
}

/// Microseconds for one.
fn micros(run: impl FnMut(u64) -> Result<(), Box<dyn Error>>) -> Measured {
    Ok(1e6 / per_second(run)?)
}

/// A parent that has 1 GiB in use, every page of it.
fn gibibyte() -> Vec<u8> {
    vec![1; 1 << 30]
}
