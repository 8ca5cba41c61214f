//! Tasks that died with a worker, of which the shared memory does not say so.
//!
//! The supervisor reads in a dead worker's slot which task died with it. A process that writes over
//! the slot takes that away. Then the application finds the task by what it knows itself: it has no
//! outcome, it was taken, no worker has it, and no result of it has come.

use super::{block::ResultBlock, client::PoolClient, message, table::TaskTable};
use crate::{
    Error,
    queue::{lending::TakenBlock, raw::Wait},
};

/// A task that no worker has. It is lost, unless its result was put before this was seen.
struct Suspect {
    ticket: u64,
    number: u64,
    /// How the worker ended after which it was missed.
    ending: Error,
}

/// What is known of such tasks.
#[derive(Default)]
pub(super) struct LostTasks {
    /// How the last worker ended, until somebody has looked for its task.
    pub(super) ending: Option<Error>,
    suspects: Vec<Suspect>,
}

impl TaskTable {
    /// How a worker has ended, since this was last asked.
    pub(super) fn take_ending(&mut self) -> Option<Error> {
        self.lost.ending.take()
    }

    /// Notes the tasks without an outcome of which no worker is known. `taken` counts the takes of all
    /// tasks, and was read before `in_progress`, which the slots say.
    pub(super) fn suspect(&mut self, taken: u64, in_progress: &[u64], ending: &Error) {
        let open = self.tasks.iter().filter(|(_, task)| task.outcome.is_none());
        let missed = open.filter(|(_, task)| task.number < taken);
        let missed = missed.filter(|(_, task)| !in_progress.contains(&task.number));
        self.lost
            .suspects
            .extend(missed.map(|(ticket, task)| Suspect {
                ticket,
                number: task.number,
                ending: ending.clone(),
            }));
    }

    pub(super) fn has_suspects(&self) -> bool {
        !self.lost.suspects.is_empty()
    }

    /// Ends the tasks that were missed and have no result, now that all results were taken.
    pub(super) fn end_lost(&mut self) {
        for suspect in std::mem::take(&mut self.lost.suspects) {
            if self.open_number(suspect.ticket) == Some(suspect.number) {
                self.finish(suspect.ticket, Err(message::lost(&suspect.ending).into()));
            }
        }
    }
}

impl PoolClient {
    /// Enters a message. If a worker has ended, looks whether the shared memory says of all tasks where
    /// they are.
    #[inline]
    pub(super) fn record(&self, table: &mut TaskTable, message: &[u8], block: Option<TakenBlock>) {
        let block = block.map(|block| ResultBlock::new(&self.shared, block));
        table.record(message, block, |task| {
            self.shared.tasks.put(task, Wait::No).ok()
        });
        if let Some(ending) = table.take_ending() {
            // In this order: a task stands in a slot before its take counts, and until its result, or
            // the supervisor's word of it, is put.
            let taken = self.shared.tasks.taken();
            let slots = self.shared.control.used_slots();
            let in_progress = slots
                .iter()
                .filter_map(|slot| Some(slot.in_progress()?.task));
            table.suspect(taken, &in_progress.collect::<Vec<_>>(), &ending);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::*;
    use crate::{
        AsyncResult, Pool,
        pool::{
            open_tasks::Submission,
            slot::{Slot, Step},
        },
    };

    const SOON: Duration = Duration::from_secs(60);

    /// A pool with a worker for each of these tasks, which do not end.
    fn busy<const N: usize>() -> (Pool, [AsyncResult<()>; N]) {
        let pool = Pool::new(N).expect("there are processes");
        let endless = |_: u64| thread::sleep(Duration::from_secs(600));
        let tasks = [(); N].map(|()| pool.apply_async(endless, 0).expect("it is submitted"));
        let end = Instant::now() + SOON;
        while slots(&pool).any(|slot| slot.in_progress().is_none()) {
            assert!(Instant::now() < end, "the tasks do not begin");
            thread::yield_now();
        }
        (pool, tasks)
    }

    fn slots(pool: &Pool) -> impl Iterator<Item = &Slot> {
        pool.client.shared.control.used_slots().iter()
    }

    /// Writes over what the worker with this task says of it, and kills the worker.
    fn kill_with_another_word(pool: &Pool, task: u64, word: u64) {
        let mut all = slots(pool);
        let slot = all.find(|slot| slot.in_progress().is_some_and(|it| it.task == task));
        let slot = slot.expect("a worker has it");
        let pid = slot.pid.load(std::sync::atomic::Ordering::SeqCst);
        slot.damage(word);
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("it lives");
    }

    #[test]
    fn a_task_whose_worker_no_longer_says_that_it_has_it_ends_with_an_error() {
        // No task, one that was not submitted yet, one that never will be, and one that is no number.
        for word in [0, 2, 1 << 40, u64::MAX] {
            let (pool, [task]) = busy();
            kill_with_another_word(&pool, 0, word);
            let error = task.get_timeout(SOON).expect_err("its worker was killed");
            let text = error.to_string();
            assert!(
                text.contains("wrote over") && text.contains("signal 9"),
                "{text}"
            );
            let next = pool.apply_async(|n: u64| n, 7).expect("it is submitted");
            assert_eq!(next.get_timeout(SOON), Ok(7));
            pool.terminate();
        }
    }

    #[test]
    fn a_task_does_not_end_in_the_place_of_one_whose_worker_was_killed() {
        let (pool, [first, second]) = busy();
        // The word of the second task, which is in progress elsewhere.
        kill_with_another_word(&pool, 0, 2);
        let error = first.get_timeout(SOON).expect_err("its worker was killed");
        assert!(error.to_string().contains("wrote over"), "{error}");
        assert!(!second.ready(), "its worker lives");
        pool.terminate();
    }

    #[test]
    fn a_task_that_was_put_again_meanwhile_is_not_lost() {
        let killed = Error::Killed { signal: 9, pid: 1 };
        let mut table = TaskTable::default();
        table.insert(5, Submission::ONE, 1, Some(b"a task".as_slice().into()));
        table.suspect(6, &[], &killed);
        let mut message = Vec::new();
        message::write_error(5, Step(0), &killed, &mut message);
        table.record(&message, None, |_| Some(9));
        table.end_lost();
        assert_eq!(table.open_number(5), Some(9));
    }
}
