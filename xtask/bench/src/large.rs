//! `multiprocess` with large items, by copy and by reference; and what its peers do with the same.

use std::error::Error;
use std::hint::black_box;

use multiprocess::{Process, Queue};

use crate::{MIB, Measured, micros, per_second, unknown};

/// What the items of a row are, and what becomes of them.
#[derive(Clone, Copy)]
pub(crate) struct Large {
    /// The length of an item, in bytes.
    pub(crate) len: usize,
    /// Whether the writer fills each item, and the reader reads all of it.
    pub(crate) is_filled: bool,
}

impl Large {
    /// `None` if the row is about something else.
    pub(crate) fn of(row: &str) -> Option<Self> {
        let (len, is_filled) = match row {
            "queue/4KiB" => (4 << 10, false),
            "queue/1MiB" => (MIB, false),
            "queue/1MiB/filled" | "queue/1MiB/by-reference" => (MIB, true),
            "queue/64MiB" => (64 * MIB, false),
            _ => return None,
        };
        Some(Self { len, is_filled })
    }

    /// How many MiB a second. `run` moves so many items.
    pub(crate) fn mib_per_second(
        self,
        run: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
    ) -> Measured {
        Ok(per_second(run)? * self.len as f64 / MIB as f64)
    }

    /// How many numbers an item has.
    pub(crate) fn numbers(self) -> usize {
        self.len / size_of::<u64>()
    }

    /// Reads the numbers of an item, which are all `n`, if it was filled.
    pub(crate) fn check(self, item: impl Iterator<Item = u64>, n: u64) -> Result<(), String> {
        if !self.is_filled {
            return Ok(());
        }
        let sum = item.fold(0, u64::wrapping_add);
        match sum == n.wrapping_mul(self.numbers() as u64) {
            true => Ok(()),
            false => Err(format!("item {n} came out as another")),
        }
    }
}

/// How many items of 1 MiB a map has.
const MAPPED: usize = 64;

/// How many MiB a second come out of a map over items of 1 MiB, whose results are the items of the
/// next: what goes in costs nothing but its way.
pub(crate) fn mapped(
    mut map: impl FnMut(Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Box<dyn Error>>,
) -> Measured {
    let mut items: Vec<_> = (0..MAPPED).map(|n| vec![n as u8; MIB]).collect();
    // Each item is a MiB.
    let measured = per_second(|count| {
        for _ in 0..count / MAPPED as u64 {
            items = map(std::mem::take(&mut items))?;
        }
        Ok(())
    })?;
    let is_whole = |(item, n): (&Vec<u8>, u8)| item.len() == MIB && item.iter().all(|it| *it == n);
    match items.len() == MAPPED && items.iter().zip(0..).all(is_whole) {
        true => Ok(measured),
        false => Err("the items came out as others".into()),
    }
}

pub(crate) fn measure(row: &str) -> Measured {
    match (row, Large::of(row)) {
        ("queue/1MiB/by-reference", Some(large)) => {
            large.mib_per_second(|count| lent(large, count))
        }
        (_, Some(large)) => large.mib_per_second(|count| copied(large, count)),
        ("queue/hand-over/64B", _) => micros(|count| handed_over(64, count)),
        ("queue/hand-over/4MiB", _) => micros(|count| handed_over(4 * MIB, count)),
        _ => unknown(row),
    }
}

fn copied(large: Large, count: u64) -> Result<(), Box<dyn Error>> {
    let queue = Queue::<Vec<u64>>::new()?;
    let write = || {
        let mut item = vec![7; large.numbers()];
        (0..count).try_for_each(|n| {
            if large.is_filled {
                item.fill(n);
            }
            queue.put(&item)
        })
    };
    let writer = Process::spawn(|| write().map_err(|error| error.to_string()))?;
    for n in 0..count {
        let item = black_box(queue.get()?);
        large.check(item.iter().copied(), n)?;
    }
    Ok(writer.join()??)
}

fn lent(large: Large, count: u64) -> Result<(), Box<dyn Error>> {
    let queue = Queue::<Vec<u64>>::new()?;
    let write = || {
        (0..count).try_for_each(|n| {
            let mut loan = queue.loan(large.numbers())?;
            loan.fill(n);
            loan.publish()
        })
    };
    let writer = Process::spawn(|| write().map_err(|error| error.to_string()))?;
    for n in 0..count {
        let item = black_box(queue.get_ref()?);
        large.check(item.iter().copied(), n)?;
    }
    Ok(writer.join()??)
}

/// A loan goes there, and another comes back: nobody writes or reads what lies in it.
fn handed_over(len: usize, count: u64) -> Result<(), Box<dyn Error>> {
    let (there, back) = (Queue::<Vec<u8>>::new()?, Queue::<Vec<u8>>::new()?);
    let echo = || {
        (0..count).try_for_each(|_| {
            drop(there.get_ref()?);
            back.loan(len)?.publish()
        })
    };
    let echo = Process::spawn(|| echo().map_err(|error| error.to_string()))?;
    for _ in 0..count {
        there.loan(len)?.publish()?;
        black_box(back.get_ref()?);
    }
    Ok(echo.join()??)
}
