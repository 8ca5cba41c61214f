//! `In [13]`: how an update is lost, step by step. `In [15]`: two slots under one name.

use super::{Anchor, Picture, WIDE, colour};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// What the two threads of the cell add and take away.
const ADDS: [i64; 2] = [5, 8];

/// Who makes the next step. Each thread loads and stores twice, once for `+ n` and once for `- n`.
/// This order ends with what the notebook printed.
const ORDER: [usize; 8] = [0, 0, 1, 0, 0, 1, 1, 1];

/// One step of a thread: a load or a store.
#[derive(Debug, PartialEq)]
struct Step {
    thread: usize,
    /// What it loaded before, and the change to it, if it is a store.
    store: Option<(i64, i64)>,
    /// The balance after it.
    balance: i64,
    /// Which step overwrote it unseen, from 0.
    lost_in: Option<usize>,
}

/// Makes the steps in this order, each thread by its own code.
fn steps(order: &[usize]) -> Vec<Step> {
    let mut balance = 0;
    // For each thread: how far it is, what it loaded last, and in which step.
    let mut threads = [(0, 0, 0); 2];
    let mut steps: Vec<Step> = Vec::new();
    for (at, thread) in order.iter().copied().enumerate() {
        let (done, loaded, loaded_at) = &mut threads[thread];
        let store = (*done % 2 == 1).then(|| {
            let change = if *done == 1 {
                ADDS[thread]
            } else {
                -ADDS[thread]
            };
            (*loaded, change)
        });
        match store {
            Some((loaded, change)) => {
                balance = loaded + change;
                // What another stored since the load is not in what is stored here.
                for earlier in &mut steps[*loaded_at..] {
                    if earlier.thread != thread && earlier.store.is_some() {
                        earlier.lost_in.get_or_insert(at);
                    }
                }
            }
            None => (*loaded, *loaded_at) = (balance, at),
        }
        *done += 1;
        steps.push(Step {
            thread,
            store,
            balance,
            lost_in: None,
        });
    }
    steps
}

impl Step {
    /// `load 5`, or `store 5 − 5 = 0`.
    fn said(&self, lang: Lang) -> String {
        match self.store {
            None => format!("{} {}", lang.pick("load", "读"), self.balance),
            Some((loaded, change)) => {
                let (sign, size) = signed(change);
                let store = lang.pick("store", "写");
                format!("{store} {loaded} {sign} {size} = {}", self.balance)
            }
        }
    }
}

/// The sign and the size of a change.
fn signed(change: i64) -> (char, i64) {
    (if change < 0 { '−' } else { '+' }, change.abs())
}

fn thread_name(thread: usize, lang: Lang) -> String {
    format!("{} ±{}", lang.pick("thread", "线程"), ADDS[thread])
}

/// What happened, in words.
fn summary(steps: &[Step], lang: Lang) -> String {
    let last = steps.last().map_or(0, |step| step.balance);
    let lost = steps.iter().enumerate();
    let lost = lost.filter_map(|(at, step)| Some((at + 1, step.store?.1, step.lost_in? + 1)));
    let sentence = |(at, change, by): (usize, i64, usize)| {
        let (sign, size) = signed(change);
        match lang {
            Lang::En => format!(
                "Step {by} stores what it makes of a balance loaded before step {at}, and so \
                 overwrites it: the change by {sign}{size} is lost. "
            ),
            Lang::Zh => format!(
                "第 {by} 步写的，是由第 {at} 步之前读到的余额算出来的，于是覆盖了第 {at} 步：{sign}{size} \
                 这次修改丢了。"
            ),
        }
    };
    let lost: String = lost.map(sentence).collect();
    match lang {
        Lang::En => format!("{lost}The balance ends at {last}, as the notebook printed."),
        Lang::Zh => format!("{lost}余额最后是 {last}，正是笔记打印的数。"),
    }
}

/// The loads and stores of two threads, one below the other, with the balance after each.
pub(super) fn race(cell_run: &CellRun, width: f64, lang: Lang) -> Picture {
    let steps = steps(&ORDER);
    let said = steps.iter().enumerate().map(|(at, step)| {
        let (thread, balance) = (thread_name(step.thread, lang), step.balance);
        let (at, said) = (at + 1, step.said(lang));
        match lang {
            Lang::En => format!("{at}. {thread}: {said}; balance {balance}"),
            Lang::Zh => format!("第 {at} 步，{thread}：{said}；余额 {balance}"),
        }
    });
    let said = said.collect::<Vec<_>>().join(lang.pick(". ", "。"));
    let desc = format!("{said}{}{}", lang.pick(". ", "。"), summary(&steps, lang));
    let title = lang.pick(
        "How an update is lost, step by step",
        "一次更新是怎样丢的，逐步来看",
    );
    let name = format!("{}-steps", cell_run.cell.bin);
    let mut picture = Picture::new(name, width, title.to_string(), desc);
    let lane = if width >= WIDE { 240.0 } else { 130.0 };
    let middle = 22.0 + lane + 26.0;
    let lefts = [22.0, middle + 26.0];
    for (thread, left) in lefts.iter().enumerate() {
        let name = thread_name(thread, lang);
        picture.text(left + lane / 2.0, 14.0, Anchor::Middle, "strong", &name);
    }
    picture.text(
        middle,
        14.0,
        Anchor::Middle,
        "small",
        lang.pick("balance", "余额"),
    );
    let mut y = 24.0;
    for (at, step) in steps.iter().enumerate() {
        let high = if step.lost_in.is_some() { 42.0 } else { 26.0 };
        let line = y + 17.0;
        boxed(
            &mut picture,
            step,
            (lefts[step.thread], y, lane, high),
            lang,
        );
        picture.text(0.0, line, Anchor::Start, "small", &(at + 1).to_string());
        let class = if step.store.is_some() {
            "strong"
        } else {
            "small"
        };
        picture.text(
            middle,
            line,
            Anchor::Middle,
            class,
            &step.balance.to_string(),
        );
        y += high + 6.0;
    }
    picture.paragraph(0.0, y + 14.0, width, "", &summary(&steps, lang));
    picture
}

/// A step as a box at this place and of this size; in red, and with the step that overwrote it, if it
/// was lost.
fn boxed(
    picture: &mut Picture,
    step: &Step,
    (left, top, wide, high): (f64, f64, f64, f64),
    lang: Lang,
) {
    let middle = left + wide / 2.0;
    let class = match step.lost_in {
        Some(_) => "box lost".to_string(),
        None => format!("box {}", colour(step.thread)),
    };
    picture.rect(left, top, wide, high, &class);
    picture.text(middle, top + 17.0, Anchor::Middle, "on", &step.said(lang));
    if let Some(by) = step.lost_in {
        let text = match lang {
            Lang::En if picture.width < WIDE => format!("overwritten in {}", by + 1),
            Lang::En => format!("overwritten in step {}", by + 1),
            Lang::Zh => format!("被第 {} 步覆盖", by + 1),
        };
        picture.text(middle, top + 34.0, Anchor::Middle, "on strong", &text);
    }
}

/// One name, and behind it a value of its own for each thread that said hello.
pub(super) fn slots(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let lines = &cell_run.now.lines;
    let hello = lines.named("hello").map(|event| {
        let who = cell_run.now.speaker(event.line).unwrap_or(0);
        (event.value("t"), event.value("s"), who)
    });
    let mut hello: Vec<(&str, &str, usize)> = hello.collect();
    hello.sort_unstable();
    const NAME: &str = "STUDENT";
    let said = hello.iter().map(|(thread, student, _)| match lang {
        Lang::En => format!("{NAME} in {thread} is {student}"),
        Lang::Zh => format!("{NAME} 在 {thread} 里是 {student}"),
    });
    let desc = said.collect::<Vec<_>>().join(lang.semicolon());
    let title = lang.pick(
        "One name, a slot for each thread",
        "同一个名字，每个线程一个格子",
    );
    let name = format!("{}-slots", cell_run.cell.bin);
    let mut picture = Picture::new(name, width, title.to_string(), desc);
    let (left, wide, row) = (if width >= WIDE { 260.0 } else { 150.0 }, 186.0, 70.0);
    let middle = 6.0 + row * hello.len() as f64 / 2.0 - 6.0;
    picture.rect(1.0, middle - 16.0, 91.0, 32.0, "plain");
    picture.text(46.0, middle + 5.0, Anchor::Middle, "strong", NAME);
    let global = lang.pick("one global name", "一个全局的名字");
    picture.text(0.0, middle + 34.0, Anchor::Start, "small", global);
    for (at, (thread, student, who)) in hello.iter().enumerate() {
        let y = 6.0 + row * at as f64;
        picture.arrow((92.0, middle), (left - 2.0, y + 38.0), "");
        picture.text(left, y + 12.0, Anchor::Start, "strong", thread);
        picture.rect(left, y + 20.0, wide, 34.0, &format!("box {}", colour(*who)));
        let text = format!("{NAME} = {student}");
        picture.text(left + wide / 2.0, y + 42.0, Anchor::Middle, "on", &text);
    }
    (!hello.is_empty()).then_some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_end_with_what_the_notebook_printed_and_lose_one_store() {
        let steps = steps(&ORDER);
        assert_eq!(steps.last().map(|step| step.balance), Some(5));
        let lost: Vec<(usize, Option<usize>)> = (steps.iter().enumerate())
            .filter(|(_, step)| step.lost_in.is_some())
            .map(|(at, step)| (at, step.lost_in))
            .collect();
        assert_eq!(lost, [(4, Some(5))]);
        assert_eq!(steps[4].said(Lang::En), "store 5 − 5 = 0");
    }

    #[test]
    fn threads_that_take_turns_by_whole_changes_lose_nothing() {
        let steps = steps(&[0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(steps.last().map(|step| step.balance), Some(0));
        assert!(steps.iter().all(|step| step.lost_in.is_none()));
    }
}
