//! What two threads do, step by step, and every order in which they can: the one description that
//! the page, its script and the real threads take their steps from.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Two threads, and the memory that they share: one variable, locks, and the slots of a queue.
#[derive(Debug)]
pub(super) struct Exploration {
    pub(super) name: &'static str,
    pub(super) title: Said,
    pub(super) lesson: Said,
    pub(super) variable: &'static str,
    /// The local variable that each thread has of its own.
    pub(super) register: &'static str,
    pub(super) locks: &'static [&'static str],
    /// How many slots the queue has; the variable is its tail then.
    pub(super) slots: usize,
    pub(super) programs: [&'static [Statement]; 2],
    pub(super) goals: &'static [Goal],
}

/// A text in English and in Chinese.
pub(super) type Said = (&'static str, &'static str);

/// A line of a program, and the steps that it takes.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) python: &'static str,
    pub(super) actions: &'static [Action],
}

/// One step of a thread: nothing of another thread comes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(super) enum Action {
    /// Reads the variable into the register.
    Load,
    /// Writes the register, with something added, to the variable.
    Store {
        add: i64,
    },
    /// Writes an item to the slot that the register names.
    Put {
        item: i64,
    },
    Acquire {
        lock: usize,
    },
    Release {
        lock: usize,
    },
}

/// What a learner is to bring about.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) text: Said,
    pub(super) when: Condition,
}

/// When a goal is reached.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    Ends(&'static str),
    EndsOtherThan(&'static str),
    EndsDespiteOverwriting(&'static str),
    Loses(usize),
    Waits(usize),
}

/// How a play ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Variable(i64),
    Queue(Vec<i64>),
    Deadlock,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Variable(value) => write!(f, "{value}"),
            Ending::Queue(items) => write!(f, "{items:?}"),
            Ending::Deadlock => f.write_str("deadlock"),
        }
    }
}

/// Why a thread cannot take a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Done,
    Waits { lock: usize },
}

/// A step that was taken.
#[derive(Clone, Debug)]
pub(super) struct TakenStep {
    pub(super) thread: usize,
    pub(super) action: Action,
    /// What was read or written.
    pub(super) value: Option<i64>,
    /// Where an item was put.
    pub(super) slot: Option<usize>,
    /// Which steps of the other thread wrote what this one overwrites unseen, counted from 1.
    pub(super) overwrites: Vec<usize>,
}

/// Both threads somewhere on their way.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) exploration: &'static Exploration,
    pub(super) variable: i64,
    pub(super) registers: [Option<i64>; 2],
    pub(super) slots: Vec<Option<i64>>,
    holders: Vec<Option<usize>>,
    pub(super) taken: Vec<TakenStep>,
}

impl Exploration {
    pub(super) fn actions(&self, thread: usize) -> impl Iterator<Item = Action> {
        let statements = self.programs[thread].iter();
        statements.flat_map(|statement| statement.actions.iter().copied())
    }

    /// Every order in which the threads can take their steps until neither can.
    pub(super) fn plays(&'static self) -> Vec<Play> {
        let mut plays = Vec::new();
        Play::new(self).finish_in_every_order(&mut plays);
        plays
    }

    /// How often which ending comes, with the first order that leads to it.
    pub(super) fn outcomes(&'static self) -> BTreeMap<Ending, (usize, Play)> {
        let mut outcomes = BTreeMap::new();
        for play in self.plays() {
            let ending = play.ending().expect("it was played to its end");
            outcomes.entry(ending).or_insert((0, play)).0 += 1;
        }
        outcomes
    }
}

impl Play {
    pub(super) fn new(exploration: &'static Exploration) -> Play {
        Play {
            exploration,
            variable: 0,
            registers: [None; 2],
            slots: vec![None; exploration.slots],
            holders: vec![None; exploration.locks.len()],
            taken: Vec::new(),
        }
    }

    /// The order of its steps, as letters.
    pub(super) fn schedule(&self) -> String {
        let letters = self.taken.iter().map(|taken| letter(taken.thread));
        letters.collect()
    }

    pub(super) fn steps_left(&self, thread: usize) -> usize {
        let taken = self.taken.iter().filter(|taken| taken.thread == thread);
        self.exploration.actions(thread).count() - taken.count()
    }

    fn next(&self, thread: usize) -> Option<Action> {
        let taken = self.taken.iter().filter(|taken| taken.thread == thread);
        self.exploration.actions(thread).nth(taken.count())
    }

    pub(super) fn obstacle(&self, thread: usize) -> Option<Obstacle> {
        match self.next(thread) {
            None => Some(Obstacle::Done),
            Some(Action::Acquire { lock }) if self.holders[lock].is_some() => {
                Some(Obstacle::Waits { lock })
            }
            Some(_) => None,
        }
    }

    /// How it ended, once no thread can take a step.
    pub(super) fn ending(&self) -> Option<Ending> {
        match [0, 1].map(|thread| self.obstacle(thread)) {
            [Some(Obstacle::Done), Some(Obstacle::Done)] if self.slots.is_empty() => {
                Some(Ending::Variable(self.variable))
            }
            [Some(Obstacle::Done), Some(Obstacle::Done)] => {
                let tail = usize::try_from(self.variable).expect("a tail is never below 0");
                let items = self.slots.iter().take(tail);
                Some(Ending::Queue(items.copied().flatten().collect()))
            }
            [Some(_), Some(_)] => Some(Ending::Deadlock),
            _ => None,
        }
    }

    /// How many items were put that are not in the queue in the end, if it has one.
    pub(super) fn lost(&self) -> Option<usize> {
        let puts = |action: &Action| matches!(action, Action::Put { .. });
        let put: usize = [0, 1]
            .map(|thread| self.exploration.actions(thread).filter(puts).count())
            .iter()
            .sum();
        match self.ending() {
            Some(Ending::Queue(items)) => Some(put - items.len()),
            _ => None,
        }
    }

    /// Lets a thread that can take its next step take it.
    pub(super) fn step(&mut self, thread: usize) {
        let action = self.next(thread).expect("the thread is not done");
        let (mut value, mut slot) = (None, None);
        let overwrites = self.overwrites(thread, action);
        let register = || self.registers[thread].expect("a program begins with a load");
        match action {
            Action::Load => {
                value = Some(self.variable);
                self.registers[thread] = value;
            }
            Action::Store { add } => {
                self.variable = register() + add;
                value = Some(self.variable);
            }
            Action::Put { item } => {
                let at = usize::try_from(register()).expect("a tail is never below 0");
                (value, slot) = (Some(item), Some(at));
                self.slots[at] = value;
            }
            Action::Acquire { lock } => self.holders[lock] = Some(thread),
            Action::Release { lock } => self.holders[lock] = None,
        }
        self.taken.push(TakenStep {
            thread,
            action,
            value,
            slot,
            overwrites,
        });
    }

    /// The steps of the other thread that wrote what this one overwrites without having seen it.
    fn overwrites(&self, thread: usize, action: Action) -> Vec<usize> {
        let loads = |taken: &TakenStep| taken.thread == thread && taken.action == Action::Load;
        let last_load = self.taken.iter().rposition(loads);
        let slot = self.registers[thread].map(|at| at as usize);
        let is_same_place = |(at, taken): &(usize, &TakenStep)| match (action, taken.action) {
            (Action::Store { .. }, Action::Store { .. }) => Some(*at) > last_load,
            (Action::Put { .. }, Action::Put { .. }) => taken.slot == slot,
            _ => false,
        };
        let others = self.taken.iter().enumerate();
        let others = others.filter(|(_, taken)| taken.thread != thread);
        others.filter(is_same_place).map(|(at, _)| at + 1).collect()
    }

    fn finish_in_every_order(self, plays: &mut Vec<Play>) {
        let able = [0, 1].map(|thread| self.obstacle(thread).is_none());
        if able == [false; 2] {
            return plays.push(self);
        }
        for thread in (0..2).filter(|thread| able[*thread]) {
            let mut play = self.clone();
            play.step(thread);
            play.finish_in_every_order(plays);
        }
    }

    /// Whether a goal is reached at this moment.
    fn meets(&self, condition: Condition) -> bool {
        let ending = self.ending().map(|ending| ending.to_string());
        let ends = |wanted: &str| ending.as_deref() == Some(wanted);
        match condition {
            Condition::Ends(wanted) => ends(wanted),
            Condition::EndsOtherThan(usual) => ending.is_some() && !ends(usual),
            Condition::EndsDespiteOverwriting(wanted) => {
                ends(wanted) && self.taken.iter().any(|taken| !taken.overwrites.is_empty())
            }
            Condition::Loses(items) => self.lost() == Some(items),
            Condition::Waits(thread) => {
                matches!(self.obstacle(thread), Some(Obstacle::Waits { .. }))
            }
        }
    }

    /// The play as far as the moment in which a goal was reached, if it was.
    pub(super) fn until(&self, goal: Condition) -> Option<Play> {
        let mut again = Play::new(self.exploration);
        let mut taken = self.taken.iter();
        while !again.meets(goal) {
            again.step(taken.next()?.thread);
        }
        Some(again)
    }
}

/// What a thread is called, in schedules too.
pub(super) fn letter(thread: usize) -> char {
    ['A', 'B'][thread]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::explore::cases::EXPLORATIONS;

    fn binomial(n: usize, k: usize) -> usize {
        (1..=k).fold(1, |product, i| product * (n - k + i) / i)
    }

    #[test]
    fn threads_that_never_wait_have_as_many_orders_as_the_binomial_coefficient() {
        for exploration in EXPLORATIONS.iter().filter(|one| one.locks.is_empty()) {
            let [a, b] = [0, 1].map(|thread| exploration.actions(thread).count());
            let plays = exploration.plays().len();
            assert_eq!(plays, binomial(a + b, a), "{}", exploration.name);
        }
        let [race, .., queue] = &EXPLORATIONS;
        assert_eq!((race.plays().len(), queue.plays().len()), (70, 84));
    }

    /// All words of A and B up to the number of steps, tried one by one without looking ahead.
    fn brute_force(exploration: &'static Exploration) -> BTreeMap<Ending, usize> {
        let steps: usize = [0, 1]
            .map(|thread| exploration.actions(thread).count())
            .iter()
            .sum();
        let mut counts = BTreeMap::new();
        for length in 0..=steps {
            for word in 0..1_u32 << length {
                let mut play = Play::new(exploration);
                let possible = (0..length).all(|at| {
                    let thread = (word >> at & 1) as usize;
                    let free = play.obstacle(thread).is_none();
                    if free {
                        play.step(thread);
                    }
                    free
                });
                if let (true, Some(ending)) = (possible, play.ending()) {
                    *counts.entry(ending).or_default() += 1;
                }
            }
        }
        counts
    }

    #[test]
    fn the_outcomes_are_those_of_all_words_of_a_and_b() {
        for exploration in &EXPLORATIONS {
            let outcomes = exploration.outcomes();
            let counts = outcomes
                .iter()
                .map(|(ending, (count, _))| (ending.clone(), *count));
            let counts: BTreeMap<Ending, usize> = counts.collect();
            assert_eq!(counts, brute_force(exploration), "{}", exploration.name);
            for (ending, (_, play)) in outcomes {
                assert_eq!(play.ending(), Some(ending));
            }
        }
    }

    #[test]
    fn no_order_comes_twice() {
        for exploration in &EXPLORATIONS {
            let schedules: Vec<String> = exploration.plays().iter().map(Play::schedule).collect();
            let different: BTreeSet<&String> = schedules.iter().collect();
            assert_eq!(schedules.len(), different.len(), "{}", exploration.name);
        }
    }

    #[test]
    fn every_goal_is_reached_by_some_order_but_a_wrong_balance_behind_the_lock() {
        for exploration in &EXPLORATIONS {
            let plays = exploration.plays();
            for goal in exploration.goals {
                let reached = plays.iter().any(|play| play.until(goal.when).is_some());
                let impossible = matches!(goal.when, Condition::EndsOtherThan(_));
                assert_eq!(reached, !impossible, "{}", goal.text.0);
            }
        }
    }

    #[test]
    fn a_store_that_was_not_seen_is_overwritten() {
        let mut play = Play::new(&EXPLORATIONS[0]);
        for thread in [0, 1, 0, 1] {
            play.step(thread);
        }
        assert_eq!(play.taken[2].overwrites, [0; 0]);
        assert_eq!(
            play.taken[3].overwrites,
            [3],
            "A stored 5 in step 3, B had read 0"
        );
        assert_eq!(play.variable, 8);
    }

    #[test]
    fn an_item_in_the_same_slot_is_overwritten_however_early_it_came() {
        let mut play = Play::new(&EXPLORATIONS[3]);
        for thread in [1, 1, 0, 1, 0] {
            play.step(thread);
        }
        assert_eq!(play.taken[4].overwrites, [2], "B put 3 in step 2");
    }

    #[test]
    fn the_lock_leaves_two_of_the_70_orders() {
        let [race, lock, ..] = &EXPLORATIONS;
        assert_eq!((race.plays().len(), lock.plays().len()), (70, 2));
        assert!(
            lock.lesson
                .0
                .contains("Of the 70 orders of In [13], two are left")
        );
    }
}
