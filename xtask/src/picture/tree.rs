//! `In [1]` and `In [2]`: who is whose parent, and who said what.

use super::{Anchor, Picture, WIDE, colour};
use crate::cli::Lang;
use crate::part::{Part, Side};

/// The notebook's processes and those of this run, each as parent over child.
pub(super) fn tree(part: &Part, width: f64, lang: Lang) -> Option<Picture> {
    let title = lang
        .pick(
            "Parent and child: who said which line",
            "父进程与子进程：哪一行是谁说的",
        )
        .to_string();
    let mut sides = Vec::new();
    if let Some(recorded) = &part.recorded {
        sides.push((lang.pick("the notebook", "笔记"), recorded));
    }
    sides.push((lang.pick("this run", "这次运行"), &part.now));
    let said = |(name, side): &(&str, &Side)| {
        let members = (0..side.cast.members.len()).map(|who| {
            let member = &side.cast.members[who];
            let id = member.id.as_deref().unwrap_or("?");
            format!("{} {id}: {}", member.mark, spoken(side, who, lang))
        });
        format!("{name}: {}", members.collect::<Vec<_>>().join("; "))
    };
    let desc = sides.iter().map(said).collect::<Vec<_>>().join(". ");
    let mut picture = Picture::new(format!("{}-tree", part.cell.bin), width, title, desc);
    let wide = width >= WIDE;
    let panel = if wide { width / 2.0 - 10.0 } else { width };
    let mut top = 16.0;
    for (at, (name, side)) in sides.iter().enumerate() {
        let left = if wide {
            at as f64 * (panel + 20.0)
        } else {
            0.0
        };
        draw(
            &mut picture,
            side,
            name,
            (left, top, panel),
            part.cell.python,
            lang,
        );
        if !wide {
            top = picture.height + 28.0;
        }
    }
    (part.now.cast.members.len() >= 2).then_some(picture)
}

fn draw(
    picture: &mut Picture,
    side: &Side,
    name: &str,
    (left, top, width): (f64, f64, f64),
    call: &str,
    lang: Lang,
) {
    picture.text(left, top, Anchor::Start, "strong", name);
    let mut y = top + 12.0;
    for (who, member) in side.cast.members.iter().enumerate() {
        let indent = if who == 0 { 0.0 } else { 40.0 };
        if who > 0 {
            let x = left + 20.0;
            picture.line((x, y - 12.0), (x, y + 24.0), "");
            picture.arrow((x, y + 24.0), (left + indent, y + 24.0), "");
            picture.text(x + 8.0, y + 4.0, Anchor::Start, "small", call);
            y += 10.0;
        }
        let id = member.id.as_deref().unwrap_or("?");
        let role = lang.pick(member.role.name, member.role.name_zh);
        let class = format!("box {}", colour(who));
        picture.rect(left + indent, y, 150.0, 28.0, &class);
        let text = format!("{} · {id}", member.mark);
        picture.text(
            left + indent + 75.0,
            y + 19.0,
            Anchor::Middle,
            "on strong",
            &text,
        );
        let beside = format!("{role}, {}", spoken(side, who, lang));
        let room = width - indent - 158.0;
        let end = picture.paragraph(left + indent + 158.0, y + 12.0, room, "small", &beside);
        y = (y + 40.0).max(end + 12.0);
    }
}

/// Which lines a member said, by their numbers.
fn spoken(side: &Side, who: usize, lang: Lang) -> String {
    let lines = (1..=side.printed.len()).filter(|line| side.speaker(*line) == Some(who));
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    match (lines.len(), lang) {
        (0, Lang::En) => "says nothing".to_string(),
        (0, Lang::Zh) => "没有说话".to_string(),
        (1, Lang::En) => format!("says line {}", lines[0]),
        (_, Lang::En) => format!("says lines {}", lines.join(", ")),
        (_, Lang::Zh) => format!("说了第 {} 行", lines.join("、")),
    }
}
