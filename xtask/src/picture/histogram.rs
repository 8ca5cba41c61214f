//! How often which outcome came, over the trials of all programs that have some.

use common::notebook::Statistic;

use super::{Anchor, Picture};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// The outcomes of one program over its trials.
pub(crate) struct HistogramRow {
    pub(crate) name: &'static str,
    pub(crate) outcomes: Vec<i64>,
    /// What the notebook printed, where that is an accident.
    pub(crate) recorded: Option<i64>,
}

/// The place of a balance on a symmetric logarithmic scale, two steps for each power of ten: 0 is
/// in the middle, 1 to 3 beside it, 4 to 9 next.
fn bin(value: i64) -> i64 {
    let steps = match value.unsigned_abs() {
        0 => return 0,
        size => 1 + (2.0 * (size as f64).log10()).floor() as i64,
    };
    steps * value.signum()
}

/// The numbers from which on, away from 0, a place holds a balance.
pub(crate) fn bounds(bin: i64) -> (i64, i64) {
    let edge = |steps: i64| 10_f64.powf((steps - 1) as f64 / 2.0).ceil() as i64;
    match bin.abs() {
        0 => (0, 0),
        steps => {
            let (low, high) = (edge(steps), edge(steps + 1) - 1);
            (low * bin.signum(), high * bin.signum())
        }
    }
}

/// How many outcomes fall at each place, from `-reach` to `reach`.
pub(crate) fn bins(outcomes: &[i64], reach: i64) -> Vec<usize> {
    let count = |place: i64| {
        outcomes
            .iter()
            .filter(|value| bin(**value) == place)
            .count()
    };
    (-reach..=reach).map(count).collect()
}

/// The programs with trials that were run, each with what came out, and how far from 0 the places
/// must reach to hold them all.
pub(crate) fn rows(cell_runs: &[CellRun], lang: Lang) -> (Vec<HistogramRow>, i64) {
    let mut rows = Vec::new();
    let mut reach = 0;
    for cell_run in cell_runs {
        let Some(trials) = &cell_run.variant.trials else {
            continue;
        };
        let printed = cell_run.recorded.as_ref();
        let recorded = printed
            .filter(|_| trials.statistic == Statistic::AnyNonZero)
            .and_then(|printout| printout.lines.values(trials.outcome).next()?.parse().ok());
        reach = recorded.map_or(reach, |value| reach.max(bin(value).abs() + 2));
        let own = cell_run.cell.program(cell_run.variant);
        let programs = [(own, trials.label)].into_iter();
        for (program, (english, chinese)) in programs.chain(
            trials
                .widened
                .map(|widened| (widened, trials.widened_label)),
        ) {
            let outcomes = cell_run.outcomes(program);
            reach = outcomes
                .iter()
                .fold(reach, |reach, value| reach.max(bin(*value).abs()));
            if !outcomes.is_empty() {
                rows.push(HistogramRow {
                    name: lang.pick(english, chinese),
                    outcomes,
                    recorded,
                });
            }
        }
    }
    (rows, reach)
}

/// A histogram for each of them, on one scale.
pub(super) fn histogram(
    cell_run: &CellRun,
    cell_runs: &[CellRun],
    width: f64,
    lang: Lang,
) -> Option<Picture> {
    let (rows, reach) = rows(cell_runs, lang);
    let desc = rows.iter().map(|row| {
        let zero = row.outcomes.iter().filter(|value| **value == 0).count();
        let (name, all) = (&row.name, row.outcomes.len());
        let (least, most) = (row.outcomes.iter().min(), row.outcomes.iter().max());
        let (least, most) = (least.unwrap_or(&0), most.unwrap_or(&0));
        match lang {
            Lang::En => format!("{name}: {zero} of {all} runs gave 0, from {least} to {most}"),
            Lang::Zh => format!("{name}：{all} 次里有 {zero} 次得 0，从 {least} 到 {most}"),
        }
    });
    let title = lang.pick(
        "The balance over many runs: it should be 0",
        "许多次运行的余额：本应是 0",
    );
    let desc = desc.collect::<Vec<_>>().join("; ");
    let mut picture = Picture::new(
        format!("{}-histogram", cell_run.cell.bin),
        width,
        title.to_string(),
        desc,
    );
    let (left, right) = (14.0, width - 14.0);
    let step = (right - left) / (2 * reach + 1) as f64;
    let x = |place: i64| left + (place + reach) as f64 * step;
    let mut y = 18.0;
    for row in &rows {
        y = draw(&mut picture, row, reach, y, step, &x, lang) + 30.0;
    }
    let bottom = y - 30.0;
    for place in -reach..=reach {
        if place % 2 == 1 || place == 0 || place % 2 == -1 {
            let low = bounds(place).0;
            let crowded = step < 22.0 && place.abs() % 4 == 3;
            if !crowded {
                let text = short(low);
                picture.text(
                    x(place) + step / 2.0,
                    bottom + 16.0,
                    Anchor::Middle,
                    "small",
                    &text,
                );
            }
        }
    }
    let notes = lang.pick(
        "Each lost update shifts the balance by 5 or 8. Scale: symmetric, logarithmic.",
        "每丢一次更新，余额就偏 5 或 8。刻度：对称、对数。",
    );
    picture.paragraph(left, bottom + 36.0, right - left, "small", notes);
    (!rows.is_empty()).then_some(picture)
}

fn draw(
    picture: &mut Picture,
    row: &HistogramRow,
    reach: i64,
    top: f64,
    step: f64,
    x: &dyn Fn(i64) -> f64,
    lang: Lang,
) -> f64 {
    let height = 64.0;
    let bottom = top + 24.0 + height;
    let counts = bins(&row.outcomes, reach);
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    picture.text(x(-reach), top, Anchor::Start, "strong", row.name);
    let lost = row.outcomes.len() - counts[reach as usize];
    let said = match lang {
        Lang::En => format!("{lost} of {} not 0", row.outcomes.len()),
        Lang::Zh => format!("{} 次中 {lost} 次不是 0", row.outcomes.len()),
    };
    picture.text(x(reach) + step, top, Anchor::End, "small", &said);
    if let Some(recorded) = row.recorded {
        let there = x(bin(recorded)) + step / 2.0;
        picture.line((there, top + 8.0), (there, bottom), "dash");
        let text = match lang {
            Lang::En => format!("the notebook: {recorded}"),
            Lang::Zh => format!("笔记：{recorded}"),
        };
        picture.text(there + 4.0, top + 18.0, Anchor::Start, "small", &text);
    }
    for (place, count) in (-reach..=reach).zip(counts).filter(|(_, count)| *count > 0) {
        let tall = (height * count as f64 / most as f64).max(2.0);
        let class = if place == 0 { "box zero" } else { "box lost" };
        picture.rect(x(place) + 1.0, bottom - tall, step - 2.0, tall, class);
        let text = count.to_string();
        let inside = tall > 18.0 && step > super::text_width(&text);
        if inside {
            picture.text(
                x(place) + step / 2.0,
                bottom - tall + 14.0,
                Anchor::Middle,
                "on",
                &text,
            );
        }
    }
    picture.line((x(-reach), bottom), (x(reach) + step, bottom), "axis");
    bottom
}

/// A number in few letters: `-1k`.
pub(crate) fn short(value: i64) -> String {
    match value.abs() {
        0..1_000 => value.to_string(),
        _ => format!("{}k", value / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_balance_has_one_place_and_the_places_bounds_hold_it() {
        for value in (-2_000..=2_000).chain([26_437, -26_437, 1_000_000]) {
            let (low, high) = bounds(bin(value));
            let (low, high) = (low.min(high), low.max(high));
            assert!((low..=high).contains(&value), "{value} in {low}..={high}");
        }
        assert_eq!((bin(5), bin(-8), bin(0)), (2, -2, 0));
    }
}
