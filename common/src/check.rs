//! Judges the lines of one run by the checks of the table.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::evidence::{Evidence, Timing};
use crate::notebook::Check;
use crate::observed::Observed;
use crate::transcript::{Event, Transcript, line_and_field};

/// By how many seconds a line may arrive too late. A busy machine may take as long until the process
/// prints and the replay reads.
const LATE: f64 = 1.0;

/// By how many seconds a line may arrive too early, because the line that it is measured from arrived
/// late.
const EARLY: f64 = 0.2;

/// The same for one run: more, if the replay itself had to wait for its turn.
fn early(observed: &Observed) -> f64 {
    EARLY + observed.stall.as_secs_f64()
}

/// What a check found: `Ok` with the evidence, `Err` with the line, if there is one, and what is
/// wrong.
pub type Finding = Result<Evidence, (Option<usize>, Evidence)>;

fn wrong(line: Option<&Event>, why: Evidence) -> Finding {
    Err((line.map(|event| event.line), why))
}

impl Check {
    /// Judges the lines of one run. `observed` is what the operating system showed of it. Without it,
    /// as for a recording, a check of time or of the system is `None`.
    pub fn judge(&self, lines: &Transcript, observed: Option<&Observed>) -> Option<Finding> {
        let finding = match *self {
            Check::First(name) => edge(lines, name, |lines| lines.next()),
            Check::Last(name) => edge(lines, name, |lines| lines.last()),
            Check::Before(first, then) => before(lines, first, then),
            Check::Order(names) => order(lines, names),
            Check::BeforeEach { first, then, on } => before_each(lines, first, then, on),
            Check::Set(field, want) => set(lines, field, want),
            Check::Sequence(field, want) => same(want, &Vec::from_iter(lines.values(field))),
            Check::SameSequence(one, other) => same(
                &Vec::from_iter(lines.values(one)),
                &Vec::from_iter(lines.values(other)),
            ),
            Check::Every(field, want) => every(lines, field, |value| value == want),
            Check::Pairs(line, one, other, want) => pairs(lines, line, one, other, want),
            Check::Same(fields) => one_value(lines, fields),
            Check::Differ(one, other) => {
                let ones = BTreeSet::from_iter(lines.values(one));
                every(lines, other, |value| !ones.contains(value))
            }
            Check::Distinct(field, least, most) => distinct(lines, field, least, most),
            Check::Range(field, low, high) => range(lines, field, low, high),
            Check::Seconds(field, low, high) => {
                // A recording ran at the notebook's pace, and was measured to the hundredth.
                let (pace, slack) = observed.map_or((1.0, 0.0), |seen| (seen.pace, LATE));
                range(lines, field, low * pace, high * pace + slack)
            }
            Check::Less(one, other) => numbers(lines, [one, other, other], |a, b, _| a < b),
            Check::Product(a, b, product) => numbers(lines, [a, b, product], |a, b, p| a * b == p),
            Check::AtMostOpen {
                open,
                close,
                on,
                limit,
            } => at_most_open(lines, open, close, on, limit),
            Check::OneAtATime {
                open,
                close,
                on,
                by,
            } => one_at_a_time(lines, open, close, on, by),
            Check::Lasts {
                from,
                to,
                on,
                printed,
            } => lasts(lines, [from, to, on, printed], early(observed?)),
            Check::Gaps(name, seconds) => gaps(lines, name, seconds * observed?.pace),
            Check::After(first, then, seconds) => {
                let observed = observed?;
                let seconds = seconds * observed.pace;
                after(lines, first, then, seconds, early(observed))
            }
            Check::Started(field) | Check::Parent(field) => {
                let pid = observed?.pid.to_string();
                every(lines, field, |value| value == pid)
            }
            Check::Gone(field) => {
                observed?;
                every(lines, field, is_gone)
            }
            Check::PortFree => match observed?.port_free {
                Some(false) => wrong(None, Evidence::PortFree(false)),
                _ => Ok(Evidence::PortFree(true)),
            },
        };
        Some(finding)
    }
}

fn owned<T: AsRef<str>>(values: &[T]) -> Vec<String> {
    let values = values.iter().map(|value| value.as_ref().to_string());
    values.collect()
}

fn same(want: &[&str], found: &[&str]) -> Finding {
    match want == found {
        true => Ok(Evidence::Values(owned(found))),
        false => wrong(None, Evidence::Expected(owned(want), owned(found))),
    }
}

fn order(lines: &Transcript, names: &[&str]) -> Finding {
    names
        .windows(2)
        .find_map(|pair| before(lines, pair[0], pair[1]).err())
        .map_or(Ok(Evidence::InOrder), Err)
}

fn set(lines: &Transcript, field: &str, want: &[&str]) -> Finding {
    let (mut want, mut found) = (want.to_vec(), Vec::from_iter(lines.values(field)));
    want.sort_unstable();
    found.sort_unstable();
    same(&want, &found)
}

fn one_value(lines: &Transcript, fields: &[&str]) -> Finding {
    let all = fields.iter().flat_map(|field| lines.values(field));
    let values = Vec::from_iter(BTreeSet::from_iter(all));
    match values.len() {
        0 | 1 => Ok(Evidence::Values(owned(&values))),
        _ => wrong(None, Evidence::Different(owned(&values))),
    }
}

fn distinct(lines: &Transcript, field: &str, least: usize, most: usize) -> Finding {
    let values = Vec::from_iter(BTreeSet::from_iter(lines.values(field)));
    match (least..=most).contains(&values.len()) {
        true => Ok(Evidence::Values(owned(&values))),
        false => wrong(None, Evidence::Different(owned(&values))),
    }
}

fn every(lines: &Transcript, field: &str, right: impl Fn(&str) -> bool) -> Finding {
    let (name, capture) = line_and_field(field);
    match lines.named(name).find(|event| !right(event.value(capture))) {
        Some(event) => wrong(Some(event), Evidence::Is(event.value(capture).to_string())),
        None => {
            let values = BTreeSet::from_iter(lines.values(field));
            Ok(Evidence::Values(owned(&Vec::from_iter(values))))
        }
    }
}

/// Whether the line that `pick` takes among those of the same source has this name.
fn edge<'a>(
    lines: &'a Transcript,
    name: &'a str,
    pick: fn(&mut dyn Iterator<Item = &'a Event>) -> Option<&'a Event>,
) -> Finding {
    let Some(named) = lines.named(name).next() else {
        let missing = Evidence::Missing(lines.quote(name), lines.events.len());
        return wrong(None, missing);
    };
    match pick(
        &mut lines
            .named("*")
            .filter(|event| event.source == named.source),
    ) {
        Some(event) if event.name != name => {
            wrong(Some(event), Evidence::Stands(lines.text(event)))
        }
        found => Ok(Evidence::AtLine(found.map_or(0, |event| event.line))),
    }
}

fn before(lines: &Transcript, first: &str, then: &str) -> Finding {
    let last_first = lines.named(first).last();
    let first_then = lines.named(then).next();
    match (last_first, first_then) {
        (Some(a), Some(b)) if a.line > b.line => wrong(
            Some(a),
            Evidence::ComesAfter(lines.text(a), lines.text(b), b.line),
        ),
        _ => Ok(Evidence::InOrder),
    }
}

fn before_each(lines: &Transcript, first: &str, then: &str, on: &str) -> Finding {
    let mut pairs = 0;
    for later in lines.named(then) {
        match lines.partner(later, first, on) {
            Some(earlier) if earlier.line < later.line => pairs += 1,
            Some(earlier) => {
                return wrong(
                    Some(later),
                    Evidence::OnlyAtLine(lines.quote(first), later.value(on).into(), earlier.line),
                );
            }
            None => {
                return wrong(
                    Some(later),
                    Evidence::NoneFor(lines.quote(first), later.value(on).into()),
                );
            }
        }
    }
    Ok(Evidence::Pairs(pairs))
}

fn pairs(lines: &Transcript, line: &str, one: &str, other: &str, want: &[(&str, &str)]) -> Finding {
    let mut want = want.to_vec();
    let mut found: Vec<(&str, &str)> = lines
        .named(line)
        .map(|event| (event.value(one), event.value(other)))
        .collect();
    want.sort_unstable();
    found.sort_unstable();
    match want == found {
        true => Ok(Evidence::Pairs(found.len())),
        false => {
            let [want, found] = [want, found].map(|pairs| {
                let pairs = pairs.iter().map(|(a, b)| [a.to_string(), b.to_string()]);
                pairs.collect()
            });
            wrong(None, Evidence::ExpectedPairs(want, found))
        }
    }
}

fn range(lines: &Transcript, field: &str, low: f64, high: f64) -> Finding {
    let number = |value: &str| value.parse::<f64>().unwrap_or(f64::NAN);
    every(lines, field, |value| (low..=high).contains(&number(value)))
}

fn numbers(
    lines: &Transcript,
    fields: [&str; 3],
    right: impl Fn(f64, f64, f64) -> bool,
) -> Finding {
    let [a, b, c] = fields.map(|field| Vec::from_iter(lines.values(field)));
    let number = |value: &str| value.parse::<f64>().unwrap_or(f64::NAN);
    for ((a, b), c) in a.iter().zip(&b).zip(&c) {
        if !right(number(a), number(b), number(c)) {
            let mut values = owned(&[a, b, c]);
            values.dedup();
            return wrong(None, Evidence::NotSo(values));
        }
    }
    Ok(Evidence::Lines(a.len()))
}

fn at_most_open(lines: &Transcript, open: &str, close: &str, on: &str, limit: usize) -> Finding {
    let mut most = 0;
    for opened in lines.named(open) {
        let now_open = |event: &&Event| {
            let closed = lines
                .partner(event, close, on)
                .map_or(usize::MAX, |closed| closed.line);
            (event.line..closed).contains(&opened.line)
        };
        let count = lines.named(open).filter(now_open).count();
        if count > limit {
            return wrong(Some(opened), Evidence::Open(count));
        }
        most = most.max(count);
    }
    Ok(Evidence::AtMostOpen(most))
}

fn one_at_a_time(lines: &Transcript, open: &str, close: &str, on: &str, by: &str) -> Finding {
    let mut again = 0;
    for opened in lines.named(open) {
        let same = |event: &&Event| event.value(by) == opened.value(by) && event.line < opened.line;
        for earlier in lines.named(open).filter(same) {
            again += 1;
            let closed = lines.partner(earlier, close, on);
            if closed.is_none_or(|closed| closed.line > opened.line) {
                let (who, what) = (opened.value(by).into(), earlier.value(on).into());
                return wrong(Some(opened), Evidence::NotClosed(who, what));
            }
        }
    }
    Ok(Evidence::OpenedAgain(again))
}

fn seconds_between(one: &Event, other: &Event) -> f64 {
    let at = |event: &Event| event.at.unwrap_or(Duration::ZERO).as_secs_f64();
    at(other) - at(one)
}

fn lasts(lines: &Transcript, names: [&str; 4], early: f64) -> Finding {
    let [from, to, on, printed] = names;
    let mut most: f64 = 0.0;
    for end in lines.named(to) {
        let Some(start) = lines.partner(end, from, on) else {
            continue;
        };
        let claimed: f64 = end.value(printed).parse().unwrap_or(f64::NAN);
        let seen = seconds_between(start, end);
        let off = seen - claimed;
        if !(-early..=LATE).contains(&off) {
            return wrong(
                Some(end),
                Evidence::Timed(Timing::PrintedAndSeen(claimed, seen)),
            );
        }
        most = most.max(off.abs());
    }
    Ok(Evidence::Timed(Timing::OffBy(most)))
}

fn gaps(lines: &Transcript, name: &str, seconds: f64) -> Finding {
    let events: Vec<&Event> = lines.named(name).collect();
    let mut found = Vec::new();
    for pair in events.windows(2) {
        let gap = seconds_between(pair[0], pair[1]);
        if gap > seconds + LATE {
            return wrong(Some(pair[1]), Evidence::Timed(Timing::Passed(gap, seconds)));
        }
        found.push(gap);
    }
    // One late arrival shortens the gap behind it, so that only the whole cannot be too short.
    let least = 0.75 * seconds * found.len() as f64;
    match (events.first(), events.last()) {
        (Some(first), Some(last)) if seconds_between(first, last) < least => wrong(
            Some(last),
            Evidence::Timed(Timing::TooShort(found, seconds)),
        ),
        _ => Ok(Evidence::Timed(Timing::Gaps(found))),
    }
}

fn after(lines: &Transcript, first: &str, then: &str, seconds: f64, early: f64) -> Finding {
    match (lines.named(first).last(), lines.named(then).next()) {
        (Some(a), Some(b)) => {
            let gap = seconds_between(a, b);
            match (seconds - early..=seconds + LATE).contains(&gap) {
                true => Ok(Evidence::Timed(Timing::Gaps(vec![gap]))),
                false => wrong(Some(b), Evidence::Timed(Timing::Passed(gap, seconds))),
            }
        }
        _ => wrong(
            None,
            Evidence::NotBoth(lines.quote(first), lines.quote(then)),
        ),
    }
}

fn is_gone(pid: &str) -> bool {
    let pid = pid.parse().map(Pid::from_raw);
    pid.is_ok_and(|pid| kill(pid, None) == Err(Errno::ESRCH))
}
