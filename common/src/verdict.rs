//! From the runs of a cell to verdicts: what was checked, whether it held, and what shows it.

use std::time::Duration;

use crate::check::Finding;
use crate::evidence::{Evidence, TrialCounts, code};
use crate::notebook::{Cell, ExpectedEnd, Statistic, Trials, Variant};
use crate::observed::{Ended, Observed};
use crate::printout::Printout;
use crate::transcript::{Transcript, recorded_lines};

/// One run of a cell: what it printed, and what the system showed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program that ran: the cell's, or the widened one of its trials.
    pub bin: &'static str,
    /// Its lines and those of its companion.
    pub printout: Printout,
    /// What the system showed.
    pub observed: Observed,
}

/// What a replay found of one variant of a cell.
#[derive(Debug)]
pub struct CellOutcome {
    /// The cell.
    pub cell: &'static Cell,
    /// The variant.
    pub variant: &'static Variant,
    /// All runs, the widened ones last.
    pub runs: Vec<Run>,
    /// Each check with what it found, over all runs.
    pub verdicts: Vec<Verdict>,
    /// Where lines came in another order than in the notebook, and the table leaves the order free.
    pub reorderings: Vec<Reordering>,
    /// A stand-in played a program of the outside world.
    pub stand_in: bool,
    /// From start to end, all runs together.
    pub took: Duration,
}

/// Two lines that came in another order than in the notebook, which the table allows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reordering {
    /// The line that came first in this run, as the table has it: `Run task {i} ({w})...`.
    pub first: String,
    /// The line that came first in the notebook. It is the same line where several of its kind
    /// changed places.
    pub then: String,
}

impl Reordering {
    /// The reordering as a sentence for a reader.
    pub fn sentence(&self) -> String {
        let (first, then) = (code(&self.first), code(&self.then));
        match first == then {
            true => format!("{first} in another order than in the notebook: any is right"),
            false => format!("{first} before {then}, in the notebook after it: either may be"),
        }
    }

    /// The sentence in Chinese.
    pub fn sentence_zh(&self) -> String {
        let (first, then) = (code(&self.first), code(&self.then));
        match first == then {
            true => format!("{first} 的次序与笔记不同：怎样都对"),
            false => format!("{first} 先于 {then}，笔记里则在其后：两种次序都对"),
        }
    }
}

/// One check, and what it found.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// The check, as a sentence.
    pub sentence: String,
    /// The sentence in Chinese.
    pub sentence_zh: String,
    /// Whether it held.
    pub held: bool,
    /// What shows it; where it did not hold, what is wrong.
    pub evidence: String,
    /// The evidence in Chinese.
    pub evidence_zh: String,
    /// The line that is wrong, from 1, where it is one line.
    pub line: Option<usize>,
    /// The run that the evidence is from, from 1.
    pub run: usize,
}

impl Verdict {
    fn new([sentence, sentence_zh]: [String; 2], finding: Finding) -> Verdict {
        let (held, line, evidence) = match finding {
            Ok(evidence) => (true, None, evidence),
            Err((line, why)) => (false, line, why),
        };
        Verdict {
            sentence,
            sentence_zh,
            held,
            evidence: evidence.sentence(),
            evidence_zh: evidence.sentence_zh(),
            line,
            run: 1,
        }
    }
}

impl CellOutcome {
    pub(crate) fn new(
        cell: &'static Cell,
        variant: &'static Variant,
        runs: Vec<Run>,
        trials: usize,
        stand_in: bool,
        took: Duration,
    ) -> CellOutcome {
        let mut verdicts: Vec<Verdict> = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            let found = judge(variant, &run.printout.lines, Some(&run.observed));
            for (at, mut verdict) in found.into_iter().enumerate() {
                verdict.run = number + 1;
                match verdicts.get_mut(at) {
                    // The first run in which a check did not hold is the one to show.
                    Some(known) if known.held => *known = verdict,
                    Some(_) => {}
                    None => verdicts.push(verdict),
                }
            }
        }
        verdicts.extend(
            variant
                .trials
                .as_ref()
                .map(|wanted| statistic(cell, variant, wanted, trials, &runs)),
        );
        let reorderings = runs
            .first()
            .map_or(Vec::new(), |run| reorderings(variant, run));
        CellOutcome {
            cell,
            variant,
            runs,
            verdicts,
            reorderings,
            stand_in,
            took,
        }
    }

    /// Whether every check held.
    pub fn held(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.held)
    }

    /// Whether the replay was interrupted before the cell had ended.
    pub fn interrupted(&self) -> bool {
        self.runs
            .iter()
            .any(|run| run.observed.ended == Ended::Interrupted)
    }
}

/// Judges a recording: the text that was printed, and the text of the error. Checks of time and of
/// the operating system are left out, because a recording has neither.
pub fn judge_recording(variant: &Variant, out: &str, error: &str) -> Vec<Verdict> {
    let lines = Transcript::read(variant, &recorded_lines(out, error));
    judge(variant, &lines, None)
}

/// How many verdicts a replay of the variant comes to: as many as of one that printed nothing.
pub fn verdicts(variant: &Variant) -> usize {
    let observed = Observed {
        pid: 0,
        ended: Ended::Hung,
        companion: None,
        left: Vec::new(),
        port_free: None,
        port: None,
        pace: 1.0,
        took: Duration::ZERO,
        stall: Duration::ZERO,
    };
    let silent = Transcript::read(variant, &[]);
    let on_all_runs = usize::from(variant.trials.is_some());
    judge(variant, &silent, Some(&observed)).len() + on_all_runs
}

/// What must hold of so many runs together, in English and in Chinese.
pub fn on_all_runs(trials: &Trials, runs: usize) -> [String; 2] {
    match trials.statistic {
        Statistic::AnyNonZero => [
            format!("of {runs} runs, at least one is not 0"),
            format!("{runs} 次运行中至少有一次不是 0"),
        ],
        Statistic::AllZero => [
            format!("of {runs} runs, all are 0"),
            format!("{runs} 次运行全都是 0"),
        ],
    }
}

fn judge(variant: &Variant, transcript: &Transcript, observed: Option<&Observed>) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::new(
        [
            "every line is one of the cell's, and whole".to_string(),
            "每一行都属于这个单元格，而且完整".to_string(),
        ],
        match transcript.misfits.first() {
            Some(misfit) => Err((Some(misfit.line), misfit.why.clone())),
            None => Ok(Evidence::Lines(transcript.events.len())),
        },
    )];
    for line in transcript.lines() {
        let count = transcript.named(line.event).count();
        let (least, most) = line.times;
        let (times, times_zh) = match (least, most) {
            (0, usize::MAX) => continue,
            (1, 1) => ("once".to_string(), "一次".to_string()),
            _ if least == most => (format!("{least} times"), format!(" {least} 次")),
            _ => (
                format!("{least} to {most} times"),
                format!(" {least} 到 {most} 次"),
            ),
        };
        let finding = match (least..=most).contains(&count) {
            true => Ok(Evidence::Times(count)),
            false => Err((None, Evidence::Times(count))),
        };
        verdicts.push(Verdict::new(
            [
                format!("{} is printed {times}", code(&line.quote())),
                format!("{} 打印{times_zh}", code(&line.quote())),
            ],
            finding,
        ));
    }
    for check in variant.checks {
        let finding = check.judge(transcript, observed);
        verdicts.extend(finding.map(|finding| {
            let sentences = [check.sentence(variant), check.sentence_zh(variant)];
            Verdict::new(sentences, finding)
        }));
    }
    if let Some(observed) = observed {
        verdicts.extend(endings(variant, observed));
    }
    verdicts
}

fn endings(variant: &Variant, observed: &Observed) -> Vec<Verdict> {
    let (want, right) = match (variant.end, observed.ended) {
        (ExpectedEnd::Code(want), ended) => (
            [
                format!("it exits with {want}"),
                format!("以退出码 {want} 结束"),
            ],
            ended == Ended::Code(want),
        ),
        (ExpectedEnd::Failure, ended) => (
            ["it fails, as recorded", "像记录的那样失败"].map(str::to_string),
            matches!(ended, Ended::Code(code) if code != 0),
        ),
        (ExpectedEnd::Signal(want), ended) => (
            [
                format!("it is ended by signal {want}"),
                format!("被信号 {want} 终止"),
            ],
            ended == Ended::Signal(want),
        ),
    };
    let took = observed.took.as_secs_f64();
    let finding = |right: bool, ended: Ended| {
        let how = Evidence::Ended(ended, took);
        if right { Ok(how) } else { Err((None, how)) }
    };
    let mut verdicts = vec![Verdict::new(want, finding(right, observed.ended))];
    if let Some(companion) = &variant.companion {
        verdicts.push(Verdict::new(
            [
                format!("{} exits with 0", companion.bin),
                format!("{} 以退出码 0 结束", companion.bin),
            ],
            match observed.companion {
                Some(ended) => finding(ended == Ended::Code(0), ended),
                None => Err((None, Evidence::NeverStarted)),
            },
        ));
    }
    verdicts.push(Verdict::new(
        [
            "no process is left behind, alive or unreaped",
            "没有留下进程，无论在运行还是未回收",
        ]
        .map(str::to_string),
        match Evidence::Left(observed.left.clone()) {
            none if observed.left.is_empty() => Ok(none),
            left => Err((None, left)),
        },
    ));
    verdicts
}

/// Whether a run of a trial came to 0; none of a run that printed no outcome.
pub(crate) fn is_zero(trials: &Trials, run: &Run) -> Option<bool> {
    let mut values = run.printout.lines.values(trials.outcome);
    values.next().map(|value| value == "0")
}

fn statistic(
    cell: &Cell,
    variant: &Variant,
    trials: &Trials,
    wanted: usize,
    runs: &[Run],
) -> Verdict {
    // How many runs of a program there were, and how many came to this.
    let count = |bin: &str, outcome: Option<bool>| {
        let runs: Vec<&Run> = runs.iter().filter(|run| run.bin == bin).collect();
        let so = runs.iter().filter(|run| is_zero(trials, run) == outcome);
        (so.count(), runs.len())
    };
    let own = cell.program(variant);
    let ((natural, runs_of_it), (without, _)) = (count(own, Some(false)), count(own, None));
    let widened = trials.widened.map(|bin| count(bin, Some(false)));
    let any = natural > 0 || widened.is_some_and(|(nonzero, _)| nonzero > 0);
    let evidence = Evidence::Trials(TrialCounts {
        runs: runs_of_it,
        nonzero: natural,
        without,
        want_zero: trials.statistic == Statistic::AllZero,
        widened,
    });
    let held = match trials.statistic {
        Statistic::AnyNonZero => any,
        Statistic::AllZero => !any && without == 0 && runs.len() == wanted,
    };
    Verdict::new(
        on_all_runs(trials, wanted),
        if held {
            Ok(evidence)
        } else {
            Err((None, evidence))
        },
    )
}

/// The lines that came in another order than in the notebook, where the table leaves it free.
fn reorderings(variant: &Variant, run: &Run) -> Vec<Reordering> {
    let Some(recorded) = Printout::recorded(variant) else {
        return Vec::new();
    };
    let now = &run.printout;
    let first = |printout: &Printout, one: &str, other: &str| {
        let line = |name| printout.lines.named(name).next().map(|event| event.line);
        Some(line(one)? <= line(other)?)
    };
    let said = |printout: &Printout, name: &str| {
        let rest = |event| {
            let rest = printout.speakers.rest(event).into_iter();
            rest.map(str::to_string).collect()
        };
        printout
            .lines
            .named(name)
            .map(rest)
            .collect::<Vec<Vec<String>>>()
    };
    let note = |(one, other): &(&'static str, &'static str)| {
        let differs = match one == other {
            true => said(&recorded, one) != said(now, one),
            false => first(&recorded, one, other)? != first(now, one, other)?,
        };
        let (first, then) = match first(now, one, other)? {
            true => (one, other),
            false => (other, one),
        };
        differs.then(|| Reordering {
            first: variant.quote(first),
            then: variant.quote(then),
        })
    };
    let mut notes: Vec<Reordering> = Vec::new();
    for note in variant.free.iter().filter_map(note) {
        // A line that came early came before many others. One of them is enough to say so.
        let known = |known: &Reordering| known.first == note.first && known.then != known.first;
        if !notes.iter().any(known) {
            notes.push(note);
        }
    }
    notes
}
