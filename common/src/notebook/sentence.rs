//! Each check as a sentence for a reader, in English and in Chinese.
//!
//! A sentence quotes the lines that it is about, as [`Line::quote`] has them, and says which value of
//! a line it means by the name that the value has in the quote.

use super::cell::{Line, Variant};
use super::check::Check;
use crate::evidence::code;
use crate::transcript::line_and_field;

/// A value of a line, in English and in Chinese: `{p}` in `Process ({p}) start...`.
fn value(variant: &Variant, field: &str) -> [String; 2] {
    let (line, name) = line_and_field(field);
    let (line, name) = (variant.quote(line), format!("{{{name}}}"));
    // Where the value is the whole line, one of the two says all.
    if line == name {
        return [code(&line), code(&line)];
    }
    let (line, name) = (code(&line), code(&name));
    [format!("{name} in {line}"), format!("{line} 里的 {name}")]
}

/// Several values, or one after the other what they must be.
fn list(values: &[&str], between: &str) -> String {
    let values: Vec<String> = values.iter().map(|value| code(value)).collect();
    values.join(between)
}

impl Variant {
    /// The line of this name as a sentence quotes it; `…` for `*`, which is every line.
    ///
    /// # Panics
    ///
    /// Panics when the variant has no such line: the names are part of the program.
    pub fn quote(&self, name: &str) -> String {
        if name == "*" {
            return "…".to_string();
        }
        let companion = self.companion.iter().flat_map(|companion| companion.prints);
        let mut lines = self.prints.iter().chain(self.errors).chain(companion);
        let line = lines.find(|line| line.event == name);
        line.map(Line::quote).expect("the table has the line")
    }
}

impl Check {
    /// The check as a sentence for a reader, with the lines of the variant quoted.
    pub fn sentence(&self, variant: &Variant) -> String {
        let line = |name: &str| code(&variant.quote(name));
        let value = |field: &str| value(variant, field)[0].clone();
        match *self {
            Check::First(name) => format!("{} is the first line", line(name)),
            Check::Last(name) => format!("{} is the last line", line(name)),
            Check::Before(first, then) => format!("{} comes before {}", line(first), line(then)),
            Check::Order(names) => {
                let lines: Vec<String> = names.iter().map(|name| line(name)).collect();
                format!("the order is {}", lines.join(", then "))
            }
            Check::BeforeEach { first, then, on } => {
                let (first, then) = (line(first), line(then));
                format!("each {first} comes before the {then} of the same `{{{on}}}`")
            }
            Check::AtMostOpen {
                open,
                close,
                on,
                limit,
            } => format!(
                "at most {limit} of {} at once are without the {} of the same `{{{on}}}`",
                line(open),
                line(close)
            ),
            Check::OneAtATime {
                open,
                close,
                on,
                by,
            } => format!(
                "a `{{{by}}}` has the next {} only after the {} of its last `{{{on}}}`",
                line(open),
                line(close)
            ),
            Check::Lasts {
                from,
                to,
                on,
                printed,
            } => format!(
                "{} is the time that passed since the {} of the same `{{{on}}}`",
                value(&format!("{to}.{printed}")),
                line(from)
            ),
            Check::Gaps(name, seconds) => format!("{} arrives every {seconds} s", line(name)),
            Check::After(first, then, seconds) => {
                format!("{} arrives {seconds} s after {}", line(then), line(first))
            }
            Check::Started(field) | Check::Parent(field) => {
                format!("{} is the process that was started", value(field))
            }
            Check::Gone(field) => format!("the process {} is gone afterwards", value(field)),
            Check::PortFree => "the port is free afterwards".to_string(),
            Check::Set(..)
            | Check::Sequence(..)
            | Check::SameSequence(..)
            | Check::Every(..)
            | Check::Pairs(..)
            | Check::Same(..)
            | Check::Differ(..)
            | Check::Distinct(..)
            | Check::Range(..)
            | Check::Seconds(..)
            | Check::Less(..)
            | Check::Product(..) => self.on_values(variant),
        }
    }

    fn on_values(&self, variant: &Variant) -> String {
        let line = |name: &str| code(&variant.quote(name));
        let value = |field: &str| value(variant, field)[0].clone();
        match *self {
            Check::Set(field, [only]) | Check::Sequence(field, [only]) => {
                format!("{} is {}", value(field), code(only))
            }
            Check::Set(field, values) => {
                format!("{} is {}, in any order", value(field), list(values, ", "))
            }
            Check::Sequence(field, values) => {
                format!("{} is {}, in this order", value(field), list(values, ", "))
            }
            Check::SameSequence(one, other) => {
                format!("{} is {}, in the same order", value(other), value(one))
            }
            Check::Every(field, want) => format!("every {} is {}", value(field), code(want)),
            Check::Pairs(name, one, other, pairs) => {
                let pair = |(a, b): &(&str, &str)| format!("{} with {}", code(a), code(b));
                let pairs: Vec<String> = pairs.iter().map(pair).collect();
                let pairs = pairs.join(", ");
                format!(
                    "{} has `{{{one}}}` and `{{{other}}}` in pairs: {pairs}",
                    line(name)
                )
            }
            Check::Same(fields) => {
                let values: Vec<String> = fields.iter().map(|field| value(field)).collect();
                format!("one and the same: {}", values.join("; "))
            }
            Check::Differ(one, other) => format!("{} is never {}", value(other), value(one)),
            Check::Distinct(field, least, most) if least == most => {
                format!("{} has {most} different values", value(field))
            }
            Check::Distinct(field, least, most) => {
                format!("{} has {least} to {most} different values", value(field))
            }
            Check::Range(field, low, high) => format!("{} is from {low} to {high}", value(field)),
            Check::Seconds(field, low, high) => {
                format!("{} is from {low} to {high} s, times the pace", value(field))
            }
            Check::Less(one, other) => format!("{} is less than {}", value(one), value(other)),
            Check::Product(a, b, product) => {
                format!("{} is {} times {}", value(product), value(a), value(b))
            }
            _ => unreachable!("it is called for checks of values"),
        }
    }

    /// The sentence in Chinese.
    pub fn sentence_zh(&self, variant: &Variant) -> String {
        let line = |name: &str| code(&variant.quote(name));
        let value = |field: &str| value(variant, field)[1].clone();
        match *self {
            Check::First(name) => format!("{} 是第一行", line(name)),
            Check::Last(name) => format!("{} 是最后一行", line(name)),
            Check::Before(first, then) => format!("{} 在 {} 之前", line(first), line(then)),
            Check::Order(names) => {
                let lines: Vec<String> = names.iter().map(|name| line(name)).collect();
                format!("次序是 {}", lines.join("，然后 "))
            }
            Check::BeforeEach { first, then, on } => {
                let (first, then) = (line(first), line(then));
                format!("每个 {first} 都在 `{{{on}}}` 相同的 {then} 之前")
            }
            Check::AtMostOpen {
                open,
                close,
                on,
                limit,
            } => format!(
                "同时最多有 {limit} 个 {} 还没有 `{{{on}}}` 相同的 {}",
                line(open),
                line(close)
            ),
            Check::OneAtATime {
                open,
                close,
                on,
                by,
            } => format!(
                "同一个 `{{{by}}}` 要等上一个 `{{{on}}}` 的 {} 之后，才有下一个 {}",
                line(close),
                line(open)
            ),
            Check::Lasts {
                from,
                to,
                on,
                printed,
            } => format!(
                "{} 就是从 `{{{on}}}` 相同的 {} 起经过的时间",
                value(&format!("{to}.{printed}")),
                line(from)
            ),
            Check::Gaps(name, seconds) => format!("{} 每 {seconds} 秒到达一次", line(name)),
            Check::After(first, then, seconds) => {
                format!("{} 在 {} 之后 {seconds} 秒到达", line(then), line(first))
            }
            Check::Started(field) | Check::Parent(field) => {
                format!("{} 就是启动的那个进程", value(field))
            }
            Check::Gone(field) => format!("进程 {} 事后已经不在", value(field)),
            Check::PortFree => "端口事后已经释放".to_string(),
            Check::Set(..)
            | Check::Sequence(..)
            | Check::SameSequence(..)
            | Check::Every(..)
            | Check::Pairs(..)
            | Check::Same(..)
            | Check::Differ(..)
            | Check::Distinct(..)
            | Check::Range(..)
            | Check::Seconds(..)
            | Check::Less(..)
            | Check::Product(..) => self.on_values_zh(variant),
        }
    }

    fn on_values_zh(&self, variant: &Variant) -> String {
        let line = |name: &str| code(&variant.quote(name));
        let value = |field: &str| value(variant, field)[1].clone();
        match *self {
            Check::Set(field, [only]) | Check::Sequence(field, [only]) => {
                format!("{} 是 {}", value(field), code(only))
            }
            Check::Set(field, values) => {
                format!("{} 是 {}，次序不限", value(field), list(values, "、"))
            }
            Check::Sequence(field, values) => {
                format!("{} 依次是 {}", value(field), list(values, "、"))
            }
            Check::SameSequence(one, other) => {
                format!("{} 就是 {}，次序也相同", value(other), value(one))
            }
            Check::Every(field, want) => format!("每个 {} 都是 {}", value(field), code(want)),
            Check::Pairs(name, one, other, pairs) => {
                let pair = |(a, b): &(&str, &str)| format!("{} 配 {}", code(a), code(b));
                let pairs: Vec<String> = pairs.iter().map(pair).collect();
                let pairs = pairs.join("，");
                format!(
                    "{} 的 `{{{one}}}` 和 `{{{other}}}` 成对：{pairs}",
                    line(name)
                )
            }
            Check::Same(fields) => {
                let values: Vec<String> = fields.iter().map(|field| value(field)).collect();
                format!("是同一个值：{}", values.join("；"))
            }
            Check::Differ(one, other) => format!("{} 从不是 {}", value(other), value(one)),
            Check::Distinct(field, least, most) if least == most => {
                format!("{} 有 {most} 个不同的值", value(field))
            }
            Check::Distinct(field, least, most) => {
                format!("{} 有 {least} 到 {most} 个不同的值", value(field))
            }
            Check::Range(field, low, high) => format!("{} 在 {low} 到 {high} 之间", value(field)),
            Check::Seconds(field, low, high) => {
                format!("{} 在 {low} 到 {high} 秒之间（乘以停顿倍数）", value(field))
            }
            Check::Less(one, other) => format!("{} 小于 {}", value(one), value(other)),
            Check::Product(a, b, product) => {
                format!("{} 等于 {} 乘以 {}", value(product), value(a), value(b))
            }
            _ => unreachable!("it is called for checks of values"),
        }
    }
}
