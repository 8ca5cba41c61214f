//! A trace in Chrome's JSON form, which Perfetto opens: who did what when, with arrows from put to
//! get.

use common::notebook::TimeSpan;
use common::transcript::{Event, line_and_field};
use serde_json::{Value, json};

use crate::cell_run::CellRun;
use crate::cli::Lang;

pub(super) fn trace(cell_runs: &[CellRun], lang: Lang) -> anyhow::Result<String> {
    let mut events = Vec::new();
    let mut flows = 0;
    for (process, cell_run) in cell_runs.iter().enumerate() {
        events.extend(of_part(process + 1, cell_run, &mut flows, lang));
    }
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    Ok(serde_json::to_string_pretty(&trace)? + "\n")
}

/// The events of one cell run: a process of the trace, with a thread for each of its speakers.
fn of_part(process: usize, cell_run: &CellRun, flows: &mut usize, lang: Lang) -> Vec<Value> {
    let printout = &cell_run.now;
    let mut events = vec![named(
        "process_name",
        process,
        0,
        &format!("{} {}", cell_run.label(lang), cell_run.cell.bin),
    )];
    for (who, speaker) in printout.speakers.all.iter().enumerate() {
        let id = speaker.id.as_deref().unwrap_or_default();
        let name = format!("{} {} {id}", speaker.mark, lang.role(speaker.role));
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
    for (open, close, name) in opened(cell_run) {
        events.push(json!({
            "ph": "X", "cat": "task", "name": name, "pid": process, "tid": thread(open),
            "ts": micros(open), "dur": micros(close) - micros(open),
        }));
    }
    for (from, to, name) in handed_over(cell_run) {
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

/// What lasted, from the line that opened it to the line that closed it.
fn opened<'a>(cell_run: &'a CellRun) -> Vec<(&'a Event, &'a Event, String)> {
    let lines = &cell_run.now.lines;
    let mut found = Vec::new();
    for TimeSpan {
        open, close, on, ..
    } in cell_run.variant.spans
    {
        for opened in lines.named(open) {
            let closed = lines.partner(opened, close, on);
            let name = format!("{on} {}", opened.value(on));
            found.extend(closed.map(|closed| (opened, closed, name)));
        }
    }
    found
}

/// What was handed over: the first that was sent with a value is the first that arrives with it.
fn handed_over<'a>(cell_run: &'a CellRun) -> Vec<(&'a Event, &'a Event, String)> {
    let lines = &cell_run.now.lines;
    let mut found = Vec::new();
    for (from, to) in cell_run.variant.arrows {
        let ((put, sent), (get, received)) = (line_and_field(from), line_and_field(to));
        let mut arrived: Vec<&Event> = lines.named(get).collect();
        for sent_by in lines.named(put) {
            let value = sent_by.value(sent);
            let same = |event: &&Event| event.value(received) == value;
            if let Some(at) = arrived.iter().position(same) {
                found.push((sent_by, arrived.remove(at), value.to_string()));
            }
        }
    }
    found
}
