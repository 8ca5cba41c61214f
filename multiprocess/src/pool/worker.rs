//! A worker: takes tasks, runs them, puts results, until the task queue is closed and empty.

use std::{
    any::Any,
    io::{self, Write},
    mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    thread,
    time::Duration,
};

use super::{
    control::{Phase, Slot},
    message::{self, Ending},
    shared::{Initializer, PoolShared},
};
use crate::{
    Result,
    queue::raw::Wait,
    sys::{call::Function, fork::exit_now, group},
};

/// The life of the worker in slot `index`, in a process just forked from the supervisor.
pub(crate) fn run(shared: &mut PoolShared, index: usize, supervisor: i32) -> ! {
    group::lead_and_die_with(supervisor);
    shared.name_process(&index.to_string());
    // Taken out, since the descriptors are to be the argument's.
    let initializer = shared.initializer.take();
    let mut worker = Worker {
        shared,
        index,
        slot: &shared.control.slots[index],
        location: watch_panics(),
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
    /// Where the latest panic was.
    location: Arc<Mutex<String>>,
    message: Vec<u8>,
}

impl Worker<'_> {
    fn work(&mut self, initializer: Option<Initializer>) -> i32 {
        if let Some(initializer) = initializer
            && let Err(ending) = self.guarded(|result| initializer.run(result))
        {
            self.end(message::INITIALIZER, &ending);
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
            let outcome = self.guarded(|result| {
                message::begin_result(number, result);
                let task = Function::split_from(task);
                let (function, argument) = task.expect("a task starts with its function");
                function.call(argument, result)
            });
            // The output first: whoever has the result may rely on it.
            let _ = io::stdout().flush();
            let sent = outcome.and_then(|()| {
                let put = self.shared.results.put(&self.message, Wait::Forever);
                put.map_err(Ending::of_error)
            });
            if let Err(ending) = sent {
                self.end(number, &ending);
            }
        }
        if !self.slot.release(number) {
            // Condemned: another task would be killed in the place of this one.
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }
    }

    /// Puts a message that there is no result.
    fn end(&mut self, number: u64, ending: &Ending) {
        message::write_ending(number, ending, &mut self.message);
        // The queue is never closed, and refuses no short message.
        let _ = self.shared.results.put(&self.message, Wait::Forever);
    }

    /// Does `work` with the message's buffer, and catches its panic.
    fn guarded(&mut self, work: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<(), Ending> {
        let message = &mut self.message;
        match panic::catch_unwind(AssertUnwindSafe(|| work(message))) {
            Ok(done) => done.map_err(Ending::of_error),
            Err(payload) => {
                let message = text(&*payload).to_string();
                // Its destructor could panic again.
                mem::forget(payload);
                let location = self.location.lock().unwrap().clone();
                Err(Ending::Panicked { message, location })
            }
        }
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
        .unwrap_or("a value that is not text")
}

/// Notes where a panic was, beside what the program's own hook does with it.
fn watch_panics() -> Arc<Mutex<String>> {
    let place = Arc::new(Mutex::new("an unknown place".to_string()));
    let latest = Arc::clone(&place);
    // The hook cannot be changed during a panic, that is if a destructor made the pool.
    if !thread::panicking() {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if let Some(location) = info.location() {
                *latest.lock().unwrap() = location.to_string();
            }
            print(info);
        }));
    }
    place
}
