//! How often which outcome came, over the trials of all programs that have some.

use std::collections::BTreeSet;

use common::notebook::Statistic;

use super::{Anchor, Picture};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// The widest bar.
const BAR: f64 = 56.0;

/// The outcomes of one program over its trials.
pub(crate) struct HistogramRow {
    pub(crate) name: &'static str,
    pub(crate) outcomes: Vec<i64>,
    /// How many runs there were, those among them that ended without an outcome.
    pub(crate) runs: usize,
    /// What the notebook printed, where that is an accident.
    pub(crate) recorded: Option<i64>,
}

/// A bin on the axis: one value, or at an end all values from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bin {
    low: i64,
    high: i64,
}

impl Bin {
    pub(crate) fn holds(self, value: i64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// How many of the outcomes it holds.
    pub(crate) fn count(self, outcomes: &[i64]) -> usize {
        let here = outcomes.iter().filter(|value| self.holds(**value));
        here.count()
    }

    pub(crate) fn label(self) -> String {
        match self {
            Bin { low, high } if low == high => low.to_string(),
            Bin { low, high } => format!("{low}…{high}"),
        }
    }
}

/// A bin for every value that came out anywhere, and for those that the notebook printed. Where
/// there are more than `most`, the values farthest from 0 share one bin at their end.
pub(crate) fn bins(rows: &[HistogramRow], most: usize) -> Vec<Bin> {
    let values = rows.iter().flat_map(|row| row.outcomes.iter().copied());
    let recorded = rows.iter().filter_map(|row| row.recorded);
    let values: BTreeSet<i64> = values.chain(recorded).chain([0]).collect();
    let one = |value| Bin {
        low: value,
        high: value,
    };
    let mut bins: Vec<Bin> = values.into_iter().map(one).collect();
    while bins.len() > most.max(3) {
        let last = bins.len() - 1;
        // The end whose inner neighbour is farther from 0 gives up a bin.
        let at = match bins[1].low.unsigned_abs() > bins[last - 1].high.unsigned_abs() {
            true => 0,
            false => last - 1,
        };
        bins[at].high = bins[at + 1].high;
        bins.remove(at + 1);
    }
    bins
}

/// The programs with trials that were run, each with what came out.
pub(crate) fn rows(cell_runs: &[CellRun], lang: Lang) -> Vec<HistogramRow> {
    let mut rows = Vec::new();
    for cell_run in cell_runs {
        let Some(trials) = &cell_run.variant.trials else {
            continue;
        };
        let printed = cell_run.recorded.as_ref();
        let recorded = printed
            .filter(|_| trials.statistic == Statistic::AnyNonZero)
            .and_then(|printout| printout.lines.values(trials.outcome).next()?.parse().ok());
        let own = cell_run.cell.program(cell_run.variant);
        let programs = [(own, trials.label)].into_iter();
        for (program, (english, chinese)) in programs.chain(
            trials
                .widened
                .map(|widened| (widened, trials.widened_label)),
        ) {
            let outcomes = cell_run.outcomes(program);
            if !outcomes.is_empty() {
                let runs = cell_run.record.runs.iter();
                rows.push(HistogramRow {
                    name: lang.pick(english, chinese),
                    outcomes,
                    runs: runs.filter(|run| run.bin == program).count(),
                    recorded,
                });
            }
        }
    }
    rows
}

impl HistogramRow {
    /// How many of the outcomes are not 0, and how many runs ended without an outcome.
    pub(crate) fn said(&self, lang: Lang) -> String {
        let all = self.outcomes.len();
        let lost = self.outcomes.iter().filter(|value| **value != 0).count();
        let said = match lang {
            Lang::En => format!("{lost} of {all} not 0"),
            Lang::Zh => format!("{all} 次中 {lost} 次不是 0"),
        };
        let runs = self.runs;
        match (runs - all, lang) {
            (0, _) => said,
            (without, Lang::En) => {
                format!("{said}; {without} of {runs} runs ended without an outcome")
            }
            (without, Lang::Zh) => format!("{said}；{runs} 次运行中 {without} 次没有得数"),
        }
    }
}

/// A histogram for each of them, on one scale.
pub(super) fn histogram(
    cell_run: &CellRun,
    cell_runs: &[CellRun],
    width: f64,
    lang: Lang,
) -> Option<Picture> {
    let rows = rows(cell_runs, lang);
    let desc = rows.iter().map(|row| {
        let zero = row.outcomes.iter().filter(|value| **value == 0).count();
        let (name, all) = (&row.name, row.runs);
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
    let desc = desc.collect::<Vec<_>>().join(lang.semicolon());
    let mut picture = Picture::new(
        format!("{}-histogram", cell_run.cell.bin),
        width,
        title.to_string(),
        desc,
    );
    let (left, right) = (44.0, width - 14.0);
    let axis = ValueAxis::new(&rows, left, right);
    let mut y = 18.0;
    for row in &rows {
        y = draw(&mut picture, row, &axis, y, lang) + 30.0;
    }
    let bottom = y - 30.0;
    for (at, bin) in axis.bins.iter().enumerate() {
        let middle = axis.x(at) + axis.step / 2.0;
        picture.text(middle, bottom + 16.0, Anchor::Middle, "small", &bin.label());
    }
    let notes = lang.pick(
        "Across: the balance at the end, every value that came out. Up: the share of the runs. Each \
         lost update shifts the balance by 5 or by 8.",
        "横轴：最后的余额，凡出现过的值都列出。纵轴：占总次数的比例。每丢一次更新，余额就偏 5 或 8。",
    );
    picture.paragraph(left, bottom + 36.0, right - left, "small", notes);
    (!rows.is_empty()).then_some(picture)
}

/// The axis that all rows share.
struct ValueAxis {
    bins: Vec<Bin>,
    left: f64,
    right: f64,
    step: f64,
}

impl ValueAxis {
    fn new(rows: &[HistogramRow], left: f64, right: f64) -> ValueAxis {
        let mut most = usize::MAX;
        loop {
            let bins = bins(rows, most);
            let step = (right - left) / bins.len() as f64;
            let wide = |bin: &Bin| {
                let counts = rows.iter().map(|row| bin.count(&row.outcomes).to_string());
                let texts = counts.chain([bin.label()]);
                texts
                    .map(|text| super::text_width(&text))
                    .fold(0.0, f64::max)
                    + 6.0
            };
            let widest = bins.iter().map(wide).fold(0.0, f64::max);
            if widest <= step || bins.len() <= 3 {
                return ValueAxis {
                    bins,
                    left,
                    right,
                    step,
                };
            }
            most = bins.len() - 1;
        }
    }

    fn x(&self, at: usize) -> f64 {
        self.left + at as f64 * self.step
    }
}

fn draw(picture: &mut Picture, row: &HistogramRow, axis: &ValueAxis, top: f64, lang: Lang) -> f64 {
    let height = 64.0;
    let bottom = top + 24.0 + height;
    let all = row.outcomes.len();
    picture.text(axis.left, top, Anchor::Start, "strong", row.name);
    let said = row.said(lang);
    picture.text(axis.right, top, Anchor::End, "small", &said);
    for share in [0.5, 1.0] {
        let y = bottom - height * share;
        picture.line((axis.left, y), (axis.right, y), "grid");
        let text = format!("{:.0}%", 100.0 * share);
        picture.text(axis.left - 4.0, y + 4.0, Anchor::End, "small", &text);
    }
    for (at, bin) in axis.bins.iter().enumerate() {
        let middle = axis.x(at) + axis.step / 2.0;
        if let Some(recorded) = row.recorded.filter(|value| bin.holds(*value)) {
            picture.line((middle, top + 8.0), (middle, bottom - 16.0), "dash");
            let text = match lang {
                Lang::En => format!("the notebook: {recorded}"),
                Lang::Zh => format!("笔记：{recorded}"),
            };
            let fits = middle + 4.0 + super::text_width(&text) <= axis.right;
            let (x, anchor) = match fits {
                true => (middle + 4.0, Anchor::Start),
                false => (middle - 4.0, Anchor::End),
            };
            picture.text(x, top + 18.0, anchor, "small", &text);
        }
        let count = bin.count(&row.outcomes);
        if count == 0 {
            continue;
        }
        let tall = (height * count as f64 / all as f64).max(1.0);
        let class = if bin.holds(0) { "box zero" } else { "box lost" };
        let wide = (axis.step - 2.0).min(BAR);
        picture.rect(middle - wide / 2.0, bottom - tall, wide, tall, class);
        let (y, class) = match tall > 18.0 {
            true => (bottom - tall + 14.0, "on"),
            false => (bottom - tall - 3.0, "small"),
        };
        picture.text(middle, y, Anchor::Middle, class, &count.to_string());
    }
    picture.line((axis.left, bottom), (axis.right, bottom), "axis");
    bottom
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcomes: &[i64], recorded: Option<i64>) -> HistogramRow {
        HistogramRow {
            name: "a program",
            outcomes: outcomes.to_vec(),
            runs: outcomes.len(),
            recorded,
        }
    }

    fn labels(bins: &[Bin]) -> Vec<String> {
        bins.iter().map(|bin| bin.label()).collect()
    }

    #[test]
    fn every_value_that_came_out_has_a_place_of_its_own() {
        let rows = [row(&[5, 0, -8, 5], Some(13)), row(&[0], None)];
        let bins = bins(&rows, usize::MAX);
        assert_eq!(labels(&bins), ["-8", "0", "5", "13"]);
        assert_eq!(bins[2].count(&rows[0].outcomes), 2);
    }

    #[test]
    fn values_far_from_0_share_a_place_where_there_is_no_room() {
        let values = [-900, -40, -5, 0, 5, 30, 2000];
        let bins = bins(&[row(&values, None)], 5);
        assert_eq!(labels(&bins), ["-900…-40", "-5", "0", "5", "30…2000"]);
        let held: usize = bins.iter().map(|bin| bin.count(&values)).sum();
        assert_eq!(held, values.len());
    }
}
