//! `explore`: the learner is the scheduler of two threads. The page lets them step; a schedule on
//! the command line is taken by real threads.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::Exit;
use crate::cli::{ExploreOptions, Lang};
use crate::output::{self, OutputFile, complain, say};
use crate::report::{nothing_to_open, open_in_browser};
use crate::translations::padded;

mod cases;
mod model;
mod native;
mod page;
mod words;

use cases::EXPLORATIONS;
use model::{Exploration, Obstacle, Play, letter};

/// The longest bar, in characters.
const BAR: usize = 40;

pub(crate) fn explore(options: &ExploreOptions, lang: Lang) -> anyhow::Result<Exit> {
    let exploration = &EXPLORATIONS[options.threads as usize];
    let play = match (&options.schedule, options.seed) {
        (Some(schedule), _) => follow(exploration, schedule, lang),
        (None, Some(seed)) => Ok(draw(exploration, seed)),
        (None, None) => {
            output::leave_to(&options.output);
            if let Some(stdout @ OutputFile::Stdout) = &options.output {
                if options.open {
                    return Ok(nothing_to_open(lang));
                }
                print_outcomes(exploration, lang)?;
                stdout.write(&page::page(exploration, lang)?)?;
                return Ok(Exit::Held);
            }
            print_outcomes(exploration, lang)?;
            let file = options.output.as_ref().and_then(OutputFile::path);
            let file = page::write(exploration, lang, file)?;
            say!("{}", file.display())?;
            if options.open {
                open_in_browser(&file)?;
            }
            return Ok(Exit::Held);
        }
    };
    match play {
        Ok(play) => print_play(&play, lang),
        Err(sentence) => {
            complain!("{sentence}");
            Ok(Exit::Usage)
        }
    }
}

/// The play that a schedule names, or a sentence about why there is none.
fn follow(exploration: &'static Exploration, schedule: &str, lang: Lang) -> Result<Play, String> {
    let mut play = Play::new(exploration);
    for (at, named) in schedule.chars().enumerate() {
        let step = at + 1;
        let upper = named.to_ascii_uppercase();
        let Some(thread) = [0, 1].into_iter().find(|thread| letter(*thread) == upper) else {
            return Err(match lang {
                Lang::En => format!("step {step} is {named:?}: the threads are A and B"),
                Lang::Zh => format!("第 {step} 步是 {named:?}：线程只有 A 和 B"),
            });
        };
        if let Some(obstacle) = play.obstacle(thread) {
            let why = words::hindered(&play, thread, obstacle, lang);
            return Err(match lang {
                Lang::En => format!("step {step} cannot be {upper}'s: {why}"),
                Lang::Zh => format!("第 {step} 步轮不到 {upper}：{why}"),
            });
        }
        play.step(thread);
    }
    if play.ending().is_none() {
        let taken = play.taken.len();
        let [a, b] = [0, 1].map(|thread| play.steps_left(thread));
        return Err(match lang {
            Lang::En => format!(
                "the schedule ends after {taken} steps: A has {a} left to take, and B has {b}"
            ),
            Lang::Zh => format!("次序在 {taken} 步之后就断了：A 还有 {a} 步，B 还有 {b} 步"),
        });
    }
    Ok(play)
}

/// A play in which each step is that of a thread drawn among those that can take one.
fn draw(exploration: &'static Exploration, seed: u64) -> Play {
    let mut draws = StdRng::seed_from_u64(seed);
    let mut play = Play::new(exploration);
    loop {
        let able = [0, 1].into_iter();
        let able: Vec<usize> = able
            .filter(|thread| play.obstacle(*thread).is_none())
            .collect();
        match able.choose(&mut draws) {
            Some(thread) => play.step(*thread),
            None => return play,
        }
    }
}

/// Has real threads take the steps, and prints what became of each.
fn print_play(play: &Play, lang: Lang) -> anyhow::Result<Exit> {
    native::run(play)?;
    let exploration = play.exploration;
    say!("{}", lang.pick(exploration.title.0, exploration.title.1))?;
    let schedule = play.schedule();
    match lang {
        Lang::En => say!("two real threads took turns: {schedule}")?,
        Lang::Zh => say!("两个真实的线程轮流走：{schedule}")?,
    }
    for (at, taken) in play.taken.iter().enumerate() {
        let code = words::code(exploration, taken.action);
        let happened = words::happened(exploration, taken, lang);
        say!(
            "{:3}  {}  {code:17}  {happened}",
            at + 1,
            letter(taken.thread)
        )?;
    }
    for thread in 0..2 {
        if let Some(waits @ Obstacle::Waits { .. }) = play.obstacle(thread) {
            say!("     {}", words::hindered(play, thread, waits, lang))?;
        }
    }
    let ending = play.ending().expect("it was played to its end");
    say!("{}", words::ended(play, &ending, lang))?;
    let outcomes = exploration.outcomes();
    let all = outcomes.values().map(|(count, _)| count).sum();
    say!("{}", words::share("of_all", outcomes[&ending].0, all, lang))?;
    Ok(Exit::Held)
}

/// How many orders lead to which end.
fn print_outcomes(exploration: &'static Exploration, lang: Lang) -> anyhow::Result<()> {
    let outcomes = exploration.outcomes();
    let all: usize = outcomes.values().map(|(count, _)| count).sum();
    let title = lang.pick(exploration.title.0, exploration.title.1);
    match lang {
        Lang::En => say!("{title}: {all} orders of the steps")?,
        Lang::Zh => say!("{title}：各步共有 {all} 种次序")?,
    }
    for (ending, (count, play)) in &outcomes {
        let name = padded(&words::ending(ending, lang), 18);
        let bar = "█".repeat((count * BAR).div_ceil(all));
        let schedule = play.schedule();
        say!("{name} {count:4}  {schedule:12}  {bar}")?;
    }
    Ok(())
}
