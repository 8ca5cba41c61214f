//! Threads of a test that stand for processes: one of them runs at a time, from step to step, in an
//! order that a seed draws, and one may die at any of its steps.
//!
//! Who dies ends its thread by exit(2), so that the kernel finds its locks as after SIGKILL. Each has
//! an identity of its own. Sleep and time are made here: who sleeps is woken by others, or finds that
//! its time is over once nobody else can run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::unix::thread::JoinHandleExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::held_locks;
use super::word::AtomicU32;
use crate::queue::step::on_step;

/// The pid of the first party; no process of the system has so high a one.
pub(crate) const FIRST_PID: u32 = 4_000_000;

/// So often may all have waited until their time was over; then they wait for ever.
const LOOKS_MAX: u32 = 40;

/// Who has died, by their identities.
static DEAD: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

thread_local! {
    static ME: RefCell<Option<(Arc<Simulation>, usize)>> = const { RefCell::new(None) };
    static IDENTITY: Cell<Option<u64>> = const { Cell::new(None) };
}

/// One party's work.
pub(crate) type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// The step from which on a party may die.
pub(crate) const BEGINS: &str = "model: begins";

/// Which party dies, and at which of its steps, counted from where it [`BEGINS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct KilledAt {
    pub(crate) party: usize,
    pub(crate) at: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Party {
    Ready,
    /// It sleeps at the word of this address.
    Asleep(usize),
    Ended,
}

struct Simulation {
    seed: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    parties: Vec<Party>,
    /// Whether the last sleep of each was ended by another.
    woken: Vec<bool>,
    /// Who runs; nobody while a death is under way.
    turn: Option<usize>,
    dying: Option<usize>,
    has_died: bool,
    looks: u32,
    /// Which steps were made, and by whom.
    trace: Vec<(usize, &'static str)>,
    random: u64,
}

impl State {
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % limit as u64) as usize
    }

    /// Draws who runs next.
    fn draw(&mut self) {
        let ready = |parties: &[Party]| -> Vec<usize> {
            let all = parties.iter().enumerate();
            all.filter(|(_, party)| **party == Party::Ready)
                .map(|(number, _)| number)
                .collect()
        };
        let mut able = ready(&self.parties);
        if able.is_empty() {
            let sleepers = self
                .parties
                .iter_mut()
                .filter(|party| **party != Party::Ended);
            sleepers.for_each(|party| *party = Party::Ready);
            able = ready(&self.parties);
            self.looks += u32::from(!able.is_empty());
        }
        self.turn = match able.len() {
            0 => None,
            count => Some(able[self.below(count)]),
        };
    }

    fn is_stuck(&self) -> bool {
        self.looks > if self.has_died { LOOKS_MAX } else { 0 }
    }
}

impl Simulation {
    /// Waits for the turn of a party.
    fn wait(&self, me: usize) {
        let state = self.state.lock().unwrap();
        let others = |state: &mut State| state.turn != Some(me) && !state.is_stuck();
        let state = self.changed.wait_while(state, others).unwrap();
        let (seed, is_stuck, has_died) = (self.seed, state.is_stuck(), state.has_died);
        let trace = state.trace.clone();
        drop(state);
        match has_died {
            true => assert!(!is_stuck, "seed {seed}: they wait for ever: {trace:?}"),
            false => assert!(
                !is_stuck,
                "seed {seed}: they sleep, and nobody wakes them: {trace:?}"
            ),
        }
    }

    /// Makes a change of the state, and lets another run.
    fn pass<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap();
        let answer = change(&mut state);
        state.draw();
        self.changed.notify_all();
        answer
    }
}

/// The simulation in which the calling thread is a party.
fn mine() -> Option<(Arc<Simulation>, usize)> {
    ME.try_with(|me| me.borrow().clone()).ok().flatten()
}

/// The identity of the calling thread, if it is a party.
pub(super) fn identity() -> Option<u64> {
    IDENTITY.get()
}

/// Whether a party lives; `None` of a process that is none.
pub(super) fn is_alive(identity: u64, pid: u32) -> Option<bool> {
    (pid >= FIRST_PID).then(|| !DEAD.lock().unwrap().contains(&identity))
}

/// Sleeps at a word, if the calling thread is a party. Returns whether another woke it.
pub(super) fn sleep(word: &AtomicU32, expected: u32) -> Option<bool> {
    let (simulation, me) = mine()?;
    if word.load(Relaxed) != expected {
        return Some(true);
    }
    let address = word.as_ptr().addr();
    simulation.pass(|state| {
        state.parties[me] = Party::Asleep(address);
        state.woken[me] = false;
    });
    simulation.wait(me);
    Some(simulation.state.lock().unwrap().woken[me])
}

/// Wakes so many who sleep at a word; returns how many.
pub(super) fn wake(word: &AtomicU32, count: i32) -> Option<usize> {
    let (simulation, _) = mine()?;
    let address = word.as_ptr().addr();
    let mut state = simulation.state.lock().unwrap();
    let asleep = state.parties.iter().enumerate();
    let asleep = asleep.filter(|(_, party)| **party == Party::Asleep(address));
    let woken: Vec<usize> = asleep.map(|(number, _)| number).collect();
    let woken = &woken[..woken.len().min(usize::try_from(count).unwrap_or(0))];
    for &number in woken {
        state.parties[number] = Party::Ready;
        state.woken[number] = true;
    }
    Some(woken.len())
}

/// Runs the parties. Returns the step at which one died, if it came so far.
pub(crate) fn run(
    seed: u64,
    death: Option<KilledAt>,
    parties: Vec<Work<'_>>,
) -> Option<&'static str> {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let (run, count) = (RUNS.fetch_add(1, Relaxed), parties.len());
    let mut state = State {
        parties: vec![Party::Ready; count],
        woken: vec![false; count],
        turn: None,
        dying: None,
        has_died: false,
        looks: 0,
        trace: Vec::new(),
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
    };
    state.draw();
    let simulation = Arc::new(Simulation {
        seed,
        state: Mutex::new(state),
        changed: Condvar::new(),
    });
    let identity = |party: usize| run << 22 | u64::from(FIRST_PID) | party as u64;
    let step = Arc::new(Mutex::new(None));
    let threads = parties.into_iter().enumerate().map(|(me, work)| {
        let (simulation, step) = (Arc::clone(&simulation), Arc::clone(&step));
        let at = death
            .filter(|death| death.party == me)
            .map(|death| death.at);
        let identity = identity(me);
        start(Box::new(move || {
            IDENTITY.set(Some(identity));
            ME.set(Some((Arc::clone(&simulation), me)));
            let mut steps = None;
            let hooked = Arc::clone(&simulation);
            on_step(move |name| {
                if at.is_some() && at == steps {
                    *step.lock().unwrap() = Some(name);
                    die(&hooked, me);
                }
                steps = match steps {
                    Some(steps) => Some(steps + 1),
                    None => (name == BEGINS).then_some(0),
                };
                hooked.pass(|state| state.trace.push((me, name)));
                hooked.wait(me);
            });
            let _ends = Departure(Arc::clone(&simulation), me);
            simulation.wait(me);
            work();
        }))
    });
    let mut threads: Vec<Option<JoinHandle<()>>> = threads.map(Some).collect();
    bury(&simulation, &mut threads, identity);
    let ends: Vec<_> = threads
        .into_iter()
        .flatten()
        .map(JoinHandle::join)
        .collect();
    ends.into_iter().for_each(|end| {
        end.unwrap_or_else(|panic| resume_unwind(panic));
    });
    step.lock().unwrap().take()
}

/// A party has come to the end of its work, or to a panic.
struct Departure(Arc<Simulation>, usize);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.pass(|state| state.parties[self.1] = Party::Ended);
    }
}

/// Waits until all have ended. Whoever dies is gone before another runs.
fn bury(
    simulation: &Simulation,
    threads: &mut [Option<JoinHandle<()>>],
    identity: impl Fn(usize) -> u64,
) {
    loop {
        let state = simulation.state.lock().unwrap();
        let goes_on = |state: &mut State| {
            let has_ended = |party: &Party| *party == Party::Ended;
            state.dying.is_none() && !state.parties.iter().all(has_ended)
        };
        let mut state = simulation.changed.wait_while(state, goes_on).unwrap();
        let Some(dead) = state.dying.take() else {
            return;
        };
        await_death(threads[dead].take().expect("it dies once"));
        held_locks::forget(identity(dead));
        DEAD.lock().unwrap().insert(identity(dead));
        state.has_died = true;
        state.parties[dead] = Party::Ended;
        // The kernel has woken those who waited for its locks; others are woken for no reason.
        for number in 0..state.parties.len() {
            if let Party::Asleep(_) = state.parties[number] {
                state.parties[number] = Party::Ready;
                state.woken[number] = true;
            }
        }
        state.draw();
        simulation.changed.notify_all();
    }
}

fn start(work: Work<'_>) -> JoinHandle<()> {
    // SAFETY: `run` does not return before all threads have ended, so what they borrow lives on.
    let thread = unsafe { thread::Builder::new().spawn_unchecked(work) };
    thread.expect("a thread")
}

/// Ends the calling thread, and nothing else of it runs.
fn die(simulation: &Simulation, me: usize) -> ! {
    held_locks::end_at_once();
    let mut state = simulation.state.lock().unwrap();
    (state.turn, state.dying) = (None, Some(me));
    drop(state);
    simulation.changed.notify_all();
    // SAFETY: the thread ends here; what it has on its stack is never used again but by the kernel.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

/// Waits until the kernel has ended a thread that dies.
fn await_death(thread: JoinHandle<()>) {
    let thread = thread.into_pthread_t();
    // SAFETY: the thread was neither joined nor detached before.
    unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
}
