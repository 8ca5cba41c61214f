//! The words of the views, in English and in Chinese.

use std::collections::BTreeMap;

use common::command_line::chinese;
use common::evidence::code;
use common::locale;
use common::notebook::{CHAPTERS, Cell, Need, Role, Variant};
use common::verdict::{Reordering, Verdict};

use crate::cli::Lang;
use crate::texts::TEXTS;

impl Lang {
    /// The language of the locale: that of messages, as POSIX has it.
    pub(crate) fn of_locale() -> Lang {
        match locale::is_chinese() {
            true => Lang::Zh,
            false => Lang::En,
        }
    }

    /// The one of two texts that is in this language.
    pub(crate) fn pick<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        match self {
            Lang::En => english,
            Lang::Zh => chinese,
        }
    }

    /// A text that stands in English where it is said, in this language.
    pub(crate) fn text(self, english: &str) -> String {
        let chinese = match self {
            Lang::En => None,
            Lang::Zh => chinese(&TEXTS, english),
        };
        chinese.unwrap_or_else(|| english.to_string())
    }

    /// What failed, and why, down to the cause.
    pub(crate) fn error(self, error: &anyhow::Error) -> String {
        let links = error.chain().map(|link| self.text(&link.to_string()));
        let links: Vec<String> = links.collect();
        links.join(self.colon())
    }

    /// Its tag in HTML.
    pub(crate) fn tag(self) -> &'static str {
        self.pick("en", "zh-CN")
    }

    /// How a reader names the cell: `In [14]`, or the chapter where there is no cell.
    pub(crate) fn label(self, cell: &Cell) -> String {
        match (self, cell.number) {
            (Lang::Zh, None) => format!("第 {} 章", cell.chapter),
            _ => cell.label(),
        }
    }

    /// The name of one of several variants.
    pub(crate) fn variant(self, variant: &'static Variant) -> &'static str {
        self.pick(variant.name, variant.name_zh)
    }

    /// What Python calls it.
    pub(crate) fn python(self, cell: &'static Cell) -> &'static str {
        self.pick(cell.python, cell.python_zh)
    }

    /// A need that is missing, and how to mend that.
    pub(crate) fn missing(self, need: Need) -> String {
        let name = need.name();
        match self {
            Lang::En => format!("{name}: {}: {}", need.absence(), need.without()),
            Lang::Zh => format!("{name}：{}：{}", need.absence_zh(), need.without_zh()),
        }
    }

    /// What a process or a thread is called.
    pub(crate) fn role(self, role: &'static Role) -> &'static str {
        self.pick(role.name, role.name_zh)
    }

    pub(crate) fn colon(self) -> &'static str {
        self.pick(": ", "：")
    }

    pub(crate) fn comma(self) -> &'static str {
        self.pick(", ", "，")
    }

    pub(crate) fn semicolon(self) -> &'static str {
        self.pick("; ", "；")
    }

    /// A name and what there is of it, as a part of a sentence.
    pub(crate) fn listed(self, name: &str, parts: impl Iterator<Item = String>) -> String {
        let parts = parts.collect::<Vec<_>>().join(self.semicolon());
        format!("{name}{}{parts}", self.colon())
    }

    /// So many seconds.
    pub(crate) fn seconds(self, seconds: f64, digits: usize) -> String {
        format!("{seconds:.digits$} {}", self.pick("s", "秒"))
    }

    /// So many of a thing: its names for one and for several, and the Chinese one.
    pub(crate) fn counted(self, count: usize, [one, several, chinese]: [&str; 3]) -> String {
        let english = if count == 1 { one } else { several };
        format!("{count} {}", self.pick(english, chinese))
    }

    pub(crate) fn cells(self, count: usize) -> String {
        self.counted(count, ["cell", "cells", "个单元格"])
    }

    pub(crate) fn processors(self, count: usize) -> String {
        self.counted(count, ["processor", "processors", "个处理器"])
    }

    pub(crate) fn checks(self, count: usize) -> String {
        self.counted(count, ["check", "checks", "项检查"])
    }

    pub(crate) fn idea(self, cell: &'static Cell) -> &'static str {
        self.pick(cell.idea, cell.idea_zh)
    }

    pub(crate) fn teaches(self, cell: &'static Cell) -> &'static str {
        self.pick(cell.teaches, cell.teaches_zh)
    }

    pub(crate) fn hint(self, cell: &'static Cell) -> &'static str {
        self.pick(cell.hint, cell.hint_zh)
    }

    pub(crate) fn sentence(self, verdict: &Verdict) -> &str {
        self.pick(&verdict.sentence, &verdict.sentence_zh)
    }

    pub(crate) fn evidence(self, verdict: &Verdict) -> &str {
        self.pick(&verdict.evidence, &verdict.evidence_zh)
    }

    pub(crate) fn reordering(self, reordering: &Reordering) -> String {
        match self {
            Lang::En => reordering.sentence(),
            Lang::Zh => reordering.sentence_zh(),
        }
    }

    /// A reordering that the table of the variant declares, as a sentence.
    pub(crate) fn declared(self, variant: &Variant, (one, other): (&str, &str)) -> String {
        let (line, then) = (code(&variant.quote(one)), code(&variant.quote(other)));
        match (one == other, self) {
            (true, Lang::En) => format!("{line} may come in any order"),
            (true, Lang::Zh) => format!("{line} 的次序不限"),
            (false, Lang::En) => format!("{line} and {then} may come in either order"),
            (false, Lang::Zh) => format!("{line} 与 {then} 谁先谁后都可以"),
        }
    }

    /// The title of a chapter.
    pub(crate) fn chapter(self, number: u8) -> &'static str {
        let title = CHAPTERS.iter().find(|(known, ..)| *known == number);
        title.map_or("", |(_, english, chinese)| self.pick(english, chinese))
    }

    /// The title of a chapter on a terminal: in English the notebook's own stands beside it.
    pub(crate) fn chapter_heading(self, number: u8) -> String {
        match self {
            Lang::En => format!("{}  {}", Lang::En.chapter(number), Lang::Zh.chapter(number)),
            Lang::Zh => Lang::Zh.chapter(number).to_string(),
        }
    }

    /// The words that templates use, by name.
    pub(crate) fn translations(self) -> BTreeMap<&'static str, &'static str> {
        let word = |(name, english, chinese): &(&'static str, &'static str, &'static str)| {
            (*name, self.pick(english, chinese))
        };
        TRANSLATIONS.iter().map(word).collect()
    }
}

/// The text with blanks behind it, as wide as so many Latin letters. A Chinese character is as wide as
/// two of them.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", blanks(text, width))
}

/// The same with the blanks before it.
pub(crate) fn right_aligned(text: &str, width: usize) -> String {
    format!("{}{text}", blanks(text, width))
}

fn blanks(text: &str, width: usize) -> String {
    let wide = |c: &char| *c >= '\u{2e80}';
    let taken = text.chars().count() + text.chars().filter(wide).count();
    " ".repeat(width.saturating_sub(taken))
}

const TRANSLATIONS: [(&str, &str, &str); 47] = [
    (
        "title",
        "A notebook on concurrency, replayed in Rust",
        "并发笔记，用 Rust 重放",
    ),
    ("held", "All checks held", "全部检查通过"),
    ("failed", "Some checks failed", "有检查未通过"),
    ("interrupted", "Interrupted before the end", "中途被打断"),
    ("passed_count", "passed", "通过"),
    ("failed_count", "failed", "未通过"),
    ("skipped_count", "skipped", "跳过"),
    ("check", "check", "项检查"),
    ("checks", "checks", "项检查"),
    ("seconds", "s", "秒"),
    ("machine", "Machine", "机器"),
    ("processor", "processor", "个处理器"),
    ("processors", "processors", "个处理器"),
    ("seed", "Seed", "种子"),
    ("pace", "Factor on pauses", "停顿倍数"),
    ("again", "Run it again", "再运行一次"),
    ("draws", "Draws", "随机数"),
    ("as_recorded", "as the notebook drew", "与笔记相同"),
    ("drawn", "from the seed", "由种子决定"),
    ("network", "Network", "网络"),
    ("online", "the real nslookup", "真实的 nslookup"),
    ("offline", "a stand-in for nslookup", "nslookup 由替身代演"),
    ("contents", "Cells", "单元格"),
    ("python", "Python's word", "Python 的说法"),
    ("original", "The notebook's Python", "笔记里的 Python"),
    ("source", "The program", "程序"),
    ("and_companion", "Its companion", "配套程序"),
    ("recorded", "The notebook printed", "笔记的输出"),
    ("now", "This run printed", "这次的输出"),
    (
        "nothing_recorded",
        "The notebook has no output for this.",
        "笔记里没有这一段的输出。",
    ),
    (
        "nothing_printed",
        "Nothing was printed.",
        "什么也没有打印。",
    ),
    ("colon", ": ", "："),
    ("comma", ", ", "，"),
    ("no_one", "nobody of this cell", "不属于这个单元格"),
    ("checks_title", "What was checked", "检查了什么"),
    ("free_title", "What is free", "不作规定的次序"),
    ("try", "Try", "试一试"),
    ("not_so", "Not so", "不成立"),
    ("place", "In the source", "源代码位置"),
    (
        "stand_in",
        "A stand-in answered for nslookup; `--online` asks the real one.",
        "nslookup 的回答来自替身；`--online` 会询问真实的程序。",
    ),
    (
        "several_replays",
        "The cells are from several replays, each from the last one that ran it. What follows is of the last replay.",
        "各单元格来自不同的重放，取各自最近的一次。下面说的是最近一次重放。",
    ),
    ("of_replay", "of the replay of", "出自这次重放"),
    ("started", "Began", "开始于"),
    ("compiler", "Compiler", "编译器"),
    ("commit", "Commit", "提交"),
    (
        "foot",
        "Made by `cargo xtask report` from `run.json`. Times are those at which the lines arrived.",
        "由 `cargo xtask report` 根据 `run.json` 生成。时间是各行到达的时刻。",
    ),
    ("jump", "Skip to the cells", "跳到单元格"),
];
