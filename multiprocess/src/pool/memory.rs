//! How much memory tasks take, and the end of those that take too much.
//!
//! What a task takes is what its worker's own memory has grown by since the task or the item began.
//! The supervisor looks while tasks run; it sleeps when none does. A worker looks itself between two of
//! them, but not for each of many short ones, so that what one leaves is not counted to the next.

use std::{
    fs,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{
    shared::PoolShared,
    slot::{KillReason, Slot},
};
use crate::{Error, Result};

/// How often to look while tasks run.
const LOOK: Duration = Duration::from_millis(20);

/// What runs for less time than this cannot leave much: 5 ms, to a tick of [`ticks`]. A look costs some
/// microseconds.
pub(super) const SHORT_NANOS: u64 = 5_000_000;

/// A page of memory, in bytes.
const PAGE: u64 = 4096;

/// How many workers a pool has, and how much memory each task may take, in bytes. The tasks that run
/// at once fit in the budget.
pub(super) fn fit(
    workers: usize,
    budget: Option<u64>,
    task: Option<u64>,
) -> Result<(usize, Option<u64>)> {
    match (budget, task) {
        (None, task) => Ok((workers, task)),
        (Some(budget), None) => {
            let task = budget / workers as u64;
            match task < PAGE {
                true => Err(Error::BudgetTooSmall { budget, task: PAGE }),
                false => Ok((workers, Some(task))),
            }
        }
        (Some(budget), Some(task)) if task > budget => Err(Error::BudgetTooSmall { budget, task }),
        (Some(budget), Some(task)) => {
            let at_once = usize::try_from(budget / task.max(1)).unwrap_or(usize::MAX);
            Ok((workers.min(at_once), Some(task)))
        }
    }
}

/// The memory of a process that it does not share with a file, in bytes: proc_pid_statm(5). The
/// process is a number or `self`.
pub(super) fn of_process(process: &str) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map(str::parse::<u64>);
    match (pages.next(), pages.next()) {
        (Some(Ok(resident)), Some(Ok(of_files))) => resident.saturating_sub(of_files) * PAGE,
        _ => 0,
    }
}

/// Nanoseconds on a clock that is exact to some milliseconds, and costs a few nanoseconds: it is asked
/// after each item.
pub(super) fn ticks() -> u64 {
    // It cannot fail: Linux has this clock.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    time.map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// Notes what memory a worker has before its task or item, in bytes.
pub(super) fn note(slot: &Slot, memory: u64) {
    let pages = u32::try_from(memory / PAGE).unwrap_or(u32::MAX);
    slot.memory_pages.store(pages, SeqCst);
}

fn noted(slot: &Slot) -> u64 {
    u64::from(slot.memory_pages.load(SeqCst)) * PAGE
}

/// What the supervisor knows of its workers' memory.
pub(super) struct MemoryWatch {
    limit: u64,
    /// When to look next; `None` while no task runs.
    next: Option<Instant>,
    /// How many tasks were taken at the last look.
    taken: u64,
    /// What the task of each worker had taken that was marked for that.
    peaks: Vec<u64>,
}

impl MemoryWatch {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            next: None,
            taken: 0,
            peaks: Vec::new(),
        }
    }

    /// When to look next; `None` until a worker wakes the supervisor.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// That the task of this worker took too much.
    pub(super) fn error(&self, worker: usize) -> Error {
        Error::OutOfMemory {
            limit: self.limit,
            peak: self.peaks[worker],
        }
    }

    /// Looks, if it is time, and marks the workers for the kill whose tasks have taken too much.
    pub(super) fn look(&mut self, shared: &PoolShared, workers: &[Option<i32>]) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let mut is_busy = false;
        self.peaks.resize(workers.len(), 0);
        for (index, (slot, worker)) in shared.control.slots.iter().zip(workers).enumerate() {
            let (Some(pid), Some(task)) = (worker, slot.in_progress()) else {
                continue;
            };
            is_busy = true;
            let step = slot.step();
            let before = noted(slot);
            let took = of_process(&pid.to_string()).saturating_sub(before);
            if took > self.limit
                && !task.marked
                && slot.mark_in_step(task.task, step, KillReason::OutOfMemory)
            {
                self.peaks[index] = took;
            }
        }
        // As long as tasks come and go between the looks, no worker need wake this process.
        let taken = shared.tasks.taken();
        let goes_on = is_busy || taken != self.taken;
        self.taken = taken;
        self.next = goes_on.then(|| now + LOOK);
        shared.control.unwatched.store(u32::from(!goes_on), SeqCst);
    }
}
