//! Each check as a sentence for a reader, in English and in Chinese.

use super::check::Check;

impl Check {
    /// The check as a sentence for a reader, with the lines quoted as the table has them.
    pub fn sentence(&self) -> String {
        match self {
            Check::First(line) => format!("`{line}` is the first line"),
            Check::Last(line) => format!("`{line}` is the last line"),
            Check::Before(first, then) => format!("`{first}` comes before `{then}`"),
            Check::Order(names) => format!("the order is {}", names.join(", ")),
            Check::BeforeEach { first, then, on } => {
                format!("each `{first}` comes before the `{then}` of the same {on}")
            }
            Check::Set(field, values) => format!("{field} is {}, in any order", values.join(", ")),
            Check::Sequence(field, values) => {
                format!("{field} is {}, in this order", values.join(", "))
            }
            Check::SameSequence(one, other) => format!("{other} is {one}, in the same order"),
            Check::Every(field, value) => format!("every {field} is {value}"),
            Check::Pairs(line, one, other, pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(a, b)| format!("{a} with {b}")).collect();
                format!(
                    "{line} has {one} and {other} in pairs: {}",
                    pairs.join(", ")
                )
            }
            Check::Same(fields) => format!("one value: {}", fields.join(" = ")),
            Check::Differ(one, other) => format!("no {other} is a {one}"),
            Check::Distinct(field, least, most) if least == most => {
                format!("{most} different {field}")
            }
            Check::Distinct(field, least, most) => format!("{least} to {most} different {field}"),
            Check::Range(field, low, high) => format!("{field} is from {low} to {high}"),
            Check::Seconds(field, low, high) => {
                format!("{field} is from {low} to {high} s, times the pace")
            }
            Check::Less(one, other) => format!("{one} is less than {other}"),
            Check::Product(a, b, product) => format!("{product} is {a} times {b}"),
            Check::AtMostOpen { open, limit, .. } => format!("at most {limit} `{open}` at once"),
            Check::OneAtATime { open, by, .. } => format!("one `{open}` at a time for each {by}"),
            Check::Lasts {
                from, to, printed, ..
            } => {
                format!("{to}.{printed} is the time that passed from `{from}` to `{to}`")
            }
            Check::Gaps(line, seconds) => format!("`{line}` arrives every {seconds} s"),
            Check::After(first, then, seconds) => {
                format!("`{then}` arrives {seconds} s after `{first}`")
            }
            Check::Started(field) => format!("{field} is the process that was started"),
            Check::Parent(field) => format!("the parent, {field}, is the process that was started"),
            Check::Gone(field) => format!("the process {field} is gone afterwards"),
            Check::PortFree => "the port is free afterwards".to_string(),
        }
    }

    /// The sentence in Chinese.
    pub fn sentence_zh(&self) -> String {
        match self {
            Check::First(line) => format!("`{line}` 是第一行"),
            Check::Last(line) => format!("`{line}` 是最后一行"),
            Check::Before(first, then) => format!("`{first}` 在 `{then}` 之前"),
            Check::Order(names) => format!("次序是 {}", names.join("、")),
            Check::BeforeEach { first, then, on } => {
                format!("每个 `{first}` 都在 {on} 相同的 `{then}` 之前")
            }
            Check::Set(field, values) => format!("{field} 是 {}，次序不限", values.join("、")),
            Check::Sequence(field, values) => format!("{field} 依次是 {}", values.join("、")),
            Check::SameSequence(one, other) => format!("{other} 就是 {one}，次序也相同"),
            Check::Every(field, value) => format!("每个 {field} 都是 {value}"),
            Check::Pairs(line, one, other, pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} 配 {b}")).collect();
                format!("{line} 的 {one} 和 {other} 成对：{}", pairs.join("，"))
            }
            Check::Same(fields) => format!("是同一个值：{}", fields.join(" = ")),
            Check::Differ(one, other) => format!("{other} 都不同于 {one}"),
            Check::Distinct(field, least, most) if least == most => {
                format!("{field} 有 {most} 个不同的值")
            }
            Check::Distinct(field, least, most) => {
                format!("{field} 有 {least} 到 {most} 个不同的值")
            }
            Check::Range(field, low, high) => format!("{field} 在 {low} 到 {high} 之间"),
            Check::Seconds(field, low, high) => {
                format!("{field} 在 {low} 到 {high} 秒之间（乘以速度）")
            }
            Check::Less(one, other) => format!("{one} 小于 {other}"),
            Check::Product(a, b, product) => format!("{product} 等于 {a} 乘以 {b}"),
            Check::AtMostOpen { open, limit, .. } => format!("同时最多有 {limit} 个 `{open}`"),
            Check::OneAtATime { open, by, .. } => format!("每个 {by} 同时只有一个 `{open}`"),
            Check::Lasts {
                from, to, printed, ..
            } => format!("{to}.{printed} 就是从 `{from}` 到 `{to}` 经过的时间"),
            Check::Gaps(line, seconds) => format!("`{line}` 每 {seconds} 秒到达一次"),
            Check::After(first, then, seconds) => {
                format!("`{then}` 在 `{first}` 之后 {seconds} 秒到达")
            }
            Check::Started(field) => format!("{field} 就是启动的那个进程"),
            Check::Parent(field) => format!("父进程 {field} 就是启动的那个进程"),
            Check::Gone(field) => format!("进程 {field} 事后已经不在"),
            Check::PortFree => "端口事后已经释放".to_string(),
        }
    }
}
