//! A lane for each process or thread, from left to right in time.

use common::notebook::Role;
use common::transcript::{Event, line_and_field};

use super::{Anchor, Axis, Picture, WIDE, colour, with_end};
use crate::cell_run::CellRun;
use crate::cli::Lang;

const LANE: f64 = 72.0;

/// What a dot takes, with some room around it.
const DOT: f64 = 18.0;

/// Draws the lanes with their names, and how the run ended if not as it should; gives the y of each.
fn draw_lanes(
    picture: &mut Picture,
    (cell_run, lang): (&CellRun, Lang),
    axis: &Axis,
    names: &[(String, usize)],
    top: f64,
) -> Vec<f64> {
    let y = |row: usize| top + LANE * (row as f64 + 0.5);
    picture.seconds(axis, top, top + LANE * names.len() as f64, lang);
    for (row, (name, who)) in names.iter().enumerate() {
        let mut words = name.splitn(2, ' ');
        picture.rect(
            0.0,
            y(row) - 16.0,
            8.0,
            32.0,
            &format!("box {}", colour(*who)),
        );
        let first = words.next().unwrap_or_default();
        picture.text(14.0, y(row) - 2.0, Anchor::Start, "strong", first);
        let second = words.next().unwrap_or_default();
        picture.text(14.0, y(row) + 14.0, Anchor::Start, "small", second);
        picture.line((axis.left, y(row)), (axis.right, y(row)), "");
    }
    if let Some(how) = cell_run.cut_off(lang) {
        picture.cut_off(axis.right, top, top + LANE * names.len() as f64, &how);
    }
    (0..names.len()).map(y).collect()
}

/// An arrow for each item, from sender to receiver, and where the receiver was ended.
pub(super) fn items(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let printout = &cell_run.now;
    let (from, to) = cell_run.variant.arrows.first()?;
    let ((put, sent), (get, received)) = (line_and_field(from), line_and_field(to));
    let gets = |value: &str| {
        let mut gets = printout.lines.named(get);
        gets.find(|get| get.value(received) == value)
    };
    let desc = printout.lines.named(put).map(|put| {
        let (value, got) = (put.value(sent), gets(put.value(sent)));
        let (at, got_at) = (put.seconds(), got.map(Event::seconds));
        match (got_at, lang) {
            (Some(got_at), Lang::En) => format!("{value} put at {at:.3} s, got at {got_at:.3} s"),
            (Some(got_at), Lang::Zh) => format!("{value} 在 {at:.3} 秒放入，{got_at:.3} 秒取出"),
            (None, Lang::En) => format!("{value} put at {at:.3} s and never got"),
            (None, Lang::Zh) => format!("{value} 在 {at:.3} 秒放入，没有取出"),
        }
    });
    let title = lang.pick(
        "A writer, a queue, a reader: an arrow for each item",
        "写进程、队列、读进程：每个数据一支箭头",
    );
    let desc = desc.collect::<Vec<_>>().join(lang.semicolon());
    let mut picture = Picture::new(
        format!("{}-lanes", cell_run.cell.bin),
        width,
        title.to_string(),
        with_end(desc, cell_run, lang),
    );
    let axis = Axis::new(86.0, width - 30.0, cell_run.end());
    let names = [0, 1].map(|role| lane_name(cell_run, &cell_run.variant.roles[role], lang));
    let lanes = draw_lanes(&mut picture, (cell_run, lang), &axis, &names, 18.0);
    let (mut sides, mut labels) = ([Vec::new(), Vec::new()], Vec::new());
    for put in printout.lines.named(put) {
        let (x, value) = (axis.x(put.seconds()), put.value(sent));
        let y = lanes[0] + beside(&mut sides[0], x, [0.0, -DOT, DOT]);
        match gets(value).map(|get| axis.x(get.seconds())) {
            Some(got) => {
                // Below is written how the reader ended.
                let below = lanes[1] + beside(&mut sides[1], got, [0.0, -DOT, -2.0 * DOT]);
                picture.arrow((x, y), (got, below - 9.0), "");
                labels.push((got, below, "box m1", value));
            }
            None => picture.text(x, lanes[1], Anchor::Middle, "bad", "✗"),
        }
        labels.push((x, y, "box m0", value));
    }
    for (x, y, class, value) in labels {
        picture.dot(x, y, 8.0, class);
        picture.text(x, y + 4.0, Anchor::Middle, "on", value);
    }
    // The program prints no line for it, and ends in order only behind it.
    if cell_run.cut_off(lang).is_none() {
        let (x, y) = (axis.right, lanes[1]);
        cross(&mut picture, x, y);
        picture.text(x + 26.0, y + 26.0, Anchor::End, "bad", "terminate()");
    }
    (printout.speakers.all.len() == 2).then_some(picture)
}

fn cross(picture: &mut Picture, x: f64, y: f64) {
    for (dx, dy) in [(6.0, 6.0), (6.0, -6.0)] {
        picture.line((x - dx, y - dy), (x + dx, y + dy), "bad");
    }
}

/// Which of these places, from its lane, a dot takes so that it covers none of those that are there.
fn beside(there: &mut Vec<(f64, f64)>, x: f64, places: [f64; 3]) -> f64 {
    let free = |away: &f64| {
        let mut others = there.iter();
        others.all(|(other, level)| (other - x).abs() >= DOT || level != away)
    };
    let away = places.into_iter().find(free).unwrap_or(0.0);
    there.push((x, away));
    away
}

/// The name of a role's lane, with the number of its process, and the speaker whose colour it has.
fn lane_name(cell_run: &CellRun, role: &'static Role, lang: Lang) -> (String, usize) {
    let speakers = &cell_run.now.speakers.all;
    let found = speakers
        .iter()
        .position(|speaker| speaker.role.mark == role.mark);
    let id = found.and_then(|at| speakers[at].id.clone());
    let name = lang.role(role);
    (
        format!("{name} {}", id.unwrap_or_default()),
        found.unwrap_or(0),
    )
}

/// The ticks of a loop, beside the main thread that waits.
pub(super) fn ticks(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let printout = &cell_run.now;
    let ticks: Vec<String> = printout
        .lines
        .named("tick")
        .map(|tick| format!("{} {}", tick.value("n"), lang.seconds(tick.seconds(), 2)))
        .collect();
    let title = lang.pick(
        "The main thread waits in join; the loop ticks",
        "主线程在 join 里等待，循环每秒一次",
    );
    let desc = format!(
        "{}{}{}",
        lang.pick("Ticks", "每次打印"),
        lang.colon(),
        ticks.join(lang.comma())
    );
    let mut picture = Picture::new(
        format!("{}-ticks", cell_run.cell.bin),
        width,
        title.to_string(),
        with_end(desc, cell_run, lang),
    );
    let axis = Axis::new(118.0, width - 24.0, cell_run.end());
    let names: Vec<(String, usize)> = printout
        .speakers
        .all
        .iter()
        .enumerate()
        .map(|(who, speaker)| (speaker.mark.clone(), who))
        .collect();
    let lanes = draw_lanes(&mut picture, (cell_run, lang), &axis, &names, 8.0);
    for event in &printout.lines.events {
        let Some(who) = printout.speaker(event.line) else {
            continue;
        };
        let (x, y) = (axis.x(event.seconds()), lanes[who]);
        match event.name {
            "tick" => {
                picture.dot(x, y, 9.0, &format!("box {}", colour(who)));
                picture.text(x, y + 4.0, Anchor::Middle, "on", event.value("n"));
            }
            _ => picture.rect(
                x - 2.0,
                y - 14.0,
                4.0,
                28.0,
                &format!("box {}", colour(who)),
            ),
        }
    }
    if let [main, other] = lanes[..] {
        start_and_join(&mut picture, cell_run, &axis, (main, other), lang);
    }
    (names.len() == 2).then_some(picture)
}

/// The arrow that starts the loop, the one with which it is joined, and the wait between them: for as
/// much of it as there is a line.
fn start_and_join(
    picture: &mut Picture,
    cell_run: &CellRun,
    axis: &Axis,
    (main, other): (f64, f64),
    lang: Lang,
) {
    let lines = &cell_run.now.lines;
    let Some(start) = lines.named("running").nth(1).map(Event::seconds) else {
        return;
    };
    picture.arrow((axis.x(start), main), (axis.x(start), other - 15.0), "");
    let stop = lines.named("ended").next().map(Event::seconds);
    if let Some(stop) = stop {
        picture.arrow((axis.x(stop), other), (axis.x(stop), main + 15.0), "");
    }
    let wait = (axis.x(start) + axis.x(stop.unwrap_or(cell_run.end()))) / 2.0;
    picture.text(
        wait,
        main - 8.0,
        Anchor::Middle,
        "small",
        lang.pick("waits in join", "在 join 里等待"),
    );
}

/// Master, queues and worker; where no worker came, an empty lane and the wait for it.
pub(super) fn tasks(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let printout = &cell_run.now;
    let name = format!("{}-lanes", cell_run.slug());
    let puts = printout.lines.named("put").count();
    let results = printout.lines.named("result").count();
    let works = printout.lines.named("work").count();
    let worked = works > 0;
    let (title, desc) = about_tasks(cell_run, [puts, works, results], lang);
    let desc = with_end(desc, cell_run, lang);
    let mut picture = Picture::new(name, width, title, desc);
    let axis = Axis::new(86.0, width - 26.0, cell_run.end());
    let names = [
        (lang.pick("master", "主程序").to_string(), 0),
        (lang.pick("queues", "队列").to_string(), 2),
        (lang.pick("worker", "工作程序").to_string(), 1),
    ];
    let lanes = draw_lanes(&mut picture, (cell_run, lang), &axis, &names, 18.0);
    for put in printout.lines.named("put") {
        let x = axis.x(put.seconds());
        picture.arrow((x, lanes[0]), (x, lanes[1] - 5.0), "");
        picture.dot(x, lanes[0], 4.0, "box m0");
    }
    // Where nobody works, the wait is written above the lane.
    let (dx, dy) = if worked { (-4.0, -14.0) } else { (10.0, 30.0) };
    if let Some(at) = printout.first("put") {
        let (x, y) = (axis.x(at) + dx, lanes[0] + dy);
        picture.text(x, y, Anchor::Start, "small", &format!("{puts} × put"));
    }
    for work in printout.lines.named("work") {
        let x = axis.x(work.seconds());
        picture.arrow((x, lanes[1]), (x, lanes[2] - 5.0), "");
        picture.dot(x, lanes[2], 4.0, "box m1");
    }
    results_of(&mut picture, cell_run, &axis, (lanes[0], lanes[2]));
    if !worked {
        nobody(&mut picture, cell_run, &axis, &lanes, lang);
    } else {
        let text = format!("{results} × {}", lang.pick("result", "结果"));
        picture.text(axis.right, lanes[0] - 14.0, Anchor::End, "small", &text);
        let text = format!("{works} × {}", lang.pick("task", "任务"));
        picture.text(axis.right, lanes[2] + 24.0, Anchor::End, "small", &text);
    }
    Some(picture)
}

/// An arrow from each task, when work on it began, to its result. It is slanted: the next task begins
/// when a result comes, and two upright arrows would be one with two heads.
fn results_of(
    picture: &mut Picture,
    cell_run: &CellRun,
    axis: &Axis,
    (master, worker): (f64, f64),
) {
    let lines = &cell_run.now.lines;
    for result in lines.named("result") {
        let x = axis.x(result.seconds());
        if let Some(work) = lines.partner(result, "work", "a") {
            let from = (axis.x(work.seconds()), worker - 5.0);
            picture.arrow(from, (x, master + 5.0), "");
        }
        picture.dot(x, master, 4.0, "box m2");
    }
}

/// The title of the master's picture, and what there is to see in it.
fn about_tasks(
    cell_run: &CellRun,
    [puts, works, results]: [usize; 3],
    lang: Lang,
) -> (String, String) {
    let title = match (cell_run.variant.companion.is_some(), lang) {
        (true, Lang::En) if results < puts => {
            format!("With a worker: {results} of {puts} tasks came back as a result")
        }
        (true, Lang::Zh) if results < puts => {
            format!("有了工作程序：{puts} 个任务里有 {results} 个带着结果回来")
        }
        (true, Lang::En) => "With a worker: every task comes back as a result".to_string(),
        (true, Lang::Zh) => "有了工作程序：每个任务都带着结果回来".to_string(),
        (false, Lang::En) => "As recorded: nobody took the tasks".to_string(),
        (false, Lang::Zh) => "照原样：没有人领取任务".to_string(),
    };
    let gave_up = cell_run.now.first("empty");
    let desc = match (works > 0, gave_up, lang) {
        (true, _, Lang::En) => format!(
            "The master puts {puts} tasks; the worker works on {works}; {results} results come back."
        ),
        (true, _, Lang::Zh) => {
            format!("主程序放入 {puts} 个任务，工作程序做了 {works} 个，取回 {results} 个结果。")
        }
        (false, Some(at), Lang::En) => format!(
            "The master puts {puts} tasks, no worker comes, and after {at:.1} s it gives up with Empty."
        ),
        (false, Some(at), Lang::Zh) => {
            format!("主程序放入 {puts} 个任务，没有工作程序到来，{at:.1} 秒后以 Empty 告终。")
        }
        (false, None, Lang::En) => {
            format!("The master puts {puts} tasks, and no worker takes them")
        }
        (false, None, Lang::Zh) => format!("主程序放入 {puts} 个任务，没有工作程序领取"),
    };
    (title, desc)
}

/// The worker that took nothing, and the wait for it.
fn nobody(picture: &mut Picture, cell_run: &CellRun, axis: &Axis, lanes: &[f64], lang: Lang) {
    let printout = &cell_run.now;
    let end = printout.first("empty").unwrap_or(cell_run.end());
    let start = printout.first("try");
    if let Some(start) = start {
        waits(picture, axis, lanes[0], (start, end), lang);
    }
    if printout.first("empty").is_some() {
        let (x, y) = (axis.right, lanes[0]);
        cross(picture, x, y);
        picture.text(x + 22.0, y + 26.0, Anchor::End, "bad strong", "Empty");
    }
    let middle = axis.x((start.unwrap_or(0.0) + end) / 2.0);
    let nobody = match picture.width >= WIDE {
        true => lang.pick(
            "nobody came: the tasks stay in the queue",
            "没有人来：任务留在队列里",
        ),
        false => lang.pick("nobody came", "没有人来"),
    };
    // One that was connected did come.
    if printout.first("connect").is_none() {
        picture.text(middle, lanes[2] - 8.0, Anchor::Middle, "small", nobody);
    }
}

/// The wait for a result, from one second to another.
fn waits(picture: &mut Picture, axis: &Axis, y: f64, (start, end): (f64, f64), lang: Lang) {
    let (from, to) = (axis.x(start).max(axis.left + 8.0), axis.x(end));
    let (top, height) = (y - 9.0, 18.0);
    picture.rect(from, top, to - from, height, "plain");
    let strokes = ((to - from - height) / 12.0).max(0.0) as usize;
    let stroke = |n: usize| {
        let x = from + 12.0 * n as f64;
        format!("M{x:.1} {:.1}l{height} {:.1}", top + height, -height)
    };
    picture.path(&(0..strokes).map(stroke).collect::<String>(), "grid");
    let waits = lang.pick("waits for a result", "等待结果");
    let text = format!("{waits}{}{}", lang.colon(), lang.seconds(end - start, 1));
    picture.text((from + to) / 2.0, top - 6.0, Anchor::Middle, "", &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_one_moment_stand_beside_each_other() {
        let mut there = Vec::new();
        let levels = [0.0, -18.0, 18.0];
        let places = [10.0, 12.0, 15.0, 40.0].map(|x| beside(&mut there, x, levels));
        assert_eq!(places, [0.0, -18.0, 18.0, 0.0]);
    }
}
