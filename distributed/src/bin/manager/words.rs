//! What `manager` prints, in English and in Chinese.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;
use common::locale;

use super::Language;

/// The heads of a status, in their order.
const HEADS: [(&str, &str); 10] = [
    ("length", "长度"),
    ("maxsize", "最多"),
    ("bytes", "字节"),
    ("max bytes", "最多字节"),
    ("waiting", "等待者"),
    ("leases", "在外"),
    ("put", "放入"),
    ("delivered", "取出"),
    ("redelivered", "重发"),
    ("unfinished", "未完成"),
];

/// Prints a line. That its reader has gone away, as `head` does, is no reason to fail.
pub(crate) fn say(line: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}

impl Language {
    pub(super) fn of_locale() -> Language {
        match locale::is_chinese() {
            true => Language::Zh,
            false => Language::En,
        }
    }

    /// A status as the library writes it.
    pub(super) fn status(self, status: String) -> String {
        let Language::Zh = self else { return status };
        let lines = status.lines().map(|line| {
            if let Some(number) = line.strip_prefix("connections: ") {
                return format!("连接：{number}");
            }
            if let Some((used, most)) = line
                .strip_prefix("memory: ")
                .and_then(|bytes| bytes.trim_end_matches(" bytes").split_once(" of "))
            {
                return format!("内存：{used} 字节，最多 {most} 字节");
            }
            if let Some(before) = line.strip_suffix("             kind     seconds  by") {
                let name = before.chars().count();
                let (held, kind) = ("持有", aligned("种类", 16));
                let blanks = " ".repeat(name.saturating_sub(4));
                return format!("{held}{blanks} {kind} {}  谁", aligned("秒", 11));
            }
            if let Some(number) = line
                .strip_prefix("and ")
                .and_then(|rest| rest.strip_suffix(" more, held for less time"))
            {
                return format!("还有 {number} 个，持有的时间更短");
            }
            // No queue is called so and has these words for its numbers.
            if !(line.starts_with("queue ") && line.ends_with("  unfinished")) {
                return line.to_string();
            }
            let blanks = HEADS.len() * 12;
            let name = line.chars().count() - blanks;
            let heads = HEADS.map(|(_, head)| format!(" {}", aligned(head, 11)));
            format!("队列{}{}", " ".repeat(name - 4), heads.concat())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn heads_of_dead_letters(self) -> String {
        let (tries, bytes, reason) = match self {
            Language::En => ("tries", "bytes", "reason"),
            Language::Zh => ("次数", "字节", "原因"),
        };
        format!("{} {} {reason}", aligned(tries, 5), aligned(bytes, 11))
    }

    pub(super) fn put_back(self, number: u64, name: &str) -> String {
        match self {
            Language::En => format!("{number} put back into {name}"),
            Language::Zh => format!("{number} 个放回了 {name}"),
        }
    }

    pub(super) fn dropped(self, number: u64, name: &str) -> String {
        match self {
            Language::En => format!("{number} of {name} dropped"),
            Language::Zh => format!("丢弃了 {name} 的 {number} 个"),
        }
    }
}

/// A word at the right end of a column. A Chinese character is as wide as two Latin letters.
fn aligned(word: &str, width: usize) -> String {
    let wide = word.chars().filter(|c| *c >= '\u{2e80}').count();
    let blanks = width - word.chars().count() - wide;
    format!("{}{word}", " ".repeat(blanks))
}
