//! What `manager top` says, in English and in Chinese.

use std::time::Duration;

use super::super::Language;

/// A text in the language.
pub(super) fn pick(
    language: Language,
    english: &'static str,
    chinese: &'static str,
) -> &'static str {
    match language {
        Language::En => english,
        Language::Zh => chinese,
    }
}

/// The heads of the columns of the queues, which are what they can be sorted by.
pub(super) fn queue_heads(language: Language) -> [&'static str; 8] {
    match language {
        Language::En => [
            "queue", "length", "out", "oldest", "put/s", "got/s", "again", "dead",
        ],
        Language::Zh => [
            "队列",
            "长度",
            "在外",
            "最久",
            "放入/秒",
            "取出/秒",
            "重发",
            "死信",
        ],
    }
}

pub(super) fn hold_heads(language: Language) -> [&'static str; 5] {
    match language {
        Language::En => ["held", "what", "for", "tries", "by"],
        Language::Zh => ["被持有", "类型", "时长", "次数", "持有者"],
    }
}

pub(super) fn wait_heads(language: Language) -> [&'static str; 4] {
    match language {
        Language::En => ["waited for", "in", "for", "by"],
        Language::Zh => ["被等待", "调用", "时长", "等待者"],
    }
}

/// What an item or lock is called; types keep Python's names.
pub(super) fn kind(language: Language, kind: &str) -> &str {
    match (language, kind) {
        (Language::Zh, "item") => "任务",
        (_, kind) => kind,
    }
}

/// A time that a reader grasps at a glance.
pub(super) fn time(language: Language, time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (language, hours, minutes) {
        (Language::En, 0, 0) => format!("{seconds} s"),
        (Language::En, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (Language::En, ..) => format!("{hours} h {minutes} min"),
        (Language::Zh, 0, 0) => format!("{seconds} 秒"),
        (Language::Zh, 0, _) => format!("{minutes} 分 {} 秒", seconds % 60),
        (Language::Zh, ..) => format!("{hours} 时 {minutes} 分"),
    }
}

/// A number of bytes with three digits.
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1000.0 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 || number >= 100.0 { 0 } else { 1 };
    format!("{number:.decimals$} {}", units[unit])
}
