//! `diff`: what the notebook printed beside what the last run printed, processes by their roles.

use std::fmt::Write;

use common::notebook::{Statistic, Trials, Variant};
use common::printout::Printout;
use common::speakers::Speaker;

use crate::Exit;
use crate::cell_run::CellRun;
use crate::cli::{Lang, ViewOptions};
use crate::output::{complain, say};
use crate::record::ReplayRecord;
use crate::select;
use crate::translations::padded;

/// How a line of this run stands to the notebook's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Same,
    /// In another order, which the table leaves free.
    Free,
    /// In another order, which it does not.
    Moved,
    /// A value that the table leaves open, as the balance of a race, or a line that may be there.
    Open,
    /// With other words or numbers.
    Changed,
    Missing,
    Extra,
}

/// The lines of both printouts, matched.
struct Matched {
    pairs: Vec<Places>,
    /// For each line of this run.
    now: Vec<Change>,
    /// For each line of the notebook.
    recorded: Vec<Change>,
}

pub(crate) fn diff(options: &ViewOptions, lang: Lang) -> anyhow::Result<Exit> {
    let cells = match select::named(&options.cells, lang) {
        Ok(cells) => cells,
        Err(sentence) => {
            complain!("{sentence}");
            return Ok(Exit::NoCell);
        }
    };
    let replays = ReplayRecord::read(options.run.as_deref())?;
    let mut same = true;
    let mut shown = false;
    for cell_run in CellRun::all(&replays)? {
        if cells.iter().any(|cell| cell.bin == cell_run.cell.bin) {
            shown = true;
            same &= show(&cell_run, lang)?;
        }
    }
    if !shown {
        let none = lang.pick(
            "the run has none of these cells: replay them with cargo xtask run",
            "这次运行里没有这些单元格：用 cargo xtask run 重放",
        );
        complain!("{none}");
        return Ok(Exit::NoCell);
    }
    Ok(if same { Exit::Held } else { Exit::Failed })
}

/// Prints the comparison, and says whether nothing changed but what may.
fn show(cell_run: &CellRun, lang: Lang) -> anyhow::Result<bool> {
    let name = cell_run.name(lang);
    let Some(recorded) = &cell_run.recorded else {
        let nothing = lang.pick(
            "the notebook has no output for this",
            "笔记里没有这一段的输出",
        );
        say!("{name}{}{nothing}\n", lang.colon())?;
        return Ok(true);
    };
    let (text, same) = compare(cell_run.variant, recorded, &cell_run.now, lang);
    say!("{name}\n{text}")?;
    Ok(same)
}

fn compare(variant: &Variant, recorded: &Printout, now: &Printout, lang: Lang) -> (String, bool) {
    let matched = matched(variant, recorded, now);
    let masked = |printout: &Printout| -> Vec<String> {
        (1..=printout.printed.len())
            .map(|line| untabbed(&printout.masked(line, |speaker| speaker.mark.clone())))
            .collect()
    };
    let (left, right) = (masked(recorded), masked(now));
    let width = left
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
        .max(12);
    let heading = padded(lang.pick("the notebook", "笔记"), width);
    let mut text = format!("    {heading}    {}\n", lang.pick("this run", "这次运行"));
    for row in 0..left.len().max(right.len()) {
        let one = left.get(row).map_or("", String::as_str);
        let gone = matched
            .recorded
            .get(row)
            .filter(|change| **change == Change::Missing);
        let mark = if gone.is_some() { "-" } else { " " };
        let mut line = format!("  {mark} {one:width$}");
        if let Some(other) = right.get(row) {
            let mark = match matched.now[row] {
                Change::Same | Change::Missing => " ",
                Change::Free => "↕",
                Change::Moved => "!",
                Change::Open => "~",
                Change::Changed => "≠",
                Change::Extra => "+",
            };
            let _ = write!(line, "  {mark} {other}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let count = |change| {
        let all = matched.now.iter().chain(&matched.recorded);
        all.filter(|known| **known == change).count()
    };
    let counts = Counts {
        changed: count(Change::Changed) + count(Change::Missing) + count(Change::Extra),
        free: count(Change::Free),
        moved: count(Change::Moved),
        open: count(Change::Open),
    };
    let who = who(recorded, now);
    if !who.is_empty() {
        let _ = writeln!(text, "  {}", who.join("  "));
    }
    let _ = writeln!(text, "  {}", counts.sentence(lang));
    (text, counts.changed == 0 && counts.moved == 0)
}

/// How many lines stand how to the notebook's.
struct Counts {
    changed: usize,
    free: usize,
    moved: usize,
    open: usize,
}

impl Counts {
    fn sentence(&self, lang: Lang) -> String {
        let Counts {
            changed,
            free,
            moved,
            open,
        } = self;
        let mut text = match lang {
            Lang::En => format!("{changed} changed, {free} moved (declared free)"),
            Lang::Zh => format!("{changed} 行有变化，{free} 行换了位置（次序本来不限）"),
        };
        if *moved > 0 {
            text += &match lang {
                Lang::En => format!(", {moved} moved and not free"),
                Lang::Zh => format!("，{moved} 行换了位置，而次序并非不限"),
            };
        }
        if *open > 0 {
            text += &match lang {
                Lang::En => format!(", {open} open (~ any such line is right)"),
                Lang::Zh => format!("，{open} 行不作规定（~ 这样的行怎样都对）"),
            };
        }
        text
    }
}

/// Which number each process had then and has now.
fn who(recorded: &Printout, now: &Printout) -> Vec<String> {
    let found = |mark: &str| now.speakers.all.iter().find(|speaker| speaker.mark == mark);
    let pair = |speaker: &Speaker| {
        let then = speaker.id.as_deref()?;
        let now = found(&speaker.mark)?.id.as_deref()?;
        (then != now || speaker.mark != now).then(|| format!("{} {then}→{now}", speaker.mark))
    };
    recorded.speakers.all.iter().filter_map(pair).collect()
}

fn matched(variant: &Variant, recorded: &Printout, now: &Printout) -> Matched {
    let name = |printout: &Printout, at: usize| printout.event(at + 1).map(|event| event.name);
    let mut matched = Matched {
        pairs: Vec::new(),
        now: vec![Change::Extra; now.printed.len()],
        recorded: vec![Change::Missing; recorded.printed.len()],
    };
    // Which of several workers gets a task is left free: they are compared as one.
    let role = |speaker: &Speaker| {
        let same = |other: &&Speaker| other.role.name == speaker.role.name;
        match recorded.speakers.all.iter().filter(same).count() {
            2.. if !speaker.role.mark.is_empty() => speaker.role.mark.to_string(),
            _ => speaker.mark.clone(),
        }
    };
    // The same words first, then lines of the same name.
    for exact in [true, false] {
        for then in 0..recorded.printed.len() {
            let alike = |at: &usize| match exact {
                true => recorded.masked(then + 1, role) == now.masked(at + 1, role),
                false => name(recorded, then).is_some() && name(recorded, then) == name(now, *at),
            };
            let open = |at: &usize| matched.now[*at] == Change::Extra;
            let found = (0..now.printed.len()).filter(open).find(alike);
            if let Some(at) = found.filter(|_| matched.recorded[then] == Change::Missing) {
                matched.pairs.push((then, at));
                matched.recorded[then] = Change::Same;
                matched.now[at] = match exact {
                    true => Change::Same,
                    false if any_value(variant, name(now, at)) => Change::Open,
                    false => Change::Changed,
                };
            }
        }
    }
    for at in 0..now.printed.len() {
        let named = name(now, at);
        let known = now.lines.lines().find(|line| Some(line.event) == named);
        if matched.now[at] == Change::Extra && known.is_some_and(|line| line.times.0 == 0) {
            matched.now[at] = Change::Open;
        }
    }
    let free = |one: Option<&str>, other: Option<&str>| {
        let pair = one.zip(other);
        variant
            .free
            .iter()
            .any(|(a, b)| pair == Some((*a, *b)) || pair == Some((*b, *a)))
    };
    // A line that came before another and now comes after it has moved, and so has the other; the
    // one that passed more lines is shown as such.
    while let Some((pair, passed)) = most_moved(&matched) {
        let lawful = |other: &Places| free(name(now, pair.1), name(now, other.1));
        if matched.now[pair.1] == Change::Same {
            matched.now[pair.1] = match passed.iter().all(lawful) {
                true => Change::Free,
                false => Change::Moved,
            };
        }
        matched.pairs.retain(|known| *known != pair);
    }
    matched
}

/// The places of a line in the notebook and in this run, from 0.
type Places = (usize, usize);

/// The pair that passed most others, with these; none when all are in order.
fn most_moved(matched: &Matched) -> Option<(Places, Vec<Places>)> {
    let passed = |pair: &Places| {
        let crosses = |other: &&Places| (pair.0 < other.0) != (pair.1 < other.1);
        matched
            .pairs
            .iter()
            .filter(|other| *other != pair)
            .filter(crosses)
            .copied()
            .collect()
    };
    let all = matched.pairs.iter().map(|pair| (*pair, passed(pair)));
    all.filter(|(_, passed): &(_, Vec<_>)| !passed.is_empty())
        .max_by_key(|(_, passed)| passed.len())
}

/// The outcome is an accident, and any number may come out; or the line may say anything at its end.
fn any_value(variant: &Variant, event: Option<&str>) -> bool {
    let accident = |trials: &Trials| trials.statistic == Statistic::AnyNonZero;
    let lines = variant.prints.iter().chain(variant.errors);
    variant.trials.as_ref().is_some_and(accident)
        || lines
            .filter(|line| Some(line.event) == event)
            .any(|line| line.text.ends_with(":line}"))
}

/// The line with blanks for its tabs.
fn untabbed(line: &str) -> String {
    let mut plain = String::new();
    for c in line.chars() {
        match c {
            '\t' => plain += &" ".repeat(8 - plain.chars().count() % 8),
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::notebook;
    use common::transcript::recorded_lines;

    fn against(bin: &str, text: &str) -> (String, bool) {
        let variant = &notebook::cell(bin).expect("it is in the table").variants[0];
        let recorded = Printout::recorded(variant).expect("it was recorded");
        let printed = recorded_lines(text, "");
        compare(
            variant,
            &recorded,
            &Printout::read(variant, printed),
            Lang::En,
        )
    }

    #[test]
    fn a_child_that_speaks_first_has_moved_freely_and_nothing_has_changed() {
        let (text, same) = against(
            "fork",
            "Process (7) start...\n\
             I am child process (9) and my parent is 7\n\
             I (7) just created a child process (9).\n",
        );
        assert!(same, "{text}");
        assert!(
            text.contains("0 changed, 1 moved (declared free)"),
            "{text}"
        );
        assert!(text.contains("P 28361→7  C 28461→9"), "{text}");
    }

    #[test]
    fn a_wrong_parent_has_changed() {
        let (text, same) = against(
            "fork",
            "Process (7) start...\n\
             I (7) just created a child process (9).\n\
             I am child process (9) and my parent is 1\n",
        );
        assert!(!same, "{text}");
    }

    #[test]
    fn an_order_that_is_not_free_is_no_free_move() {
        let (text, same) = against(
            "process",
            "Parent process 7.\n\
             Child process will start.\n\
             Child process end.\n\
             Run child process test (9)...\n",
        );
        assert!(!same, "{text}");
        assert!(text.contains("1 moved and not free"), "{text}");
    }
}
