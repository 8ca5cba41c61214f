//! The steps of an exploration by two real threads, which take turns as a schedule says.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;

use anyhow::{Context, bail};

use super::model::{Action, Exploration, Play, letter};

/// What the threads share. A slot without an item holds 0.
struct RealMemory {
    variable: AtomicI64,
    slots: Vec<AtomicI64>,
    locks: Vec<Mutex<()>>,
}

/// What a thread says of its turn.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Taken {
        register: Option<i64>,
    },
    /// Another thread holds the lock.
    Waits,
}

/// Takes the steps of a play with real threads.
///
/// # Errors
///
/// When a thread finds other values than the model has, or a lock in another state.
pub(super) fn run(play: &Play) -> anyhow::Result<()> {
    let exploration = play.exploration;
    let memory = RealMemory {
        variable: AtomicI64::new(0),
        slots: (0..exploration.slots).map(|_| AtomicI64::new(0)).collect(),
        locks: exploration.locks.iter().map(|_| Mutex::new(())).collect(),
    };
    thread::scope(|scope| {
        let threads = [0, 1].map(|thread| {
            let (give, turns) = mpsc::channel();
            let (say, said) = mpsc::channel();
            let memory = &memory;
            scope.spawn(move || obey(exploration, thread, memory, &turns, &say));
            (give, said)
        });
        let take = |thread: usize| {
            let (give, said) = &threads[thread];
            let attempt = || format!("give the turn to thread {}", letter(thread));
            give.send(()).with_context(attempt)?;
            said.recv().with_context(attempt)
        };
        let mut model = Play::new(exploration);
        for taken in &play.taken {
            model.step(taken.thread);
            let turn = take(taken.thread)?;
            compare(&model, taken.thread, &turn, &memory)?;
        }
        // Whoever waits for ever in the model does not get its lock here either.
        for thread in (0..2).filter(|thread| play.steps_left(*thread) > 0) {
            let turn = take(thread)?;
            if turn != Turn::Waits {
                bail!(
                    "thread {} got a lock that it should wait for",
                    letter(thread)
                );
            }
        }
        Ok(())
    })
}

/// The thread: a step for each turn, until no more turns come.
fn obey(
    exploration: &Exploration,
    thread: usize,
    memory: &RealMemory,
    turns: &Receiver<()>,
    say: &Sender<Turn>,
) {
    let mut register = None;
    let mut guards: Vec<Option<MutexGuard<()>>> = memory.locks.iter().map(|_| None).collect();
    let mut actions = exploration.actions(thread).peekable();
    while let (Ok(()), Some(action)) = (turns.recv(), actions.peek()) {
        let mut waits = false;
        match (*action, register) {
            (Action::Load, _) => register = Some(memory.variable.load(SeqCst)),
            (Action::Store { add }, Some(x)) => memory.variable.store(x + add, SeqCst),
            (Action::Put { item }, Some(at)) => memory.slots[at as usize].store(item, SeqCst),
            (Action::Acquire { lock }, _) => match memory.locks[lock].try_lock() {
                Ok(guard) => guards[lock] = Some(guard),
                Err(TryLockError::WouldBlock) => waits = true,
                Err(TryLockError::Poisoned(_)) => return,
            },
            (Action::Release { lock }, _) => guards[lock] = None,
            (Action::Store { .. } | Action::Put { .. }, None) => return,
        }
        let turn = match waits {
            true => Turn::Waits,
            false => Turn::Taken { register },
        };
        if !waits {
            actions.next();
        }
        if say.send(turn).is_err() {
            return;
        }
    }
}

/// Whether the threads have what the model has.
fn compare(model: &Play, thread: usize, turn: &Turn, memory: &RealMemory) -> anyhow::Result<()> {
    let register = model.registers[thread];
    let variable = memory.variable.load(SeqCst);
    let slots = memory.slots.iter().map(|slot| slot.load(SeqCst));
    let same_slots = slots.eq(model.slots.iter().map(|slot| slot.unwrap_or(0)));
    if *turn != (Turn::Taken { register }) || variable != model.variable || !same_slots {
        bail!(
            "step {}: the threads have {turn:?} and {} {variable}, and the model {} {}",
            model.taken.len(),
            model.exploration.variable,
            register.map_or("nothing".to_string(), |value| value.to_string()),
            model.variable,
        );
    }
    Ok(())
}
