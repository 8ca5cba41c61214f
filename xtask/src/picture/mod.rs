//! Pictures of a run, as SVG, drawn from the arrival times of its lines.
//!
//! A picture is drawn for a width, so that its letters have their size on a page and on a phone.
//! Colours and letters come from `picture.css`, by classes: `m0` to `m5` are the speakers of a run.

use std::fmt::Write;

use common::notebook::PictureKind;
use minijinja::HtmlEscape;

use crate::cell_run::CellRun;
use crate::cli::Lang;

mod compare;
pub(crate) mod gantt;
mod histogram;
mod lanes;
mod threads;
mod tree;

pub(crate) use histogram::{bins, rows};

/// The style of pictures; a page that shows them includes it once.
pub(crate) const STYLE: &str = include_str!("picture.css");

/// The widths for a page and for a phone, in pixels.
pub(crate) const WIDE: f64 = 720.0;
pub(crate) const NARROW: f64 = 340.0;

/// How many colours there are for speakers.
const COLOURS: usize = 6;

/// One picture, drawn for one width.
pub(crate) struct Picture {
    /// A word for it that no other picture of the run has.
    pub(crate) name: String,
    /// What it shows, in a few words.
    pub(crate) title: String,
    /// What there is to see in it, for those who do not see it.
    pub(crate) desc: String,
    width: f64,
    height: f64,
    body: String,
}

/// Where a text is anchored.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// The pictures of a cell run; `all` is the whole replay, as one picture shows several cell runs.
pub(crate) fn pictures(
    cell_run: &CellRun,
    all: &[CellRun],
    width: f64,
    lang: Lang,
) -> Vec<Picture> {
    let one = match cell_run.cell.picture {
        PictureKind::None => None,
        PictureKind::Tree => noted(tree::tree(cell_run, width, lang), cell_run, lang),
        PictureKind::Gantt => gantt::gantt(cell_run, width, lang),
        PictureKind::ItemLanes => lanes::items(cell_run, width, lang),
        PictureKind::TickLanes => lanes::ticks(cell_run, width, lang),
        PictureKind::TaskLanes => lanes::tasks(cell_run, width, lang),
        PictureKind::Slots => noted(threads::slots(cell_run, width, lang), cell_run, lang),
        PictureKind::Cost => compare::cost(cell_run, all, width, lang),
        PictureKind::Histogram => {
            let steps = threads::race(cell_run, width, lang);
            let histogram = histogram::histogram(cell_run, all, width, lang);
            return [Some(steps), histogram].into_iter().flatten().collect();
        }
        PictureKind::Compare => {
            let pictures = compare::compare(cell_run, width, lang).into_iter();
            let noted = |picture| noted(Some(picture), cell_run, lang);
            return pictures.filter_map(noted).collect();
        }
    };
    one.into_iter().collect()
}

/// A picture without an axis of time, with how the run ended below it, if not as it should.
fn noted(picture: Option<Picture>, cell_run: &CellRun, lang: Lang) -> Option<Picture> {
    let mut picture = picture?;
    if let Some(how) = cell_run.cut_off(lang) {
        let name = lang.pick("this run", "这次运行");
        let y = picture.height + 22.0;
        let said = format!("{name}{}{how}", lang.colon());
        picture.text(0.0, y, Anchor::Start, "bad", &said);
        picture.desc = with_end(picture.desc, cell_run, lang);
    }
    Some(picture)
}

impl Picture {
    fn new(name: impl Into<String>, width: f64, title: String, desc: String) -> Picture {
        Picture {
            name: name.into(),
            title,
            desc,
            width,
            height: 0.0,
            body: String::new(),
        }
    }

    /// Makes the picture reach down to here.
    fn reach(&mut self, y: f64) {
        self.height = self.height.max(y);
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let width = width.max(0.0);
        let _ = write!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"/>"#
        );
        self.reach(y + height);
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" class="{class}"/>"#,
            from.0, from.1, to.0, to.1
        );
        self.reach(from.1.max(to.1));
    }

    fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        let _ = write!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" class="{class}"/>"#
        );
        self.reach(y + radius);
    }

    fn path(&mut self, path: &str, class: &str) {
        let _ = write!(self.body, r#"<path d="{path}" class="{class}"/>"#);
    }

    fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#,
            HtmlEscape(text)
        );
        self.reach(y + 4.0);
    }

    /// A text that goes on in further lines where the width is used up; gives the y of the last.
    fn paragraph(&mut self, x: f64, y: f64, width: f64, class: &str, text: &str) -> f64 {
        let mut y = y;
        let mut line = String::new();
        for word in words(text) {
            if text_width(&line) + text_width(word.trim_end()) > width && !line.is_empty() {
                self.text(x, y, Anchor::Start, class, line.trim_end());
                line.clear();
                y += 16.0;
            }
            line += word;
        }
        self.text(x, y, Anchor::Start, class, line.trim_end());
        y
    }

    /// A line with a head at its end.
    fn arrow(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let neck = (to.0 - 7.0 * ux, to.1 - 7.0 * uy);
        self.line(from, neck, class);
        let (px, py) = (3.5 * -uy, 3.5 * ux);
        let head = format!(
            "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z",
            to.0,
            to.1,
            neck.0 + px,
            neck.1 + py,
            neck.0 - px,
            neck.1 - py
        );
        self.path(&head, &format!("head {class}"));
        self.reach(to.1);
    }

    /// An axis of seconds under the rows from `top` to `y`: a line and a figure for each step.
    fn seconds(&mut self, axis: &Axis, top: f64, y: f64, lang: Lang) {
        for (at, text) in axis.steps(lang) {
            let x = axis.x(at);
            self.line((x, top), (x, y), "grid");
            self.text(x, y + 14.0, Anchor::Middle, "small", &text);
        }
        self.line((axis.left, y), (axis.right, y), "axis");
    }

    /// Where a run ended that did not end as it should, across the rows from `top` to `y`, and how.
    fn cut_off(&mut self, x: f64, top: f64, y: f64, how: &str) {
        self.line((x, top), (x, y), "bad dash");
        self.text(self.width, y + 30.0, Anchor::End, "bad", how);
    }

    /// The picture as part of a page, which has [`STYLE`].
    pub(crate) fn inline(&self) -> String {
        self.svg("", "")
    }

    /// The picture as a file of its own.
    pub(crate) fn standalone(&self) -> String {
        let paper = format!(
            r#"<rect x="-12" y="-12" width="{:.0}" height="{:.0}" rx="8" class="paper"/>"#,
            self.width + 24.0,
            self.height + 32.0
        );
        self.svg(&format!("<style>{}</style>", STYLE.trim_end()), &paper) + "\n"
    }

    fn svg(&self, style: &str, paper: &str) -> String {
        let id = format!("{}-{:.0}", self.name, self.width);
        let edge = if paper.is_empty() { 0.0 } else { 12.0 };
        let (width, height) = (self.width + 2.0 * edge, self.height + 8.0 + 2.0 * edge);
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" "#,
                r#"aria-labelledby="{id}-t {id}-d" viewBox="{left} {left} {width:.0} {height:.0}" "#,
                r#"width="{width:.0}" height="{height:.0}">"#,
                r#"<title id="{id}-t">{title}</title><desc id="{id}-d">{desc}</desc>"#,
                "{style}{paper}{body}</svg>"
            ),
            id = id,
            left = -edge,
            width = width,
            height = height,
            title = HtmlEscape(&self.title),
            desc = HtmlEscape(&self.desc),
            style = style,
            paper = paper,
            body = self.body,
        )
    }
}

/// What there is to see in a picture, and how the run ended if not as it should.
fn with_end(desc: String, cell_run: &CellRun, lang: Lang) -> String {
    let how = cell_run.cut_off(lang).into_iter();
    let parts: Vec<String> = [desc].into_iter().chain(how).collect();
    parts.join(lang.semicolon())
}

/// The text cut where a line may end: behind a blank or a Chinese character, and never in front of
/// a Chinese comma or the like.
fn words(text: &str) -> Vec<&str> {
    let ends_line = |c: char| c == ' ' || c > '\u{2e7f}';
    let begins_none = |c: char| "，。：；、！？）".contains(c);
    let mut words = Vec::new();
    let mut from = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        let stays = letters.peek().is_some_and(|(_, next)| begins_none(*next));
        if ends_line(c) && !stays {
            let to = at + c.len_utf8();
            words.push(&text[from..to]);
            from = to;
        }
    }
    words.extend((from < text.len()).then_some(&text[from..]));
    words
}

/// The class of a speaker's colour.
fn colour(speaker: usize) -> String {
    format!("m{}", speaker % COLOURS)
}

/// How wide a text is, about: these are the letters of `picture.css`.
fn text_width(text: &str) -> f64 {
    let width = |c: char| match c {
        '\u{2e80}'.. => 13.0,
        '0'..='9' | '×' | 'µ' => 8.4,
        _ => 7.0,
    };
    text.chars().map(width).sum()
}

/// Seconds from 0, laid out from left to right.
struct Axis {
    left: f64,
    right: f64,
    longest: f64,
}

impl Axis {
    fn new(left: f64, right: f64, longest: f64) -> Axis {
        let longest = if longest > 0.0 { longest } else { 1.0 };
        Axis {
            left,
            right,
            longest,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        let fraction = (seconds / self.longest).clamp(0.0, 1.0);
        self.left + fraction * (self.right - self.left)
    }

    /// Round times along the axis, and how they are written.
    fn steps(&self, lang: Lang) -> Vec<(f64, String)> {
        let most = ((self.right - self.left) / 60.0).max(2.0);
        let step = round_step(self.longest / most);
        let (factor, unit) = match self.longest {
            longest if longest < 0.5 => (1000.0, lang.pick("ms", "毫秒")),
            _ => (1.0, lang.pick("s", "秒")),
        };
        let decimals = usize::from((step * factor).fract() > 1e-9);
        let text = |at: f64| format!("{:.decimals$} {unit}", at * factor);
        let steps = (self.longest / step + 1e-9) as usize;
        let all = (0..=steps).map(|step_at| step_at as f64 * step);
        all.map(|at| (at, text(at))).collect()
    }
}

/// The next of 1, 2, 5, 10, 20, … that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    step.into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_begins_with_a_chinese_comma() {
        assert_eq!(words("a line"), ["a ", "line"]);
        assert_eq!(
            words("读 5，写 13。"),
            ["读", " ", "5，", "写", " ", "13。"]
        );
        assert_eq!(words("结果，于是"), ["结", "果，", "于", "是"]);
    }
}
