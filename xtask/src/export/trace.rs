//! A trace in Chrome's JSON form, which Perfetto opens: who did what when, with arrows from put to
//! get.

use common::notebook::Cell;
use common::transcript::Event;
use serde_json::{Value, json};

use crate::cell_run::CellRun;

/// A line that opens something, the line that closes it, and the field that joins them.
const SLICES: [(&str, &str, &str, &str); 2] = [
    ("pool", "run", "done", "i"),
    ("thread", "running", "ended", "t"),
];

/// A line with which something is handed over, the line with which it arrives, and their fields.
const FLOWS: [(&str, &str, &str, &str, &str); 3] = [
    ("queue", "put", "get", "v", "v"),
    ("task_master", "put", "work", "n", "a"),
    ("task_master", "work", "result", "a", "a"),
];

pub(super) fn trace(cell_runs: &[CellRun]) -> anyhow::Result<String> {
    let mut events = Vec::new();
    let mut flows = 0;
    for (process, cell_run) in cell_runs.iter().enumerate() {
        events.extend(of_part(process + 1, cell_run, &mut flows));
    }
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    Ok(serde_json::to_string_pretty(&trace)? + "\n")
}

/// The events of one cell run: a process of the trace, with a thread for each of its speakers.
fn of_part(process: usize, cell_run: &CellRun, flows: &mut usize) -> Vec<Value> {
    let printout = &cell_run.now;
    let mut events = vec![named(
        "process_name",
        process,
        0,
        &format!("{} {}", cell_run.label(), cell_run.cell.bin),
    )];
    for (who, speaker) in printout.speakers.all.iter().enumerate() {
        let id = speaker.id.as_deref().unwrap_or_default();
        let name = format!("{} {} {id}", speaker.mark, speaker.role.name);
        events.push(named("thread_name", process, who + 1, name.trim_end()));
    }
    let thread = |event: &Event| printout.speaker(event.line).map_or(0, |who| who + 1);
    // Each line is a slice as long as an arrow needs to hold on to it, and no arrow hangs in the air.
    for event in &printout.lines.events {
        events.push(json!({
            "ph": "X", "cat": "line", "name": printout.printed[event.line - 1].text,
            "pid": process, "tid": thread(event), "ts": micros(event), "dur": 1,
        }));
    }
    for (open, close, name) in opened(cell_run.cell, cell_run) {
        events.push(json!({
            "ph": "X", "cat": "task", "name": name, "pid": process, "tid": thread(open),
            "ts": micros(open), "dur": micros(close) - micros(open),
        }));
    }
    for (from, to, name) in handed_over(cell_run.cell, cell_run) {
        *flows += 1;
        for (phase, event) in [("s", from), ("f", to)] {
            let mut flow = json!({
                "ph": phase, "cat": "flow", "name": name, "id": *flows,
                "pid": process, "tid": thread(event), "ts": micros(event),
            });
            if phase == "f" {
                flow["bp"] = json!("e");
            }
            events.push(flow);
        }
    }
    events
}

fn named(what: &str, process: usize, thread: usize, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": process, "tid": thread, "args": { "name": name } })
}

fn micros(event: &Event) -> u64 {
    (event.seconds() * 1e6) as u64
}

fn opened<'a>(cell: &Cell, cell_run: &'a CellRun) -> Vec<(&'a Event, &'a Event, String)> {
    let lines = &cell_run.now.lines;
    let mut found = Vec::new();
    for (_, open, close, on) in SLICES.iter().filter(|(bin, ..)| *bin == cell.bin) {
        for opened in lines.named(open) {
            let value = opened.value(on);
            let closed = lines.named(close).find(|closed| closed.value(on) == value);
            found.extend(closed.map(|closed| (opened, closed, format!("{on} {value}"))));
        }
    }
    found
}

/// What was handed over: the first that was sent with a value is the first that arrives with it.
fn handed_over<'a>(cell: &Cell, cell_run: &'a CellRun) -> Vec<(&'a Event, &'a Event, String)> {
    let lines = &cell_run.now.lines;
    let mut found = Vec::new();
    for (_, put, get, sent, got) in FLOWS.iter().filter(|(bin, ..)| *bin == cell.bin) {
        let mut arrived: Vec<&Event> = lines.named(get).collect();
        for sent_by in lines.named(put) {
            let value = sent_by.value(sent);
            if let Some(at) = arrived.iter().position(|event| event.value(got) == value) {
                found.push((sent_by, arrived.remove(at), value.to_string()));
            }
        }
    }
    found
}
