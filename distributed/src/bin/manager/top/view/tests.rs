//! The screen, drawn in memory.

use common::chinese::{english, misset};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::*;

fn queue(name: &str, len: u64, put: u64) -> Value {
    json!({
        "name": name, "len": len, "maxsize": 0, "redeliver": true, "waiting": 0, "leases": 2,
        "put": put, "delivered": put - len, "redelivered": 7, "unfinished": len,
        "oldest_lease": {"secs": 75, "nanos": 0},
    })
}

/// A status when so many items have been put into each queue.
fn status(put: u64) -> Status {
    let time = |secs: u64| json!({"secs": secs, "nanos": 0});
    let holds = json!([
        {"name": "gate", "kind": "Lock", "client": "Process-1 at 10.0.0.1:4242",
         "time": time(7300), "expires": null, "deliveries": 0, "task": null},
        {"name": "tasks", "kind": "item", "client": "", "time": time(9), "expires": time(1),
         "deliveries": 2, "task": null},
    ]);
    let waits = json!([{"name": "gate", "kind": "acquire", "client": "Process-2 at 10.0.0.2:1",
                        "time": time(61)}]);
    let status = json!({
        "connections": 4, "clients": 3, "memory": 3 << 20, "max_memory": 1u64 << 30,
        "refused": {"key": 1, "late": 1},
        "queues": [queue("results", 1, put), queue("tasks", 30, put), queue("tasks.dead", 5, 40)],
        "calls": {"buckets": [[{"secs": 0, "nanos": 10_000}, put]], "over": 0,
                  "total": {"secs": 0, "nanos": put * 8000}, "waited": 0},
        "holds": holds, "waits": waits,
    });
    serde_json::from_value(status).expect("it is one")
}

/// A view after two looks with two seconds between, in which 100 items came.
fn view(language: Language) -> View {
    let mut view = View::new("127.0.0.1:5000", language);
    let start = Instant::now();
    view.look(start, Ok(status(1000)));
    view.look(start + Duration::from_secs(2), Ok(status(1100)));
    view
}

/// The lines of a screen of so many columns and rows.
fn screen(view: &View, (columns, rows): (u16, u16)) -> Vec<String> {
    let backend = TestBackend::new(columns, rows);
    let mut terminal = Terminal::new(backend).expect("it is only memory");
    terminal
        .draw(|frame| view.draw(frame))
        .expect("it is only memory");
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let mut line = String::new();
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            // Chinese takes two columns, of which the second says nothing.
            x += (Line::raw(symbol).width() as u16).max(1);
        }
        line.trim_end().to_string()
    };
    (0..rows).map(line).collect()
}

/// The line that begins so, with one blank between its words.
fn line_of(lines: &[String], first: &str) -> String {
    let line = lines.iter().find(|line| line.starts_with(first));
    let line = line.unwrap_or_else(|| panic!("no {first} in {lines:#?}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_screen_of_80_by_24_has_queues_with_rates_and_who_holds_and_who_waits() {
    let lines = screen(&view(Language::En), (80, 24));
    let of = |first| line_of(&lines, first);
    assert_eq!(
        of("127.0.0.1"),
        "127.0.0.1:5000 connections 4 clients 3 refused 2"
    );
    assert_eq!(
        of("memory"),
        "memory 3.0 MiB / 1.0 GiB calls/s 50 mean 8 µs"
    );
    assert_eq!(
        of("queue"),
        "queue↑ length out oldest put/s got/s again dead"
    );
    assert_eq!(of("tasks    "), "tasks 30 2 1 min 15 s 50 50 7 5");
    let dead = lines.iter().filter(|line| line.starts_with("tasks.dead"));
    assert_eq!(dead.count(), 0, "it is a column of tasks: {lines:#?}");
    assert_eq!(of("held"), "held (2) what for tries by");
    assert_eq!(of("gate"), "gate Lock 2 h 1 min Process-1 at 10.0.0.1:4242");
    assert!(
        lines.iter().any(|line| line.ends_with("nobody")),
        "{lines:#?}"
    );
    assert_eq!(of("waited"), "waited for (1) in for by");
    let waits = lines
        .iter()
        .find(|line| line.contains("acquire"))
        .expect("one waits");
    let waits = line_of(std::slice::from_ref(waits), "gate");
    assert_eq!(waits, "gate acquire 1 min 1 s Process-2 at 10.0.0.2:1");
    assert!(lines[23].starts_with("q quit"), "{lines:#?}");
}

#[test]
fn queues_are_sorted_by_the_column_that_the_reader_chooses() {
    let mut view = view(Language::En);
    let first = |view: &View| view.queues()[0].queue.name.clone();
    assert_eq!(first(&view), "results");
    view.sort_by_next(1);
    assert_eq!(first(&view), "tasks");
    assert!(
        screen(&view, (80, 24))
            .iter()
            .any(|line| line.contains("length↓"))
    );
    view.reverse();
    assert_eq!(first(&view), "results");
    view.sort_by_next(-2);
    assert!(
        screen(&view, (80, 24))
            .iter()
            .any(|line| line.contains("dead↓"))
    );
}

#[test]
fn rows_beyond_the_screen_are_reached_with_the_arrows() {
    let mut view = View::new("127.0.0.1:5000", Language::En);
    let mut status = status(1000);
    let one = status.queues[0].clone();
    status.queues = (0..100)
        .map(|n| {
            let mut queue = one.clone();
            queue.name = format!("queue-{n:02}");
            queue
        })
        .collect();
    view.look(Instant::now(), Ok(status));
    let shows = |view: &View, name: &str| {
        screen(view, (80, 24))
            .iter()
            .any(|line| line.starts_with(name))
    };
    assert!(shows(&view, "queue-00") && !shows(&view, "queue-99"));
    (0..11).for_each(|_| view.scroll(10));
    assert!(shows(&view, "queue-99") && !shows(&view, "queue-00"));
    // It stops at the last one, so one step back is one row.
    view.scroll(-1);
    assert_eq!(view.rows[0], 98);
    view.next_table();
    view.scroll(10);
    assert_eq!(view.rows, [98, 1, 0]);
}

#[test]
fn a_server_that_does_not_answer_leaves_what_it_said_and_is_named() {
    let mut view = view(Language::En);
    view.look(
        Instant::now(),
        Err("connect to 127.0.0.1:5000: refused".to_string()),
    );
    let lines = screen(&view, (80, 24));
    assert!(
        lines[23].contains("connect to 127.0.0.1:5000: refused"),
        "{lines:#?}"
    );
    assert!(
        line_of(&lines, "tasks    ").starts_with("tasks 30 "),
        "{lines:#?}"
    );
}

#[test]
fn no_screen_is_too_small_to_be_drawn() {
    let view = view(Language::En);
    for size in [(1, 1), (5, 2), (20, 5), (80, 8), (300, 90)] {
        screen(&view, size);
    }
}

#[test]
fn a_chinese_screen_is_chinese() {
    let lines = screen(&view(Language::Zh), (80, 24));
    for line in &lines {
        let own = ["tasks", "results", "gate", "Process", "127.0", "q "];
        if !own
            .iter()
            .any(|own| line.starts_with(own) || line.contains("Process"))
        {
            assert_eq!(english(line), None, "{lines:#?}");
        }
    }
    assert!(lines[23].starts_with("q 退出"), "{lines:#?}");
    let heads = lines
        .iter()
        .find(|line| line.starts_with("队列"))
        .expect("heads");
    assert!(heads.contains("在外") && heads.contains("死信"), "{heads}");
    for text in words::queue_heads(Language::Zh) {
        assert_eq!(misset(text), None);
    }
}
