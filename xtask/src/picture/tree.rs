//! `In [1]` and `In [2]`: who is whose parent, and who said what.

use common::printout::Printout;

use super::{Anchor, Picture, WIDE, colour};
use crate::cell_run::CellRun;
use crate::cli::Lang;

/// The notebook's processes and those of this run, each as parent over child.
pub(super) fn tree(cell_run: &CellRun, width: f64, lang: Lang) -> Option<Picture> {
    let title = lang
        .pick(
            "Parent and child: who said which line",
            "父进程与子进程：哪一行是谁说的",
        )
        .to_string();
    let mut printouts = Vec::new();
    if let Some(recorded) = &cell_run.recorded {
        printouts.push((lang.pick("the notebook", "笔记"), recorded));
    }
    printouts.push((lang.pick("this run", "这次运行"), &cell_run.now));
    let said = |(name, printout): &(&str, &Printout)| {
        let speakers = (0..printout.speakers.all.len()).map(|who| {
            let speaker = &printout.speakers.all[who];
            let id = speaker.id.as_deref().unwrap_or("?");
            format!(
                "{} {id}{}{}",
                speaker.mark,
                lang.colon(),
                spoken(printout, who, lang)
            )
        });
        lang.listed(name, speakers)
    };
    let desc = printouts
        .iter()
        .map(said)
        .collect::<Vec<_>>()
        .join(lang.pick(". ", "。"));
    let mut picture = Picture::new(format!("{}-tree", cell_run.cell.bin), width, title, desc);
    let wide = width >= WIDE;
    let panel = if wide { width / 2.0 - 10.0 } else { width };
    let mut top = 16.0;
    for (at, (name, printout)) in printouts.iter().enumerate() {
        let left = if wide {
            at as f64 * (panel + 20.0)
        } else {
            0.0
        };
        draw(
            &mut picture,
            printout,
            name,
            (left, top, panel),
            lang.python(cell_run.cell),
            lang,
        );
        if !wide {
            top = picture.height + 28.0;
        }
    }
    (cell_run.now.speakers.all.len() >= 2).then_some(picture)
}

fn draw(
    picture: &mut Picture,
    printout: &Printout,
    name: &str,
    (left, top, width): (f64, f64, f64),
    call: &str,
    lang: Lang,
) {
    picture.text(left, top, Anchor::Start, "strong", name);
    let mut y = top + 12.0;
    for (who, speaker) in printout.speakers.all.iter().enumerate() {
        let indent = if who == 0 { 0.0 } else { 40.0 };
        if who > 0 {
            let x = left + 20.0;
            picture.line((x, y - 12.0), (x, y + 24.0), "");
            picture.arrow((x, y + 24.0), (left + indent, y + 24.0), "");
            picture.text(x + 8.0, y + 4.0, Anchor::Start, "small", call);
            y += 10.0;
        }
        let id = speaker.id.as_deref().unwrap_or("?");
        let role = lang.role(speaker.role);
        let class = format!("box {}", colour(who));
        picture.rect(left + indent, y, 150.0, 28.0, &class);
        let text = format!("{} · {id}", speaker.mark);
        picture.text(
            left + indent + 75.0,
            y + 19.0,
            Anchor::Middle,
            "on strong",
            &text,
        );
        let beside = format!("{role}{}{}", lang.comma(), spoken(printout, who, lang));
        let room = width - indent - 158.0;
        let end = picture.paragraph(left + indent + 158.0, y + 12.0, room, "small", &beside);
        y = (y + 40.0).max(end + 12.0);
    }
}

/// Which lines a speaker said, by their numbers.
fn spoken(printout: &Printout, who: usize, lang: Lang) -> String {
    let lines = (1..=printout.printed.len()).filter(|line| printout.speaker(*line) == Some(who));
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    match (lines.len(), lang) {
        (0, Lang::En) => "says nothing".to_string(),
        (0, Lang::Zh) => "没有说话".to_string(),
        (1, Lang::En) => format!("says line {}", lines[0]),
        (_, Lang::En) => format!("says lines {}", lines.join(", ")),
        (_, Lang::Zh) => format!("说了第 {} 行", lines.join("、")),
    }
}
