//! What shows that a check held, or what is wrong: as data, and as words in English and in Chinese.

use crate::observed::Ended;

/// What a check found. Lines are quoted as the table has them or as they were printed, and values as
/// they were printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// So many lines, all of them right.
    Lines(usize),
    /// This line has no end.
    Torn(String),
    /// This line came on standard error.
    OnStandardError(String),
    /// This line is none that the cell may print.
    Stray(String),
    /// This line fits several lines of the table, which are quoted.
    Ambiguous(String, Vec<String>),
    /// So often.
    Times(usize),
    /// These values.
    Values(Vec<String>),
    /// What should have been there, and what was.
    Expected(Vec<String>, Vec<String>),
    /// So many different values.
    Different(Vec<String>),
    /// The value in the line.
    Is(String),
    /// Numbers of one line that do not go together.
    NotSo(Vec<String>),
    /// No such line, which is quoted, among so many.
    Missing(String, usize),
    /// Another line stands at that place.
    Stands(String),
    /// The number of the line.
    AtLine(usize),
    /// One line after the other, as it should be.
    InOrder,
    /// The first line comes after the second, whose number is given.
    ComesAfter(String, String, usize),
    /// The quoted line for this value comes only later, at this number.
    OnlyAtLine(String, String, usize),
    /// There is no such line for this value.
    NoneFor(String, String),
    /// So many pairs.
    Pairs(usize),
    /// What pairs should have been there, and what were.
    ExpectedPairs(Vec<[String; 2]>, Vec<[String; 2]>),
    /// So many are open at once.
    Open(usize),
    /// So many were open at most.
    AtMostOpen(usize),
    /// Who had not closed what.
    NotClosed(String, String),
    /// So often one was opened after another was closed.
    OpenedAgain(usize),
    /// Seconds.
    Timed(Timing),
    /// There are not both of two lines, which are quoted.
    NotBoth(String, String),
    /// Whether the port could be bound again.
    PortFree(bool),
    /// How a program ended, and after how many seconds.
    Ended(Ended, f64),
    /// It was never started.
    NeverStarted,
    /// What was left behind.
    Left(Vec<LeftBehind>),
    /// What all trials together came to.
    Trials(TrialCounts),
}

/// What was found of times, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// What was printed, and what was seen.
    PrintedAndSeen(f64, f64),
    /// The most by which a printed time is off.
    OffBy(f64),
    /// What passed between lines.
    Gaps(Vec<f64>),
    /// What passed, and what should have.
    Passed(f64, f64),
    /// The gaps, together too short for what each should have been.
    TooShort(Vec<f64>, f64),
}

/// A process that a run left behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftBehind {
    /// It had ended, and nobody had waited for it.
    Unreaped(i32),
    /// It was still running: its name and its number.
    Running(String, i32),
}

/// How many runs came to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialCounts {
    /// How many runs of the program there were.
    pub runs: usize,
    /// How many of them came to something else than 0.
    pub nonzero: usize,
    /// How many of them came to no result.
    pub without: usize,
    /// Whether 0 is what was wanted of all of them.
    pub want_zero: bool,
    /// Of the widened program, if there is one: how many came to something else than 0, of how many.
    pub widened: Option<(usize, usize)>,
}

/// A text as it was printed or stands in the table, marked for views by backquotes.
pub fn code(text: &str) -> String {
    // A backquote of its own would end the quote.
    format!("`{}`", text.replace('`', "'"))
}

fn list(values: &[String], between: &str, none: &str) -> String {
    let values: Vec<String> = values.iter().map(|value| code(value)).collect();
    match values.is_empty() {
        true => none.to_string(),
        false => values.join(between),
    }
}

fn pairs(pairs: &[[String; 2]], with: &str, between: &str, none: &str) -> String {
    let pair = |[a, b]: &[String; 2]| format!("{} {with} {}", code(a), code(b));
    let pairs: Vec<String> = pairs.iter().map(pair).collect();
    match pairs.is_empty() {
        true => none.to_string(),
        false => pairs.join(between),
    }
}

fn gaps(gaps: &[f64], between: &str) -> String {
    let gaps: Vec<String> = gaps.iter().map(|gap| format!("{gap:.2}")).collect();
    gaps.join(between)
}

impl Evidence {
    /// It in English.
    pub fn sentence(&self) -> String {
        let list = |values| list(values, ", ", "nothing");
        let pairs = |all| pairs(all, "with", ", ", "nothing");
        match self {
            Evidence::Lines(count) => format!("{count} lines"),
            Evidence::Torn(text) => format!("torn, without a line break: {}", code(text)),
            Evidence::OnStandardError(text) => format!("said on standard error: {}", code(text)),
            Evidence::Stray(text) => format!("not a line of this cell: {}", code(text)),
            Evidence::Ambiguous(text, lines) => {
                format!(
                    "{} fits more than one line of the table: {}",
                    code(text),
                    list(lines)
                )
            }
            Evidence::Times(1) => "once".to_string(),
            Evidence::Times(count) => format!("{count} times"),
            Evidence::Values(values) => list(values),
            Evidence::Expected(want, found) => {
                format!("expected {}, got {}", list(want), list(found))
            }
            Evidence::Different(values) => format!("{} different: {}", values.len(), list(values)),
            Evidence::Is(value) => format!("it is {}", code(value)),
            Evidence::NotSo(values) => format!("not so for {}", list(values)),
            Evidence::Missing(line, count) => {
                format!("there is no {} among {count} lines", code(line))
            }
            Evidence::Stands(text) => format!("{} is there", code(text)),
            Evidence::AtLine(line) => format!("line {line}"),
            Evidence::InOrder => "in order".to_string(),
            Evidence::ComesAfter(first, then, line) => {
                format!(
                    "{} comes after the {} of line {line}",
                    code(first),
                    code(then)
                )
            }
            Evidence::OnlyAtLine(line, value, at) => {
                format!("the {} for {} is line {at}", code(line), code(value))
            }
            Evidence::NoneFor(line, value) => {
                format!("there is no {} for {}", code(line), code(value))
            }
            Evidence::Pairs(1) => "1 pair".to_string(),
            Evidence::Pairs(count) => format!("{count} pairs"),
            Evidence::ExpectedPairs(want, found) => {
                format!("expected {}, got {}", pairs(want), pairs(found))
            }
            Evidence::Open(count) => format!("{count} are open"),
            Evidence::AtMostOpen(count) => format!("at most {count} were"),
            Evidence::NotClosed(who, what) => {
                format!("{} had not closed {}", code(who), code(what))
            }
            Evidence::OpenedAgain(count) => format!("opened again {count} times"),
            Evidence::Timed(timing) => timing.sentence(),
            Evidence::NotBoth(first, then) => {
                format!("there is no {} with a {}", code(first), code(then))
            }
            Evidence::PortFree(true) => "it could be bound again".to_string(),
            Evidence::PortFree(false) => "it is still taken".to_string(),
            Evidence::Ended(ended, took) => how(*ended, *took),
            Evidence::NeverStarted => "it was never started".to_string(),
            Evidence::Left(left) if left.is_empty() => "none".to_string(),
            Evidence::Left(left) => {
                let left: Vec<String> = left.iter().map(LeftBehind::sentence).collect();
                left.join(", ")
            }
            Evidence::Trials(counts) => counts.sentence(),
        }
    }

    /// It in Chinese.
    pub fn sentence_zh(&self) -> String {
        let list = |values| list(values, "、", "什么也没有");
        let pairs = |all| pairs(all, "配", "，", "什么也没有");
        match self {
            Evidence::Lines(count) => format!("{count} 行"),
            Evidence::Torn(text) => format!("这一行没有换行：{}", code(text)),
            Evidence::OnStandardError(text) => format!("出现在标准错误上：{}", code(text)),
            Evidence::Stray(text) => format!("不是这个单元格的行：{}", code(text)),
            Evidence::Ambiguous(text, lines) => {
                format!("{} 符合表中的不止一行：{}", code(text), list(lines))
            }
            Evidence::Times(count) => format!("{count} 次"),
            Evidence::Values(values) => list(values),
            Evidence::Expected(want, found) => {
                format!("应为 {}，实为 {}", list(want), list(found))
            }
            Evidence::Different(values) => {
                format!("有 {} 个不同的值：{}", values.len(), list(values))
            }
            Evidence::Is(value) => format!("是 {}", code(value)),
            Evidence::NotSo(values) => format!("{} 不符合", list(values)),
            Evidence::Missing(line, count) => format!("{count} 行里没有 {}", code(line)),
            Evidence::Stands(text) => format!("那里是 {}", code(text)),
            Evidence::AtLine(line) => format!("第 {line} 行"),
            Evidence::InOrder => "次序正确".to_string(),
            Evidence::ComesAfter(first, then, line) => {
                format!("{} 在第 {line} 行的 {} 之后", code(first), code(then))
            }
            Evidence::OnlyAtLine(line, value, at) => {
                format!("{} 的 {} 到第 {at} 行才出现", code(value), code(line))
            }
            Evidence::NoneFor(line, value) => format!("没有 {} 的 {}", code(value), code(line)),
            Evidence::Pairs(count) => format!("{count} 对"),
            Evidence::ExpectedPairs(want, found) => {
                format!("应为 {}，实为 {}", pairs(want), pairs(found))
            }
            Evidence::Open(count) => format!("同时有 {count} 个"),
            Evidence::AtMostOpen(count) => format!("最多时有 {count} 个"),
            Evidence::NotClosed(who, what) => {
                format!("{} 还没有结束 {}", code(who), code(what))
            }
            Evidence::OpenedAgain(count) => format!("再次开始 {count} 次"),
            Evidence::Timed(timing) => timing.sentence_zh(),
            Evidence::NotBoth(first, then) => {
                format!("{} 与 {} 没有同时出现", code(first), code(then))
            }
            Evidence::PortFree(true) => "可以再次绑定".to_string(),
            Evidence::PortFree(false) => "仍被占用".to_string(),
            Evidence::Ended(ended, took) => how_zh(*ended, *took),
            Evidence::NeverStarted => "从未启动".to_string(),
            Evidence::Left(left) if left.is_empty() => "没有".to_string(),
            Evidence::Left(left) => {
                let left: Vec<String> = left.iter().map(LeftBehind::sentence_zh).collect();
                left.join("，")
            }
            Evidence::Trials(counts) => counts.sentence_zh(),
        }
    }
}

impl Timing {
    fn sentence(&self) -> String {
        match self {
            Timing::PrintedAndSeen(printed, seen) => {
                format!("{printed:.2} s printed, {seen:.2} s seen")
            }
            Timing::OffBy(seconds) => format!("off by at most {seconds:.2} s"),
            Timing::Gaps(all) => format!("{} s", gaps(all, ", ")),
            Timing::Passed(seen, want) => format!("{seen:.2} s passed, not {want:.2} s"),
            Timing::TooShort(all, want) => {
                format!("the gaps are {} s, not {want:.2} s", gaps(all, ", "))
            }
        }
    }

    fn sentence_zh(&self) -> String {
        match self {
            Timing::PrintedAndSeen(printed, seen) => {
                format!("打印的是 {printed:.2} 秒，实际是 {seen:.2} 秒")
            }
            Timing::OffBy(seconds) => format!("最多相差 {seconds:.2} 秒"),
            Timing::Gaps(all) => format!("{} 秒", gaps(all, "、")),
            Timing::Passed(seen, want) => format!("经过了 {seen:.2} 秒，而不是 {want:.2} 秒"),
            Timing::TooShort(all, want) => {
                format!("间隔是 {} 秒，而不是 {want:.2} 秒", gaps(all, "、"))
            }
        }
    }
}

fn how(ended: Ended, took: f64) -> String {
    match ended {
        Ended::Code(code) => format!("exit code {code}"),
        Ended::Signal(signal) => format!("ended by signal {signal}"),
        Ended::Hung => {
            format!("still running after {took:.1} s, and killed")
        }
        Ended::Interrupted => "interrupted".to_string(),
    }
}

fn how_zh(ended: Ended, took: f64) -> String {
    match ended {
        Ended::Code(code) => format!("退出码 {code}"),
        Ended::Signal(signal) => format!("被信号 {signal} 终止"),
        Ended::Hung => {
            format!("{took:.1} 秒之后仍在运行，已被终止")
        }
        Ended::Interrupted => "被打断".to_string(),
    }
}

impl LeftBehind {
    fn sentence(&self) -> String {
        match self {
            LeftBehind::Unreaped(pid) => format!("nobody waited for process {pid}"),
            LeftBehind::Running(name, pid) => format!("{} ({pid}) was still running", code(name)),
        }
    }

    fn sentence_zh(&self) -> String {
        match self {
            LeftBehind::Unreaped(pid) => format!("没有谁等过进程 {pid}"),
            LeftBehind::Running(name, pid) => format!("{}（{pid}）还在运行", code(name)),
        }
    }
}

impl TrialCounts {
    fn zero(self) -> usize {
        self.runs - self.nonzero - self.without
    }

    fn sentence(self) -> String {
        let mut text = match self.want_zero {
            true => format!("{} of {} are 0", self.zero(), self.runs),
            false => format!("{} of {} are not 0", self.nonzero, self.runs),
        };
        if self.without > 0 {
            text += &format!(", {} came to no result", self.without);
        }
        match self.widened {
            Some((_, 0)) => text += ", widened race not needed",
            Some((nonzero, runs)) => text += &format!(", widened race {nonzero} of {runs}"),
            None => {}
        }
        text
    }

    fn sentence_zh(self) -> String {
        let mut text = match self.want_zero {
            true => format!("{} 次中有 {} 次是 0", self.runs, self.zero()),
            false => format!("{} 次中有 {} 次不是 0", self.runs, self.nonzero),
        };
        if self.without > 0 {
            text += &format!("，{} 次没有结果", self.without);
        }
        match self.widened {
            Some((_, 0)) => text += "，不需要拉长窗口",
            Some((nonzero, runs)) => {
                text += &format!("，拉长窗口后 {runs} 次中有 {nonzero} 次不是 0");
            }
            None => {}
        }
        text
    }
}
