//! Tasks that are submitted by name: the rules of each, and where it is.
//!
//! Such a task is an item of its queue, as any other. While it is delayed, or waits to be tried
//! again, it is out on a lease that nobody holds; how long it may take is the time of its worker's
//! lease. What is said here of a task is seen by all who have its item, so that it is cancelled in
//! one step wherever it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::item_queue::{Death, ItemQueue, QueuedItem, TaskOrigin};
use super::leases::Holder;
use super::memory::{NewItem, cost};
use super::queues::{Queues, over};
use crate::wire::pickle::to_item;
use crate::wire::protocol::Fault;
use crate::{Priority, random};

/// So many tasks may be known that are none any more before those are looked for.
const FORGOTTEN_MIN: usize = 1024;

/// What a client wants of the tasks that it submits.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskRules {
    pub(super) priority: Priority,
    pub(super) delay: Option<Duration>,
    /// How often a task is tried again; as its queue says if not said.
    pub(super) retries: Option<u32>,
    /// The pause before the first of these, and the longest.
    pub(super) backoff: (Duration, Duration),
    pub(super) time_limit: Option<Duration>,
}

/// A task that was submitted.
#[derive(Debug)]
pub(super) struct SubmittedTask {
    pub(super) queue: Arc<str>,
    pub(super) rules: TaskRules,
    stage: Mutex<TaskStage>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskStage {
    /// On its way into its queue.
    New,
    Waiting,
    /// Out on this lease: a worker's, or nobody's.
    Out(u64),
    Cancelled,
    /// It has an outcome.
    Over,
}

impl SubmittedTask {
    pub(super) fn stage(&self) -> TaskStage {
        *self.stage.lock().unwrap()
    }

    pub(super) fn set(&self, stage: TaskStage) {
        *self.stage.lock().unwrap() = stage;
    }
}

/// The tasks and the workers that are known by name.
#[derive(Default)]
pub(super) struct SubmittedTasks {
    tasks: HashMap<String, Weak<TaskOrigin>>,
    /// How many there may be before those that are gone are forgotten.
    most: usize,
    /// What the workers of connections call themselves, and the queue of each that has the ids of
    /// tasks whose results nobody waits for any more.
    workers: BTreeMap<u64, (Arc<str>, Arc<str>)>,
}

impl SubmittedTasks {
    pub(super) fn find(&self, id: &str) -> Option<Arc<TaskOrigin>> {
        self.tasks.get(id)?.upgrade()
    }

    /// Notes a task. What is gone is forgotten each time that so many have come, so that it costs
    /// each the same.
    fn note(&mut self, task: &Arc<TaskOrigin>) {
        self.tasks.insert(task.id.clone(), Arc::downgrade(task));
        if self.tasks.len() > self.most {
            self.tasks.retain(|_, task| task.strong_count() > 0);
            self.most = 2 * self.tasks.len() + FORGOTTEN_MIN;
        }
    }
}

impl Queues {
    /// What tasks are known by that are submitted to a queue, under ids of which none is known: so
    /// a call that is made again after a lost reply submits nothing twice. None in place of a task
    /// that is known.
    pub(super) fn submitted(
        &mut self,
        ident: &str,
        reply: &str,
        ids: &[String],
        rules: TaskRules,
    ) -> Result<Vec<Option<Arc<TaskOrigin>>>, Fault> {
        let queue = self.queue(ident)?;
        if !queue.has_dead_queue() || queue.is_reply {
            let text = format!("'{ident}' takes no tasks by name: use a queue that has a name");
            return Err(Fault::new("ValueError", text));
        }
        let queue = Arc::clone(&queue.ident);
        let reply = match reply {
            "" => Arc::from(""),
            reply => self.reply_queue(reply)?,
        };
        let submitted = |id: &String| {
            if self.tasks.find(id).is_some() {
                return None;
            }
            let task = Arc::new(TaskOrigin {
                id: id.clone(),
                reply: Arc::clone(&reply),
                submitted: Some(SubmittedTask {
                    queue: Arc::clone(&queue),
                    rules,
                    stage: Mutex::new(TaskStage::New),
                }),
            });
            self.tasks.note(&task);
            Some(task)
        };
        Ok(ids.iter().map(submitted).collect())
    }

    /// Keeps a task out of its queue for so long: until then it is out, and nobody has it.
    pub(super) fn delay(&mut self, ident: &Arc<str>, item: QueuedItem, time: Duration) {
        let until = Instant::now().checked_add(time);
        self.grant(ident, item, Holder::Anyone(None), until);
    }

    /// The same for tasks that were put before their time.
    pub(super) fn delay_all(&mut self, ident: &Arc<str>, items: Vec<QueuedItem>) {
        for item in items {
            let delay = item.submitted().and_then(|task| task.rules.delay);
            self.delay(ident, item, delay.unwrap_or_default());
        }
    }

    /// The time of a lease is over: that of a delay, of a pause, or of the work.
    pub(super) fn lapse(&mut self, lease: u64) -> Result<(), Fault> {
        let record = self.leases.get(lease).ok_or_else(|| over(lease))?;
        let (holder, deliveries) = (record.holder, record.item.deliveries);
        let limit = record
            .item
            .submitted()
            .and_then(|task| task.rules.time_limit);
        let is_delayed = matches!(holder, Holder::Anyone(_)) && record.item.submitted().is_some();
        if is_delayed && deliveries == 0 {
            let ended = self.leases.end(lease).ok_or_else(|| over(lease))?;
            if let Some(queue) = self.get_mut(&ended.ident) {
                queue.line_up(ended.item);
                self.serve(&ended.ident);
            }
            return Ok(());
        }
        let task = record.item.task.clone();
        match (limit, task) {
            (Some(limit), Some(task)) if !is_delayed => {
                let reason = format!("it took longer than its time limit of {limit:?}");
                // Told before the next try can begin, which may be with the same worker.
                self.stop_work(holder, &task, deliveries);
                self.give_back(lease, Some(&reason))
            }
            _ => self.give_back(lease, None),
        }
    }

    /// Notes that an item is out.
    pub(super) fn grant(
        &mut self,
        ident: &Arc<str>,
        item: QueuedItem,
        holder: Holder,
        expires: Option<Instant>,
    ) -> u64 {
        // An outcome on its way to its submitter is a task no more.
        let task = item.task.clone().filter(|_| item.death.is_none());
        let lease = self.leases.grant(ident, item, holder, expires);
        if let Some(submitted) = task.as_ref().and_then(|task| task.submitted.as_ref())
            && submitted.stage() != TaskStage::Over
        {
            submitted.set(TaskStage::Out(lease));
        }
        lease
    }

    /// Ends a task with its result.
    pub(super) fn finish_task(&mut self, lease: u64, result: NewItem) -> Result<(), Fault> {
        let record = self.leases.get(lease).ok_or_else(|| over(lease))?;
        let Some(task) = record.item.task.clone() else {
            let text = "this is no task that was submitted by name: put its result";
            return Err(Fault::new("ValueError", text));
        };
        let never =
            |reply: &ItemQueue| reply.never_fits(std::slice::from_ref(&result), &self.memory);
        if let Some(text) = self.get(&task.reply).and_then(never) {
            return Err(Fault::new("ValueError", text));
        }
        let freed = cost(&record.item.code);
        let reply = self.get_mut(&task.reply);
        if reply.is_some_and(|reply| !reply.budget.may_exchange(freed, cost(&result))) {
            return Err(Fault::full());
        }
        self.end_task(lease, &task);
        if let Some(reply) = self.get_mut(&task.reply) {
            let ident = Arc::clone(&reply.ident);
            reply.push(vec![result], vec![task]);
            self.serve(&ident);
        }
        Ok(())
    }

    /// Ends the lease of a task that has its outcome.
    fn end_task(&mut self, lease: u64, task: &TaskOrigin) {
        let ended = self.leases.end(lease);
        if let Some(submitted) = &task.submitted {
            submitted.set(TaskStage::Over);
        }
        if let Some(ended) = ended
            && let Some(queue) = self.get_mut(&ended.ident)
        {
            // For `join` it is done, and may be so already.
            let _ = queue.finish();
        }
    }

    /// Cancels a task. False when there is none of this id that could have a result yet.
    pub(super) fn cancel(&mut self, id: &str) -> bool {
        let Some(task) = self.tasks.find(id) else {
            return false;
        };
        let Some(submitted) = &task.submitted else {
            return false;
        };
        let mut tries = 0;
        match submitted.stage() {
            TaskStage::Over | TaskStage::Cancelled => return false,
            TaskStage::New => submitted.set(TaskStage::Cancelled),
            TaskStage::Waiting => {
                submitted.set(TaskStage::Cancelled);
                if let Some(queue) = self.get_mut(&submitted.queue) {
                    queue.note_cancelled();
                }
            }
            TaskStage::Out(lease) => {
                let Some(record) = self.leases.end(lease) else {
                    return false;
                };
                tries = record.item.deliveries;
                submitted.set(TaskStage::Cancelled);
                if let Some(queue) = self.get_mut(&submitted.queue) {
                    let _ = queue.finish();
                }
                self.stop_work(record.holder, &task, tries);
            }
        }
        self.serve(&submitted.queue);
        self.tell_of_cancellation(&task, tries);
        true
    }

    /// Tells the submitter of a task that it is cancelled.
    pub(super) fn tell_of_cancellation(&mut self, task: &Arc<TaskOrigin>, tries: u32) {
        let death = Death {
            tries,
            reason: "it was cancelled".to_string(),
            worker: None,
            is_cancelled: true,
        };
        self.tell_of_death(Arc::clone(task), &Arc::new(death));
    }

    /// Notes what the worker of a connection calls itself.
    pub(super) fn note_worker(&mut self, ident: &str, connection: u64, name: &str) {
        let workers = &mut self.tasks.workers;
        let known = workers.get(&connection);
        if !name.is_empty() && known.is_none_or(|(known, _)| **known != *name) {
            let stops = format!("{ident}@{name}").into();
            workers.insert(connection, (name.into(), stops));
        }
    }

    /// A connection has ended. With the last one of a worker the queue goes that told it to stop.
    pub(super) fn forget_worker(&mut self, connection: u64) {
        let workers = &mut self.tasks.workers;
        if let Some((_, stops)) = workers.remove(&connection)
            && !workers.values().any(|(_, other)| *other == stops)
        {
            self.drop_reply(&stops);
        }
    }

    /// What the worker that holds a lease calls itself.
    pub(super) fn worker_of(&self, holder: Holder) -> Option<Arc<str>> {
        let (connection, _) = holder.connection()?;
        let (name, _) = self.tasks.workers.get(&connection)?;
        Some(Arc::clone(name))
    }

    /// Tells the worker that had a task that nobody waits for the result of this try any more.
    fn stop_work(&mut self, holder: Holder, task: &TaskOrigin, attempt: u32) {
        let connection = holder.connection().map(|(connection, _)| connection);
        let workers = &self.tasks.workers;
        let Some((_, ident)) = connection.and_then(|connection| workers.get(&connection)) else {
            return;
        };
        let ident = Arc::clone(ident);
        let told = to_item(&(&*task.id, attempt));
        if let (Some(queue), Ok(told)) = (self.get_mut(&ident), told) {
            queue.push(vec![told.into()], Vec::new());
            self.serve(&ident);
        }
    }
}

impl TaskRules {
    /// How long to wait before a task is tried again that has failed so often.
    pub(super) fn pause(&self, tries: u32) -> Duration {
        random::backoff(self.backoff.0, self.backoff.1, tries)
    }
}
