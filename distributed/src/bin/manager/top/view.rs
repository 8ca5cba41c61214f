//! What is on the screen: two looks at a server, and what the reader has chosen. Drawing asks nobody.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use distributed::{QueueStatus, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Row, Table, TableState};

use super::words::{self, pick};
use crate::options::Language;

/// What follows the name of a queue in that of its dead queue.
const DEAD: &str = ".dead";

/// The tables, from top to bottom.
const TABLES: usize = 3;

/// What the reader sees, and has chosen to see.
pub(super) struct View {
    address: String,
    language: Language,
    /// The last status, when it came, and the one before.
    last: Option<(Instant, Status)>,
    before: Option<(Instant, Status)>,
    /// Why there is no newer one.
    pub(super) error: Option<String>,
    /// Which table the arrows scroll, and on which row each stands.
    table: usize,
    rows: [usize; TABLES],
    /// By which column the queues are sorted, and whether the greatest comes first.
    column: usize,
    descending: bool,
}

/// A queue, with what two looks tell of it.
struct QueueRow<'s> {
    queue: &'s QueueStatus,
    dead: u64,
    /// Items each second, once there were two looks.
    rates: Option<[f64; 2]>,
}

impl View {
    pub(super) fn new(address: &str, language: Language) -> View {
        View {
            address: address.to_string(),
            language,
            last: None,
            before: None,
            error: None,
            table: 0,
            rows: [0; TABLES],
            column: 0,
            descending: false,
        }
    }

    /// Takes what the server has said at that moment, or why it has not.
    pub(super) fn look(&mut self, at: Instant, status: Result<Status, String>) {
        match status {
            Ok(status) => {
                self.before = self.last.replace((at, status));
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn scroll(&mut self, by: isize) {
        let status = self.last.as_ref().map(|(_, status)| status);
        let lens = status.map_or([0; TABLES], |status| {
            [self.queues().len(), status.holds.len(), status.waits.len()]
        });
        let row = &mut self.rows[self.table];
        *row = row.saturating_add_signed(by);
        *row = (*row).min(lens[self.table].saturating_sub(1));
    }

    pub(super) fn next_table(&mut self) {
        self.table = (self.table + 1) % TABLES;
    }

    /// Sorts by the next column, numbers with the greatest first.
    pub(super) fn sort_by_next(&mut self, by: isize) {
        let columns = words::queue_heads(self.language).len() as isize;
        self.column = (self.column as isize + by).rem_euclid(columns) as usize;
        self.descending = self.column > 0;
    }

    pub(super) fn reverse(&mut self) {
        self.descending = !self.descending;
    }

    /// The queues as they are sorted. Dead queues are a column of theirs.
    fn queues(&self) -> Vec<QueueRow<'_>> {
        let Some((at, status)) = &self.last else {
            return Vec::new();
        };
        let now = by_name(status);
        let before = self.before.as_ref().map(|(then, before)| {
            let seconds = at.saturating_duration_since(*then).as_secs_f64();
            (by_name(before), seconds.max(1e-3))
        });
        let is_dead = |queue: &&QueueStatus| {
            let of = queue.name.strip_suffix(DEAD);
            of.is_some_and(|of| now.contains_key(of))
        };
        let queues = status.queues.iter().filter(|queue| !is_dead(queue));
        let mut rows: Vec<QueueRow> = queues
            .map(|queue| QueueRow {
                queue,
                dead: now
                    .get(&*format!("{}{DEAD}", queue.name))
                    .map_or(0, |dead| dead.len),
                rates: before.as_ref().map(|(before, seconds)| {
                    let then = before.get(&*queue.name);
                    // Of one that is new, or of a server that has begun anew, all is new.
                    let rate = |now: u64, then: Option<u64>| {
                        now.checked_sub(then.unwrap_or(0)).unwrap_or(now) as f64 / seconds
                    };
                    [
                        rate(queue.put, then.map(|then| then.put)),
                        rate(queue.delivered, then.map(|then| then.delivered)),
                    ]
                }),
            })
            .collect();
        rows.sort_by(|one, other| {
            let order = one.order(other, self.column);
            match self.descending {
                true => order.reverse(),
                false => order,
            }
        });
        rows
    }

    /// Draws all of it.
    pub(super) fn draw(&self, frame: &mut Frame) {
        let queues = self.queues();
        let (holds, waits) = match &self.last {
            Some((_, status)) => (status.holds.len(), status.waits.len()),
            None => (0, 0),
        };
        let height = frame.area().height.saturating_sub(3);
        // The queues have what they need and half of the room at least, who waits the rest.
        let of_queues = (queues.len() as u16 + 2).clamp(4, (height / 2).max(4));
        let of_waits = (waits as u16)
            .saturating_add(2)
            .clamp(3, (height / 4).max(3));
        let [title, above, between, below, keys] = frame.area().layout(&Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(of_queues),
            Constraint::Min(3),
            Constraint::Length(of_waits),
            Constraint::Length(1),
        ]));
        self.draw_title(frame, title);
        self.draw_queues(frame, above, &queues);
        self.draw_holds(frame, between, holds);
        self.draw_waits(frame, below, waits);
        let keys_text = pick(
            self.language,
            "q quit   ↑↓ scroll   Tab next table   ←→ sort   r reverse",
            "q 退出   ↑↓ 滚动   Tab 下一张表   ←→ 排序   r 反序",
        );
        let line = match &self.error {
            Some(error) => {
                let no_answer = pick(self.language, "no answer, asks again", "没有应答，继续询问");
                Line::styled(format!("{no_answer}: {error}"), Modifier::REVERSED)
            }
            None => Line::styled(keys_text, Modifier::DIM),
        };
        frame.render_widget(line, keys);
    }

    fn draw_title(&self, frame: &mut Frame, area: Rect) {
        let Some((_, status)) = &self.last else {
            return;
        };
        let language = self.language;
        let [connections, clients, memory, refused, calls] = match language {
            Language::En => ["connections", "clients", "memory", "refused", "calls/s"],
            Language::Zh => ["连接", "客户端", "内存", "被拒绝", "调用/秒"],
        };
        let mut first = format!("{}   {connections} {}", self.address, status.connections);
        let mut second = String::new();
        // An engine says nothing of the rest.
        if status.max_memory > 0 {
            let refusals: u64 = status.refused.values().sum();
            first += &format!("   {clients} {}   {refused} {refusals}", status.clients);
            let (used, most) = (words::bytes(status.memory), words::bytes(status.max_memory));
            second = format!("{memory} {used} / {most}");
            if let Some((rate, mean)) = self.calls() {
                second += &format!("   {calls} {rate:.0}");
                if let Some(mean) = mean {
                    let mean_word = pick(language, "mean", "平均");
                    second += &format!("   {mean_word} {:.0} µs", mean.as_secs_f64() * 1e6);
                }
            }
        }
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let lines = vec![Line::styled(first, bold), Line::raw(second)];
        frame.render_widget(ratatui::text::Text::from(lines), area);
    }

    /// How many calls there were each second between the two looks, and how long those took that did
    /// not wait.
    fn calls(&self) -> Option<(f64, Option<Duration>)> {
        let ((at, last), (then, before)) = (self.last.as_ref()?, self.before.as_ref()?);
        let timed = |status: &Status| {
            let counts = status.calls.buckets.iter().map(|(_, count)| count);
            counts.sum::<u64>() + status.calls.over
        };
        let count = timed(last).checked_sub(timed(before))?;
        let waited = last.calls.waited.checked_sub(before.calls.waited)?;
        let total = last.calls.total.checked_sub(before.calls.total)?;
        let seconds = at.saturating_duration_since(*then).as_secs_f64();
        let mean = total.checked_div(u32::try_from(count).unwrap_or(u32::MAX));
        Some(((count + waited) as f64 / seconds.max(1e-3), mean))
    }

    fn draw_queues(&self, frame: &mut Frame, area: Rect, queues: &[QueueRow]) {
        let mut heads = words::queue_heads(self.language).map(String::from);
        heads[self.column] += if self.descending { "↓" } else { "↑" };
        let rows = queues.iter().map(|row| {
            let queue = row.queue;
            let rate = |at: usize| {
                row.rates
                    .map_or(String::from("-"), |rates| rate_text(rates[at]))
            };
            let oldest = queue.oldest_lease;
            let numbers = [
                queue.len.to_string(),
                queue.leases.to_string(),
                oldest.map_or(String::from("-"), |time| words::time(self.language, time)),
                rate(0),
                rate(1),
                queue.redelivered.to_string(),
                row.dead.to_string(),
            ];
            first_and_numbers(queue.name.clone(), numbers)
        });
        let widths = [
            Constraint::Min(16),
            Constraint::Length(9),
            Constraint::Length(7),
            Constraint::Length(11),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(6),
            Constraint::Length(6),
        ];
        let [first, heads @ ..] = heads;
        let table = Table::new(rows, widths).header(first_and_numbers(first, heads));
        self.draw_table(frame, area, 0, table);
    }

    fn draw_holds(&self, frame: &mut Frame, area: Rect, count: usize) {
        let holds = self.last.iter().flat_map(|(_, status)| &status.holds);
        let rows = holds.map(|hold| {
            let tries = match hold.deliveries {
                0 => String::new(),
                tries => tries.to_string(),
            };
            Row::new([
                hold.name.clone(),
                words::kind(self.language, &hold.kind).to_string(),
                words::time(self.language, hold.time),
                tries,
                match hold.client.as_str() {
                    "" => pick(self.language, "nobody", "无人").to_string(),
                    client => client.to_string(),
                },
            ])
        });
        let widths = [
            Constraint::Max(20),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(6),
            Constraint::Fill(1),
        ];
        let heads = numbered(words::hold_heads(self.language), count);
        self.draw_table(
            frame,
            area,
            1,
            Table::new(rows, widths).header(Row::new(heads)),
        );
    }

    fn draw_waits(&self, frame: &mut Frame, area: Rect, count: usize) {
        let waits = self.last.iter().flat_map(|(_, status)| &status.waits);
        let rows = waits.map(|wait| {
            Row::new([
                wait.name.clone(),
                wait.kind.clone(),
                words::time(self.language, wait.time),
                wait.client.clone(),
            ])
        });
        let widths = [
            Constraint::Max(20),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Fill(1),
        ];
        let heads = numbered(words::wait_heads(self.language), count);
        self.draw_table(
            frame,
            area,
            2,
            Table::new(rows, widths).header(Row::new(heads)),
        );
    }

    /// Draws a table under a line, with the row on which the reader stands.
    fn draw_table(&self, frame: &mut Frame, area: Rect, number: usize, table: Table) {
        let is_chosen = self.table == number;
        let line = Style::new().add_modifier(if is_chosen {
            Modifier::BOLD
        } else {
            Modifier::DIM
        });
        let table = table.block(Block::new().borders(Borders::TOP).border_style(line));
        let marked = if is_chosen {
            Modifier::REVERSED
        } else {
            Modifier::empty()
        };
        let mut state = TableState::default().with_selected(self.rows[number]);
        frame.render_stateful_widget(table.row_highlight_style(marked), area, &mut state);
    }
}

impl QueueRow<'_> {
    fn order(&self, other: &QueueRow, column: usize) -> Ordering {
        let number = |row: &QueueRow| match column {
            1 => row.queue.len as f64,
            2 => row.queue.leases as f64,
            3 => row.queue.oldest_lease.unwrap_or_default().as_secs_f64(),
            4 | 5 => row.rates.map_or(0.0, |rates| rates[column - 4]),
            6 => row.queue.redelivered as f64,
            7 => row.dead as f64,
            _ => 0.0,
        };
        let by_number = number(self).total_cmp(&number(other));
        by_number.then_with(|| self.queue.name.cmp(&other.queue.name))
    }
}

/// A row whose first column is text, and whose others are numbers, with their last digits in line.
fn first_and_numbers(first: String, numbers: [String; 7]) -> Row<'static> {
    let numbers = numbers.map(|number| Line::from(number).right_aligned());
    Row::new([Line::from(first)].into_iter().chain(numbers))
}

fn by_name(status: &Status) -> BTreeMap<&str, &QueueStatus> {
    let queues = status.queues.iter();
    queues.map(|queue| (&*queue.name, queue)).collect()
}

/// A rate with as many decimals as say something.
fn rate_text(rate: f64) -> String {
    match rate {
        0.0 => String::from("0"),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// The heads, the first one with how many rows there are.
fn numbered<const N: usize>(heads: [&str; N], count: usize) -> [String; N] {
    let mut heads = heads.map(String::from);
    heads[0] += &format!(" ({count})");
    heads
}

#[cfg(test)]
mod tests;
