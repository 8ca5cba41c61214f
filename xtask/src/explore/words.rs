//! What is said of a play, in English and in Chinese: once, for the terminal and for the page.

use std::collections::BTreeMap;

use super::model::{Action, Ending, Exploration, Obstacle, Play, TakenStep, letter};
use crate::cli::Lang;

/// Sentences with fields in braces: the name, English, Chinese.
const SENTENCES: [(&str, &str, &str); 27] = [
    (
        "load",
        "{t} reads `{variable}`: its `{register}` is {value}",
        "{t} 读 `{variable}`：它的 `{register}` 是 {value}",
    ),
    (
        "store",
        "{t} writes: `{place}` is {value}",
        "{t} 写：`{place}` 是 {value}",
    ),
    (
        "overwrites",
        ", and overwrites what {o} wrote in step {steps}",
        "，覆盖了 {o} 在第 {steps} 步写的",
    ),
    ("acquire", "{t} holds `{lock}`", "{t} 拿到 `{lock}`"),
    ("release", "{t} gives `{lock}` back", "{t} 放开 `{lock}`"),
    (
        "waits",
        "{t} waits for `{lock}`, which {o} holds",
        "{t} 在等 `{lock}`，它在 {o} 手里",
    ),
    (
        "is_done",
        "{t} is done after its {steps} steps",
        "{t} 的 {steps} 步已经走完",
    ),
    (
        "ends",
        "Both are done: `{variable}` is {ending}",
        "两个线程都走完了：`{variable}` 是 {ending}",
    ),
    (
        "ends_whole",
        "Both are done: the queue holds `{ending}`, and nothing is lost",
        "两个线程都走完了：队列里是 `{ending}`，一个也没丢",
    ),
    (
        "ends_short",
        "Both are done: the queue holds `{ending}`, items lost: {lost}",
        "两个线程都走完了：队列里是 `{ending}`，丢了 {lost} 个元素",
    ),
    (
        "deadlock",
        "Neither can step again: both wait for ever",
        "谁也走不了下一步：两个线程永远等下去",
    ),
    (
        "of_all",
        "{count} of {all} orders end so",
        "{all} 种次序里有 {count} 种这样结束",
    ),
    (
        "reached_by",
        "{count} of {all} orders",
        "{all} 种次序里有 {count} 种",
    ),
    (
        "counted",
        "There are {all} orders, and all were tried. A count is no probability: a real scheduler does not choose evenly.",
        "一共 {all} 种次序，全部试过。个数不是概率：真正的调度器不会均匀地选。",
    ),
    ("let_step", "Let {t} step", "让 {t} 走一步"),
    ("begin", "Nobody has taken a step", "谁都还没有走"),
    ("undone", "The last step is undone", "撤回了最后一步"),
    ("shown", "Shown: `{schedule}`", "看到的是 `{schedule}`"),
    ("goal", "Goal reached: {text}", "目标达到：{text}"),
    ("reached", "reached", "已达到"),
    ("stop", ". ", "。"),
    ("and", ", ", "、"),
    ("of", "`{register}` of {t}", "{t} 的 `{register}`"),
    ("free", "free", "空闲"),
    ("at", "step {n}", "第 {n} 步"),
    ("lost_by", "overwritten in step {n}", "在第 {n} 步被覆盖"),
    ("done", "done", "走完了"),
];

/// The words of the template: the name, English, Chinese.
const PAGE_WORDS: [(&str, &str, &str); 19] = [
    ("play", "You are the scheduler", "你来当调度器"),
    (
        "how",
        "Choose who takes the next step, with the buttons or with the keys `a` and `b`.",
        "下一步由谁走，用按钮选，也可以按 `a` 键和 `b` 键。",
    ),
    (
        "noscript",
        "This page lets you step only where scripts may run.",
        "要一步一步走，得允许页面运行脚本。",
    ),
    ("thread", "Thread", "线程"),
    ("undo", "Undo", "撤回"),
    ("restart", "Start again", "重新开始"),
    ("keys", "letter keys", "用字母键"),
    ("memory", "The memory", "内存"),
    ("taken", "The steps in their order", "各步的先后"),
    ("number", "Step", "步"),
    ("goals", "Goals", "目标"),
    ("show", "Show one", "看一种"),
    ("outcomes", "All that can come out", "所有可能的结果"),
    ("ending", "Result", "结果"),
    ("orders", "Orders", "次序"),
    ("from_here", "From here", "从这里"),
    (
        "again",
        "Real threads take the same steps",
        "让真实的线程走同样的步子",
    ),
    (
        "foot",
        "There are four such pages: `cargo xtask explore race`, `lock`, `deadlock` and `queue`.",
        "这样的页面有四个：`cargo xtask explore race`、`lock`、`deadlock` 和 `queue`。",
    ),
    ("colon", ": ", "："),
];

type ByName = BTreeMap<&'static str, &'static str>;

fn by_name(all: &'static [(&str, &str, &str)], lang: Lang) -> ByName {
    let named = all.iter();
    named
        .map(|(name, english, chinese)| (*name, lang.pick(english, chinese)))
        .collect()
}

/// The sentences by name, for the script of the page.
pub(super) fn sentences(lang: Lang) -> ByName {
    by_name(&SENTENCES, lang)
}

/// The words of the template by name.
pub(super) fn of_page(lang: Lang) -> ByName {
    by_name(&PAGE_WORDS, lang)
}

/// A sentence with its fields filled in.
fn say(lang: Lang, name: &str, fields: &[(&str, &dyn ToString)]) -> String {
    let mut text = sentences(lang)[name].to_string();
    for (field, value) in fields {
        text = text.replace(&format!("{{{field}}}"), &value.to_string());
    }
    text
}

/// A step as code, in Python's words.
pub(super) fn code(exploration: &Exploration, action: Action) -> String {
    let Exploration {
        variable,
        register,
        locks,
        ..
    } = exploration;
    match action {
        Action::Load => format!("{register} = {variable}"),
        Action::Store { add: add @ 0.. } => format!("{variable} = {register} + {add}"),
        Action::Store { add } => format!("{variable} = {register} - {}", -add),
        Action::Put { item } => format!("slots[{register}] = {item}"),
        Action::Acquire { lock } => format!("{}.acquire()", locks[lock]),
        Action::Release { lock } => format!("{}.release()", locks[lock]),
    }
}

/// What a step has done.
pub(super) fn happened(exploration: &Exploration, taken: &TakenStep, lang: Lang) -> String {
    let t = letter(taken.thread);
    let value = taken.value.unwrap_or_default();
    let place = match taken.slot {
        Some(slot) => format!("slots[{slot}]"),
        None => exploration.variable.to_string(),
    };
    let said = match taken.action {
        Action::Load => say(
            lang,
            "load",
            &[
                ("t", &t),
                ("variable", &exploration.variable),
                ("register", &exploration.register),
                ("value", &value),
            ],
        ),
        Action::Store { .. } | Action::Put { .. } => say(
            lang,
            "store",
            &[("t", &t), ("place", &place), ("value", &value)],
        ),
        Action::Acquire { lock } => say(
            lang,
            "acquire",
            &[("t", &t), ("lock", &exploration.locks[lock])],
        ),
        Action::Release { lock } => say(
            lang,
            "release",
            &[("t", &t), ("lock", &exploration.locks[lock])],
        ),
    };
    if taken.overwrites.is_empty() {
        return said;
    }
    let steps: Vec<String> = taken.overwrites.iter().map(usize::to_string).collect();
    let steps = steps.join(lang.pick(", ", "、"));
    let o = letter(1 - taken.thread);
    said + &say(lang, "overwrites", &[("o", &o), ("steps", &steps)])
}

/// Why a thread cannot take its next step.
pub(super) fn hindered(play: &Play, thread: usize, obstacle: Obstacle, lang: Lang) -> String {
    let (t, o) = (letter(thread), letter(1 - thread));
    match obstacle {
        Obstacle::Done => {
            let steps = play.exploration.actions(thread).count();
            say(lang, "is_done", &[("t", &t), ("steps", &steps)])
        }
        Obstacle::Waits { lock } => {
            let lock = play.exploration.locks[lock];
            say(lang, "waits", &[("t", &t), ("lock", &lock), ("o", &o)])
        }
    }
}

/// An ending, as a table has it.
pub(super) fn ending(ending: &Ending, lang: Lang) -> String {
    match ending {
        Ending::Deadlock => lang.pick("both wait for ever", "永远等下去").to_string(),
        _ => ending.to_string(),
    }
}

/// How a play ended.
pub(super) fn ended(play: &Play, ending: &Ending, lang: Lang) -> String {
    let variable = play.exploration.variable;
    match (ending, play.lost()) {
        (Ending::Deadlock, _) => say(lang, "deadlock", &[]),
        (_, None) => say(lang, "ends", &[("variable", &variable), ("ending", ending)]),
        (_, Some(0)) => say(lang, "ends_whole", &[("ending", ending)]),
        (_, Some(lost)) => say(lang, "ends_short", &[("ending", ending), ("lost", &lost)]),
    }
}

/// How many of all orders: `of_all` end as one did, or `reached_by` a goal.
pub(super) fn share(name: &str, count: usize, all: usize, lang: Lang) -> String {
    say(lang, name, &[("count", &count), ("all", &all)])
}

/// How many orders there are, and what that does not mean.
pub(super) fn counted(all: usize, lang: Lang) -> String {
    say(lang, "counted", &[("all", &all)])
}

/// What the button of a thread says.
pub(super) fn let_step(thread: char, lang: Lang) -> String {
    say(lang, "let_step", &[("t", &thread)])
}
