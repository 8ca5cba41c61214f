//! What tasks take of the machine: time, processors and memory.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

use super::table::TaskTable;
use crate::sys::{children::ChildUsage, shm::shareable};

/// What a task or an item of a map took of the machine, in a pool that
/// [measures](super::Builder::measure_usage) it. Python's pools do not tell.
///
/// # Examples
///
/// ```
/// use multiprocess::Pool;
///
/// let pool = Pool::builder().workers(1).measure_usage().build()?;
/// let sum = pool.apply_async(|len: u64| (0..len).collect::<Vec<_>>().iter().sum::<u64>(), 1 << 20)?;
/// sum.get()?;
/// let usage = sum.usage().unwrap();
/// assert!(usage.peak_memory.is_none_or(|bytes| bytes >= 8 << 20));
/// assert!(!usage.elapsed.is_zero());
/// # Ok::<(), multiprocess::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskUsage {
    /// From the moment at which the worker began to read the argument, until the result had its binary
    /// form, or the worker was dead. The wait in the queue does not count.
    pub elapsed: Duration,
    /// The time on processors, of user and system together: of all threads of the worker, and of the
    /// children that it waited for meanwhile.
    pub cpu: Duration,
    /// By how many bytes the memory of the worker in RAM (`VmHWM`) grew at the most, over what it had
    /// when the task began. Other than with
    /// [`max_memory_per_task`](super::Builder::max_memory_per_task) no peak is too short to be seen, and
    /// pages of files and of shared memory count. The system counts pages in lots, so that some hundreds
    /// of KiB more or less say nothing. The memory of processes that the task started does
    /// not, but of a task that died with its worker the largest child counts that the worker ever waited
    /// for, if that was larger. `None` where the system does not set that mark back (a kernel without
    /// `CONFIG_PROC_PAGE_MONITOR`).
    pub peak_memory: Option<u64>,
}

/// How many words a usage takes in a message.
pub(super) const USAGE_WORDS: usize = 3;

impl TaskUsage {
    pub(super) fn to_words(self) -> [u64; USAGE_WORDS] {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let peak = self.peak_memory.unwrap_or(u64::MAX);
        [nanos(self.elapsed), nanos(self.cpu), peak]
    }

    pub(super) fn from_words([elapsed, cpu, peak]: [u64; USAGE_WORDS]) -> Self {
        Self {
            elapsed: Duration::from_nanos(elapsed),
            cpu: Duration::from_nanos(cpu),
            peak_memory: (peak != u64::MAX).then_some(peak),
        }
    }
}

shareable! {
    /// What a worker had taken when its task or item began, for the supervisor.
    pub(super) struct TakenBefore {
        /// Its time on processors, in nanoseconds.
        cpu: AtomicU64,
        /// Its memory in RAM in bytes, plus one; 0 if that is not known.
        memory: AtomicU64,
    }
}

impl TakenBefore {
    /// Forgets a worker that is dead, for the next one.
    pub(super) fn clear(&self) {
        // Relaxed, here and below: they are read when their writer is dead.
        self.cpu.store(0, Relaxed);
        self.memory.store(0, Relaxed);
    }
}

/// Measures what the tasks of this process take, one after the other.
#[derive(Default)]
pub(super) struct UsageMeter {
    /// Of the task or item in progress.
    begun: Option<Begun>,
    /// Of those that have ended: their places in their task, and what they took.
    pub(super) ended: Vec<(u64, TaskUsage)>,
}

struct Begun {
    at: Instant,
    cpu: Duration,
    memory: Option<u64>,
}

impl UsageMeter {
    /// Notes that a task or an item begins.
    pub(super) fn begin(&mut self, taken: &TakenBefore) {
        // "5" sets the mark of the most memory back to what there is: proc_pid_clear_refs(5).
        let is_set_back = fs::write("/proc/self/clear_refs", "5").is_ok();
        let memory = of_status("VmHWM").filter(|_| is_set_back);
        let cpu = cpu();
        taken.cpu.store(cpu.as_nanos() as u64, Relaxed);
        taken.memory.store(memory.map_or(0, |it| it + 1), Relaxed);
        self.begun = Some(Begun {
            at: Instant::now(),
            cpu,
            memory,
        });
    }

    /// Notes that what was begun has ended, the item `item`. Of one that has, nothing more.
    pub(super) fn end(&mut self, item: u64) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        let usage = TaskUsage {
            elapsed: begun.at.elapsed(),
            cpu: cpu().saturating_sub(begun.cpu),
            peak_memory: begun.memory.and_then(|before| {
                let most = of_status("VmHWM")?;
                Some(most.saturating_sub(before))
            }),
        };
        self.ended.push((item, usage));
    }
}

/// What a task took whose worker is dead: by the pool's clock, by what that process had taken before, and
/// by what it took in its life.
pub(super) fn of_dead_worker(
    elapsed: Duration,
    before: &TakenBefore,
    life: ChildUsage,
) -> TaskUsage {
    let memory = before.memory.load(Relaxed).checked_sub(1);
    TaskUsage {
        elapsed,
        cpu: life
            .cpu
            .saturating_sub(Duration::from_nanos(before.cpu.load(Relaxed))),
        peak_memory: memory.map(|memory| life.most_memory.saturating_sub(memory)),
    }
}

impl TaskTable {
    /// Enters what items of a task took.
    pub(super) fn add_usage(&mut self, ticket: u64, items: &[(u64, TaskUsage)]) {
        let Some(task) = self.tasks.get_mut(ticket) else {
            return;
        };
        let known = &mut task.more.get_or_insert_default().usage;
        known.resize(task.items as usize, None);
        for &(item, usage) in items {
            // Of a place that the task has, whatever another process may have written.
            if let Some(place) = known.get_mut(item as usize) {
                *place = Some(usage);
            }
        }
    }

    /// What each item of a task took, as far as that is known.
    pub(super) fn usage(&self, ticket: u64) -> Vec<Option<TaskUsage>> {
        let Some(task) = self.tasks.get(ticket) else {
            return Vec::new();
        };
        let known = task.more.as_ref().map(|more| more.usage.clone());
        let mut usage = known.unwrap_or_default();
        usage.resize(task.items as usize, None);
        usage
    }
}

/// The time on processors of this process and of the children that it has waited for.
fn cpu() -> Duration {
    let micros = |time: TimeVal| time.num_microseconds().unsigned_abs();
    let of = |who| {
        let usage = getrusage(who);
        usage.map_or(0, |it| micros(it.user_time()) + micros(it.system_time()))
    };
    Duration::from_micros(of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN))
}

/// A number of kilobytes that the system says of this process, in bytes: proc_pid_status(5).
fn of_status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
