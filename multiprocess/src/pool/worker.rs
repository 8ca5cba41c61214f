//! A worker: takes tasks, runs them, puts results, until the task queue is closed and empty.

use std::{
    io::{self, Write},
    process,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::Duration,
};

use super::{
    control::{Phase, Slot},
    message,
    shared::{Initializer, PoolShared},
};
use crate::{
    Error,
    panics::Panics,
    queue::raw::Wait,
    sys::{call::Function, fork::exit_now, group},
};

/// The life of the worker in slot `index`, in a process just forked from the supervisor.
pub(crate) fn run(shared: &mut PoolShared, index: usize, supervisor: i32) -> ! {
    group::lead_and_die_with(supervisor);
    let pid = &shared.control.slots[index].pid;
    pid.store(process::id(), SeqCst);
    shared.name_process(&index.to_string());
    // Taken out, since the descriptors are to be the argument's.
    let initializer = shared.initializer.take();
    let mut worker = Worker {
        shared,
        index,
        slot: &shared.control.slots[index],
        panics: Panics::watch(|_| ()),
        message: Vec::new(),
    };
    let code = worker.work(initializer);
    let _ = io::stdout().flush();
    exit_now(code)
}

struct Worker<'a> {
    shared: &'a PoolShared,
    index: usize,
    slot: &'a Slot,
    panics: Panics,
    message: Vec<u8>,
}

impl Worker<'_> {
    fn work(&mut self, initializer: Option<Initializer>) -> i32 {
        if let Some(initializer) = initializer
            && let Err(error) = self.panics.catch(|| initializer.run(&mut Vec::new()))
        {
            self.report(message::INITIALIZER, &error);
            return 1;
        }
        self.slot.set_phase(Phase::Working);
        self.shared.control.started.fetch_add(1, SeqCst);
        let mut task = Vec::new();
        let mut done = 0;
        while self.shared.max_tasks_per_child.is_none_or(|max| done < max) {
            let claim = |number, _: &[u8]| {
                let control = &self.shared.control;
                control.claim(self.index, number, self.shared.now());
            };
            match self.shared.tasks.get(&mut task, Wait::Forever, claim) {
                Ok((number, len)) => self.perform(number, &task[..len]),
                Err(_) => {
                    self.slot.set_phase(Phase::Drained);
                    break;
                }
            }
            done += 1;
        }
        0
    }

    /// Runs a task, unless it was cancelled, and reports.
    fn perform(&mut self, number: u64, task: &[u8]) {
        let control = &self.shared.control;
        if !control.is_cancelled(control.words(), number) {
            message::begin_result(number, &mut self.message);
            let message = &mut self.message;
            let outcome = self.panics.catch(|| {
                let task = Function::split_from(task);
                let (function, argument) = task.expect("a task starts with its function");
                function.call(argument, message)
            });
            // The output first: whoever has the result may rely on it.
            let _ = io::stdout().flush();
            let results = &self.shared.results;
            let sent = outcome.and_then(|()| results.put(&self.message, Wait::Forever));
            if let Err(error) = sent {
                self.report(number, &error);
            }
        }
        if !self.slot.release(number) {
            // Marked for the kill: another task would be killed in the place of this one.
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }
    }

    /// Puts a message that there is no result.
    fn report(&mut self, number: u64, error: &Error) {
        message::write_error(number, error, &mut self.message);
        // The queue is never closed, and refuses no short message.
        let _ = self.shared.results.put(&self.message, Wait::Forever);
    }
}
