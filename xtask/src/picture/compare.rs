//! Chapter 4: what a thread and a process cost, as bars, and the cost of a fork over memory.

use common::ratio;
use common::transcript::Event;

use super::{Anchor, Picture, WIDE, text_width};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// One measured figure, with the range that holds nine of ten rounds.
#[derive(Clone)]
struct Measurement {
    /// Of what: `thread`, `fork`, `zygote`, `spawn`.
    by: String,
    /// Its colour.
    class: &'static str,
    size: String,
    median: f64,
    low: f64,
    high: f64,
}

/// The figures of lines whose names begin so: `start` has `start_thread`, `start_fork`.
fn figures(cell_run: &CellRun, what: &str) -> Vec<Measurement> {
    let figure = |event: &Event| {
        let by = event.name.strip_prefix(what)?.strip_prefix('_')?;
        let number = |field: &str| event.value(field).parse::<f64>().ok();
        Some(Measurement {
            by: by.to_string(),
            class: class(by),
            size: event.value("size").to_string(),
            median: number("median")?,
            low: number("low")?,
            high: number("high")?,
        })
    };
    cell_run
        .now
        .lines
        .events
        .iter()
        .filter_map(figure)
        .collect()
}

/// The colour of a way, the same in every panel.
fn class(by: &str) -> &'static str {
    match by {
        "thread" => "m0",
        "fork" => "m1",
        "zygote" => "m2",
        _ => "m3",
    }
}

pub(super) fn compare(cell_run: &CellRun, width: f64, lang: Lang) -> Vec<Picture> {
    let pictures = [
        bars(cell_run, width, lang),
        fork_line(cell_run, width, lang),
    ];
    pictures.into_iter().flatten().collect()
}

/// A panel of bars: its title, its unit and its figures.
struct Panel {
    title: String,
    unit: &'static str,
    figures: Vec<Measurement>,
}

fn panels(cell_run: &CellRun, lang: Lang) -> Vec<Panel> {
    let of = |what: &str, size: &str| {
        let all = figures(cell_run, what).into_iter();
        all.filter(|figure| size.is_empty() || figure.size == size)
            .collect()
    };
    let panel = |en: &str, zh: &str, unit, figures| Panel {
        title: lang.pick(en, zh).to_string(),
        unit,
        figures,
    };
    let panels = vec![
        panel("start and join", "启动并等待结束", "µs", of("start", "0")),
        panel(
            "memory of one more",
            "再多一个占用的内存",
            "kB",
            of("memory", ""),
        ),
        panel("round trip of 64 B", "往返 64 B", "µs", of("trip", "64")),
        panel(
            "round trip of 1 MiB",
            "往返 1 MiB",
            "µs",
            of("trip", "1048576"),
        ),
        panel(
            "throughput at 64 B",
            "吞吐量，每条 64 B",
            "MB/s",
            of("rate", "64"),
        ),
        panel(
            "throughput at 1 MiB",
            "吞吐量，每条 1 MiB",
            "MB/s",
            of("rate", "1048576"),
        ),
        panel(
            "CPU work done by all processors",
            "用满处理器的计算",
            "×",
            of("work", ""),
        ),
    ];
    panels
        .into_iter()
        .filter(|panel| !panel.figures.is_empty())
        .collect()
}

fn bars(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let panels = panels(cell_run, lang);
    let desc = panels.iter().map(|panel| {
        let figures = panel
            .figures
            .iter()
            .map(|figure| format!("{} {} {}", figure.by, number(figure.median), panel.unit));
        let figures = figures.collect::<Vec<_>>().join(lang.comma());
        format!("{}{}{figures}", panel.title, lang.colon())
    });
    let title = lang.pick("What a thread and a process cost", "线程与进程各自的开销");
    let desc = desc.collect::<Vec<_>>().join(lang.semicolon());
    let mut picture = Picture::new("compare-bars", width, title.to_string(), desc);
    let columns = if width >= WIDE { 2 } else { 1 };
    let gap = 32.0;
    let wide = (width - gap * (columns - 1) as f64) / columns as f64;
    let mut top: f64 = 16.0;
    for row in panels.chunks(columns) {
        let mut bottom = top;
        for (at, panel) in row.iter().enumerate() {
            let left = at as f64 * (wide + gap);
            bottom = bottom.max(draw(&mut picture, panel, (left, top, wide), lang));
        }
        top = bottom + 30.0;
    }
    let note = lang.pick(
        "Bar: median. Thin line: from the 5th to the 95th percentile; with an arrow, it goes on to the \
         figure behind it. Dashed line: the work of one thread alone.",
        "条：中位数。细线：第 5 到第 95 百分位；带箭头的画不下，终点写在后面。虚线：单个线程的计算。",
    );
    picture.paragraph(0.0, top - 6.0, width, "small", note);
    (!panels.is_empty()).then_some(picture)
}

impl Panel {
    /// What the whole width stands for. Every range has room up to twice the longest bar; one that goes
    /// on would leave too little of the bars.
    fn most(&self) -> f64 {
        let longest = |of: fn(&Measurement) -> f64| self.figures.iter().map(of).fold(0.0, f64::max);
        let (median, high) = (
            longest(|figure| figure.median),
            longest(|figure| figure.high),
        );
        high.clamp(median, 2.0 * median).max(1e-9)
    }
}

/// What stands behind each bar: the figure, how many times the first it is, and where its range ends
/// if there is no room for it.
fn labels(panel: &Panel, lang: Lang) -> Vec<String> {
    let first = panel.figures.first().map_or(1.0, |figure| figure.median);
    let label = |(at, figure): (usize, &Measurement)| {
        let times = ratio::times(figure.median / first.max(1e-9));
        let label = match panel.unit {
            "×" => format!("×{:.2}", figure.median),
            unit if at == 0 => format!("{} {unit}", number(figure.median)),
            unit => format!("{} {unit} ×{times}", number(figure.median)),
        };
        match (figure.high > panel.most(), lang) {
            (false, _) => label,
            (true, Lang::En) => format!("{label}, to {}", number(figure.high)),
            (true, Lang::Zh) => format!("{label}，到 {}", number(figure.high)),
        }
    };
    panel.figures.iter().enumerate().map(label).collect()
}

fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> f64 {
    texts.map(|text| text_width(text)).fold(0.0, f64::max)
}

fn draw(
    picture: &mut Picture,
    panel: &Panel,
    (left, top, width): (f64, f64, f64),
    lang: Lang,
) -> f64 {
    picture.text(left, top, Anchor::Start, "strong", &panel.title);
    let labels = labels(panel, lang);
    let name = widest(panel.figures.iter().map(|figure| &figure.by)).max(44.0) + 8.0;
    let room = width - name - widest(labels.iter()) - 22.0;
    let most = panel.most();
    let mut y = top + 8.0;
    for (figure, text) in panel.figures.iter().zip(&labels) {
        let x = |value: f64| left + name + (room * value / most).clamp(0.0, room);
        picture.text(left, y + 15.0, Anchor::Start, "", &figure.by);
        let class = format!("box {}", figure.class);
        picture.rect(
            left + name,
            y + 2.0,
            (x(figure.median) - left - name).max(1.5),
            16.0,
            &class,
        );
        let (low, high) = ((x(figure.low), y + 10.0), (x(figure.high), y + 10.0));
        match figure.high > most {
            true => picture.arrow(low, high, "range"),
            false => picture.line(low, high, "range"),
        }
        let after = x(figure.median.max(figure.high)) + 6.0;
        picture.text(after, y + 15.0, Anchor::Start, "small", text);
        y += 24.0;
    }
    if panel.unit == "×" {
        let alone = left + name + room / most;
        picture.line((alone, top + 8.0), (alone, y), "dash");
    }
    y
}

/// What a change of the balance costs without a lock, as one step and with a lock: the time of each
/// run by its changes, over the trials of all cells that have some.
pub(super) fn cost(cell_run: &CellRun, all: &[CellRun], width: f64, lang: Lang) -> Option<Picture> {
    // One picture for both variants.
    if !std::ptr::eq(cell_run.variant, &cell_run.cell.variants[0]) {
        return None;
    }
    let mut figures: Vec<Measurement> = all.iter().filter_map(|of| per_change(of, lang)).collect();
    for (figure, class) in figures.iter_mut().zip(["m1", "m0", "m2"]) {
        figure.class = class;
    }
    let panel = Panel {
        title: lang.pick("time for a change", "一次修改的用时").to_string(),
        unit: "ns",
        figures,
    };
    let said = panel.figures.iter().map(|figure| {
        let (by, median) = (&figure.by, number(figure.median));
        format!("{by}{}{median} ns", lang.colon())
    });
    let desc = said.collect::<Vec<_>>().join(lang.semicolon());
    let title = lang.pick(
        "What the lock costs: nanoseconds for a change",
        "锁的代价：一次修改用多少纳秒",
    );
    let name = format!("{}-cost", cell_run.cell.bin);
    let mut picture = Picture::new(name, width, title.to_string(), desc);
    let bottom = draw(&mut picture, &panel, (0.0, 16.0, width), lang);
    let note = lang.pick(
        "A change adds a number and takes it away again, and both threads make a million at the same \
         time. Measured as the time of each run, with the start of the program. Bar: median. Thin \
         line: from the 5th to the 95th percentile; with an arrow, it goes on to the figure behind it.",
        "一次修改是加上一个数再减去它；两个线程同时各做一百万次。按每次运行的用时计算，包括程序的启动。\
         条：中位数。细线：第 5 到第 95 百分位；带箭头的画不下，终点写在后面。",
    );
    picture.paragraph(0.0, bottom + 24.0, width, "small", note);
    (panel.figures.len() > 1).then_some(picture)
}

/// The nanoseconds that a change took in the runs of the cell's own program.
fn per_change(cell_run: &CellRun, lang: Lang) -> Option<Measurement> {
    let trials = cell_run.variant.trials.as_ref()?;
    let own = cell_run.cell.program(cell_run.variant);
    let runs = cell_run.record.runs.iter();
    // One that was cut off has not made all its changes.
    let runs = runs.filter(|run| run.bin == own && run.exit == Some(0));
    let mut nanos: Vec<f64> = runs
        .map(|run| run.seconds * 1e9 / trials.changes as f64)
        .collect();
    nanos.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (part * nanos.len() as f64) as usize;
        nanos.get(place.min(nanos.len().saturating_sub(1))).copied()
    };
    let (english, chinese) = trials.label;
    Some(Measurement {
        by: lang.pick(english, chinese).to_string(),
        class: "m3",
        size: String::new(),
        median: at(0.5)?,
        low: at(0.05)?,
        high: at(0.95)?,
    })
}

/// What a start costs when the program that starts already holds so much memory.
fn fork_line(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let figures = figures(cell_run, "start");
    let size = |figure: &Measurement| figure.size.parse::<f64>().unwrap_or(0.0);
    let largest = figures.iter().map(size).fold(0.0, f64::max);
    let most = figures.iter().map(|figure| figure.high).fold(0.0, f64::max) / 1000.0;
    let desc = figures.iter().map(|figure| {
        format!(
            "{}{}{} MiB{}{} µs",
            figure.by,
            lang.comma(),
            figure.size,
            lang.colon(),
            number(figure.median)
        )
    });
    let desc = desc.collect::<Vec<_>>().join(lang.semicolon());
    let title = lang.pick(
        "Start and join over the memory of the program that starts",
        "启动者占用的内存越大，fork 越贵",
    );
    let mut picture = Picture::new("fork-cost", width, title.to_string(), desc);
    if largest == 0.0 || most == 0.0 {
        return None;
    }
    let (left, right, top, bottom) = (46.0, width - 74.0, 26.0, 206.0);
    let x = |mib: f64| left + (right - left) * mib / largest;
    let y = |ms: f64| bottom - (bottom - top) * ms / most;
    let step = super::round_step(most / 4.0);
    for at in 0..=(most / step + 1e-9) as usize {
        let ms = at as f64 * step;
        picture.line((left, y(ms)), (right, y(ms)), "grid");
        picture.text(left - 6.0, y(ms) + 4.0, Anchor::End, "small", &number(ms));
    }
    picture.text(
        0.0,
        12.0,
        Anchor::Start,
        "small",
        lang.pick("ms, median", "毫秒，中位数"),
    );
    let mut sizes: Vec<f64> = figures.iter().map(size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut last = f64::MIN;
    for mib in sizes {
        let text = format!("{mib:.0}");
        if x(mib) - last >= text_width(&text) + 6.0 {
            picture.text(x(mib), bottom + 16.0, Anchor::Middle, "small", &text);
            last = x(mib);
        }
    }
    let unit = lang.pick("MiB in the program that starts", "启动者占用的内存，MiB");
    picture.text(
        (left + right) / 2.0,
        bottom + 34.0,
        Anchor::Middle,
        "small",
        unit,
    );
    lines(&mut picture, &figures, &x, &y, right);
    Some(picture)
}

/// A line for each way, with its name at its end, behind a dot of its colour.
fn lines(
    picture: &mut Picture,
    figures: &[Measurement],
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
    right: f64,
) {
    let mut ways: Vec<&str> = figures.iter().map(|figure| figure.by.as_str()).collect();
    ways.sort_unstable();
    ways.dedup();
    let mut names: Vec<(f64, &str)> = Vec::new();
    for way in ways {
        let of = figures.iter().filter(|figure| figure.by == way);
        let points = of.map(|figure| {
            let mib = figure.size.parse::<f64>().unwrap_or(0.0);
            (x(mib), y(figure.median / 1000.0))
        });
        let points: Vec<(f64, f64)> = points.collect();
        for pair in points.windows(2) {
            picture.line(pair[0], pair[1], "");
        }
        for (px, py) in &points {
            picture.dot(*px, *py, 5.0, &format!("box {}", class(way)));
        }
        names.extend(points.last().map(|(_, py)| (*py, way)));
    }
    // Names of lines that end at the same place stand above each other.
    names.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut free = f64::MAX;
    for (py, way) in names {
        let at = (py + 4.0).min(free - 16.0);
        picture.dot(right + 14.0, at - 4.0, 4.0, &format!("box {}", class(way)));
        picture.text(right + 22.0, at, Anchor::Start, "", way);
        free = at;
    }
}

/// A figure with as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract().abs() < 1e-9 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
