//! cloudtoid-interprocess: a queue of bytes in a mapped file, which copies. Its writers do not wait
//! for room, so they try again.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread};

use cloudtoid_interprocess::{Options, Publisher, Subscriber};
use multiprocess::Process;

use crate::large::Large;
use crate::{Measured, micros, per_second, unknown};

pub(crate) fn measure(row: &str) -> Measured {
    if row == "queue/u64/1p1c" {
        let folder = Folder::new()?;
        return per_second(|count| one_to_one(count, &folder.path));
    }
    if row == "queue/roundtrip" {
        let folder = Folder::new()?;
        return micros(|count| round_trips(count, &folder.path));
    }
    match Large::of(row) {
        Some(large) if row != "queue/1MiB/by-reference" => {
            let folder = Folder::new()?;
            large.mib_per_second(|count| copied(large, count, &folder.path))
        }
        _ => unknown(row),
    }
}

/// Where its files are, in memory if the system has such a place; gone with it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, Box<dyn Error>> {
        let memory = Path::new("/dev/shm");
        let parent = match memory.is_dir() {
            true => memory.to_path_buf(),
            false => env::temp_dir(),
        };
        let path = parent.join(format!("bench-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn copied(large: Large, count: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let options = Options::new("queue", (4 * large.len).max(8 << 20)).with_path(folder);
    let subscriber = Subscriber::open(&options)?;
    let writer = Process::spawn(|| write(large, count, &options).map_err(|e| e.to_string()))?;
    for n in 0..count {
        let item = black_box(subscriber.recv()?);
        let numbers = item.as_chunks().0.iter();
        large.check(numbers.map(|number| u64::from_ne_bytes(*number)), n)?;
    }
    Ok(writer.join()??)
}

fn write(large: Large, count: u64, options: &Options) -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::open(options)?;
    let mut item = vec![7; large.len];
    for n in 0..count {
        if large.is_filled {
            let places = item.as_chunks_mut().0;
            places.iter_mut().for_each(|place| *place = n.to_ne_bytes());
        }
        send(&publisher, &item)?;
    }
    Ok(())
}

fn send(publisher: &Publisher, item: &[u8]) -> Result<(), Box<dyn Error>> {
    loop {
        match publisher.try_send(item) {
            Err(error) if error.is_full() => thread::yield_now(),
            sent => return Ok(sent?),
        }
    }
}

fn one_to_one(count: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let options = Options::new("queue", 8 << 20).with_path(folder);
    let subscriber = Subscriber::open(&options)?;
    let write = || {
        let publisher = Publisher::open(&options)?;
        (0..count).try_for_each(|n| send(&publisher, &n.to_ne_bytes()))
    };
    let writer = Process::spawn(|| write().map_err(|e| e.to_string()))?;
    for _ in 0..count {
        black_box(subscriber.recv()?);
    }
    Ok(writer.join()??)
}

fn round_trips(count: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let options = |name| Options::new(name, 8 << 20).with_path(folder);
    let (there, back) = (options("there"), options("back"));
    let subscriber = Subscriber::open(&back)?;
    let publisher = Publisher::open(&there)?;
    let echo = || {
        let (subscriber, publisher) = (Subscriber::open(&there)?, Publisher::open(&back)?);
        (0..count).try_for_each(|_| send(&publisher, &subscriber.recv()?))
    };
    let echo = Process::spawn(|| echo().map_err(|e: Box<dyn Error>| e.to_string()))?;
    for n in 0..count {
        send(&publisher, &n.to_ne_bytes())?;
        black_box(subscriber.recv()?);
    }
    Ok(echo.join()??)
}
