//! Which worker did which task when, in the notebook above and in this run below.

use common::notebook::TimeSpan;
use common::printout::Printout;
use common::transcript::Event;

use super::{Anchor, Axis, Picture, colour};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// A task: who did it, from when to when.
pub(crate) struct GanttTask {
    pub(crate) number: String,
    pub(crate) who: usize,
    pub(crate) from: f64,
    /// None if it never ended.
    pub(crate) to: Option<f64>,
}

const ROW: f64 = 28.0;

/// The tasks on an axis of seconds that both runs share.
pub(super) fn gantt(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let span = cell_run.variant.spans.first()?;
    let mut printouts = Vec::new();
    if let Some(recorded) = &cell_run.recorded {
        let name = lang.pick("the notebook", "笔记").to_string();
        printouts.push((name, recorded, tasks(recorded, span, 1.0)));
    }
    // A quicker run is stretched to the notebook's pace: the same draws then look the same.
    let stretch = if cell_run.replay.pace > 0.0 {
        1.0 / cell_run.replay.pace
    } else {
        1.0
    };
    let note = match (stretch == 1.0, lang) {
        (true, Lang::En) => "this run".to_string(),
        (true, Lang::Zh) => "这次运行".to_string(),
        (false, Lang::En) => format!("this run, its times × {stretch:.0}"),
        (false, Lang::Zh) => format!("这次运行，时间 × {stretch:.0}"),
    };
    printouts.push((note, &cell_run.now, tasks(&cell_run.now, span, stretch)));
    let all = printouts.iter().flat_map(|(_, _, tasks)| tasks);
    let longest = all
        .map(|task| task.to.unwrap_or(task.from))
        .fold(0.0, f64::max);
    let desc = |(name, printout, tasks): &(String, &Printout, Vec<GanttTask>)| {
        let tasks = tasks.iter().map(|task| {
            let mark = &printout.speakers.all[task.who].mark;
            format!("{mark}{}{}", lang.colon(), label(task, lang))
        });
        lang.listed(name, tasks)
    };
    let desc = printouts
        .iter()
        .map(desc)
        .collect::<Vec<_>>()
        .join(lang.pick(". ", "。"));
    let title = lang.pick(
        "Four workers, five tasks: who did which when",
        "四个工作进程、五个任务：谁在何时做哪一个",
    );
    let mut picture = Picture::new(
        format!("{}-gantt", cell_run.cell.bin),
        width,
        title.to_string(),
        desc,
    );
    let axis = Axis::new(100.0, width - 28.0, longest * 1.02);
    let mut y = 16.0;
    for (name, printout, tasks) in &printouts {
        picture.text(0.0, y, Anchor::Start, "strong", name);
        y = draw(&mut picture, printout, tasks, &axis, y + 10.0, lang) + 44.0;
    }
    let any = printouts
        .last()
        .is_some_and(|(_, _, tasks)| !tasks.is_empty());
    any.then_some(picture)
}

fn draw(
    picture: &mut Picture,
    printout: &Printout,
    tasks: &[GanttTask],
    axis: &Axis,
    top: f64,
    lang: Lang,
) -> f64 {
    let mut workers: Vec<usize> = tasks.iter().map(|task| task.who).collect();
    workers.sort_unstable();
    workers.dedup();
    let bottom = top + workers.len() as f64 * ROW;
    picture.seconds(axis, top, bottom);
    for (row, who) in workers.iter().enumerate() {
        let y = top + row as f64 * ROW;
        let speaker = &printout.speakers.all[*who];
        let id = speaker.id.as_deref().unwrap_or_default();
        let name = format!("{} {id}", speaker.mark);
        picture.text(0.0, y + 19.0, Anchor::Start, "", &name);
        let mut own: Vec<&GanttTask> = tasks.iter().filter(|task| task.who == *who).collect();
        // The shortest last: it stands on the bar of what followed at once.
        own.sort_by(|one, other| length(other).total_cmp(&length(one)));
        for task in own {
            bar(picture, task, axis, y, lang);
        }
    }
    bottom
}

fn bar(picture: &mut Picture, task: &GanttTask, axis: &Axis, y: f64, lang: Lang) {
    let (from, to) = (axis.x(task.from), axis.x(task.to.unwrap_or(axis.longest)));
    let class = format!("box {}", colour(task.who));
    let middle = y + ROW / 2.0;
    if to - from < 6.0 {
        // Too short for a bar: a mark that can be seen.
        let diamond = format!("M{from:.1} {:.1}l11 11l-11 11l-11 -11Z", middle - 11.0);
        picture.path(&diamond, &class);
        picture.text(from, middle + 4.0, Anchor::Middle, "on", &task.number);
        return;
    }
    picture.rect(from, y + 4.0, to - from, ROW - 8.0, &class);
    let (long, short) = (label(task, lang), task.number.clone());
    let text = if super::text_width(&long) + 8.0 < to - from {
        long
    } else {
        short
    };
    picture.text((from + to) / 2.0, middle + 4.0, Anchor::Middle, "on", &text);
}

fn length(task: &GanttTask) -> f64 {
    task.to.map_or(f64::MAX, |to| to - task.from)
}

fn label(task: &GanttTask, lang: Lang) -> String {
    let number = &task.number;
    match (task.to, lang) {
        (Some(to), Lang::En) => format!("task {number}, {:.2} s", to - task.from),
        (Some(to), Lang::Zh) => format!("任务 {number}，{:.2} 秒", to - task.from),
        (None, Lang::En) => format!("task {number}, never done"),
        (None, Lang::Zh) => format!("任务 {number}，没有做完"),
    }
}

/// The tasks: by arrival times where there are any, else by the seconds that were printed.
pub(crate) fn tasks(printout: &Printout, span: &TimeSpan, stretch: f64) -> Vec<GanttTask> {
    let lines = &printout.lines;
    let mut tasks: Vec<GanttTask> = Vec::new();
    let begin = printout.first(span.open).unwrap_or(0.0);
    for opened in lines.named(span.open) {
        let Some(who) = printout.speaker(opened.line) else {
            continue;
        };
        let number = opened.value(span.on).to_string();
        let closed = lines.partner(opened, span.close, span.on);
        let (from, to) = match opened.at {
            Some(_) => {
                let moment = |event: &Event| (event.seconds() - begin) * stretch;
                (moment(opened), closed.map(moment))
            }
            // A recording has no times: a worker's task began when its last one had ended.
            None => {
                let earlier = tasks.iter().filter(|task| task.who == who);
                let from = earlier.filter_map(|task| task.to).fold(0.0, f64::max);
                let printed = closed.zip(span.seconds);
                let took = printed.and_then(|(closed, field)| closed.value(field).parse().ok());
                (from, took.map(|took: f64| from + took))
            }
        };
        tasks.push(GanttTask {
            number,
            who,
            from,
            to,
        });
    }
    tasks
}
