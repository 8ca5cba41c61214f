//! Which worker did which task when, in the notebook above and in this run below.

use common::notebook::TimeSpan;
use common::printout::Printout;
use common::ratio;
use common::transcript::Event;

use super::{Anchor, Axis, Picture, colour, with_end};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// A task: who did it, from when to when.
pub(crate) struct GanttTask {
    pub(crate) number: String,
    pub(crate) who: usize,
    pub(crate) from: f64,
    /// None if it never ended.
    pub(crate) to: Option<f64>,
    /// Where its bar ends: with the task, or else with the run.
    pub(crate) last: f64,
}

/// The tasks of one printout, on the axis of seconds that all share.
pub(crate) struct GanttRun<'a> {
    pub(crate) name: String,
    pub(crate) printout: &'a Printout,
    pub(crate) tasks: Vec<GanttTask>,
    /// When and how it ended, if not as it should.
    pub(crate) cut_off: Option<(f64, String)>,
}

/// The tasks of the notebook, where it has some, and those of this run.
pub(crate) fn runs<'a>(cell_run: &'a CellRun, span: &TimeSpan, lang: Lang) -> Vec<GanttRun<'a>> {
    let mut runs = Vec::new();
    if let Some(recorded) = &cell_run.recorded {
        runs.push(GanttRun {
            name: lang.pick("the notebook", "笔记").to_string(),
            printout: recorded,
            tasks: tasks(recorded, span, 1.0, None),
            cut_off: None,
        });
    }
    // A quicker run is stretched to the notebook's pace: the same draws then look the same.
    let stretch = if cell_run.replay.pace > 0.0 {
        1.0 / cell_run.replay.pace
    } else {
        1.0
    };
    let now = &cell_run.now;
    let begin = now.first(span.open).unwrap_or(0.0);
    let end = (cell_run.end() - begin) * stretch;
    runs.push(GanttRun {
        name: match (stretch == 1.0, lang) {
            (true, Lang::En) => "this run".to_string(),
            (true, Lang::Zh) => "这次运行".to_string(),
            (false, Lang::En) => format!("this run, its times × {}", ratio::times(stretch)),
            (false, Lang::Zh) => format!("这次运行，时间 × {}", ratio::times(stretch)),
        },
        printout: now,
        tasks: tasks(now, span, stretch, Some(end)),
        cut_off: cell_run.cut_off(lang).map(|how| (end, how)),
    });
    runs
}

/// The longest of the runs.
pub(crate) fn longest(runs: &[GanttRun]) -> f64 {
    let tasks = runs.iter().flat_map(|run| &run.tasks);
    tasks.map(|task| task.last).fold(0.0, f64::max)
}

const ROW: f64 = 28.0;

/// The tasks on an axis of seconds that both runs share.
pub(super) fn gantt(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let span = cell_run.variant.spans.first()?;
    let runs = runs(cell_run, span, lang);
    let desc = |run: &GanttRun| {
        let tasks = run.tasks.iter().map(|task| {
            let mark = &run.printout.speakers.all[task.who].mark;
            format!("{mark}{}{}", lang.colon(), label(task, lang))
        });
        lang.listed(&run.name, tasks)
    };
    let desc = runs
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
        with_end(desc, cell_run, lang),
    );
    let axis = Axis::new(100.0, width - 28.0, longest(&runs) * 1.02);
    let mut y = 16.0;
    for run in &runs {
        picture.text(0.0, y, Anchor::Start, "strong", &run.name);
        y = draw(&mut picture, run, &axis, y + 10.0, lang) + 44.0;
    }
    let any = runs.last().is_some_and(|run| !run.tasks.is_empty());
    any.then_some(picture)
}

fn draw(picture: &mut Picture, run: &GanttRun, axis: &Axis, top: f64, lang: Lang) -> f64 {
    let tasks = &run.tasks;
    let mut workers: Vec<usize> = tasks.iter().map(|task| task.who).collect();
    workers.sort_unstable();
    workers.dedup();
    let bottom = top + workers.len() as f64 * ROW;
    picture.seconds(axis, top, bottom, lang);
    for (row, who) in workers.iter().enumerate() {
        let y = top + row as f64 * ROW;
        let speaker = &run.printout.speakers.all[*who];
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
    if let Some((end, how)) = &run.cut_off {
        picture.cut_off(axis.x(*end), top, bottom, how);
    }
    bottom
}

fn bar(picture: &mut Picture, task: &GanttTask, axis: &Axis, y: f64, lang: Lang) {
    let (from, to) = (axis.x(task.from), axis.x(task.last));
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
    task.last - task.from
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

/// The tasks: by arrival times where there are any, else by the seconds that were printed. What never
/// ended lasts to the end of the run, if that is known.
fn tasks(printout: &Printout, span: &TimeSpan, stretch: f64, end: Option<f64>) -> Vec<GanttTask> {
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
            last: to.or(end).unwrap_or(from),
        });
    }
    tasks
}
